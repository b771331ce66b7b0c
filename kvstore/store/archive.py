"""The archive of `--keep-log`: a directory with every sealed segment, so that `restore` reaches back behind a merge.

The merge copies its segments there before it tells the server that it is done, and only then does the server remove
them: at every moment a segment is in the data directory or, whole and synced, in the archive. The first merge into an
empty archive puts the checkpoint there that its segments follow. A copy that cannot be made fails the merge, which is
tried again later; nothing is removed meanwhile.

Rejected: moving the files in the server (a copy across file systems would stop the loop; a hard link cannot cross).
"""

from __future__ import annotations

import errno

from kvstore.base.disk import Disk, copy_file
from kvstore.base.limits import MIB
from kvstore.store import checkpoint
from kvstore.store.examine import segments_of
from kvstore.store.log import read_log_header


def keep(source: Disk, segments: list[str], archive: Disk) -> None:
    """Copy sealed segments of `source` to the archive; those already there are left. Raises OSError.

    FileExistsError: the archive belongs to another data directory. DamagedStore: its newest segment is not sound.
    Durability: all of them are on disk when this returns.
    """
    there = archive.names()
    _check_owner(source, segments, archive)
    if checkpoint.NAME in source.names() and checkpoint.NAME not in there and not segments_of(there):
        copy_file(source, checkpoint.NAME, archive)
    for name in segments:
        if name not in there:
            copy_file(source, name, archive)
        elif not _equal(source, archive, name):
            raise _foreign(archive, name)


def _check_owner(source: Disk, segments: list[str], archive: Disk) -> None:
    """Refuse an archive whose newest segment is of another data directory."""
    there = list(segments_of(archive.names()))
    if there and segments and _store(archive, there[-1]) != _store(source, segments[0]):
        raise _foreign(archive, there[-1])


def _store(disk: Disk, name: str) -> str:
    file = disk.open_read(name)
    try:
        return read_log_header(file, disk.describe(name)).store
    finally:
        file.close()


def _foreign(archive: Disk, name: str) -> FileExistsError:
    reason = "this is another data directory's segment; give each its own --keep-log directory"
    return FileExistsError(errno.EEXIST, reason, archive.describe(name))


def _equal(one: Disk, other: Disk, name: str) -> bool:
    first, second = one.open_read(name), other.open_read(name)
    try:
        size = first.size()
        return size == second.size() and all(
            first.read_at(at, MIB) == second.read_at(at, MIB) for at in range(0, size, MIB)
        )
    finally:
        first.close()
        second.close()
