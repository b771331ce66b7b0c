"""Tests for `kvstore.base.disk`: the real disk keeps its contract."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.base.disk import RealDisk
from kvstore.base.errors import DirectoryInUse, StartRefused, StorageFault, Unreachable
from kvstore.base.files import replace_with
from tests.kit.disk_contract import DiskContract

LOCK_AND_SAY = """
import sys
from kvstore.base.disk import RealDisk
from kvstore.base.errors import DirectoryInUse, StartRefused, StorageFault, Unreachable
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

    def test_alone(self) -> None:
        """Others wait until it is left, whether well or not."""
        other = os.open(self.disk.path, os.O_RDONLY)
        self.addCleanup(os.close, other)
        with contextlib.suppress(KeyError), self.disk.alone():
            self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise KeyError
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_links_that_lead_nowhere(self) -> None:
        """They are listed, so that they are missed; to open one says what is wrong, and so does a way through one."""
        os.symlink("/nowhere/file", os.path.join(self.disk.path, "a"))
        self.assertEqual(self.disk.names(), ["a"])
        for disk_open in (self.disk.open, self.disk.open_read):
            self.assertIn(
                "a link to /nowhere/file, which is not there", str(self.assertRaises(Unreachable, disk_open, "a"))
            )
        self.assertRaises(Unreachable, RealDisk, os.path.join(self.disk.path, "a", "b"))
        self.assertRaises(FileNotFoundError, self.disk.open, "b")

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
        lock = self.disk._lock
        assert lock is not None
        descriptors += [self.disk.descriptor, lock._directory, lock._file]
        self.assertEqual([os.get_inheritable(descriptor) for descriptor in descriptors], [False] * 6)
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


class MovedDirectoryTests(SynchronousTestCase):
    """The disk is the directory that it has open, whatever its path leads to meanwhile."""

    def setUp(self) -> None:
        """A directory with a file, moved away, and another in its place."""
        self.disk = RealDisk(temporary_path(self))
        self.path, self.moved = self.disk.path, self.disk.path + ".old"
        replace_with(self.disk, "a", [b"mine"])
        os.rename(self.path, self.moved)
        self.other = RealDisk(self.path)
        replace_with(self.other, "a", [b"theirs"])

    def theirs(self) -> tuple[list[str], bytes]:
        """What is in the directory at the path."""
        with open(os.path.join(self.path, "a"), "rb") as file:
            return sorted(os.listdir(self.path)), file.read()

    def test_every_call_stays_in_its_directory(self) -> None:
        """It reads, writes, renames, removes and locks in its own, and leaves the other as it is."""
        self.other.lock()
        self.addCleanup(self.other.unlock)
        before = self.theirs()
        disk = self.disk
        disk.lock()
        self.addCleanup(disk.unlock)
        disk.open("a").write_at(4, b"!")
        self.assertEqual(disk.open_read("a").read_at(0, 10), b"mine!")
        disk.create("b").close()
        disk.create("c").close()
        disk.rename("b", "d")
        disk.remove("c")
        disk.sync_directory()
        self.assertEqual(disk.names(), ["a", "d", "lock"])
        self.assertEqual(disk.status("a").st_size, 5)
        self.assertEqual(sorted(os.listdir(self.moved)), ["a", "d", "lock"])
        self.assertEqual(self.theirs(), before)

    def test_found_by_a_look(self) -> None:
        """The other directory is told from this one; a path that leads back is as good as ever."""
        self.assertIn(f"{self.path} names another directory", str(self.assertRaises(StorageFault, self.disk.check)))
        self.assertEqual(self.other.check(), "")
        os.rename(self.path, self.path + ".other")
        self.assertIn("No such file", str(self.assertRaises(StorageFault, self.disk.check)))
        os.symlink(self.moved, self.path)
        self.assertEqual(self.disk.check(), "")

    def test_a_directory_that_was_removed(self) -> None:
        """It is found; nothing can be made in it, nor is it made again."""
        disk = RealDisk(temporary_path(self))
        os.rmdir(disk.path)
        self.assertRaises(StorageFault, disk.check)
        self.assertRaises(FileNotFoundError, disk.create, "a")
        self.assertFalse(os.path.exists(disk.path))

    def test_inherited(self) -> None:
        """By its descriptor it is found again under any name, with an opening's place in the list of names its own."""
        again = RealDisk("/somewhere", os.dup(self.disk.descriptor))
        self.assertEqual((again.names(), again.names(), self.disk.names()), (["a"], ["a"], ["a"]))
        self.assertEqual(self.assertRaises(FileNotFoundError, again.open, "b").filename, "/somewhere/b")

    def test_errors_name_the_whole_path(self) -> None:
        """Both names where there are two."""
        error = self.assertRaises(FileNotFoundError, self.other.rename, "b", "c")
        self.assertEqual((error.filename, error.filename2), (f"{self.path}/b", f"{self.path}/c"))

    def test_the_descriptor_goes_with_the_disk(self) -> None:
        """Nobody need close a disk."""
        descriptor = RealDisk(self.path).descriptor
        self.assertRaises(OSError, os.fstat, descriptor)


class LockFileTests(SynchronousTestCase):
    """The lock does not hang on a name that anybody can remove; the file `lock` is there for others."""

    def setUp(self) -> None:
        """A locked directory."""
        self.disk = RealDisk(temporary_path(self))
        self.lock = self.disk.describe("lock")

    def take(self) -> RealDisk:
        """Lock it."""
        self.disk.lock()
        self.addCleanup(self.disk.unlock)
        return self.disk

    def test_removed(self) -> None:
        """Nobody comes in; the file is put back, which is said once, and it is locked again."""
        disk = self.take()
        self.assertEqual(disk.check(), "")
        os.remove(self.lock)
        self.assertRaises(DirectoryInUse, RealDisk(disk.path).lock)
        self.assertFalse(os.path.exists(self.lock))
        self.assertRegex(disk.check(), "lock was removed or replaced .* put back")
        self.assertEqual(disk.check(), "")
        self.assertFalse(self.file_is_free())
        with open(self.lock) as file:
            self.assertEqual(file.read(), f"{os.getpid()}\n")

    def file_is_free(self) -> bool:
        """Whether an older server, which knows the file alone, would get in."""
        with open(self.lock, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def test_replaced(self) -> None:
        """By a copy that nobody holds: it is ours from then on."""
        disk = self.take()
        shutil.copy(self.lock, self.lock + ".copy")
        os.rename(self.lock + ".copy", self.lock)
        self.assertTrue(self.file_is_free())
        self.assertIn("put back", disk.check())
        self.assertFalse(self.file_is_free())

    def test_no_locks_on_directories(self) -> None:
        """On NFS the file is all there is: it keeps others out, and whose file was removed goes on no more."""
        flock = fcntl.flock

        def as_on_nfs(descriptor: Any, operation: int) -> None:
            if isinstance(descriptor, int) and stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EBADF, "Bad file descriptor")
            flock(descriptor, operation)

        self.patch(fcntl, "flock", as_on_nfs)
        disk = self.take()
        self.assertEqual(disk.check(), "")
        self.assertRaises(DirectoryInUse, RealDisk(disk.path).lock)
        os.remove(self.lock)
        self.assertIn("another may have come in", str(self.assertRaises(StorageFault, disk.check)))

    def test_an_older_server_came_in(self) -> None:
        """It holds the new file: the directory is lost to us."""
        disk = self.take()
        os.remove(self.lock)
        with open(self.lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertRegex(str(self.assertRaises(StorageFault, disk.check)), "replaced .* in use by a server")

    def test_an_older_server_is_there(self) -> None:
        """It holds the file alone, and that counts; what was taken before is given back."""
        with open(self.lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("4711\n")
            file.flush()
            self.assertIn("process 4711", str(self.assertRaises(DirectoryInUse, self.disk.lock)))
        self.take()

    def test_cannot_be_put_back(self) -> None:
        """On a disk without room, say: it is said, the directory stays locked, and the next look tries again."""
        disk = self.take()
        os.remove(self.lock)
        with mock.patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            self.assertIn("cannot be put back yet: [Errno 28]", disk.check())
        self.assertRaises(DirectoryInUse, RealDisk(disk.path).lock)
        self.assertIn("put back", disk.check())

    def test_which_file_cannot_be_written(self) -> None:
        """The error of a file that is to be replaced names it: it may be on another volume than the data."""
        for call in ("pwrite", "fdatasync"):
            with mock.patch(f"os.{call}", side_effect=OSError(errno.ENOSPC, "No space left on device")):
                error = self.assertRaises(OSError, replace_with, self.disk, "a", [b"new"])
            self.assertIn(os.path.join(self.disk.path, "a.tmp"), str(error))

    def test_what_is_no_file(self) -> None:
        """A link is not followed and a pipe not waited for; the text says what to do, the lock is not half taken."""
        precious = self.lock + ".precious"
        with open(precious, "w") as file:
            file.write("precious")
        for make, kind in (
            (lambda: os.symlink(precious, self.lock), "a symbolic link"),
            (lambda: os.symlink("/nowhere/at/all", self.lock), "a symbolic link"),
            (lambda: os.mkfifo(self.lock), "no regular file"),
            (lambda: os.mkdir(self.lock), "no regular file"),
        ):
            make()
            refusal = self.assertRaises(StartRefused, self.disk.lock)
            self.assertEqual(str(refusal), f"{self.lock} is {kind}; remove it: kvstore makes a file of its own")
            (os.rmdir if os.path.isdir(self.lock) and not os.path.islink(self.lock) else os.remove)(self.lock)
        with open(precious) as file:
            self.assertEqual(file.read(), "precious")
        disk = self.take()
        os.remove(self.lock)
        os.symlink(precious, self.lock)
        self.assertRegex(str(self.assertRaises(StorageFault, disk.check)), "is a symbolic link; remove it")

    def test_cannot_be_made(self) -> None:
        """The error names the file by its whole path, and nothing stays locked."""
        with mock.patch("fcntl.flock", side_effect=[None, OSError(errno.ENOLCK, "No locks available")]):
            self.assertRaises(OSError, self.disk.lock)
        os.remove(self.lock)
        real = os.open

        def refused(name: str, flags: int, *rest: Any, **keywords: Any) -> int:
            if name == "lock":
                raise PermissionError(errno.EACCES, "Permission denied", name)
            return real(name, flags, *rest, **keywords)

        with mock.patch("os.open", refused):
            self.assertEqual(self.assertRaises(PermissionError, self.disk.lock).filename, self.lock)
        self.take()

    def test_no_file_is_made_through_a_link(self) -> None:
        """Nor emptied: a temporary name that somebody made a link is refused."""
        os.symlink(self.lock + ".precious", self.disk.describe("a.tmp"))
        self.assertEqual(self.assertRaises(OSError, self.disk.create, "a.tmp").errno, errno.ELOOP)
        self.assertFalse(os.path.exists(self.lock + ".precious"))
