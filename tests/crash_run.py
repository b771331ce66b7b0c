"""Runs of the store on a simulated disk that records them, so that a crash at every call in them can be tried.

A `Run` is a server without its edge, but for the edge's writers: it makes commits as the edge would under one of the
sync policies, compacts, dies and starts again, and keeps a dict model beside the table. The merging process is part of
it: commits go on while it merges, and while it frees what it merged. Where the sync is overlapped,
all of that goes on between its beginning and its end. Its `History` (see `crash_history`) says what a crash may leave.

What a crash leaves is explored by `crash_explore`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.edge.writers import InLoopWriter, OverlappedWriter, Writer
from kvstore.store import checkpoint, log
from kvstore.store import merge as merging
from kvstore.store.merge import MergeJob, free, merge
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.simulated_syncer import SimulatedSyncer
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.crash_history import History, Violation, checked

#: Those of `--sync`; "overlapped" is "always" with `--overlap always`.
POLICIES = ("always", "overlapped", "everysec", "no")


@contextlib.contextmanager
def small_files(zero_fill_bytes: int = 2048) -> Iterator[None]:
    """Make the store's units small, so that short runs cross their borders: the log grows, checkpoints have frames."""
    with (
        mock.patch.object(log, "ZERO_FILL_BYTES", zero_fill_bytes),
        mock.patch.object(checkpoint, "_FRAME_BYTES", 400),
        mock.patch.object(checkpoint, "_SYNC_EVERY_BYTES", 6000),
        mock.patch.object(merging, "_FREED_AT_ONCE_BYTES", 1500),
    ):
        yield


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


class _NoReactor:
    """What a writer needs of a reactor: here the run calls its `doRead`."""

    def addReader(self, reader: object) -> None:
        """See IReactorFDSet."""


class Run:
    """One server after another on one simulated disk, beside a dict model.

    `sync`: one of POLICIES. `history`: what the first recovery may find, for a disk with a past. `tight`: now and then
    the disk is full. Raises Violation.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        seed: str,
        sync: str = "always",
        history: History | None = None,
        *,
        tight: bool = False,
    ) -> None:
        self.disk = disk
        self.tight = tight
        self.sync = sync
        self.durable = sync in ("always", "overlapped")
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = Clock(seed)
        self.history = history or History()
        self.values: dict[bytes, bytes] = {}
        self.deadlines: dict[bytes, int] = {}
        self.job: MergeJob | None = None
        self.freeing: Iterator[None] = iter(())  # what is left to do of a merging process whose server has finished
        self.refused = 0  # requests refused for want of room, compactions that could not begin or end
        self.store = self.start()

    # Starting and dying

    def start(self) -> Store:
        """Recover, check what was found, and go on from there."""
        store = Store(self.disk, TYPES, self.clock.now_us, self.clock.random_bytes)
        found = store.durable_sequence
        self.values, self.deadlines = checked(store, self.history, self.disk.changes, f"restart in {self.seed}")
        self.history.restart(self.disk.changes, found)
        self.job = None
        self.store = store
        self.syncer = SimulatedSyncer()
        self.writer: Writer = InLoopWriter(store, sync=self.durable)
        if self.sync == "overlapped":
            self.writer = OverlappedWriter(store, _NoReactor(), self.syncer)
        return store

    def die(self) -> None:
        """kill -9: the lock is free; the page cache stays. A sync under way may end, well or not, unheard.

        The merging process hears that its server is gone, and frees what has no name any more, if it is not killed too.
        """
        if self.random.random() < 0.5:
            self.syncer.end()
        if self.random.random() < 0.5:
            self.freeing = iter(())
        self.store.log.close()
        self.disk.unlock()

    # What the edge does

    def commit(self) -> None:
        """Close the open commit and put it on disk as the policy says, if none is in flight."""
        if self.store.in_flight is not None and self.random.random() < 0.7:
            self.end_sync()
        commit = self.store.close_commit() if self.store.in_flight is None else None
        if commit is not None:
            self.write(commit)

    def write(self, commit: Commit) -> None:
        """Put a closed commit on disk as the policy says."""
        self.history.ask(self.disk.changes, commit.sequence, (dict(self.values), dict(self.deadlines)))
        self.writer.begin(commit, lambda fault: self._done(commit, fault))

    def _done(self, commit: Commit, fault: StorageFault | None) -> None:
        if fault is not None:
            raise fault
        self.store.settle(commit, durable=self.durable)
        self.promise()

    def end_sync(self) -> None:
        """The sync under way ends, and the server hears of it; now and then it looks too early, too."""
        if isinstance(self.writer, OverlappedWriter):
            if self.random.random() < 0.2:
                self.writer.doRead()
            self.syncer.end()
            self.writer.doRead()

    def promise(self) -> None:
        """Believe what the store says is durable."""
        self.history.promise(self.disk.changes, self.store.durable_sequence)

    def tick(self) -> None:
        """What happens once a second: the second's sync, then the mark."""
        if self.sync == "everysec":
            written = self.store.written_sequence()
            self.store.sync()
            self.store.note_durable(written)
            self.promise()
            self.store.mark()
        else:
            self.store.mark_and_sync()
        self.store.check_files()
        self.store.measure_volume()

    def request(self) -> None:
        """One request, of one to five operations, all or (on a full disk) none; or a pipeline of requests."""
        if self.random.random() < 0.12:
            self.pipeline()
        else:
            self._request()
        self.compare()

    def _request(self) -> None:
        before = dict(self.values), dict(self.deadlines)
        try:
            for _ in range(self.random.choice((1, 1, 1, 2, 5))):
                self.operation()
        except StorageFull:
            self.store.pending.take_back()
            self.values, self.deadlines = before
            self.refused += 1
        else:
            self.store.pending.undo.clear()
            self.store.pending.requests += 1

    def pipeline(self) -> None:
        """Many requests at once: SETs as columns; one by one, until the disk is full, where that cannot be."""
        table, pick = self.store.table, self.random
        keys = [self._key() for _ in range(pick.randrange(2, 12))]
        values = [pick.randbytes(pick.choice((0, 3, 30, 200))) for _ in keys]
        written = 0
        try:
            if table.write_strings(keys, values, b"".join(map(encode_set, keys, values))):
                written = len(keys)
            while written < len(keys):
                table.write(keys[written], values[written])
                written += 1
        except StorageFull:
            self.refused += 1
        table.pending.undo.clear()
        table.pending.requests += written
        for key, value in zip(keys[:written], values, strict=False):
            self.values[key] = value
            self._set_deadline(key, None)

    def read(self) -> None:
        """What a read tells without waiting is on disk. Raises Violation."""
        store = self.store
        keys = [self._key(), self._key()]
        newest = store.table.commit_for_keys(keys)
        if newest != max(map(store.table.commit_for_key, keys)):
            raise Violation(f"{self.seed}: both ways to ask what a read waits for must agree")
        values, deadlines = self.history.state(self.disk.changes, store.durable_sequence)
        if newest <= store.settled_sequence():
            for key in keys:
                if (self.values.get(key), self.deadlines.get(key)) != (values.get(key), deadlines.get(key)):
                    raise Violation(f"{self.seed}: a read of {key!r} tells what is not on disk")
        if store.commit_for_table() <= store.settled_sequence() and (self.values, self.deadlines) != (
            values,
            deadlines,
        ):
            raise Violation(f"{self.seed}: a read of the whole table tells what is not on disk")

    def _key(self) -> bytes:
        return b"key-%d" % self.random.randrange(9)

    def operation(self) -> None:
        """One change of the table, and of the model."""
        table, pick = self.store.table, self.random
        key = self._key()
        kind = pick.choice(("set", "set", "set", "large", "deadline", "delete", "expire", "persist", "flush", "tick"))
        if kind in ("set", "large", "deadline"):
            value = pick.randbytes(pick.choice((0, 3, 30))) if kind != "large" else pick.randbytes(700)
            deadline = self.clock.us // 1000 + pick.randrange(1, 3000) if kind == "deadline" else None
            table.write(key, value, deadline)
            self.values[key] = value
            self._set_deadline(key, deadline)
        elif kind == "delete":
            table.delete(key)
            self._forget(key)
        elif kind == "flush" and pick.random() < 0.2:
            table.flush()
            self.values, self.deadlines = {}, {}
        elif kind in ("expire", "persist") and key in self.values:
            deadline = self.clock.us // 1000 + pick.randrange(1, 3000) if kind == "expire" else None
            table.set_deadline(key, deadline)
            self._set_deadline(key, deadline)
        elif kind == "tick":
            self.clock.us += 1_000_000

    def remove_expired(self) -> None:
        """What the edge does now and then: expired keys go for good, as a change of their own."""
        table = self.store.table
        for key in [key for key, deadline in self.deadlines.items() if deadline <= self.clock.us // 1000]:
            if table.remove_expired(1):
                gone = [key for key in self.values if key not in table.values]
                for key in gone:
                    self._forget(key)
        table.pending.undo.clear()
        self.compare()

    def _set_deadline(self, key: bytes, deadline: int | None) -> None:
        self.deadlines.pop(key, None)
        if deadline is not None:
            self.deadlines[key] = deadline

    def _forget(self, key: bytes) -> None:
        self.values.pop(key, None)
        self.deadlines.pop(key, None)

    def compare(self) -> None:
        """The table and the model agree."""
        if self.store.table.values != self.values or self.store.table.deadlines != self.deadlines:
            raise Violation(f"{self.seed}: the table differs from the model")

    # Compaction

    def seal(self) -> None:
        """Begin a compaction, between two commits; what cannot begin is tried later."""
        self.end_sync()
        if self.job is None and self.store.can_compact():
            try:
                self.job = self.store.seal()
            except (StorageFull, OSError):
                self.refused += 1
            self.promise()

    def merge(self) -> None:
        """Compact, with commits in the middle of it; then put the result in place, or give it up."""
        if self.job is None:
            return
        try:
            beside = _Beside(self.disk, self._meanwhile)
            old = [self.disk.open(name) for name in (*self.job.segments, checkpoint.NAME) if name in self.disk.names()]
            size = merge(beside, TYPES, self.job, self.clock.now_us(), self.random.choice((8000, 1 << 20)))  # type: ignore[arg-type]
        except OSError:
            self.refused += 1
            self.store.abandon_compaction()
            self.job = None
            return
        self.finish(size)
        self.freeing = free(self.disk, old)

    def finish(self, size: int) -> None:
        """Put the new checkpoint in place."""
        self.store.finish_compaction(size)
        self.job = None

    def _meanwhile(self) -> None:
        if self.random.random() < 0.3:
            self.request()
            self.commit()
        if self.random.random() < 0.2:
            self.end_sync()

    # The workload

    def step(self) -> None:
        """One turn of the loop, or one of the rarer things."""
        if self.tight and self.random.random() < 0.2:
            used = sum(map(len, self.disk.contents().values()))
            self.disk.capacity_bytes = self.random.choice((None, used, used + 3000))
        if self.random.random() < 0.3:
            self.random.choice((self.syncer.end, self.end_sync))()
        if self.random.random() < 0.5:
            next(self.freeing, None)
        if self.durable:
            self.read()
        chance = self.random.random()
        if chance < 0.72:
            for _ in range(self.random.choice((1, 1, 2, 3))):
                self.request()
            if self.random.random() < 0.8:
                self.commit()
        elif chance < 0.80:
            self.commit()
            self.tick()
        elif chance < 0.86:
            self.remove_expired()
            self.commit()
        elif chance < 0.92:
            self.seal()
        elif chance < 0.97:
            self.merge()
        else:
            self.die()
            self.start()

    def steps(self, count: int) -> Run:
        """So many steps; returns itself."""
        for _ in range(count):
            self.step()
        return self


class _Beside:
    """The disk as the merging process sees it: before each of its changes the server may do something."""

    def __init__(self, inner: Any, meanwhile: Callable[[], None]) -> None:
        self._inner = inner
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any) -> Any:
            if name in ("create", "write_at", "sync", "open_read"):
                self._meanwhile()
            result = method(*arguments)
            return _Beside(result, self._meanwhile) if name in ("create", "open_read") else result

        return call
