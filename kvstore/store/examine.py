"""Examination: from the files of a data directory to the state that was promised, or to a refusal that says why.

Files, and their life cycle:

- `table.ckpt`, the checkpoint: the state as of commit C. Replaced whole, atomically.
- `table.txn.NNN`, sealed segments: former live logs, NNN the number of their first commit in 16 hexadecimal digits.
- `table.txn`, the live log. It exists from the first start on: a new one takes its name in one step.

The state is the checkpoint, then the segments that begin after C in order of their numbers, then the live log,
without a gap. Segments that begin at or before C are wholly in the checkpoint: leftovers of a crash before their
removal or in the middle of it, so that their content does not matter. When there is no live log, and no mark calls the
last segment sealed, then that one is the live log: a crash in the middle of sealing.

**The verdicts.** What stands where the next frame should be:

| found | in a sealed segment or checkpoint | in the live log |
|---|---|---|
| end of file, or zeros up to it, nothing promised beyond | clean end | clean end |
| the same, but a mark or a later file says there was more | corruption | corruption |
| a bad frame; a mark or a valid later frame says it was on disk | corruption | corruption |
| a bad frame that nothing says was on disk | corruption | torn tail |
| a valid frame with another number than expected | corruption | as a bad frame |

A clean end is fine. A torn tail was never promised. Corruption is never served and never skipped: DamagedStore. A
sound block of a later format, or an operation of an unknown name, is neither: NewerVersion, and nothing is touched.

`examine` only reads, and takes no lock: the server starts with it (see `recovery` for what it then mends), and the
tools have the server's verdict from it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore, NewerVersion, NothingThere, Unfinished
from kvstore.base.files import TEMPORARY
from kvstore.base.frame import Frame, later_headers
from kvstore.base.value_type import Types
from kvstore.store import checkpoint
from kvstore.store.beginning import Lineage
from kvstore.store.history import NO_HISTORY
from kvstore.store.keyed_hash import of_store
from kvstore.store.log import (
    LogHeader,
    Mark,
    Marks,
    is_log,
    mark_offset,
    newest_mark,
    read_log_header,
    read_marks,
)
from kvstore.store.log_reader import LogReader
from kvstore.store.operations import BadOperation, UnknownOperation
from kvstore.store.state import Databases

LIVE = "table.txn"
_SEGMENT = re.compile(r"table\.txn\.([0-9a-f]{16})")


class Tail(NamedTuple):
    """A torn tail: where in the live log it begins, and why it is no frame."""

    offset: int
    reason: str


class Examined(NamedTuple):
    """What the files hold. `sequence`, `lineage`: of the last commit. `live`: None in a directory never used.

    `live_name`: the live log's file, another than LIVE after a crash in the middle of sealing. `durable`: the last
    commit that something says is on disk. `entries`: operations in the live log; `live_end`: where its next frame goes.
    `segments`: sealed segments not in the checkpoint, in order. `leftovers`: files to be removed.
    """

    databases: Databases
    sequence: int
    lineage: Lineage
    durable: int
    time_us: int
    live: LogHeader | None
    live_name: str
    live_end: int
    live_marks: Marks
    entries: int
    segments: list[str]
    leftovers: list[str]
    tail: Tail | None
    checkpoint_bytes: int
    segment_bytes: int

    @property
    def history(self) -> str:
        """Of which history the last commit is."""
        return self.lineage.history


def segment_name(first: int) -> str:
    """The name of the sealed segment whose first commit has that number."""
    return f"{LIVE}.{first:016x}"


def segments_of(names: list[str]) -> dict[str, int]:
    """The sealed segments among the file names, in order, each with the number of its first commit."""
    return {name: int(match[1], 16) for name in sorted(names) if (match := _SEGMENT.fullmatch(name))}


class _Replay:
    """The state while it is being read, and how far it got."""

    def __init__(self, types: Types) -> None:
        self.databases = Databases(types)
        self.sequence = 0
        self.lineage = Lineage()
        self.durable = 0
        self.time_us = 0
        self.store: str | None = None

    def belongs(self, store: str, name: str) -> None:
        """Refuse a file that another directory's server wrote."""
        if self.store is None:
            self.store = store
            self.databases = Databases(self.databases.types.of_directory(of_store(store)))
        elif self.store != store:
            raise DamagedStore(name, 0, "it belongs to another data directory", "")

    def follows(self, header: LogHeader, name: str) -> None:
        """Refuse a log that does not go on where the files before it end: at that commit, in that history."""
        if header.first != self.sequence + 1:
            before = f"but the files before it end with commit {self.sequence}"
            if self.sequence == 0:
                before = f"but no file holds the commits before: {checkpoint.NAME} is missing, or too old"
            raise DamagedStore(name, 0, f"it begins with commit {header.first}, {before}", "")
        if header.history not in (self.lineage.history, NO_HISTORY):
            reason = f"it goes on from history {header.history}, but the files before it are of {self.lineage.history}"
            raise DamagedStore(name, 0, f"{reason}: they are of two copies of the directory", "")
        if header.lineage != self.lineage and header.lineage.entry:
            raise DamagedStore(name, 0, "it goes on from another group's log than the files before it end with", "")


def apply(databases: Databases, body: bytes, frame: Frame, name: str) -> int:
    """Apply the operations on keys in a frame of file `name`, its `body`; returns how many they were.

    Raises NewerVersion, DamagedStore.
    """
    try:
        return databases.replay(body)
    except UnknownOperation as error:
        raise NewerVersion(name, frame.offset, str(error)) from error
    except BadOperation as error:
        raise DamagedStore(name, frame.offset, str(error), "") from error


def examine(disk: Disk, types: Types) -> Examined:
    """Read all files and judge them; changes nothing. `types`: of values. Raises DamagedStore, NewerVersion, OSError;
    NothingThere, Unfinished if it is something else than a data directory; Unreachable.
    """
    try:
        return _examine(disk, types)
    except DamagedStore as error:
        raise DamagedStore(disk.describe(error.file), error.offset, error.reason, ADVICE) from error
    except NewerVersion as error:
        raise NewerVersion(disk.describe(error.file), error.offset, error.reason) from error


ADVICE = (
    "Nothing was changed. Run `python -m kvstore.tools verify DIR` (DIR: the data directory) to see what can be read; "
    "then put back a backup, or `python -m kvstore.tools restore DIR --archive ARCHIVE --to-sequence N OUT`, or give "
    "up what is damaged with `python -m kvstore.tools repair DIR`, which first says exactly what that is."
)


def _examine(disk: Disk, types: Types) -> Examined:
    names = disk.names()
    replay = _Replay(types)
    checkpoint_bytes = _read_checkpoint(disk, replay) if checkpoint.NAME in names else 0
    covers = replay.sequence
    segments = segments_of(names)
    live = LIVE if LIVE in names else _renamed_live_log(disk, segments, covers)
    if live is None:
        if segments or checkpoint.NAME in names:
            raise DamagedStore(LIVE, 0, "the transaction log is missing", "")
        _check_unused(disk, names)
        leftovers = _temporaries(names)
        return Examined(
            replay.databases, 0, replay.lineage, 0, 0, None, LIVE, 0, (None, None), 0, [], leftovers, None, 0, 0
        )
    file = disk.open_read(live)
    try:
        header = read_log_header(file, live)
        replay.belongs(header.store, live)
        marks = read_marks(file, live, header)
        _check_live(live, newest_mark(marks))
        needed = {name: first for name, first in segments.items() if covers < first < header.first}
        leftovers = [name for name in segments if name not in needed and name != live]
        for name in leftovers:
            _check_leftover(disk, replay, name, segments[name], header.first)
        sizes = _read_segments(disk, replay, needed, header)
        entries, end, tail = _read_live(file, replay, header, marks, live)
    finally:
        file.close()
    return Examined(
        replay.databases, replay.sequence, replay.lineage, replay.durable, replay.time_us, header, live,
        end, marks, entries, list(needed), leftovers + _temporaries(names), tail, checkpoint_bytes, sizes,
    )  # fmt: skip


def _check_unused(disk: Disk, names: list[str]) -> None:
    """Refuse a directory that only looks as if it had never been used. Raises NothingThere, Unfinished."""
    for name in names:
        ours = name.startswith((f"{LIVE}.", f"{checkpoint.NAME}."))
        if ours and not name.endswith(TEMPORARY) and "torn" not in name:
            raise NothingThere(
                f"{disk.describe(name)}: this is an archive of --keep-log, and no data directory; "
                "`kvstore restore ARCHIVE OUT` makes one of it"
            )
    refuse_unfinished(disk, names)


def refuse_unfinished(disk: Disk, names: list[str]) -> None:
    """Raise Unfinished if all there is of a store is what one of the tools was writing: it begins with the checkpoint.

    A server's first start begins with the log; what a crash leaves of it is no reason not to start.
    """
    ours = [name for name in names if name.startswith((LIVE, checkpoint.NAME))]
    if all(name.endswith(TEMPORARY) for name in ours) and any(name.startswith(checkpoint.NAME) for name in ours):
        raise Unfinished(
            f"{disk.describe(ours[0])}: a backup, restore or import into this directory was interrupted, or is not "
            "done yet; make it again, into this directory or a new one"
        )


def _renamed_live_log(disk: Disk, segments: dict[str, int], covers: int) -> str | None:
    """The segment that is the live log, when nothing has that name: the last one, if no mark says that it is sealed."""
    name = next(reversed(segments), None)
    if name is None or segments[name] <= covers:
        return None
    file = disk.open_read(name)
    try:
        return None if newest_mark(read_marks(file, name, read_log_header(file, name))).sealed else name
    finally:
        file.close()


def _check_live(name: str, mark: Mark) -> None:
    if mark.sealed:
        raise DamagedStore(name, mark_offset(mark), "this is a sealed segment; the live log after it is missing", "")


def _check_leftover(disk: Disk, replay: _Replay, name: str, first: int, live_first: int) -> None:
    """Refuse a segment that the checkpoint does not cover, or that is another log than its name says.

    One that is covered and no log any more is no damage: a power cut can lose the removal of a name, and keep that the
    file was emptied. What is another log was put there by mistake, and is not ours to remove.
    """
    if first > replay.sequence:
        raise DamagedStore(name, 0, f"it begins with commit {first}, not before the live log ({live_first})", "")
    file = disk.open_read(name)
    try:
        if is_log(file, name):
            header = read_log_header(file, name)
            replay.belongs(header.store, name)
            if header.first != first:
                raise DamagedStore(name, 0, f"it begins with commit {header.first}, not as its name says", "")
    finally:
        file.close()


def _temporaries(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(TEMPORARY)]


def _read_checkpoint(disk: Disk, replay: _Replay) -> int:
    """Read the checkpoint into `replay`; returns its size in bytes."""
    file = disk.open_read(checkpoint.NAME)
    try:
        reader = checkpoint.CheckpointReader(file)
        replay.belongs(reader.header.store, checkpoint.NAME)
        for frame in reader.frames():
            apply(replay.databases, frame.body, frame, checkpoint.NAME)
        reader.check_keys(replay.databases.count())
        replay.sequence = replay.durable = reader.header.covers
        replay.lineage = reader.header.lineage
        replay.time_us = reader.header.created_us
        return file.size()
    finally:
        file.close()


def _read_segments(disk: Disk, replay: _Replay, segments: dict[str, int], live: LogHeader) -> int:
    """Read the sealed segments, which must follow each other up to the live log; returns their size in bytes."""
    size = 0
    following = [*segments.values(), live.first][1:]
    for name, next_first in zip(segments, following, strict=True):
        file = disk.open_read(name)
        try:
            header = read_log_header(file, name)
            replay.belongs(header.store, name)
            if header.first != segments[name]:
                raise DamagedStore(name, 0, f"it begins with commit {header.first}, not as its name says", "")
            end, reason, _ = _replay_frames(file, replay, header, name)
            if reason is not None or replay.sequence != next_first - 1:
                found = f"commit {replay.sequence + 1} cannot be read, the next file begins with {next_first}"
                if replay.sequence == next_first - 1:
                    found = f"bytes after its last commit, {replay.sequence}"
                raise DamagedStore(name, end, f"{found}; {reason or 'the file ends'}", "")
            if reason is not None:
                raise DamagedStore(name, end, f"after the last commit, {replay.sequence}: {reason}", "")
            size += end
        finally:
            file.close()
    replay.follows(live, LIVE)
    replay.durable = replay.sequence
    return size


def _replay_frames(file: File, replay: _Replay, header: LogHeader, name: str) -> tuple[int, str | None, int]:
    """Apply the frames of a log to `replay`.

    Returns where they stop, why (None at a clean end), and their operations.
    """
    replay.follows(header, name)
    commits = LogReader(file, header)
    entries = 0
    for frame, _, body in commits:
        entries += apply(replay.databases, body, frame, name)
        replay.sequence, replay.lineage = frame.sequence, commits.lineage
        replay.time_us = frame.time_us
        replay.durable = max(replay.durable, frame.durable)
    return commits.stopped_at, commits.reason, entries


def _read_live(file: File, replay: _Replay, header: LogHeader, marks: Marks, name: str) -> tuple[int, int, Tail | None]:
    """Read the live log and judge its end.

    Returns its number of operations, the end of its frames, and the torn tail.
    """
    end, reason, entries = _replay_frames(file, replay, header, name)
    promised = max(replay.durable, newest_mark(marks).sequence)
    if reason is not None:
        later = (found.durable for _, found in later_headers(file, end, header.salt))
        promised = max([promised, *later])
    if promised > replay.sequence:
        what = f"commits up to {promised} were on disk, but {replay.sequence + 1} cannot be read"
        raise DamagedStore(name, end, f"{what}: {reason or 'the frames end here'}", "")
    replay.durable = max(replay.durable, promised)
    return entries, end, None if reason is None else Tail(end, reason)
