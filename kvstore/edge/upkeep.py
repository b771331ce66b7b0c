"""What a server does by itself, clients or none: once a second a look after files and clients, ten times a second a
slice of tidying, soon again while more of that is left.

A bug here is logged, and the timers go on; a StorageFault ends the process, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvstore.base.errors import StorageFault
from kvstore.base.slices import one_slice
from kvstore.commands.context import Server
from kvstore.edge.compactor import Compactor
from kvstore.edge.connections import Connections
from kvstore.edge.status import RefusalLines
from kvstore.edge.turn import Turn

_log = Logger()

#: How often the table is tidied up, for a slice, and how soon again while more is left to do: a third of the time.
_TIDY_PERIOD_S = 0.1
_TIDY_HURRY_S = 0.004
_TICK_S = 1.0


class Sampled(Protocol):
    """What looks at counters once a second."""

    def sample(self) -> None:
        """A second has passed, or so."""


class Upkeep(MultiService):
    """See the module. `samples`: more may be added. `sync`: the policy. `fail_stop`: called with a StorageFault."""

    def __init__(
        self,
        reactor: Any,
        server: Server,
        turn: Turn,
        compactor: Compactor,
        connections: Connections,
        samples: Sequence[Sampled],
        sync: str,
        fail_stop: Callable[[StorageFault], None],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._server = server
        self._store = server.store
        self._turn = turn
        self._compactor = compactor
        self._connections = connections
        self.samples = list(samples)
        self._sync = sync
        self._fail_stop = fail_stop
        self._refusal_lines = RefusalLines(server.store.refusals, turn.log_limit)
        self._started_s = reactor.seconds()
        self._syncing: Deferred[None] | None = None
        self._marked = False  # in the log, and not yet synced
        self._tidying_soon: IDelayedCall | None = None
        self._said = ""
        for period, work in ((_TICK_S, self._tick), (_TIDY_PERIOD_S, self._tidy)):
            timer = TimerService(period, self.guarded, work)
            timer.clock = reactor
            timer.setServiceParent(self)

    def guarded(self, work: Callable[[], None]) -> None:
        """Do some work of the server's own, for which no client is to blame."""
        try:
            work()
        except StorageFault as fault:
            self._fail_stop(fault)
        except Exception:
            _log.failure("bug in a timer; it goes on")

    def compact_now(self) -> bool:
        """Begin a compaction soon, a look after the files before it; returns False if one is under way."""
        asked = self._compactor.ask()
        self._reactor.callLater(0, self.guarded, self._tick)
        return asked

    def between_commits(self) -> None:
        """No commit is in flight: the moment to seal the log, if that is due."""
        if self._syncing is None:  # else a thread is syncing the file that sealing would close
            self.guarded(self._compactor.begin_if_due)

    async def end(self) -> None:
        """Do nothing any more; returns when no thread has a file that is about to be closed."""
        if self._tidying_soon is not None and self._tidying_soon.active():
            self._tidying_soon.cancel()
        if self._syncing is not None:
            await self._syncing

    def _tick(self) -> None:
        """Once a second: look after the files and the clients."""
        for each in self.samples:
            each.sample()
        store = self._store
        self._say_once(store.check_files())
        if self._sync == "everysec":
            self._sync_in_background()
        else:
            store.mark_and_sync()
        self._server.syncing.try_all()
        self._server.memory.used.recent_bytes()  # for the peak
        for table in store.databases:
            table.scan_order.age()
        self._connections.drop_late()
        if not self._compactor.running:
            store.measure_volume()
        self._refusal_lines.tell()
        self._turn.log_limit.tell()
        if store.in_flight is None:
            self.between_commits()

    def _say_once(self, mended: str) -> None:
        """Warn of what was found, and not every second again."""
        if mended and mended != self._said:
            _log.warn("{mended}", mended=mended)
        self._said = mended

    def _tidy(self) -> None:
        """Remove keys past their deadline, and whatever else the table has left to do, for a slice; soon again if
        that was not all.
        """
        if self._tidying_soon is not None and self._tidying_soon.active():
            return  # one is enough: the timer must not begin another row of hurried rounds
        self._server.recent_ms = self._server.started_ms + int(1000 * (self._reactor.seconds() - self._started_s))
        began_ns = self._server.steady_ns()
        is_left = self._removes_expired() and one_slice(iter(self._store.tidy, False))
        self._server.latency.note("expire-cycle", self._server.steady_ns() - began_ns)
        is_left |= self._server.memory.see_to_it()
        self._server.tell_of_own()  # what is gone, somebody may have waited for
        if self._store.has_changes():
            self._turn.ask_for_commit()
        if is_left:
            self._tidying_soon = self._reactor.callLater(_TIDY_HURRY_S, self.guarded, self._tidy)

    def _removes_expired(self) -> bool:
        return self._server.removes_expired and not self._server.pause.until_ms

    def _sync_in_background(self) -> None:
        """--sync everysec: a sync of a second's worth of writes takes long; a thread waits for it."""
        store = self._store
        sequence = store.settled_sequence()
        if self._syncing is not None or (sequence <= store.durable_sequence and not self._marked):
            return

        def synced(_: None) -> None:
            self._syncing = None
            store.note_durable(sequence)
            self._marked = store.mark()

        def failed(failure: Failure) -> None:
            self._fail_stop(StorageFault(f"the sync of the log failed: {failure.getErrorMessage()}"))

        try:
            self._syncing = in_thread(self._reactor, store.log.sync)
        except RuntimeError:  # no thread can be started just now: the loop waits
            store.sync()
            synced(None)
            return
        self._syncing.addCallback(synced)
        self._syncing.addErrback(failed)


def in_thread(reactor: Any, work: Callable[[], None]) -> Deferred[None]:
    """Work in a thread of this reactor's, which need not be the only one of the process. Raises RuntimeError if none
    can be started.
    """
    done: Deferred[None] = deferToThreadPool(reactor, reactor.getThreadPool(), work)
    return done
