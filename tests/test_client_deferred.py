"""The Twisted client: on a simulated clock and transport for its rules, then over real sockets with the fake server."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import TestCase

from kvstore.base.address import Address
from kvstore.client import DeadlineExceeded, RequestRefused, exchange
from kvstore.client.deferred import ClientClosed, DeferredClient, State
from tests.kit.attempts import LOST, SimulatedTestCase
from tests.kit.fake_catalog import ENTRY, FakeCatalog
from tests.kit.fake_server import CLOSE, LOSE_REPLY, SILENCE, FakeServer, reply


class PipelineTests(SimulatedTestCase):
    """Many requests on one connection."""

    def test_connects_at_the_first_request(self) -> None:
        """Nothing connects before there is a request; then it is sent as soon as the connection is there."""
        self.assertEqual((self.client.state, self.attempts.addresses), (State.IDLE, []))
        done = self.client.insert("zebra", {"weight": 100})
        self.assertEqual((self.client.state, self.attempts.addresses), (State.CONNECTING, [Address("box", 1)]))
        protocol, wire = self.attempts.accept()
        self.assertEqual(self.client.state, State.CONNECTED)
        self.assertEqual(wire.requests(), [{"id": 1, "method": "insert", "key": "zebra", "value": {"weight": 100}}])
        self.assertNoResult(done)
        protocol.dataReceived(reply(1))
        self.assertIsNone(self.successResultOf(done))

    def test_requests_do_not_wait_for_replies(self) -> None:
        """All requests are sent at once, in order, and each gets its own reply."""
        lookups = [self.client.lookup(str(i)) for i in range(100)]
        protocol, wire = self.attempts.accept()
        self.assertEqual([request["key"] for request in wire.requests()], [str(i) for i in range(100)])
        protocol.dataReceived(b"".join(reply(i + 1, value=i) for i in range(100)))
        self.assertEqual([self.successResultOf(d) for d in lookups], list(range(100)))

    def test_replies_cut_anywhere(self) -> None:
        """However the stream of replies is cut into reads, the same replies come out."""
        stream = reply(1, value="a") + reply(2, value="b" * 50) + reply(3, value=2**100)
        for at in range(1, len(stream)):
            self.setUp()
            lookups = [self.client.lookup("k") for _ in range(3)]
            protocol, _ = self.attempts.accept()
            protocol.dataReceived(stream[:at])
            protocol.dataReceived(stream[at:])
            self.assertEqual([self.successResultOf(d) for d in lookups], ["a", "b" * 50, 2**100])

    def test_replies_byte_by_byte(self) -> None:
        """One byte a read is no hindrance."""
        lookups = [self.client.lookup("k") for _ in range(3)]
        protocol, _ = self.attempts.accept()
        for byte in reply(1, value=1) + reply(2, value=2) + reply(3, value=3):
            protocol.dataReceived(bytes([byte]))
        self.assertEqual([self.successResultOf(d) for d in lookups], [1, 2, 3])

    def test_reply_past_the_line_limit(self) -> None:
        """A reply far over LineReceiver's MAX_LENGTH, in many reads, is one reply."""
        found = self.client.lookup("k")
        protocol, _ = self.attempts.accept()
        stream = reply(1, value="x" * 10_000_000)
        for i in range(0, len(stream), 65536):
            protocol.dataReceived(stream[i : i + 65536])
        self.assertEqual(len(self.successResultOf(found)), 10_000_000)

    def test_what_a_reply_means(self) -> None:
        """Missing keys, refusals and invalid requests fail with the errors that the blocking client raises."""
        failing = [self.client.lookup("k"), self.client.insert("k", 1), self.client.query("a", [])]
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, result="failure", error="no such key"))
        protocol.dataReceived(reply(2, result="failure", error="MISCONF no room"))
        protocol.dataReceived(b'{"result":"invalid","error":"subvalue"}\r\n')
        for deferred, error in zip(failing, (KeyError, RequestRefused, ValueError), strict=True):
            self.failureResultOf(deferred, error)

    def test_request_made_by_a_callback(self) -> None:
        """A callback may ask the next question while replies are being handed out."""
        second = self.client.lookup("a").addCallback(self.client.lookup)
        third = self.client.lookup("c")
        protocol, wire = self.attempts.accept()
        protocol.dataReceived(reply(1, value="b") + reply(2, value="C"))
        self.assertEqual(self.successResultOf(third), "C")
        self.assertEqual(wire.requests()[2]["key"], "b")
        protocol.dataReceived(reply(3, value="B"))
        self.assertEqual(self.successResultOf(second), "B")

    def test_transport_is_not_flooded(self) -> None:
        """When the transport is full nothing more is written until it has room, and then in order."""
        self.client.insert("first", 1)
        _, wire = self.attempts.accept()
        wire.outgoing.pauseProducing()
        self.client.insert("second", 2)
        self.client.insert("third", 3)
        self.assertEqual(len(wire.requests()), 1)
        wire.outgoing.resumeProducing()
        self.assertEqual([request["key"] for request in wire.requests()], ["first", "second", "third"])

    def test_large_request_goes_in_pieces(self) -> None:
        """A large request is handed over piece by piece, as the transport has room."""
        self.client.insert("zebra", "x" * 200_000)
        self.client.size()
        protocol, wire = self.attempts.accept()
        self.assertEqual(len(wire.requests()), 2)
        protocol.dataReceived(reply(1) + reply(2, value=1))
        wire.clear()
        wire.fills = True
        self.client.insert("zebra", "x" * 200_000)
        self.client.size()
        for pieces in range(1, 4):
            self.assertEqual(len(wire.value()), pieces * 65536)
            wire.outgoing.resumeProducing()
        wire.outgoing.resumeProducing()
        self.assertEqual([request["method"] for request in wire.requests()], ["insert", "size"])

    def test_reply_before_the_request_has_left(self) -> None:
        """A server may refuse a request that is too large before it has all of it; the next request is not harmed."""
        refused, size = self.client.insert("zebra", "x" * 100_000), self.client.size()
        protocol, wire = self.attempts.accept(fills=True)
        protocol.dataReceived(b'{"result":"invalid","error":"too large"}\r\n')
        self.failureResultOf(refused, ValueError)
        wire.outgoing.resumeProducing()
        wire.outgoing.resumeProducing()
        self.assertEqual(len(wire.requests()), 2)
        protocol.dataReceived(reply(2, value=0))
        self.assertEqual(self.successResultOf(size), 0)

    def test_what_is_not_json_is_not_sent(self) -> None:
        """A value without a JSON form raises at once and sends nothing."""
        self.assertRaises(TypeError, self.client.insert, "zebra", object())
        self.assertEqual(self.attempts.pending, [])

    def test_mistyped_target(self) -> None:
        """An address that cannot be one is refused when the client is made."""
        self.assertRaises(ValueError, DeferredClient, self.clock, "localhost:http")


class DeadlineTests(SimulatedTestCase):
    """Requests that do not wait for ever, on the reactor's clock."""

    def test_while_nobody_listens(self) -> None:
        """The Deferred fails when the time is over, not before; the others go on waiting."""
        brief, patient = self.client.insert("a", 1, deadline_seconds=2), self.client.insert("b", 2)
        self.attempts.refuse()
        self.clock.advance(1)
        self.attempts.refuse()
        self.assertNoResult(brief)
        self.clock.advance(1)
        error = self.failureResultOf(brief, DeadlineExceeded).value
        self.assertEqual(str(error), "insert had no answer from box:1 in 2 s: it was not done, since it was never sent")
        self.assertFalse(error.may_be_done)
        self.clock.advance(1)
        protocol, wire = self.attempts.accept()
        self.assertEqual([request["key"] for request in wire.requests()], ["b"])
        protocol.dataReceived(reply(2))
        self.assertIsNone(self.successResultOf(patient))

    def test_after_it_was_sent(self) -> None:
        """A request that was sent may have been done; its reply, when it comes after all, is passed over."""
        for lost in (False, True):
            self.setUp()
            removed, kept = self.client.remove("zebra", deadline_seconds=2), self.client.size()
            protocol, _ = self.attempts.accept()
            if lost:
                protocol.connectionLost(LOST)
            self.clock.advance(2)
            self.assertTrue(self.failureResultOf(removed, DeadlineExceeded).value.may_be_done)
            if not lost:
                protocol.dataReceived(reply(1) + reply(2, value=7))
                self.assertEqual(self.successResultOf(kept), 7)

    def test_of_the_client_and_of_a_call(self) -> None:
        """A call's own deadline takes the place of the client's, for every verb; infinity is none."""
        self.client = DeferredClient(self.clock, "box:1", deadline_seconds=3, endpoint_for=self.attempts.to)
        verbs: list[Callable[..., Deferred[Any]]] = [
            partial(self.client.insert, "k", 1),
            partial(self.client.lookup, "k"),
            partial(self.client.remove, "k"),
            partial(self.client.size),
            partial(self.client.query, "a", 1),
        ]
        for verb in verbs:
            own, of_client, endless = verb(deadline_seconds=1), verb(), verb(deadline_seconds=math.inf)
            self.clock.advance(1)
            self.failureResultOf(own, DeadlineExceeded)
            self.assertNoResult(of_client)
            self.clock.advance(2)
            self.failureResultOf(of_client, DeadlineExceeded)
            self.assertNoResult(endless)
            endless.cancel()
            self.failureResultOf(endless, CancelledError)

    def test_answer_in_time(self) -> None:
        """An answered request has no timer left."""
        done = self.client.size(deadline_seconds=9)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.assertEqual((self.successResultOf(done), self.clock.getDelayedCalls()), (0, []))

    def test_nobody_waits_any_more(self) -> None:
        """When the last request is over or cancelled nothing is tried for it any more, connecting or pausing."""
        for pausing in (False, True):
            for end in ("deadline", "cancel"):
                self.setUp()
                done = self.client.size(deadline_seconds=0.5)
                if pausing:
                    self.attempts.refuse()
                if end == "cancel":
                    done.cancel()
                self.clock.advance(0.5)
                self.failureResultOf(done, DeadlineExceeded, CancelledError)
                self.assertEqual((self.client.state, self.clock.getDelayedCalls()), (State.IDLE, []))
                again = self.client.size()
                if not pausing:
                    self.attempts.pending.pop(0)
                protocol, _ = self.attempts.accept()
                protocol.dataReceived(reply(2, value=0))
                self.assertEqual(self.successResultOf(again), 0)

    def test_request_made_when_one_is_over(self) -> None:
        """An errback that asks again keeps the client trying."""
        again: list[Deferred[Any]] = []
        self.client.size(deadline_seconds=0.5).addErrback(lambda failure: again.append(self.client.size()))
        self.attempts.refuse()
        self.clock.advance(0.5)
        self.assertEqual(self.client.state, State.PAUSING)
        self.clock.advance(0.5)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(2, value=0))
        self.assertEqual(self.successResultOf(again[0]), 0)

    def test_nothing_is_kept(self) -> None:
        """A thousand requests that were given up leave nothing behind one that waits."""
        self.client.size()
        self.attempts.refuse()
        for _ in range(1000):
            done = self.client.insert("zebra", "x" * 1000, deadline_seconds=0)
            self.clock.advance(0)
            self.failureResultOf(done, DeadlineExceeded)
        self.assertEqual(len(self.client._waiting), 1)

    def test_closed(self) -> None:
        """Closing ends the timers of deadlines too."""
        done = self.client.size(deadline_seconds=9)
        self.client.close()
        self.failureResultOf(done, ClientClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ForkTests(SimulatedTestCase):
    """A process that finds itself forked; here it is only told another number."""

    def test_connection_of_the_parent(self) -> None:
        """In the child requests fail with words that say what to do, and closing touches no connection."""
        done = self.client.size()
        protocol, wire = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.successResultOf(done)
        before = wire.value()
        self.patch(os, "getpid", lambda: -1)
        self.assertIn("make a client here", str(self.failureResultOf(self.client.size(), RuntimeError).value))
        self.successResultOf(self.client.close())
        self.assertEqual((wire.value(), wire.dropped), (before, False))

    def test_not_used_before(self) -> None:
        """A client that was only made before the fork is the child's."""
        self.patch(os, "getpid", lambda: -1)
        done = self.client.size()
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.assertEqual(self.successResultOf(done), 0)


class EndTests(SimulatedTestCase):
    """Closing, and giving up single requests."""

    def test_close_fails_what_is_unanswered(self) -> None:
        """After close nothing is left: requests fail, the transport is closed, no timer runs; new requests fail too."""
        sent = self.client.size()
        protocol, wire = self.attempts.accept()
        wire.outgoing.pauseProducing()
        waiting = self.client.size()
        closed = self.client.close()
        self.failureResultOf(sent, ClientClosed)
        self.failureResultOf(waiting, ClientClosed)
        self.assertTrue(wire.dropped)
        self.assertNoResult(closed)
        protocol.connectionLost(LOST)
        self.assertIsNone(self.successResultOf(closed))
        self.failureResultOf(self.client.size(), ClientClosed)
        self.assertEqual((self.clock.getDelayedCalls(), self.messages), ([], []))

    def test_close_in_every_other_state(self) -> None:
        """Closing before, while connecting and in a pause fires at once and leaves no timer, attempt or message."""
        self.successResultOf(self.client.close())
        self.setUp()
        done = self.client.size()
        self.successResultOf(self.client.close())
        self.failureResultOf(done, ClientClosed)
        self.setUp()
        done = self.client.size()
        self.attempts.refuse()
        self.successResultOf(self.client.close())
        self.failureResultOf(done, ClientClosed)
        self.assertEqual((self.clock.getDelayedCalls(), len(self.messages)), ([], 1))
        self.successResultOf(self.client.close())

    def test_cancelled_before_it_is_sent(self) -> None:
        """A request whose Deferred is cancelled while it waits is not sent."""
        cancelled, kept = self.client.insert("a", 1), self.client.insert("b", 2)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        protocol, wire = self.attempts.accept()
        self.assertEqual([request["key"] for request in wire.requests()], ["b"])
        protocol.dataReceived(reply(2))
        self.assertIsNone(self.successResultOf(kept))

    def test_cancelled_after_it_was_sent(self) -> None:
        """The reply to a cancelled request is passed over; the others still get theirs, also after a new connection."""
        cancelled, kept = self.client.lookup("a"), self.client.lookup("b")
        protocol, wire = self.attempts.accept()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        protocol.dataReceived(reply(1, value=1))
        self.assertNoResult(kept)
        late = self.client.lookup("c")
        late.cancel()
        self.failureResultOf(late, CancelledError)
        protocol.connectionLost(LOST)
        self.clock.advance(1)
        protocol, wire = self.attempts.accept()
        self.assertEqual([request["key"] for request in wire.requests()], ["b"])
        protocol.dataReceived(reply(2, value=2))
        self.assertEqual(self.successResultOf(kept), 2)


class SocketTests(TestCase):
    """Over real sockets, against the fake server, with short pauses."""

    timeout = 30

    def setUp(self) -> None:
        """Start a server and a catalog."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.catalog = FakeCatalog()
        self.addCleanup(self.catalog.stop)
        self.messages: list[str] = []
        self.patch(exchange, "FIRST_PAUSE_SECONDS", 0.01)

    def make_client(self, target: str, **options: Any) -> DeferredClient:
        """A client on the real reactor, closed after the test."""
        client = DeferredClient(reactor, target, report=self.messages.append, **options)
        self.addCleanup(client.close)
        return client

    async def test_verbs(self) -> None:
        """The five verbs do what they should."""
        client = self.make_client(self.server.target)
        await client.insert("zebra", {"name": "fred", "large": 2**200})
        self.assertEqual(await client.lookup("zebra"), {"name": "fred", "large": 2**200})
        self.assertEqual(await client.query("name", "fred"), [["zebra", {"name": "fred", "large": 2**200}]])
        self.assertEqual(await client.size(), 1)
        await client.remove("zebra")
        with self.assertRaises(KeyError):
            await client.remove("zebra")

    async def test_faults_among_a_thousand_requests(self) -> None:
        """A thousand pipelined inserts all arrive though the server loses replies and connections among them."""
        client = self.make_client(self.server.target, timeout_seconds=0.2)
        self.server.faults.extend([*[None] * 50, CLOSE, *[None] * 70, LOSE_REPLY, *[None] * 30, SILENCE])
        await gatherResults([client.insert(str(i), i) for i in range(1000)])
        self.assertEqual(self.server.table, {str(i): i for i in range(1000)})
        self.assertGreaterEqual(client.retries, 3)
        self.assertEqual(len(self.messages), client.retries)

    async def test_large_documents(self) -> None:
        """Documents far over the sizes of socket buffers pass both ways."""
        client = self.make_client(self.server.target)
        await client.insert("zebra", "x" * 5_000_000)
        self.assertEqual(await client.lookup("zebra"), "x" * 5_000_000)
        self.assertEqual(self.messages, [])

    async def test_project(self) -> None:
        """A project is looked up in the catalog; while it is not there the client waits for it."""
        self.catalog.list()
        client = self.make_client("me-a5", catalog=self.catalog.address)
        size = client.size()
        while not self.messages:
            await client._connecting
        self.assertIn("knows no server of project 'me-a5'", self.messages[0])
        self.catalog.list(ENTRY | {"address": "127.0.0.1", "port": self.server.port})
        self.assertEqual(await size, 0)

    async def test_closed_during_a_lookup(self) -> None:
        """Closing while the catalog is being asked ends the question."""
        self.catalog.list()
        client = self.make_client("me-a5", catalog=self.catalog.address)
        size = client.size()
        await client.close()
        with self.assertRaises(ClientClosed):
            await size
        self.assertEqual(self.messages, [])
