"""Servers and catalogs that are broken, or mean harm: what they send costs a bounded amount of memory and time, raises
nothing but what the clients say they raise, and is followed by words and another attempt.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base import limits
from kvstore.base.address import Address
from kvstore.client import Client, LookupFailed, deferred, exchange, find_server, raw, target
from kvstore.client.deferred import DeferredClient
from kvstore.client.endpoint import Endpoint
from kvstore.client.patience import Patience
from kvstore.client.raw import RawConnection
from kvstore.client.stream import Stream
from kvstore.client.target import answered, freshest
from kvstore.testing.server_process import PATIENCE_S
from tests.kit.fake_catalog import CATALOG, ENTRY
from tests.kit.fake_server import FakeServer, endless, reply, trickle

_MIB = limits.MIB

#: Replies of a kind that no server of ours gives, each to the second request, `size`.
WRONG_KINDS = [
    b'{"result":"success","value":"abc","id":%d}',
    b'{"result":"success","value":true,"id":%d}',
    b'{"result":"success","value":-1,"id":%d}',
    b'{"result":"success","id":%d}',
    b'{"result":"failure","id":%d}',
    b'{"result":["success"],"value":1,"id":%d}',
    b'{"result":"success","value":1,"id":"%d"}',
    b'{"result":"success","value":1,"id":%d.0}',
    b'["success",1,%d]',
    b'{"result":"success","value":NaN,"id":%d}',
    b'{"result":"success","value":1,"id":%d}}',
    b'{"result":"success","value":\xff,"id":%d}',
    b"%d" + b"[" * 100_000,
    b"%d" + b"9" * 5000,
    b"HTTP/1.1 %d OK\r",
    b"",
]

#: What a server does instead of answering, and what the client says of it.
HOSTILITIES: list[tuple[Callable[[socket.socket], None], str]] = [
    (endless(b"x" * 65536), "longer than 1048576 bytes"),
    (endless(b"x" * 7), "longer than 1048576 bytes"),
    (endless(b'"' + b"x" * 60_000, b'{"result":"success","value":['), "longer than 1048576 bytes"),
    (endless(b"\n"), "makes no sense"),
    (lambda connection: connection.sendall(b"x" * 100_000), "closed|reset|non-clean"),
    (lambda connection: connection.sendall(b"\n" * 100_000), "makes no sense|reset|non-clean"),
    (lambda connection: None, "closed|reset|non-clean"),
]

#: One that is given up for its slowness; on a loaded machine it may seem silent.
SLOW = (trickle(b'{"result"', b" ", 0.02), "fewer than 4096 bytes a second|no answer in 0.2 s")


class HostileServerTests(SynchronousTestCase):
    """The blocking client."""

    def setUp(self) -> None:
        """Start a server, which is harmless so far."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.messages: list[str] = []

    def make_client(self, **options: Any) -> Client:
        """A client that does not sleep, and reads replies of a megabyte at most."""
        options = {"max_reply_bytes": _MIB, "sleep": lambda seconds: self.calm_down()} | options
        client = Client(self.server.target, report=self.messages.append, **options)
        self.addCleanup(client.close)
        return client

    def calm_down(self) -> None:
        """Be harmless from now on."""
        self.server.hostility = None

    def test_replies_of_the_wrong_kind(self) -> None:
        """None reaches the caller: each is shown and the request repeated."""
        for line in WRONG_KINDS:
            client = self.make_client()
            client.insert("zebra", 1)
            self.messages.clear()
            self.server.faults.append((line % 2 if b"%d" in line else line) + b"\n")
            self.assertEqual(client.size(), 1)
            self.assertEqual(len(self.messages), 1, line)
            self.assertLess(len(self.messages[0]), 400)

    def test_true_is_not_the_first_request(self) -> None:
        """An id of true does not stand for 1."""
        self.server.faults.append(b'{"result":"success","value":7,"id":true}\n')
        self.assertEqual(self.make_client().size(), 0)

    def test_query_results_of_the_wrong_shape(self) -> None:
        """A caller may take a query's result apart without looking."""
        for value in (b"{}", b"[[]]", b'[["a",{}],null]', b'["ab"]', b'[["a",1]]'):
            client = self.make_client()
            self.server.faults.append(b'{"result":"success","value":%b,"id":1}\n' % value)
            self.assertEqual(client.query("name", "fred"), [])
            self.assertIn("makes no sense", self.messages.pop())

    def test_endless_and_slow_replies(self) -> None:
        """What has no end, comes in trickles or stops is given up with words; then the request is done."""
        for hostility, words in (*HOSTILITIES, SLOW):
            self.messages.clear()
            self.server.hostility = hostility
            slow = {"timeout_seconds": 0.2} if hostility is SLOW[0] else {"timeout_seconds": PATIENCE_S}
            self.assertEqual(self.make_client(**slow).size(), 0)
            self.assertRegex(self.messages[0].lower(), words)

    def test_longest_reply(self) -> None:
        """A reply of just the limit is taken, one of a byte more is not."""
        document = "x" * 10_000
        length = len(reply(1, value=document))
        for limit, taken in ((length - 1, False), (length, True), (length + 1, True)):
            self.messages.clear()
            client = self.make_client(max_reply_bytes=limit, deadline_seconds=60)
            self.server.faults.append(reply(1, value=document))
            self.server.table["zebra"] = "short"
            self.assertEqual(client.lookup("zebra"), document if taken else "short")
            self.assertEqual(bool(self.messages), not taken)

    def test_deadline_in_the_middle_of_a_reply(self) -> None:
        """A deadline ends a reply that has begun, and says that the request may have been done."""
        began: list[bytes] = []

        def begin(connection: socket.socket) -> None:
            began.append(connection.recv(65536))
            connection.sendall(b"{")
            connection.recv(1)

        self.server.hostility = begin
        client = self.make_client(sleep=lambda seconds: None, timeout_seconds=30, clock=lambda: 10.0 * len(began))
        error = self.assertRaises(exchange.DeadlineExceeded, client.size, deadline_seconds=5)
        self.assertTrue(error.may_be_done)


class HostileServerDeferredTests(TestCase):
    """The Twisted client."""

    timeout = 60

    def setUp(self) -> None:
        """Start a server, which is harmless so far."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.messages: list[str] = []
        self.patch(exchange, "FIRST_PAUSE_SECONDS", 0.01)

    def report(self, message: str) -> None:
        """Note it, and be harmless from now on."""
        self.messages.append(message)
        self.server.hostility = None

    def make_client(self, **options: Any) -> DeferredClient:
        """A client that reads replies of a megabyte at most."""
        client = DeferredClient(reactor, self.server.target, report=self.report, **{"max_reply_bytes": _MIB} | options)
        self.addCleanup(client.close)
        return client

    async def test_replies_of_the_wrong_kind(self) -> None:
        """None reaches the caller: each is shown and the request repeated."""
        for line in WRONG_KINDS:
            client = self.make_client()
            await client.insert("zebra", 1)
            self.messages.clear()
            self.server.faults.append((line % 2 if b"%d" in line else line) + b"\n")
            self.assertEqual(await client.size(), 1)
            self.assertEqual(len(self.messages), 1, line)

    async def test_endless_and_slow_replies(self) -> None:
        """What has no end, comes in trickles or stops is given up with words; then the request is done."""
        for hostility, words in (*HOSTILITIES, SLOW):
            self.messages.clear()
            self.server.hostility = hostility
            slow = {"timeout_seconds": 0.2} if hostility is SLOW[0] else {"timeout_seconds": PATIENCE_S}
            self.assertEqual(await self.make_client(**slow).size(), 0)
            self.assertRegex(self.messages[0].lower(), words)

    async def test_longest_reply(self) -> None:
        """A reply of just the limit is taken, one of a byte more is not, in one read or in many."""
        for document in ("x" * 10_000, "x" * 300_000):
            length = len(reply(1, value=document))
            for limit, taken in ((length - 1, False), (length, True), (length + 1, True)):
                client = self.make_client(max_reply_bytes=limit)
                self.server.faults.append(reply(1, value=document))
                self.server.table["zebra"] = "short"
                self.assertEqual(await client.lookup("zebra"), document if taken else "short")

    async def test_bytes_that_nobody_asked_for(self) -> None:
        """An idle connection on which something comes is given up, without a word, and without keeping it."""
        client = self.make_client()
        self.server.faults.append(reply(1, value=0) + b"x")
        self.assertEqual(await client.size(), 0)
        while client.state is deferred.State.CONNECTED:
            await deferred.find_server(reactor, "nobody", self.server.target).addErrback(lambda failure: None)
        self.assertEqual(await client.size(), 0)


#: What a catalog does instead of answering.
CATALOG_HOSTILITIES: list[Callable[[socket.socket], None]] = [
    endless(b"x" * 65536, b"HTTP/1.0 200 OK\r\n\r\n"),
    endless(b"x" * 65536),
    endless(b"X-Header: x\r\n" * 1000, b"HTTP/1.0 200 OK\r\n"),
    endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    endless(b"[" * 65536, b"HTTP/1.0 200 OK\r\n\r\n["),
    trickle(b"HTTP/1.0 200 OK\r\n\r\n[", b" ", 0.02),
    trickle(b"HTTP/1.0 200 OK\r\n", b"X", 0.02),
    trickle(b"", b"", 0.02),
    lambda connection: None,
    lambda connection: connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n["),
]


class HostileCatalogTests(TestCase):
    """Both ways to ask a catalog."""

    timeout = 60

    def setUp(self) -> None:
        """Start what is no catalog."""
        self.catalog = FakeServer()
        self.addCleanup(self.catalog.stop)

    def test_endless_and_slow_answers(self) -> None:
        """What has no end, or comes in trickles, is a failed look-up."""
        self.patch(target, "MAX_CATALOG_BYTES", _MIB)
        for hostility in CATALOG_HOSTILITIES:
            self.catalog.hostility = hostility
            error = self.assertRaises(LookupFailed, find_server, "me-a5", self.catalog.target, 0.2)
            self.assertIn(self.catalog.target, str(error))

    async def test_endless_and_slow_answers_deferred(self) -> None:
        """The same without blocking; and the connection is ended, so that nothing more of it is kept."""
        self.patch(deferred, "MAX_CATALOG_BYTES", _MIB)
        for hostility in CATALOG_HOSTILITIES:
            self.catalog.hostility = hostility
            with self.assertRaises(LookupFailed) as caught:
                await deferred.find_server(reactor, "me-a5", self.catalog.target, 0.2)
            self.assertIn(self.catalog.target, str(caught.exception))

    def test_longest_answer(self) -> None:
        """An answer of just the limit is read, one of a byte more is not."""
        head, body = b"HTTP/1.0 200 OK\r\n\r\n", json.dumps([ENTRY]).encode()
        for extra, read in ((-1, True), (0, True), (1, False)):
            self.patch(target, "MAX_CATALOG_BYTES", len(head + body) - extra)
            self.catalog.hostility = lambda connection: connection.sendall(connection.recv(9999) and head + body)
            if read:
                self.assertEqual(find_server("me-a5", self.catalog.target).port, 4444)
            else:
                self.assertRaises(LookupFailed, find_server, "me-a5", self.catalog.target)

    def test_hosts_that_cannot_be(self) -> None:
        """An entry whose host is none is passed over in favour of the next; with no other it is a failed look-up."""
        for host in ("a..b", "a" * 70, "\ud800", ".", " ", "a b", "a\0b", "a\nb", "\x1b[2J", "x." * 150):
            bad = ENTRY | {"address": host, "lastheardfrom": 9999}
            found = freshest(json.dumps([bad, ENTRY]).encode(), 200, "me-a5", CATALOG)
            self.assertEqual(found, Address("192.0.2.7", 4444))
            error = self.assertRaises(LookupFailed, freshest, json.dumps([bad]).encode(), 200, "me-a5", CATALOG)
            self.assertIn("knows no server of project 'me-a5' (1 that it names make no sense)", str(error))

    def test_times_that_cannot_be(self) -> None:
        """An entry heard from at no time is passed over."""
        for heard in ("NaN", "Infinity", "-Infinity", "1e999", "true", "null", "[]", '"1"'):
            bad = json.dumps(ENTRY | {"port": 1, "lastheardfrom": 0}).replace(
                '"lastheardfrom": 0', f'"lastheardfrom": {heard}'
            )
            body = f"[{bad},{json.dumps(ENTRY)}]".encode()
            self.assertEqual(freshest(body, 200, "me-a5", CATALOG).port, 4444)
        late = json.dumps([ENTRY | {"port": 1, "lastheardfrom": 10**400}, ENTRY | {"lastheardfrom": 1.5}]).encode()
        self.assertEqual(freshest(late, 200, "me-a5", CATALOG).port, 1)

    @given(st.text())
    def test_any_host(self, host: str) -> None:
        """Whatever a catalog calls a host, nothing but OSError comes of connecting to it."""
        body = json.dumps([ENTRY | {"address": host, "name": None}]).encode()
        try:
            found = freshest(body, 200, "me-a5", CATALOG)
        except LookupFailed:
            return
        self.assertTrue(found.host.isprintable())

    @given(answer=st.binary(max_size=80) | st.binary(max_size=80).map(b"HTTP/1.1 200 OK\r\n".__add__))
    def test_any_answer(self, answer: bytes) -> None:
        """Whatever bytes a catalog sends, nothing but LookupFailed is raised."""
        self.assertRaises(LookupFailed, answered, answer, "me-a5", CATALOG)

    def test_client_waits_for_a_better_catalog(self) -> None:
        """A client whose catalog names a host that cannot be says so, and goes on when the catalog knows better."""
        messages: list[str] = []
        server = FakeServer()
        self.addCleanup(server.stop)
        entry = ENTRY | {"address": "a..b", "port": server.port}

        def answer(connection: socket.socket) -> None:
            connection.recv(9999)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps([entry]).encode())

        self.catalog.hostility = answer
        mended = lambda seconds: entry.update(address="127.0.0.1")  # noqa: E731
        client = Client("me-a5", catalog=self.catalog.target, sleep=mended, report=messages.append)
        self.addCleanup(client.close)
        self.assertEqual(client.size(), 0)
        self.assertEqual(len(messages), 1)
        self.assertIn("make no sense", messages[0])


class StreamTests(SynchronousTestCase):
    """`Stream`, with hosts that cannot be connected to."""

    def test_hosts_that_cannot_be(self) -> None:
        """A name that no resolver takes is an OSError."""
        for host in ("a..b", "a" * 70, "\ud800", "a\0b"):
            patience = Patience(5, lambda: 0)
            self.assertRaises(OSError, Stream, Endpoint(Address(host, 1)), patience)


class HostileRawTests(SynchronousTestCase):
    """The connection by hand."""

    def setUp(self) -> None:
        """Start a server."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)

    def raw(self, hostility: Callable[[socket.socket], None]) -> RawConnection:
        """A connection to a server that does this, on which something was asked."""
        self.server.hostility = hostility
        connection = RawConnection(Address("127.0.0.1", self.server.port))
        self.addCleanup(connection.__exit__, None, None, None)
        connection.send(b"PING\r\n")
        return connection

    def test_endless_replies(self) -> None:
        """Lines, arrays and arrays in arrays without end are read up to a limit."""
        self.patch(raw, "MAX_READ_REPLY_BYTES", _MIB)
        for piece, beginning in (
            (b"x" * 999, b"+"),
            (b"+OK\r\n" * 999, b"*1048576\r\n"),
            (b"*9\r\n", b""),
            (b"$0\r\n\r\n", b"*9999999\r\n"),
        ):
            self.assertRaises((OSError, ValueError), self.raw(endless(piece, beginning)).resp)
        self.assertRaises(OSError, self.raw(endless(b"x" * 999)).line)
        self.assertRaises(OSError, self.raw(endless(b"[" * 999)).reply)

    def test_lengths_that_cannot_be(self) -> None:
        """A length is a number of digits, and not more than a reply may have."""
        long = b"$" + b"9" * 5000
        for header in (b"$-2", b"$", b"$+1", b"$1_0", b"$268435457", long, b"*-2", b"*1e3", b"*99999999999"):
            connection = self.raw(lambda connection, h=header: connection.sendall(h + b"\r\n"))  # type: ignore[misc]
            self.assertRaises(ValueError, connection.resp)

    def test_deep_json(self) -> None:
        """JSON that is nested deeper than Python recurses is no JSON."""
        connection = self.raw(lambda connection: connection.sendall(b"[" * 100_000 + b"\n"))
        self.assertRaises(ValueError, connection.reply)

    def test_trickle(self) -> None:
        """A byte now and then ends as silence does."""
        self.patch(raw, "_TIMEOUT_SECONDS", 0.2)
        self.assertRaises(TimeoutError, self.raw(trickle(b"+", b"x", 0.02)).resp)
