"""Hashes: fields with a value each, and fields that expire.

| operation | effect |
|---|---|
| `HSET key field value ...` | the fields have these values, and no deadlines; of a field named twice the last counts |
| `HDEL key field ...` | the fields are gone |
| `HPEXPIREAT key ms FIELDS n field ...` | the fields, if they are there, are gone at `ms` (since the epoch) |
| `HPERSIST key FIELDS n field ...` | the fields have no deadlines |

A small hash is one bytes object (`packed`): 1 M of five short fields take 0.3 GB, where dicts would take 1.1. At
Valkey's thresholds it becomes a large one (`buckets`), and as in Valkey it stays one. So that it does when it is
built again, too, a large hash that could be small begins with a field that is set twice, to something long at first.

The order of the fields: of a small hash as they came; of a large one see `buckets`.

**A field past its deadline** is gone for whoever reads: what reads takes the time. It is removed by an operation when
the table asks for one (`Hash.expired`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice
from typing import Any, Self

from kvstore.base.chance import Chance
from kvstore.base.deadline_order import DeadlineOrder
from kvstore.base.value_type import Edit, Inner, Places, Undo, ValueType, Words
from kvstore.values import packed, two_forms
from kvstore.values.buckets import Buckets, Entry, Steps
from kvstore.values.two_forms import TwoForms

#: A hash of more fields is large, and one with a longer field or value. Valkey: hash-max-listpack-entries and -value.
MAX_SMALL_FIELDS = 512
MAX_SMALL_BYTES = 64

#: Fields past their deadlines that are told from the others when all are counted, and when one is picked.
_EXPIRED_COUNTED = 1000
_PICKED = 100
#: A time at which no deadline has passed.
_ALL = -(1 << 64)


class _FreedAtOnce:
    """Where a hash puts what it does not need any more."""

    def put(self, thing: list[Any]) -> None:
        """See `kvstore.base.deadline_order.Garbage`."""


_FREED_AT_ONCE = _FreedAtOnce()


class _Large(Buckets):
    """A large hash: its fields, and the deadlines of those that have one, in milliseconds since the epoch."""

    __slots__ = ("deadlines", "order")

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self.deadlines: dict[bytes, int] = {}
        self.order = DeadlineOrder(self.deadlines, _FREED_AT_ONCE)

    def copy(self) -> Self:
        """Another one with the same content."""
        other = super().copy()
        other.deadlines = self.deadlines.copy()
        other.order = DeadlineOrder(other.deadlines, _FREED_AT_ONCE)
        return other

    def parts(self) -> tuple[dict[Any, Any] | list[Any], ...]:
        """See `TypedValue`."""
        return *super().parts(), self.deadlines

    def put_deadline(self, field: bytes, deadline_ms: int | None, steps: Steps) -> None:
        """Give `field` that deadline, or none."""
        before = self.deadlines.get(field)
        if before != deadline_ms:
            steps.append((self._set_deadline, field, before))
            self._set_deadline(field, deadline_ms)

    def _set_deadline(self, field: bytes, deadline_ms: int | None) -> None:
        if deadline_ms is None:
            del self.deadlines[field]
            return
        before = self.deadlines.get(field)
        self.deadlines[field] = deadline_ms
        if before is None or deadline_ms < before:
            self.order.enter(field, deadline_ms)

    def set_each(self, many: Sequence[Words]) -> list[int]:
        """See `Hash.set_each`."""
        words = list(chain.from_iterable(many))
        fields = words[::2]
        new = self.put_all(fields, words[1::2])
        for field in self.deadlines.keys() & fields if self.deadlines else ():
            self.put_deadline(field, None, [])
        if len(many) == len(new):
            return new
        each = iter(new)
        return [sum(islice(each, len(one) // 2)) for one in many]

    def has_expired(self, field: bytes, now_ms: int) -> bool:
        """Whether the field's deadline has passed."""
        return self.deadlines.get(field, now_ms + 1) <= now_ms


def _living_picks(large: _Large, chance: Chance, now_ms: int) -> Iterator[Entry]:
    """Fields with their values, picked by chance, until of _PICKED one after the other all have expired."""
    in_vain = 0
    for entry in large.picks(chance) if len(large) else ():
        if not large.has_expired(entry[0], now_ms):
            in_vain = 0
            yield entry
        elif (in_vain := in_vain + 1) == _PICKED:
            return


class Hash(TwoForms[_Large]):
    """A hash; see the module. `places`: see `Buckets`.

    `now_ms`, of those that read: fields whose deadlines have passed by then are not seen.
    """

    __slots__ = ()

    #: With its value's bytes besides.
    OVERHEAD_BYTES = 12

    # Reading

    def encoding(self) -> str:
        """See `TypedValue`: it is `hashtable` once it was past the thresholds."""
        return "listpack" if isinstance(self._held, bytes) else "hashtable"

    def get(self, field: bytes, now_ms: int) -> bytes | None:
        """The value of a field, None if there is no such field."""
        held = self._held
        if isinstance(held, bytes):
            value = packed.get(held, field if field.isascii() else packed.escape(field))
            return value if value is None or packed.ESCAPE not in value else packed.unescape(value)
        if held.deadlines and held.has_expired(field, now_ms):
            return None
        return held.get(field)

    def get_each(self, fields: Sequence[bytes], now_ms: int) -> list[bytes | None]:
        """What `get` gives of each of the fields, in less time."""
        held = self._held
        if isinstance(held, bytes) or held.deadlines:
            return [self.get(field, now_ms) for field in fields]
        return held.get_all(fields)

    def deadline_ms(self, field: bytes) -> int | None:
        """The deadline of a field, passed or not, None if it has none."""
        return None if isinstance(self._held, bytes) else self._held.deadlines.get(field)

    def count(self, now_ms: int) -> int:
        """How many fields there are; while more than _EXPIRED_COUNTED wait to be removed, they are counted too."""
        held = self._held
        if isinstance(held, bytes) or not held.deadlines:
            return len(self)
        return len(held) - len(held.order.expired(now_ms, _EXPIRED_COUNTED) or ())

    def count_expired(self, fields: Words, now_ms: int) -> int:
        """How many of the fields are there but have expired."""
        held = self._held
        if isinstance(held, bytes) or not held.deadlines:
            return 0
        return sum(held.has_expired(field, now_ms) for field in set(fields))

    def entries(self, now_ms: int) -> Iterator[list[Entry]]:
        """All fields with their values, in order, as they are now: a few at a time, whenever they are taken."""
        held = self._held
        if isinstance(held, bytes):
            return iter([_unpacked(held)])
        if not held.deadlines:
            return held.snapshot()
        deadlines = held.deadlines.copy()
        return ([entry for entry in some if deadlines.get(entry[0], now_ms + 1) > now_ms] for some in held.snapshot())

    def scan(self, cursor: int, now_ms: int) -> tuple[int, list[Entry]]:
        """Some fields with their values, maybe none, and the cursor of the next ones: 0 begins and ends."""
        held = self._held
        if isinstance(held, bytes):
            return 0, _unpacked(held)
        following, some = held.scan(cursor)
        return following, [entry for entry in some if not held.has_expired(entry[0], now_ms)]

    def picks(self, chance: Chance, now_ms: int) -> Iterator[Entry]:
        """Fields with their values without end, each time any of them with the same chance; none if there is none."""
        held = self._held
        if isinstance(held, _Large):
            yield from _living_picks(held, chance, now_ms)
        left = [entry for some in self.entries(now_ms) for entry in some]
        while left:
            yield chance.choice(left)

    # Changing

    def set(self, words: Words) -> Undo:
        """Give each field the value that follows it, and no deadline. Returns the undo, as do those below."""
        before = self._held
        if isinstance(before, bytes) and len(words) <= 2 * MAX_SMALL_FIELDS and max(map(len, words)) <= MAX_SMALL_BYTES:
            self._held = held = _with_all(before, words)[0]
            if _is_past(held):
                self._enlarge()
            return partial(setattr, self, "_held", before)
        large = self._enlarge()
        steps: Steps = []
        for field, value in _pairs(words):
            large.put(field, value, steps)
            if large.deadlines:
                large.put_deadline(field, None, steps)
        return self._undo(before, steps)

    def set_each(self, many: Sequence[Words]) -> list[int]:
        """What as many `set`s do, for good; returns by how many fields each made it longer."""
        longer: list[int] = []
        if isinstance(self._held, bytes):
            for words in many:
                if not self._set_small(words, longer):
                    break
            many = many[len(longer) :]
        return longer + self._enlarge().set_each(many) if many else longer

    def _set_small(self, words: Words, longer: list[int]) -> bool:
        """One of these `set`s, if the hash is small, and stays so; returns whether it does."""
        held = self._held
        if not isinstance(held, bytes) or len(words) > 2 * MAX_SMALL_FIELDS or max(map(len, words)) > MAX_SMALL_BYTES:
            return False
        self._held, new = _with_all(held, words)
        longer.append(new)
        if _is_past(self._held):
            self._enlarge()
        return True

    def remove(self, fields: Words) -> Undo:
        """Remove fields, those that are there."""
        before = self._held
        steps: Steps = []
        if isinstance(before, bytes):
            self._held = packed.without_all(before, fields)
        else:
            for field in fields:
                if before.take_out(field, steps) and before.deadlines:
                    before.put_deadline(field, None, steps)
        return self._undo(before, steps)

    def set_deadline(self, fields: Words, deadline_ms: int | None) -> Undo:
        """Give fields a deadline (ms since the epoch) or none (None), those that are there."""
        before = self._held
        steps: Steps = []
        present = [field for field in fields if self.get(field, _ALL) is not None]
        if present and not (deadline_ms is None and isinstance(before, bytes)):
            large = self._enlarge()
            for field in present:
                large.put_deadline(field, deadline_ms, steps)
        return self._undo(before, steps)

    def _enlarge(self) -> _Large:
        """Make it a large one if it is not; returns what it holds."""
        held = self._held
        if isinstance(held, bytes):
            large = _Large(self._places)
            words = _flat(held)
            large.put_all(words[::2], words[1::2])
            self._held = held = large
        return held

    # Inner deadlines

    def next_ms(self) -> int | None:
        """See `Inner`."""
        return None if isinstance(self._held, bytes) else self._held.order.next_ms()

    def expired(self, now_ms: int, limit: int) -> tuple[bytes, Words] | None:
        """See `Inner`."""
        if isinstance(self._held, bytes):
            return None
        order = self._held.order
        order.enter_some(limit)
        fields = order.some_expired(now_ms, limit)
        return (b"HDEL", tuple(fields)) if fields else None

    # Whole

    def whole(self) -> Iterator[tuple[bytes, Words]]:
        """See `ValueType`."""
        words = self._large_mark()
        size_bytes = 0
        for field, value in self._all():
            words += (field, value)
            size_bytes += len(field) + len(value) + self.OVERHEAD_BYTES
            if size_bytes > two_forms.WHOLE_BYTES:
                yield b"HSET", words
                words, size_bytes = [], 0
        if words:
            yield b"HSET", words
        if isinstance(self._held, _Large) and self._held.deadlines:
            yield from self._whole_deadlines(self._held.deadlines)

    def _all(self) -> Iterator[Entry]:
        return chain.from_iterable(self.entries(_ALL))

    def _large_mark(self) -> list[bytes]:
        """What makes it large when it is built again, if it is large though it could be small."""
        if isinstance(self._held, bytes) or not 0 < len(self) <= MAX_SMALL_FIELDS:
            return []
        entries = list(self._all())
        if max(map(len, chain.from_iterable(entries))) > MAX_SMALL_BYTES:
            return []
        return [entries[0][0], bytes(MAX_SMALL_BYTES + 1)]

    def _whole_deadlines(self, deadlines: dict[bytes, int]) -> Iterator[tuple[bytes, Words]]:
        """In the fields' order, not in that in which they got them, which an undo may change."""
        fields = (field for field, _ in self._all() if field in deadlines)
        for deadline_ms, alike in groupby(fields, deadlines.__getitem__):
            for some in self._batches(alike):
                yield b"HPEXPIREAT", (b"%d" % deadline_ms, b"FIELDS", b"%d" % len(some), *some)


def _flat(held: bytes) -> list[bytes]:
    """The fields of a small hash with their values, one behind the other."""
    return packed.unescape_all(held, packed.flat(held))


def _unpacked(held: bytes) -> list[Entry]:
    """The fields of a small hash with their values."""
    if packed.ESCAPE not in held:
        return list(packed.entries(held))
    return [(packed.unescape(name), packed.unescape(value)) for name, value in packed.entries(held)]


def _is_past(held: bytes) -> bool:
    """Whether a small hash has too many fields for one."""
    return len(held) > 2 * MAX_SMALL_FIELDS and packed.count(held) > MAX_SMALL_FIELDS  # each takes two bytes at least


def _with_all(held: bytes, words: Words) -> tuple[bytes, int]:
    """A small hash in which the fields have the values that follow them, and how many of them are new."""
    fields = words[::2]
    if held == packed.EMPTY and len(set(fields)) == len(fields):
        return packed.built(words), len(fields)
    new = 0
    for field, value in zip(fields, words[1::2], strict=True):
        name, inside = packed.escape(field), packed.escape(value)
        at = packed.find(held, name)
        if at < 0:
            held = packed.with_entry(held, name, inside)
            new += 1
        else:
            held = packed.with_value_at(held, at, inside)
    return held, new


def _pairs(words: Words) -> Iterator[Entry]:
    """Fields and values that stand one behind the other."""
    each = iter(words)
    return zip(each, each, strict=True)


# The operations


def _set(value: Hash, words: Words) -> Undo:
    if not words or len(words) % 2:
        raise ValueError("HSET without fields, or of a field without a value")
    return value.set(words)


def _set_each(value: Hash, many: Sequence[Words]) -> list[int]:
    for words in many:
        if not words or len(words) % 2:
            raise ValueError("HSET without fields, or of a field without a value")
    return value.set_each(many)


def _remove(value: Hash, words: Words) -> Undo:
    return value.remove(words)


def _set_deadline(value: Hash, words: Words) -> Undo:
    fields = _fields(words[1:])
    return value.set_deadline(fields, int(words[0]))


def _persist(value: Hash, words: Words) -> Undo:
    return value.set_deadline(_fields(words), None)


def _fields(words: Words) -> Words:
    """The fields of `FIELDS n field ...`."""
    if len(words) < 2 or words[0] != b"FIELDS" or int(words[1]) != len(words) - 2:
        raise ValueError("no such number of fields")
    return words[2:]


HASHES = ValueType(
    name="hash",
    holds=Hash,
    edits=(
        Edit(b"HSET", _set, _set_each),
        Edit(b"HDEL", _remove),
        Edit(b"HPEXPIREAT", _set_deadline),
        Edit(b"HPERSIST", _persist),
    ),
    copy=Hash.copy,
    whole=Hash.whole,
    inner=Inner(Hash.next_ms, Hash.expired),
    keyed=True,
)
