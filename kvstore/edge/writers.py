"""Who writes and syncs a commit, and whether the loop goes on meanwhile.

| writer | during the sync the loop | a commit costs the loop | good for |
|---|---|---|---|
| `InLoopWriter` | waits | the sync | syncs of 100 µs |
| `OverlappedWriter` | serves clients; their changes wait for the next commit | some 50 µs: an event more | slow syncs |
| `AdaptiveWriter` | the one or the other, by how long syncs took of late | | not knowing the disk |

See docs/PERFORMANCE.md for what was measured.
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

#: Syncs that take longer than the first, on the average of about so many commits, are overlapped, until they take less
#: than the second.
_SLOW_SYNC_NS = 500_000
_FAST_SYNC_NS = 350_000
_AVERAGE_OF_COMMITS = 16
#: See `AdaptiveWriter`.
_SURELY_SLOW_NS = 1_000_000
_PROBE_EVERY = 32

Done = Callable[[StorageFault | None], None]


class Writer(Protocol):
    """Puts one commit at a time on disk. `overlaps`: whether the loop goes on meanwhile, now."""

    @property
    def overlaps(self) -> bool:
        """Whether `begin` returns before the commit is on disk."""

    def begin(self, commit: Commit, done: Done) -> None:
        """Write `commit`, and sync it if the policy says so; call `done` with None, or the fault, at once or later."""


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
        try:
            self._store.write(commit)
            if self._sync:
                self._store.sync()
        except StorageFault as fault:
            done(fault)
        else:
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
        reactor.addReader(self)

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`; `done` is called when the sync has ended."""
        try:
            self._store.write(commit)
            if self._store.begin_sync(self._syncer):
                self._done = done
                return
            self._store.sync()
        except StorageFault as fault:
            done(fault)
        else:
            done(None)

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._syncer.fileno()

    def doRead(self) -> None:
        """The sync has ended, or nearly so."""
        done = self._done
        if done is None:
            return
        try:
            if not self._store.finish_sync(self._syncer):
                return
        except StorageFault as fault:
            self._done = None
            done(fault)
        else:
            self._done = None
            done(None)

    def connectionLost(self, reason: Failure) -> None:
        """See IReadDescriptor: the reactor is about to stop."""

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "kvstore sync"

    def close(self) -> None:
        """Stop watching, and give the syncer back. No commit may be in flight."""
        self._reactor.removeReader(self)
        self._syncer.close()


class AdaptiveWriter:
    """Waits in the loop while syncs are fast, and overlaps them once they are slow.

    `make_overlapped`: called when they first are; raises OSError if that cannot be done now. On a fast disk what it
    needs is never loaded. `now_ns`: a steady clock, in nanoseconds. `nobody_else`: whether all clients there are wait
    for the open commit.

    A busy loop hears late of the end of a sync that it overlaps: that time says only how long it took at most. Where
    this leaves the matter open (_SURELY_SLOW_NS) a sync is waited for in the loop now and then, and always when nobody
    else could be served meanwhile.
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
        self._average_ns = 0.0
        self._since_probe = 0
        self.overlaps = False

    def begin(self, commit: Commit, done: Done) -> None:
        """See `Writer`."""
        began_ns = self._now_ns()
        overlapped = self._overlapped if self.overlaps and not self._probes() else None

        def ended(fault: StorageFault | None) -> None:
            took_ns = self._now_ns() - began_ns
            if overlapped is None or max(took_ns, self._average_ns) > _SURELY_SLOW_NS:
                self._average_ns += (took_ns - self._average_ns) / _AVERAGE_OF_COMMITS
                slow = self._average_ns > (_FAST_SYNC_NS if self.overlaps else _SLOW_SYNC_NS)
                self.overlaps = slow and self._can_overlap()
            done(fault)

        (overlapped or self._in_loop).begin(commit, ended)

    def _probes(self) -> bool:
        """Whether to wait for this sync in the loop, though syncs are being overlapped."""
        if self._average_ns > _SURELY_SLOW_NS:
            return False
        self._since_probe += 1
        if self._since_probe < _PROBE_EVERY and not self._nobody_else():
            return False
        self._since_probe = 0
        return True

    def _can_overlap(self) -> bool:
        if self._overlapped is None:
            with contextlib.suppress(OSError):  # too many open files, say: the loop waits, and this is tried again
                self._overlapped = self._make_overlapped()
        return self._overlapped is not None
