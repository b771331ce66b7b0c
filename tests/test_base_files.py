"""Tests for `kvstore.base.files`: `replace_with` survives a failure of any call; publishing, pieces, comparing."""

from __future__ import annotations

import errno
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import File, RealDisk
from kvstore.base.files import holds, pieces, publish, replace_with, temporary
from kvstore.base.limits import MIB
from kvstore.testing.simulated_disk import SimulatedDisk


class ReplaceWithTests(SynchronousTestCase):
    """`replace_with`, when one of the system calls under it fails."""

    def contents_after_failure_of(self, call: str) -> bytes:
        """Replace `old` by `new` while a system call fails: what the file holds then."""
        disk = RealDisk(self.mktemp())
        replace_with(disk, "a", [b"old"])
        error = OSError(errno.EIO, "Input/output error")
        # The write and sync of an open file are bound when it is opened, so they are replaced at their source as well.
        with mock.patch(f"os.{call}", side_effect=error):
            self.assertIs(self.assertRaises(OSError, replace_with, disk, "a", [b"new"]), error)
        file = disk.open_read("a")
        try:
            return file.read_at(0, 100)
        finally:
            file.close()

    def test_failed_write(self) -> None:
        """The old content stays."""
        self.assertEqual(self.contents_after_failure_of("pwrite"), b"old")

    def test_failed_sync(self) -> None:
        """The old content stays: what may not be on disk never takes the name."""
        self.assertEqual(self.contents_after_failure_of("fdatasync"), b"old")

    def test_failed_rename(self) -> None:
        """The old content stays."""
        self.assertEqual(self.contents_after_failure_of("rename"), b"old")

    def test_failed_sync_of_the_directory(self) -> None:
        """The new content is there, whole, and the caller knows that it may not last."""
        self.assertEqual(self.contents_after_failure_of("fsync"), b"new")


class PiecesTests(SynchronousTestCase):
    """Reading and comparing parts of files, however long."""

    def setUp(self) -> None:
        """A file of two mebibytes and a bit."""
        self.disk = SimulatedDisk(record=False)
        self.content = bytes(MIB) + b"x" * MIB + b"end"
        self.file = self.write("file", self.content)

    def write(self, name: str, content: bytes) -> File:
        """A file with that content."""
        file = self.disk.create(name)
        file.write_at(0, content)
        return file

    def test_pieces(self) -> None:
        """From any byte to any other; no further than the file goes."""
        for start, end in ((0, None), (5, None), (0, 0), (7, MIB + 7), (MIB - 1, 2 * MIB + 1), (3 * MIB, None)):
            self.assertEqual(b"".join(pieces(self.file, start, end)), self.content[start:end])

    def test_holds(self) -> None:
        """These bytes, all of them, and no more."""
        end = len(self.content)
        for start in (0, 1, MIB + 5, end):
            self.assertTrue(holds(self.write("same", self.content[start:]), self.file, start, end))
        self.assertFalse(holds(self.write("short", self.content[:-1]), self.file, 0, end))
        self.assertFalse(holds(self.write("long", self.content + b"."), self.file, 0, end))
        self.assertFalse(holds(self.write("other", self.content[:-1] + b"."), self.file, 0, end))


class PublishTests(SynchronousTestCase):
    """A file that was written under its temporary name."""

    def test_a_power_cut_leaves_the_old_one_or_the_new_one(self) -> None:
        """Whatever call it comes after; and once it is published, the new one."""
        disk = SimulatedDisk()
        replace_with(disk, "name", [b"old"])
        disk = SimulatedDisk.holding(disk.contents())
        file = disk.create(temporary("name"))
        file.write_at(0, b"new")
        file.sync()
        publish(disk, temporary("name"), "name")
        left = {crash.contents()["name"] for moment in disk.moments() for crash in moment.disk.crashes(20)}
        self.assertEqual(left, {b"old", b"new"})
        self.assertEqual({crash.contents()["name"] for crash in disk.crashes(20)}, {b"new"})
