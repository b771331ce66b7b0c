"""Tests for `kvstore.base.disk`: the real disk keeps its contract; `replace_with` survives a failure of any call."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.base.disk import RealDisk, replace_with
from kvstore.base.errors import DirectoryInUse
from tests.disk_contract import DiskContract

LOCK_AND_SAY = """
import sys
from kvstore.base.disk import RealDisk
from kvstore.base.errors import DirectoryInUse
try:
    RealDisk(sys.argv[1]).lock()
    print("taken", flush=True)
    sys.stdin.read()
except DirectoryInUse as refusal:
    print(refusal, flush=True)
"""


def start_second_server(path: str) -> subprocess.Popen[str]:
    """Another process that locks the directory, says what came of it, and holds it until its stdin is closed."""
    source = os.path.dirname(os.path.dirname(kvstore.__file__))
    return subprocess.Popen(
        [sys.executable, "-c", LOCK_AND_SAY, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def temporary_path(test: SynchronousTestCase) -> str:
    """A path where nothing is yet, in a directory that goes when the test is over."""
    directory = tempfile.TemporaryDirectory()
    test.addCleanup(directory.cleanup)
    return os.path.join(os.path.realpath(directory.name), "data")


class RealDiskContractTests(DiskContract, SynchronousTestCase):
    """RealDisk, in a temporary directory, does what every disk must do."""

    def make_disk(self) -> RealDisk:
        """See `DiskContract`."""
        return RealDisk(temporary_path(self))

    def second_opening(self, disk: RealDisk) -> RealDisk:
        """See `DiskContract`."""
        return RealDisk(disk.path)


class RealDiskTests(SynchronousTestCase):
    """What is RealDisk's own: the directory, descriptors, short writes, processes."""

    def setUp(self) -> None:
        """An empty directory."""
        self.disk = RealDisk(temporary_path(self))

    def test_makes_the_directory_with_parents(self) -> None:
        """A missing directory is made, parents included, for the owner and group only."""
        path = os.path.join(temporary_path(self), "b", "c")
        RealDisk(path)
        self.assertEqual(os.stat(path).st_mode & 0o007, 0)

    def test_path_is_absolute(self) -> None:
        """A relative path is fixed at once: daemonising changes the working directory."""
        path = temporary_path(self)
        self.assertEqual(RealDisk(os.path.relpath(path)).path, path)

    def test_keeps_an_existing_directory(self) -> None:
        """Opening a directory again finds its files."""
        self.disk.create("a").close()
        self.assertEqual(RealDisk(self.disk.path).names(), ["a"])

    def test_a_file_in_place_of_the_directory(self) -> None:
        """A file where the directory should be is an OSError, not an overwritten file."""
        path = temporary_path(self)
        with open(path, "w") as file:
            file.write("precious")
        self.assertRaises(OSError, RealDisk, path)
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_subdirectories_are_no_files(self) -> None:
        """`names` leaves out what is not a file."""
        os.mkdir(self.disk.describe("lost+found"))
        self.disk.create("a").close()
        self.assertEqual(self.disk.names(), ["a"])

    def test_files_are_not_for_everybody(self) -> None:
        """A created file cannot be read by others than owner and group."""
        self.disk.create("a").close()
        self.assertEqual(os.stat(self.disk.describe("a")).st_mode & 0o007, 0)

    def test_descriptors_are_not_inherited(self) -> None:
        """A child process gets none of our files, nor the lock."""
        self.disk.lock()
        files = [self.disk.create("a"), self.disk.open("a"), self.disk.open_read("a")]
        descriptors = [file._descriptor for file in files]
        descriptors += [self.disk._lock_descriptor, self.disk._directory_descriptor]
        self.assertEqual([os.get_inheritable(descriptor) for descriptor in descriptors], [False] * 5)
        for file in files:
            file.close()
        self.disk.unlock()

    def test_closing_twice_spares_the_next_file(self) -> None:
        """The second close does not close a file that got the same descriptor meanwhile."""
        first = self.disk.create("a")
        first.close()
        second = self.disk.create("b")
        first.close()
        second.write_at(0, b"still open")
        self.assertEqual(second.size(), 10)
        second.close()

    def test_short_writes_are_continued(self) -> None:
        """A system that takes three bytes at a time still gets all of them, each at its place."""
        calls = []

        def three_bytes(descriptor: int, data: bytes, offset: int) -> int:
            calls.append((bytes(data), offset))
            return os.pwrite(descriptor, data[:3], offset)

        file = self.disk.create("a")
        file._write = three_bytes
        file.write_at(2, b"01234567")
        self.assertEqual(file.read_at(0, 100), b"\0\x0001234567")
        self.assertEqual(calls, [(b"01234567", 2), (b"34567", 5), (b"67", 8)])
        file.close()

    def test_error_in_a_continued_write(self) -> None:
        """What stops the continuation is raised; the first part may be there."""
        answers: list[Any] = [2, OSError(errno.ENOSPC, "No space left on device")]

        def short_then_full(descriptor: int, data: bytes, offset: int) -> int:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return os.pwrite(descriptor, data[:answer], offset)

        file = self.disk.create("a")
        file._write = short_then_full
        self.assertEqual(self.assertRaises(OSError, file.write_at, 0, b"abc").errno, errno.ENOSPC)
        self.assertEqual(file.read_at(0, 10), b"ab")
        file.close()

    def test_short_reads_are_continued(self) -> None:
        """A system that gives two bytes at a time does not make a read short."""
        file = self.disk.create("a")
        file.write_at(0, b"01234567")
        pread = os.pread
        with mock.patch("os.pread", lambda descriptor, length, offset: pread(descriptor, min(length, 2), offset)):
            self.assertEqual(file.read_at(1, 6), b"123456")
            self.assertEqual(file.read_at(5, 100), b"567")
        file.close()

    def test_sync_asks_the_system(self) -> None:
        """`sync` is fdatasync of the file's descriptor, and its error is passed on."""
        file = self.disk.create("a")
        synced: list[int] = []
        file._sync = synced.append
        file.sync()
        self.assertEqual(synced, [file._descriptor])
        file._sync = mock.Mock(side_effect=OSError(errno.EIO, "Input/output error"))
        self.assertEqual(self.assertRaises(OSError, file.sync).errno, errno.EIO)
        file.close()

    def test_sync_directory_asks_the_system(self) -> None:
        """`sync_directory` is an fsync of the directory itself, and its error is passed on."""
        synced = []
        with mock.patch("os.fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))):
            self.disk.sync_directory()
        self.assertEqual(synced, [os.path.realpath(self.disk.path)])
        with mock.patch("os.fsync", side_effect=OSError(errno.EIO, "Input/output error")):
            self.assertRaises(OSError, self.disk.sync_directory)

    def test_sync_of_a_locked_directory(self) -> None:
        """The same for the directory that a server holds, and no file need be opened for it."""
        self.disk.lock()
        self.addCleanup(self.disk.unlock)
        with mock.patch("os.open", side_effect=OSError(errno.EMFILE, "Too many open files")):
            self.test_sync_directory_asks_the_system()

    def test_new_directory_is_synced_into_its_parent(self) -> None:
        """A power cut does not lose a fresh data directory: every directory that was made is synced into its parent."""
        top = temporary_path(self)
        os.mkdir(top)
        synced = []
        with mock.patch("os.fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))):
            RealDisk(os.path.join(top, "a", "b"))
        self.assertIn(os.path.join(top, "a"), synced)
        self.assertIn(top, synced)

    def test_lock_holds_against_another_process(self) -> None:
        """A second process is refused, and told the first one's process number."""
        self.disk.lock()
        with start_second_server(self.disk.path) as other:
            said, _ = other.communicate(timeout=20)
        self.assertIn(f"process {os.getpid()}", said)
        self.assertIn(self.disk.path, said)
        self.disk.unlock()

    def test_lock_goes_with_its_process(self) -> None:
        """The lock of a process that was killed is gone at once; there is nothing to clean up."""
        with start_second_server(self.disk.path) as other:
            assert other.stdout is not None
            self.assertEqual(other.stdout.readline(), "taken\n")
            self.assertRaises(DirectoryInUse, self.disk.lock)
            other.kill()
        self.disk.lock()
        self.disk.unlock()


class ReplaceWithTests(SynchronousTestCase):
    """`replace_with`, when one of the system calls under it fails."""

    def contents_after_failure_of(self, call: str) -> bytes:
        """Replace `old` by `new` while a system call fails: what the file holds then."""
        disk = RealDisk(temporary_path(self))
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
