"""RESP requests: arrays of bulk strings, `*2 $3 GET $1 k`, each header and each string ended by CR LF.

Three readers of one language; what they take is the same, and a property test holds it:

- `split_pipeline` is the fast one: it cuts a chunk at every CR LF and believes the pieces only if each length
  header is exactly the header that the string after it would have. It keeps nothing between calls, sees whole
  requests only, gives up at the first doubt (a string with CR LF inside, or a long one), and is always right when
  it does not.
- `uniform_pipeline` sees a pipeline of one command as columns (all names, all first arguments, ...), which costs a few
  passes at C speed instead of some steps of Python for each request. It takes nothing else.
- `Multibulk` is the truth: one state machine per connection, resumable at any byte, that checks every length before
  it trusts it. Work and memory are linear in the bytes received, however they are cut: a bulk string grows in one
  bytearray, headers are searched from where the last search ended, arguments that are complete are never looked at
  again.

What is taken, and what is said when it is not, is as in `processMultibulkBuffer` (networking.c) of Redis and Valkey:
arrays of no or negative length are no request; what follows a bulk string must be CR LF, as Valkey 9 wants it (Redis
skips two bytes unseen, so that a wrong length shows later and elsewhere). A header line ends at LF and must have CR
before it; a length past a limit of ours is refused like one past theirs.

Rejected: `hiredis.Reader`, by itself or as a faster `split_pipeline`. It takes a stream of replies, not of requests:
one list is what it gives for `*1`, `~1` and `|1`, one string for `$1`, `+` and `=`, and the two bytes after a string it
skips unseen, so that line ends around a type byte prove nothing. It takes memory for any length it is told (thirteen
bytes, `XX>90000000` and CR LF, took 700 MB and 2.6 s), and one reader for all connections must be empty whatever was
raised in it. With the checks that make it exact and safe it took 0.32 us a GET and 0.37 a SET in pipelines of 16
where this takes 0.33 and 0.42, in mixed pipelines of 100 0.25 where this takes 0.44, and 1.7 for a single request
where this takes 0.6.
"""

from __future__ import annotations

import re
from itertools import chain
from operator import methodcaller
from struct import iter_unpack
from typing import NamedTuple

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import KIB, MAX_HEADER_BYTES, MAX_REQUEST_ELEMENTS, STRANGER_BYTES, STRANGER_WORDS

CRLF = b"\r\n"
_DOLLAR = ord("$")
_NO_CRLF = "invalid CRLF in request"

#: Strings shorter than this have their headers in a table; longer ones are for `Multibulk`, whose cost per byte is
#: lower.
_TABLE_BYTES = 4 * KIB
HEADERS = [b"$%d" % length for length in range(_TABLE_BYTES)]
_HEADER_OF = HEADERS.__getitem__
_LENGTHS = {b"$%d\r" % length: length for length in range(_TABLE_BYTES)}
#: The headers of arrays of one word or more, and how many those are.
COUNTS = {b"*%d" % count: count for count in range(1, 1024)}

#: A number as Redis's string2ll takes it: no plus sign, no leading zeros, no "-0". The CR is part of the line.
_NUMBER = re.compile(rb"[*$](0|-?[1-9][0-9]{0,18})\r").fullmatch

#: More requests than this of one shape are checked by column, up to that many one by one: faster each way.
_MANY = 6

#: A chunk is split only if its first request ends within this many bytes: splitting costs more per byte than skipping.
_SPLIT_WITHIN_BYTES = 4 * KIB


_ENDS_LINE = methodcaller("endswith", CRLF)
_COUNT_LINES = methodcaller("count", CRLF)

#: An empty word, the shortest.
SHORTEST_WORD_BYTES = len(b"$0\r\n\r\n")

#: A shorter chunk holds no pipeline worth looking for: fewer than _MANY of the shortest requests for a key.
SHORTEST_PIPELINE_BYTES = (_MANY + 1) * len(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")


class Uniform(NamedTuple):
    """Requests of one command with the same number of arguments, column by column.

    `name`: the command's, as it was sent. `columns`: all first arguments, all second ones, and so on; each of
    `length` words. `raw`: the bytes of these requests; every length in them is written in the shortest way. `rest`:
    the bytes behind them, which begin at a request. `one_size`: whether all requests are known to be of one size.
    """

    name: bytes
    columns: list[list[bytes]]
    length: int
    raw: bytes
    rest: bytes
    one_size: bool

    def requests(self) -> list[list[bytes]]:
        """The requests one by one, as `split_pipeline` gives them."""
        return [[self.name, *arguments] for arguments in zip(*self.columns, strict=True)]


def uniform_pipeline(data: bytes) -> Uniform | None:
    """The requests at the front of a chunk as a pipeline of one command; None if they are no such thing.

    `data`: input that begins at a request; no longer than the largest request allowed.
    """
    if data.count(b"\r\n*") < _MANY - 1:  # no more than one long request, most often
        return None
    first = data.split(CRLF, 4)  # the array's header, that of the name, the name, the header of an argument
    words = COUNTS.get(first[0], 0)
    if words < 2 or len(first) < 5:
        return None
    try:
        if first[1] != HEADERS[len(first[2])]:
            return None
        return _of_one_size(data, first, words) or _of_records(data, first, words) or _of_any_size(data, first, words)
    except IndexError:  # a string longer than the table
        return None


def uniform_chunks(chunks: list[bytes]) -> tuple[Uniform, list[int]] | None:
    """Chunks of several clients as one pipeline, if each holds whole requests of one command and nothing else.

    `chunks`: each begins at a request, and is no longer than the largest request allowed. Returns the pipeline and how
    many requests each chunk holds, or None.
    """
    data = b"".join(chunks)
    pipeline = uniform_pipeline(data)
    if pipeline is None or pipeline.rest:
        return None
    if pipeline.length == len(chunks) and pipeline.one_size and len(set(map(len, chunks))) == 1:
        return pipeline, [1] * len(chunks)
    # Where requests are of one size, so are the steps between them; else a chunk has to hold the lines of whole ones.
    if pipeline.one_size:
        step, sizes = len(data) // pipeline.length, list(map(len, chunks))
    elif all(map(_ENDS_LINE, chunks)):
        step, sizes = 2 * len(pipeline.columns) + 3, list(map(_COUNT_LINES, chunks))
    else:
        return None
    if any(size % step for size in sizes):
        return None
    return pipeline, [size // step for size in sizes]


def _of_one_size(data: bytes, first: list[bytes], words: int) -> Uniform | None:
    """The pipeline, if all its requests have the same lengths, as most have, and nothing follows it.

    Without their heads (all up to and with the header of the first argument) all requests are of one size; so is what
    is found between the line ends of all of them joined, if every string has the length that is expected of it. As
    there are as many of the one as of the other, they are the same: no string can hold a look-alike.
    """
    head = CRLF.join([*first[:4], b""])
    if words == 2:
        return _of_one_string(data, first, head)
    bodies = data.split(head)
    count = len(bodies) - 1
    if count < _MANY or bodies.pop(0) or len(set(map(len, bodies))) > 1:
        return None
    pieces = b"".join(bodies).split(CRLF)
    stride = 2 * words - 3
    if len(pieces) != count * stride + 1 or pieces.pop():
        return None
    columns = []
    for place in range(0, stride, 2):
        column = pieces[place::stride]
        length = len(column[0])
        if len(set(map(len, column))) > 1:
            return None
        if place and pieces[place - 1 :: stride].count(HEADERS[length]) != count:
            return None
        columns.append(column)
    if first[3] != HEADERS[len(columns[0][0])]:
        return None
    return Uniform(first[2], columns, count, data, b"", True)


def _of_one_string(data: bytes, first: list[bytes], head: bytes) -> Uniform | None:
    """The same of requests of one argument each: what stands between the heads is as long as they say, so it is it."""
    column = data[len(head) : -len(CRLF)].split(CRLF + head)
    if len(column) < _MANY or len(set(map(len, column))) > 1 or not data.endswith(CRLF):
        return None
    if first[3] != HEADERS[len(column[0])]:
        return None
    return Uniform(first[2], [column], len(column), data, b"", True)


def _of_records(data: bytes, first: list[bytes], words: int) -> Uniform | None:
    """The same, whatever the bytes of their strings: binary ones have line ends, too.

    They are cut as records of the first one's shape; they are what they seem if all that stands between the strings is
    the same in each.
    """
    shape, between = "", list[range]()
    taken, header = 0, sum(map(len, first[:3])) + 3 * len(CRLF)
    for _ in range(words - 1):
        begin = data.find(CRLF, header) + len(CRLF)
        length = _LENGTHS.get(data[header : begin - 1])
        if length is None:
            return None
        shape += f"{begin - taken}x{length}s"
        between.append(range(taken, begin))
        taken, header = begin + length, begin + length + len(CRLF)
    count, rest = divmod(len(data), header)
    if rest or count < _MANY or data[taken:header] != CRLF:
        return None
    between.append(range(taken, header))
    for place in chain.from_iterable(between):
        if data[place::header] != data[place : place + 1] * count:
            return None
    records = zip(*iter_unpack(f"{shape}2x", data), strict=True)
    return Uniform(first[2], list(map(list, records)), count, data, b"", True)


def _of_any_size(data: bytes, first: list[bytes], words: int) -> Uniform | None:
    """The pipeline, whatever the lengths of its arguments, and what follows it. Raises IndexError."""
    count = data.count(CRLF.join([*first[:3], b""]))
    if count < _MANY or data.count(b"\r\n*") > count:  # not of one command: splitting it would be for nothing
        return None
    pieces = data.split(CRLF)
    stride = 2 * words + 1
    count = (len(pieces) - 1) // stride
    used = count * stride
    columns = [pieces[place:used:stride] for place in range(2, stride, 2)]
    if count < _MANY or pieces[0:used:stride].count(pieces[0]) != count or columns[0].count(pieces[2]) != count:
        return None
    for place, column in enumerate(columns):
        if not have_headers(column, pieces[2 * place + 1 : used : stride]):
            return None
    if used == len(pieces) - 1 and not pieces[-1]:
        return Uniform(pieces[2], columns[1:], count, data, b"", False)
    rest = CRLF.join(pieces[used:])
    return Uniform(pieces[2], columns[1:], count, data[: len(data) - len(rest)], rest, False)


def have_headers(words: list[bytes], headers: list[bytes]) -> bool:
    """Whether these are the headers of these words. Raises IndexError for a word of _TABLE_BYTES or more."""
    lengths = set(map(len, words))
    if len(lengths) == 1:
        return headers.count(HEADERS[lengths.pop()]) == len(headers)
    return headers == list(map(_HEADER_OF, map(len, words)))


def split_pipeline(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """Split the whole requests off the front of a chunk, fast.

    `data`: input that begins at a request, with `*`; no longer than the largest request allowed. Returns the
    requests and what is left. No requests: nothing is known of the chunk, `Multibulk` has to read it. Otherwise the
    rest begins at a request too; if it is not empty, `Multibulk` has to read that.
    """
    if len(data) > _SPLIT_WITHIN_BYTES and data.find(b"\r\n*", 0, _SPLIT_WITHIN_BYTES) < 0:
        return [], data
    pieces = data.split(CRLF)
    count = COUNTS.get(pieces[0])
    if count is None:
        return [], data
    try:
        if len(pieces) == 2 * count + 2:  # exactly one request, perhaps with a bit of the next: no pipelining
            words = pieces[2::2]
            place = 1
            for word in words:
                if pieces[place] != HEADERS[len(word)]:
                    return [], data
                place += 2
            return [words], pieces[-1]
        stride = 2 * count + 1
        requests, used = (len(pieces) > _MANY * stride and _columns(pieces, stride)) or _rows(pieces)
    except IndexError:  # a string longer than the table
        return [], data
    return requests, CRLF.join(pieces[used:]) if requests else data


def _columns(pieces: list[bytes], stride: int) -> tuple[list[list[bytes]], int] | None:
    """The chunk as requests that all have the same number of words: the usual pipeline, checked column by column.

    `stride`: pieces per request. Returns the requests and how many pieces they are, or None.
    """
    used = (len(pieces) - 1) // stride * stride
    if pieces[0:used:stride].count(pieces[0]) * stride != used:
        return None
    columns = [pieces[place:used:stride] for place in range(2, stride, 2)]
    for place, column in enumerate(columns):
        if pieces[2 * place + 1 : used : stride] != [HEADERS[len(word)] for word in column]:
            return None
    return list(map(list, zip(*columns, strict=True))), used


def _rows(pieces: list[bytes]) -> tuple[list[list[bytes]], int]:
    """The chunk as requests of any number of words. Returns the requests and how many pieces they are."""
    last = len(pieces) - 1
    requests: list[list[bytes]] = []
    headers: list[bytes] = []
    start = 0
    while (count := COUNTS.get(pieces[start])) is not None and (end := start + 1 + 2 * count) <= last:
        requests.append(pieces[start + 2 : end : 2])
        headers += pieces[start + 1 : end : 2]
        start = end
    if headers != [HEADERS[len(word)] for request in requests for word in request]:
        return [], 0
    return requests, start


class Multibulk:
    """Reads one request at a time, from chunks cut anywhere.

    `max_bytes`: most bytes of all arguments of a request together. `max_words`: most arguments. `of_stranger`: whether
    its limits are those of strangers, if these are less.

    States, by (`_missing`, `_needed`): (-1, 0) in the array header; (n, 0) in the header of a bulk string, n
    strings still to come; (n, k) in a bulk string, k of its bytes and of the CR LF after it still to come. `_held`
    has the part of that header or string which came in earlier chunks.
    """

    __slots__ = (
        "_budget", "_held", "_missing", "_needed", "_words", "max_bytes", "max_words", "of_stranger",
        "received_bytes",
    )  # fmt: skip

    def __init__(self, max_bytes: int, max_words: int = MAX_REQUEST_ELEMENTS) -> None:
        self.max_bytes = max_bytes
        self.max_words = max_words
        self.of_stranger = False
        self._held = bytearray()
        self._reset()

    def limit_to(self, max_bytes: int, max_words: int) -> None:
        """Other limits from now on; a request that has begun keeps the bytes that it may have."""
        self.max_bytes, self.max_words = max_bytes, max_words
        if self._missing < 0:
            self._budget = max_bytes

    def _reset(self) -> None:
        self._words: list[bytes] = []
        self._missing = -1
        self._needed = 0
        self._budget = self.max_bytes
        #: Bytes of the request that is not complete yet.
        self.received_bytes = 0

    @property
    def words_held(self) -> int:
        """Complete words of the request that is not complete yet."""
        return len(self._words)

    def take(self, data: bytes, start: int) -> tuple[list[bytes] | None, int]:
        """Read on from `data[start:]` up to the end of the request.

        Returns the request, empty if it is one that Redis ignores, and the offset after it; or None, and the length of
        `data`, if the request goes on in the next chunk. Raises ProtocolError; the object is unusable after it.
        """
        position = start
        size = len(data)
        while self._missing:
            if self._needed:
                position = self._take_string(data, position)
                if self._needed:
                    break
                continue
            if self._missing > 0 and not self._held and position < size and data[position] != _DOLLAR:
                raise ProtocolError(f"expected '$', got '{_shown(data[position])}'")
            end = data.find(b"\n", position)
            if end < 0:
                self._hold_header(data[position:])
                break
            line = data[position:end] if not self._held else self._rest_of_header(data[position:end])
            position = end + 1
            if self._missing < 0:
                self._missing = self._count(line)
                continue
            length = _LENGTHS.get(line)
            if length is None or length > self._budget:
                length = self._length(line)
            self._budget -= length
            end = position + length
            if end + 2 <= size:
                if data[end : end + 2] != CRLF:
                    raise ProtocolError(_NO_CRLF)
                self._words.append(data[position:end])
                self._missing -= 1
                position = end + 2
            else:
                self._needed = length + 2
        else:
            words = self._words
            self._reset()
            return words, position
        self.received_bytes += size - start
        return None, size

    def _take_string(self, data: bytes, position: int) -> int:
        """Read on in a bulk string that goes over the end of a chunk. Returns the new position."""
        taken = min(self._needed, len(data) - position)
        self._held += data[position : position + taken]
        self._needed -= taken
        if not self._needed:
            if not self._held.endswith(CRLF):
                raise ProtocolError(_NO_CRLF)
            del self._held[-2:]
            self._words.append(bytes(self._held))
            self._held = bytearray()
            self._missing -= 1
        return position + taken

    def _hold_header(self, part: bytes) -> None:
        held = self._held
        if (held.endswith(b"\r") and part) or 0 <= part.find(b"\r") < len(part) - 1:
            raise ProtocolError(_NO_CRLF)
        held += part
        self._check_length(held)

    def _rest_of_header(self, part: bytes) -> bytes:
        line = bytes(self._held) + part
        self._held.clear()
        return line

    def _check_header(self, line: bytes) -> None:
        """Raise ProtocolError if a header is too long or has a CR before its end."""
        if 0 <= line.find(b"\r") < len(line) - 1:
            raise ProtocolError(_NO_CRLF)
        self._check_length(line)

    def _check_length(self, line: bytes | bytearray) -> None:
        """Raise ProtocolError if a header, or the part of it that has come, is too long. Its CR does not count."""
        if len(line) - line.endswith(b"\r") > MAX_HEADER_BYTES:
            raise ProtocolError("too big mbulk count string" if self._missing < 0 else "too big bulk count string")

    def _count(self, line: bytes) -> int:
        """The number of strings that an array header announces; 0 for an array that is no request."""
        number = _NUMBER(line)
        if number is None or len(line) > MAX_HEADER_BYTES:
            self._check_header(line)
        count = int(number[1]) if number else self.max_words + 1
        if count > self.max_words:
            raise ProtocolError("invalid multibulk length")
        if self.of_stranger and count > STRANGER_WORDS:
            raise ProtocolError("unauthenticated multibulk length")
        return max(count, 0)

    def _length(self, line: bytes) -> int:
        """The number of bytes that a bulk string's header announces."""
        self._check_header(line)
        number = _NUMBER(line)
        length = int(number[1]) if number else -1
        if self.of_stranger and length + self.max_bytes - self._budget > STRANGER_BYTES:
            raise ProtocolError("unauthenticated bulk length")
        if not 0 <= length <= self._budget:
            raise ProtocolError("invalid bulk length")
        return length


def _shown(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
