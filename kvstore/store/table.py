"""The table: keys, values, deadlines; the mutators that record every change; expiry.

Keys and values are bytes in a plain dict (the densest thing Python has: 235 bytes for a key with 100 bytes). The
mutators here are the only way to change the table, and each records its operation in the open commit before it
changes anything: no command can forget to. Whoever must know of changes (indexes, the scan order, WATCH) is an
observer.

Expiry is exact: a key past its deadline is gone for every reader at once; a heap of deadlines finds such keys, and
`remove_expired` removes them for good, a bounded number at a time, each with its `DEL` in the log. The clock is a
parameter.

Rejected: sampling for expired keys (Redis; memory held by keys nobody can see); an entry object per key (56 bytes and
an allocation more each).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Protocol

from kvstore.base.errors import StorageFull, wrong_type
from kvstore.store.commit import OpenCommit
from kvstore.store.index import DocumentIndexes
from kvstore.store.operations import FLUSH, encode_deadline, encode_delete, encode_set
from kvstore.store.scan import ScanOrder

#: A value of any type; strings are bytes. Other types join here with families of their own.
Value = bytes


class Observer(Protocol):
    """Told of every change, after it was recorded and made."""

    def changed(self, key: bytes, before: Value | None, after: Value | None) -> None:
        """`key` went from `before` to `after`; None stands for no such key. Equal when only the deadline changed."""

    def flushed(self) -> None:
        """Every key is gone, or everything changed: start afresh."""


class Table:
    """The state that requests read and change.

    `now_ms`: the wall clock, in milliseconds since the epoch. `pending`: the open commit, replaced by the store when
    a frame is closed.
    """

    def __init__(self, now_ms: Callable[[], int], pending: OpenCommit) -> None:
        self.now_ms = now_ms
        self.pending = pending
        self.values: dict[bytes, Value] = {}
        self.deadlines: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []
        self._observers: list[Observer] = []
        self.indexes = DocumentIndexes(self)
        self.scan_order = ScanOrder(self)
        self.expired_count = 0

    def load(self, values: dict[bytes, Value], deadlines: dict[bytes, int]) -> None:
        """Take over a recovered state, without recording anything."""
        self.values = values
        self.deadlines = deadlines
        self._rebuild_heap()

    # Reading

    def read(self, key: bytes) -> Value | None:
        """The value of `key`, or None if there is no such key or its deadline has passed."""
        if key in self.deadlines and self.deadlines[key] <= self.now_ms():
            return None
        return self.values.get(key)

    def read_string(self, key: bytes) -> bytes | None:
        """The string value of `key`, or None if there is no such key. Raises Failure (WRONGTYPE) for another type."""
        value = self.read(key)
        if value is not None and value.__class__ is not bytes:
            raise wrong_type()
        return value

    def exists(self, key: bytes) -> bool:
        """Whether there is such a key now."""
        return key in self.values and not self._is_expired(key)

    def deadline_ms(self, key: bytes) -> int | None:
        """The deadline of an existing key, in ms since the epoch; None if it has none."""
        return self.deadlines.get(key)

    def count(self) -> int:
        """How many keys there are now. Removes what has expired first, so that the number is exact."""
        self.remove_expired(len(self._heap))
        return len(self.values)

    def keys(self) -> Iterator[bytes]:
        """All keys there are now, in no promised order. The table must not change meanwhile."""
        if not self.deadlines:
            return iter(self.values)
        now = self.now_ms()
        deadlines = self.deadlines
        return (key for key in self.values if key not in deadlines or deadlines[key] > now)

    def _is_expired(self, key: bytes) -> bool:
        return key in self.deadlines and self.deadlines[key] <= self.now_ms()

    # Changing

    def write(self, key: bytes, value: Value, deadline_ms: int | None = None) -> None:
        """Give `key` a value and a deadline (ms since the epoch) or none. Raises StorageFull; then nothing changed."""
        before = self.values.get(key)
        deadlines = self.deadlines
        self.pending.record(key, encode_set(key, value, deadline_ms), before, deadlines.get(key) if deadlines else None)
        self.values[key] = value
        if deadline_ms is not None:
            self._set_deadline(key, deadline_ms)
        elif deadlines:
            deadlines.pop(key, None)
        if self._observers:
            self._tell(key, before, value)

    def write_strings(self, keys: list[bytes], values: list[bytes], operations: bytes) -> bool:
        """Give each key the value at its place, and no deadline, in order: what as many `write`s do, at C speed.

        `operations`: the same as `encode_set` makes them, one behind the other. Returns False, having done nothing, if
        they have to be written one by one: somebody observes, or a key has a deadline. Raises StorageFull; then
        nothing changed. It is a request of its own: nothing of it is to be undone.
        """
        if self._observers or (self.deadlines and not self.deadlines.keys().isdisjoint(keys)):
            return False
        self.pending.record_whole(keys, operations)
        self.values.update(zip(keys, values, strict=True))
        return True

    def update(self, key: bytes, value: Value) -> None:
        """Give `key` a new value and leave its deadline as it is. Raises StorageFull; then nothing changed."""
        self.write(key, value, None if self._is_expired(key) else self.deadlines.get(key))

    def delete(self, key: bytes) -> bool:
        """Remove `key`; returns whether there was such a key. Raises StorageFull; then nothing changed."""
        before = self.values.get(key)
        if before is None:
            return False
        existed = not self._is_expired(key)
        self.pending.record(key, encode_delete(key), before, self.deadlines.get(key))
        del self.values[key]
        self.deadlines.pop(key, None)
        if self._observers:
            self._tell(key, before, None)
        return existed

    def expire(self, key: bytes) -> None:
        """Remove `key`, if there is such a key, because a request gave it a deadline that has passed."""
        self.expired_count += self.delete(key)

    def set_deadline(self, key: bytes, deadline_ms: int | None) -> None:
        """Set the deadline of an existing key (ms since the epoch), or take it away (None). Raises StorageFull."""
        value = self.values[key]
        self.pending.record(key, encode_deadline(key, deadline_ms), value, self.deadlines.get(key))
        if deadline_ms is None:
            self.deadlines.pop(key, None)
        else:
            self._set_deadline(key, deadline_ms)
        if self._observers:
            self._tell(key, value, value)

    def flush(self) -> None:
        """Remove every key. Raises StorageFull; then nothing changed."""
        self.pending.record_flush(FLUSH, self.values, self.deadlines)
        self._replace({}, {})

    def remove_expired(self, limit: int) -> int:
        """Remove up to `limit` keys whose deadline has passed; returns how many went.

        Stops early when the disk is full.
        """
        now = self.now_ms()
        removed = 0
        heap = self._heap
        while heap and heap[0][0] <= now and removed < limit:
            deadline, key = heap[0]
            if self.deadlines.get(key) == deadline:
                try:
                    self.delete(key)
                except StorageFull:
                    break
                self.expired_count += 1
                removed += 1
            heapq.heappop(heap)
        return removed

    def _set_deadline(self, key: bytes, deadline_ms: int) -> None:
        self.deadlines[key] = deadline_ms
        heapq.heappush(self._heap, (deadline_ms, key))
        if len(self._heap) > 2 * len(self.deadlines) + 1024:
            self._rebuild_heap()

    def _rebuild_heap(self) -> None:
        """Drop the entries of deadlines that are no more; amortised over as many changes as there are entries."""
        self._heap = [(deadline, key) for key, deadline in self.deadlines.items()]
        heapq.heapify(self._heap)

    # Undoing

    def undo_request(self, mark: int = 0) -> None:
        """Take back what the request that is executing has changed, in the table and in the open commit.

        `mark`: keep that many of its first changes (`len(pending.undo)` at some moment); for a command inside EXEC.
        """
        undo = self.pending.undo
        while len(undo) > mark:
            key, value, deadline = undo.pop()
            self.pending.drop_last()
            if key is None:
                self._replace(value, deadline)  # type: ignore[arg-type]
            else:
                self._restore(key, value, deadline)  # type: ignore[arg-type]

    def _restore(self, key: bytes, value: Value | None, deadline_ms: int | None) -> None:
        now = self.values.get(key)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        if deadline_ms is None:
            self.deadlines.pop(key, None)
        else:
            self._set_deadline(key, deadline_ms)
        self._tell(key, now, value)

    def _replace(self, values: dict[bytes, Value], deadlines: dict[bytes, int]) -> None:
        self.values = values
        self.deadlines = deadlines
        self._rebuild_heap()
        for observer in tuple(self._observers):
            observer.flushed()

    # Observers

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every change from now on."""
        if observer not in self._observers:
            self._observers.append(observer)

    def forget(self, observer: Observer) -> None:
        """Tell `observer` no more."""
        if observer in self._observers:
            self._observers.remove(observer)

    def _tell(self, key: bytes, before: Value | None, after: Value | None) -> None:
        for observer in tuple(self._observers):
            observer.changed(key, before, after)
