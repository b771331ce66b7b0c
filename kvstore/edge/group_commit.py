"""Group commit: all that one turn of the loop changed goes to disk as one frame, under one sync; then the replies
leave.

At the end of the turn (see `turn`) the open commit is closed and handed to the **writer**; while it is in flight the
loop may go on, and the next commit grows. One commit is in flight at a time. When it is settled the next does not begin
at once: those who were just answered are about to send, and who comes too late waits for two syncs. Without that pause
the clients of a slow disk part into two groups, and each sync carries half of them.

The writer is the seam: who writes and syncs, and whether the loop waits for it. See `writers`.

Whatever goes wrong between the closing of a commit and the telling of those who wait for it is a StorageFault: not only
what the disk refuses, but anything that nobody thought of. The commit can be on disk or not, and nothing would ever
settle it: every later write would wait for ever, in a server that looks alive. So the process ends, and start is
recovery. This module alone decides that; a writer just raises.

`--sync`: `always` settles a commit when it is synced; `everysec` and `no` when it is written. Under `everysec` a
thread syncs once a second (the only thread there is; the loop must not wait for a sync of a second's worth of
writes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from kvstore.base.doubling import zeros
from kvstore.base.errors import StorageFault, StorageFull
from kvstore.commands.latency_events import LatencyEvents
from kvstore.edge.settings import SyncPolicy
from kvstore.edge.turn import Turn
from kvstore.edge.writers import Writer
from kvstore.store.store import Commit, Store

_log = Logger()

#: With fewer write requests than this in the open commit the loop looks once more for sockets that are ready, before it
#: executes and syncs: while the disk would be busy, the clients that have just been answered are about to send. The
#: looking ends when a look brings nothing, or every client has sent.
_WORTH_A_SYNC = 48
#: The same while a commit is in flight, and no other can begin: so many are executed with little loss for each.
_WORTH_EXECUTING = 16
#: How long the next commit waits for those who were just answered: this part of the last one's time, and at most so
#: much. The loop goes round meanwhile.
_PAUSE_PART = 1 / 8
_LONGEST_PAUSE_NS = 1_000_000


class Waiter(Protocol):
    """Whoever holds replies for a commit. `clients`: for how many clients."""

    @property
    def clients(self) -> int:
        """See the class."""

    def settled(self, sequence: int) -> None:
        """Commits up to `sequence` are settled."""


class Figures:
    """Counters since the start, for INFO, the reports and who watches. `syncing_ns`: time from the writer's begin to
    its end. `sizes`: commits by their requests; `durations_ns`: by their time, in nanoseconds; see `doubling`.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.requests = 0
        self.operations = 0
        self.bytes = 0
        self.syncing_ns = 0
        self.largest_group = 0
        self.sizes = zeros()
        self.durations_ns = zeros()


class GroupCommit:
    """See the module.

    `turn`: at whose ends there are commits. `fault`: called once with a StorageFault; nothing is settled
    after it. `between`: called when a commit was settled and none is in flight: the moment at which the log may be
    sealed. `clients`: how many are connected. `steady_ns`: the clock by which commits are timed. `events`: are told of
    those that took long.
    """

    def __init__(
        self,
        turn: Turn,
        store: Store,
        writer: Writer,
        sync_policy: SyncPolicy,
        fault: Callable[[StorageFault], None],
        between: Callable[[], None],
        clients: Callable[[], int] = lambda: 0,
        steady_ns: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._turn = turn
        self._store = store
        self._writer = writer
        self._durable = sync_policy == "always"
        self._fault = fault
        self._between = between
        self.clients = clients
        self._steady_ns = steady_ns
        self._idle: list[Deferred[None]] = []
        self._begun_ns = 0
        #: The next commit begins with so many requests, or then.
        self._enough_requests = self._pause_ends_ns = 0
        #: By the number of a commit: who is told when it is settled.
        self._waiters: dict[int, dict[Waiter, None]] = {}
        #: Told of each commit when its replies have left: when it was closed and when settled, by the steady clock.
        self.watchers: list[Callable[[Commit, int, int], None]] = []
        self.figures = Figures()
        #: Called when there is no room for an empty commit, of which only a group has any: for all others there is.
        self.has_no_room: Callable[[], None] = lambda: None
        self.events = LatencyEvents(lambda: 0)

    def commit_now(self, writer: Writer | None = None, *, even_if_empty: bool = False) -> None:
        """Close the open commit and put it on its way, unless one is in flight: then it follows when that is done.

        `writer`: another than the usual one. An empty one only if somebody waits for it, or `even_if_empty`.
        """
        store = self._store
        if store.failed is not None or store.in_flight is not None:
            return
        try:
            commit = store.close_commit(even_if_empty=even_if_empty or store.pending.sequence in self._waiters)
            if commit is not None:
                self._begin(commit, writer or self._writer)
        except StorageFull:
            self.has_no_room()
        except Exception as error:
            self.failed(error)

    def put(self, commit: Commit, writer: Writer) -> None:
        """Put a commit that was just closed on its way: `writer` has it."""
        try:
            self._begin(commit, writer)
        except Exception as error:
            self.failed(error)

    def _begin(self, commit: Commit, writer: Writer) -> None:
        self._begun_ns = self._steady_ns()
        writer.begin(commit, partial(self._done, commit))

    def wait(self, waiter: Waiter, sequence: int) -> None:
        """Tell `waiter` once that commit `sequence` is settled: at once if it is, else when it will be."""
        if sequence <= self._store.settled_sequence():
            waiter.settled(sequence)
        else:
            self._waiters.setdefault(sequence, {})[waiter] = None

    @property
    def overlaps(self) -> bool:
        """See `Commits`."""
        return self._writer.overlaps

    @property
    def everyone_waits(self) -> bool:
        """Whether all clients there are wait for a commit."""
        return sum(waiter.clients for waiters in self._waiters.values() for waiter in waiters) >= self.clients()

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to commit, or somebody waits for the open commit though it is empty."""
        return self._store.has_changes() or self._store.pending.sequence in self._waiters

    @property
    def is_in_flight(self) -> bool:
        """Whether a commit is on its way to the disk."""
        return self._store.in_flight is not None

    def wants_more(self, arrived: int) -> bool:
        """Whether more should have arrived before it is executed: see _WORTH_A_SYNC, _WORTH_EXECUTING.

        `arrived`: clients whose requests have come and are not executed yet.
        """
        if self.is_in_flight:
            enough = arrived >= _WORTH_EXECUTING
        else:
            enough = self._store.pending.requests + arrived >= _WORTH_A_SYNC
        return not enough and arrived < self.clients()

    @property
    def pauses(self) -> bool:
        """See `Commits`."""
        return self._store.pending.requests < self._enough_requests and self._steady_ns() < self._pause_ends_ns

    def when_idle(self) -> Deferred[None]:
        """Fires when no commit is in flight, at once if none is."""
        if self._store.in_flight is None or self._store.failed is not None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting

    def _done(self, commit: Commit, error: Exception | None) -> None:
        try:
            if error is not None:
                raise error
            self._settle(commit)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """See the module. Called inside the `except` of it."""
        if not isinstance(error, StorageFault):
            _log.failure("bug while a commit was under way")
        self._fault(self._store.fail(error))

    def _settle(self, commit: Commit) -> None:
        begun_ns, settled_ns = self._begun_ns, self._steady_ns()
        took_ns = settled_ns - begun_ns
        self._count(commit, took_ns)
        if took_ns >= self.events.threshold_ns:
            self.events.note("aof-fsync-always" if self._durable else "aof-write", took_ns)
        self._store.settle(commit, durable=self._durable)
        waiters = self._waiters.pop(commit.sequence, {})
        self._enough_requests = self._store.pending.requests + sum(waiter.clients for waiter in waiters)
        for waiter in waiters:
            waiter.settled(commit.sequence)
        self._pause_ends_ns = self._steady_ns() + min(int(took_ns * _PAUSE_PART), _LONGEST_PAUSE_NS)
        for watcher in tuple(self.watchers):
            watcher(commit, begun_ns, settled_ns)
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)
        self._between()
        if self.has_changes:
            self._turn.ask_for_commit()

    def _count(self, commit: Commit, took_ns: int) -> None:
        figures = self.figures
        figures.syncing_ns += took_ns
        figures.commits += 1
        figures.requests += commit.requests
        figures.operations += commit.operations
        figures.bytes += len(commit.frame)
        figures.sizes[commit.requests.bit_length()] += 1
        figures.durations_ns[took_ns.bit_length()] += 1
        if commit.requests > figures.largest_group:
            figures.largest_group = commit.requests
