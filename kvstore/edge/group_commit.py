"""Group commit: all that one turn of the loop changed goes to disk as one frame, under one sync; then the replies
leave.

At the end of the turn (see `turn`) the open commit is closed and handed to the **writer**; while it is in flight the
loop may go on, and the next commit grows. One commit is in flight at a time.

The writer is the seam: who writes and syncs, and whether the loop waits for it. `InLoopWriter` does both in the
reactor's thread, where a sync of 100 µs costs less than handing it to a thread (the GIL changes hands twice); with
replies of fifty clients in one group it is also what measures best. See docs/ARCHITECTURE.md for the figures.

`--sync`: `always` settles a commit when it is synced; `everysec` and `no` when it is written. Under `everysec` a
thread syncs once a second (the only thread there is; the loop must not wait for a sync of a second's worth of
writes).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Protocol

from kvstore.base.errors import StorageFault
from kvstore.base.limits import MIB
from kvstore.edge.settings import SyncPolicy
from kvstore.edge.turn import Turn
from kvstore.store.store import Commit, Store

#: A commit is closed in the middle of a turn when its operations pass this: so that the frame stays small beside the
#: data.
_LARGEST_COMMIT_BYTES = 16 * MIB


class Waiter(Protocol):
    """Whoever holds replies for a commit."""

    def settled(self, sequence: int) -> bool:
        """Commits up to `sequence` are settled. Returns whether it waits for another."""


class Writer(Protocol):
    """Puts one commit at a time on disk."""

    def begin(self, commit: Commit, done: Callable[[StorageFault | None], None]) -> None:
        """Write `commit`, and sync it if the policy says so; call `done` with None, or the fault, at once or later."""


class InLoopWriter:
    """Writes and syncs in the reactor's thread: the loop waits.

    `sync`: whether a commit is settled only when synced.
    """

    def __init__(self, store: Store, *, sync: bool) -> None:
        self._store = store
        self._sync = sync

    def begin(self, commit: Commit, done: Callable[[StorageFault | None], None]) -> None:
        """See `Writer`; `done` is called before this returns."""
        try:
            self._store.write(commit)
            if self._sync:
                self._store.sync()
        except StorageFault as fault:
            done(fault)
        else:
            done(None)


class Figures:
    """Counters since the start, for INFO and the reports. `syncing_ns`: time from the writer's begin to its end."""

    def __init__(self) -> None:
        self.commits = 0
        self.requests = 0
        self.operations = 0
        self.bytes = 0
        self.syncing_ns = 0
        self.largest_group = 0


class GroupCommit:
    """See the module.

    `turn`: at whose ends there are commits. `fault`: called once with a StorageFault; nothing is settled
    after it. `between`: called when a commit was settled and none is in flight: the moment at which the log may be
    sealed.
    """

    def __init__(
        self,
        turn: Turn,
        store: Store,
        writer: Writer,
        sync_policy: SyncPolicy,
        fault: Callable[[StorageFault], None],
        between: Callable[[], None],
    ) -> None:
        self._turn = turn
        turn.commit = self.commit_now
        self._store = store
        self._writer = writer
        self._durable = sync_policy == "always"
        self._fault = fault
        self._between = between
        self._begun_ns = 0
        self._waiters: list[Waiter] = []
        self.figures = Figures()

    def wait(self, waiter: Waiter) -> None:
        """Tell `waiter` when the next commit is settled. Once for each call."""
        self._waiters.append(waiter)

    def schedule(self) -> None:
        """There are changes: commit them at the end of this turn."""
        self._turn.ask_for_commit()
        if self._store.table.pending.size_bytes > _LARGEST_COMMIT_BYTES:
            self.commit_now()

    def commit_now(self) -> None:
        """Close the open commit and put it on its way, unless one is in flight: then it follows when that is done."""
        store = self._store
        if store.failed is not None or store.in_flight is not None:
            return
        commit = store.close_commit()
        if commit is None:
            return
        self._begun_ns = perf_counter_ns()
        self._writer.begin(commit, lambda fault: self._done(commit, fault))

    def _done(self, commit: Commit, fault: StorageFault | None) -> None:
        if fault is not None:
            self._fault(fault)
            return
        self._count(commit)
        self._store.settle(commit, durable=self._durable)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.settled(commit.sequence):
                self._waiters.append(waiter)
        self._between()
        if self._store.has_changes():
            self.schedule()

    def _count(self, commit: Commit) -> None:
        figures = self.figures
        figures.syncing_ns += perf_counter_ns() - self._begun_ns
        figures.commits += 1
        figures.requests += commit.requests
        figures.operations += commit.operations
        figures.bytes += len(commit.frame)
        if commit.requests > figures.largest_group:
            figures.largest_group = commit.requests
