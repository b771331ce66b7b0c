"""Tests for `kvstore.testing`: the simulated disk keeps the disk's contract, and loses exactly what it may lose."""

from __future__ import annotations

import errno
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.files import replace_with
from kvstore.testing.fates import AllKept, AllLost, Enumeration, Fate, Flipped, RandomFates, Survey, spread
from kvstore.testing.platter import GARBAGE_BYTES, SECTOR_BYTES
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.disk_contract import DiskContract


def distinct(disk: SimulatedDisk, limit: int = 100_000) -> list[dict[str, bytes]]:
    """Every different state that a crash now can leave."""
    found: dict[tuple[tuple[str, bytes], ...], dict[str, bytes]] = {}
    for state in disk.crashes(limit):
        contents = state.contents()
        found[tuple(contents.items())] = contents
    return list(found.values())


def images(disk: SimulatedDisk, name: str = "a") -> set[bytes | None]:
    """Every different content of a file, None where it is missing, that a crash now can leave."""
    return {state.get(name) for state in distinct(disk)}


def synced(disk: SimulatedDisk, name: str, data: bytes) -> Any:
    """An open file that is wholly on disk, its name included."""
    file = disk.create(name)
    file.write_at(0, data)
    file.sync()
    disk.sync_directory()
    return file


class SimulatedDiskContractTests(DiskContract, SynchronousTestCase):
    """SimulatedDisk does what every disk must do."""

    def make_disk(self) -> SimulatedDisk:
        """See `DiskContract`."""
        return SimulatedDisk()

    def second_opening(self, disk: SimulatedDisk) -> SimulatedDisk:
        """See `DiskContract`. Two servers in one process share the disk."""
        return disk


class WriteFateTests(SynchronousTestCase):
    """What a power cut makes of writes."""

    def setUp(self) -> None:
        """A file of two sectors that is on disk."""
        self.disk = SimulatedDisk()
        self.old = b"a" * SECTOR_BYTES + b"b" * SECTOR_BYTES
        self.file = synced(self.disk, "a", self.old)

    def test_synced_content_stays(self) -> None:
        """What was synced is there after every crash."""
        self.assertEqual(images(self.disk), {self.old})

    def test_small_write_every_fate(self) -> None:
        """A write inside a sector is lost, kept, garbage, zeros, or torn at any byte; the bytes beside it stay."""
        self.file.write_at(10, b"XYZ")
        middles = {b"aaa", b"XYZ", b"\0\0\0", GARBAGE_BYTES[:3], b"Xaa", b"XYa", b"aYZ", b"aaZ"}
        self.assertEqual(images(self.disk), {self.old[:10] + middle + self.old[13:] for middle in middles})

    def test_written_over_with_the_same_bytes(self) -> None:
        """At either end of a write such bytes stay, as those beside it do."""
        self.file.write_at(8, b"aaXYZa")
        middles = {b"aaa", b"XYZ", b"\0\0\0", GARBAGE_BYTES[:3], b"Xaa", b"XYa", b"aYZ", b"aaZ"}
        self.assertEqual(images(self.disk), {self.old[:10] + middle + self.old[13:] for middle in middles})
        self.file.sync()
        self.file.write_at(8, b"aaXYZa")
        self.assertEqual(images(self.disk), {self.old[:10] + b"XYZ" + self.old[13:]})

    def test_sectors_have_their_own_fates(self) -> None:
        """Of a write over two sectors either part can be there without the other."""
        self.file.write_at(SECTOR_BYTES - 1, b"XY")
        found = images(self.disk)
        for left, right in itertools.product(b"aX", b"bY"):
            middle = bytes([left, right])
            self.assertIn(self.old[: SECTOR_BYTES - 1] + middle + self.old[SECTOR_BYTES + 1 :], found)

    def test_writes_get_there_in_any_order(self) -> None:
        """The second of two writes can be there without the first, in the same sector or another."""
        self.file.write_at(0, b"X")
        self.file.write_at(700, b"Y")
        self.assertIn(self.old[:700] + b"Y" + self.old[701:], images(self.disk))

    def test_later_write_wins(self) -> None:
        """Where both of two writes to one place are there, the later one shows."""
        self.file.write_at(0, b"X")
        self.file.write_at(0, b"Y")
        self.assertEqual(self.disk.crash(AllKept()).contents()["a"], b"Y" + self.old[1:])
        self.assertEqual(
            {image[:1] for image in images(self.disk) if image}, {b"a", b"X", b"Y", b"\0", GARBAGE_BYTES[:1]}
        )

    def test_sync_settles_only_what_came_before(self) -> None:
        """A write after the sync is open again."""
        self.file.write_at(0, b"X")
        self.file.sync()
        self.file.write_at(1, b"Y")
        starts = {image[:2] for image in images(self.disk) if image}
        self.assertEqual(starts, {b"Xa", b"XY", b"X\0", b"X" + GARBAGE_BYTES[:1]})

    def test_sync_of_another_file_settles_nothing(self) -> None:
        """Files are synced one by one."""
        self.file.write_at(0, b"X")
        synced(self.disk, "other", b"content")
        self.assertEqual(self.disk.crash(AllLost()).contents(), {"a": self.old, "other": b"content"})


class SizeFateTests(SynchronousTestCase):
    """What a power cut makes of a file's length."""

    def setUp(self) -> None:
        """A file of four bytes that is on disk."""
        self.disk = SimulatedDisk()
        self.file = synced(self.disk, "a", b"0123")

    def test_append_every_fate(self) -> None:
        """An append can have grown the file to any length, whatever became of the bytes."""
        self.file.write_at(4, b"XY")
        found = images(self.disk)
        self.assertEqual({len(image) for image in found if image}, {4, 5, 6})
        for tail in (b"", b"X", b"\0", b"XY", b"\0\0", b"X\0", b"\0Y", GARBAGE_BYTES[:2]):
            self.assertIn(b"0123" + tail, found)
        self.assertTrue(all(image and image.startswith(b"0123") for image in found))

    def test_appends_grow_in_order(self) -> None:
        """A file that got the second append's length has the first one's too, and maybe zeros for its bytes."""
        self.file.write_at(4, b"X")
        self.file.write_at(5, b"Y")
        self.assertIn(b"0123\0Y", images(self.disk))
        self.assertNotIn(b"0123Y", images(self.disk))

    def test_truncate_happens_or_not(self) -> None:
        """A shortened file has its old length or its new one."""
        self.file.truncate(1)
        self.assertEqual(images(self.disk), {b"0123", b"0"})

    def test_truncated_bytes_do_not_come_back(self) -> None:
        """Shortened and grown again: the old bytes show only in a file of the old length."""
        self.file.truncate(1)
        self.file.truncate(4)
        self.assertEqual(images(self.disk), {b"0123", b"0", b"0\0\0\0"})

    def test_truncate_and_append(self) -> None:
        """What is written after a truncation can be there although the truncation is not."""
        self.file.truncate(2)
        self.file.write_at(2, b"XY")
        found = images(self.disk)
        for image in (b"0123", b"01", b"01X", b"01XY", b"01\0\0"):
            self.assertIn(image, found)

    def test_sync_settles_the_length(self) -> None:
        """After a sync the file is as long as it was then."""
        self.file.write_at(4, b"XY")
        self.file.truncate(5)
        self.file.sync()
        self.assertEqual(images(self.disk), {b"0123X"})

    def test_create_over_an_old_file_empties_it_unsafely(self) -> None:
        """`create` on a taken name cuts the old content, which can come back until the new content is synced."""
        file = self.disk.create("a")
        file.write_at(0, b"Z")
        self.assertLessEqual({b"0123", b"", b"Z", b"Z123"}, images(self.disk))
        file.sync()
        self.assertEqual(images(self.disk), {b"Z"})


class DirectoryFateTests(SynchronousTestCase):
    """What a power cut makes of names."""

    def setUp(self) -> None:
        """Two files that are on disk."""
        self.disk = SimulatedDisk()
        synced(self.disk, "a", b"A")
        synced(self.disk, "b", b"B")

    def test_created_name(self) -> None:
        """A new file whose content was synced can be missing, or be there, until the directory is synced."""
        file = self.disk.create("c")
        file.write_at(0, b"C")
        file.sync()
        self.assertEqual(images(self.disk, "c"), {None, b"C"})
        self.disk.sync_directory()
        self.assertEqual(images(self.disk, "c"), {b"C"})

    def test_name_without_content(self) -> None:
        """Syncing the directory saves the name, not the content."""
        self.disk.create("c").write_at(0, b"C")
        self.disk.sync_directory()
        self.assertEqual(images(self.disk, "c"), {b"", b"\0", b"C", GARBAGE_BYTES[:1]})

    def test_rename_is_atomic(self) -> None:
        """The target is the old or the new file, never neither, and the source goes in the same step."""
        self.disk.rename("a", "b")
        self.assertCountEqual(distinct(self.disk), [{"a": b"A", "b": b"B"}, {"b": b"A"}])
        self.disk.sync_directory()
        self.assertEqual(distinct(self.disk), [{"b": b"A"}])

    def test_rename_saves_no_content(self) -> None:
        """A file renamed without a sync can replace a good one by an empty one."""
        self.disk.create("b.tmp").write_at(0, b"new")
        self.disk.rename("b.tmp", "b")
        self.assertIn(b"", images(self.disk, "b"))

    def test_remove_happens_or_not(self) -> None:
        """A removed file can be back, with its content, until the directory is synced."""
        self.disk.remove("a")
        self.assertEqual(images(self.disk), {None, b"A"})
        self.disk.sync_directory()
        self.assertEqual(images(self.disk), {None})

    def test_link_happens_or_not(self) -> None:
        """A second name can be missing until the directory is synced."""
        self.disk.link("a", "c")
        self.assertEqual(images(self.disk, "c"), {None, b"A"})

    def test_links_share_one_fate_of_content(self) -> None:
        """After a crash two names of one file still show one content, and stay one file."""
        self.disk.link("a", "c")
        self.disk.sync_directory()
        self.disk.open("a").write_at(0, b"X")
        for state in self.disk.crashes(1000):
            self.assertEqual(state.contents()["a"], state.contents()["c"])
            file = state.open("a")
            file.write_at(0, b"!")
            self.assertEqual(state.contents()["c"], b"!")
            state.remove("a")
            self.assertTrue(file.is_linked())

    def test_operations_have_their_own_fates(self) -> None:
        """Any of several operations can have happened without the others."""
        self.disk.remove("a")
        self.disk.rename("b", "c")
        self.disk.create("d").close()
        found = {"".join(state) for state in distinct(self.disk)}
        self.assertEqual(found, {a + b + d for a, b, d in itertools.product(("a", ""), ("b", "c"), ("d", ""))})

    def test_rename_chain_without_syncs_loses(self) -> None:
        """Moving a file aside and making a new one without a sync between can lose the old one: no order is sure."""
        self.disk.rename("a", "aside")
        self.disk.create("a").close()
        self.assertIn({"a": b"", "b": b"B"}, distinct(self.disk))


class SyncFailureTests(SynchronousTestCase):
    """A failed sync says nothing about the disk, and the next one does not make up for it."""

    def test_failed_sync_settles_nothing_for_ever(self) -> None:
        """Reads show the write, a later sync succeeds, and the write can be lost all the same."""
        disk = SimulatedDisk()
        file = synced(disk, "a", b"aa")
        file.write_at(0, b"X")
        disk.fail("sync", errno.EIO)
        self.assertRaises(OSError, file.sync)
        file.write_at(1, b"Y")
        file.sync()
        self.assertEqual(file.read_at(0, 10), b"XY")
        self.assertEqual(images(disk), {b"aY", b"XY", b"\0Y", GARBAGE_BYTES[:1] + b"Y"})

    def test_length_settled_after_a_failed_sync(self) -> None:
        """A synced append behind a lost one keeps its place: the gap holds zeros."""
        disk = SimulatedDisk()
        file = synced(disk, "a", b"")
        file.write_at(0, b"X")
        disk.fail("sync", errno.EIO)
        self.assertRaises(OSError, file.sync)
        file.write_at(1, b"Y")
        file.sync()
        self.assertEqual(images(disk), {b"\0Y", b"XY", GARBAGE_BYTES[:1] + b"Y"})

    def test_size_outlives_a_failed_sync(self) -> None:
        """A size change is in the journal: the next sync that works makes it durable."""
        disk = SimulatedDisk()
        file = synced(disk, "a", b"0123")
        file.truncate(2)
        disk.fail("sync", errno.EIO)
        self.assertRaises(OSError, file.sync)
        self.assertEqual(images(disk), {b"0123", b"01"})
        file.sync()
        self.assertEqual(images(disk), {b"01"})

    def test_writing_again_helps(self) -> None:
        """Bytes that a failed sync lost are durable once they were written and synced again."""
        disk = SimulatedDisk()
        file = synced(disk, "a", b"0123")
        file.write_at(2, b"XYZ")
        disk.fail("sync", errno.EIO)
        self.assertRaises(OSError, file.sync)
        file.write_at(2, file.read_at(2, 3))
        file.sync()
        self.assertEqual(images(disk), {b"01XYZ"})

    def test_failed_sync_of_the_directory(self) -> None:
        """The names stay open, and the next sync settles them."""
        disk = SimulatedDisk()
        synced(disk, "a", b"A")
        disk.rename("a", "b")
        disk.fail("sync_directory", errno.EIO)
        self.assertRaises(OSError, disk.sync_directory)
        self.assertCountEqual(distinct(disk), [{"a": b"A"}, {"b": b"A"}])
        disk.sync_directory()
        self.assertEqual(distinct(disk), [{"b": b"A"}])


class KillTests(SynchronousTestCase):
    """kill -9 takes the process, not the page cache."""

    def test_everything_written_is_there(self) -> None:
        """Unsynced writes and names are read by the next process."""
        disk = SimulatedDisk()
        disk.create("a").write_at(0, b"abc")
        self.assertEqual(disk.kill().contents(), {"a": b"abc"})

    def test_a_power_cut_can_still_follow(self) -> None:
        """What was not synced before the kill is not synced by it."""
        disk = SimulatedDisk()
        disk.create("a").write_at(0, b"abc")
        self.assertEqual(disk.kill().crash(AllLost()).contents(), {})
        after = disk.kill()
        after.open("a").sync()
        after.sync_directory()
        self.assertEqual(after.crash(AllLost()).contents(), {"a": b"abc"})

    def test_the_lock_is_released(self) -> None:
        """The next process gets the lock, and the dead one's disk keeps its own."""
        disk = SimulatedDisk()
        disk.lock()
        disk.kill().lock()
        disk.crash(AllLost()).lock()

    def test_disks_are_independent(self) -> None:
        """What happens to the disk of before does not show in the disk of after, nor the other way round."""
        disk = SimulatedDisk()
        file = synced(disk, "a", b"abc")
        after = disk.kill()
        file.write_at(0, b"X")
        after.open("a").write_at(0, b"Y")
        self.assertEqual(disk.contents(), {"a": b"Xbc"})
        self.assertEqual(after.contents(), {"a": b"Ybc"})


class FaultTests(SynchronousTestCase):
    """Calls fail as ordered."""

    def setUp(self) -> None:
        """A disk with one open file."""
        self.disk = SimulatedDisk()
        self.file = self.disk.create("a")

    def test_every_call_can_fail(self) -> None:
        """Each call raises the error that was ordered, and does nothing."""
        disk = self.disk
        calls = {
            "names": disk.names, "open": lambda: disk.open("a"), "open_read": lambda: disk.open_read("a"),
            "create": lambda: disk.create("new"), "rename": lambda: disk.rename("a", "b"),
            "link": lambda: disk.link("a", "b"), "remove": lambda: disk.remove("a"),
            "sync_directory": disk.sync_directory, "lock": disk.lock,
            "write_at": lambda: self.file.write_at(0, b"x"), "read_at": lambda: self.file.read_at(0, 1),
            "size": self.file.size, "truncate": lambda: self.file.truncate(7), "sync": self.file.sync,
            "is_linked": self.file.is_linked,
        }  # fmt: skip
        for name, call in calls.items():
            disk.fail(name, errno.EIO)
            self.assertEqual(self.assertRaises(OSError, call).errno, errno.EIO, name)
            self.assertEqual(disk.contents(), {"a": b""}, name)

    def test_the_error_has_its_own_class(self) -> None:
        """ENOENT comes as FileNotFoundError, as from the system."""
        self.disk.fail("open", errno.ENOENT)
        self.assertRaises(FileNotFoundError, self.disk.open, "a")

    def test_nth_call(self) -> None:
        """Only the call that was named fails."""
        self.disk.fail("sync", errno.EIO, when=3)
        self.file.sync()
        self.file.sync()
        self.assertRaises(OSError, self.file.sync)
        self.file.sync()

    def test_from_a_call_on(self) -> None:
        """All calls fail until the disk is healed."""
        self.disk.fail("sync", errno.EIO, when=2, times=None)
        self.file.sync()
        self.assertRaises(OSError, self.file.sync)
        self.assertRaises(OSError, self.file.sync)
        self.disk.heal()
        self.file.sync()

    def test_any_call(self) -> None:
        """Calls of all kinds are counted together."""
        self.disk.fail("any", errno.EIO, when=2)
        self.file.size()
        self.assertRaises(OSError, self.file.write_at, 0, b"x")

    def test_only_one_file(self) -> None:
        """Calls about other files are neither counted nor failed."""
        other = self.disk.create("b")
        self.disk.fail("write_at", errno.EIO, when=2, file="a")
        other.write_at(0, b"x")
        self.file.write_at(0, b"x")
        other.write_at(0, b"x")
        self.assertRaises(OSError, self.file.write_at, 0, b"x")

    def test_short_write(self) -> None:
        """A write can fail after part of its bytes."""
        self.disk.fail("write_at", errno.ENOSPC, done=2)
        self.assertRaises(OSError, self.file.write_at, 0, b"abcd")
        self.assertEqual(self.disk.contents(), {"a": b"ab"})

    def test_done_and_failed_all_the_same(self) -> None:
        """A call can have done its work and raise."""
        self.disk.fail("rename", errno.EIO, done=1)
        self.assertRaises(OSError, self.disk.rename, "a", "b")
        self.assertEqual(self.disk.names(), ["b"])

    def test_replace_with_failing_at_each_call(self) -> None:
        """Whichever call fails, before or after its work, and power cut or not: the file is the old or the new one."""
        outcomes = set()
        for done, number in itertools.product((0, 1, 3), range(1, 20)):
            disk = SimulatedDisk()
            synced(disk, "a", b"old").close()
            disk.fail("any", errno.EIO, when=number, done=done)
            try:
                replace_with(disk, "a", [b"new ", b"content"])
                allowed = {b"new content"}
            except OSError:
                allowed = {b"old", b"new content"}
            found = images(disk) | {disk.contents()["a"]}
            self.assertLessEqual(found, allowed, f"call {number}")
            outcomes |= found
        self.assertEqual(outcomes, {b"old", b"new content"})


class CapacityTests(SynchronousTestCase):
    """A full disk."""

    def test_what_fits_is_written(self) -> None:
        """A write past the capacity is cut short at it, and raises ENOSPC."""
        disk = SimulatedDisk(capacity_bytes=10)
        disk.create("a").write_at(0, b"0123")
        file = disk.create("b")
        self.assertEqual(self.assertRaises(OSError, file.write_at, 0, b"01234567").errno, errno.ENOSPC)
        self.assertEqual(disk.contents()["b"], b"012345")

    def test_overwriting_needs_no_room(self) -> None:
        """Bytes inside a file can be changed on a full disk."""
        disk = SimulatedDisk(capacity_bytes=4)
        file = disk.create("a")
        file.write_at(0, b"0123")
        file.write_at(1, b"XYZ")
        self.assertRaises(OSError, file.write_at, 1, b"xyz!")
        self.assertEqual(disk.contents(), {"a": b"0xyz"})

    def test_room_comes_back(self) -> None:
        """Removing a file, or a larger capacity, makes room."""
        disk = SimulatedDisk(capacity_bytes=4)
        disk.create("a").write_at(0, b"0123")
        file = disk.create("b")
        self.assertRaises(OSError, file.write_at, 0, b"x")
        disk.remove("a")
        file.write_at(0, b"0123")
        disk.capacity_bytes = 5
        file.write_at(4, b"4")
        self.assertEqual(disk.contents(), {"b": b"01234"})

    def test_two_names_take_the_room_of_one(self) -> None:
        """A linked file is counted once."""
        disk = SimulatedDisk(capacity_bytes=10)
        disk.create("a").write_at(0, b"0123")
        disk.link("a", "b")
        self.assertRaises(OSError, disk.create("c").write_at, 0, b"0123456")
        self.assertEqual(disk.contents()["c"], b"012345")

    def test_a_crash_keeps_the_capacity(self) -> None:
        """The disk is as large after a power cut as before."""
        disk = SimulatedDisk(capacity_bytes=10)
        self.assertEqual(disk.crash(AllLost()).capacity_bytes, 10)
        self.assertEqual(disk.kill().capacity_bytes, 10)


class RecorderTests(SynchronousTestCase):
    """One recorded run gives the disk as of each of its changes."""

    def run_something(self, disk: SimulatedDisk) -> list[tuple[int, dict[str, bytes]]]:
        """Make every kind of change; returns the contents after each call, with the number of changes then."""
        seen = [(disk.changes, disk.contents())]
        file = disk.create("a")
        steps = [
            lambda: file.write_at(0, b"abc"), lambda: file.truncate(2), file.sync, disk.sync_directory, disk.lock,
            lambda: disk.link("a", "b"), lambda: disk.rename("a", "c"), lambda: disk.remove("b"),
            lambda: disk.create("c"), lambda: file.write_at(0, b"again"), file.size, disk.names,
        ]  # fmt: skip
        seen.append((disk.changes, disk.contents()))
        for step in steps:
            step()
            seen.append((disk.changes, disk.contents()))
        return seen

    def test_moments_show_each_change(self) -> None:
        """The replayed disk equals the real one after every call."""
        disk = SimulatedDisk()
        seen = dict(self.run_something(disk))
        self.assertEqual({moment.changes: moment.disk.contents() for moment in disk.moments()}, seen)

    def test_crashes_of_a_moment_are_those_of_its_time(self) -> None:
        """A crash of a replayed disk leaves what a crash of the live one at that time would have left."""
        disk = SimulatedDisk()
        file = disk.create("a")
        live = []
        for step in (lambda: file.write_at(0, b"xy"), file.sync, disk.sync_directory, lambda: file.write_at(1, b"zz")):
            step()
            live.append(distinct(disk))
        self.assertEqual([distinct(moment.disk) for moment in disk.moments(start=2)], live)

    def test_recording_starts_with_what_is_there(self) -> None:
        """A recorded crash or kill replays from its own beginning, undecided effects included."""
        first = SimulatedDisk()
        first.create("a").write_at(0, b"abc")
        second = first.kill(record=True)
        second.remove("a")
        moments = [(moment.disk.contents(), len(distinct(moment.disk))) for moment in second.moments()]
        self.assertEqual([contents for contents, _ in moments], [{"a": b"abc"}, {}])
        self.assertGreater(moments[0][1], 2)

    def test_calls_are_numbered_and_named(self) -> None:
        """The list of calls reads like a trace, reads included."""
        disk = SimulatedDisk()
        file = disk.create("a")
        file.write_at(0, b"abc")
        file.read_at(1, 2)
        disk.rename("a", "b")
        expected = [
            "1: create(a)",
            "2: write_at(a, offset 0, 3 bytes)",
            "3: read_at(a, offset 1, 2 bytes)",
            "4: rename(a, b)",
        ]
        self.assertEqual([str(call) for call in disk.calls], expected)

    def test_moments_name_their_calls(self) -> None:
        """Each moment says which call led to it."""
        disk = SimulatedDisk()
        disk.create("a").sync()
        self.assertEqual([str(moment.call) for moment in disk.moments()], ["None", "1: create(a)", "2: sync(a)"])

    def test_without_recording(self) -> None:
        """A disk that does not record says so when it is asked for moments."""
        disk = SimulatedDisk(record=False)
        disk.create("a").close()
        self.assertEqual((disk.calls, disk.changes), ([], 0))
        self.assertRaises(ValueError, next, disk.moments())

    def test_holding(self) -> None:
        """A disk made from contents has them, durably."""
        disk = SimulatedDisk.holding({"a": b"A", "b": b"B"})
        self.assertEqual(distinct(disk), [{"a": b"A", "b": b"B"}])


class ChooserTests(SynchronousTestCase):
    """Those who decide."""

    def test_enumeration_is_complete(self) -> None:
        """Every combination comes exactly once, also where one answer decides how many questions follow."""
        every = Enumeration()
        seen = []
        while True:
            answers = [every.choose(Fate.ENTRY, 2), every.choose(Fate.SIZE, 3)]
            if answers[0]:
                answers.append(every.choose(Fate.SECTOR, 4))
            seen.append(tuple(answers))
            if not every.advance():
                break
        lost = {(0, size) for size in range(3)}
        kept = {(1, size, sector) for size in range(3) for sector in range(4)}
        self.assertEqual(set(seen), lost | kept)
        self.assertEqual(len(seen), len(set(seen)))

    def test_enumeration_with_a_ceiling(self) -> None:
        """Of a question with too many options an even spread is tried: lost, kept and the last one among them."""
        for options, most in itertools.product((5, 6, 7, 100, 1000), (3, 4, 6)):
            every = Enumeration(most)
            seen = [every.choose(Fate.SECTOR, options)]
            while every.advance():
                seen.append(every.choose(Fate.SECTOR, options))
            self.assertEqual(len(set(seen)), min(options, most))
            self.assertLessEqual({0, 1, options - 1}, set(seen))
            self.assertTrue(all(0 <= choice < options for choice in seen))

    def test_random_fates_repeat(self) -> None:
        """The same seed gives the same fates, another seed others."""

        def drawn(seed: str) -> list[int]:
            chooser = RandomFates(seed)
            return [chooser.choose(Fate.SECTOR, 50) for _ in range(50)]

        self.assertEqual(drawn("a/1"), drawn("a/1"))
        self.assertGreater(len({tuple(drawn(f"a/{n}")) for n in range(20)}), 10)

    def test_flipped(self) -> None:
        """Some places go the other way."""
        chooser = Flipped(AllLost(), range(1, 3))
        self.assertEqual([chooser.choose(Fate.ENTRY, 2) for _ in range(4)], [0, 1, 1, 0])
        chooser = Flipped(AllKept(), range(1))
        self.assertEqual([chooser.choose(Fate.SIZE, 9) for _ in range(2)], [0, 8])

    def test_spread_keeps_its_limit(self) -> None:
        """At most so many choosers come, both ends first."""
        survey = Survey()
        for _ in range(30):
            survey.choose(Fate.SECTOR, 100)
        for limit in (1, 2, 3, 10, 100, 500):
            choosers = list(spread(survey, limit, "seed"))
            self.assertEqual(len(choosers), limit)
            self.assertIsInstance(choosers[0], AllLost)

    def test_limit_of_crashes(self) -> None:
        """A crash with very many outcomes gives no more than asked for, and both ends among them."""
        disk = SimulatedDisk()
        disk.create("a").write_at(0, bytes(range(1, 251)) * 40)
        states = [state.contents() for state in disk.crashes(60, "seed")]
        self.assertEqual(len(states), 60)
        self.assertIn({}, states)
        self.assertIn(disk.contents(), states)


names = st.sampled_from("abc")
places = st.integers(0, 1500)
actions = st.one_of(
    st.tuples(st.just("create"), names),
    st.tuples(st.just("write"), names, places, st.binary(min_size=1, max_size=700)),
    st.tuples(st.just("truncate"), names, places),
    st.tuples(st.just("sync"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("link"), names, names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("sync_directory")),
)


def act(disk: SimulatedDisk, action: tuple[Any, ...]) -> None:
    """Do one thing, if it can be done now."""
    kind, *arguments = action
    try:
        if kind in ("write", "truncate", "sync"):
            file = disk.open(arguments[0])
            method = {"write": file.write_at, "truncate": file.truncate, "sync": file.sync}[kind]
            method(*arguments[1:])
            file.close()
        else:
            getattr(disk, kind)(*arguments)
    except (FileNotFoundError, FileExistsError):
        pass


class ModelTests(SynchronousTestCase):
    """Whatever is done, the ends of the model hold."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(actions, max_size=25), st.integers(0, 1000))
    def test_all_kept_is_what_was_written(self, steps: list[tuple[Any, ...]], seed: int) -> None:
        """With everything kept a power cut leaves what kill -9 leaves; everything synced leaves only that."""
        disk = SimulatedDisk()
        for step in steps:
            act(disk, step)
        self.assertEqual(disk.crash(AllKept()).contents(), disk.contents())
        self.assertEqual(disk.kill().contents(), disk.contents())
        for name in disk.names():
            disk.open(name).sync()
        disk.sync_directory()
        for chooser in (AllLost(), RandomFates(seed)):
            self.assertEqual(disk.crash(chooser).contents(), disk.contents())

    @settings(max_examples=150, deadline=None)
    @given(st.lists(actions, max_size=25), st.lists(actions, max_size=6), st.integers(0, 1000))
    def test_nothing_but_what_was_ever_there(
        self, steps: list[tuple[Any, ...]], more: list[tuple[Any, ...]], seed: int
    ) -> None:
        """Synced, then changed without a sync: each byte after a crash is an old one, a new one, zero or garbage."""
        disk = SimulatedDisk()
        for step in steps:
            act(disk, step)
        for name in disk.names():
            disk.open(name).sync()
        disk.sync_directory()
        before = disk.contents()
        more = [step for step in more if not step[0].startswith("sync")]
        for step in more:
            act(disk, step)
        texts = [*before.values(), *(step[3] for step in more if step[0] == "write"), b"\0", GARBAGE_BYTES]
        alphabet = set(b"".join(texts))
        longest = max(map(len, [*before.values(), *disk.contents().values(), b""]), default=0) + 3000
        left = disk.crash(RandomFates(seed)).contents()
        self.assertLessEqual({byte for image in left.values() for byte in image}, alphabet)
        self.assertLessEqual(max(map(len, left.values()), default=0), longest)
        self.assertEqual(disk.crash(AllLost()).contents(), before)
