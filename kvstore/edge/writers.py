"""Who writes and syncs a commit, and whether the loop goes on meanwhile.

| writer | during the sync the loop | a commit costs the loop | good for |
|---|---|---|---|
| `InLoopWriter` | waits | the sync | a few writers, fast syncs |
| `OverlappedWriter` | serves clients; their changes wait for the next commit | some 50 µs | many writers, slow syncs |
| `AdaptiveWriter` | the one or the other, by what was measured of late | | not knowing |

A writer catches nothing: what goes wrong is raised by `begin`, or given to `done` if `begin` has returned before. What
that means for the server is decided in one place, whatever it is: see `group_commit`.

**When the adaptive one overlaps**, on the average of the last commits:

| if | and a sync takes more than | measured |
|---|---|---|
| not all clients wait for it | 1 ms | SET, 16 and 50 clients: 0.8, 0.9 of in the loop at 0.1 ms; 1.1, 1.0 at 1 ms |
| all clients wait for it | 2 ms | nothing to overlap with, unless others come |
| it is one in 32 to 256 (in 4 while syncs are fast) | never | only those that are waited for tell how long they take |

docs/PERFORMANCE.md, "The commit path", has the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from kvstore.base.errors import StorageFault
from kvstore.base.syncing import Syncer
from kvstore.store.store import Commit, Store

#: The first row of the table above.
_SLOW_NS = 1_000_000
#: To go on overlapping takes this part of it: a disk at the limit would go to and fro.
_GOING_ON = 0.6
_AVERAGE_OF_COMMITS = 16
#: The second.
_SURELY_SLOW_NS = 2_000_000
#: The third: one in so many at first, then ever fewer, down to the last; the second while syncs are fast.
_PROBE_FIRST = 32
_PROBE_AGAIN = 4
_PROBE_LEAST = 256
_AVERAGE_OF_PROBES = 2

Done = Callable[[Exception | None], None]


class Writer(Protocol):
    """Puts one commit at a time on disk. `overlaps`: whether the loop goes on meanwhile, now."""

    @property
    def overlaps(self) -> bool:
        """Whether `begin` returns before the commit is on disk."""

    def begin(self, commit: Commit, done: Done) -> None:
        """Write `commit`, and sync it if the policy says so; call `done` with None when that is so, at once or later.

        What goes wrong is raised, or later given to `done`.
        """


class InLoopWriter:
    """Writes and syncs in the reactor's thread: the loop waits.

    `sync`: whether a commit is settled only when synced.
    """

    overlaps = False

    def __init__(self, store: Store, *, sync: bool) -> None:
        self._store = store
        self._sync = sync

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`; `done` is called before this returns."""
        self._store.write(commit)
        if self._sync:
            self._store.sync()
        done(None)


@implementer(IReadDescriptor)
class OverlappedWriter:
    """Writes in the reactor's thread, and lets `syncer` sync while the loop goes on. `reactor`: watches the syncer."""

    overlaps = True

    def __init__(self, store: Store, reactor: Any, syncer: Syncer) -> None:
        self._store = store
        self._reactor = reactor
        self._syncer = syncer
        self._done: Done | None = None
        self._watched = True
        reactor.addReader(self)

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`; `done` is called when the sync has ended."""
        self._store.write(commit)
        if self._watched and self._store.begin_sync(self._syncer):
            self._done = done
        else:
            self._store.sync()
            done(None)

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._syncer.fileno()

    def doRead(self) -> None:
        """The sync has ended, or nearly so."""
        if self._done is None:
            return
        try:
            ended = self._store.finish_sync(self._syncer)
        except Exception as error:
            self._end(error)
        else:
            if ended:
                self._end(None)

    def connectionLost(self, reason: Failure) -> None:
        """See IReadDescriptor: the reactor watches no more, as it is about to stop, or for whatever is wrong."""
        self._watched = False
        if self._done is not None:
            self._end(StorageFault(f"a sync is under way, and its end will not be heard of: {reason.value}"))

    def _end(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        assert done is not None
        done(error)

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "kvstore sync"

    def close(self) -> None:
        """Stop watching, and give the syncer back. No commit may be in flight."""
        self._reactor.removeReader(self)
        self._syncer.close()


class AdaptiveWriter:
    """Overlaps syncs with the loop where that pays: see the module.

    `make_overlapped`: called when they first are; raises OSError if that cannot be done now. `now_ns`: a steady clock,
    in nanoseconds. `nobody_else`: whether all clients there are wait for the open commit: then there is nothing to
    overlap with, and a sync that is not surely slow is waited for.

    A busy loop hears late of the end of a sync that it overlaps. So only those count that it waits for: while syncs are
    overlapped, a few (_PROBE_FIRST), and those during which nobody else could be served anyway.
    """

    def __init__(
        self,
        in_loop: Writer,
        make_overlapped: Callable[[], Writer],
        now_ns: Callable[[], int],
        nobody_else: Callable[[], bool],
    ) -> None:
        self._in_loop = in_loop
        self._make_overlapped = make_overlapped
        self._overlapped: Writer | None = None
        self._now_ns = now_ns
        self._nobody_else = nobody_else
        self._sync_ns = 0.0  # on the average
        self._commits = _PROBE_FIRST  # until the next probe
        self._interval = _PROBE_FIRST
        self.overlaps = False

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`."""
        if self.overlaps and self._overlapped is not None and not self._probes():
            self._overlapped.begin(commit, done)
            return
        began_ns = self._now_ns()

        def ended(error: Exception | None) -> None:
            self._took(self._now_ns() - began_ns)
            done(error)

        self._in_loop.begin(commit, ended)

    def prepare(self) -> None:
        """Make the other writer now, since nobody waits."""
        self._can_overlap()

    @property
    def _limit_ns(self) -> float:
        return _SLOW_NS * (_GOING_ON if self.overlaps else 1)

    def _took(self, sync_ns: int) -> None:
        """So long the loop has waited."""
        self._sync_ns += (sync_ns - self._sync_ns) / (_AVERAGE_OF_PROBES if self.overlaps else _AVERAGE_OF_COMMITS)
        if not self.overlaps:
            self._interval = _PROBE_FIRST
        else:
            self._interval = _PROBE_AGAIN if sync_ns < self._limit_ns else min(2 * self._interval, _PROBE_LEAST)
        self._commits = self._interval
        self.overlaps = self._sync_ns > self._limit_ns and self._can_overlap()

    def _probes(self) -> bool:
        """Whether to wait for this sync in the loop, though syncs are being overlapped."""
        self._commits -= 1
        return self._commits <= 0 or (self._sync_ns < _SURELY_SLOW_NS and self._nobody_else())

    def _can_overlap(self) -> bool:
        if self._overlapped is None:
            with contextlib.suppress(OSError):  # too many open files, say: the loop waits, and this is tried again
                self._overlapped = self._make_overlapped()
        return self._overlapped is not None
