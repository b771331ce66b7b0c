"""HTTP/1.1 replies, without I/O: bytes in; whole replies, or the lines of an endless one, out.

As etcd's gateway sends them, by Go's net/http: a body with its length, or in chunks with trailers perhaps behind them;
a watch's is in chunks and ends only when the watch does, a JSON object a line. Nothing else is taken: no body that ends
with its connection, no `100 Continue`. What makes no sense raises `BadReply`, and the connection is to be dropped.

Rejected: h11 (five times the time of all that an append takes here), `twisted.web.client` (the same, and its parsers
are private).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import NamedTuple

from kvstore.base.errors import shorten
from kvstore.base.limits import MAX_ETCD_HEADER_BYTES, MAX_ETCD_REPLY_BYTES

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d{1,12}) *\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding: *chunked *\r\n", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")

#: What a parser does between two pieces of input.
_Steps = Generator[None, None, None]


class BadReply(ValueError):
    """This is no reply that the gateway sends; what follows cannot be read."""


class Reply(NamedTuple):
    """A reply. `status`: of HTTP, 200 if all is well. `body`: the whole of it; of a stream, one line without its end,
    and an empty one when the stream has ended.
    """

    status: int
    body: bytes


class ReplyParser:
    """Cuts what a connection receives into replies. `lines`: give each line of a body as soon as it is there."""

    def __init__(self, *, lines: bool = False) -> None:
        self._lines = lines
        self._buffer = bytearray()
        self._ready: list[Reply] = []
        self._steps = self._run()
        next(self._steps)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes, in order. Raises BadReply, and is not to be used after it."""
        self._buffer += data
        next(self._steps)
        ready = self._ready[:]
        self._ready.clear()  # the body that is being read goes on with the same list
        return ready

    def _run(self) -> _Steps:
        """Read replies for ever; yields whenever more input is needed."""
        while True:
            yield from self._until(b"\r\n\r\n")
            head = self._take(self._buffer.index(b"\r\n\r\n") + 4)
            if not (status := _STATUS.match(head)):
                raise BadReply(f"not a reply of HTTP/1.1: {shorten(head)!r}")
            body = _Body(int(status[1]), self._ready, lines=self._lines)
            if length := _LENGTH.search(head):
                yield from self._some(_limited(int(length[1])), body)
            elif _CHUNKED.search(head):
                yield from self._chunks(body)
            else:
                raise BadReply(f"a reply of no known length: {shorten(head)!r}")
            body.end()

    def _chunks(self, body: _Body) -> _Steps:
        """A body in chunks, the last of which is empty, and trailers."""
        while True:
            size = _CHUNK.match(line := (yield from self._line()))
            if not size:
                raise BadReply(f"not the size of a chunk: {shorten(line)!r}")
            if not (length := int(size[1], 16)):
                break
            yield from self._some(_limited(length), body)
            if (yield from self._line()):
                raise BadReply("a chunk does not end where it should")
        while (yield from self._line()):
            pass

    def _line(self) -> Generator[None, None, bytes]:
        """The next line, without its end."""
        yield from self._until(b"\r\n")
        return self._take(self._buffer.index(b"\r\n") + 2)[:-2]

    def _until(self, end: bytes) -> _Steps:
        """Wait for `end` in what has come."""
        while end not in self._buffer:
            if len(self._buffer) > MAX_ETCD_HEADER_BYTES:
                raise BadReply(f"a header of more than {MAX_ETCD_HEADER_BYTES} bytes")
            yield

    def _some(self, length: int, body: _Body) -> _Steps:
        """Move so many bytes into a body, as they come."""
        while length > len(self._buffer):
            length -= len(self._buffer)
            body.add(self._take(len(self._buffer)))
            yield
        body.add(self._take(length))

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


class _Body:
    """The body that is being read. `ready`: where replies go."""

    def __init__(self, status: int, ready: list[Reply], *, lines: bool) -> None:
        self._status = status
        self._ready = ready
        self._lines = lines
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Some more of it."""
        if self._lines and b"\n" in data:
            *whole, data = (b"".join(self._pieces) + data).split(b"\n")
            self._ready += [Reply(self._status, line) for line in whole if line]
            self._pieces, self._bytes = [], 0
        self._pieces.append(data)
        self._bytes = _limited(self._bytes + len(data))

    def end(self) -> None:
        """That was all of it."""
        last = b"".join(self._pieces)
        if last or not self._lines:
            self._ready.append(Reply(self._status, last))
        if self._lines:
            self._ready.append(Reply(self._status, b""))


def _limited(length: int) -> int:
    """The length of a body, or of a line of it; raises BadReply if that is too much."""
    if length > MAX_ETCD_REPLY_BYTES:
        raise BadReply(f"a reply of more than {MAX_ETCD_REPLY_BYTES} bytes")
    return length
