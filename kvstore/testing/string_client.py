"""A client that is nothing but a transport: what the server writes to it is there to be looked at.

server = MemoryServer()                            # kvstore.testing.memory_server
client = StringClient()
protocol = server.factory.buildProtocol(None)
protocol.makeConnection(client)
protocol.dataReceived(b"SET a 1\\r\\n")
server.clock.advance(0)                            # the turn ends: the commit, then the reply
client.value()                                     # b"+OK\\r\\n"
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import StringTransport


class StringClient(StringTransport):
    """A connection whose client takes replies when the test lets it, at once unless told (`takes`)."""

    def __init__(self, address: IAddress | None = None) -> None:
        super().__init__(peerAddress=address, hostAddress=IPv4Address("TCP", "127.0.0.1", 6380))
        self.takes = True
        self.aborted = False
        self.tuned: list[tuple[str, bool]] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a pull producer, and what it has if the client takes replies."""
        super().registerProducer(producer, streaming)
        producer.resumeProducing()
        if self.takes:
            self.take()

    def take(self) -> None:
        """The client takes all there is."""
        while self.producer is not None:
            self.producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Note it; pausing twice is allowed here as on a real transport."""
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        """Note it."""
        self.producerState = "producing"

    def abortConnection(self) -> None:
        """Note it. A real transport loses the connection in the next turn."""
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it."""
        self.tuned.append(("no delay", enabled))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Note it."""
        self.tuned.append(("keep alive", enabled))
