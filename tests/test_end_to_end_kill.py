"""kill -9 under writing clients: a few rounds of what scripts/kill_rounds does, and that it would see a loss."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.wire.multibulk import uniform_pipeline
from tests.kit.logged import Commit
from tests.suites.kills import functions, scripts
from tests.suites.kills.evictable import DATABASE, EvictableClient
from tests.suites.kills.evictable import Request as EvictableRequest
from tests.suites.kills.queues import QUEUES, RANKED, STREAM, Ask, Queues
from tests.suites.kills.request import (
    Beginning,
    Entry,
    Held,
    Pending,
    Request,
    Stream,
    Unknown,
    Violation,
    library_place,
)
from tests.suites.kills.run import KillRun
from tests.suites.kills.writer import SHARED, Writer

_LIBRARY = b"#!lua name=c0_never\nredis.register_function('c0_never_run', function() end)"


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
            while run.counts.rounds < 3 or (not run.counts.by_overlap["always"] and run.counts.rounds < 20):
                run.round()  # a kill may come before the first reply
        except Violation as error:
            raise AssertionError(f"seed {self.seed}: {error}") from None
        self.assertGreater(run.counts.by_overlap["always"], 0)
        self.assertGreater(run.counts.acknowledged, 0)
        self.assertGreater(run.counts.blocks_acknowledged, 0)

    @pytest.mark.long
    def test_evictions(self) -> None:
        """What is acknowledged is there, or was evicted, which the log says."""
        run = KillRun(self.run_.data.with_name("little"), 4, self.seed, longest_seconds=2, evict="volatile")
        self.addCleanup(run.stop)
        try:
            while run.counts.rounds < 2 or (not run.counts.evicted and run.counts.rounds < 20):
                run.round()
            run.restart_in_order()
        except Violation as error:
            raise AssertionError(f"seed {self.seed}: {error}") from None
        self.assertGreater(run.counts.evicted, 0)

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
            (("ZADD", RANKED, "-1", "stranger"), ("ZREM", RANKED, "stranger")),
            (("XADD", STREAM, "7777777777777-1", "e", "stranger"), ("XDEL", STREAM, "7777777777777-1")),
            (("FUNCTION", "LOAD", _LIBRARY), ("FUNCTION", "DELETE", "c0_never")),
            (("XGROUP", "CREATE", "c0:stream:never", "g", "0", "MKSTREAM"), ("DEL", "c0:stream:never")),
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

    def test_half_of_a_script_is_a_violation(self) -> None:
        """It wrote seven keys: any that is missing, or is the only one, is one; so is what a script did that raised."""
        writer = Writer("c0", random.Random(3))
        request = scripts.done(writer)
        whole: dict[bytes, Held] = {key: held for key, held in request.changes.items() if held is not None}
        self.assertEqual(len(whole), 7)
        for found, done in ((whole, 1), ({}, 0)):
            writer.in_flight.append(request)
            self.assertEqual(writer.settle(dict(found)), done)
            writer.state.clear()
        for key, held in whole.items():
            for found in ({key: held}, {other: whole[other] for other in whole if other != key}):
                writer.in_flight.append(request)
                self.assertRaises(Violation, writer.settle, found)
                writer.in_flight.clear()
        writer.in_flight.append(scripts.raised(writer))
        self.assertRaises(Violation, writer.settle, dict(whole))

    def test_libraries(self) -> None:
        """Half of what a restore brings, or a library beside what a flush and a load in one block left: violations."""
        for maker, count in ((functions.restore, 2), (functions.block, 2)):
            writer = Writer("c0", random.Random(5))
            old = library_place(b"c0_0")
            writer.state = {old: b"old"}
            writer.planned = dict(writer.state)
            request = maker(writer)
            while not request.changes or old not in request.changes:
                request = maker(writer)
            whole = {key: held for key, held in (writer.state | request.changes).items() if held is not None}
            self.assertEqual(len(whole), count)
            writer.in_flight.append(request)
            for key in whole:
                half = {each: held for each, held in whole.items() if each != key}
                self.assertRaises(Violation, writer.settle, half)
                self.assertRaises(Violation, writer.settle, half | {old: b"older"})
            self.assertEqual(writer.settle(whole), 1)

    def test_beginning_of_a_line(self) -> None:
        """An error is known by how it begins."""
        for line, good in ((b"-ERR late, 5 ms", True), (b"-ERR early", False), (b":1", False)):
            writer = Writer("c0", random.Random(1))
            writer.in_flight.append(Request(b"", [Beginning(b"-ERR late")], {}))
            if good:
                self.assertIsNone(writer.hear(line))
            else:
                self.assertRaises(Violation, writer.hear, line)

    def test_streams(self) -> None:
        """An entry, its place with a consumer, or how often it was given out, that differ: violations, each."""
        right = Stream((Entry(1, b"a"), Entry(2, b"b")), 2, 1, (Pending(1, b"one", 1),))
        for wrong in (
            right._replace(entries=right.entries[:1]), right._replace(last=3), right._replace(read=0),
            right._replace(pending=()), right._replace(pending=None), right._replace(pending=(Pending(1, b"two", 1),)),
            right._replace(pending=(Pending(1, b"one", 2),)), right._replace(pending=(Pending(2, b"one", 1),)),
        ):  # fmt: skip
            writer = Writer("c0", random.Random(1))
            writer.state[b"c0:stream:0"] = right
            self.assertRaises(Violation, writer.settle, {b"c0:stream:0": wrong})
            self.assertEqual(writer.settle({b"c0:stream:0": right}), 0)

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


class PendingTests(SynchronousTestCase):
    """What may be found of a stream that is a queue, without a server."""

    def setUp(self) -> None:
        """Of three elements one came out and is done with, one came out; a client asks for one and is not answered."""
        self.queues = Queues(2, 1)
        self.taker, self.other = self.queues.clients
        self.queues.sent = dict.fromkeys((b"a", b"b", b"c"), (b"giver", STREAM))
        self.queues.acknowledged = {b"a", b"b", b"c"}
        for number, element in ((1, b"a"), (2, b"b")):
            self.queues.came_out(element)
            self.queues.given[element] = (self.taker.name, number)
        self.taker.in_flight.append(Ask(b"", done=b"a"))
        self.taker.hear(b":1")
        self.other.in_flight.append(Ask(b""))

    def stream(self, *pending: tuple[int, bytes, int], entries: bytes = b"bc", read: int = 2) -> dict[bytes, Held]:
        """The stream as it is found. `entries`: `a` is number 1, and so on."""
        found = tuple(Entry(element - ord("a") + 1, bytes([element])) for element in entries)
        return {STREAM: Stream(found, 3, read, tuple(Pending(*each) for each in pending))}

    def test_what_may_be_found(self) -> None:
        """What came out is pending; so is, maybe, the next, with who asked for it. Then it never comes out again."""
        mine, others = (2, self.taker.name, 1), (3, self.other.name, 1)
        self.queues.settle(self.stream(mine))
        self.assertEqual(self.queues.given, {b"b": (self.taker.name, 2)})
        self.setUp()
        self.queues.settle(self.stream(mine, others, read=3))
        self.assertEqual((self.queues.missing, self.queues.given[b"c"]), (1, (self.other.name, 3)))
        self.assertRaises(Violation, self.queues.came_out, b"c")

    def test_every_other_state_is_a_violation(self) -> None:
        """Given out and not pending, with another, twice, done with and pending, gone, with one who did not ask."""
        mine, others = (2, self.taker.name, 1), (3, self.other.name, 1)
        for found in (
            self.stream(), self.stream((2, self.other.name, 1)), self.stream((2, self.taker.name, 2)),
            self.stream(mine, (1, self.taker.name, 1), entries=b"abc"), self.stream(mine, entries=b"c"),
            self.stream(mine, entries=b"abc"), self.stream(mine, read=1), self.stream(mine, entries=b"b", read=3),
            self.stream(mine, read=3), self.stream(mine, (3, self.taker.name, 1), read=3), self.stream(others, read=3),
        ):  # fmt: skip
            self.setUp()
            self.assertRaises(Violation, self.queues.settle, found)

    def test_done_in_flight(self) -> None:
        """It may have been done, or not."""
        for found in (self.stream((2, self.taker.name, 1)), self.stream(entries=b"c")):
            self.setUp()
            self.taker.in_flight.append(Ask(b"", done=b"b"))
            self.queues.settle(found)


class EvictableTests(SynchronousTestCase):
    """What may be found in the log of keys that may be evicted, without a server."""

    SET_A, SET_B, DEL_A, DEL_B = (b"SET", b"a", b"1"), (b"SET", b"b", b"2"), (b"DEL", b"a"), (b"DEL", b"b")

    def setUp(self) -> None:
        """A client that set both, and read them."""
        self.client = EvictableClient(0, random.Random(1))
        self.asked((self.SET_A, self.SET_B), b"*2", b"+OK", b"+OK")

    def asked(self, steps: tuple[tuple[bytes, ...], ...], *lines: bytes) -> None:
        """It asked that, and heard those lines; none if it is in flight."""
        self.client.in_flight.append(EvictableRequest(b"", steps, is_list=len(steps) > 1))
        for line in lines:
            self.client.hear(line)

    def settle(self, *operations: tuple[bytes, ...]) -> int:
        """The log has these operations in its database, and others in another one."""
        logged = [(DATABASE, list(operation)) for operation in operations]
        return self.client.settle([Commit(1, 0, [*logged, (0, [b"DEL", b"other"])])])

    def test_what_may_be_found(self) -> None:
        """Keys go after they were written, and are missed after that."""
        self.asked(((b"GET", b"b"),), b"$1", b"2")
        self.asked(((b"GET", b"a"),), b"$-1")
        self.asked(((b"INCR", b"a"),), b":1")
        self.assertEqual(self.settle(self.SET_A, self.SET_B, self.DEL_A, (b"SET", b"a", b"1"), self.DEL_B), 0)
        self.assertEqual((self.client.evicted, self.client.missed), (2, 1))

    def test_in_flight(self) -> None:
        """The first few are done, or none; keys may have gone after them."""
        for logged, done in (((), 0), ((self.DEL_A,), 0), ((self.DEL_A, (b"SET", b"a", b"3")), 1)):
            self.setUp()
            self.asked(((b"SET", b"a", b"3"),))
            self.asked(((b"SET", b"b", b"4"),))
            self.assertEqual(self.settle(self.SET_A, self.SET_B, *logged), done)

    def test_a_loss_is_seen(self) -> None:
        """What is gone and was not logged; half of a block; an eviction inside of it; one of nothing."""
        for logged in (
            (), (self.SET_A,), (self.SET_B, self.SET_A), (self.SET_A, self.DEL_A, self.SET_B), (self.DEL_B, self.SET_A),
            (self.SET_A, self.SET_B, self.SET_B), (self.SET_A, (b"SET", b"b", b"9")),
        ):  # fmt: skip
            self.setUp()
            self.assertRaises(Violation, self.settle, *logged)

    def test_gone_for_good(self) -> None:
        """Seen to be gone, and not in the log; in the log, and seen afterwards; back after a start."""
        for read in ((b"$-1",), (b"$1", b"7")):
            self.setUp()
            self.asked(((b"GET", b"a"),), *read)
            self.assertRaises(Violation, self.settle, self.SET_A, self.SET_B)
        self.setUp()
        self.settle(self.SET_A, self.SET_B, self.DEL_A)
        self.asked(((b"GET", b"a"),), b"$1", b"1")
        self.assertRaises(Violation, self.settle)

    def test_errors(self) -> None:
        """None is expected; nor is a reply that nobody asked for."""
        self.asked(((b"GET", b"a"),))
        self.assertRaises(Violation, self.client.hear, b"-OOM command not allowed")
        self.client.in_flight.clear()
        self.assertRaises(Violation, self.client.hear, b"+OK")
