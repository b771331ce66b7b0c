"""Runs of the store on a simulated disk that records them, so that a crash at every call in them can be tried.

A `Run` is a server without its edge, but for the edge's writers: it makes commits as the edge would under one of the
sync policies, compacts, dies and starts again. Its requests keep a model beside the databases (see `crash_requests`).
The merging process is part of it: commits go on while it merges, and while it frees what it merged. Where the sync is
overlapped, all of that goes on between its beginning and its end. Its `History` (see `crash_history`) says what a crash
may leave.

What a crash leaves is explored by `explore`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.edge.writers import InLoopWriter, OverlappedWriter, Writer
from kvstore.store import checkpoint, garbage, log
from kvstore.store import merge as merging
from kvstore.store.merge import MergeJob, free, merge
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.simulated_syncer import SimulatedSyncer
from kvstore.values import TYPES, blocks, lists, two_forms
from tests.kit.store_files import Clock
from tests.suites.crashes.history import History, Violation, checked
from tests.suites.crashes.model import Content
from tests.suites.crashes.requests import DATABASES, KEYS, Requests

#: Those of `--sync`; "overlapped" is "always" with `--overlap always`.
POLICIES = ("always", "overlapped", "everysec", "no")


@contextlib.contextmanager
def small_files(zero_fill_bytes: int = 2048) -> Iterator[None]:
    """Make the store's units small, so that short runs cross their borders: the log grows, checkpoints have frames,
    values are built by several operations.
    """
    with (
        mock.patch.object(log, "ZERO_FILL_BYTES", zero_fill_bytes),
        mock.patch.object(checkpoint, "_FRAME_BYTES", 400),
        mock.patch.object(checkpoint, "_SYNC_EVERY_BYTES", 6000),
        mock.patch.object(merging, "_FREED_AT_ONCE_BYTES", 1500),
        mock.patch.object(garbage, "_SMALL_ELEMENTS", 3),
        mock.patch.object(blocks, "_BLOCK_BYTES", 300),
        mock.patch.object(lists, "_WHOLE_BYTES", 200),
        mock.patch.object(two_forms, "WHOLE_BYTES", 200),
    ):
        yield


def open_store(disk: SimulatedDisk, clock: Clock) -> Store:
    """Recover what is on the disk, and open it."""
    return Store(disk, TYPES, clock.now_us, clock.random_bytes, databases=DATABASES)


class _NoReactor:
    """What a writer needs of a reactor: here the run calls its `doRead`."""

    def addReader(self, reader: object) -> None:
        """See IReactorFDSet."""


class Run:
    """One server after another on one simulated disk, beside a model.

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
        self.job: MergeJob | None = None
        self.freeing: Iterator[None] = iter(())  # what is left to do of a merging process whose server has finished
        self.put_off = 0  # compactions that could not begin or end
        self.store = open_store(disk, self.clock)
        self.requests = Requests(self.store, {}, self.random, seed)
        self._started()

    # Starting and dying

    def start(self) -> Store:
        """Recover, check what was found, and go on from there."""
        self.store = open_store(self.disk, self.clock)
        self._started()
        return self.store

    def _started(self) -> None:
        store = self.requests.store = self.store
        found = store.durable_sequence
        self.requests.content = checked(store, self.history, self.disk.changes, f"restart in {self.seed}")
        self.history.restart(self.disk.changes, found)
        self.job = None
        self.syncer = SimulatedSyncer()
        self.writer: Writer = InLoopWriter(store, sync=self.durable)
        if self.sync == "overlapped":
            self.writer = OverlappedWriter(store, _NoReactor(), self.syncer)

    @property
    def content(self) -> Content:
        """What the databases hold, by the model."""
        return self.requests.content

    @property
    def refused(self) -> int:
        """Requests refused for want of room, and compactions that could not begin or end."""
        return self.requests.refused + self.put_off

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
        self.history.ask(self.disk.changes, commit.sequence, dict(self.content))
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
        """See `Requests`; time may pass before it."""
        if self.random.random() < 0.1:
            self.clock.us += 1_000_000
        self.requests.request()

    def read(self) -> None:
        """What a read tells without waiting is on disk. Raises Violation."""
        store, now = self.store, self.content
        number = self.random.randrange(DATABASES)
        table = store.databases[number]
        keys = [b"key-%d" % self.random.randrange(KEYS) for _ in range(2)]
        newest = table.commit_for_keys(keys)
        if newest != max(map(table.commit_for_key, keys)):
            raise Violation(f"{self.seed}: both ways to ask what a read waits for must agree")
        settled = self.history.state(self.disk.changes, store.durable_sequence)
        if newest <= store.settled_sequence():
            for key in keys:
                if now.get((number, key)) != settled.get((number, key)):
                    raise Violation(f"{self.seed}: a read of {key!r} in {number} tells what is not on disk")
        if store.commit_for_table() <= store.settled_sequence() and now != settled:
            raise Violation(f"{self.seed}: a read of everything tells what is not on disk")

    # Compaction

    def seal(self) -> None:
        """Begin a compaction, between two commits; what cannot begin is tried later."""
        self.end_sync()
        if self.job is None and self.store.can_compact():
            try:
                self.job = self.store.seal()
            except (StorageFull, OSError):
                self.put_off += 1
            self.promise()

    def merge(self) -> None:
        """Compact, with commits in the middle of it; then put the result in place, or give it up."""
        if self.job is None:
            return
        try:
            beside = _Beside(self.disk, self._meanwhile)
            old = [self.disk.open(name) for name in (*self.job.segments, checkpoint.NAME) if name in self.disk.names()]
            size = merge(beside, TYPES, self.job, self.clock.now_us(), self.random.choice((1500, 8000, 1 << 20)))  # type: ignore[arg-type]
        except OSError:
            self.put_off += 1
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
            self.random.choice((self.requests.remove_expired, self.requests.tidy))()
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
