"""The table: keys, values, deadlines; the mutators that record every change; expiry.

Keys and values are bytes in a plain dict (the densest thing Python has: 235 bytes for a key with 100 bytes). The
mutators here are the only way to change the table, and each records its operation in the open commit before it
changes anything: no command can forget to. Whoever must know of changes (indexes, the scan order, WATCH) is an
observer.

Expiry is exact: a key past its deadline is gone for every reader at once. `DeadlineOrder` finds such keys, and they
are removed for good a few at a time, each with its `DEL` in the log. Only `count` may count keys that have expired,
while many wait to be removed. The clock is a parameter.

What is left to be done when a request has ended (expired keys, deadlines to be put in order, memory to be freed, keys
to be sorted for SCAN) is done between requests, by `tidy`.

Rejected: sampling for expired keys (Redis; memory held by keys nobody can see); an entry object per key (56 bytes and
an allocation more each); an exact count after a mass expiry (each deadline that is set would pay for it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvstore.base.errors import StorageFull, wrong_type
from kvstore.base.slices import Slicing
from kvstore.store.commit import OpenCommit
from kvstore.store.deadlines import DeadlineOrder
from kvstore.store.garbage import Garbage
from kvstore.store.index import DocumentIndexes
from kvstore.store.log import Purpose
from kvstore.store.operations import FLUSH, encode_deadline, encode_delete, encode_set
from kvstore.store.scan import ScanOrder

#: Expired keys that `count` looks at; some 0.3 ms.
_EXPIRED_COUNTED = 1000
#: What `tidy` does of each thing.
_TIDIED = 16

#: A value of any type; strings are bytes. Other types join here with families of their own.
Value = bytes
#: More than any table has: what a flush is taken to remove.
EVERYTHING = 1 << 62


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
        #: Requests about the table that take long.
        self.slicing = Slicing()
        #: What is not needed any more and takes long to free.
        self.garbage = Garbage()
        self._order = DeadlineOrder(self.deadlines, self.garbage)
        self._observers: list[Observer] = []
        self.indexes = DocumentIndexes(self)
        self.scan_order = ScanOrder(self)
        #: Keys that somebody waits for (see `kvstore.commands.waiting`); those of them that were changed other than by
        #: `write`, since they were looked at.
        self.awaited: dict[bytes, object] = {}
        self.ready: list[bytes] = []
        self.expired_count = 0
        #: Look-ups of keys by requests that read: how many found one, and how many did not.
        self.hits = self.misses = 0
        #: Of keys and values so far, more or less: what a compaction can give back.
        self.removed_bytes = 0

    def load(self, values: dict[bytes, Value], deadlines: dict[bytes, int]) -> None:
        """Take over a recovered state, without recording anything."""
        self.values = values
        self.deadlines = deadlines
        self._order = DeadlineOrder(deadlines, self.garbage)
        self._order.complete()

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

    def look_up(self, key: bytes) -> Value | None:
        """`read`, for a request that reads: whether it finds the key is counted."""
        value = self.read(key)
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def look_up_string(self, key: bytes) -> bytes | None:
        """`look_up` of a string. Raises Failure (WRONGTYPE) for another type."""
        value = self.look_up(key)
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
        """How many keys there are now; while more than _EXPIRED_COUNTED wait to be removed, they are counted too."""
        if not self.deadlines:
            return len(self.values)
        return len(self.values) - len(self._order.expired(self.now_ms(), _EXPIRED_COUNTED) or ())

    def living(self) -> Callable[[bytes], bool]:
        """A function that tells, now and later, whether a key that is there now has not expired now."""
        now_ms = self.now_ms()
        expired = self._order.expired(now_ms, _EXPIRED_COUNTED)
        if expired is not None:
            return lambda key: key not in expired
        noted = self.deadlines.copy()  # some 40 ms for a million
        return lambda key: noted.get(key, now_ms + 1) > now_ms

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
        they have to be written one by one: somebody observes, a key has a deadline, or the log has to be asked for more
        room. It is a request of its own: nothing of it is to be undone.
        """
        if self._observers or (self.deadlines and not self.deadlines.keys().isdisjoint(keys)):
            return False
        if not self.pending.has_room(len(operations)):
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
        self._remove(key, before)
        return existed

    def _remove(self, key: bytes, before: Value) -> None:
        self.pending.record(key, encode_delete(key), before, self.deadlines.get(key), Purpose.REMOVE)
        self.removed_bytes += len(key) + len(before)
        self.garbage.put(before)
        del self.values[key]
        self.deadlines.pop(key, None)
        if self._observers:
            self._tell(key, before, None)

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
        self.removed_bytes += EVERYTHING
        self._replace({}, {})

    def _set_deadline(self, key: bytes, deadline_ms: int) -> None:
        before = self.deadlines.get(key)
        self.deadlines[key] = deadline_ms
        if before is None or deadline_ms < before:
            self._order.enter(key, deadline_ms)

    # Between requests

    def tidy(self) -> bool:
        """Do a little of what is left to be done: less than 0.2 ms, unless values are large. Returns whether there is
        more.
        """
        few = 1 if self._observers else _TIDIED  # an index parses what it is told of, however long it is
        more = self._order.enter_some(_TIDIED)
        more |= self.remove_expired(few) == few
        more |= self.scan_order.sort_some(_TIDIED)
        more |= self.garbage.free_some()
        return more

    def remove_expired(self, limit: int) -> int:
        """Look at up to `limit` deadlines that may have passed, in their order, and remove the keys that have expired.

        A request of its own. Returns how many were looked at: if it is `limit`, there may be more. Stops early when the
        disk is full.
        """
        now_ms, order = self.now_ms(), self._order
        looked_at = 0
        while looked_at < limit and (key := order.first(now_ms)) is not None:
            if self.deadlines.get(key, now_ms + 1) <= now_ms:
                try:
                    self._remove(key, self.values[key])
                except StorageFull:
                    break
                self.expired_count += 1
            order.first_is_done()
            looked_at += 1
        self.pending.undo.clear()
        return looked_at

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
        self._order.let_go()
        for old, new in ((self.values, values), (self.deadlines, deadlines)):
            self.garbage.put(old)
            self.garbage.give_back(new)
        self.values = values
        self.deadlines = deadlines
        self._order = DeadlineOrder(deadlines, self.garbage)
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
