"""The commits that files hold, one after another: what `restore` goes back along, and `repair` keeps the beginning of.

Along one way (see `histories`) through the files of a directory and its archives: the newest sound checkpoint on it not
after the wanted moment, then the logs that follow. Reading stops at the wanted commit or time, at the first place that
is not the next valid commit, or where the files end; `stopped` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kvstore.base.disk import Disk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.store.archive import Position
from kvstore.store.beginning import NO_LINEAGE, Lineage
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader
from kvstore.store.examine import apply
from kvstore.store.keyed_hash import of_store
from kvstore.store.log_reader import LogReader
from kvstore.store.state import Databases
from kvstore.tools.histories import Files, Known, Step, leads_through
from kvstore.values import TYPES

#: Past any commit and any time.
FOREVER = 1 << 64


class Past(NamedTuple):
    """The state as of commit `sequence`, of that `lineage`, written at `time_us`.

    `stopped`: why reading ended there; None if that was the wanted moment. `next_us`: when the commit after it was
    written, None if there is none. `last_seen`: the last commit that any file on the way tells of. `beside`: histories
    with commits that are not on the way. `lost`: which logs of the directory cannot be read at all, and why.
    """

    databases: Databases
    sequence: int
    lineage: Lineage
    time_us: int
    store: str
    stopped: str | None = None
    next_us: int | None = None
    last_seen: int = 0
    beside: tuple[Known, ...] = ()
    lost: str = ""

    @property
    def history(self) -> str:
        """Of which history the commit is."""
        return self.lineage.history


def read_past(
    disks: Sequence[Disk], to_sequence: int = FOREVER, to_time_us: int = FOREVER, history: str | None = None
) -> Past:
    """The state at a moment, or as near before it as the files reach. Raises KVStoreError if they reach no state.

    `disks`: the data directory, then its archives. `history`: whose end the way leads to, None for the directory's own.
    """
    files = Files(disks)
    end = files.end(history)
    way = files.way(end) if end is not None else []
    past = _start(files, way, to_sequence, to_time_us, own=history is None)
    last_seen = max([past.sequence, *(step.log.last_seen for step in way)])
    past = past._replace(last_seen=last_seen, beside=tuple(files.beside(way)), lost="; ".join(files.lost))
    for step in way:
        past, done = _replay(step, past, to_sequence, to_time_us)
        if done:
            return past
    return past._replace(stopped=past.stopped or "; ".join(["the files end there", *files.complaints]))


def _start(files: Files, way: list[Step], to_sequence: int, to_time_us: int, *, own: bool) -> Past:
    """The newest sound checkpoint on the way that is early enough; the empty state if the way goes back to commit 1.

    `own`: whether the way leads to the directory's own end, on which then its checkpoint is.
    """
    best: Past | None = None
    for disk, name in files.checkpoints():
        file = disk.open_read(name)
        try:
            reader = CheckpointReader(file)
            header = reader.header
            early = header.covers <= to_sequence and header.created_us <= to_time_us
            led_to = (own and disk is files.disks[0]) or leads_through(way, Position(header.covers, header.history))
            ours = header.store == (files.store or header.store)
            if early and led_to and ours and (best is None or best.sequence < header.covers):
                best = _read_checkpoint(reader, header, disk.describe(name))
        except (DamagedStore, ValueError) as damage:
            files.complaints.append(f"{disk.describe(name)}: {damage}")
        finally:
            file.close()
    if best is not None:
        return best
    if way and way[0].log.first == 1:
        store = way[0].log.scan.header.store
        return Past(_nothing(store), 0, NO_LINEAGE, 0, store)
    raise KVStoreError(f"no state can be read: {'; '.join(files.complaints) or _shortage(files)}")


def _read_checkpoint(reader: CheckpointReader, header: CheckpointHeader, place: str) -> Past:
    databases = _nothing(header.store)
    for frame in reader.frames():
        apply(databases, frame.body, frame, place)
    reader.check_keys(databases.count())
    return Past(databases, header.covers, header.lineage, header.created_us, header.store)


def _nothing(store: str) -> Databases:
    """The state of a directory that nothing was written to."""
    return Databases(TYPES.of_directory(of_store(store)))


def _shortage(files: Files) -> str:
    if not files.logs and not any(files.checkpoints()):
        return "there is neither a log nor a checkpoint; no server has used this directory yet"
    return ("no checkpoint is early enough, and the logs do not begin with commit 1; the archive of a server with "
            "--keep-log reaches further back")  # fmt: skip


def _replay(step: Step, past: Past, to_sequence: int, to_time_us: int) -> tuple[Past, bool]:
    """Go on through one log. Returns how far that came, and whether the wanted moment was met."""
    log = step.log
    file = log.disk.open_read(log.name)
    try:
        commits = LogReader(file, log.scan.header)
        for frame, _, body in commits:
            if frame.sequence > min(to_sequence, step.last) or frame.time_us > to_time_us:
                met = frame.sequence > to_sequence or frame.time_us > to_time_us
                return past._replace(stopped=None, next_us=frame.time_us if met else None), met
            if frame.sequence > past.sequence + 1:
                return past._replace(stopped=past.stopped or f"commit {past.sequence + 1} is in no file"), False
            if frame.sequence == past.sequence + 1:
                apply(past.databases, body, frame, log.disk.describe(log.name))
                past = past._replace(
                    sequence=frame.sequence, lineage=commits.lineage, time_us=frame.time_us, stopped=None
                )
        if commits.reason is not None:
            place = f"{log.disk.describe(log.name)}, byte {commits.stopped_at}"
            past = past._replace(stopped=f"{place}: {commits.reason}")
        return past, past.sequence == to_sequence
    finally:
        file.close()
