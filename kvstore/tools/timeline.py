"""The commits that files hold, one after another: what `restore` goes back along, and `repair` keeps the beginning of.

Files of a directory and of an archive (`--keep-log`) are put in order by what they say of themselves: the newest sound
checkpoint not after the wanted moment, then the logs that follow it. Reading stops at the wanted commit or time, at the
first place that is not the next valid commit, or where the files end; `stopped` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kvstore.base.disk import Disk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.base.frame import FrameReader, later_headers
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.examine import LIVE, segments_of
from kvstore.store.log import FRAMES_AT, LogHeader, read_log_header
from kvstore.store.operations import apply, decode

#: Past any commit and any time.
FOREVER = 1 << 64


class Log(NamedTuple):
    """One log or segment."""

    disk: Disk
    name: str
    header: LogHeader


class Past(NamedTuple):
    """The state as of commit `sequence`, written at `time_us`. `stopped`: why reading ended there; None if that was the
    wanted moment. `last_seen`: the last commit that any file tells of.
    """

    values: dict[bytes, bytes]
    deadlines: dict[bytes, int]
    sequence: int
    time_us: int
    store: str
    stopped: str | None
    last_seen: int


def read_past(disks: Sequence[Disk], to_sequence: int = FOREVER, to_time_us: int = FOREVER) -> Past:
    """The state at a moment, or as near before it as the files reach. Raises KVStoreError if they reach no state."""
    logs, complaints = _logs(disks)
    store = _owner(disks, logs)
    start = _checkpoint(disks, to_sequence, to_time_us, store, complaints)
    if start is None and not (logs and logs[0].header.first == 1):
        detail = "; ".join(complaints) or _shortage(disks, logs)
        raise KVStoreError(f"no state can be read: {detail}")
    values, deadlines, sequence, time_us, owner = start or ({}, {}, 0, 0, logs[0].header.store)
    past = Past(values, deadlines, sequence, time_us, owner, None, sequence)
    for log in logs:
        if log.header.store == owner:
            past, done = _replay(log, past, to_sequence, to_time_us)
            if done:
                return past._replace(last_seen=max(past.last_seen, *(_last_in(one) for one in logs)))
    reason = past.stopped or "; ".join(["the files end there", *complaints])
    return past._replace(stopped=reason, last_seen=max([past.last_seen, *(_last_in(one) for one in logs)]))


def _owner(disks: Sequence[Disk], logs: Sequence[Log]) -> str | None:
    """Whose files are meant: the first directory's that has a sound log. An archive may hold others' by mistake."""
    owners = (log.header.store for disk in disks for log in logs if log.disk is disk)
    return next(owners, None)


def _shortage(disks: Sequence[Disk], logs: Sequence[Log]) -> str:
    if not logs and not any(checkpoint.NAME in disk.names() for disk in disks):
        return "there is neither a log nor a checkpoint; no server has used this directory yet"
    return ("no checkpoint is early enough, and the logs do not begin with commit 1; the archive of a server with "
            "--keep-log reaches further back")  # fmt: skip


def _logs(disks: Sequence[Disk]) -> tuple[list[Log], list[str]]:
    """All logs whose header is sound, in order of their first commits; and what is wrong with the others."""
    logs, complaints = [], []
    for disk in disks:
        names = disk.names()
        for name in [*segments_of(names), *([LIVE] if LIVE in names else [])]:
            file = disk.open_read(name)
            try:
                logs.append(Log(disk, name, read_log_header(file, name)))
            except DamagedStore as damage:
                complaints.append(f"{disk.describe(name)}: {damage.reason}")
            finally:
                file.close()
    return sorted(logs, key=lambda log: log.header.first), complaints


def _checkpoint(
    disks: Sequence[Disk], to_sequence: int, to_time_us: int, store: str | None, complaints: list[str]
) -> tuple[dict[bytes, bytes], dict[bytes, int], int, int, str] | None:
    """The newest sound checkpoint that is early enough."""
    best = None
    for disk in (disk for disk in disks if checkpoint.NAME in disk.names()):
        file = disk.open_read(checkpoint.NAME)
        try:
            reader = CheckpointReader(file)
            header = reader.header
            early = header.covers <= to_sequence and header.created_us <= to_time_us
            if not early or store not in (None, header.store) or (best is not None and best[2] >= header.covers):
                continue
            values: dict[bytes, bytes] = {}
            deadlines: dict[bytes, int] = {}
            for frame in reader.frames():
                apply(decode(frame.body), values, deadlines)
            reader.check_keys(len(values))
            best = (values, deadlines, header.covers, header.created_us, header.store)
        except (DamagedStore, ValueError) as damage:
            complaints.append(f"{disk.describe(checkpoint.NAME)}: {damage}")
        finally:
            file.close()
    return best


def _replay(log: Log, past: Past, to_sequence: int, to_time_us: int) -> tuple[Past, bool]:
    """Go on through one log. Returns how far that came, and whether the wanted moment was met."""
    file = log.disk.open_read(log.name)
    try:
        reader = FrameReader(file, FRAMES_AT, log.header.salt)
        for frame in reader:
            if frame.sequence > to_sequence or frame.time_us > to_time_us:
                return past._replace(stopped=None), True
            if frame.sequence > past.sequence + 1:
                return past._replace(stopped=past.stopped or f"commit {past.sequence + 1} is in no file"), False
            if frame.sequence == past.sequence + 1:
                apply(decode(frame.body), past.values, past.deadlines)
                past = past._replace(sequence=frame.sequence, time_us=frame.time_us, stopped=None)
            if past.sequence == to_sequence:
                return past._replace(stopped=None), True
        if reader.reason is not None:
            place = f"{log.disk.describe(log.name)}, byte {reader.stopped_at}"
            past = past._replace(stopped=f"{place}: {reader.reason}")
        return past, past.sequence == to_sequence
    finally:
        file.close()


def _last_in(log: Log) -> int:
    """The last commit that a log tells of, past any damage."""
    file = log.disk.open_read(log.name)
    try:
        headers = later_headers(file, FRAMES_AT, log.header.salt)
        return max([log.header.first - 1, *(header.sequence for _, header in headers)])
    finally:
        file.close()
