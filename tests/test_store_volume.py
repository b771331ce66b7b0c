"""A full volume: what grows is refused in time, what removes is taken, and a compaction brings the room back."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StorageFull
from kvstore.base.limits import KIB, MIB
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.examine import LIVE
from kvstore.store.log import FRAMES_AT, ZERO_FILL_BYTES, Purpose
from kvstore.store.merge import merge
from kvstore.store.store import Store
from kvstore.store.volume import Refusals, Volume
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import commit


class VolumeTests(SynchronousTestCase):
    """The arithmetic."""

    def test_limits(self) -> None:
        """The state, the next checkpoint as large and a fresh log fit, and a thirty-second part beside them."""
        for size in (6 * MIB, 24 * MIB, 200 * MIB):
            grow, remove, _ = Volume(size).limits(1 * MIB, 0)
            self.assertLessEqual(2 * (1 * MIB + grow) + ZERO_FILL_BYTES + size // 32, size)
            self.assertGreater(2 * (1 * MIB + grow + 1) + ZERO_FILL_BYTES + size // 32, size)
            self.assertEqual(remove, grow + size // 32)

    def test_what_is_there_may_be_used_to_remove(self) -> None:
        """Also past the limit: it takes nothing more of the volume."""
        self.assertEqual(Volume(6 * MIB).limits(6 * MIB, 700_000).remove, 700_000)

    def test_kept_free(self) -> None:
        """So many bytes of the volume are as good as not there."""
        all_of_it, kept = (Volume(24 * MIB, kept_bytes).limits(1 * MIB, 0).grow for kept_bytes in (0, 2 * MIB))
        self.assertEqual(all_of_it - kept, 1 * MIB)

    def test_logs(self) -> None:
        """Together they end where they are to; deleting may go on."""
        volume = Volume(200 * MIB, 0, 8 * MIB)
        self.assertEqual(volume.limits(5 * MIB, 0, 3 * MIB).grow, 5 * MIB)
        self.assertGreater(volume.limits(5 * MIB, 0, 3 * MIB).remove, 50 * MIB)
        self.assertFalse(volume.is_worth_compacting(4 * MIB, 0))
        self.assertTrue(volume.is_worth_compacting(4 * MIB - FRAMES_AT, 0))

    def test_worth_compacting(self) -> None:
        """If there will be twice the room for writes, and that is a thirty-second part of the volume at least."""
        volume = Volume(64 * MIB)
        whole = volume.limits(0, 0).grow - FRAMES_AT
        self.assertTrue(volume.is_worth_compacting(whole // 2, 0))
        self.assertFalse(volume.is_worth_compacting(whole // 2 + 1, 0))
        self.assertTrue(volume.is_worth_compacting(1 * MIB, whole - 2 * MIB))
        self.assertFalse(volume.is_worth_compacting(1 * MIB, whole - 2 * MIB + 1))

    def test_refusals(self) -> None:
        """They are counted, with the time of the last."""
        refusals = Refusals()
        refusals.add(5, "full")
        refusals.add(7, "full")
        self.assertEqual((refusals.count, refusals.last_ms, refusals.now), (2, 7, True))


class FullVolumeTests(SynchronousTestCase):
    """A store on a small disk, with what the edge does about it."""

    size_bytes = 6 * MIB

    def setUp(self) -> None:
        """An empty one."""
        self.disk = SimulatedDisk(self.size_bytes, record=False)
        self.random = random.Random(1)
        self.now_us = 2_000_000_000_000_000
        self.start()

    def start(self) -> None:
        """As the server does, also after a kill."""
        self.store = Store(self.disk, TYPES, lambda: self.now_us, self.random.randbytes, CompactionPolicy())
        self.table = self.store.table

    def restart(self) -> None:
        """Kill it and start it again."""
        self.store.log.close()
        self.disk.unlock()
        self.start()

    def commit(self) -> None:
        """The end of a turn, and what the server looks after then."""
        self.table.pending.undo.clear()
        commit(self.store)
        if self.store.compaction_is_due() and self.store.can_compact():
            self.compact()

    def compact(self) -> None:
        """A whole compaction, or one that fails for want of room."""
        try:
            job = self.store.seal()
        except (StorageFull, OSError):
            self.store.postpone_compaction()
            return
        try:
            self.store.finish_compaction(merge(self.disk, TYPES, job, self.now_us))
        except OSError:
            self.store.abandon_compaction()

    def tick(self) -> None:
        """A second passes."""
        self.now_us += 1_000_000
        self.store.measure_volume()
        self.commit()

    def write(self, key: bytes, value: bytes = b"x" * 10_000) -> bool:
        """A request that writes; whether it was taken."""
        try:
            self.table.write(key, value)
        except StorageFull:
            self.table.pending.take_back()
            return False
        self.commit()
        return True

    def fill(self, name: bytes) -> int:
        """Write until it is refused, though a compaction had its time; returns how many were taken."""
        number = 0
        while self.write(b"%b%d" % (name, number)) or (self.tick() or self.write(b"%b%d" % (name, number))):
            number += 1
        return number

    def test_two_fifths(self) -> None:
        """Of a small volume at least so much is for the data, which is more of a larger one."""
        self.assertGreater(self.fill(b"a") * 10_000, 0.41 * self.size_bytes)
        self.assertTrue(self.store.refusals.now)

    def test_kept_free(self) -> None:
        """Writes are refused while less is free than is to be, live; reads and deletes go on."""
        self.assertTrue(self.write(b"a"))
        free_bytes = self.disk.free_bytes()
        self.store.keep_free(free_bytes)
        self.assertFalse(self.write(b"b"))
        self.assertEqual(self.table.values.keys(), {b"a"})
        self.assertTrue(self.table.delete(b"a"))
        self.commit()
        self.store.keep_free(0)
        self.assertTrue(self.write(b"b"))

    def test_logs(self) -> None:
        """They never get longer than they are to be, and compactions bring back the room."""
        self.store.limit_logs(1 * MIB)
        for number in range(500):
            self.assertTrue(self.write(b"k") or (self.tick() or self.write(b"k")), number)
            self.assertLessEqual(self.store.log.end + self.store.segment_bytes, 1 * MIB)
        self.assertGreater(self.store.compactions, 5)

    def test_deleting_makes_room(self) -> None:
        """Each time anew; what was refused left nothing."""
        taken = self.fill(b"a")
        for _ in range(4):
            self.assertEqual(len(self.table.values), taken)
            for number in range(taken // 2):
                self.assertTrue(self.table.delete(b"a%d" % number))
                self.commit()
            self.tick()
            again = 0
            while again < taken // 2 - 20:
                self.assertTrue(self.write(b"a%d" % again) or (self.tick() or self.write(b"a%d" % again)), again)
                again += 1
            while self.write(b"a%d" % again) or (self.tick() or self.write(b"a%d" % again)):
                again += 1
            taken = len(self.table.values)

    def test_deleting_in_one_request(self) -> None:
        """However large the log of it is: each removal is smaller than what it removes."""
        number = 0
        while self.write(b"%d" % number, b"") or (self.tick() or self.write(b"%d" % number, b"")):
            self.now_us += 10_000
            number += 1
            if number > 3000:
                break
        self.fill(b"a")
        for key in list(self.table.values):
            self.table.delete(key)
        self.commit()
        self.tick()
        self.assertTrue(self.write(b"a"))
        self.assertGreater(self.store.room_bytes(), 2 * MIB)

    def test_flushing_makes_room(self) -> None:
        """At once, and after a kill and a start on the full volume, before and after the flush."""
        taken = self.fill(b"a")
        self.restart()
        self.assertFalse(self.write(b"b", b"b" * MIB))
        self.table.flush()
        self.commit()
        self.restart()
        self.tick()
        self.assertEqual(self.fill(b"a"), taken)

    def test_expiry_makes_room(self) -> None:
        """The records of removed keys are taken as deletes are."""
        number = 0
        deadline = self.now_us // 1000 + 3_600_000
        while True:
            try:
                self.table.write(b"a%d" % number, b"x" * 10_000, deadline)
            except StorageFull:
                self.table.pending.take_back()
                break
            self.commit()
            number += 1
        self.now_us += 3_600_000_000
        while self.table.remove_expired(10):
            self.commit()
        self.tick()
        self.assertEqual(self.table.values, {})
        self.assertGreater(self.store.room_bytes(), 1 * MIB)
        self.assertTrue(self.write(b"a"))
        self.assertFalse(self.store.refusals.now)

    def test_overwriting_goes_on(self) -> None:
        """What is written again and again takes log, and no more data: compactions give it back."""
        for number in range(200):
            self.write(b"a%d" % number)
        for number in range(1000):
            self.assertTrue(self.write(b"a%d" % (number % 200)) or (self.tick() or self.write(b"a%d" % (number % 200))))
        self.assertGreater(self.store.compactions, 10)

    def ballast(self) -> None:
        """Another program fills the volume to the last byte."""
        self.disk.capacity_bytes = sum(map(len, self.disk.contents().values()))

    def test_filled_by_another(self) -> None:
        """Keys can be removed in what is kept; all of them at last, and then there is room within what we have."""
        taken = self.fill(b"a")
        self.ballast()
        self.tick()
        self.assertFalse(self.write(b"b"))
        for number in range(taken):
            self.table.delete(b"a%d" % number)
            self.commit()
        for _ in range(20):
            self.tick()
        self.table.flush()
        self.commit()
        for _ in range(10):
            self.tick()
        self.assertTrue(self.write(b"a"))
        self.assertGreater(self.store.room_bytes(), 1 * MIB)

    def test_filled_by_another_and_restarted(self) -> None:
        """The same after a kill; the server starts, is read, and takes FLUSHALL."""
        self.fill(b"a")
        self.ballast()
        self.restart()
        self.assertEqual(self.table.read(b"a0"), b"x" * 10_000)
        self.assertFalse(self.write(b"b", b"b" * MIB))
        self.table.flush()
        self.commit()
        for _ in range(10):
            self.tick()
        self.assertTrue(self.write(b"a"))

    def test_flushing_has_the_last_room(self) -> None:
        """Removing single keys stops before it."""
        for number in range(200):
            self.write(b"a%d" % number, b"")
        self.ballast()
        log = self.store.log
        with self.assertRaises(StorageFull):
            for _ in range(100_000):
                self.table.pending.record(self.table, b"a", b"*" * 100, None, None, Purpose.REMOVE)
        self.assertGreater(log.allocated - log.end - self.table.pending.size_bytes, 30 * KIB)
        self.table.flush()

    def test_one_large_write(self) -> None:
        """What a compaction can make room for is taken after it, though the log is nearly empty; else there is none."""
        taken = self.fill(b"a")
        for number in range(taken):
            self.table.delete(b"a%d" % number)
        self.commit()
        large = b"x" * MIB
        self.assertTrue(self.write(b"large", large) or (self.tick() or self.write(b"large", large)))
        before = self.store.compactions
        for number in range(20):
            self.assertFalse(self.write(b"larger", 6 * large))
            self.write(b"b%d" % number, b"x")
            self.tick()
        self.assertLessEqual(self.store.compactions, before + 1)

    def test_a_block_that_removes_and_writes(self) -> None:
        """Room kept for removing is none for what the same request writes: it is undone whole."""
        self.fill(b"a")
        before = dict(self.table.values)
        self.table.delete(b"a1")
        self.assertFalse(self.write(b"b", b"x" * 9000))
        self.assertEqual(self.table.values, before)

    def test_nothing_is_left_of_a_seal_without_room(self) -> None:
        """Neither a file nor a place that was promised to the open commit and is gone."""
        self.fill(b"a")
        self.ballast()
        for number in range(5):
            self.table.delete(b"a%d" % number)
        self.disk.fail("rename", 28, file=LIVE)
        self.disk.fail("create", 28, file=LIVE + ".tmp")
        self.compact()
        self.assertNotIn(LIVE + ".tmp", self.disk.contents())
        self.table.delete(b"a7")
        self.disk.heal()
        self.commit()
        self.restart()
        self.assertNotIn(b"a7", self.table.values)
