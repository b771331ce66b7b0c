"""Makes a connection of each that is accepted, while there are not too many, of those who may come in at all."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from kvstore.edge.client_limits import network_of
from kvstore.edge.connections import Connections
from kvstore.edge.exposure import is_loopback
from kvstore.edge.protocol import KVStoreProtocol

_TOO_MANY = b"-ERR max number of clients reached\r\n"
_TOO_MANY_THERE = b"-ERR max number of clients of one address reached\r\n"
#: Valkey's words, as far as they are true here.
_PROTECTED = (
    b"-DENIED Running in protected mode because protected mode is enabled and no password is set for the default user."
    b" In this mode connections are only accepted from the loopback interface, or over TLS."
    b" Set a password for the default user, or if nobody else can reach this port disable protected mode by"
    b" 'CONFIG SET protected-mode no' from the loopback interface.\r\n"
)


class KVStoreFactory(Connections, Factory):
    """See the module. `over_tls`: the same for who comes over TLS."""

    noisy = False

    @property
    def over_tls(self) -> Factory:
        """See the class."""
        return _OverTLS(self)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A protocol for a new connection, or one that refuses it."""
        server = self.server
        if (
            server.configuration.text("protected-mode") == "yes"
            and not server.asks_for_passwords()
            and not _is_local(addr)
        ):
            return self._refuse(_PROTECTED)
        return self.admit(addr)

    def admit(self, address: Any) -> Protocol:
        """A protocol for a connection that may be made, if there are not too many."""
        number = self.server.configuration.number
        if len(self.protocols) >= number("maxclients"):
            return self._refuse(_TOO_MANY)
        most, host = number("max-clients-per-address"), getattr(address, "host", None)
        if most and host and self.at_address[network_of(host)] >= most:
            return self._refuse(_TOO_MANY_THERE)
        return KVStoreProtocol(self)

    def _refuse(self, line: bytes) -> Protocol:
        self.server.connections_refused += 1
        return _Refused(line)


class _OverTLS(Factory):
    """See `KVStoreFactory`."""

    noisy = False

    def __init__(self, factory: KVStoreFactory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """See `KVStoreFactory`."""
        return self._factory.admit(addr)


class _Refused(Protocol):
    """A connection that is not to be: an error, and goodbye."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def connectionMade(self) -> None:
        """Say so, and close."""
        transport: Any = self.transport
        transport.write(self._line)
        transport.loseConnection()


def _is_local(address: Any) -> bool:
    """Whether that is on this machine: a loopback address, or a Unix socket, which has no host."""
    host = getattr(address, "host", None)
    return host is None or is_loopback(host)
