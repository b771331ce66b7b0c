"""The disk: the only room that opens, writes, syncs, renames and removes files.

`Disk` is one data directory seen through the few calls that the store needs; names are plain file names inside it.
`RealDisk` is the real one; tests put a simulated one in its place, that can lose, tear or refuse what was not synced.
What each call promises is exactly this, and the store must not count on more:

- `File.write_at` puts bytes into the page cache: after a power cut any part of them may be on the platter, in any
  order.
- `File.sync` returns when all bytes written to this file, and its size, are on the platter (`fdatasync`).
- `rename`, `link`, `remove` and the creation of a file are durable only after `sync_directory`; until then each may
  have happened or not, independently of the others.
- A call that raises may have done any part of its work. A failed `sync` says nothing about what is on the platter, and
  is never to be repeated as if it could.

Errors are OSError as the system raised it: which of them is fatal is the store's decision, not the disk's.

Replacing a file atomically (temporary name, write, sync, rename, sync the directory) is written once: `replace_with`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from kvstore.base.errors import DirectoryInUse
from kvstore.base.limits import MIB


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
        """The names of the files in the directory, sorted."""

    def open(self, name: str) -> File:
        """Open an existing file for reading and writing. Raises FileNotFoundError, OSError."""

    def open_read(self, name: str) -> File:
        """Open an existing file for reading only. Raises FileNotFoundError, OSError."""

    def create(self, name: str) -> File:
        """Create an empty file, replacing one of that name. Its name is durable only after `sync_directory`."""

    def rename(self, old: str, new: str) -> None:
        """Give file `old` the name `new`, replacing a file of that name in one step."""

    def link(self, old: str, new: str) -> None:
        """Give file `old` a second name. Raises FileExistsError if `new` is taken."""

    def remove(self, name: str) -> None:
        """Remove a name. Raises FileNotFoundError."""

    def sync_directory(self) -> None:
        """Return when all names created, renamed and removed so far are on disk."""

    def lock(self) -> None:
        """Take the directory for this process until it ends, or raise DirectoryInUse."""

    def describe(self, name: str) -> str:
        """The file's full name, for messages to the operator."""


def replace_with(disk: Disk, name: str, pieces: Iterable[bytes]) -> None:
    """Replace file `name` atomically by the `pieces`, joined. Raises OSError. Durability: on disk when this returns."""
    temporary = name + ".tmp"
    file = disk.create(temporary)
    try:
        offset = 0
        for piece in pieces:
            file.write_at(offset, piece)
            offset += len(piece)
        file.sync()
    finally:
        file.close()
    disk.rename(temporary, name)
    disk.sync_directory()


def copy_file(source: Disk, name: str, target: Disk) -> None:
    """Copy file `name` to another directory, replacing one of that name atomically. Raises OSError.

    Durability: on disk, name and content, when this returns; after a crash before that it is not there, or whole.
    """
    file = source.open_read(name)
    try:
        replace_with(target, name, _pieces(file))
    finally:
        file.close()


def _pieces(file: File) -> Iterator[bytes]:
    offset = 0
    while piece := file.read_at(offset, MIB):
        yield piece
        offset += len(piece)


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


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class RealDisk:
    """A directory of the operating system. `path`: absolute; made, with its parents, if it is missing."""

    LOCK = "lock"

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._lock_descriptor = -1
        self._directory_descriptor = -1
        _make_directory(self.path)

    def names(self) -> list[str]:
        """See `Disk`."""
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=True))

    def open(self, name: str) -> RealFile:
        """See `Disk`."""
        return RealFile(os.open(self.describe(name), os.O_RDWR | os.O_CLOEXEC))

    def open_read(self, name: str) -> RealFile:
        """See `Disk`."""
        return RealFile(os.open(self.describe(name), os.O_RDONLY | os.O_CLOEXEC))

    def create(self, name: str) -> RealFile:
        """See `Disk`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return RealFile(os.open(self.describe(name), flags, 0o640))

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        os.rename(self.describe(old), self.describe(new))

    def link(self, old: str, new: str) -> None:
        """See `Disk`."""
        os.link(self.describe(old), self.describe(new))

    def remove(self, name: str) -> None:
        """See `Disk`."""
        os.remove(self.describe(name))

    def sync_directory(self) -> None:
        """See `Disk`. While the lock is held this opens nothing: too many open files must not fail a sync half-way."""
        if self._directory_descriptor >= 0:
            os.fsync(self._directory_descriptor)
        else:
            _sync_directory(self.path)

    def lock(self) -> None:
        """See `Disk`. flock(2): the lock is gone with the process, however it ends; there is nothing to clean up."""
        descriptor = os.open(self.describe(self.LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DirectoryInUse(
                f"{self.path} is in use by another server (process {holder}); "
                "stop it, or choose another --data directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock_descriptor = descriptor
        self._directory_descriptor = os.open(self.path, _DIRECTORY)

    def unlock(self) -> None:
        """Give the directory back before the process ends: for tests and tools that open it more than once."""
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            os.close(self._directory_descriptor)
            self._lock_descriptor = self._directory_descriptor = -1

    def describe(self, name: str) -> str:
        """See `Disk`."""
        return os.path.join(self.path, name)


def _make_directory(path: str) -> None:
    """Make a directory and the parents that are missing, each synced into the one above it."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_directory(parent)
        os.mkdir(path, mode=0o750)
        _sync_directory(parent)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
