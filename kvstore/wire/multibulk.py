"""RESP requests: arrays of bulk strings, `*2 $3 GET $1 k`, each header and each string ended by CR LF.

Two readers of one language; what they take is the same, and a property test holds it:

- `split_pipeline` is the fast one, for chunks that hold whole requests: one request is cut at every CR LF, and
  believed only if each length header is exactly the one that the string after it would have; a pipeline is read by
  hiredis, and believed only if what it gives proves to be arrays of bulk strings (see `_pipeline`). It keeps nothing
  between calls, gives up at the first doubt (a string with CR LF inside, a long one), and is always right when it
  does not.
- `Multibulk` is the truth: one state machine per connection, resumable at any byte, that checks every length before
  it trusts it. Work and memory are linear in the bytes received, however they are cut: a bulk string grows in one
  bytearray, headers are searched from where the last search ended, arguments that are complete are never looked at
  again.

What is taken, and what is said when it is not, is as in `processMultibulkBuffer` (networking.c) of Redis and Valkey:
arrays of no or negative length are no request; what follows a bulk string must be CR LF, as Valkey 9 wants it (Redis
skips two bytes unseen, so that a wrong length shows later and elsewhere). A header line ends at LF and must have CR
before it; a length past a limit of ours is refused like one past theirs.

Rejected: `hiredis.Reader` for everything. It parses fastest (0.12 us a request) but takes a stream of replies, not
of requests: it believes any length (`*2147483647` takes 16 GiB), and gives the same list for `~1` as for `*1`, the
same bytes for `+x` and `(1` as for `$1`. With the checks that make its answers exact it takes 0.23 us a request of a
pipeline, where cutting takes 0.35, but 0.8 for a single request, where cutting takes 0.4.
"""

from __future__ import annotations

import re
from itertools import chain

import hiredis

from kvstore.base.errors import ProtocolError
from kvstore.base.limits import KIB, MAX_HEADER_BYTES, MAX_REQUEST_ELEMENTS

CRLF = b"\r\n"
_DOLLAR = ord("$")
_NO_CRLF = "invalid CRLF in request"

#: Strings shorter than this have their headers in a table; longer ones are for `Multibulk`, whose cost per byte is
#: lower.
_TABLE_BYTES = 2 * KIB
_HEADERS = [b"$%d" % length for length in range(_TABLE_BYTES)]
_LENGTHS = {b"$%d\r" % length: length for length in range(_TABLE_BYTES)}
_COUNTS = {b"*%d" % count: count for count in range(1, 1024)}

#: A number as Redis's string2ll takes it: no plus sign, no leading zeros, no "-0". The CR is part of the line.
_NUMBER = re.compile(rb"[*$](0|-?[1-9][0-9]{0,18})\r").fullmatch

#: Where the next request of a pipeline begins.
_NEXT = b"\r\n*"
_LARGE_COUNT = re.compile(rb"\*[0-9]{5}").search

#: Shared by all connections: between calls it holds nothing.
_reader = hiredis.Reader()

#: A chunk is split only if its first request ends within this many bytes: splitting costs more per byte than skipping.
_SPLIT_WITHIN_BYTES = 4 * KIB


def split_pipeline(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """Split the whole requests off the front of a chunk, fast.

    `data`: input that begins at a request, with `*`; no longer than the largest request allowed. Returns the
    requests and what is left. No requests: nothing is known of the chunk, `Multibulk` has to read it. Otherwise the
    rest begins at a request too; if it is not empty, `Multibulk` has to read that.
    """
    if data.find(_NEXT, 0, _SPLIT_WITHIN_BYTES) < 0:
        return _one(data) if len(data) <= _SPLIT_WITHIN_BYTES else ([], data)
    if data.endswith(CRLF) and (requests := _pipeline(data)):
        return requests, b""
    cut = data.rfind(_NEXT) + len(CRLF)
    if requests := _pipeline(data[:cut]):
        return requests, data[cut:]
    return [], data


def _one(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """The chunk as exactly one request, perhaps with a bit of the next: the usual case without pipelining."""
    pieces = data.split(CRLF)
    count = _COUNTS.get(pieces[0])
    if count is None or len(pieces) != 2 * count + 2:
        return [], data
    words = pieces[2::2]
    place = 1
    try:
        for word in words:
            if pieces[place] != _HEADERS[len(word)]:
                return [], data
            place += 2
    except IndexError:  # a string longer than the table
        return [], data
    return [words], pieces[-1]


def _pipeline(data: bytes) -> list[list[bytes]] | None:
    """The chunk as whole requests, read by hiredis; None at any doubt that they are what `Multibulk` would read.

    hiredis reads replies, not requests; what proves that each item is an array of bulk strings, no set, no push, no
    simple string: no string has a CR inside, and there are as many CR as such arrays have. A count of five digits
    is not shown to it at all: it would take that much memory at once.
    """
    global _reader
    if _LARGE_COUNT(data) or (b"~" in data and b"\r\n~" in data) or (b">" in data and b"\r\n>" in data):
        return None
    reader = _reader
    requests: list[list[bytes]] = []
    try:
        reader.feed(data)
        take = reader.gets
        while (request := take()) is not False:
            requests.append(request)
        words = list(chain.from_iterable(requests))
        proven = (
            not reader.has_data()
            and b"\r" not in b"".join(words)
            and data.count(b"\r") == len(requests) + 2 * len(words)
            and all(requests)
        )
    except (hiredis.HiredisError, TypeError):
        proven = False
    if not proven:
        _reader = hiredis.Reader()  # it may hold half a request
    return requests if proven else None


class Multibulk:
    """Reads one request at a time, from chunks cut anywhere.

    `max_bytes`: most bytes of all arguments of a request together.

    States, by (`_missing`, `_needed`): (-1, 0) in the array header; (n, 0) in the header of a bulk string, n
    strings still to come; (n, k) in a bulk string, k of its bytes and of the CR LF after it still to come. `_held`
    has the part of that header or string which came in earlier chunks.
    """

    __slots__ = ("_budget", "_held", "_max_bytes", "_missing", "_needed", "_words", "received_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._reset()

    def _reset(self) -> None:
        self._words: list[bytes] = []
        self._missing = -1
        self._needed = 0
        self._budget = self._max_bytes
        #: Bytes of the request that is not complete yet.
        self.received_bytes = 0

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
        self._held += part
        if len(self._held) > MAX_HEADER_BYTES:
            self._refuse_header()

    def _rest_of_header(self, part: bytes) -> bytes:
        line = bytes(self._held) + part
        self._held.clear()
        return line

    def _refuse_header(self) -> None:
        raise ProtocolError("too big mbulk count string" if self._missing < 0 else "too big bulk count string")

    def _count(self, line: bytes) -> int:
        """The number of strings that an array header announces; 0 for an array that is no request."""
        if len(line) > MAX_HEADER_BYTES:
            self._refuse_header()
        number = _NUMBER(line)
        count = int(number[1]) if number else MAX_REQUEST_ELEMENTS + 1
        if count > MAX_REQUEST_ELEMENTS:
            raise ProtocolError("invalid multibulk length")
        return max(count, 0)

    def _length(self, line: bytes) -> int:
        """The number of bytes that a bulk string's header announces."""
        if len(line) > MAX_HEADER_BYTES:
            self._refuse_header()
        number = _NUMBER(line)
        length = int(number[1]) if number else -1
        if not 0 <= length <= self._budget:
            raise ProtocolError("invalid bulk length")
        return length


def _shown(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
