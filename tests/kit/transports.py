"""Transports without sockets, for tests of the edge: clients that take as much as tests let them."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress


class Socket:
    """The kernel's side: takes at most `room` bytes. `taken`: all that it took."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def take(self, data: bytes) -> int:
        """Take what there is room for; returns how much that was."""
        count = min(len(data), self.room)
        self.room -= count
        self.taken += data[:count]
        return count


class BufferedTransport(tcp.Connection):
    """A TCP transport without a socket, as far as an outlet sees it: what it buffers, and a pull producer.

    It does what `twisted.internet.abstract.FileDescriptor` does; in tests/test_end_to_end_clients.py the real one is at
    work.
    """

    def __init__(self, room: int = 2**40, *, TLS: bool = False) -> None:
        self.kernel = Socket(room)
        self.buffered = b""
        self.pieces: list[int] = []
        self.pull: Any = None
        self.aborted = 0
        self.lost = False
        self.TLS = TLS

    @property
    def socket(self) -> Any:
        """The bare socket: what goes to it is past the buffer."""
        return self

    def send(self, data: bytes) -> int:
        """As socket.send of a socket that does not block."""
        assert not self.buffered, "this would overtake what is buffered"
        if self.lost:
            raise ConnectionResetError
        if not self.kernel.room:
            raise BlockingIOError(errno.EAGAIN, "it is full")
        return self.kernel.take(data)

    def sendmsg(self, pieces: list[bytes]) -> int:
        """As socket.sendmsg."""
        assert len(pieces) <= 1024, "the kernel refuses more than IOV_MAX"
        return self.send(b"".join(pieces))

    def write(self, data: bytes) -> None:
        """Buffer."""
        assert isinstance(data, bytes), "the real transport takes nothing else"
        self.pieces.append(len(data))
        self.buffered += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a producer, and ask it for data at once, as it is a pull producer."""
        assert self.pull is None and not streaming
        self.pull = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self.pull = None

    def abortConnection(self) -> None:
        """Count."""
        self.aborted += 1

    def drain(self, room: int = 2**40) -> None:
        """The socket has room for so many more bytes: write, and ask the producer whenever nothing is buffered."""
        self.kernel.room += room
        while self.kernel.room and (self.buffered or self.pull is not None):
            self.buffered = self.buffered[self.kernel.take(self.buffered) :]
            if not self.buffered and self.pull is not None:
                self.pull.resumeProducing()


class PlainTransport:
    """The same for a transport that is no TCP or UNIX connection, such as a TLS wrapper."""

    def __init__(self) -> None:
        self.kernel = Socket(2**40)
        self.buffered = b""
        self.pieces: list[int] = []
        self.pull: Any = None

    write = BufferedTransport.write
    registerProducer = BufferedTransport.registerProducer
    unregisterProducer = BufferedTransport.unregisterProducer
    drain = BufferedTransport.drain

    @property
    def socket(self) -> Any:
        """What the wrapper passes through from the bare socket beneath it."""
        raise AssertionError("this would go out unencrypted")


class SocketTransport(BufferedTransport):
    """The same with what a connection's protocol wants besides. `reading`, `disconnecting`: as told."""

    disconnecting: Any = False

    def __init__(self, address: IAddress) -> None:
        super().__init__()
        self._address = address
        self.reading = True

    def getPeer(self) -> IAddress:
        """See ITransport."""
        return self._address

    def getHost(self) -> IAddress:
        """See ITransport."""
        return IPv4Address("TCP", "127.0.0.1", 6380)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ITCPTransport."""

    def pauseProducing(self) -> None:
        """Note it."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Note it."""
        self.reading = True

    def loseConnection(self, *ignored: Any) -> None:
        """Note it; what was handed over before still leaves, what is sent afterwards does not."""
        self.disconnecting = True
        self.send = self.too_late  # type: ignore[method-assign]

    def too_late(self, data: bytes) -> int:
        """What a socket says that is closed."""
        raise AssertionError(f"sent after the end: {data!r}")

    def value(self) -> bytes:
        """What the client got since the last `clear`."""
        return self.kernel.taken

    def clear(self) -> None:
        """Forget it."""
        self.kernel.taken = b""
