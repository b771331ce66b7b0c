"""Compaction: merge the checkpoint with the sealed segments into a new checkpoint. Runs in a process of its own.

The segments are read first and reduced to the last state of each key in them; then the old checkpoint is streamed
through: a frame none of whose keys changed is copied as it is, of any other the changed keys are dropped; last come
the changed keys with their new state. So the memory needed is that of the segments' last states, whatever the size of
the checkpoint, and every byte of the input is read and checked: each compaction proves that the files can be
recovered.

Segments of more than some bytes (PASS_BYTES, see there) are merged in several passes, each for its share of the keys
(by a hash of the key), so that the memory stays bounded however much the log has grown; each pass reads all input
again.

Frames and stretches of `SET`s of one size, the bulk of most tables, are taken in, copied and written as columns (see
`alike_sets`), without a look at each; all else operation by operation, with the same outcome byte for byte.

The child only ever writes one new file under a temporary name of its own. Renaming it over the checkpoint and
removing the segments is left to the server, which holds the lock on the directory: a child that outlives its server
can do no harm.

The old files are held open until the server has removed their names, so that the freeing of their blocks does not
fall to the server (see `free`): freed at once, hundreds of megabytes hold up the file system's journal, and with it the
server's next sync, for 15 ms and more. The program around all this is `kvstore.edge.merge_process`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple
from zlib import crc32

from kvstore.base.disk import Disk, File
from kvstore.base.errors import DamagedStore
from kvstore.base.frame import FrameReader
from kvstore.base.limits import MIB
from kvstore.base.value_type import Alike, Types
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader, CheckpointWriter
from kvstore.store.history import NO_HISTORY
from kvstore.store.log import FRAMES_AT, LogHeader, read_log_header
from kvstore.store.operations import DELETE, EXPIRE, FLUSH_ALL, FLUSH_DATABASE, Operation, decode, split_history


class MergeJob(NamedTuple):
    """What is to be merged: `segments` in order, into `output`; the result covers commits up to `covers`."""

    segments: list[str]
    output: str
    covers: int
    salt: int


class KeyState(NamedTuple):
    """The last state of a key that exists, if it is more than a value without a deadline.

    `value`: None when the segments say only what its deadline is. `deadline_ms`: None for none.
    """

    value: bytes | None
    deadline_ms: int | None


#: The last state of a key in the segments: usually just its value; None when it is gone.
_State = bytes | KeyState | None

#: Bytes of segments merged in one pass. The last states of their keys take up to three times as much memory.
PASS_BYTES = 32 * MIB

#: Keys written at once if they and their values are of one length, and the bytes that they may then take encoded.
_WRITTEN_AT_ONCE = 256
_WRITTEN_AT_ONCE_BYTES = 1 * MIB

_FREED_AT_ONCE_BYTES = 4 * MIB


class Share(NamedTuple):
    """The keys that one pass is about: number `number` of `of` equal shares."""

    number: int
    of: int

    def part(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Those of the operations that this pass is about: on its keys, and on all keys."""
        number, of = self
        if of == 1:
            return operations
        return [operation for operation in operations if len(operation) == 1 or crc32(operation[1]) % of == number]

    def part_of_pairs(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
        """Those of the pairs of key and value whose keys this pass is about."""
        number, of = self
        return pairs if of == 1 else [pair for pair in pairs if crc32(pair[0]) % of == number]


class Segment(NamedTuple):
    """A sealed segment, open."""

    name: str
    file: File
    header: LogHeader


class Delta:
    """The segments, reduced: the last state of each key of `share` they name, and whether everything was flushed.

    `time_us`, `history`: of their last commit. `deadlines_alone`: whether of some key they name a deadline, no value.
    """

    def __init__(self, types: Types, share: Share, history: str = NO_HISTORY) -> None:
        self.types = types
        self.history = history
        self.keys: dict[bytes, _State] = {}
        self.flushed = False
        self.deadlines_alone = False
        self.share = share
        self.time_us = 0

    def add(self, body: bytes) -> None:
        """Take in the operations of one frame: its body, whose checksum was verified. Raises BadOperation."""
        begun, body = split_history(body)
        if begun is not None:
            self.history = begun.identity
        alike = self.types.plain.alike(body)
        if alike is None:
            self.add_each(decode(body))
        else:
            self.keys.update(self.share.part_of_pairs(alike.pairs))

    def add_each(self, operations: Sequence[Operation]) -> None:
        """Take in operations of any kind."""
        keys = self.keys
        for operation in self.share.part(operations):
            kind = operation[0]
            if kind == self.types.plain.operation:
                plain = len(operation) == 3
                keys[operation[1]] = operation[2] if plain else KeyState(operation[2], int(operation[4]))
            elif kind == DELETE:
                keys[operation[1]] = None
            elif kind in (FLUSH_ALL, FLUSH_DATABASE):
                keys.clear()
                self.flushed = True
            else:
                before = keys.get(operation[1])
                value = before.value if isinstance(before, KeyState) else before
                deadline = int(operation[2]) if kind == EXPIRE else None
                keys[operation[1]] = KeyState(value, deadline)
                self.deadlines_alone |= value is None


def merge(disk: Disk, types: Types, job: MergeJob, now_us: int, pass_bytes: int = PASS_BYTES) -> int:
    """Write the new checkpoint under its temporary name; returns its size in bytes. `pass_bytes`: see the module.

    Raises DamagedStore if an input cannot be recovered, OSError. Durability: the content is on disk, the name is not.
    """
    with contextlib.ExitStack() as files:
        segments = [_open_segment(disk, files, name) for name in job.segments]
        passes = 1 + sum(segment.file.size() for segment in segments) // pass_bytes
        base = _open(disk, files, checkpoint.NAME) if checkpoint.NAME in disk.names() else None
        base_us, history = _check_fit(base, segments)
        writer = None
        for number in range(passes):
            delta = _reduce(segments, Delta(types, Share(number, passes), history), job)
            if writer is None:
                created_us = max(now_us, base_us, delta.time_us)  # the clock may have been set back
                header = CheckpointHeader(segments[0].header.store, job.salt, job.covers, created_us, delta.history)
                writer = CheckpointWriter(disk, job.output, header)
                files.callback(writer.abandon)
            _write_share(delta, base, writer)
            del delta  # before the next is made: only one share at a time is in memory
        assert writer is not None
        return writer.finish()


def _write_share(delta: Delta, base: File | None, writer: CheckpointWriter) -> None:
    """Write the keys of one share."""
    if base is not None:
        _copy_old(base, delta, writer)
    states = iter(delta.keys.items())
    while stretch := list(islice(states, _WRITTEN_AT_ONCE)):
        encoded = _encoded_as_columns(delta.types, stretch)
        if encoded is not None:
            writer.add_alike(encoded, len(stretch))
        else:
            _write_each(delta.types, stretch, writer)


def _encoded_as_columns(types: Types, stretch: list[tuple[bytes, _State]]) -> bytes | None:
    """The operations for keys of one length with plain values of one length; None for any others, or too many bytes."""
    keys, values = zip(*stretch, strict=True)
    if set(map(type, values)) != {bytes} or len(set(map(len, values))) > 1 or len(set(map(len, keys))) > 1:
        return None
    if (len(keys[0]) + len(values[0])) * len(stretch) > _WRITTEN_AT_ONCE_BYTES:
        return None
    return types.plain.encode_alike(keys, values)


def _write_each(types: Types, stretch: list[tuple[bytes, _State]], writer: CheckpointWriter) -> None:
    for key, state in stretch:
        if isinstance(state, bytes):
            writer.add(types.plain.encode(key, state, None), 1)
        elif state is not None and state.value is not None:
            writer.add(types.plain.encode(key, state.value, state.deadline_ms), 1)


def _open(disk: Disk, files: contextlib.ExitStack, name: str) -> File:
    file = disk.open_read(name)
    files.callback(file.close)
    return file


def _open_segment(disk: Disk, files: contextlib.ExitStack, name: str) -> Segment:
    file = _open(disk, files, name)
    return Segment(name, file, read_log_header(file, name))


def _check_fit(base: File | None, segments: list[Segment]) -> tuple[int, str]:
    """Refuse a checkpoint that does not end where the segments begin; returns its time, 0 for none, and its history.

    Somebody may have removed it, or put back an older one, under the running server: what is merged with that, or with
    none, would lack every key that the segments do not name.
    """
    first, store, history = segments[0].header.first, segments[0].header.store, segments[0].header.history
    for segment in segments:
        if segment.header.store != store:
            raise DamagedStore(segment.name, 0, "it belongs to another data directory", "")
    if base is None:
        if first == 1:
            return 0, history
        raise DamagedStore(checkpoint.NAME, 0, f"it is missing; it should hold the commits before {first}", "")
    header = CheckpointReader(base).header
    if header.store != store:
        raise DamagedStore(checkpoint.NAME, 0, "it belongs to another data directory", "")
    if header.covers != first - 1:
        reason = f"it ends with commit {header.covers}, but the segments begin with {first}"
        raise DamagedStore(checkpoint.NAME, 0, reason, "")
    if history not in (header.history, NO_HISTORY):
        reason = f"it is of history {header.history}, but the segments go on from {history}"
        raise DamagedStore(checkpoint.NAME, 0, reason, "")
    return header.created_us, header.history


def _reduce(segments: list[Segment], delta: Delta, job: MergeJob) -> Delta:
    """Read the segments, checking that they run without a gap up to the last commit of the job."""
    sequence = segments[0].header.first - 1
    for name, file, header in segments:
        reader = FrameReader(file, FRAMES_AT, header.salt)
        for frame in reader:
            if frame.sequence != sequence + 1:
                raise DamagedStore(name, frame.offset, f"commit {frame.sequence}, not {sequence + 1}", "")
            sequence = frame.sequence
            delta.time_us = frame.time_us
            delta.add(frame.body)
        if reader.reason is not None:
            raise DamagedStore(name, reader.stopped_at, reader.reason, "")
    if sequence != job.covers:
        raise DamagedStore(job.segments[-1], 0, f"the segments end with commit {sequence}, not {job.covers}", "")
    return delta


def _copy_old(file: File, delta: Delta, writer: CheckpointWriter) -> None:
    """Stream the delta's share of the old checkpoint into the new one, without what the segments changed."""
    reader = CheckpointReader(file)
    keys = 0
    for frame in reader.frames():
        # A new deadline for an old value takes a look at each operation.
        alike = None if delta.deadlines_alone else delta.types.plain.alike(frame.body)
        if alike is not None:
            keys += alike.number
            _copy_alike(frame.body, alike, delta, writer)
        else:
            operations = decode(frame.body)
            keys += len(operations)
            _copy_each(frame.body, operations, delta, writer)
    reader.check_keys(keys)


def _copy_alike(body: bytes, alike: Alike, delta: Delta, writer: CheckpointWriter) -> None:
    """Copy what is left of a frame of `SET`s of one size, none of which gets just another deadline."""
    if delta.flushed:
        return
    changed, (number, of) = delta.keys, delta.share
    keys = [key for key, _ in alike.pairs]
    if of == 1 and changed.keys().isdisjoint(keys):
        writer.add(body, alike.number)
        return
    size = alike.size
    kept = [
        body[at : at + size]
        for at, key in zip(range(0, len(body), size), keys, strict=True)
        if crc32(key) % of == number and key not in changed
    ]
    writer.add(b"".join(kept), len(kept))


def _copy_each(body: bytes, operations: list[Operation], delta: Delta, writer: CheckpointWriter) -> None:
    """The same for a frame of any operations of a checkpoint."""
    if delta.flushed:
        return
    changed, share = delta.keys, delta.share
    if share.of == 1 and changed.keys().isdisjoint([operation[1] for operation in operations]):
        writer.add(body, len(operations))
        return
    kept = [encoded for operation in share.part(operations) if (encoded := _merged(delta.types, operation, changed))]
    writer.add(b"".join(kept), len(kept))


def _merged(types: Types, operation: Operation, changed: dict[bytes, _State]) -> bytes | None:
    """The operation for a key of the old checkpoint as it is now, or None if it is gone or has a new value."""
    key = operation[1]
    if key not in changed:
        return types.plain.encode(key, operation[2], int(operation[4]) if len(operation) == 5 else None)
    state = changed[key]
    if isinstance(state, KeyState) and state.value is None:
        return types.plain.encode(key, operation[2], state.deadline_ms)
    return None


def free(disk: Disk, files: Sequence[File]) -> Iterator[None]:
    """Give back the blocks of those of the files that have no name any more, piece by piece; yields after each.

    The others are left as they are. The directory is synced first: else a power cut could bring a name back, and with
    it what is left of the file. Raises OSError.
    """
    nameless = [file for file in files if not file.is_linked()]
    disk.sync_directory()
    for file in nameless:
        while size := file.size():
            file.truncate(max(0, size - _FREED_AT_ONCE_BYTES))
            yield
