"""The limit on what all clients together began to send and did not end: who is dropped, what they hear."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MAX_SLICED_REQUESTS, UNCOUNTED_INPUT_BYTES
from kvstore.commands.context import Server
from kvstore.edge.factory import KVStoreFactory
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.settings import Settings
from kvstore.edge.turn import Turn
from kvstore.edge.unfinished import Unfinished
from kvstore.session.hooks import Hooks
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.string_client import StringClient
from kvstore.values import TYPES
from tests.kit.server_process import Serving

_LIMIT = 100_000


class _NoCommits:
    """Group commit for requests that change nothing."""

    def wait(self, waiter: object, sequence: int) -> None:
        """Nobody is to wait."""
        raise AssertionError


class UnfinishedInputTests(SynchronousTestCase):
    """Protocols of one factory, on transports that are strings."""

    def setUp(self) -> None:
        """A factory with a small limit."""
        settings = Settings(data_path="/nowhere", max_input_bytes=_LIMIT, max_request_bytes=_LIMIT)
        commit: Any = _NoCommits()
        self.clock = Clock()
        store = Store(SimulatedDisk(), TYPES, lambda: 0, bytes)
        self.factory = KVStoreFactory(
            settings, Server(store, lambda: 0, settings.as_config(), ""), Turn(self.clock), commit, Hooks(), self.fail
        )

    def client(self) -> tuple[KVStoreProtocol, StringClient]:
        """One more client."""
        protocol = self.factory.buildProtocol(None)
        assert isinstance(protocol, KVStoreProtocol)
        transport = StringClient()
        protocol.makeConnection(transport)
        return protocol, transport

    def send(self, protocol: KVStoreProtocol, data: bytes, piece: int = 1000) -> None:
        """Bytes from the client, in pieces."""
        for place in range(0, len(data), piece):
            protocol.dataReceived(data[place : place + piece])

    def test_a_request_that_waits(self) -> None:
        """One that cannot begin yet counts until it does, in any grammar; past the limit it is not done."""
        slicing = self.factory.server.store.table.slicing
        for request in (b"*2\r\n$4\r\nKEYS\r\n$60000\r\n%b\r\n", b'{"method":"query","subkey":"%b","subvalue":1}\n'):
            slicing.under_way = MAX_SLICED_REQUESTS
            first, large = self.client()
            second, small = self.client()
            self.send(first, request % (b"x" * 60_000))
            self.assertEqual(self.factory.unfinished.total_bytes // 1000, 60)
            self.send(second, request % (b"x" * 60_000))
            self.assertEqual(self.factory.unfinished.total_bytes // 1000, 60)
            self.assertEqual((large.disconnecting, small.disconnecting).count(True), 1)
            slicing.under_way = 0
            self.clock.advance(0)
            self.clock.advance(0)
            self.assertEqual(self.factory.unfinished.total_bytes, 0)
            for protocol in (first, second):
                protocol.connectionLost(Failure(ConnectionDone()))

    def test_up_to_the_limit(self) -> None:
        """As much as the limit is taken, one byte more is not: the client that holds most hears why, and goes."""
        first, large = self.client()
        second, small = self.client()
        self.send(first, b"x" * 60_000)
        self.send(second, b"y" * 40_000)
        self.assertEqual(self.factory.unfinished.total_bytes, _LIMIT)
        self.assertFalse(large.disconnecting or small.disconnecting)
        self.send(second, b"y")
        self.assertTrue(large.disconnecting)
        self.assertFalse(small.disconnecting)
        self.assertRegex(
            large.value(), rb"^-ERR the unfinished requests and subscriptions of all clients are too large.*\r\n$"
        )
        self.assertEqual(self.factory.unfinished.total_bytes, 40_001)
        self.assertEqual(first.session.unread_bytes, 0)

    def test_subscriptions(self) -> None:
        """They count, until they are left; the client that has most of them is dropped, and has none then."""
        first, large = self.client()
        second, small = self.client()
        self.send(first, b"SUBSCRIBE " + b" ".join(b"%d" % number for number in range(120)) + b"\r\n")
        held = self.factory.unfinished.total_bytes
        self.assertEqual(held, first.client.subscription_bytes)
        self.send(first, b"SUBSCRIBE a\r\nUNSUBSCRIBE 1 a\r\n")
        self.assertLess(self.factory.unfinished.total_bytes, held)
        self.send(second, b"x" * (_LIMIT - held))
        self.send(first, b"SUBSCRIBE 1 a\r\n")
        self.assertTrue(large.disconnecting)
        self.assertFalse(small.disconnecting)
        self.assertEqual((first.client.subscription_bytes, self.factory.server.channels.clients()), (0, 0))

    def test_the_one_that_holds_most_may_be_the_one_that_sends(self) -> None:
        """It is dropped in the middle of its own read, and what it sends after that is not looked at."""
        first, large = self.client()
        second, _ = self.client()
        self.send(second, b"y" * 45_000)
        self.send(first, b'{"x' + b"x" * 60_000 + b"\nPING\n")
        self.assertTrue(large.disconnecting)
        self.assertRegex(large.value(), rb'^\{"result":"failure","error":"the unf.*\}\r\n$')
        self.assertEqual(large.value().count(b"\n"), 1)

    def test_small_amounts_are_not_counted(self) -> None:
        """A request that comes in a few pieces, as most do, is never noted."""
        protocol, transport = self.client()
        self.send(protocol, b"PING " + b"x" * (UNCOUNTED_INPUT_BYTES - 5))
        self.assertEqual(self.factory.unfinished.total_bytes, 0)
        self.send(protocol, b"x")
        self.assertEqual(self.factory.unfinished.total_bytes, UNCOUNTED_INPUT_BYTES + 1)
        self.send(protocol, b"\n")
        self.assertEqual(self.factory.unfinished.total_bytes, 0)
        self.assertTrue(transport.value().startswith(b"$"))

    def test_words_count_for_what_they_take(self) -> None:
        """An array of a great many short words takes more memory than it has bytes."""
        protocol, _ = self.client()
        self.send(protocol, b"*1000\r\n" + b"$2\r\nab\r\n" * 900)
        self.assertGreater(self.factory.unfinished.total_bytes, 900 * 64)

    def test_multi_counts(self) -> None:
        """What is queued in a block counts until the block ends."""
        protocol, transport = self.client()
        self.send(protocol, b"MULTI\r\n" + b"GET %b\r\n" % (b"x" * 900) * 10)
        self.assertGreater(self.factory.unfinished.total_bytes, 9000)
        self.send(protocol, b"DISCARD\r\n")
        self.assertEqual(self.factory.unfinished.total_bytes, 0)
        other, _ = self.client()
        self.send(protocol, b"MULTI\r\n" + b"GET %b\r\n" % (b"x" * 900) * 60)
        self.send(other, b"x" * 45_000)
        self.assertTrue(transport.disconnecting)
        self.assertIsNone(protocol.client.queued)

    def test_who_is_gone_holds_nothing(self) -> None:
        """A client that disconnects gives back its share."""
        protocol, _ = self.client()
        self.send(protocol, b"x" * 50_000)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.factory.unfinished.total_bytes, 0)

    def test_forgetting_twice(self) -> None:
        """The sum is of those that are noted, however often one is noted or forgotten."""
        unfinished = Unfinished(_LIMIT)
        protocol, _ = self.client()
        for held in (5000, 90_000, 10, 7000):
            unfinished.note(protocol, held)
        self.assertEqual(unfinished.total_bytes, 7000)
        unfinished.forget(protocol)
        unfinished.forget(protocol)
        self.assertEqual(unfinished.total_bytes, 0)


class RealServerTests(Serving, SynchronousTestCase):
    """The same on the real server, with real memory."""

    def test_many_large_unfinished_requests(self) -> None:
        """Twenty clients of 8 MB each and a limit of 32 MB: memory stays near it, others are served, the log tells."""
        server = self.start("--max-request-bytes", "16mb", "--max-input-bytes", "32mb")
        witness = self.connect(server)
        before = server.resident_bytes()
        hoarders = [self.connect(server) for _ in range(20)]
        for hoarder in hoarders:
            hoarder.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12000000\r\n" + b"x" * 8_000_000)
            self.assertEqual(witness.ask("PING"), b"PONG")
            self.assertLess(server.resident_bytes() - before, 80_000_000)
        line = server.wait_for_line(lambda text: "--max-input-bytes" in text)
        self.assertRegex(
            line,
            r"client 127\.0\.0\.1:\d+ dropped: \d+ bytes of unfinished requests and subscriptions, the most of any",
        )
        witness.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + b"x" * 100_000 + b"\r\n")
        self.assertEqual(witness.read_replies(1), [b"OK"])
