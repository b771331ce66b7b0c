"""kill -9 under writing clients: a few rounds of what scripts/kill_rounds does, and that it would see a loss."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.wire.multibulk import uniform_pipeline
from tests.suites.kills.queues import QUEUES, Ask, Queues
from tests.suites.kills.request import Request, Unknown, Violation
from tests.suites.kills.run import KillRun
from tests.suites.kills.writer import SHARED, Writer


class KillRoundTests(SynchronousTestCase):
    """The real server, killed and started again."""

    def setUp(self) -> None:
        """Eight clients and a directory that all rounds of the test work on."""
        directory = tempfile.mkdtemp(prefix="kvstore-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.seed = random.SystemRandom().randrange(2**32)
        self.run_ = KillRun(Path(directory, "data"), 8, self.seed, longest_seconds=0.4)
        self.addCleanup(self.run_.stop)

    def test_nothing_acknowledged_is_lost(self) -> None:
        """After each of three kills, of servers with each `--overlap`, every acknowledged write is there, and no half
        transaction.
        """
        run = self.run_
        try:
            for _ in range(3):
                run.round()
        except Violation as error:
            raise AssertionError(f"seed {self.seed}: {error}") from None
        self.assertEqual(run.counts.rounds, 3)
        self.assertGreater(run.counts.by_overlap["always"], 0)
        self.assertGreater(run.counts.acknowledged, 0)
        self.assertGreater(run.counts.blocks_acknowledged, 0)

    def test_a_loss_is_seen(self) -> None:
        """What is changed behind the clients' backs is a violation: a key removed, one added, a counter set back."""
        run = self.run_
        for _ in range(20):  # a kill may come before the first block
            run.round()
            if run.counts.blocks_acknowledged:
                break
        writer = next(writer for writer in run.writers if writer.blocks())
        shared = str(sum(each.blocks() for each in run.writers))
        for change, undo in (
            (("DEL", writer.counter), ("SET", writer.counter, str(writer.blocks()))),
            (("SET", "c0:string:never", "x"), ("DEL", "c0:string:never")),
            (("SET", "stranger", "x"), ("DEL", "stranger")),
            (("LPUSH", QUEUES[0], "stranger"), ("LPOP", QUEUES[0])),
            (("SET", SHARED, str(int(shared) - 1)), ("SET", SHARED, shared)),
        ):
            self._ask(*change)
            self.assertRaises(Violation, run.compare)
            self._ask(*undo)
            run.compare()

    def _ask(self, *words: str | bytes) -> None:
        with RawConnection(Address("127.0.0.1", self.run_.server.port)) as connection:
            connection.send(resp_request(*words))
            connection.resp()


class WriterTests(SynchronousTestCase):
    """What one client accepts, without a server."""

    def setUp(self) -> None:
        """A client that has a=1 acknowledged, and b=2, then a=3 and b=4 in one request, in flight."""
        self.writer = Writer("c0", random.Random(1))
        self.writer.state = {b"a": b"1"}
        self.writer.in_flight.append(Request(b"", [b"+OK"], {b"b": b"2"}))
        self.writer.in_flight.append(Request(b"", [b"+OK", Unknown.BLOCK], {b"a": b"3", b"b": b"4"}))

    def test_any_number_of_requests_in_flight_may_be_done(self) -> None:
        """None, one or both."""
        for done, found in enumerate(({b"a": b"1"}, {b"a": b"1", b"b": b"2"}, {b"a": b"3", b"b": b"4"})):
            self.setUp()
            self.assertEqual(self.writer.settle(found), done)
            self.assertEqual(self.writer.state, found)
            self.assertFalse(self.writer.in_flight)

    def test_every_other_state_is_a_violation(self) -> None:
        """A lost write, half of a request, a request done before an earlier one, a value that was never written."""
        for found in (
            {}, {b"b": b"2"}, {b"a": b"3", b"b": b"2"}, {b"a": b"1", b"b": b"4"}, {b"a": b"3"}, {b"a": b"9"},
            {b"a": b"1", b"c": b"1"},
        ):  # fmt: skip
            self.assertRaises(Violation, self.writer.settle, found)

    def test_pipelines(self) -> None:
        """They are what the server executes as columns, and each request in them is checked by itself."""
        writer = Writer("c1", random.Random(1))
        for maker, words in ((writer.sets, 3), (writer.gets, 2)):
            requests = maker()
            pipeline = uniform_pipeline(b"".join(request.data for request in requests))
            assert pipeline is not None
            self.assertEqual((pipeline.length, len(pipeline.columns)), (len(requests), words - 1))
            self.assertEqual(pipeline.rest, b"")

    def test_replies_are_checked(self) -> None:
        """A wrong line, and a line too many, are violations; a request counts when its reply is whole."""
        self.assertRaises(Violation, self.writer.hear, b"-ERR no")
        self.assertIsNone(self.writer.hear(b"+OK"))
        self.assertIsNone(self.writer.hear(b"+OK"))
        self.assertRaises(Violation, self.writer.hear, b"+7")
        self.assertEqual((self.writer.acknowledged, self.writer.state), (1, {b"a": b"1", b"b": b"2"}))
        self.assertEqual(self.writer.hear(b":7"), (Unknown.BLOCK, 7))
        self.assertEqual((self.writer.acknowledged, self.writer.state), (2, {b"a": b"3", b"b": b"4"}))
        self.assertRaises(Violation, self.writer.hear, b"+OK")


class QueueTests(SynchronousTestCase):
    """What may be found of queues, without a server."""

    def setUp(self) -> None:
        """One client has put in five elements, of which one came out; another asks for one, and is not answered."""
        self.queues = Queues(2, 1)
        giver, taker = self.queues.clients
        self.queue = QUEUES[0]
        self.queues.sent = dict.fromkeys((b"a", b"b", b"c", b"d", b"e"), (b"giver", self.queue))
        giver.in_flight += [Ask(b"", (b"a", b"b", b"c", b"d")), Ask(b"", (b"e",))]
        giver.hear(b":4")
        taker.in_flight += [Ask(b""), Ask(b"")]
        for line in (b"*2", b"$7", self.queue, b"$1", b"a"):
            taker.hear(line)
        self.taker = taker

    def test_what_may_be_found(self) -> None:
        """All of it, or all but the first, which was for the one who asks; with what was in flight, or without."""
        for found, missing in ((b"bcd", 0), (b"bcde", 0), (b"cd", 1), (b"cde", 1)):
            self.setUp()
            self.queues.settle({self.queue: tuple(bytes([each]) for each in found)})
            self.assertEqual((self.queues.missing, self.queues.taken), (missing, {b"a"}))
            self.queues.settle({self.queue: tuple(bytes([each]) for each in found)})

    def test_every_other_state_is_a_violation(self) -> None:
        """Two that are missing, one that is not the first, one that came out, one twice, one of nobody's."""
        for found in (b"d", b"", b"bd", b"bc", b"abcd", b"bbcd", b"bcdx"):
            self.setUp()
            held = {self.queue: tuple(bytes([each]) for each in found)}
            self.assertRaises(Violation, self.queues.settle, held)

    def test_nobody_asked(self) -> None:
        """Then nothing may be missing; and what is missing never comes back, nor comes out."""
        held = {self.queue: (b"c", b"d")}
        self.queues.settle(held)
        self.assertRaises(Violation, self.queues.settle, {self.queue: (b"d",)})
        self.assertRaises(Violation, self.queues.settle, {self.queue: (b"b", b"c", b"d")})
        for element in (b"a", b"b"):
            self.assertRaises(Violation, self.queues.came_out, element)
