"""Requests by HTTP to a site, without a socket."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from kvstore.edge.compactor import Compactor
from kvstore.edge.exits import OwnProcess
from kvstore.edge.http.site import Site
from kvstore.edge.listening import Listening
from kvstore.edge.status import Pace, Sources
from tests.kit.edge import ProtocolTestCase

_PEER = IPv4Address("TCP", "127.0.0.1", 50_000)
OWN_HOST = ("Host", "127.0.0.1:8081")


class Answer(NamedTuple):
    """What came back. `headers`: by their names in lower case; one that came twice has its last value."""

    status: int
    headers: dict[str, str]
    body: str


class Connection:
    """One connection to a site. `transport`: the site's end."""

    def __init__(self, site: Site) -> None:
        self.transport = StringTransport(peerAddress=_PEER)
        self.protocol: Any = site.buildProtocol(_PEER)
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Bytes from the client."""
        self.protocol.dataReceived(data)

    def answer(self) -> Answer:
        """All that came so far, taken apart."""
        head, _, body = self.transport.value().decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(first.split()[1]), headers, body)

    def lose(self) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


def request(path: str, *headers: tuple[str, str], method: str = "GET") -> bytes:
    """A request as a browser sends it."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode()


def get(site: Site, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
    """Ask a site, by a name of its own unless a header says another, in a connection that is gone then."""
    connection = Connection(site)
    connection.send(request(path, *(headers if dict(headers).get("Host") else (OWN_HOST, *headers)), method=method))
    connection.lose()
    return connection.answer()


class WatchedTestCase(ProtocolTestCase):
    """A server on a simulated clock and disk with all that tells of it. `sources`: whom one asks."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        compactor = Compactor(self.store, self._no_merge, self.faults.append)
        counts = (
            lambda: self.server.requests_executed,
            lambda: self.factory.network_bytes()[0],
            lambda: self.factory.network_bytes()[1],
        )
        paces = [Pace(self.clock.seconds, count) for count in counts]
        listening = Listening(self.clock, lambda: None, OwnProcess(self.clock, lambda status: None, prints=False))
        self.sources = Sources(
            self.clock, self.store, "always", self.commit, self.factory, compactor, *paces, listening, 0
        )

    def _no_merge(self, job: Any, said: Any, ended: Any) -> Any:
        raise OSError("there are no processes here")
