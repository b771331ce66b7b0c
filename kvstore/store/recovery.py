"""Recovery: read what is in a data directory, mend what a crash left there, and open the log.

What is read, and the verdicts on it, is told in `examine`; what is damaged is refused there. What is left to mend, in
this order, so that a crash in the middle of it leaves nothing worse:

1. Leftovers (temporary files, segments that the checkpoint covers) are removed, once the directory is synced. A live
   log that has its segment's name (a crash in the middle of sealing) gets its own back; a sealed segment that was not
   marked so (a crash at its end) is.
2. A torn tail is copied aside (`table.txn.torn-NNN`, with a number behind it if there is another copy), then cut off.
3. The newest frames are written once more, synced, and noted in both marks: then everything recovered is promised.
4. In a directory never used, or left in the middle of its first start: the first log, the first checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from itertools import chain, count
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore, StartRefused
from kvstore.base.files import holds, pieces, publish, replace_with, temporary
from kvstore.base.frame import BLOCK_BYTES
from kvstore.base.value_type import Types
from kvstore.store import checkpoint
from kvstore.store.beginning import NO_LINEAGE, Lineage
from kvstore.store.examine import LIVE, Examined, Tail, examine
from kvstore.store.log import (
    NO_ROOM,
    LogHeader,
    Mark,
    TransactionLog,
    create_log,
    mark_offset,
    newest_mark,
    read_log_header,
    read_marks,
)

#: What a server of a group has fetched, to begin its next start with: see `joining`.
FETCHED = "joined.ckpt"


class Recovered(NamedTuple):
    """The outcome of a recovery: the state, the log open for appending, and what was found and mended."""

    examined: Examined
    log: TransactionLog
    torn_copy: str | None


def recover(
    disk: Disk,
    types: Types,
    now_us: Callable[[], int],
    random_bytes: Callable[[int], bytes],
    identity: str | None = None,
    *,
    may_be_of_group: bool = True,
) -> Recovered:
    """Read the files, mend what a crash left, and open the log. The directory must be locked.

    `types`: of values. `now_us`: microseconds since the epoch. `random_bytes`: a source of randomness such as
    os.urandom. `identity`: of a directory never used, None for one by chance; a used one must have it.
    `may_be_of_group`: whether it is taken if it is one of a group. Raises DamagedStore, StartRefused, OSError.
    Durability: everything in the returned state is on disk when this returns, whatever it was before.
    """
    found = examine(disk, types)
    if not may_be_of_group:
        _refuse_a_groups(disk, found)
    if identity is not None and found.live is not None and found.live.store != identity:
        raise StartRefused(f"{disk.describe(LIVE)}: the directory is another's, of no server of this group")
    if found.leftovers:
        # The server may have been killed between a rename and the sync of the directory: a power cut now could keep
        # these removals and lose the rename that made the files leftovers.
        disk.sync_directory()
    for name in found.leftovers:
        disk.remove(name)
    if found.live is None:
        return Recovered(found, _first_log(disk, now_us(), random_bytes, identity), None)
    _finish_sealing(disk, found)
    file = disk.open(LIVE)
    copy = None
    if found.tail is not None:
        copy = _cut(disk, file, found.tail, found.sequence + 1)
    log = TransactionLog(file, LIVE, found.live, found.live_end, found.entries, found.live_marks)
    _write_again(file, newest_mark(found.live_marks), found.live_end)
    log.sync()  # commits that were written, not synced, by a server that was killed
    while log.note(found.sequence, log.end):
        log.sync()
    disk.sync_directory()
    if found.live.first == 1 and not found.checkpoint_bytes:  # killed in the middle of the first start
        _first_checkpoint_if_there_is_room(disk, found.live, now_us(), random_bytes)
    return Recovered(found, log, copy)


def _refuse_a_groups(disk: Disk, found: Examined) -> None:
    if found.lineage.entry:
        name = LIVE
        why = (
            f"whose log it has up to entry {found.sequence}; a write of a server by itself would part it from that for"
            " ever"
        )
    elif FETCHED in disk.names():
        name, why = FETCHED, "and has fetched what the next start in it puts in the place of all that is here"
    else:
        return
    raise StartRefused(
        f"{disk.describe(name)}: the directory is a group's, {why}. Give --group, --log and --advertise, as before; or,"
        " to give the group up and go on with these data alone, `kvstore group leave DIR`, and start again."
    )


def _finish_sealing(disk: Disk, found: Examined) -> None:
    """What a crash in the middle of sealing left undone: see `sealing`.

    The directory is synced before either step: what the killed server renamed might not be on disk yet.
    """
    assert found.live is not None
    if found.live_name != LIVE:
        disk.sync_directory()
        disk.rename(found.live_name, LIVE)
    for name in found.segments[-1:]:
        file = disk.open(name)
        try:
            with contextlib.suppress(DamagedStore):  # no mark is valid: then nothing takes it for the live log
                _mark_sealed(disk, file, name, found.live.first - 1)
        finally:
            file.close()


def _mark_sealed(disk: Disk, file: File, name: str, sequence: int) -> None:
    header = read_log_header(file, name)
    marks = read_marks(file, name, header)
    newest = newest_mark(marks)
    if not all(mark is not None and mark.sealed for mark in marks):
        disk.sync_directory()
        _write_again(file, newest, newest.end)
        log = TransactionLog(file, name, header, newest.end, 0, marks)
        log.sync()
        log.mark_sealed(sequence)


def _write_again(file: File, mark: Mark, end: int) -> None:
    """Write the newest mark, and the frames after it, once more: about the last second of the server before.

    If that server stopped because a sync failed, the system still shows these bytes but believes that they are on disk
    (Linux marks such pages clean): a sync alone would return at once and save nothing.
    """
    at_mark = mark_offset(mark)
    for at, stop in ((at_mark, at_mark + BLOCK_BYTES), (mark.end, end)):
        for piece in pieces(file, at, stop):
            file.write_at(at, piece)
            at += len(piece)


def _cut(disk: Disk, file: File, tail: Tail, sequence: int) -> str:
    """Copy the torn tail aside, without the zeros that it ends in, then cut it off; returns the copy's name.

    On a full disk the cut comes first and makes the room for the copy: a server must start there, if only to be read.
    """
    end = _end_without_zeros(file, tail.offset)
    name = _name_of_copy(disk, file, tail.offset, end, sequence)
    try:
        replace_with(disk, name, pieces(file, tail.offset, end))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        torn = list(pieces(file, tail.offset, end))
        file.truncate(tail.offset)
        file.sync()
        replace_with(disk, name, torn)
    else:
        file.truncate(tail.offset)
        file.sync()
    return name


def _name_of_copy(disk: Disk, file: File, offset: int, end: int, sequence: int) -> str:
    """A name that no copy of another tail has: one cut at the same commit before is kept beside this one.

    A copy of just these bytes is one that was made by a start which a crash ended before it cut.
    """
    names, first = disk.names(), f"{LIVE}.torn-{sequence:016x}"
    possible = chain([first], (f"{first}-{number}" for number in count(2)))
    return next(name for name in possible if name not in names or _holds(disk, name, file, offset, end))


def _holds(disk: Disk, name: str, file: File, offset: int, end: int) -> bool:
    """Whether the file of that name holds bytes `offset` to `end` of `file`, and nothing else."""
    copy = disk.open_read(name)
    try:
        return holds(copy, file, offset, end)
    finally:
        copy.close()


def _end_without_zeros(file: File, offset: int) -> int:
    """The end of the file, or of the last byte past `offset` that is not zero."""
    end = offset
    for piece in pieces(file, offset):
        used = len(piece.rstrip(b"\0"))
        end = offset + used if used else end
        offset += len(piece)
    return end


def _first_log(disk: Disk, now_us: int, random_bytes: Callable[[int], bytes], identity: str | None) -> TransactionLog:
    store = identity or hashlib.sha256(random_bytes(32)).hexdigest()[:32]
    log = create_log(disk, temporary(LIVE), new_log_header(store, 1, now_us, random_bytes))
    publish(disk, temporary(LIVE), LIVE)
    log.name = LIVE
    _first_checkpoint_if_there_is_room(disk, log.header, now_us, random_bytes)
    return log


def _first_checkpoint(disk: Disk, live: LogHeader, now_us: int, random_bytes: Callable[[int], bytes]) -> None:
    """An empty checkpoint beside the first log: should the log go missing, what is left tells that there was one."""
    salt = int.from_bytes(random_bytes(4), "big")
    header = checkpoint.CheckpointHeader(live.store, salt, 0, now_us)
    writer = checkpoint.CheckpointWriter(disk, temporary(checkpoint.NAME), header)
    try:
        writer.finish()
    finally:
        writer.abandon()
    publish(disk, temporary(checkpoint.NAME), checkpoint.NAME)


def _first_checkpoint_if_there_is_room(
    disk: Disk, live: LogHeader, now_us: int, random_bytes: Callable[[int], bytes]
) -> None:
    """On a full disk the server comes up without: it serves reads, and a later start tries again."""
    try:
        _first_checkpoint(disk, live, now_us, random_bytes)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise


def new_log_header(
    store: str, first: int, now_us: int, random_bytes: Callable[[int], bytes], lineage: Lineage = NO_LINEAGE
) -> LogHeader:
    """The header of a new log of this store whose first commit will have number `first`, after that `lineage`."""
    return LogHeader(store, int.from_bytes(random_bytes(4), "big"), first, now_us, lineage)
