"""Requests of many clients, of several commands, sorted by command: columns, as `multibulk` has them for one command.

All that the clients have sent is cut at every CR LF at once, and one walk over the pieces finds where each request
begins. Where it does not lead to the end of a chunk some string may have CR LF inside, and is put together again. What
is found is believed only where it is certain: a chunk counts if the steps from request to request lead exactly to its
end, and a command if each string of its requests has exactly the header that a string of its length has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Set
from itertools import chain

from kvstore.wire.multibulk import COUNTS, CRLF, HEADERS, have_headers

#: From a request of two words or more to the next, by the header of its array.
_STEPS = {header: 2 * count + 1 for header, count in COUNTS.items() if count > 1}
_LENGTHS = {header: length for length, header in enumerate(HEADERS)}


class _Uncertain(Exception):
    """There is no telling what was sent."""


class Alike:
    """Requests of one command with the same number of words. `starts`: where each begins, see `Sorted`, ascending.

    `columns`: all first arguments, all second ones, and so on.
    """

    def __init__(self, name: bytes, columns: list[list[bytes]], starts: list[int]) -> None:
        self.name = name
        self.columns = columns
        self.starts = starts

    def drop(self, begin: int, end: int) -> None:
        """Forget the requests that begin between these places."""
        first, last = bisect_left(self.starts, begin), bisect_left(self.starts, end)
        del self.starts[first:last]
        for column in self.columns:
            del column[first:last]

    def take_out(self, keys: Set[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        """Forget the requests whose first argument is one of these; gives where each begins, and its words."""
        places = [place for place, key in enumerate(self.columns[0]) if key in keys]
        for place in reversed(places):
            yield self.starts.pop(place), [self.name, *(column.pop(place) for column in self.columns)]


class Sorted:
    """The requests of those chunks that hold whole requests of the commands `names` and nothing else.

    A place is a number of pieces from the first chunk on. `alike`: the requests; none if nothing is certain. `apart`:
    those of them that are to be executed one by one, by where they begin.
    """

    def __init__(self, chunks: list[bytes], names: Container[bytes]) -> None:
        whole = [chunk if chunk.endswith(CRLF) else b"" for chunk in chunks]
        self._pieces = [*b"".join(whole).split(CRLF), b"", b""]
        #: Where each chunk begins, and the last ends.
        self._bounds = [0]
        self.apart: dict[int, list[bytes]] = {}
        found: dict[bytes, list[int]] = {}
        for chunk in whole:
            self._find(chunk.count(CRLF), names, found)
        try:
            self.alike = [
                _columns(self._pieces, COUNTS[header], name, begins)
                for name, every in found.items()
                if every
                for header, begins in _by_header(self._pieces, every).items()
            ]
        except (_Uncertain, IndexError):  # a string longer than those whose headers are known
            self.alike = []

    def _find(self, count: int, names: Container[bytes], found: dict[bytes, list[int]]) -> None:
        """Find the requests in the next `count` pieces, which are a chunk."""
        begin = self._bounds[-1]
        end = begin + count
        if not self._walk(begin, end, names, found):
            mended = _mended(self._pieces[begin:end])
            if len(mended) < count:
                self._pieces[begin:end] = mended
                end = begin + len(mended)
                self._walk(begin, end, names, found)
        self._bounds.append(end)

    def _walk(self, begin: int, end: int, names: Container[bytes], found: dict[bytes, list[int]]) -> bool:
        """Find where requests begin, by their name; returns whether these are whole requests, else finds none."""
        pieces, start = self._pieces, begin
        try:
            while start < end:
                name = pieces[start + 2]
                begins = found.get(name)
                if begins is None:
                    if name not in names:
                        break
                    begins = found[name] = []
                step = _STEPS[pieces[start]]
                begins.append(start)
                start += step
        except KeyError:  # no request, or of one word
            pass
        if start != end:
            for begins in found.values():
                del begins[bisect_left(begins, begin) :]
        return start == end

    def drop(self, number: int) -> None:
        """Forget the requests of a chunk."""
        for alike in self.alike:
            alike.drop(self._bounds[number], self._bounds[number + 1])
        for start in [start for start in self.apart if self.chunk_of(start) == number]:
            del self.apart[start]

    def set_apart(self, alike: Alike, keys: Set[bytes]) -> None:
        """The requests of `alike` whose first argument is one of these are to be executed one by one."""
        self.apart.update(alike.take_out(keys))

    def chunk_of(self, start: int) -> int:
        """The number of the chunk in which a request begins there."""
        return bisect_right(self._bounds, start) - 1

    def name_at(self, start: int) -> bytes:
        """The name in the request that begins there."""
        return self._pieces[start + 2]

    def by_chunk(self) -> Iterator[tuple[int, list[int]]]:
        """The number of each chunk that counts, and where its requests begin."""
        starts = sorted(chain(self.apart, *(alike.starts for alike in self.alike)))
        first = 0
        for number, end in enumerate(self._bounds[1:]):
            last = bisect_left(starts, end)
            if first < last:
                yield number, starts[first:last]
            first = last


def _mended(pieces: list[bytes]) -> list[bytes]:
    """The pieces of a chunk again, each string one of them: some have CR LF inside."""
    mended = []
    each = iter(pieces)
    for piece in each:
        mended.append(piece)
        length = _LENGTHS.get(piece)
        if length is not None:
            string = next(each, b"")
            while len(string) < length and (more := next(each, None)) is not None:
                string += CRLF + more
            mended.append(string)
    return mended


def _by_header(pieces: list[bytes], starts: list[int]) -> dict[bytes, list[int]]:
    """Where requests begin, by the header of their array."""
    headers = [pieces[start] for start in starts]
    if headers.count(headers[0]) == len(headers):
        return {headers[0]: starts}
    return {header: [s for s in starts if pieces[s] == header] for header in dict.fromkeys(headers)}


def _columns(pieces: list[bytes], words: int, name: bytes, starts: list[int]) -> Alike:
    """The requests that begin there. Raises _Uncertain, IndexError."""
    columns = []
    for place in range(2, 2 * words + 1, 2):
        column = [pieces[start + place] for start in starts]
        if not have_headers(column, [pieces[start + place - 1] for start in starts]):
            raise _Uncertain
        columns.append(column)
    return Alike(name, columns[1:], starts)
