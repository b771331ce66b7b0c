"""A server in a test's own process, as users' tests take it: by a client with an endpoint, by any Twisted protocol."""

from __future__ import annotations

import errno
from typing import Any

import txredisapi
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.limits import MIB
from kvstore.client.deferred import DeferredClient
from kvstore.testing.memory_server import MemoryServer
from kvstore.wire.resp import pack


class Recorder(Protocol):
    """Notes what comes. `lost`: why the connection ended."""

    lost: type[Exception] | None = None

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost = reason.type


class MemoryServerTests(SynchronousTestCase):
    """On a clock that the tests move."""

    def setUp(self) -> None:
        """A server, and a client without a library."""
        self.server = MemoryServer()
        self.client = Recorder()
        self.transport = self.server.connect(self.client)

    def ask(self, data: bytes) -> bytes:
        """Send, let happen what is due, and return what has come since the last time."""
        self.client.received = b""
        self.transport.write(data)
        self.server.clock.advance(0)
        return self.client.received

    def documents(self) -> DeferredClient:
        """The client that does not give up, silent and impatient."""
        return DeferredClient(
            self.server.clock, "memory:1", endpoint_for=lambda address: self.server.endpoint, report=lambda line: None
        )

    def test_any_protocol(self) -> None:
        """A request leaves in one turn, its reply comes in the next; the three grammars are spoken."""
        self.transport.write(b"SET a 1\r\n")
        self.assertEqual(self.client.received, b"")
        self.assertEqual(self.ask(b"GET a\r\nsize\r\n"), b'+OK\r\n$1\r\n1\r\n{"result":"success","value":1}\r\n')
        redis: Any = txredisapi.RedisProtocol()
        self.server.connect(redis)
        stored = redis.hset("h", "field", 7)
        self.server.clock.advance(0)
        self.assertEqual(self.successResultOf(stored), 1)

    def test_a_client_with_an_endpoint(self) -> None:
        """It goes on by itself when the server is there again, and finds what was acknowledged."""
        client = self.documents()
        stored = client.insert("greeting", "hello")
        self.assertNoResult(stored)
        self.server.clock.advance(0)
        self.successResultOf(stored)
        self.server.power_cut()
        found = client.lookup("greeting")
        self.server.clock.advance(60)
        self.assertNoResult(found)
        self.server.start()
        self.server.clock.advance(60)
        self.assertEqual(self.successResultOf(found), "hello")

    def test_the_clock_is_the_time(self) -> None:
        """Deadlines and waits end when the test says so."""
        self.assertEqual(self.ask(b"SET a 1 EX 10\r\nBLPOP list 3\r\n"), b"+OK\r\n")
        self.server.clock.advance(3)
        self.assertEqual(self.client.received, b"+OK\r\n*-1\r\n")
        self.server.clock.advance(6.999)
        self.assertEqual(self.ask(b"EXISTS a\r\n"), b":1\r\n")
        self.server.clock.advance(0.001)
        self.assertEqual(self.ask(b"EXISTS a\r\n"), b":0\r\n")

    def test_kill_and_power_cut(self) -> None:
        """Connections are lost, nobody is accepted; a kill leaves what was written, a power cut what was synced."""
        for end, left in ((self.server.kill, b"$1\r\n1\r\n"), (self.server.power_cut, b"$-1\r\n")):
            self.server.disk.fail("sync", OSError(errno.EIO, "Input/output error"))
            self.assertEqual(self.ask(b"SET a 1\r\n"), b"")
            self.assertEqual((self.server.running, len(self.server.faults)), (False, 1))
            end()
            self.assertIs(self.client.lost, ConnectionLost)
            self.assertRaises(ConnectionRefusedError, self.server.connect, Recorder())
            self.failureResultOf(self.server.endpoint.connect(Factory.forProtocol(Recorder)), ConnectionRefusedError)
            self.server.start()
            self.client = Recorder()
            self.transport = self.server.connect(self.client)
            self.assertEqual(self.ask(b"GET a\r\n"), left)
            self.ask(b"DEL a\r\n")
            self.server.faults.clear()

    def test_whoever_does_not_read(self) -> None:
        """Nothing comes to a client that has paused, all of it when it goes on: however long, and before the end."""
        self.transport.pauseProducing()
        self.assertEqual(self.ask(pack(b"SET", b"a", b"x" * MIB) + b"GET a\r\nQUIT\r\n"), b"")
        self.transport.resumeProducing()
        self.server.clock.advance(0)
        self.assertEqual(self.client.received, b"+OK\r\n$1048576\r\n" + b"x" * MIB + b"\r\n+OK\r\n")
        self.assertIs(self.client.lost, ConnectionDone)

    def test_ends(self) -> None:
        """Half-closed, it gets its replies first; closed, what it sent is done; aborted, it is not."""
        self.transport.write(b"SET a 1\r\n")
        self.transport.loseWriteConnection()
        self.server.clock.advance(0)
        self.assertEqual((self.client.received, self.client.lost), (b"+OK\r\n", ConnectionDone))
        for end, done in (("loseConnection", 1), ("abortConnection", 0)):
            self.client = Recorder()
            transport = self.server.connect(self.client)
            transport.write(f"SET {end} 1\r\n".encode())
            getattr(transport, end)()
            transport.write(b"SET late 1\r\n")
            self.server.clock.advance(0)
            self.assertIsNotNone(self.client.lost)
            self.assertEqual(end.encode() in self.server.store.table.values, bool(done))
        self.assertNotIn(b"late", self.server.store.table.values)
        self.assertEqual(self.server.factory.protocols, {})

    def test_options(self) -> None:
        """Those of the server."""
        self.server = MemoryServer(max_request_bytes=1000)
        self.transport = self.server.connect(self.client)
        self.assertIn(b"Protocol error", self.ask(b"*1\r\n$1001\r\n"))


class OnTheReactorTests(TestCase):
    """On Twisted's own."""

    async def test_requests(self) -> None:
        """They are answered as the loop goes round."""
        server = MemoryServer(reactor)
        client = DeferredClient(reactor, "memory:1", endpoint_for=lambda address: server.endpoint)
        await client.insert("greeting", "hello")
        self.assertEqual(await client.lookup("greeting"), "hello")
        await client.close()
