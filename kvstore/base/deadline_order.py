"""The order in which deadlines pass: which keys, or elements of a value, have expired.

A heap of (time, key) entries. Every key that has a deadline has an entry that comes no later than it; that is all that
holds, so that changes are cheap:

| a deadline | is |
|---|---|
| set, or moved to an earlier time | one more entry |
| moved to a later time (a cache refreshes keys) | nothing; the entry, when its time comes, is moved to the deadline |
| taken away, or its key removed | nothing; the entry is dropped when its time comes |

Entries that have lost their meaning would gather. So when there are more than twice as many entries as deadlines, a
fresh heap is begun: the keys that have deadlines are noted (some 10 ms for a million) and put into it by and by. Until
a key's turn has come nobody knows here that it has expired; readers look at the deadline itself, and do.

Rejected: to build the fresh heap at once (200 ms for a million); to drop an entry with its deadline (a search); a
dictionary of seconds to keys (200 bytes more for each key if their seconds differ); a sorted container (4 us for each
deadline that is set).
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Any, Protocol

#: Entries without meaning that are not worth a fresh heap, some 150 bytes each; entries that are made at once.
_FEW, _AT_ONCE = 100, 1024


class Garbage(Protocol):
    """See `kvstore.store.garbage`."""

    def put(self, thing: list[Any]) -> None:
        """Keep `thing` until its turn to be freed has come."""


class DeadlineOrder:
    """See the module. `deadlines`: in milliseconds since the epoch; changed by their owner alone.

    `garbage`: takes long lists that are not needed any more.
    """

    __slots__ = ("_deadlines", "_garbage", "_heap", "_noted")

    def __init__(self, deadlines: dict[bytes, int], garbage: Garbage) -> None:
        self._deadlines = deadlines
        self._garbage = garbage
        self._heap: list[tuple[int, bytes]] = []
        #: Keys whose entries are still to be made.
        self._noted: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._garbage.put(self._heap)
        self._heap = []
        self._noted = list(self._deadlines)
        if len(self._noted) <= _AT_ONCE:
            self.enter_some(_AT_ONCE)

    def complete(self) -> None:
        """Make all entries, at once: before there is anybody to wait."""
        self._noted = []
        self._heap = [(deadline_ms, key) for key, deadline_ms in self._deadlines.items()]
        heapify(self._heap)

    def enter_some(self, number: int) -> bool:
        """Make the entries of so many noted keys; returns whether there are more."""
        for key in self._noted[-number:]:
            deadline_ms = self._deadlines.get(key)
            if deadline_ms is not None:
                heappush(self._heap, (deadline_ms, key))
        del self._noted[-number:]
        return bool(self._noted)

    def enter(self, key: bytes, deadline_ms: int) -> None:
        """`key`, which had none or a later one, has this deadline."""
        heappush(self._heap, (deadline_ms, key))
        if len(self._heap) > 2 * len(self._deadlines) + _FEW and not self._noted:
            self._begin()

    def next_ms(self) -> int | None:
        """The earliest deadline, None for none; 0 while entries are to be made."""
        if self._noted:
            return 0
        heap, deadlines = self._heap, self._deadlines
        while heap and deadlines.get(heap[0][1]) != heap[0][0]:
            self.first_is_done()
        return heap[0][0] if heap else None

    def first(self, now_ms: int) -> bytes | None:
        """The key of the first entry if its time has passed. It has expired, unless its deadline says otherwise."""
        heap = self._heap
        return heap[0][1] if heap and heap[0][0] <= now_ms else None

    def may_have_passed(self, now_ms: int) -> bool:
        """Whether a deadline may have passed of what is still there; O(1)."""
        heap = self._heap
        return bool(self._noted) or (bool(heap) and heap[0][0] <= now_ms)

    def first_is_done(self) -> None:
        """The first entry was looked at: its key is gone, or lives until another time."""
        heap = self._heap
        key = heap[0][1]
        deadline_ms = self._deadlines.get(key)
        if deadline_ms is None:
            heappop(heap)
        else:
            heapreplace(heap, (deadline_ms, key))

    def expired(self, now_ms: int, most: int) -> set[bytes] | None:
        """The keys that have expired and are still there; None if more than `most` entries were to be looked at."""
        if self._noted:
            return None
        passed = list(islice(self._passed(now_ms), most + 1))
        return None if len(passed) > most else {key for key in passed if self._has_expired(key, now_ms)}

    def some_expired(self, now_ms: int, most: int) -> set[bytes]:
        """Up to `most` of the keys that have expired and are still there; none only if there is none known."""
        self.next_ms()
        return {key for key in islice(self._passed(now_ms), most) if self._has_expired(key, now_ms)}

    def _passed(self, now_ms: int) -> Iterator[bytes]:
        """The keys of the entries whose time has passed."""
        heap = self._heap
        places = [0]
        for place in places:  # in a heap, what has passed stands together at the top
            if place < len(heap) and heap[place][0] <= now_ms:
                yield heap[place][1]
                places += (2 * place + 1, 2 * place + 2)

    def _has_expired(self, key: bytes, now_ms: int) -> bool:
        return self._deadlines.get(key, now_ms + 1) <= now_ms

    def let_go(self) -> None:
        """It is not needed any more."""
        self._garbage.put(self._heap)
        self._garbage.put(self._noted)
