"""A connection in memory: two protocols of Twisted, and what one writes the other receives in the clock's next turn.

As on a socket, nothing arrives while its sender is still at work, bytes keep their order but not their pieces, a side
that pauses reading holds the other back, and an end reaches the other side behind all that was written before it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer


def connect(clock: Any, one: Any, other: Any, addresses: tuple[IPv4Address, IPv4Address]) -> MemoryTransport:
    """Connect two protocols; returns the transport of `one`. `clock`: a Clock, or a reactor. `addresses`: of both."""
    first, second = MemoryTransport(clock, one, *addresses), MemoryTransport(clock, other, *reversed(addresses))
    first.peer, second.peer = second, first
    other.makeConnection(second)
    one.makeConnection(first)
    return first


@implementer(ITCPTransport, IConsumer)
class MemoryTransport:
    """One end of such a connection. `disconnecting`: no more can be written. `connected`: its end has not come yet."""

    peer: MemoryTransport

    def __init__(self, clock: Any, protocol: Any, host: IPv4Address, address: IPv4Address) -> None:
        self._clock = clock
        self.protocol = protocol
        self._host = host
        self._address = address
        self._arriving = bytearray()
        self._delivery_asked = False
        self._reads = True
        self._producer: Any = None
        self._pulls = False
        self._written_all = False
        self.disconnecting = False
        self.connected = True

    # What the protocol at this end calls

    def write(self, data: bytes) -> None:
        """Send; what comes after the end is forgotten."""
        if self.connected and not (self.disconnecting or self._written_all):
            self.peer._arriving += data
            self.peer._ask_for_delivery()

    def writeSequence(self, pieces: Any) -> None:
        """Send them."""
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """End it, once all that was written has arrived."""
        self.disconnecting = True
        self.peer._ask_for_delivery()

    def loseWriteConnection(self) -> None:
        """Say, behind all that was written, that no more will come; the other side is read on."""
        self._written_all = True
        self.peer._ask_for_delivery()

    def abortConnection(self) -> None:
        """End it now; what has not arrived is lost."""
        self.disconnecting = True
        self.peer._arriving.clear()
        self._clock.callLater(0, self._end, ConnectionAborted(), ConnectionLost())

    def break_off(self) -> None:
        """For tests: the connection is lost, as when the other machine is gone."""
        self._end(ConnectionLost(), ConnectionLost())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        self._producer = producer
        self._pulls = not streaming
        if self._pulls:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._producer = None
        if self.disconnecting:
            self.peer._ask_for_delivery()

    def pauseProducing(self) -> None:
        """Let nothing arrive at this end."""
        self._reads = False

    stopProducing = loseConnection

    def resumeProducing(self) -> None:
        """Let it arrive again."""
        self._reads = True
        self._ask_for_delivery()

    def getHost(self) -> IPv4Address:
        """This end's address."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other's."""
        return self._address

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""

    def getTcpNoDelay(self) -> bool:
        """Nothing is delayed here."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing is lost here."""

    def getTcpKeepAlive(self) -> bool:
        """Nothing is lost here."""
        return False

    # What the clock calls

    def _ask_for_delivery(self) -> None:
        if self._reads and not self._delivery_asked:
            self._delivery_asked = True
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._delivery_asked = False
        if not (self._reads and self.connected):
            return
        if self._arriving:
            data, self._arriving = bytes(self._arriving), bytearray()
            self.protocol.dataReceived(data)
        peer = self.peer
        if peer._producer is not None and peer._pulls:
            peer._producer.resumeProducing()
        if not (self._arriving or peer._producer is not None):
            self._tell_the_end(peer)

    def _tell_the_end(self, peer: MemoryTransport) -> None:
        """All that the peer has written has arrived."""
        if peer.disconnecting:
            self._end(ConnectionDone(), ConnectionDone())
        elif peer._written_all:
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.readConnectionLost()
            else:
                self.loseConnection()

    def _end(self, here: Exception, there: Exception) -> None:
        for end, reason in ((self, here), (self.peer, there)):
            if end.connected:
                end.connected = False
                end.protocol.connectionLost(Failure(reason))
