"""Sets: members, each once.

| operation | effect |
|---|---|
| `SADD key member ...` | these are members |
| `SREM key member ...` | these are none; some may not have been |

A small set is one bytes object (`packed`, with empty values): 1 M of five short members take 0.25 GB. At Valkey's
thresholds it becomes a large one (`buckets`), and as in Valkey it stays one. The members of a small set stand as they
came; for those of a large one see `buckets`.

**How Valkey would hold it** is told by OBJECT ENCODING: as an intset while all members are whole numbers, as a
listpack, or as a hash table. It hangs on what the set was, too: with its last member gone that was no number, a
listpack stays one. Such a small set is of a class of its own (`_Listpack`), since there are few. So that each is what
it was when it is built again, its operations begin, where needed, with a member that makes it so, and goes at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from kvstore.base.chance import Chance
from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.values import packed
from kvstore.values.buckets import Buckets, Steps
from kvstore.values.two_forms import TwoForms

#: A set of more members is large, and one with a longer member that is no number. Valkey: set-max-listpack-entries and
#: -value; of whole numbers alone: set-max-intset-entries.
MAX_SMALL_MEMBERS = 128
MAX_SMALL_BYTES = 64
MAX_SMALL_NUMBERS = 512

#: Members that make a small set a listpack, and a large one.
_LISTPACK_MARK, _LARGE_MARK = b"", bytes(MAX_SMALL_BYTES + 1)

_INT64_DIGITS = 19
_number = re.compile(rb"0|-?[1-9][0-9]{0,%d}" % (_INT64_DIGITS - 1)).fullmatch
#: A small set of numbers that have one digit less than the largest.
_short_numbers = re.compile(rb"(?:\xff(?:0|-?[1-9][0-9]{0,%d})\xfe)*\xff" % (_INT64_DIGITS - 2)).fullmatch


class _Listpack(bytes):
    """A small set of nothing but numbers that had other members."""

    __slots__ = ()


class Set(TwoForms[Buckets]):
    """A set; see the module. `places`: see `Buckets`."""

    __slots__ = ()

    OVERHEAD_BYTES = 6

    def encoding(self) -> str:
        """See `TypedValue`."""
        held = self._held
        if not isinstance(held, bytes):
            return "hashtable"
        return "intset" if _is_of_numbers(held) else "listpack"

    # Reading

    @property
    def is_large(self) -> bool:
        """Whether it takes long to go through."""
        return not isinstance(self._held, bytes)

    def __contains__(self, member: bytes) -> bool:
        held = self._held
        if isinstance(held, bytes):
            return packed.find(held, member if member.isascii() else packed.escape(member)) >= 0
        return held.get(member) is not None

    def contains_each(self, members: Sequence[bytes]) -> list[bool]:
        """Whether each of these, at least one, is a member, in less time."""
        held = self._held
        if isinstance(held, bytes):
            return [member in self for member in members]
        return [value is not None for value in held.get_all(members)]

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.members())

    def members(self) -> Iterator[list[bytes]]:
        """All members, in order, as they are now: a few at a time, whenever they are taken."""
        held = self._held
        if isinstance(held, bytes):
            return iter([_unpacked(held)])
        return ([name for name, _ in some] for some in held.snapshot())

    def region_bits(self) -> int:
        """Of a large one: see `Buckets.region_bits`."""
        assert isinstance(self._held, Buckets)
        return self._held.region_bits()

    def regions(self, bits: int) -> Iterator[list[bytes]]:
        """Of a large one: see `Buckets.regions`."""
        assert isinstance(self._held, Buckets)
        return self._held.regions(bits)

    def scan(self, cursor: int) -> tuple[int, list[bytes]]:
        """Some members, maybe none, and the cursor of the next ones: 0 begins and ends."""
        held = self._held
        if isinstance(held, bytes):
            return 0, _unpacked(held)
        following, some = held.scan(cursor)
        return following, [name for name, _ in some]

    def pick(self, chance: Chance) -> bytes:
        """A member, each with the same chance. There must be one."""
        held = self._held
        return chance.choice(_unpacked(held)) if isinstance(held, bytes) else next(held.picks(chance))[0]

    def picks(self, chance: Chance) -> Iterator[bytes]:
        """Members without end, each time any of them with the same chance. There must be one."""
        held = self._held
        if isinstance(held, bytes):
            members = _unpacked(held)
            while True:
                yield chance.choice(members)
        for name, _ in held.picks(chance):
            yield name

    # Changing

    def add(self, members: Words) -> Undo:
        """Make these members, at least one. Returns the undo, as does `remove`."""
        before = self._held
        steps: Steps = []
        if not isinstance(before, bytes):
            for member in members:
                before.put(member, b"", steps)
        elif self._add_small(members) is None:
            self._enlarge().put_all(members, [b""] * len(members))
        return self._undo(before, steps)

    def add_each(self, many: Sequence[Words]) -> list[int]:
        """What as many `add`s do, for good; returns by how many members each made it longer."""
        longer: list[int] = []
        for members in many:
            if (count := self._add_small(members)) is None:
                break
            longer.append(count)
        many = many[len(longer) :]
        if not many:
            return longer
        new = self._enlarge().put_all(list(chain.from_iterable(many)), [b""] * sum(map(len, many)))
        each = iter(new)
        return longer + (new if len(many) == len(new) else [sum(islice(each, len(some))) for some in many])

    def _add_small(self, members: Words) -> int | None:
        """Make these members, if the set is small and stays so; returns how many are new, or None."""
        held = self._held
        if not isinstance(held, bytes) or len(members) > MAX_SMALL_NUMBERS or max(map(len, members)) > MAX_SMALL_BYTES:
            return None
        after, new = _with_all(held, members)
        is_short = len(after) <= 2 * MAX_SMALL_MEMBERS and len(members) <= MAX_SMALL_MEMBERS
        if not is_short and not _fits(after, held, members):
            return None
        self._held = _Listpack(after) if isinstance(held, _Listpack) and all(map(_is_number, members)) else after
        return new

    def make_large(self) -> None:
        """Hold it as one with many members, for good."""
        self._enlarge()

    def remove(self, members: Words) -> Undo:
        """Make these no members, those that are."""
        before = self._held
        steps: Steps = []
        if isinstance(before, bytes):
            self._held = _without_all(before, members)
        else:
            for member in members:
                before.take_out(member, steps)
        return self._undo(before, steps)

    def remove_each(self, many: Sequence[Words]) -> list[int]:
        """What as many `remove`s do, for good; returns by how many members, 0 or below, each made it longer."""
        if not isinstance(self._held, bytes):
            there = iter(self._held.take_out_all(list(chain.from_iterable(many))))
            return [-sum(islice(there, len(some))) for some in many]
        longer: list[int] = []
        for members in many:
            before = len(self)
            self.remove(members)
            longer.append(len(self) - before)
        return longer

    def _enlarge(self) -> Buckets:
        """Make it a large one if it is not; returns what it holds."""
        held = self._held
        if isinstance(held, bytes):
            large = Buckets(self._places)
            members = _unpacked(held)
            large.put_all(members, [b""] * len(members))
            self._held = held = large
        return held

    # Whole

    def whole(self) -> Iterator[tuple[bytes, Words]]:
        """See `ValueType`."""
        each = iter(self)
        mark = self._mark()
        if mark is not None:
            yield b"SADD", [mark, next(each)]
            yield b"SREM", [mark]
        for some in self._batches(each):
            yield b"SADD", some

    def _mark(self) -> bytes | None:
        """The member that makes it what it is, if it would be something else without."""
        held = self._held
        if isinstance(held, bytes):
            return _LISTPACK_MARK if isinstance(held, _Listpack) else None
        if not 0 < len(held) <= MAX_SMALL_NUMBERS:
            return None
        return _LARGE_MARK if _could_be_small(list(self)) else None


def _is_number(member: bytes) -> bool:
    """Whether Redis takes it for a whole number, of 64 bits."""
    if _number(member) is None:
        return False
    return len(member) < _INT64_DIGITS or -(2**63) <= int(member) < 2**63


def _is_of_numbers(held: bytes) -> bool:
    """Whether Valkey would hold the small set as an intset; true of one without members."""
    if isinstance(held, _Listpack):
        return False
    return _short_numbers(held) is not None or all(map(_is_number, _unpacked(held)))


def _fits(after: bytes, held: bytes, members: Words) -> bool:
    """Whether a small set stays one that is `after` when these members came to what it has `held`."""
    numbers = _is_of_numbers(held) and (held != packed.EMPTY or _is_number(members[0]))
    if len(members) > (MAX_SMALL_NUMBERS if numbers else MAX_SMALL_MEMBERS):
        return False
    return packed.count(after) <= (MAX_SMALL_NUMBERS if numbers and _is_of_numbers(after) else MAX_SMALL_MEMBERS)


def _could_be_small(members: Sequence[bytes]) -> bool:
    if len(members) <= MAX_SMALL_MEMBERS and max(map(len, members)) <= MAX_SMALL_BYTES:
        return True
    return len(members) <= MAX_SMALL_NUMBERS and all(map(_is_number, members))


def _unpacked(held: bytes) -> list[bytes]:
    """The members of a small set, in order."""
    members = held[1:-2].split(b"\xfe\xff") if len(held) > 1 else []
    return packed.unescape_all(held, members)


def _with_all(held: bytes, members: Words) -> tuple[bytes, int]:
    """A small set with these, and how many of them are new."""
    if held == packed.EMPTY and len(set(members)) == len(members):
        return b"\xff%b\xfe\xff" % b"\xfe\xff".join(packed.escape_all(members)), len(members)
    new = 0
    for member in members:
        name = member if member.isascii() else packed.escape(member)
        if packed.find(held, name) < 0:
            held = packed.with_entry(held, name, b"")
            new += 1
    return held, new


def _without_all(held: bytes, members: Words) -> bytes:
    """A small set without these; what was a listpack stays one."""
    after, texts_gone = held, isinstance(held, _Listpack)
    for member in members:
        name = packed.escape(member)
        at = packed.find(after, name)
        if at >= 0:
            after = packed.without_entry_at(after, at, name)
            texts_gone = texts_gone or not _is_number(member)
    return _Listpack(after) if texts_gone and after != packed.EMPTY and _is_of_numbers(after) else after


# The operations


def _add(value: Set, words: Words) -> Undo:
    if not words:
        raise ValueError("SADD of no member")
    return value.add(words)


def _add_each(value: Set, many: Sequence[Words]) -> list[int]:
    if not all(many):
        raise ValueError("SADD of no member")
    return value.add_each(many)


def _remove(value: Set, words: Words) -> Undo:
    return value.remove(words)


def _remove_each(value: Set, many: Sequence[Words]) -> list[int]:
    return value.remove_each(many)


SETS = ValueType(
    name="set",
    holds=Set,
    edits=(Edit(b"SADD", _add, _add_each), Edit(b"SREM", _remove, _remove_each)),
    copy=Set.copy,
    whole=Set.whole,
    keyed=True,
)
