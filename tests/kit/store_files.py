"""Logs and checkpoints with the content that a test wants, and stores whose commits go to the disk at once."""

from __future__ import annotations

import random

from kvstore.base.disk import Disk
from kvstore.base.frame import encode_frame
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointHeader, CheckpointReader, CheckpointWriter
from kvstore.store.examine import LIVE
from kvstore.store.log import LogHeader, create_log
from kvstore.store.store import Commit, Store
from kvstore.values.strings import encode_set
from tests.kit.harness import replay

STORE = "0123456789abcdef" * 2
SALT = 0x5A17

#: Values and deadlines of one database.
State = tuple[dict[bytes, bytes], dict[bytes, int]]


class Clock:
    """A wall clock in microseconds that tests move, and a source of bytes that repeats."""

    def __init__(self, seed: str) -> None:
        self.us = 1_700_000_000_000_000
        self._random = random.Random(seed)

    def now_us(self) -> int:
        """See `Store`."""
        self.us += 7
        return self.us

    def random_bytes(self, count: int) -> bytes:
        """See `Store`."""
        return self._random.randbytes(count)


def write_log(disk: Disk, name: str, first: int, bodies: list[bytes]) -> None:
    """A log that holds these frames, the first of them numbered `first`."""
    log = create_log(disk, name, LogHeader(STORE, SALT, first, 0))
    for sequence, body in enumerate(bodies, first):
        log.reserve(len(body))
        frame = encode_frame(sequence, sequence - 1, 0, body, SALT)
        log.write(log.claim(len(frame)), frame)
    log.sync()
    if name != LIVE:
        log.mark_sealed(first + len(bodies) - 1)
    log.close()


def write_checkpoint(disk: Disk, state: State, covers: int, database: int = 0) -> None:
    """A checkpoint of a state of one database."""
    writer = CheckpointWriter(disk, checkpoint.NAME, CheckpointHeader(STORE, SALT, covers, 0))
    writer.select(database)
    for key, value in state[0].items():
        writer.add(encode_set(key, value, state[1].get(key)), 1)
    writer.finish()


def read_checkpoint(disk: Disk, name: str) -> State:
    """The state in a checkpoint."""
    values: dict[bytes, bytes] = {}
    found: dict[bytes, int] = {}
    file = disk.open_read(name)
    reader = CheckpointReader(file, name)
    for frame in reader.frames():
        replay(frame.body, values, found)
    reader.check_keys(len(values))
    file.close()
    return values, found


def commit(store: Store) -> Commit | None:
    """Put what changed on disk, as the end of a turn does; returns it, None if nothing changed."""
    closed = store.close_commit()
    if closed is not None:
        store.write(closed)
        store.sync()
        store.settle(closed, durable=True)
    return closed
