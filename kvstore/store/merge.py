"""Compaction: merge the checkpoint with the sealed segments into a new checkpoint. Runs in a process of its own.

The segments are read first and reduced to the last state of each key in them; then the old checkpoint is streamed
through: a frame none of whose keys changed is copied as it is, of any other the changed keys are dropped; last come
the changed keys with their new state. So the memory needed is that of the segments' last states, whatever the size of
the checkpoint, and every byte of the input is read and checked: each compaction proves that the files can be
recovered.

Segments of more than some bytes (_PASS_BYTES, see there) are merged in several passes, each for its share of the keys
(by a hash of the key), so that the memory stays bounded however much the log has grown; each pass reads all input
again.

Frames and stretches of `SET`s of one size, the bulk of most tables, are taken in, copied and written as columns (see
`alike_sets`), without a look at each; all else operation by operation, with the same outcome byte for byte.

The child only ever writes one new file under a temporary name of its own. Renaming it over the checkpoint and
removing the segments is left to the server, which holds the lock on the directory: a child that outlives its server
can do no harm.

As a program (see `command`): `python -P -m kvstore.store.merge [--keep-log=DIR] DIR OUTPUT SALT COVERS SEGMENT...`
(with the option it copies the segments to an archive, see there, when the merge is done). A DIR is `NUMBER:PATH`, the
number of a descriptor that it inherits and what to call it: by its path it could find another directory than the
server has open. It prints one JSON line, then waits for the end of its standard input: it keeps the old files open
until the server has removed their names, so that the freeing of their blocks does not fall to the server. It syncs the
directory, so that no power cut brings a name back, and frees them piece by piece: freed at once, hundreds of megabytes
hold up the file system's journal, and with it the server's next sync, for 15 ms and more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple
from zlib import crc32

from kvstore.base.disk import Disk, File, RealDisk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.base.frame import FrameReader
from kvstore.base.limits import MIB
from kvstore.store import checkpoint
from kvstore.store.archive import keep
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader, CheckpointWriter
from kvstore.store.history import NO_HISTORY
from kvstore.store.log import FRAMES_AT, LogHeader, read_log_header
from kvstore.store.operations import (
    AlikeSets,
    Operation,
    alike_sets,
    decode,
    encode_alike_sets,
    encode_set,
    split_history,
)


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

_KEEP_LOG = "--keep-log="

#: Bytes of segments merged in one pass. The last states of their keys take up to three times as much memory. The
#: program takes more in one pass on a machine with more memory: a sixty-fourth of it, up to the second.
_PASS_BYTES = 32 * MIB
_LARGEST_PASS_BYTES = 128 * MIB
_PASSES_IN_MEMORY = 64

#: Keys written at once if they and their values are of one length, and the bytes that they may then take encoded.
_WRITTEN_AT_ONCE = 256
_WRITTEN_AT_ONCE_BYTES = 1 * MIB

_FREED_AT_ONCE_BYTES = 4 * MIB
_FREEING_PAUSE_S = 0.005


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

    def __init__(self, share: Share, history: str = NO_HISTORY) -> None:
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
        alike = alike_sets(body)
        if alike is None:
            self.add_each(decode(body))
        else:
            self.keys.update(self.share.part_of_pairs(alike.pairs))

    def add_each(self, operations: Sequence[Operation]) -> None:
        """Take in operations of any kind."""
        keys = self.keys
        for operation in self.share.part(operations):
            kind = operation[0]
            if kind == b"SET":
                plain = len(operation) == 3
                keys[operation[1]] = operation[2] if plain else KeyState(operation[2], int(operation[4]))
            elif kind == b"DEL":
                keys[operation[1]] = None
            elif kind == b"FLUSHALL":
                keys.clear()
                self.flushed = True
            else:
                before = keys.get(operation[1])
                value = before.value if isinstance(before, KeyState) else before
                deadline = int(operation[2]) if kind == b"PEXPIREAT" else None
                keys[operation[1]] = KeyState(value, deadline)
                self.deadlines_alone |= value is None


def merge(disk: Disk, job: MergeJob, now_us: int, pass_bytes: int = _PASS_BYTES) -> int:
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
            delta = _reduce(segments, Delta(Share(number, passes), history), job)
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
        encoded = _encoded_as_columns(stretch)
        if encoded is not None:
            writer.add_alike(encoded, len(stretch))
        else:
            _write_each(stretch, writer)


def _encoded_as_columns(stretch: list[tuple[bytes, _State]]) -> bytes | None:
    """The operations for keys of one length with plain values of one length; None for any others, or too many bytes."""
    keys, values = zip(*stretch, strict=True)
    if set(map(type, values)) != {bytes} or len(set(map(len, values))) > 1 or len(set(map(len, keys))) > 1:
        return None
    if (len(keys[0]) + len(values[0])) * len(stretch) > _WRITTEN_AT_ONCE_BYTES:
        return None
    return encode_alike_sets(keys, values)


def _write_each(stretch: list[tuple[bytes, _State]], writer: CheckpointWriter) -> None:
    for key, state in stretch:
        if isinstance(state, bytes):
            writer.add(encode_set(key, state), 1)
        elif state is not None and state.value is not None:
            writer.add(encode_set(key, state.value, state.deadline_ms), 1)


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
        alike = None if delta.deadlines_alone else alike_sets(frame.body)
        if alike is not None:
            keys += alike.number
            _copy_alike(frame.body, alike, delta, writer)
        else:
            operations = decode(frame.body)
            keys += len(operations)
            _copy_each(frame.body, operations, delta, writer)
    reader.check_keys(keys)


def _copy_alike(body: bytes, alike: AlikeSets, delta: Delta, writer: CheckpointWriter) -> None:
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
    kept = [encoded for operation in share.part(operations) if (encoded := _merged(operation, changed))]
    writer.add(b"".join(kept), len(kept))


def _merged(operation: Operation, changed: dict[bytes, _State]) -> bytes | None:
    """The operation for a key of the old checkpoint as it is now, or None if it is gone or has a new value."""
    key = operation[1]
    if key not in changed:
        return encode_set(key, operation[2], int(operation[4]) if len(operation) == 5 else None)
    state = changed[key]
    if isinstance(state, KeyState) and state.value is None:
        return encode_set(key, operation[2], state.deadline_ms)
    return None


def command(disk: RealDisk, job: MergeJob, archive: RealDisk | None) -> tuple[list[str], tuple[int, ...]]:
    """How to run the program: its words, and the descriptors that it is to inherit.

    -P: it imports nothing from where it runs, such as a file json.py beside the data.
    """
    option = [] if archive is None else [_KEEP_LOG + _word(archive)]
    words = [sys.executable, "-P", "-m", "kvstore.store.merge", *option, _word(disk), job.output, str(job.salt)]
    descriptors = tuple(place.descriptor for place in (disk, archive) if place is not None)
    return [*words, str(job.covers), *job.segments], descriptors


def _word(disk: RealDisk) -> str:
    return f"{disk.descriptor}:{disk.path}"


def _inherited(word: str) -> RealDisk:
    number, path = word.split(":", 1)
    return RealDisk(path, int(number))


def main(arguments: list[str]) -> int:
    """The program; see the module's docstring. Returns the exit status."""
    archive = _inherited(arguments.pop(0).removeprefix(_KEEP_LOG)) if arguments[0].startswith(_KEEP_LOG) else None
    directory, output, salt, covers, *segments = arguments
    with contextlib.suppress(OSError):
        os.nice(10)
    disk = _inherited(directory)
    job = MergeJob(segments, output, int(covers), int(salt))
    with contextlib.ExitStack() as files:
        old: list[File] = []
        try:
            for name in [*segments, checkpoint.NAME]:
                with contextlib.suppress(FileNotFoundError):
                    old.append(disk.open(name))
                    files.callback(old[-1].close)
            started = time.monotonic()
            size = merge(disk, job, time.time_ns() // 1000, _pass_bytes())
            if archive is not None:
                archive.check()
                with archive.alone():
                    keep(disk, segments, archive)
                archive.check()
            report = {"bytes": size, "seconds": round(time.monotonic() - started, 3)}
        except (KVStoreError, OSError) as error:
            report = {"error": str(error)}  # type: ignore[dict-item]
        print(json.dumps(report), flush=True)
        sys.stdin.buffer.read()
        for _ in free(disk, old):
            time.sleep(_FREEING_PAUSE_S)
    return 1 if "error" in report else 0


def _pass_bytes() -> int:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(max(_PASS_BYTES, memory_bytes // _PASSES_IN_MEMORY), _LARGEST_PASS_BYTES)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
