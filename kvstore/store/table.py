"""One database, live: the mutators that record every change; expiry. What is read of it: `read_table`.

The mutators here are the only way to change the table, and each records its operation in the open commit before it
changes anything: no command can forget to. Whoever must know of changes (indexes, the scan order, WATCH) is an
observer.

Keys and elements past their deadlines, which nobody sees any more, are removed for good a few at a time, each with its
operation in the log.

What is left to be done when a request has ended (expired keys, deadlines to be put in order, memory to be freed, keys
to be sorted for SCAN) is done between requests, by `tidy`.

Rejected: sampling for expired keys (Redis; memory held by keys nobody can see); an entry object per key (56 bytes and
an allocation more each); an exact count after a mass expiry (each deadline that is set would pay for it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import compress
from typing import Any

from kvstore.base.chance import Chance
from kvstore.base.deadline_order import DeadlineOrder
from kvstore.base.errors import StorageFull
from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.slices import Slicing
from kvstore.base.value_type import Edit, Types, Undo, Value, ValueType, Words
from kvstore.store.commit import OpenCommit
from kvstore.store.garbage import Garbage
from kvstore.store.index import DocumentIndexes
from kvstore.store.log import Purpose
from kvstore.store.observing import DELETED, EXPIRED, NOTHING_SAID, Observer
from kvstore.store.operations import FLUSH_DATABASE, encode, encode_deadline, encode_delete, encode_each
from kvstore.store.read_table import ReadTable
from kvstore.store.scan import ScanOrder
from kvstore.store.state import State

#: What `tidy` does of each thing.
_TIDIED = 16

#: More than any table has: what a flush is taken to remove.
EVERYTHING = 1 << 62

#: Classes of what is at a key that holds no value of another type.
_STRINGS_OR_NONE = {bytes, type(None)}


class Table(ReadTable):
    """The state of one database that requests read and change.

    `number`: of the database. `now_ms`: the wall clock, in milliseconds since the epoch; it stands still while a
    request executes. `pending`: the open commit. `garbage`, `slicing`: all databases have them together. `hashed`:
    where keys lie for SCAN. `chance`: where what is taken at random gets its chance from; the server sets it.
    """

    chance: Chance

    def __init__(
        self,
        types: Types,
        number: int,
        now_ms: Callable[[], int],
        pending: OpenCommit,
        garbage: Garbage,
        slicing: Slicing,
        hashed: KeyedHash,
    ) -> None:
        super().__init__(types, number, now_ms, pending, garbage)
        self._encode_string = types.plain.encode
        #: Requests about the table that take long.
        self.slicing = slicing
        self._observers: list[Observer] = []
        self.indexes = DocumentIndexes(self)
        self.scan_order = ScanOrder(self, hashed)
        #: Keys that somebody waits for (see `kvstore.commands.waiting`); those of them that were changed other than by
        #: `write`, since they were looked at.
        self.awaited: dict[bytes, Any] = {}
        self.ready: list[bytes] = []
        #: Keys removed since their deadlines had passed, and elements of values.
        self.expired_count = self.expired_inside = 0
        #: Of keys and values so far, more or less: what a compaction can give back.
        self.removed_bytes = 0
        #: Whether what has expired stays until `delete` takes it: see `Keyspace.is_follower`.
        self.keeps_expired = False

    def load(self, state: State) -> None:
        """Take over a recovered state, without recording anything."""
        self._take_over(state)
        self._order.complete()
        self._inner_order.complete()

    # Changing

    # `event`: what those are told who listen (see `kvstore.commands.events`), NOTHING_SAID if that is nothing.

    def write(self, key: bytes, value: bytes, deadline_ms: int | None = None, event: bytes = b"set") -> None:
        """Give `key` a string and a deadline (ms since the epoch) or none. Raises StorageFull; then nothing changed."""
        before = self.values.get(key)
        deadlines = self.deadlines
        operation = self._encode_string(key, value, deadline_ms)
        deadline_before = deadlines.get(key) if deadlines else None
        self.pending.record(self, key, operation, before, deadline_before)
        self.values[key] = value
        if deadline_ms is not None:
            if deadline_ms != deadline_before:
                self._set_deadline(key, deadline_ms)
        elif deadlines:
            deadlines.pop(key, None)
        if before.__class__ is not bytes and before is not None:
            self.inner.pop(key, None)
            self._let_go(key, before)
            self._wake(key)
        if self._observers:
            if deadline_before is not None and deadline_before <= self.now_ms():
                self._tell(key, before, None, EXPIRED)
                before = None
            self._tell(key, before, value, event)

    def write_strings(
        self,
        keys: list[bytes],
        values: list[bytes],
        operations: bytes,
        event: bytes = b"set",
        deadlines_ms: list[int] | None = None,
    ) -> bool:
        """Give each key the value at its place, and its deadline or none, in order: what as many `write`s do.

        `operations`: the same as the type encodes them, one behind the other. Returns False, having done nothing, if
        they have to be written one by one: somebody observes each, a key has a deadline or holds another type, or the
        disk is full. It is a request of its own: nothing of it is to be undone.
        """
        if deadlines_ms is None and self.deadlines and not self.deadlines.keys().isdisjoint(keys):
            return False
        if self._observers and (deadlines_ms is not None or not self._take_many()):
            return False
        if self.has_typed and not _STRINGS_OR_NONE.issuperset(map(type, map(self.values.get, keys))):
            return False
        if not self.pending.make_room(len(operations)):
            return False
        self.pending.record_whole(self, keys, operations)
        for observer in self._observers:
            observer.writes_strings(keys, self.values, event)
        self.values.update(zip(keys, values, strict=True))
        if deadlines_ms is not None:
            for key, deadline_ms in zip(keys, deadlines_ms, strict=True):
                self._set_deadline(key, deadline_ms)
        return True

    def _take_many(self) -> bool:
        """Whether all who observe may be told of many changes at once."""
        return all(observer.takes_many for observer in self._observers)

    def edit_each(
        self,
        keys: list[bytes],
        name: bytes,
        words: Sequence[Words],
        operations: bytes | None = None,
        *,
        only_longer: bool = False,
    ) -> list[int] | None:
        """Apply an operation of a type to each key, with the words at its place, in order: what as many `edit`s do.

        `words`: as many for each key. `operations`: all of them, one behind the other, if they are encoded already.
        Returns by how many elements each made its value longer; None, having done nothing, if they have to be done one
        by one: as with `write_strings`, or a value has deadlines inside, or is awaited. A request of its own: nothing
        of it is to be undone.

        `only_longer`: one that has made its value no longer has changed nothing, and is not recorded.
        """
        if self._observers or any(
            of and not of.keys().isdisjoint(keys) for of in (self.deadlines, self.inner, self.awaited)
        ):
            return None
        edit, row = self.types.by_edit[name]
        if not {row.holds, type(None)}.issuperset(map(type, map(self.values.get, keys))):
            return None
        if operations is None:
            operations = encode_each(name, [keys, *zip(*words, strict=True)])
        if not self.pending.make_room(len(operations)):
            return None
        if not only_longer:
            self.pending.record_whole(self, keys, operations)
            return self._edit_each_for_good(keys, edit, row, words)
        longer = self._edit_each_for_good(keys, edit, row, words)
        if not all(longer):
            keys, words = list(compress(keys, longer)), list(compress(words, longer))
            operations = encode_each(name, [keys, *zip(*words, strict=True)]) if keys else b""
        if keys:
            self.pending.record_whole(self, keys, operations)
        return longer

    def _edit_each_for_good(self, keys: list[bytes], edit: Edit, row: ValueType, words: Sequence[Words]) -> list[int]:
        """See `edit_each`; the same for each key as `_edit_for_good` for one."""
        if keys.count(keys[0]) == len(keys):
            return self._edit_for_good(keys[0], edit, row, words)
        of_key: dict[bytes, list[Words]] = {}
        for key, each in zip(keys, words, strict=True):
            of_key.setdefault(key, []).append(each)
        longer = {key: iter(self._edit_for_good(key, edit, row, some)) for key, some in of_key.items()}
        return [next(longer[key]) for key in keys]

    def _edit_for_good(self, key: bytes, edit: Edit, row: ValueType, words: Sequence[Words]) -> list[int]:
        """Apply edits to the value at `key`, which is of that type, without deadlines inside, or not there."""
        value = self.values.get(key)
        if value is None:
            value = self.values[key] = row.empty(self.types.places)
            self.has_typed = True
        longer = edit.apply_each(value, words)
        if not value and not row.keeps_empty:
            self._drop(key)
            self.removed_bytes += len(key)
        return longer

    def put(self, key: bytes, value: Value, deadline_ms: int | None = None, event: bytes = NOTHING_SAID) -> None:
        """Give `key` a value of any type, the table's from now on. Raises StorageFull; then nothing changed."""
        if value.__class__ is bytes:
            self.write(key, value, deadline_ms, event)
            return
        if self._is_expired(key):
            self.expire(key)
        before, deadline_before = self.values.get(key), self.deadlines.get(key)
        # What is there is removed first, though it may not be there: operations build a value from nothing.
        self.pending.record(self, key, encode_delete(key), before, deadline_before)
        mark = len(self.pending.undo) - 1
        try:
            self._record_whole(key, value, deadline_ms)
        except StorageFull:
            self.pending.take_back(mark)
            raise
        self._bind(key, value, deadline_ms)
        if before is not None:
            self._let_go(key, before)
        self._wake(key)
        self._tell(key, before, value, event)

    def _record_whole(self, key: bytes, value: Value, deadline_ms: int | None) -> None:
        for name, words in self.types.by_class[value.__class__].whole(value):
            self.pending.record_further(encode(name, key, *words))
        if deadline_ms is not None:
            self.pending.record_further(encode_deadline(key, deadline_ms))

    def edit(self, key: bytes, name: bytes, words: Words, event: bytes | None = None) -> None:
        """Apply an operation of a type, `name`, to the value at `key`, which is of that type or not there.

        `event`: if it is not called as the operation is. Without elements the value is gone, unless its type keeps it
        so. Raises StorageFull; then nothing changed.
        """
        if self._is_expired(key):
            self.expire(key)
        before, pending = self.values.get(key), self.pending
        pending.record(self, key, encode(name, key, *words), before, self.deadlines.get(key))
        try:
            undo = self._edit(key, name, words)
        except BaseException:
            pending.forget_last()
            raise
        pending.note_undo(undo)
        after = self.values.get(key)
        if after is None and before is not None:
            self.removed_bytes += len(key)
        if self._observers or self.awaited:
            self._tell_of_edit(key, before, after, name, event)

    def _tell_of_edit(
        self, key: bytes, before: Value | None, after: Value | None, name: bytes, event: bytes | None
    ) -> None:
        said = name.lower().replace(b"|", b"-") if event is None else event
        row, new = self.types.by_edit[name][0], before is None
        if new or row.wakes:
            self._wake(key)
        if new or row.modifies:
            self._tell(key, before, after, said)
        else:
            self.say(key, said)

    def update(self, key: bytes, value: bytes, event: bytes = b"set") -> None:
        """Give `key` a new string and leave its deadline as it is. Raises StorageFull; then nothing changed."""
        deadline_ms = self.deadlines.get(key) if self.deadlines else None
        if deadline_ms is not None and deadline_ms <= self.now_ms():
            deadline_ms = None
        self.write(key, value, deadline_ms, event)

    def delete(self, key: bytes, event: bytes = DELETED) -> bool:
        """Remove `key`; returns whether there was such a key. Raises StorageFull; then nothing changed."""
        before = self.values.get(key)
        if before is None:
            return False
        existed = not self._is_expired(key)
        self._remove(key, before, event if existed else EXPIRED)
        self._let_go(key, before)
        return existed

    def take(self, key: bytes) -> tuple[Value, int | None]:
        """Remove `key`, which exists, and return its value, the caller's from now on, and its deadline.

        What happened to it is the caller's to `say`. Raises StorageFull; then nothing changed.
        """
        value, deadline_ms = self.values[key], self.deadlines.get(key)
        self._remove(key, value, NOTHING_SAID)
        return value, deadline_ms

    def _remove(self, key: bytes, before: Value, event: bytes) -> None:
        self.pending.record(self, key, encode_delete(key), before, self.deadlines.get(key), Purpose.REMOVE)
        self._drop(key)
        if self._observers or self.awaited:
            self._wake(key)
            self._tell(key, before, None, event)

    def _let_go(self, key: bytes, value: Value) -> None:
        """`value`, which was at `key`, is not needed any more, unless this is undone."""
        if value.__class__ is bytes:
            self.removed_bytes += len(key) + len(value)
            self.garbage.put(value)
        else:
            self.removed_bytes += len(key) + value.size_bytes()
            for part in value.parts():
                self.garbage.put(part)

    def expire(self, key: bytes) -> None:
        """Remove `key`, if there is such a key, because a request gave it a deadline that has passed."""
        self.expired_count += self.delete(key, EXPIRED)

    def set_deadline(self, key: bytes, deadline_ms: int | None, event: bytes | None = None) -> None:
        """Set the deadline of an existing key (ms since the epoch), or take it away (None). Raises StorageFull."""
        value = self.values[key]
        self.pending.record(self, key, encode_deadline(key, deadline_ms), value, self.deadlines.get(key))
        if deadline_ms is None:
            self.deadlines.pop(key, None)
        else:
            self._set_deadline(key, deadline_ms)
        if self._observers:
            self._tell(key, value, value, event or (b"persist" if deadline_ms is None else b"expire"))

    def flush(self) -> None:
        """Remove every key. Raises StorageFull; then nothing changed."""
        self.pending.record_everything([self], encode(FLUSH_DATABASE), Replaced([self]))
        self.replace(State(self.types))

    def replace(self, state: State) -> None:
        """The table has the content of `state` from now on; what it had is let go of. For whoever recorded that."""
        old, new = (self.values, self.deadlines, self.inner), (state.values, state.deadlines, state.inner)
        for container in old:
            self.garbage.put(container)
        for container in new:
            self.garbage.give_back(container)
        self._order.let_go()
        self._inner_order.let_go()
        self.removed_bytes += EVERYTHING
        self._take_over(state)
        self._renewed()

    def swap_with(self, other: Table) -> None:
        """Each table has what the other had. For whoever recorded that."""
        for name in ("values", "deadlines", "inner", "has_typed", "_order", "_inner_order"):
            mine = getattr(self, name)
            setattr(self, name, getattr(other, name))
            setattr(other, name, mine)
        self._renewed()
        other._renewed()

    def _renewed(self) -> None:
        """Everything changed: tell whoever must know."""
        self.ready += self.awaited
        for observer in tuple(self._observers):
            observer.flushed()

    # Between requests

    def tidy(self) -> bool:
        """Do a little of what is left to be done: less than 0.2 ms, unless values are large. Returns whether there is
        more.
        """
        few = _TIDIED if self._take_many() else 1  # an index parses what it is told of, however long it is
        more = self._order.enter_some(_TIDIED)
        more |= self._inner_order.enter_some(_TIDIED)
        if not self.keeps_expired:
            more |= self.remove_expired(few) == few
            more |= self.remove_expired_elements(few) == few
        more |= self.scan_order.sort_some(_TIDIED)
        return more

    def remove_expired(self, limit: int) -> int:
        """Look at up to `limit` deadlines that may have passed, in their order, and remove the keys that have expired.

        A request of its own. Returns how many were looked at: if it is `limit`, there may be more. Stops early when the
        disk is full.
        """
        return self._look_at_passed(self._order, limit, self.remove_if_expired)

    def remove_expired_elements(self, limit: int) -> int:
        """The same for elements of values: looks at up to `limit` keys, and removes so many elements of each."""
        return self._look_at_passed(self._inner_order, limit, partial(self._remove_elements, limit))

    def _look_at_passed(self, order: DeadlineOrder, limit: int, remove: Callable[[bytes, int], None]) -> int:
        """`remove`: given each key whose entry comes, and the time. Returns how many came."""
        now_ms, looked_at = self.now_ms(), 0
        while looked_at < limit and (key := order.first(now_ms)) is not None:
            try:
                remove(key, now_ms)
            except StorageFull:
                break
            order.first_is_done()
            looked_at += 1
        self.pending.undo.clear()
        return looked_at

    def hides_expired(self, now_ms: int) -> bool:
        """Whether there may be a key, or an element, that readers do not see any more and that is not removed yet."""
        return self._order.may_have_passed(now_ms) or self._inner_order.may_have_passed(now_ms)

    def remove_if_expired(self, key: bytes, now_ms: int) -> None:
        """Remove `key` if its deadline has passed at that time. Raises StorageFull; then nothing changed."""
        if not self.keeps_expired and self.deadlines.get(key, now_ms + 1) <= now_ms:
            self.delete(key)
            self.expired_count += 1

    def _remove_elements(self, limit: int, key: bytes, now_ms: int) -> None:
        value: Value = self.values.get(key)
        inner = None if value is None or value.__class__ is bytes else self.types.by_class[value.__class__].inner
        expired = None if inner is None else inner.expired(value, now_ms, limit)
        if expired is not None:
            before = len(value)
            self.edit(key, *expired, event=b"hexpired")
            self.expired_inside += before - len(value)
        elif inner is not None:
            self._note_inner(key, inner.next_ms(value))

    # Undoing

    def put_back(self, key: bytes, value: Value | None, deadline_ms: int | None, undo: Undo | None = None) -> None:
        """See `Changing`."""
        now = self.values.get(key)
        if undo is not None:
            undo()
        if value is None:
            self._drop(key)
        else:
            self._bind(key, value, deadline_ms)
        self._wake(key)
        self._tell(key, now, value, None)

    def _bind(self, key: bytes, value: Value, deadline_ms: int | None) -> None:
        """`key` has this value, this deadline and those inside the value."""
        self.values[key] = value
        if deadline_ms is None:
            self.deadlines.pop(key, None)
        else:
            self._set_deadline(key, deadline_ms)
        if value.__class__ is bytes:
            self.inner.pop(key, None)
            return
        self.has_typed = True
        for part in value.parts():
            self.garbage.give_back(part)
        row = self.types.by_class[value.__class__]
        if row.inner is not None:
            self._note_inner(key, row.inner.next_ms(value))

    # Observers

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every change from now on."""
        if observer not in self._observers:
            self._observers.append(observer)

    def forget(self, observer: Observer) -> None:
        """Tell `observer` no more."""
        if observer in self._observers:
            self._observers.remove(observer)

    def say(self, key: bytes, event: bytes) -> None:
        """Tell those who observe what else there is to be said of what a request has just done to `key`."""
        for observer in self._observers:
            observer.said(key, event)

    def _wake(self, key: bytes) -> None:
        """Whoever waits for `key` is to look at it."""
        if key in self.awaited:
            self.ready.append(key)

    def _tell(self, key: bytes, before: Value | None, after: Value | None, event: bytes | None) -> None:
        for observer in tuple(self._observers):
            observer.changed(key, before, after, event)


class Replaced:
    """Undoes that tables were flushed, recorded in the open commit: they get back what they have now."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._before = [(table, table.held()) for table in tables]

    def put_back(self) -> None:
        """See `Undoable`."""
        for table, state in self._before:
            table.replace(state)
