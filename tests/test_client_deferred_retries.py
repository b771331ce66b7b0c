"""The Twisted client when connections fail: what is repeated, when, and what a repeated remove means."""

from __future__ import annotations

from kvstore.client.deferred import State
from tests.kit.attempts import LOST, MISSING, SimulatedTestCase, Wire
from tests.kit.fake_server import reply


class RetryTests(SimulatedTestCase):
    """Failures that the caller does not see."""

    def test_nobody_listens(self) -> None:
        """While nobody listens the pauses double up to 16 seconds on the reactor's clock, each with one line."""
        done = self.client.size()
        for seconds in (1, 2, 4, 8, 16, 16):
            self.attempts.refuse()
            self.assertEqual(self.client.state, State.PAUSING)
            self.assertIn(f"refused by other side; trying box:1 again in {seconds} s", self.messages[-1])
            self.clock.advance(seconds - 0.01)
            self.assertEqual(self.attempts.pending, [])
            self.clock.advance(0.01)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual((len(self.messages), self.client.retries), (6, 6))

    def test_pauses_begin_again_after_a_success(self) -> None:
        """After a reply the next failure waits one second again."""
        self.client.size()
        self.attempts.refuse()
        self.clock.advance(1)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.client.size()
        protocol.connectionLost(LOST)
        self.assertTrue(self.messages[-1].endswith("again in 1 s"), self.messages)

    def test_outstanding_requests_are_repeated_in_order(self) -> None:
        """After a loss all that has no reply is sent again, in order, before what was never sent; nothing else is."""
        done = [self.client.insert(str(i), i) for i in range(4)]
        protocol, wire = self.attempts.accept()
        protocol.dataReceived(reply(1) + reply(2))
        protocol.connectionLost(LOST)
        done.append(self.client.insert("4", 4))
        self.clock.advance(1)
        protocol, wire = self.attempts.accept()
        self.assertEqual([request["id"] for request in wire.requests()], [3, 4, 5])
        protocol.dataReceived(reply(3) + reply(4) + reply(5))
        self.assertEqual([self.successResultOf(d) for d in done], [None] * 5)

    def test_loss_without_requests_is_quiet(self) -> None:
        """A connection lost while nothing is outstanding is not reported, and not made anew before it is needed."""
        self.client.size()
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        protocol.connectionLost(LOST)
        self.assertEqual((self.client.state, self.messages, self.clock.getDelayedCalls()), (State.IDLE, [], []))
        self.client.size()
        self.attempts.accept()

    def test_silence(self) -> None:
        """Five seconds without a byte end the connection and repeat the requests on another."""
        done = self.client.size()
        _, wire = self.attempts.accept()
        self.clock.advance(4.99)
        self.assertFalse(wire.dropped)
        self.clock.advance(0.02)
        self.assertTrue(wire.dropped)
        self.assertEqual(self.messages, ["no answer in 5 s; trying box:1 again in 1 s"])
        self.clock.advance(1)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.assertEqual(self.successResultOf(done), 0)

    def test_progress_is_no_silence(self) -> None:
        """Bytes that come in, and room in the transport for more to go out, leave more time for the rest."""
        found = self.client.lookup("zebra")
        protocol, wire = self.attempts.accept()
        stream = reply(1, value="x" * 200_000)
        for i in range(0, len(stream), 20_000):
            self.clock.advance(4)
            wire.outgoing.resumeProducing()
            self.clock.advance(4)
            self.assertFalse(wire.dropped)
            protocol.dataReceived(stream[i : i + 20_000])
        self.assertEqual(len(self.successResultOf(found)), 200_000)

    def test_trickle(self) -> None:
        """A byte now and then is no progress: it ends hardly later than silence."""
        done = self.client.size()
        protocol, wire = self.attempts.accept()
        for _ in range(17):
            self.assertFalse(wire.dropped)
            protocol.dataReceived(b" ")
            self.clock.advance(0.3)
        self.assertTrue(wire.dropped)
        self.assertNoResult(done)
        self.assertIn("fewer than 4096 bytes a second moved in 5 s; trying box:1 again", self.messages[0])

    def test_silence_of_an_idle_connection(self) -> None:
        """When nothing is asked nothing is expected: an idle connection stays, with no timer running."""
        self.client.size()
        protocol, wire = self.attempts.accept()
        protocol.dataReceived(reply(1, value=0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(wire.dropped)

    def test_out_of_step(self) -> None:
        """A reply with another id, a reply to nothing, or a line that is no reply ends the connection and fires
        nothing.
        """
        for line in (reply(9), b"-ERR max number of clients reached\r\n", reply(1) + reply(1)):
            self.setUp()
            done = [self.client.size() for _ in range(2)]
            protocol, wire = self.attempts.accept()
            protocol.dataReceived(line)
            self.assertTrue(wire.dropped)
            self.assertNoResult(done[1])
            self.assertEqual(self.client.state, State.PAUSING)

    def test_late_reply_of_a_dropped_connection(self) -> None:
        """What still arrives on a connection that was given up is ignored, and its end is not a second failure."""
        done = self.client.lookup("zebra")
        old, _ = self.attempts.accept()
        self.clock.advance(5)
        self.clock.advance(1)
        new, _ = self.attempts.accept()
        old.dataReceived(reply(1, value="late"))
        old.connectionLost(LOST)
        self.assertNoResult(done)
        self.assertEqual((len(self.messages), self.client.state), (1, State.CONNECTED))
        new.dataReceived(reply(1, value="fresh"))
        self.assertEqual(self.successResultOf(done), "fresh")

    def test_connection_lost_while_connecting(self) -> None:
        """A connection that is gone before the endpoint has handed it over is one more failure."""
        self.client.size()
        factory, attempt = self.attempts.pending.pop()
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(Wire())
        protocol.connectionLost(LOST)
        attempt.callback(protocol)
        self.assertEqual((self.client.state, len(self.messages)), (State.PAUSING, 1))


class RepeatedRemoveTests(SimulatedTestCase):
    """Remove is the one verb whose repetition could tell the caller something else."""

    def test_repeated_after_it_was_sent(self) -> None:
        """A remove that was sent and finds no key when repeated succeeds."""
        removed = self.client.remove("zebra")
        protocol, _ = self.attempts.accept()
        protocol.connectionLost(LOST)
        self.clock.advance(1)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, **MISSING))
        self.assertIsNone(self.successResultOf(removed))

    def test_repeated_twice(self) -> None:
        """The uncertainty outlives a connection on which the request was not sent whole."""
        removed = self.client.remove("x" * 100_000)
        protocol, _ = self.attempts.accept()
        protocol.connectionLost(LOST)
        self.clock.advance(1)
        protocol, _ = self.attempts.accept(fills=True)
        protocol.connectionLost(LOST)
        self.clock.advance(2)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, **MISSING))
        self.assertIsNone(self.successResultOf(removed))

    def test_never_sent(self) -> None:
        """A remove that never left cannot have been done: a missing key is a KeyError."""
        removed = self.client.remove("zebra")
        self.attempts.refuse()
        self.clock.advance(1)
        protocol, _ = self.attempts.accept()
        protocol.dataReceived(reply(1, **MISSING))
        self.failureResultOf(removed, KeyError)
