"""The archive of `--keep-log`: a directory with every sealed segment, so that `restore` reaches back behind a merge.

The merge copies its segments there before it tells the server that it is done, and only then does the server remove
them: at every moment a segment is in the data directory or, whole and synced, in the archive. A copy that cannot be
made fails the merge, which is tried again later; nothing is removed meanwhile.

A directory may be copied, and put back, and each copy may go on with this archive: their segments have the same
numbers. So a segment is kept as `table.txn.FIRST-LAST-HISTORY` (the numbers of its first and last commit, and of which
history, see there, the last is): two files of one name hold the same commits. Where nothing in the archive leads to a
segment, the checkpoint that it follows is kept beside it, as `table.ckpt.COVERS-HISTORY`: so an archive that begins
anew, or has a gap, is enough to restore from. Older versions named a segment by FIRST alone, and kept one `table.ckpt`;
these are read, too.

Who keeps something there is alone meanwhile: servers on two copies may keep the same segment, under one temporary name.

Rejected: moving the files in the server (a copy across file systems would stop the loop; a hard link cannot cross).
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore
from kvstore.base.files import copy_file
from kvstore.store import checkpoint
from kvstore.store.examine import LIVE, segments_of
from kvstore.store.history import NO_HISTORY, History
from kvstore.store.log import LogHeader, read_log_header
from kvstore.store.log_reader import LogReader

_KEPT = re.compile(r"table\.txn\.([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{16})")
_KEPT_CHECKPOINT = re.compile(r"table\.ckpt\.([0-9a-f]{16})-([0-9a-f]{16})")


class Position(NamedTuple):
    """One commit, for good: its number and its history."""

    sequence: int
    history: str


class Span(NamedTuple):
    """Commits of one history that follow each other in a log: `first` to `last`, written from `from_us` to `to_us`."""

    history: str
    first: int
    last: int
    from_us: int
    to_us: int

    def holds(self, position: Position) -> bool:
        """Whether the commit is one of them."""
        return self.history == position.history and self.first <= position.sequence <= self.last


class Scan(NamedTuple):
    """What can be read of a log or segment. `begun`: the histories that begin in it. `end`: the byte where its frames
    stop; `reason`: why they stop there, None at a clean end.
    """

    header: LogHeader
    spans: list[Span]
    begun: list[History]
    end: int
    reason: str | None

    @property
    def last(self) -> Position:
        """The last commit in it, or the one it goes on from."""
        if not self.spans:
            return Position(self.header.first - 1, self.header.history)
        return Position(self.spans[-1].last, self.spans[-1].history)


def scan(file: File, name: str) -> Scan:
    """Read a log or segment through. Raises DamagedStore if its header is not valid, OSError."""
    header = read_log_header(file, name)
    spans: list[Span] = []
    begun: list[History] = []
    reader = LogReader(file, header)
    for frame, beginning, _ in reader:
        if beginning is not None:
            begun.append(beginning)
        if spans and spans[-1].history == reader.history:
            spans[-1] = spans[-1]._replace(last=frame.sequence, to_us=frame.time_us)
        else:
            spans.append(Span(reader.history, frame.sequence, frame.sequence, frame.time_us, frame.time_us))
    return Scan(header, spans, begun, reader.stopped_at, reader.reason)


def kept_segments(names: list[str]) -> dict[str, tuple[int, Position]]:
    """The segments of an archive among the names: each with the number of its first commit, and its last commit."""
    found = {name: match for name in sorted(names) if (match := _KEPT.fullmatch(name))}
    return {name: (int(match[1], 16), Position(int(match[2], 16), match[3])) for name, match in found.items()}


def kept_checkpoints(names: list[str]) -> dict[str, Position]:
    """The checkpoints of an archive among the names, each with the last commit in it."""
    found = {name: match for name in sorted(names) if (match := _KEPT_CHECKPOINT.fullmatch(name))}
    return {name: Position(int(match[1], 16), match[2]) for name, match in found.items()}


def keep(source: Disk, segments: list[str], archive: Disk) -> None:
    """Copy sealed segments of `source` to the archive; those already there are left. Raises OSError.

    FileExistsError: the archive belongs to another data directory. DamagedStore: its newest segment, or one of ours, is
    not sound. Durability: all of them are on disk when this returns.
    """
    scans = {name: _scan(source, name) for name in segments}
    _check_owner(scans, archive)
    if segments:
        _keep_checkpoint(source, scans[segments[0]].header, archive)
    for name, ours in scans.items():
        if ours.reason is not None:
            raise DamagedStore(source.describe(name), ours.end, ours.reason, "")
        kept = f"{LIVE}.{ours.header.first:016x}-{ours.last.sequence:016x}-{ours.last.history}"
        if kept not in archive.names() or not _is_kept(archive, kept, ours):
            copy_file(source, name, archive, kept)


def _check_owner(scans: dict[str, Scan], archive: Disk) -> None:
    """Refuse an archive whose newest segment is of another data directory."""
    names = archive.names()
    there = [*segments_of(names), *kept_segments(names)]
    if there and any(ours.header.store != _scan(archive, there[-1]).header.store for ours in scans.values()):
        raise _foreign(archive, there[-1])


def _keep_checkpoint(source: Disk, first: LogHeader, archive: Disk) -> None:
    """Keep the checkpoint that the segments follow, unless the archive holds what leads to its commit.

    The names tell: they may tell too little of a segment that holds several histories; then it is kept for nothing.
    """
    names = archive.names()
    before = Position(first.first - 1, first.history)
    leading = [start <= before.sequence and last.history == before.history and before.sequence <= last.sequence
               for start, last in kept_segments(names).values()]  # fmt: skip
    if checkpoint.NAME in source.names() and before not in kept_checkpoints(names).values() and not any(leading):
        copy_file(source, checkpoint.NAME, archive, f"{checkpoint.NAME}.{before.sequence:016x}-{before.history}")


def _is_kept(archive: Disk, name: str, ours: Scan) -> bool:
    """Whether a file of the archive holds the same commits; False if it is damaged, and to be replaced.

    Without a history its name does not tell whose it is: then it is only replaced if it cannot be read.
    """
    try:
        theirs = _scan(archive, name)
    except DamagedStore:
        return False
    same = (theirs.header.store, theirs.spans, theirs.reason) == (ours.header.store, ours.spans, None)
    readable = theirs.reason is None and theirs.spans
    if not same and (theirs.header.store != ours.header.store or (readable and ours.last.history == NO_HISTORY)):
        raise _foreign(archive, name)
    return same


def _scan(disk: Disk, name: str) -> Scan:
    file = disk.open_read(name)
    try:
        return scan(file, disk.describe(name))
    finally:
        file.close()


def _foreign(archive: Disk, name: str) -> FileExistsError:
    reason = "this is another data directory's segment; give each its own --keep-log directory"
    return FileExistsError(errno.EEXIST, reason, archive.describe(name))


__all__ = ["NO_HISTORY", "Position", "Scan", "Span", "keep", "kept_checkpoints", "kept_segments", "scan"]
