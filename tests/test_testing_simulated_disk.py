"""Tests for `kvstore.testing`: the simulated disk keeps the disk's contract, and loses exactly what it may lose."""

from __future__ import annotations

import errno
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.files import replace_with
from kvstore.testing.fates import AllKept, AllLost, RandomFates
from kvstore.testing.platter import GARBAGE_BYTES
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.disk_contract import DiskContract
from tests.kit.disk_images import distinct, images, synced


class SimulatedDiskContractTests(DiskContract, SynchronousTestCase):
    """SimulatedDisk does what every disk must do."""

    def make_disk(self) -> SimulatedDisk:
        """See `DiskContract`."""
        return SimulatedDisk()

    def second_opening(self, disk: SimulatedDisk) -> SimulatedDisk:
        """See `DiskContract`. Two servers in one process share the disk."""
        return disk


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
            "remove": lambda: disk.remove("a"),
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
            lambda: disk.create("b"), lambda: disk.rename("a", "c"), lambda: disk.remove("b"),
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


names = st.sampled_from("abc")
places = st.integers(0, 1500)
actions = st.one_of(
    st.tuples(st.just("create"), names),
    st.tuples(st.just("write"), names, places, st.binary(min_size=1, max_size=700)),
    st.tuples(st.just("truncate"), names, places),
    st.tuples(st.just("sync"), names),
    st.tuples(st.just("rename"), names, names),
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
