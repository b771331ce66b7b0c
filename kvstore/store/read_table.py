"""One database, live, as requests read it: keys, values, deadlines, and which commit a read has to wait for.

Keys are bytes in a plain dict, strings too (the densest thing Python has: 235 bytes for a key with 100 bytes); values
of other types are objects of their type.

Expiry is exact: a key past its deadline is gone for every reader at once, as is an element of a value for those who
read it. `DeadlineOrder` finds such keys and elements. Only `count` may count keys that have expired, while many wait to
be removed. The clock is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from kvstore.base.deadline_order import DeadlineOrder
from kvstore.base.errors import wrong_type
from kvstore.base.value_type import Types, Value
from kvstore.store.commit import OpenCommit
from kvstore.store.garbage import Garbage
from kvstore.store.state import State

#: Expired keys that `count` looks at; some 0.3 ms.
_EXPIRED_COUNTED = 1000

_NONE = type(None)
_EMPTY = frozenset[bytes]()

#: Keys from which on it pays to look them up all at once.
_MANY = 8

_Typed = TypeVar("_Typed")


class ReadTable(State):
    """See `Table`, which this is the part of that is read."""

    def __init__(
        self, types: Types, number: int, now_ms: Callable[[], int], pending: OpenCommit, garbage: Garbage
    ) -> None:
        super().__init__(types)
        self.number = number
        self.now_ms = now_ms
        self.pending = pending
        #: What is not needed any more and takes long to free.
        self.garbage = garbage
        #: See `Changing`; `flight_keys`, `flight_whole`: the same of the commit in flight.
        self.open_keys: set[bytes] = set()
        self.flight_keys: set[bytes] = set()
        self.open_whole = self.flight_whole = False
        self._order = DeadlineOrder(self.deadlines, garbage)
        self._inner_order = DeadlineOrder(self.inner, garbage)
        #: Look-ups of keys by requests that read: how many found one, and how many did not; and who is told of these,
        #: by the key and whether others are to hear of it.
        self.hits = self.misses = 0
        self.missed: Callable[[bytes, bool], None] | None = None

    def read(self, key: bytes) -> Value | None:
        """The value of `key`, or None if there is no such key or its deadline has passed."""
        if key in self.deadlines and self.deadlines[key] <= self.now_ms():
            return None
        return self.values.get(key)

    def look_up(self, key: bytes, is_heard: bool = True) -> Value | None:
        """`read`, for a request that reads: whether it finds the key is counted. `is_heard`: whether there is an event
        of a key that is not there.
        """
        value = self.read(key)
        if value is None:
            self.misses += 1
            if self.missed is not None:
                self.missed(key, is_heard)
        else:
            self.hits += 1
        return value

    def typed(self, key: bytes, holds: type[_Typed]) -> _Typed | None:
        """The value of `key`, of the type whose values are of that class (bytes for strings); None if it is not there.

        Raises Failure (WRONGTYPE) for another type.
        """
        value = self.read(key)
        if value is not None and value.__class__ is not holds:
            raise wrong_type()
        return value

    def look_up_typed(self, key: bytes, holds: type[_Typed]) -> _Typed | None:
        """`typed`, for a request that reads: whether it finds the key is counted."""
        value = self.look_up(key)
        if value is not None and value.__class__ is not holds:
            raise wrong_type()
        return value

    def look_up_each(self, keys: list[bytes], holds: type[_Typed]) -> Sequence[_Typed | None] | None:
        """What `look_up_typed` gives of each of these keys, at C speed.

        None, having counted nothing, if each has to be looked up by itself: one holds another type, or is not there and
        that is to be told.
        """
        if holds is bytes and (strings := self._strings_at(keys)) is not None:
            self.hits += len(strings)
            return strings
        values = list(map(self.values.get, keys))
        if self.deadlines and not self.deadlines.keys().isdisjoint(keys):
            values = list(map(self.read, keys))
        types = list(map(type, values))
        hits = types.count(holds)
        misses = len(types) - hits
        if misses and (types.count(_NONE) != misses or self.missed is not None):
            return None
        self.hits += hits
        self.misses += misses
        return values

    def _strings_at(self, keys: list[bytes]) -> Sequence[Any] | None:
        """The strings at these keys, if the table holds nothing else, without deadlines, and all are there.

        Hashes first: what is left of a look-up is so little then that the processor fetches what several of them need
        from memory at the same time, and in a large table that is what it waits for.
        """
        if self.has_typed or self.deadlines or len(keys) < _MANY:
            return None
        _EMPTY.isdisjoint(keys)
        try:
            return itemgetter(*keys)(self.values)  # type: ignore[no-any-return]
        except KeyError:
            return None

    def held_each(self, keys: list[bytes], holds: type[_Typed]) -> list[_Typed | None] | None:
        """What is at each of these keys, for requests that write; None if any holds another type, or has a deadline."""
        if self.deadlines and not self.deadlines.keys().isdisjoint(keys):
            return None
        values = list(map(self.values.get, keys))
        return values if {holds, _NONE}.issuperset(map(type, values)) else None

    def copy_of(self, value: Value) -> Value:
        """A value of any type with the same content."""
        return value if value.__class__ is bytes else self.types.by_class[value.__class__].copy(value)

    def exists(self, key: bytes) -> bool:
        """Whether there is such a key now."""
        return key in self.values and not self._is_expired(key)

    def deadline_ms(self, key: bytes) -> int | None:
        """The deadline of an existing key, in ms since the epoch; None if it has none."""
        return self.deadlines.get(key)

    def commit_for_key(self, key: bytes) -> int:
        """The number of the unsettled commit that a read of `key` sees something of, 0 for none."""
        if key in self.open_keys or self.open_whole:
            return self.pending.sequence
        if key in self.flight_keys or self.flight_whole:
            return self.pending.sequence - 1
        return 0

    def commit_for_keys(self, keys: Iterable[bytes]) -> int:
        """The number of the newest unsettled commit that a read of `keys` sees something of, 0 for none."""
        if self.open_whole or (self.open_keys and not self.open_keys.isdisjoint(keys)):
            return self.pending.sequence
        if self.flight_whole or (self.flight_keys and not self.flight_keys.isdisjoint(keys)):
            return self.pending.sequence - 1
        return 0

    def settled(self) -> None:
        """The commit in flight is done."""
        self.flight_keys = set()
        self.flight_whole = False

    def take_off(self) -> None:
        """The open commit is closed: it is the one in flight now."""
        self.flight_keys, self.open_keys = self.open_keys, set()
        self.flight_whole, self.open_whole = self.open_whole, False

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

    # What is there, and when it goes

    def held(self) -> State:
        """What the table holds: the same containers, in a state of their own."""
        state = State(self.types)
        state.values, state.deadlines, state.inner, state.has_typed = (
            self.values, self.deadlines, self.inner, self.has_typed,
        )  # fmt: skip
        return state

    def _take_over(self, state: State) -> None:
        self.values, self.deadlines, self.inner, self.has_typed = (
            state.values, state.deadlines, state.inner, state.has_typed,
        )  # fmt: skip
        self._order = DeadlineOrder(self.deadlines, self.garbage)
        self._inner_order = DeadlineOrder(self.inner, self.garbage)

    def _set_deadline(self, key: bytes, deadline_ms: int) -> None:
        before = self.deadlines.get(key)
        self.deadlines[key] = deadline_ms
        if before is None or deadline_ms < before:
            self._order.enter(key, deadline_ms)

    def _note_inner(self, key: bytes, deadline_ms: int | None) -> None:
        """See `State`."""
        before = self.inner.get(key)
        super()._note_inner(key, deadline_ms)
        if deadline_ms is not None and (before is None or deadline_ms < before):
            self._inner_order.enter(key, deadline_ms)
