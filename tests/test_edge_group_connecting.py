"""How a server of a group gets to another one, over real sockets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from kvstore.base.address import Address
from kvstore.edge.group.connecting import connector
from kvstore.edge.group.joining import Fetch
from kvstore.edge.settings import GroupSettings
from kvstore.edge.tls import ask_for_certificates, authorities_in
from tests.kit.certificate import make_certificate

reactor: Any = the_reactor


class Refusing(Protocol):
    """Answers whatever is asked with an error, and remembers it."""

    asked: list[bytes]
    gone: Deferred[None]

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self.asked.append(data)
        transport: Any = self.transport
        transport.write(b"-ERR heard you\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        if not self.gone.called:
            self.gone.callback(None)


class ConnectingTests(TestCase):
    """One other server, which answers with an error."""

    def setUp(self) -> None:
        """Two certificates for 127.0.0.1, of which none vouches for the other."""
        self.own, self.other = (os.path.abspath(self.mktemp()) for _ in range(2))
        make_certificate(self.own)
        make_certificate(self.other)
        self.asked: list[bytes] = []

    @inlineCallbacks
    def outcome(
        self, listen: str, host: str = "127.0.0.1", asks: str | None = None, shown: str | None = None, **settings: Any
    ) -> Any:
        """What becomes of a fetch from a server that listens so. `asks`: for certificates that this one vouches for;
        `shown`: that the one who asks has at a port of its own.
        """
        gone: Deferred[None] = Deferred()
        endpoint = serverFromString(reactor, listen)
        if asks is not None:
            ask_for_certificates(endpoint, authorities_in(asks))
        factory = Factory.forProtocol(type("One", (Refusing,), {"asked": self.asked, "gone": gone}))
        port = yield endpoint.listen(factory)
        ended: Deferred[Any] = Deferred()
        begin: Callable[[int], Any] = self.fail
        fetch = Fetch(reactor, ("default", b"secret"), 1, begin, ended.callback)
        group = GroupSettings(name="shop", log="etcd://e:1", advertise=Address("127.0.0.1", 1), **settings)
        own = [] if shown is None else ["tcp:0", f"ssl:0:privateKey={shown}"]
        connector(reactor, group, own)(Address(host, port.getHost().port), fetch)
        outcome = yield ended
        yield gone
        yield port.stopListening()
        return outcome

    def tls(self, certificate: str) -> str:
        """An endpoint that has it."""
        return f"ssl:0:privateKey={certificate}:interface=127.0.0.1"

    @inlineCallbacks
    def test_without_tls(self) -> Any:
        """As it is."""
        self.assertEqual((yield self.outcome("tcp:0:interface=127.0.0.1")), "ERR heard you")

    @inlineCallbacks
    def test_over_tls(self) -> Any:
        """With a server that is vouched for."""
        outcome = yield self.outcome(self.tls(self.own), over_tls=True, node_ca_path=self.own)
        self.assertEqual(outcome, "ERR heard you")

    @inlineCallbacks
    def test_whom_nobody_vouches_for(self) -> Any:
        """Not with one of another authority, one for another host, or by the system's; it is told no password."""
        for host, authority in (("127.0.0.1", self.other), ("localhost", self.own), ("127.0.0.1", None)):
            outcome = yield self.outcome(self.tls(self.own), host, over_tls=True, node_ca_path=authority)
            self.assertNotIn("heard", outcome)
        self.assertEqual(self.asked, [])

    @inlineCallbacks
    def test_a_server_that_asks_for_a_certificate(self) -> Any:
        """It is shown that of this server's port; without one it closes."""
        for shown, is_heard in ((self.own, True), (self.other, False), (None, False)):
            outcome = yield self.outcome(
                self.tls(self.own), asks=self.own, shown=shown, over_tls=True, node_ca_path=self.own
            )
            self.assertIs("heard" in outcome, is_heard, outcome)

    def test_a_host_that_no_certificate_can_be_for(self) -> None:
        """Names that some resolvers know, and IDNA does not: it fails as any that is not reached."""
        outcomes: list[Any] = []
        fetch = Fetch(reactor, None, 1, self.fail, outcomes.append)
        group = GroupSettings(name="shop", log="etcd://e:1", advertise=Address("a", 1), over_tls=True)
        connector(reactor, group, [])(Address("no_such_host", 1), fetch)
        self.assertEqual([outcome.partition(":")[0] for outcome in outcomes], ["no host for TLS"])

    def test_what_is_no_authority(self) -> None:
        """The file has gone, or has become another, since the options were read."""
        settings = GroupSettings(
            name="shop", log="etcd://e:1", advertise=Address("a", 1), over_tls=True, node_ca_path="/nowhere"
        )
        self.assertIn("give a file", str(self.assertRaises(ValueError, connector, reactor, settings, [])))

    def test_advertised_where_nobody_is_let_in(self) -> None:
        """The log warns of a server that listens on this machine alone; not if it is advertised there, too."""
        for host, listen, warns in (
            ("a", (), True), ("a", ("tcp:1:interface=127.0.0.1", "unix:socket"), True), ("127.0.0.1", (), False),
            ("a", ("tcp:1",), False), ("a", ("ssl:1:privateKey=file",), False),
        ):  # fmt: skip
            group = GroupSettings(name="shop", log="etcd://e:1", advertise=Address(host, 1))
            with capturedLogs() as lines:
                connector(reactor, group, listen)
            self.assertEqual(["advertised as a:1" in formatEvent(line) for line in lines], [True] * warns)
