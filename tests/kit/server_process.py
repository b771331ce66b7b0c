"""The real server in the tests: one process for all tests that want the same one, and sockets to talk to it.

Starting costs half a second, so a test that neither ends the server nor gives it options of its own takes
`shared_server`, which is empty when the test gets it. Every wait in here has a limit (`PATIENCE_S`), and none of them
is a pause: they end when what is waited for is seen.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import hiredis

from kvstore.testing.server_process import PATIENCE_S, ServerProcess
from kvstore.wire.resp import pack

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _TestCase
else:
    _TestCase = object

_Seen = TypeVar("_Seen")

#: Between two looks at something that does not tell by itself when it changes.
_LOOK_AGAIN_S = 0.01


def new_directory(cleanup: Callable[..., object]) -> str:
    """An empty directory with a short path, as sockets need; `cleanup` (such as a test's addCleanup) removes it."""
    directory = tempfile.mkdtemp(prefix="kvstore-test-")
    cleanup(_remove, directory)
    return directory


def _remove(directory: str) -> None:
    """Remove it, though the compaction process of a killed server may go on writing in there for a moment."""

    def remove() -> bool:
        shutil.rmtree(directory, ignore_errors=True)
        return not os.path.exists(directory)

    eventually(remove)


def eventually(
    look: Callable[[], _Seen], wanted: Callable[[_Seen], object] = bool, patience_s: float = PATIENCE_S
) -> _Seen:
    """Look until what is seen is `wanted`, and return it. Raises AssertionError, with the last sight, after
    `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    while not wanted(seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen in {patience_s} s; the last look gave {seen!r}")
        time.sleep(_LOOK_AGAIN_S)
    return seen


@functools.cache
def _shared(reactor: str | None, options: tuple[str, ...]) -> ServerProcess:
    server = ServerProcess(*options, data=new_directory(atexit.register), reactor=reactor)
    atexit.register(server.kill)
    return server


def shared_server(*options: str, reactor: str | None = None) -> ServerProcess:
    """The server for all tests with these options and this reactor, its table empty; started, if it does not run."""
    server = _shared(reactor, options)
    if not server.running:
        server.start()
    with Wire(server.port) as wire:
        assert wire.ask("FLUSHALL") == b"OK"
    return server


class Wire:
    """A client without a library: bytes out, bytes in, each wait limited. `address`: a port of loopback, or a path."""

    def __init__(self, address: int | str, *, receive_buffer_bytes: int | None = None) -> None:
        family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", address) if isinstance(address, int) else address)
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def read(self, length: int) -> bytes:
        """Exactly so many bytes. Raises EOFError if the server ends the connection before."""
        while len(self._received) < length:
            self._receive()
        data, self._received = self._received[:length], self._received[length:]
        return data

    def read_line(self) -> bytes:
        """The next line, with its end."""
        while b"\n" not in self._received:
            self._receive()
        return self.read(self._received.index(b"\n") + 1)

    def read_replies(self, count: int) -> list[Any]:
        """So many RESP replies; an error is a hiredis.ReplyError among them."""
        reader = hiredis.Reader()
        replies: list[Any] = []
        while True:
            reader.feed(self._received)
            self._received = b""
            while len(replies) < count and (reply := reader.gets()) is not False:
                replies.append(reply)
            if len(replies) == count:
                return replies
            self._receive()

    def read_to_end(self) -> bytes:
        """Everything up to the end of the connection, whether it ends well (FIN) or badly (RST)."""
        while True:
            try:
                self._receive()
            except (EOFError, ConnectionResetError):
                data, self._received = self._received, b""
                return data

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError(f"the server ended the connection; left over: {self._received[:200]!r}")
        self._received += data

    def ask(self, *words: str | bytes) -> Any:
        """Send one RESP request and return its reply."""
        self.send(pack(*(word.encode() if isinstance(word, str) else word for word in words)))
        return self.read_replies(1)[0]

    def info(self, section: str) -> dict[str, str]:
        """The fields of one section of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def say(self, line: str) -> bytes:
        """Type a line, as telnet sends it; returns the one line of the answer."""
        self.send(line.encode() + b"\r\n")
        return self.read_line()

    def half_close(self) -> None:
        """Say that nothing more will be sent (FIN), and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close."""
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()


class Serving(_TestCase):
    """For tests against the real server: a base beside SynchronousTestCase or TestCase.

    A class of tests that is to run on several reactors inherits only this; its subclasses name the `reactor`, as
    twistd's --reactor. `options`: of the shared server.
    """

    reactor: ClassVar[str | None] = None
    options: ClassVar[tuple[str, ...]] = ()

    def connect(self, server: ServerProcess | None = None, **options: Any) -> Wire:
        """A connection to a server, the shared one unless told; closed after the test. `options`: see `Wire`."""
        wire = Wire((server or self.server).port, **options)
        self.addCleanup(wire.close)
        return wire

    @property
    def server(self) -> ServerProcess:
        """The shared server, started and emptied when a test first asks for it."""
        if self._server is None:
            self._server = shared_server(*self.options, reactor=self.reactor)
        return self._server

    _server: ServerProcess | None = None

    def new_data(self) -> str:
        """The name of a data directory that is not there yet; removed after the test."""
        return os.path.join(new_directory(self.addCleanup), "data")

    def start(self, *options: str, data: str | None = None, **keywords: Any) -> ServerProcess:
        """A server of the test's own, on this reactor, killed after the test. `data`: a new directory unless given."""
        server = ServerProcess(*options, data=data or self.new_data(), reactor=self.reactor, **keywords)
        self.addCleanup(server.kill)
        return server
