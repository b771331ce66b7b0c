"""The catalog announcer: a simulated clock and resolver, real datagrams on loopback, and the real catalog at the
end.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.address import Address, parse_address
from kvstore.client import LookupFailed, find_server
from kvstore.client.deferred import find_server as find_server_deferred
from kvstore.edge.catalog import CatalogAnnouncer
from tests.kit.real_catalog import MISSING, RealCatalog


class FakeReactor(Clock):
    """A clock that resolves names when told to. `addresses`: what the next look-ups give; `waiting`: those begun."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.addresses: dict[str, list[str]] = {}
        self.held = False
        self.waiting: list[Callable[[], None]] = []
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, **options: Any) -> None:
        """Resolve at once, or when the test says so if look-ups are held."""
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        self.waiting.append(lambda: self._tell(receiver, self.addresses.get(hostName, [])))
        if not self.held:
            self.waiting.pop()()

    def _tell(self, receiver: Any, hosts: list[str]) -> None:
        for host in hosts:
            receiver.addressResolved(IPv4Address("UDP", host, 0))
        receiver.resolutionComplete()


class AnnouncerTestCase(SynchronousTestCase):
    """An announcer on a simulated clock, and a UDP socket in the catalog's place."""

    def setUp(self) -> None:
        """Open the socket, make the announcer."""
        self.reactor = FakeReactor()
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inbox.bind(("127.0.0.1", 0))
        self.inbox.settimeout(5)
        self.addCleanup(self.inbox.close)
        self.catalog_port = self.inbox.getsockname()[1]
        self.port: int | None = 6380
        self.reactor.addresses["catalog.example"] = ["127.0.0.1"]

    def start(self, host: str = "catalog.example") -> CatalogAnnouncer:
        """Start an announcer, and let it announce if it will. It is stopped after the test."""
        announcer = CatalogAnnouncer(self.reactor, "me-a5", "me", lambda: self.port, Address(host, self.catalog_port))
        announcer.startService()
        self.addCleanup(lambda: announcer.stopService() if announcer.running else None)
        self.reactor.advance(0)
        return announcer

    def received(self) -> list[dict[str, Any]]:
        """The datagrams that have come. On loopback they are there when `send` has returned."""
        found = []
        self.inbox.setblocking(False)
        while True:
            try:
                found.append(json.loads(self.inbox.recv(65536)))
            except BlockingIOError:
                return found


class AnnouncementTests(AnnouncerTestCase):
    """What is announced, and when."""

    def test_the_datagram(self) -> None:
        """It is the JSON object that the catalog and other implementations know, with nothing else in it."""
        self.start()
        self.assertEqual(self.inbox.recv(65536), b'{"type":"hashtable","owner":"me","port":6380,"project":"me-a5"}')

    def test_at_start_and_every_minute(self) -> None:
        """One datagram at once and one a minute, with the port of the moment."""
        self.start()
        self.assertEqual(len(self.received()), 1)
        self.reactor.advance(59)
        self.assertEqual(self.received(), [])
        self.port = 7000
        self.reactor.advance(1)
        self.assertEqual([entry["port"] for entry in self.received()], [7000])
        self.reactor.pump([5, 55] * 3)
        self.assertEqual(len(self.received()), 3)

    def test_while_the_server_does_not_listen(self) -> None:
        """Without a port nothing is announced; soon after there is one, it is."""
        for none in (None, 0):
            self.port = none
            self.start()
            self.reactor.advance(1)
            self.reactor.advance(1)
            self.assertEqual(self.received(), [])
        self.port = 6380
        self.reactor.advance(1)
        self.assertEqual([entry["port"] for entry in self.received()], [6380, 6380])

    def test_name_is_resolved_each_time(self) -> None:
        """The catalog may move: its name is asked for before each datagram, an IP address never."""
        self.start()
        self.reactor.advance(60)
        self.assertEqual(self.reactor.asked, ["catalog.example"] * 2)
        self.start("127.0.0.1")
        self.assertEqual(self.reactor.asked, ["catalog.example"] * 2)
        self.assertEqual(len(self.received()), 3)

    def test_first_of_several_addresses(self) -> None:
        """Of several addresses the first gets the datagram, and if it does not refuse it no other does."""
        self.reactor.addresses["catalog.example"] = ["127.0.0.1", "127.0.0.2"]
        self.start()
        self.reactor.advance(5)
        self.assertEqual(len(self.received()), 1)

    def test_addresses_in_turn(self) -> None:
        """An address that refuses (localhost is ::1 first), or that cannot be sent to, is followed by the next."""
        self.reactor.addresses["catalog.example"] = ["::1", "255.255.255.255", "127.0.0.2", "127.0.0.1", "::1"]
        with capturedLogs() as events:
            self.start()
            self.reactor.pump([1] * 3)
            self.assertEqual(len(self.received()), 1)
            self.reactor.pump([1] * 57)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.info])
        self.assertIn(f"(127.0.0.1:{self.catalog_port})", events[0]["log_format"].format(**events[0]))

    def test_ipv6(self) -> None:
        """A catalog with an IPv6 address gets its datagram."""
        inbox = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(inbox.close)
        inbox.settimeout(5)
        inbox.bind(("::1", 0))
        self.catalog_port = inbox.getsockname()[1]
        self.start("::1")
        self.assertEqual(json.loads(inbox.recv(65536))["project"], "me-a5")

    def test_slow_resolver(self) -> None:
        """While a name is being resolved nothing waits; answers that come together each send what is true by then."""
        self.reactor.held = True
        self.start()
        self.reactor.advance(60)
        self.assertEqual((self.received(), len(self.reactor.waiting)), ([], 2))
        self.port = 7000
        for answer in self.reactor.waiting:
            answer()
        self.assertEqual([entry["port"] for entry in self.received()], [7000, 7000])
        self.reactor.advance(5)

    def test_stop(self) -> None:
        """After the stop there is no timer, and the answer of a look-up that was under way sends nothing."""
        self.reactor.held = True
        announcer = self.start()
        announcer.stopService()
        self.reactor.waiting.pop()()
        self.assertEqual((self.received(), self.reactor.getDelayedCalls()), ([], []))

    def test_stop_after_an_announcement(self) -> None:
        """Stopping while a refusal could still come leaves no timer and no open socket behind."""
        announcer = self.start()
        kept = announcer._socket
        assert kept is not None
        announcer.stopService()
        self.assertEqual((self.reactor.getDelayedCalls(), kept.fileno()), ([], -1))

    def test_no_socket_is_kept(self) -> None:
        """Some seconds after an announcement its socket is closed."""
        announcer = self.start()
        self.reactor.advance(5)
        self.assertIsNone(announcer._socket)


class FailureTests(AnnouncerTestCase):
    """What goes wrong is said once, and once more when it is over."""

    def levels(self, minutes: int) -> list[str]:
        """The levels of what is logged while so many minutes pass."""
        with capturedLogs() as events:
            self.reactor.pump([5, 55] * minutes)
        return [event["log_level"].name for event in events]

    def test_nobody_listens(self) -> None:
        """A refusal is logged once however long it lasts; when the catalog is back, that is logged once."""
        self.inbox.close()
        with capturedLogs() as events:
            self.start()
            self.reactor.pump([5, 55] * 3)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        text = events[0]["log_format"].format(**events[0])
        self.assertEqual(
            text,
            f"cannot announce me-a5 to the catalog at catalog.example:{self.catalog_port}: Connection refused; "
            "trying again every 60 s",
        )
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.inbox.close)
        self.inbox.bind(("127.0.0.1", self.catalog_port))
        self.assertEqual(self.levels(3), ["info"])
        self.assertEqual(len(self.received()), 3)

    def test_no_such_name(self) -> None:
        """A name that does not resolve is a failure like another, and is asked for again."""
        self.reactor.addresses.clear()
        with capturedLogs() as events:
            self.start()
        self.assertEqual([event["reason"] for event in events], ["there is no host catalog.example"])
        self.assertEqual(self.levels(2), [])
        self.reactor.addresses["catalog.example"] = ["127.0.0.1"]
        self.assertEqual(self.levels(2), ["info"])

    def test_system_refuses_to_send(self) -> None:
        """An error of the system itself (here: it forbids sending to the broadcast address) is a failure like
        another.
        """
        with capturedLogs() as events:
            self.start("255.255.255.255")
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        self.assertEqual(self.levels(2), [])

    def test_failures_of_different_kinds(self) -> None:
        """Going from one failure to another is not news, nor is a look-up that fails after an announcement went
        well.
        """
        self.inbox.close()
        with capturedLogs() as events:
            self.start()
            self.reactor.advance(5)
            self.reactor.addresses.clear()
            self.reactor.pump([55, 5, 55])
        self.assertEqual(len(events), 1)

    def test_success_is_said_once(self) -> None:
        """As long as all goes well one line says what is announced where; another when the port is another."""
        with capturedLogs() as events:
            self.start()
            self.assertEqual(events, [])
            self.reactor.pump([5, 55] * 3)
        where = f"catalog.example:{self.catalog_port} (127.0.0.1:{self.catalog_port})"
        text = f"announced me-a5 on port 6380 to the catalog at {where}; every 60 s"
        self.assertEqual([event["log_format"].format(**event) for event in events], [text])
        self.port = 7000
        self.assertEqual(self.levels(3), ["info"])

    def test_every_address_refuses(self) -> None:
        """Only when the last address has refused too has it failed, which is said once, and once that it is over."""
        self.inbox.close()
        self.reactor.addresses["catalog.example"] = ["127.0.0.1", "127.0.0.2"]
        with capturedLogs() as events:
            self.start()
            self.reactor.advance(1)
            self.assertEqual(events, [])
            self.reactor.pump([1] * 119)
        self.assertEqual([event["reason"] for event in events], ["Connection refused"])
        self.inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.inbox.close)
        self.inbox.bind(("127.0.0.2", self.catalog_port))
        with capturedLogs() as events:
            self.reactor.pump([1] * 180)
        (event,) = events
        self.assertIn("(127.0.0.2:", event["log_format"].format(**event))
        self.assertIn(") again;", event["log_format"].format(**event))


class RealCatalogTests(TestCase):
    """Announcer, the real catalog, look-up."""

    skip = MISSING
    timeout = 60

    def setUp(self) -> None:
        """Start the catalog."""
        self.catalog = RealCatalog()
        self.addCleanup(self.catalog.stop)

    def announce(self, project: str, port: int) -> None:
        """Start an announcer on the real reactor; it is stopped after the test."""
        announcer = CatalogAnnouncer(reactor, project, "me", lambda: port, parse_address(self.catalog.address))
        announcer.startService()
        self.addCleanup(announcer.stopService)

    def when_known(self, project: str, port: int) -> Address:
        """What the catalog says of a project, as soon as it knows this port; it tells nobody when it has learnt
        something.
        """
        deadline = time.monotonic() + 20
        while True:
            try:
                found = find_server(project, self.catalog.address)
            except LookupFailed:
                found = Address("", 0)
            if found.port == port or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    async def test_announced_server_is_found(self) -> None:
        """A project that is announced is found, by both clients, at the address it was announced from."""
        self.announce("me-a5", 4444)
        await self.turn_of_the_reactor()
        self.assertEqual(self.when_known("me-a5", 4444), Address("127.0.0.1", 4444))
        found = await find_server_deferred(reactor, "me-a5", self.catalog.address)
        self.assertEqual(found, Address("127.0.0.1", 4444))

    async def test_any_name_can_be_announced(self) -> None:
        """Names of any characters come through the catalog as they are."""
        name = 'zebra\'s "own" \\ table \u00fc \U0001f993'
        self.announce(name, 4445)
        await self.turn_of_the_reactor()
        self.assertEqual(self.when_known(name, 4445).port, 4445)

    async def test_unknown_project(self) -> None:
        """A project that was never announced is not found, and others do not stand in for it."""
        self.announce("me-a5", 4444)
        await self.turn_of_the_reactor()
        self.when_known("me-a5", 4444)
        with self.assertRaises(LookupFailed):
            await find_server_deferred(reactor, "me-a", self.catalog.address)

    async def turn_of_the_reactor(self) -> None:
        """Let the reactor do what was to be done at once."""
        await find_server_deferred(reactor, "nobody", self.catalog.address).addErrback(lambda failure: None)
