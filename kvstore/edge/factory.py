"""Makes a connection of each that is accepted, while there are not too many."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from kvstore.edge.connections import Connections
from kvstore.edge.protocol import KVStoreProtocol

_TOO_MANY = b"-ERR max number of clients reached\r\n"


class KVStoreFactory(Connections, Factory):
    """See the module."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A protocol for a new connection, or one that refuses it."""
        if len(self.protocols) >= self.server.configuration.number("maxclients"):
            self.server.connections_refused += 1
            return _Refused()
        return KVStoreProtocol(self)


class _Refused(Protocol):
    """A connection past --max-clients: an error, and goodbye."""

    def connectionMade(self) -> None:
        """Say so, and close."""
        transport: Any = self.transport
        transport.write(_TOO_MANY)
        transport.loseConnection()
