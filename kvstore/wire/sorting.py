"""Requests of many clients, of several commands, sorted by command: columns, as `multibulk` has them for one command.

All that the clients have sent is cut at every CR LF at once, and one walk over the pieces finds where each request
begins. What is found is believed only where it is certain: a chunk counts if the steps from request to request lead
exactly to its end, and a command if each string of its requests has exactly the header that a string of its length has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from itertools import accumulate, chain, pairwise

from kvstore.wire.multibulk import COUNTS, CRLF, have_headers

#: From a request of two words or more to the next, by the header of its array.
_STEPS = {header: 2 * count + 1 for header, count in COUNTS.items() if count > 1}


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


class Sorted:
    """The requests of those chunks that hold whole requests of the commands `names` and nothing else.

    A place is a number of pieces from the first chunk on. `alike`: the requests; none if nothing is certain.
    """

    def __init__(self, chunks: list[bytes], names: Container[bytes]) -> None:
        whole = [chunk if chunk.endswith(CRLF) else b"" for chunk in chunks]
        #: Where each chunk begins, and the last ends.
        self._bounds = list(accumulate((chunk.count(CRLF) for chunk in whole), initial=0))
        pieces = self._pieces = [*b"".join(whole).split(CRLF), b"", b""]
        starts = self._walk(pieces, names)
        try:
            self.alike = [
                _columns(pieces, COUNTS[header], name, begins)
                for name, every in starts.items()
                for header, begins in _by_header(pieces, every).items()
            ]
        except (_Uncertain, IndexError):  # a string longer than those whose headers are known
            self.alike = []

    def _walk(self, pieces: list[bytes], names: Container[bytes]) -> dict[bytes, list[int]]:
        """Where requests begin, by their name."""
        found: dict[bytes, list[int]] = {}
        for begin, end in pairwise(self._bounds):
            start = begin
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
        return {name: begins for name, begins in found.items() if begins}

    def drop(self, number: int) -> None:
        """Forget the requests of a chunk."""
        for alike in self.alike:
            alike.drop(self._bounds[number], self._bounds[number + 1])

    def chunk_of(self, start: int) -> int:
        """The number of the chunk in which a request begins there."""
        return bisect_right(self._bounds, start) - 1

    def name_at(self, start: int) -> bytes:
        """The name in the request that begins there."""
        return self._pieces[start + 2]

    def by_chunk(self) -> Iterator[tuple[int, list[int]]]:
        """The number of each chunk that counts, and where its requests begin."""
        starts = sorted(chain.from_iterable(alike.starts for alike in self.alike))
        first = 0
        for number, end in enumerate(self._bounds[1:]):
            last = bisect_left(starts, end)
            if first < last:
                yield number, starts[first:last]
            first = last


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
