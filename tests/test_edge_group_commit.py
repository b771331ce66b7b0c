"""Group commit on a simulated clock, with a writer that is done when the test says so, and with the real one."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure

from kvstore.base.errors import StorageFault
from kvstore.commands.latency_events import LatencyEvents
from kvstore.edge import group_commit, writers
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.writers import InLoopWriter
from kvstore.store.store import Store
from tests.kit.edge import FakeSyncer, FakeWaiter, GroupCommitTestCase, LateWriter
from tests.kit.harness import keys_in


class BrokenByTest(Exception):
    """What nobody expects."""


class LateWriterTests(GroupCommitTestCase):
    """What happens while a commit is in flight."""

    def setUp(self) -> None:
        """Use the late writer."""
        super().setUp()
        self.writer = LateWriter(self.store)
        self.group = self.make(self.writer)

    def waiter(self, name: str) -> FakeWaiter:
        """A waiter for the next commit."""
        waiter = FakeWaiter(name, self.told)
        self.wait(waiter)
        return waiter

    def test_one_commit_a_turn(self) -> None:
        """Everything that changed in a turn of the loop is one commit, begun at the turn's end."""
        for key in (b"a", b"b", b"c"):
            self.change(key)
            self.turn.ask_for_commit()
        self.assertEqual(self.writer.begun, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual([keys_in(commit) for commit in self.writer.begun], [{b"a", b"b", b"c"}])
        self.assertEqual(self.writer.begun[0].requests, 3)

    def test_nothing_to_commit(self) -> None:
        """Without changes nothing is begun."""
        self.turn.ask_for_commit()
        self.clock.advance(0)
        self.group.commit_now()
        self.assertEqual(self.writer.begun, [])

    def test_one_in_flight_at_a_time(self) -> None:
        """What changes meanwhile makes the next commit, however many turns pass; it follows when the first is done."""
        self.change(b"a")
        self.turn.ask_for_commit()
        self.clock.advance(0)
        for key in (b"b", b"c"):
            self.change(key)
            self.turn.ask_for_commit()
            self.clock.advance(0)
            self.group.commit_now()
        self.assertEqual(len(self.writer.begun), 1)
        self.writer.finish()
        self.clock.advance(0)
        self.assertEqual([keys_in(commit) for commit in self.writer.begun], [{b"a"}, {b"b", b"c"}])
        self.assertEqual([commit.sequence for commit in self.writer.begun], [1, 2])
        self.writer.finish()
        self.clock.advance(0)
        self.assertEqual(len(self.writer.begun), 2)
        self.assertEqual((self.store.settled_sequence(), self.store.durable_sequence), (2, 2))

    def test_waiters_are_told_in_order(self) -> None:
        """Each once, first come first told, when the commit is settled and not before."""
        for name in "abc":
            self.waiter(name)
        self.change(b"k")
        self.group.commit_now()
        self.assertEqual(self.told, [])
        self.writer.finish()
        self.assertEqual(self.told, [("a", 1), ("b", 1), ("c", 1)])
        self.change(b"k")
        self.group.commit_now()
        self.writer.finish()
        self.assertEqual(len(self.told), 3)

    def test_each_waits_for_its_own(self) -> None:
        """Whoever waits for the commit after the one in flight is not told by that; of a settled one at once."""
        self.change(b"k")
        self.waiter("a")
        self.group.commit_now()
        self.change(b"k")
        self.waiter("b")
        self.writer.finish()
        self.assertEqual(self.told, [("a", 1)])
        self.group.wait(FakeWaiter("late", self.told), 1)
        self.clock.advance(0)
        self.writer.finish()
        self.assertEqual(self.told, [("a", 1), ("late", 1), ("b", 2)])

    def test_waiting_again(self) -> None:
        """A waiter that asks to wait while it is told is told of the next commit too."""
        self.waiter("a")
        other = self.waiter("b")
        other.when_told = lambda: self.wait(other) if len(self.told) < 3 else None
        for _ in range(3):
            self.change(b"k")
            self.group.commit_now()
            self.writer.finish()
        self.assertEqual(self.told, [("a", 1), ("b", 1), ("b", 2)])

    def test_changes_made_while_waiters_are_told(self) -> None:
        """They go into a commit of their own, at the end of the turn."""
        waiter = self.waiter("a")
        waiter.when_told = lambda: self.change(b"late")
        self.change(b"k")
        self.group.commit_now()
        self.writer.finish()
        self.clock.advance(0)
        self.assertEqual([keys_in(commit) for commit in self.writer.begun], [{b"k"}, {b"late"}])

    def test_between_commits(self) -> None:
        """The moment at which nothing is in flight is told, after the waiters were."""
        waiter = self.waiter("a")
        waiter.when_told = lambda: self.assertEqual(self.between, 0)
        self.change(b"k")
        self.group.commit_now()
        self.assertEqual(self.between, 0)
        self.writer.finish()
        self.assertEqual((self.between, self.told), (1, [("a", 1)]))

    def test_a_fault_stops_everything(self) -> None:
        """Nobody is told anything, now or later; no other commit is begun; the fault is reported once."""
        self.waiter("a")
        self.change(b"k")
        self.group.commit_now()
        self.change(b"l")
        self.turn.ask_for_commit()
        self.writer.finish(StorageFault("the disk is gone"))
        self.assertEqual([str(fault) for fault in self.faults], ["the disk is gone"])
        self.change(b"m")
        self.turn.ask_for_commit()
        self.clock.advance(1)
        self.group.commit_now()
        self.assertEqual((self.told, self.between, len(self.writer.begun)), ([], 0, 1))

    def test_events(self) -> None:
        """A commit that takes long is one; how it is named hangs on whether it was synced."""
        events = LatencyEvents(lambda: 0)
        now_ns = [0]
        for policy in ("always", "no"):
            group = GroupCommit(
                self.turn, self.store, self.writer, policy, self.faults.append, lambda: None,
                steady_ns=lambda: now_ns[0],
            )  # fmt: skip
            group.events = events
            for threshold_ms in ("0", "5"):
                events.set_threshold(threshold_ms)
                self.change(b"k")
                group.commit_now()
                now_ns[0] += 5_000_000
                self.writer.finish()
        self.assertEqual({name: event.count for name, event in events.by_name.items()}, {
            "aof-fsync-always": 1, "aof-write": 1,
        })  # fmt: skip

    def test_figures(self) -> None:
        """What INFO shows: commits, requests, operations, bytes, and the largest group."""
        for size in (3, 1):
            for number in range(size):
                self.change(b"k%d" % number)
            self.store.table.delete(b"k0")  # a second operation of the last request
            self.store.pending.undo.clear()
            self.group.commit_now()
            self.now_ns += 100
            self.writer.finish()
        figures = self.group.figures
        self.assertEqual((figures.commits, figures.requests, figures.operations, figures.largest_group), (2, 4, 6, 3))
        self.assertEqual(figures.bytes, sum(len(commit.frame) for commit in self.writer.begun))
        self.assertEqual(figures.syncing_ns, 200)


class UnexpectedTests(GroupCommitTestCase):
    """Whatever goes wrong while a commit is under way, nobody is left to wait for ever: it is a fault, told once."""

    def setUp(self) -> None:
        """A sync that goes on while the loop does, if it is to."""
        super().setUp()
        self.syncer = FakeSyncer()
        self.overlapped = writers.OverlappedWriter(self.store, MemoryReactor(), self.syncer)

    def begin(self, writer: writers.Writer) -> GroupCommit:
        """A change, and a waiter for it, are on their way."""
        group = self.make(writer)
        self.wait(FakeWaiter("a", self.told), group)
        self.change(b"k")
        group.commit_now()
        return group

    def check(self, group: GroupCommit, error: type[Exception] = BrokenByTest) -> None:
        """The fault names what was unexpected, whose traceback is in the log; nothing more is begun or told."""
        self.assertEqual(len(self.flushLoggedErrors(error)), 1)
        (fault,) = self.faults
        self.assertEqual(str(fault), "unexpected BrokenByTest('planted by a test')")
        self.assertIs(self.store.failed, fault)
        group.commit_now()
        self.assertEqual((self.told, len(self.faults)), ([], 1))
        self.assertRaises(StorageFault, self.store.close_commit)
        self.successResultOf(group.when_idle())

    def broken(self, *arguments: object, **keywords: object) -> Any:
        """What nobody expects."""
        raise BrokenByTest("planted by a test")

    def test_closing(self) -> None:
        """Before the commit is one."""
        self.patch(self.store, "close_commit", self.broken)
        group = self.begin(InLoopWriter(self.store, sync=True))
        self.patch(self.store, "close_commit", lambda: Store.close_commit(self.store))
        self.check(group)

    def test_in_the_loop(self) -> None:
        """Writing, and syncing."""
        for call in ("write", "sync"):
            self.setUp()
            self.patch(self.store.log, call, self.broken)
            self.check(self.begin(InLoopWriter(self.store, sync=True)))

    def test_overlapped(self) -> None:
        """Writing, beginning to sync, and hearing of the end."""
        self.patch(self.store.log, "write", self.broken)
        self.check(self.begin(self.overlapped))
        self.setUp()
        self.patch(self.syncer, "begin", self.broken)
        self.check(self.begin(self.overlapped))
        self.setUp()
        self.patch(self.syncer, "finish", self.broken)
        group = self.begin(self.overlapped)
        self.assertEqual(self.faults, [])
        self.overlapped.doRead()
        self.check(group)

    def test_choosing_the_writer(self) -> None:
        """The other cannot be made, for a reason that nobody thought of; the commit was closed by then."""
        writer = writers.AdaptiveWriter(
            InLoopWriter(self.store, sync=True), self.broken, iter(range(0, 1 << 40, 1 << 33)).__next__, bool
        )
        self.check(self.begin(writer))

    def test_telling(self) -> None:
        """One of those who wait for it: the others would never hear of it."""
        group = self.make(self.overlapped)
        broken = FakeWaiter("broken", [])
        broken.when_told = self.broken
        self.wait(broken, group)
        self.wait(FakeWaiter("a", self.told), group)
        self.change(b"k")
        group.commit_now()
        self.syncer.done = True
        self.overlapped.doRead()
        self.check(group)

    def test_nobody_watches(self) -> None:
        """The reactor has dropped the syncer: a sync under way is lost; if none is, the loop waits from then on."""
        reason = Failure(ConnectionLost("planted by a test"))
        self.begin(self.overlapped)
        self.overlapped.connectionLost(reason)
        self.assertRegex(str(self.faults[0]), "its end will not be heard of")
        self.assertIsNotNone(self.store.failed)
        self.setUp()
        self.overlapped.connectionLost(reason)
        self.begin(self.overlapped)
        self.assertEqual((self.told, self.faults, self.syncer.begun), ([("a", 1)], [], 0))


class WantingMoreTests(GroupCommitTestCase):
    """Whether a commit should be larger."""

    def setUp(self) -> None:
        """Three clients."""
        super().setUp()
        self.writer = LateWriter(self.store)
        self.group = GroupCommit(
            self.turn, self.store, self.writer, "always", self.faults.append, self.count_between, lambda: 3,
            lambda: self.now_ns,
        )  # fmt: skip

    def test_until_everybody_has_sent(self) -> None:
        """Then nothing can come."""
        self.assertEqual([self.group.wants_more(arrived) for arrived in (1, 2, 3)], [True, True, False])

    def test_until_it_is_worth_a_sync(self) -> None:
        """What is executed already counts too."""
        self.patch(group_commit, "_WORTH_A_SYNC", 2)
        self.assertEqual([self.group.wants_more(arrived) for arrived in (1, 2)], [True, False])
        self.change(b"k")
        self.assertFalse(self.group.wants_more(1))

    def test_behind_one_in_flight(self) -> None:
        """The next commit cannot begin anyway: only until it is worth executing."""
        self.patch(group_commit, "_WORTH_EXECUTING", 2)
        self.change(b"k")
        self.group.commit_now()
        self.assertTrue(self.group.is_in_flight)
        self.assertEqual([self.group.wants_more(arrived) for arrived in (1, 2)], [True, False])
        self.writer.finish()
        self.assertTrue(self.group.wants_more(2))

    def settle_with_more_open(self) -> None:
        """A commit that took 8 ms is settled, which answers two clients; one change is open."""
        two = FakeWaiter("a and b", self.told)
        two.clients = 2
        self.change(b"k")
        self.wait(two)
        self.group.commit_now()
        self.change(b"k")
        self.now_ns += 8_000_000
        self.writer.finish()
        self.assertTrue(self.turn.commit_asked)

    def test_those_just_answered_are_waited_for(self) -> None:
        """The next commit begins when they have sent again."""
        self.settle_with_more_open()
        pauses = []
        for _ in range(2):
            pauses.append(self.group.pauses)
            self.change(b"k")
        self.assertEqual((pauses, self.group.pauses), ([True, True], False))

    def test_but_not_for_long(self) -> None:
        """An eighth of the time of a commit, and at most a millisecond."""
        self.settle_with_more_open()
        self.now_ns += 999_999
        self.assertTrue(self.group.pauses)
        self.now_ns += 1
        self.assertFalse(self.group.pauses)

    def test_everyone_waits(self) -> None:
        """A waiter may stand for several clients."""
        two = FakeWaiter("b and c", self.told)
        two.clients = 2
        self.wait(two)
        self.assertFalse(self.group.everyone_waits)
        self.wait(FakeWaiter("a", self.told))
        self.assertTrue(self.group.everyone_waits)
