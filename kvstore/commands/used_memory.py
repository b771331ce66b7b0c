"""How much memory is in use: INFO's `used_memory`, and what `maxmemory` is about.

What is allocated is asked of the allocators (`kvstore.edge.allocations`), which takes a while; if it takes long, what
has become of it since the last time is reckoned from what is known without them.

| | `used_memory` | the limit's |
|---|---|---|
| room in a table that its keys have left, and others take | no | no |
| what is about to be written to the log | yes | no: it would be there only because of what is done about the limit |
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from kvstore.base.limits import KIB
from kvstore.store.store import Store

#: To ask takes at most this part of the time; a much smaller one if it takes longer than _QUICK_NS: then much is free
#: in small pieces, which new values take. Meanwhile what is in use is taken to grow as the process does, and to shrink
#: by what is removed.
_SHARE, _QUICK_NS, _SMALL_SHARE = 20, 10_000_000, 200
#: A dict that has only grown has at most so many bytes for each key: 20 for a place, 3 places for a key.
_MOST_FOR_A_KEY, _EMPTY_DICT_BYTES = 60, 4 * KIB


class Allocators(Protocol):
    """Who has the memory of the process: see `kvstore.edge.allocations`. `took_ns`: of processor time, to tell how much
    is allocated, the last time.
    """

    took_ns: int

    def allocated_bytes(self) -> int:
        """How much is allocated now."""

    def resident_bytes(self) -> int:
        """How much the process has of the system."""

    def described(self) -> str:
        """Their own figures, for people."""

    def purge(self) -> None:
        """Give back to the system what is free, as far as that can be. It may take a while."""


class NoAllocators:
    """Nobody who could tell."""

    took_ns = 0

    def allocated_bytes(self) -> int:
        """See `Allocators`."""
        return 0

    def resident_bytes(self) -> int:
        """See `Allocators`."""
        return 0

    def described(self) -> str:
        """See `Allocators`."""
        return "Stats not supported for the current allocator"

    def purge(self) -> None:
        """See `Allocators`."""


class UsedMemory:
    """See the module. `steady_ns`: a steady clock. `allocators`: who is asked.

    `startup_bytes`: in use before there was any data. `peak_bytes`: the most so far.
    """

    def __init__(self, store: Store, steady_ns: Callable[[], int]) -> None:
        self._store = store
        self._steady_ns = steady_ns
        self.allocators: Allocators = NoAllocators()
        self.startup_bytes = self.peak_bytes = 0
        # As they were when the allocators were asked last; and when they may be asked again.
        self._allocated_bytes = self._not_counted_bytes = self._removed_bytes = self._resident_bytes = 0
        self._took_ns = self._next_ns = 0

    def measure_by(self, allocators: Allocators, startup_bytes: int) -> None:
        """`allocators` tell how much is allocated; `startup_bytes` were, before there was any data."""
        self.allocators = allocators
        self.startup_bytes = startup_bytes
        self.ask_anew()

    def ask_anew(self) -> None:
        """Much may have changed: ask the allocators the next time."""
        self._next_ns = 0

    def now_bytes(self) -> int:
        """What is in use now; a moment ago, if it takes long to ask for it."""
        if self._took_ns < _QUICK_NS:
            self.ask_anew()
        return self.recent_bytes()

    def recent_bytes(self) -> int:
        """What was in use a moment ago at most, or what has become of that by what is known of it."""
        began_ns = self._steady_ns()
        if began_ns >= self._next_ns or self._removed_since() > self._allocated_bytes:  # as by a flush
            self._ask(began_ns)
        grown_bytes = self.allocators.resident_bytes() - self._resident_bytes if self._took_ns >= _QUICK_NS else 0
        return self._allocated_bytes + grown_bytes - self._removed_since()

    def limited_bytes(self) -> int:
        """The same of what the limit is about."""
        return self.recent_bytes() - self._not_counted_bytes

    def evicted(self, freed_bytes: int, removed_bytes: int) -> None:
        """Keys were evicted: by what is known of them that has freed so much, about which the store is less exact: it
        has `removed_bytes`.
        """
        self._allocated_bytes -= freed_bytes
        self._removed_bytes += removed_bytes

    def _removed_since(self) -> int:
        return self._store.removed_bytes() - self._removed_bytes

    def _ask(self, began_ns: int) -> None:
        self._allocated_bytes = self.allocators.allocated_bytes() - self.left_bytes()
        self._removed_bytes, self._not_counted_bytes = self._store.removed_bytes(), self.not_counted_bytes()
        self._took_ns = self.allocators.took_ns
        self._next_ns = began_ns + (_SHARE if self._took_ns < _QUICK_NS else _SMALL_SHARE) * self._took_ns
        if self._took_ns >= _QUICK_NS:
            self._resident_bytes = self.allocators.resident_bytes()
        self.peak_bytes = max(self.peak_bytes, self._allocated_bytes)

    def left_bytes(self) -> int:
        """Room in the tables that keys have left: a dict does not shrink when something is removed."""
        tables = self._store.databases
        return sum(_spare_bytes(some) for table in tables for some in (table.values, table.deadlines))

    def not_counted_bytes(self) -> int:
        """What is on its way to the log."""
        in_flight = self._store.in_flight
        return self._store.pending.size_bytes + (len(in_flight.frame) if in_flight is not None else 0)


def _spare_bytes(some: dict[Any, Any]) -> int:
    """What a dict has besides what one takes that has only grown to that many keys."""
    return max(0, sys.getsizeof(some) - _MOST_FOR_A_KEY * len(some) - _EMPTY_DICT_BYTES)
