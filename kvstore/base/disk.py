"""The disk: the only room that opens, writes, syncs, renames and removes files.

`Disk` is one data directory seen through the few calls that the store needs; names are plain file names inside it.
`RealDisk` is the real one; tests put a simulated one in its place, that can lose, tear or refuse what was not synced.
What each call promises is exactly this, and the store must not count on more:

- `File.write_at` puts bytes into the page cache: after a power cut any part of them may be on the platter, in any
  order.
- `File.sync` returns when all bytes written to this file, and its size, are on the platter (`fdatasync`).
- `rename`, `remove` and the creation of a file are durable only after `sync_directory`; until then each may
  have happened or not, independently of the others.
- A call that raises may have done any part of its work. A failed `sync` says nothing about what is on the platter, and
  is never to be repeated as if it could.

A path can come to name another directory while a server runs: it is moved away and a restored one put in its place, a
symbolic link is switched, the file system is unmounted. So a `RealDisk` is the directory that it has open, not its
path: every call works relative to the descriptor (openat(2) and its kin), a child process inherits the descriptor, and
`check`, once a second, finds out that the path leads elsewhere. Rejected: to compare before each call (there is always
a moment in between); O_PATH (such a descriptor cannot be synced).

Errors are OSError as the system raised it: which of them is fatal is the store's decision, not the disk's.

What is done with the files of any disk (publishing one, copying, comparing) stands in `files`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from kvstore.base.directory_lock import DIRECTORY_FLAGS, DirectoryLock
from kvstore.base.errors import StorageFault, Unreachable


class File(Protocol):
    """An open file of the data directory."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data` at byte `offset`, past the end if need be. Raises OSError. Durability: after `sync`."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from byte `offset`; fewer only at the end of the file. Raises OSError."""

    def size(self) -> int:
        """The file's length in bytes."""

    def truncate(self, length: int) -> None:
        """Make the file `length` bytes long. Durability: none until `sync`. Raises OSError."""

    def sync(self) -> None:
        """Return when everything written so far is on disk. Raises OSError; then nothing is known of what is."""

    def fileno(self) -> int:
        """The descriptor, for whoever syncs the file while the process goes on (see `syncing`)."""

    def is_linked(self) -> bool:
        """Whether the file still has a name: False once somebody removed it."""

    def close(self) -> None:
        """Close; the object is unusable after it. Closing twice is allowed."""


class Disk(Protocol):
    """One data directory."""

    def names(self) -> list[str]:
        """The names of the files in the directory, sorted; with links whose file is not there."""

    def open(self, name: str) -> File:
        """Open an existing file for reading and writing. Raises FileNotFoundError, OSError."""

    def open_read(self, name: str) -> File:
        """Open an existing file for reading only. Raises FileNotFoundError, OSError; Unreachable if it is a link that
        leads nowhere.
        """

    def create(self, name: str) -> File:
        """Create an empty file, replacing one of that name. Its name is durable only after `sync_directory`."""

    def rename(self, old: str, new: str) -> None:
        """Give file `old` the name `new`, replacing a file of that name in one step."""

    def remove(self, name: str) -> None:
        """Remove a name. Raises FileNotFoundError."""

    def leads_to(self, name: str, file: File) -> bool:
        """Whether `name` is a name of this very file, open here. Raises OSError."""

    def sync_directory(self) -> None:
        """Return when all names created, renamed and removed so far are on disk."""

    def lock(self) -> None:
        """Take the directory for this process until it ends.

        Raises DirectoryInUse, StartRefused if something else than a file has the name of the lock, OSError.
        """

    def unlock(self) -> None:
        """Give the directory back before the process ends; nothing if it is not locked."""

    def check(self) -> str:
        """Look whether this is still the directory that its name leads to and, if it was locked, still is.

        Returns what was amiss with the lock and has been put right, or will be; "" if all is well. Raises StorageFault
        if anybody else can use what goes by the directory's name now, or already does.
        """

    def free_bytes(self) -> int:
        """How much more the directory's files may take. Raises OSError."""

    def describe(self, name: str) -> str:
        """The file's full name, for messages to the operator."""


class RealFile:
    """A file by its descriptor; positions are explicit, so nothing depends on a shared file offset."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = True
        #: The system calls themselves, bound once: these two are on the path of every durable write.
        self._write: Callable[[int, bytes, int], int] = os.pwrite
        self._sync: Callable[[int], None] = os.fdatasync

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`. A short write is continued; the continuation raises what stopped it."""
        written = self._write(self._descriptor, data, offset)
        while written < len(data):
            written += self._write(self._descriptor, data[written:], offset + written)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        pieces = []
        while length > 0 and (piece := os.pread(self._descriptor, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def size(self) -> int:
        """See `File`."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, length: int) -> None:
        """See `File`."""
        os.ftruncate(self._descriptor, length)

    def sync(self) -> None:
        """See `File`."""
        self._sync(self._descriptor)

    def fileno(self) -> int:
        """See `File`."""
        return self._descriptor

    def is_linked(self) -> bool:
        """See `File`."""
        return os.fstat(self._descriptor).st_nlink > 0

    def close(self) -> None:
        """See `File`."""
        if self._open:
            self._open = False
            os.close(self._descriptor)


#: Free on a volume that does not say.
_PLENTY_BYTES = 1 << 62


class RealDisk:
    """A directory of the operating system. `path`: absolute; made, with its parents, if it is missing.

    `descriptor`: of the directory, open already, for who has inherited it: then `path` is only what it is called.
    """

    def __init__(self, path: str, descriptor: int | None = None) -> None:
        self.path = os.path.abspath(path)
        if descriptor is None:
            _make_directory(self.path)
            descriptor = os.open(self.path, DIRECTORY_FLAGS)
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor).atexit = False
        self._lock: DirectoryLock | None = None

    def names(self) -> list[str]:
        """See `Disk`. Each look has a descriptor of its own: those that are inherited share their place in the list."""
        with self._in_full():
            descriptor = os.open(".", DIRECTORY_FLAGS, dir_fd=self.descriptor)
        try:
            with os.scandir(descriptor) as entries:
                return sorted(entry.name for entry in entries if entry.is_file() or _leads_nowhere(entry))
        finally:
            os.close(descriptor)

    def status(self, name: str) -> os.stat_result:
        """What the system tells of a file, links followed. Raises FileNotFoundError, OSError."""
        with self._in_full():
            return os.stat(name, dir_fd=self.descriptor)

    def open(self, name: str) -> RealFile:
        """See `Disk`."""
        return RealFile(self._open(name, os.O_RDWR))

    def open_read(self, name: str) -> RealFile:
        """See `Disk`."""
        return RealFile(self._open(name, os.O_RDONLY))

    def create(self, name: str) -> RealFile:
        """See `Disk`. A symbolic link of that name is refused: what it leads to is none of ours to empty."""
        return RealFile(self._open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW))

    def _open(self, name: str, flags: int) -> int:
        try:
            with self._in_full():
                return os.open(name, flags | os.O_CLOEXEC, 0o640, dir_fd=self.descriptor)
        except FileNotFoundError:
            refuse_dangling(self.describe(name))
            raise

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        with self._in_full():
            os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """See `Disk`."""
        with self._in_full():
            os.unlink(name, dir_fd=self.descriptor)

    def leads_to(self, name: str, file: File) -> bool:
        """See `Disk`."""
        try:
            return os.path.samestat(self.status(name), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _in_full(self) -> Iterator[None]:
        """Errors tell the files' full names, as the operator needs them."""
        try:
            yield
        except OSError as error:
            if error.filename is not None:
                error.filename = self.describe(error.filename)
            if error.filename2 is not None:
                error.filename2 = self.describe(error.filename2)
            raise

    def sync_directory(self) -> None:
        """See `Disk`. This opens nothing: too many open files must not fail a sync half-way."""
        os.fsync(self.descriptor)

    def free_bytes(self) -> int:
        """See `Disk`. What is reserved for root is not counted; file systems that say nothing have plenty."""
        volume = os.fstatvfs(self.descriptor)
        return volume.f_bavail * volume.f_frsize if volume.f_blocks else _PLENTY_BYTES

    def lock(self) -> None:
        """See `Disk`."""
        with self._in_full():
            self._lock = DirectoryLock(self.descriptor, self.path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process is in here, and keep others waiting: flock(2) on the directory, by an opening of
        its own, that is gone with this process. For an archive, which several servers may use.
        """
        descriptor = os.open(".", DIRECTORY_FLAGS, dir_fd=self.descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def check(self) -> str:
        """See `Disk`."""
        try:
            named, own = os.stat(self.path), os.fstat(self.descriptor)
        except OSError as error:
            raise StorageFault(f"the directory is not where it was: {error}") from error
        if not os.path.samestat(named, own):
            raise StorageFault(
                f"{self.path} names another directory now: the one in use was moved away, replaced or unmounted; "
                "the other was left as it is"
            )
        return self._lock.keep() if self._lock is not None else ""

    def unlock(self) -> None:
        """See `Disk`."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def describe(self, name: str) -> str:
        """See `Disk`."""
        return os.path.join(self.path, name)


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to something that is not there: a file that is missed, not one that does not exist."""
    try:
        return entry.is_symlink() and not entry.stat()
    except FileNotFoundError:
        return True


def refuse_dangling(path: str) -> None:
    """Raise Unreachable if `path`, absolute, or a directory above it is a link to something that is not there."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        if os.path.islink(path):
            target = os.readlink(path)
            raise Unreachable(f"{path} is a link to {target}, which is not there; is the disk mounted that it is on?")
        path = os.path.dirname(path)


def _make_directory(path: str) -> None:
    """Make a directory and the parents that are missing, each synced into the one above it. Raises Unreachable."""
    refuse_dangling(path)
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_directory(parent)
        os.mkdir(path, mode=0o750)
        descriptor = os.open(parent, DIRECTORY_FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
