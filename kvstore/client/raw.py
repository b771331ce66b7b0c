"""A connection to speak any of the server's grammars by hand, byte for byte: for the test programs in `scripts`.

It repeats nothing and hides nothing: whatever goes wrong is an OSError for the program that uses it, or a ValueError
if what came is not in the grammar that it was read in. Nor does it wait for ever (`patience`), or read without end: a
reply has at most MAX_READ_REPLY_BYTES.
"""

from __future__ import annotations

import io
import json
import ssl
import time
from typing import Any

from kvstore.base.address import Address
from kvstore.base.closing import Closing
from kvstore.base.limits import MAX_READ_REPLY_BYTES
from kvstore.client.endpoint import Endpoint
from kvstore.client.patience import Patience
from kvstore.client.stream import Stream, too_long

_TIMEOUT_SECONDS = 5.0

#: Arrays in arrays in a RESP reply: EXEC's are four deep at most (COMMAND DOCS in it).
_MOST_DEPTH = 32

_SHOWN_BYTES = 80


class RawConnection(Closing):
    """One connection. `server`: where to; `tls`: what to trust and show there if TLS is spoken (`tls_context`).

    Every method raises OSError if the server is gone, or silent for `patience_seconds`.
    """

    def __init__(
        self, server: Address | Endpoint, tls: ssl.SSLContext | None = None, patience_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        endpoint = server if isinstance(server, Endpoint) else Endpoint(server)
        self._patience = Patience(patience_seconds, time.monotonic)
        self._stream = Stream(endpoint, self._patience, tls)
        self._reader = _Reader(self._stream, self._patience)
        self._file = io.BufferedReader(self._reader)

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._patience.renew()
        self._stream.send(data, self._patience)

    def line(self) -> bytes:
        """The next line, without its CRLF."""
        self._begin()
        return self._line()

    def reply(self) -> Any:
        """The next line as JSON. Raises ValueError if it is something else."""
        try:
            return json.loads(self.line())
        except RecursionError:
            raise ValueError("nested too deep") from None

    def resp(self) -> Any:
        """The next RESP2 reply: str for a status (`+OK`) and for an error (`-ERR ...`), bytes, int, None or list."""
        self._begin()
        return self._resp(_MOST_DEPTH)

    def _begin(self) -> None:
        self._patience.renew()
        self._reader.taken = 0

    def _resp(self, depth: int) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in (b"+", b"-"):
            return line.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(_length(line))
        if kind == b"*" and depth:
            return None if rest == b"-1" else [self._resp(depth - 1) for _ in range(_length(line))]
        raise ValueError(f"not RESP2: {line[:_SHOWN_BYTES]!r}")

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server closed the connection")
        return line.removesuffix(b"\n").removesuffix(b"\r")

    def _bytes(self, length: int) -> bytes:
        data = self._file.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionResetError("the server closed the connection")
        return data[:-2]

    def ended(self) -> bool:
        """Whether the server has closed the connection, waiting for that if nothing else comes."""
        self._begin()
        return self._file.read(1) == b""

    def close(self) -> None:
        """No more of it."""
        self._stream.close()


class _Reader(io.RawIOBase):
    """A stream as what BufferedReader reads. `taken`: bytes of the present reply, and what came with them."""

    def __init__(self, stream: Stream, patience: Patience) -> None:
        self.taken = 0
        self._stream = stream
        self._patience = patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.receive(self._patience, len(buffer))
        self._patience.moved(len(data))
        self.taken += len(data)
        if self.taken > MAX_READ_REPLY_BYTES:
            raise too_long(MAX_READ_REPLY_BYTES)
        buffer[: len(data)] = data
        return len(data)


def _length(header: bytes) -> int:
    digits = header[1:]
    if not (digits.isdigit() and len(digits) < 10 and int(digits) <= MAX_READ_REPLY_BYTES):
        raise ValueError(f"no length: {header[:_SHOWN_BYTES]!r}")
    return int(digits)


def resp_request(*words: str | bytes) -> bytes:
    """A request in RESP."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
