"""Group commit on a simulated clock, with a writer that is done when the test says so, and with the real one."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StorageFault
from kvstore.edge import group_commit
from kvstore.edge.group_commit import GroupCommit, InLoopWriter
from kvstore.edge.settings import SyncPolicy
from kvstore.edge.turn import Turn
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk


class LateWriter:
    """A writer whose commits are done when `finish` is called. `begun`: all that it was given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: list[Callable[[StorageFault | None], None]] = []
        self.begun: list[Commit] = []

    def begin(self, commit: Commit, done: Callable[[StorageFault | None], None]) -> None:
        """See `Writer`."""
        self.begun.append(commit)
        self._done.append(done)

    def finish(self, fault: StorageFault | None = None) -> None:
        """The commit in flight, the only one, is done."""
        (done,) = self._done
        self._done.clear()
        if fault is None:
            self._store.write(self.begun[-1])
            self._store.sync()
        done(fault)


class FakeWaiter:
    """Notes in `told`, shared by all, what it is told. `again`: how often it waits again, as soon as it is told."""

    def __init__(self, name: str, told: list[tuple[str, int]], again: bool = False) -> None:
        self._name = name
        self._told = told
        self._again = again
        self.when_told: Callable[[], None] = lambda: None

    def settled(self, sequence: int) -> bool:
        """See `Waiter`."""
        self._told.append((self._name, sequence))
        self.when_told()
        return self._again


class GroupCommitTestCase(SynchronousTestCase):
    """A store on a simulated disk, and a clock."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.disk = SimulatedDisk()
        self.store = Store(self.disk, lambda: 1_000_000, lambda length: bytes(length))
        self.faults: list[StorageFault] = []
        self.between = 0
        self.told: list[tuple[str, int]] = []

    def make(self, writer: group_commit.Writer, policy: SyncPolicy = "always") -> GroupCommit:
        """Group commit with this writer."""
        return GroupCommit(Turn(self.clock), self.store, writer, policy, self.faults.append, self.count_between)

    def count_between(self) -> None:
        """What is called when no commit is in flight."""
        self.assertIsNone(self.store.in_flight)
        self.between += 1

    def change(self, key: bytes, value: bytes = b"1") -> None:
        """A write request."""
        self.store.table.write(key, value)
        self.store.table.pending.undo.clear()
        self.store.table.pending.requests += 1


class LateWriterTests(GroupCommitTestCase):
    """What happens while a commit is in flight."""

    def setUp(self) -> None:
        """Use the late writer."""
        super().setUp()
        self.writer = LateWriter(self.store)
        self.group = self.make(self.writer)

    def waiter(self, name: str, again: bool = False) -> FakeWaiter:
        """A waiter for the next commit."""
        waiter = FakeWaiter(name, self.told, again)
        self.group.wait(waiter)
        return waiter

    def test_one_commit_a_turn(self) -> None:
        """Everything that changed in a turn of the loop is one commit, begun at the turn's end."""
        for key in (b"a", b"b", b"c"):
            self.change(key)
            self.group.schedule()
        self.assertEqual(self.writer.begun, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual([commit.keys for commit in self.writer.begun], [{b"a", b"b", b"c"}])
        self.assertEqual(self.writer.begun[0].requests, 3)

    def test_nothing_to_commit(self) -> None:
        """Without changes nothing is begun."""
        self.group.schedule()
        self.clock.advance(0)
        self.group.commit_now()
        self.assertEqual(self.writer.begun, [])

    def test_one_in_flight_at_a_time(self) -> None:
        """What changes meanwhile makes the next commit, however many turns pass; it follows when the first is done."""
        self.change(b"a")
        self.group.schedule()
        self.clock.advance(0)
        for key in (b"b", b"c"):
            self.change(key)
            self.group.schedule()
            self.clock.advance(0)
            self.group.commit_now()
        self.assertEqual(len(self.writer.begun), 1)
        self.writer.finish()
        self.clock.advance(0)
        self.assertEqual([commit.keys for commit in self.writer.begun], [{b"a"}, {b"b", b"c"}])
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

    def test_waiting_again(self) -> None:
        """A waiter that says so, or that asks to wait while it is told, is told of the next commit too."""
        self.waiter("a", again=True)
        other = self.waiter("b")
        other.when_told = lambda: self.group.wait(other) if len(self.told) < 4 else None
        for _ in range(2):
            self.change(b"k")
            self.group.commit_now()
            self.writer.finish()
        self.assertEqual(sorted(self.told), [("a", 1), ("a", 2), ("b", 1), ("b", 2)])

    def test_changes_made_while_waiters_are_told(self) -> None:
        """They go into a commit of their own, at the end of the turn."""
        waiter = self.waiter("a")
        waiter.when_told = lambda: self.change(b"late")
        self.change(b"k")
        self.group.commit_now()
        self.writer.finish()
        self.clock.advance(0)
        self.assertEqual([commit.keys for commit in self.writer.begun], [{b"k"}, {b"late"}])

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
        self.group.schedule()
        self.writer.finish(StorageFault("the disk is gone"))
        self.assertEqual([str(fault) for fault in self.faults], ["the disk is gone"])
        self.change(b"m")
        self.group.schedule()
        self.clock.advance(1)
        self.group.commit_now()
        self.assertEqual((self.told, self.between, len(self.writer.begun)), ([], 0, 1))

    def test_a_large_commit_does_not_wait_for_the_end_of_the_turn(self) -> None:
        """Past a size the commit is closed at once; at it, not yet."""
        self.change(b"k", b"x" * 1000)
        self.patch(group_commit, "_LARGEST_COMMIT_BYTES", self.store.table.pending.size_bytes)
        self.group.schedule()
        self.assertEqual(self.writer.begun, [])
        self.change(b"l")
        self.group.schedule()
        self.assertEqual(len(self.writer.begun), 1)
        self.clock.advance(0)
        self.assertEqual(len(self.writer.begun), 1)

    def test_figures(self) -> None:
        """What INFO shows: commits, requests, operations, bytes, and the largest group."""
        for size in (3, 1):
            for number in range(size):
                self.change(b"k%d" % number)
            self.store.table.delete(b"k0")  # a second operation of the last request
            self.store.table.pending.undo.clear()
            self.group.commit_now()
            self.writer.finish()
        figures = self.group.figures
        self.assertEqual((figures.commits, figures.requests, figures.operations, figures.largest_group), (2, 4, 6, 3))
        self.assertEqual(figures.bytes, sum(len(commit.frame) for commit in self.writer.begun))
        self.assertGreater(figures.syncing_ns, 0)


class InLoopWriterTests(GroupCommitTestCase):
    """The writer that makes the loop wait."""

    def commit(self, policy: SyncPolicy) -> list[str]:
        """Commit one change under this policy. Returns the calls that the disk saw for it."""
        writer = InLoopWriter(self.store, sync=policy == "always")
        group = self.make(writer, policy)
        self.change(b"k")
        before = len(self.disk.calls)
        group.wait(FakeWaiter("a", self.told))
        group.schedule()
        self.clock.advance(0)
        return [call.name for call in self.disk.calls[before:]]

    def test_always(self) -> None:
        """Written, synced, told: all before the next turn; and the commit is known to be durable."""
        self.assertEqual(self.commit("always"), ["write_at", "sync"])
        self.assertEqual((self.told, self.store.durable_sequence), ([("a", 1)], 1))

    def test_other_policies(self) -> None:
        """Written and told; nothing is synced, and nothing is taken for durable."""
        for policy in ("everysec", "no"):
            self.told.clear()
            before = self.store.durable_sequence
            self.assertEqual(self.commit(policy), ["write_at"])
            self.assertEqual((len(self.told), self.store.durable_sequence), (1, before))

    def test_the_write_fails(self) -> None:
        """The fault is handed over and nobody is told; the sync is not tried."""
        self.disk.fail("write_at", errno.EIO)
        self.assertEqual(self.commit("always"), ["write_at"])
        self.assertEqual((self.told, len(self.faults), self.store.durable_sequence), ([], 1, 0))

    def test_the_sync_fails(self) -> None:
        """It is not tried again: a second one that works would say nothing of the first one's data."""
        self.disk.fail("sync", errno.EIO)
        self.assertEqual(self.commit("always"), ["write_at", "sync"])
        self.clock.advance(1)
        self.assertEqual((self.told, len(self.faults), self.store.durable_sequence), ([], 1, 0))
        self.assertEqual([call.name for call in self.disk.calls][-1], "sync")
        self.assertIsNotNone(self.store.failed)
