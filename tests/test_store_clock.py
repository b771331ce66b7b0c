"""The wall clock set back and forward under the store: deadlines, the times in frames, and the pause of compaction."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.store.compaction import CompactionPolicy
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import commit

_DAY_US = 24 * 3600 * 1_000_000
_START_US = 2_000_000_000 * 1_000_000


class ClockTests(SynchronousTestCase):
    """A store on a simulated disk and a clock that tests set."""

    def setUp(self) -> None:
        """An open store."""
        self.now_us = _START_US
        self.disk = SimulatedDisk()
        self.open()

    def open(self) -> None:
        """Recover."""
        self.store = Store(self.disk, TYPES, lambda: self.now_us, lambda count: bytes(range(count)))

    def restart(self) -> None:
        """Close and recover."""
        self.store.close()
        self.disk.unlock()
        self.open()

    def commit(self) -> None:
        """Put on disk what was changed."""
        commit(self.store)

    def set(self, key: bytes, after_us: int | None = None) -> None:
        """Set a key, which expires after so long, and commit."""
        self.store.table.write(key, b"x")
        if after_us is not None:
            self.store.table.set_deadline(key, (self.now_us + after_us) // 1000)
        self.commit()

    def test_forward(self) -> None:
        """What was to live until then is gone, also after a start; what has no deadline stays."""
        self.set(b"short", 10_000_000)
        self.set(b"long", 2 * _DAY_US)
        self.set(b"ever")
        self.now_us += _DAY_US
        self.assertEqual([self.store.table.read(key) for key in (b"short", b"long", b"ever")], [None, b"x", b"x"])
        self.restart()
        self.assertEqual([self.store.table.read(key) for key in (b"short", b"long", b"ever")], [None, b"x", b"x"])

    def test_back(self) -> None:
        """Deadlines are absolute: a key lives until its moment by the clock comes (again); what is removed stays so."""
        self.set(b"short", 10_000_000)
        self.set(b"gone", 1_000_000)
        self.now_us += 2_000_000
        self.store.table.remove_expired(100)
        self.commit()
        self.now_us -= _DAY_US
        self.assertEqual([self.store.table.read(key) for key in (b"short", b"gone")], [b"x", None])
        self.restart()
        self.assertEqual([self.store.table.read(key) for key in (b"short", b"gone")], [b"x", None])
        self.now_us = _START_US + 10_000_000
        self.store.clock.go_on()
        self.assertIsNone(self.store.table.read(b"short"))

    def test_times_of_commits_never_go_back(self) -> None:
        """A commit is never older than the one before it, whatever the clock says, across starts too."""
        self.set(b"a")
        times = []
        for change in (-_DAY_US, +1_000, -2 * _DAY_US, +_DAY_US):
            self.now_us += change
            self.set(b"b")
            self.restart()
            times.append(self.store.found.time_us)
        self.assertEqual(times, [_START_US] * 4)
        self.now_us = _START_US + _DAY_US
        self.set(b"c")
        self.restart()
        self.assertEqual(self.store.found.time_us, _START_US + _DAY_US)


class PauseTests(SynchronousTestCase):
    """When a compaction is tried again."""

    def test_pause(self) -> None:
        """After a failure not before the pause is over; a clock set back by a day does not make it a day longer."""
        policy = CompactionPolicy(after_entries=1)
        now_ms = _START_US // 1000
        pause_ms = policy.failed(now_ms)
        for after_ms, due in ((0, False), (pause_ms - 1, False), (pause_ms, True), (-_DAY_US // 1000, True)):
            self.assertIs(policy.is_due(2, 0, 0, now_ms + after_ms), due)

    def test_what_was_sealed_is_due(self) -> None:
        """Segments that a failed merge left are due after the pause even if nobody writes any more."""
        for policy in (CompactionPolicy(after_entries=100), CompactionPolicy()):
            pause_ms = policy.failed(0)
            self.assertFalse(policy.is_due(0, 0, 0, pause_ms - 1, at_once=True))
            self.assertTrue(policy.is_due(0, 0, 0, pause_ms, at_once=True))
            self.assertFalse(policy.is_due(0, 0, 0, pause_ms))
