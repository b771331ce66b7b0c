"""Data directories as the tools open and make them.

`existing` opens one that must be there (a `RealDisk` alone would make it) and hold something of kvstore's; with a
progress bar, every byte read of a file moves it. `look` examines a directory that a server may be changing meanwhile.
`new_directory` makes one, or takes one that an interrupted tool left unfinished; `write_state` puts a given state into
it, which a server can start on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, KeysView, Sequence
from itertools import zip_longest
from typing import TypeVar

from kvstore.base import directory_lock as lock
from kvstore.base.disk import Disk, RealDisk, RealFile, refuse_dangling
from kvstore.base.errors import KVStoreError, NothingThere
from kvstore.base.files import publish, temporary
from kvstore.client.progress import Progress
from kvstore.store import checkpoint
from kvstore.store.beginning import NO_LINEAGE, Lineage
from kvstore.store.checkpoint import CheckpointHeader, CheckpointWriter
from kvstore.store.examine import LIVE, Examined, examine, refuse_unfinished
from kvstore.store.log import create_log
from kvstore.store.recovery import new_log_header
from kvstore.store.state import Databases
from kvstore.values import TYPES

_Read = TypeVar("_Read")

_TEMPORARIES = (temporary(checkpoint.NAME), temporary(LIVE))
_TRIES = 20
_PAUSE_SECONDS = 0.1


class _CountedFile(RealFile):
    def __init__(self, descriptor: int, count: Callable[[int], None]) -> None:
        super().__init__(descriptor)
        self._count = count

    def read_at(self, offset: int, length: int) -> bytes:
        data = super().read_at(offset, length)
        self._count(len(data))
        return data


class ReadDisk(RealDisk):
    """A directory that is only read, with a progress bar. `label`: stands before the bar."""

    def __init__(self, path: str, label: str) -> None:
        super().__init__(path)
        self._progress = Progress(label)
        self._total = sum(size for _, _, size, _ in _fingerprint(self))
        self._read = 0

    def open_read(self, name: str) -> RealFile:
        """See `Disk`."""
        return _CountedFile(self._open(name, os.O_RDONLY), self._count)

    def clear(self) -> None:
        """Take the bar away, and begin again."""
        self._progress.clear()
        self._read = 0

    def _count(self, size: int) -> None:
        self._read += size
        self._progress.show(self._read / max(self._total, 1))


def existing(path: str, label: str = "reading", *, may_be_empty: bool = False) -> ReadDisk:
    """The directory of a server, or an archive, at `path`. Raises NothingThere, Unfinished, Unreachable, OSError.

    `may_be_empty`: as an archive is until the first compaction.
    """
    if not os.path.isdir(path):
        refuse_dangling(os.path.abspath(path))
        what = "is no directory" if os.path.exists(path) else "is not there"
        raise NothingThere(f"{path} {what}; give the --data directory of a server")
    disk = ReadDisk(path, label)
    names = disk.names()
    ours = [name for name in names if name.startswith((LIVE, checkpoint.NAME)) and name != temporary(LIVE)]
    if not ours and (names or not may_be_empty):
        raise NothingThere(f"{path}: no server has used this directory yet; nothing of kvstore's is in it")
    refuse_unfinished(disk, ours)
    for name in ours:
        refuse_dangling(disk.describe(name))
    return disk


def look(disk: ReadDisk) -> Examined:
    """Examine a data directory without its lock. Raises DamagedStore, OSError, and as `existing`."""
    found = read_unlocked([disk], lambda: examine(disk, TYPES))
    if found.live is None:
        raise NothingThere(f"{disk.path}: no server has used this directory yet")
    return found


def read_unlocked(disks: Sequence[ReadDisk], read: Callable[[], _Read]) -> _Read:
    """What `read` returns, reading directories without their locks. Raises what it raises.

    A server may write, seal and merge meanwhile, and half of that can look like damage. So what fails is tried again:
    it is so if the same thing is found twice while no file changed, or always.
    """
    before: tuple[str, object] | None = None
    for _ in range(_TRIES):
        try:
            return read()
        except (KVStoreError, FileNotFoundError) as error:
            now = (str(error), [_fingerprint(disk) for disk in disks])
            if now == before:
                raise
            before, last = now, error
            time.sleep(_PAUSE_SECONDS)
        finally:
            for disk in disks:
                disk.clear()
    raise last


def identities(disks: Sequence[RealDisk]) -> object:
    """Which files there are: changed by a seal and by a merge, not by a commit."""
    return [[(name, number) for name, number, _, _ in _fingerprint(disk)] for disk in disks]


def _fingerprint(disk: RealDisk) -> list[tuple[str, int, int, int]]:
    """Name, number, size and time of each file."""
    found = []
    for name in disk.names():
        with contextlib.suppress(FileNotFoundError):
            status = disk.status(name)
            found.append((name, status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def check_new(path: str) -> None:
    """Refuse a directory to be made that is there already, with something in it; but not what an interrupted tool left.

    Raises KVStoreError.
    """
    refuse_dangling(os.path.abspath(path))
    if os.path.lexists(path) and (not os.path.isdir(path) or set(os.listdir(path)) - {*_TEMPORARIES, lock.NAME}):
        raise KVStoreError(f"{path} is there already; give the name of a new directory")


@contextlib.contextmanager
def new_directory(path: str) -> Iterator[RealDisk]:
    """An empty directory, made if it is missing, and locked; nothing unfinished is left in it after an exception.

    Raises KVStoreError if there is anything in it, OSError.
    """
    check_new(path)
    disk = RealDisk(path)
    disk.lock()
    try:
        _clear(disk)
        yield disk
    except BaseException:
        with contextlib.suppress(OSError):
            _clear(disk)
        raise
    finally:
        disk.unlock()


def _clear(disk: RealDisk) -> None:
    for name in set(_TEMPORARIES).intersection(disk.names()):
        disk.remove(name)


def equal(one: Databases, other: Databases) -> bool:
    """Whether two states hold the same."""
    return _keys(one) == _keys(other) and all(
        a == b
        for number, state in one.by_number.items()
        for key in state.values
        for a, b in zip_longest(state.whole(key), other.at(number).whole(key))
    )


def _keys(databases: Databases) -> dict[int, KeysView[bytes]]:
    """The keys of each database that has any."""
    return {number: state.values.keys() for number, state in databases.by_number.items() if state.values}


def write_state(
    disk: Disk, databases: Databases, sequence: int, lineage: Lineage = NO_LINEAGE, store: str | None = None
) -> None:
    """Put a checkpoint with this state, as of one commit, and an empty log after it in place of what is there.

    `sequence`, `lineage`: of that commit. `store`: whose directory it is; None for a new one. Durability: all on disk
    when this returns; a crash before that leaves what was there, or a directory that refuses to be served.
    """
    now = time.time_ns() // 1000
    header = new_log_header(store or os.urandom(16).hex(), sequence + 1, now, os.urandom, lineage)
    salt = int.from_bytes(os.urandom(4), "big")
    covers = CheckpointHeader(header.store, salt, sequence, now, lineage)
    writer = CheckpointWriter(disk, temporary(checkpoint.NAME), covers)  # first: see `examine`, of what is unfinished
    progress = Progress("writing")
    written, count = 0, databases.count()
    for number, state in sorted(databases.by_number.items()):
        writer.select(number)
        for key in state.values:
            writer.add_key(state.whole(key))
            written += 1
            progress.show(written / count)
    writer.finish()
    progress.clear()
    disk.sync_directory()
    create_log(disk, temporary(LIVE), header).close()
    publish(disk, temporary(checkpoint.NAME), checkpoint.NAME)
    publish(disk, temporary(LIVE), LIVE)
