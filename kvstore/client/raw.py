"""A connection to speak any of the server's grammars by hand, byte for byte: for the test programs in `scripts`.

It repeats nothing and hides nothing: whatever goes wrong is an OSError for the program that uses it.
"""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any, Self

from kvstore.base.address import Address

_TIMEOUT_SECONDS = 5.0


class RawConnection:
    """One connection. `address`: the server's. Every method raises OSError if the server is gone or silent for 5 s."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, _TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line, without its CRLF."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server closed the connection")
        return line.removesuffix(b"\n").removesuffix(b"\r")

    def reply(self) -> Any:
        """The next line as JSON. Raises ValueError if it is something else."""
        return json.loads(self.line())

    def resp(self) -> Any:
        """The next RESP2 reply: str for a status (`+OK`) and for an error (`-ERR ...`), bytes, int, None or list."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind in (b"+", b"-"):
            return line.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.resp() for _ in range(int(rest))]
        raise ValueError(f"not RESP2: {line!r}")

    def _bytes(self, length: int) -> bytes:
        data = self._file.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionResetError("the server closed the connection")
        return data[:-2]

    def ended(self) -> bool:
        """Whether the server has closed the connection, waiting for that if nothing else comes."""
        return self._file.read(1) == b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()


def resp_request(*words: str | bytes) -> bytes:
    """A request in RESP."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
