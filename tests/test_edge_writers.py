"""The writers of group commit: in the loop, beside it, and the one that goes by how long syncs take."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.testing import MemoryReactor

from kvstore.base.errors import StorageFault
from kvstore.edge import writers
from kvstore.edge.settings import SyncPolicy
from kvstore.edge.writers import InLoopWriter
from kvstore.store.store import Commit, Store
from kvstore.values import TYPES
from tests.kit.edge import FakeSyncer, FakeWaiter, GroupCommitTestCase


class InLoopWriterTests(GroupCommitTestCase):
    """The writer that makes the loop wait."""

    def commit(self, policy: SyncPolicy) -> list[str]:
        """Commit one change under this policy. Returns the calls that the disk saw for it."""
        writer = InLoopWriter(self.store, sync=policy == "always")
        group = self.make(writer, policy)
        self.change(b"k")
        before = len(self.disk.calls)
        self.wait(FakeWaiter("a", self.told), group)
        self.turn.ask_for_commit()
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


class NamedWriter:
    """Says which writer was begun, and is done after so many nanoseconds of the test's clock; heard of late if it
    overlaps.
    """

    def __init__(self, name: str, test: AdaptiveWriterTests) -> None:
        self._name = name
        self._test = test
        self.overlaps = name == "overlapped"

    def begin(self, commit: Commit, done: Callable[[StorageFault | None], None]) -> None:
        """See `Writer`."""
        self._test.begun.append(self._name)
        self._test.now_ns += self._test.sync_ns + (self._test.late_ns if self.overlaps else 0)
        done(None)


class AdaptiveWriterTests(GroupCommitTestCase):
    """Which writer is used, by how long syncs take."""

    def setUp(self) -> None:
        """A fast disk. `begun`: the writers, commit by commit."""
        super().setUp()
        self.begun: list[str] = []
        self.now_ns = 0
        self.sync_ns = 100_000
        self.late_ns = 0
        self.alone = False
        self.writer = writers.AdaptiveWriter(
            NamedWriter("in loop", self), self.make_overlapped, lambda: self.now_ns, lambda: self.alone
        )
        self.group = self.make(self.writer)
        self.failures = 0

    def make_overlapped(self) -> NamedWriter:
        """The other writer. Fails `failures` times before."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return NamedWriter("overlapped", self)

    def commits(self, number: int) -> list[str]:
        """The writers of so many commits."""
        self.begun.clear()
        for _ in range(number):
            self.change(b"k")
            self.group.commit_now()
        return list(self.begun)

    def test_a_fast_disk(self) -> None:
        """The loop waits, and one slow sync does not change that."""
        self.assertEqual(set(self.commits(50)), {"in loop"})
        self.sync_ns = 2_000_000
        self.commits(1)
        self.sync_ns = 100_000
        self.assertEqual(set(self.commits(50)), {"in loop"})

    def test_a_slow_disk(self) -> None:
        """After a few slow syncs they overlap; when they are fast again, the loop waits again."""
        self.sync_ns = 5_000_000
        self.assertEqual(self.commits(1), ["in loop"])
        self.commits(3)
        self.assertTrue(self.writer.overlaps)
        self.assertEqual(self.commits(50).count("overlapped"), 49)
        self.sync_ns = 100_000
        self.commits(1100)
        self.assertEqual(set(self.commits(10)), {"in loop"})

    def test_overlapping_is_tried_again(self) -> None:
        """While there is no way to overlap the loop waits; as soon as there is one it is taken."""
        self.failures = 3
        self.sync_ns = 20_000_000
        self.assertEqual(self.commits(6), ["in loop"] * 4 + ["overlapped"] * 2)

    def test_between_fast_and_slow(self) -> None:
        """What is neither changes nothing."""
        self.sync_ns = 700_000
        self.assertEqual(set(self.commits(50)), {"in loop"})
        self.sync_ns = 5_000_000
        self.commits(20)
        self.sync_ns = 700_000
        self.commits(100)
        self.assertTrue(self.writer.overlaps)

    def test_a_busy_loop_hears_late(self) -> None:
        """How slow syncs are, those tell that the loop waits for: ever fewer, and soon again when they are faster."""
        self.sync_ns = 1_500_000
        self.commits(50)
        self.assertEqual([self.commits(500).count("in loop") for _ in range(3)], [3, 2, 2])
        self.sync_ns, self.late_ns = 100_000, 500_000
        self.commits(1100)
        self.assertEqual(set(self.commits(50)), {"in loop"})

    def test_prepared(self) -> None:
        """The other writer is made when that holds nobody up, once; if it cannot be, then when it is wanted."""
        self.failures = 1
        self.writer.prepare()
        self.assertIsNone(self.writer._overlapped)
        self.writer.prepare()
        made = self.writer._overlapped
        self.writer.prepare()
        self.assertIs(self.writer._overlapped, made)
        self.assertIsNotNone(made)

    def test_nobody_else(self) -> None:
        """While all clients wait for the commit the loop has nothing better to do, unless the disk is surely slow."""
        self.sync_ns = 1_500_000
        self.commits(50)
        self.alone = True
        self.assertEqual(set(self.commits(50)), {"in loop"})
        self.sync_ns = 5_000_000
        self.commits(50)
        self.assertGreaterEqual(self.commits(50).count("overlapped"), 49)

    def test_the_turn_knows(self) -> None:
        """The order of commit and replies follows."""
        self.assertFalse(self.group.overlaps)
        self.sync_ns = 50_000_000
        self.commits(1)
        self.assertTrue(self.group.overlaps)


class OverlappedWriterTests(GroupCommitTestCase):
    """A sync that goes on while the loop does."""

    def setUp(self) -> None:
        """A reactor that remembers whom it watches."""
        super().setUp()
        self.syncer = FakeSyncer()
        self.reactor = MemoryReactor()
        self.writer = writers.OverlappedWriter(self.store, self.reactor, self.syncer)
        self.group = self.make(self.writer)

    def begin(self) -> None:
        """A change, and a waiter for it, are on their way."""
        self.wait(FakeWaiter("a", self.told))
        self.change(b"k")
        self.group.commit_now()

    def test_told_when_it_is_done(self) -> None:
        """Not when it begins, and not when the descriptor rings too early; then all that was written is on disk."""
        self.assertEqual(self.reactor.getReaders(), [self.writer])
        self.begin()
        self.writer.doRead()
        self.assertEqual((self.told, self.store.durable_sequence), ([], 0))
        self.syncer.done = True
        self.writer.doRead()
        self.assertEqual((self.told, self.store.durable_sequence), ([("a", 1)], 1))
        for disk in self.disk.crashes(20):
            self.assertEqual(Store(disk, TYPES, lambda: 1_000_000, bytes).table.values, {b"k": b"1"})

    def test_ringing_for_nothing(self) -> None:
        """Nothing is under way: nothing happens."""
        self.syncer.done = True
        self.writer.doRead()
        self.assertEqual((self.faults, self.told), ([], []))

    def test_it_cannot_be_begun(self) -> None:
        """Then the loop waits for this one, as without a syncer."""
        self.syncer.faults["begin"] = OSError(errno.EAGAIN, "planted by a test")
        self.begin()
        self.assertEqual((self.told, self.faults, self.store.durable_sequence), ([("a", 1)], [], 1))

    def test_it_fails(self) -> None:
        """That is fatal: nobody is told anything, and nothing is written after it."""
        self.begin()
        self.syncer.faults["finish"] = OSError(errno.EIO, "planted by a test")
        self.writer.doRead()
        self.assertEqual(self.told, [])
        self.assertRegex(str(self.faults[0]), "cannot sync table.txn: .*planted by a test")
        self.assertIsNotNone(self.store.failed)

    def test_the_write_fails(self) -> None:
        """The same, and no sync is begun."""
        self.disk.fail("write_at", errno.EIO)
        self.begin()
        self.assertEqual((self.told, self.syncer.begun, len(self.faults)), ([], 0, 1))

    def test_when_idle(self) -> None:
        """At once if no commit is in flight, else when it is done."""
        self.assertIsNone(self.successResultOf(self.group.when_idle()))
        self.begin()
        waiting = self.group.when_idle()
        self.assertNoResult(waiting)
        self.syncer.done = True
        self.writer.doRead()
        self.assertIsNone(self.successResultOf(waiting))

    def test_closed(self) -> None:
        """The reactor watches it no more."""
        self.writer.close()
        self.assertEqual(self.reactor.getReaders(), [])
