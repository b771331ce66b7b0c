"""Compaction: merge the checkpoint with the sealed segments into a new checkpoint. Runs in a process of its own.

The segments are read first and reduced to the last state of each key in them; then the old checkpoint is streamed
through: a frame none of whose keys changed is copied as it is, of any other the changed keys are dropped; last come
the changed keys with their new state. So the memory needed is that of the segments' last states, whatever the size of
the checkpoint, and every byte of the input is read and checked: each compaction proves that the files can be
recovered.

The child only ever writes one new file under a temporary name of its own. Renaming it over the checkpoint and
removing the segments is left to the server, which holds the lock on the directory: a child that outlives its server
can do no harm.

As a program: `python -m kvstore.store.merge DIRECTORY OUTPUT SALT COVERS SEGMENT...` prints one JSON line, then waits
for the end of its standard input: it keeps the old files open until the server has removed their names, so that the
freeing of their blocks does not fall to the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from kvstore.base.disk import Disk, File, RealDisk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.base.frame import FrameReader
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader, CheckpointWriter
from kvstore.store.log import FRAMES_AT, read_log_header
from kvstore.store.operations import Operation, decode, encode_set


class MergeJob(NamedTuple):
    """What is to be merged: `segments` in order, into `output`; the result covers commits up to `covers`."""

    segments: list[str]
    output: str
    covers: int
    salt: int


class KeyState(NamedTuple):
    """The last state of one key in the segments.

    `value`: None when the segments say only what its deadline is, or that it is gone. `deadline_ms`: None for none.
    """

    exists: bool
    value: bytes | None
    deadline_ms: int | None


GONE = KeyState(False, None, None)


class Delta:
    """The segments, reduced: the last state of each key they name, and whether everything before them was flushed."""

    def __init__(self) -> None:
        self.keys: dict[bytes, KeyState] = {}
        self.flushed = False

    def add(self, operations: Sequence[Operation]) -> None:
        """Take in the operations of one frame."""
        for operation in operations:
            kind = operation[0]
            if kind == b"FLUSHALL":
                self.keys.clear()
                self.flushed = True
            elif kind == b"SET":
                deadline = int(operation[4]) if len(operation) == 5 else None
                self.keys[operation[1]] = KeyState(True, operation[2], deadline)
            elif kind == b"DEL":
                self.keys[operation[1]] = GONE
            else:
                before = self.keys.get(operation[1])
                deadline = int(operation[2]) if kind == b"PEXPIREAT" else None
                self.keys[operation[1]] = KeyState(True, before.value if before else None, deadline)


def merge(disk: Disk, job: MergeJob, now_us: int) -> int:
    """Write the new checkpoint under its temporary name; returns its size in bytes.

    Raises DamagedStore if an input cannot be recovered, OSError. Durability: the content is on disk, the name is not.
    """
    with contextlib.ExitStack() as files:
        delta, store = _reduce(disk, files, job)
        header = CheckpointHeader(store, job.salt, job.covers, now_us)
        old = _open(disk, files, checkpoint.NAME) if checkpoint.NAME in disk.names() else None
        writer = CheckpointWriter(disk, job.output, header)
        try:
            if old is not None:
                _copy_old(old, delta, writer)
            for key, state in delta.keys.items():
                if state.exists and state.value is not None:
                    writer.add(encode_set(key, state.value, state.deadline_ms), 1)
            return writer.finish()
        finally:
            writer.abandon()


def _open(disk: Disk, files: contextlib.ExitStack, name: str) -> File:
    file = disk.open_read(name)
    files.callback(file.close)
    return file


def _reduce(disk: Disk, files: contextlib.ExitStack, job: MergeJob) -> tuple[Delta, str]:
    """Read the segments, checking that they run without a gap up to the last commit of the job."""
    delta = Delta()
    sequence = None
    store = ""
    for name in job.segments:
        file = _open(disk, files, name)
        header = read_log_header(file, name)
        store = header.store
        sequence = header.first - 1 if sequence is None else sequence
        reader = FrameReader(file, FRAMES_AT, header.salt)
        for frame in reader:
            if frame.sequence != sequence + 1:
                raise DamagedStore(name, frame.offset, f"commit {frame.sequence}, not {sequence + 1}", "")
            sequence = frame.sequence
            delta.add(decode(frame.body))
        if reader.reason is not None:
            raise DamagedStore(name, reader.stopped_at, reader.reason, "")
    if sequence != job.covers:
        raise DamagedStore(job.segments[-1], 0, f"the segments end with commit {sequence}, not {job.covers}", "")
    return delta, store


def _copy_old(file: File, delta: Delta, writer: CheckpointWriter) -> None:
    """Stream the old checkpoint into the new one, without what the segments changed; those keys leave `delta`."""
    reader = CheckpointReader(file)
    changed = delta.keys
    keys = 0
    for frame in reader.frames():
        operations = decode(frame.body)
        keys += len(operations)
        if delta.flushed:
            continue
        if changed.keys().isdisjoint([operation[1] for operation in operations]):
            writer.add(frame.body, len(operations))
            continue
        kept = [encoded for operation in operations if (encoded := _merged(operation, changed))]
        writer.add(b"".join(kept), len(kept))
    reader.check_keys(keys)


def _merged(operation: Operation, changed: dict[bytes, KeyState]) -> bytes | None:
    """The operation for a key of the old checkpoint as it is now, or None if it is gone or has a new value."""
    key = operation[1]
    state = changed.get(key)
    if state is None:
        return encode_set(key, operation[2], int(operation[4]) if len(operation) == 5 else None)
    if state.exists and state.value is None:
        return encode_set(key, operation[2], state.deadline_ms)
    return None


def main(arguments: list[str]) -> int:
    """The program; see the module's docstring. Returns the exit status."""
    directory, output, salt, covers, *segments = arguments
    with contextlib.suppress(OSError):
        os.nice(19)
    disk = RealDisk(directory)
    job = MergeJob(segments, output, int(covers), int(salt))
    with contextlib.ExitStack() as files:
        try:
            for name in [*segments, checkpoint.NAME]:
                with contextlib.suppress(FileNotFoundError):
                    _open(disk, files, name)
            started = time.monotonic()
            size = merge(disk, job, time.time_ns() // 1000)
            report = {"bytes": size, "seconds": round(time.monotonic() - started, 3)}
        except (KVStoreError, OSError) as error:
            report = {"error": str(error)}  # type: ignore[dict-item]
        print(json.dumps(report), flush=True)
        sys.stdin.buffer.read()
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
