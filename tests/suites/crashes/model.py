"""What the databases of a store hold, as plain Python values, and changes of these that are drawn.

The model of the crash tests. It is written from the tables of operations in the types' modules and uses nothing of
their code; a store's content is read, for comparison, by one function for each type. A plain value is never changed,
only replaced by another one: so a copy of the dictionary that holds them all is a copy of the state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from kvstore.store.state import State
from kvstore.store.store import Store
from kvstore.values.hashes import Hash
from kvstore.values.lists import List
from kvstore.values.sets import Set
from kvstore.values.sorted_sets import SortedSet
from kvstore.values.streams import Stream
from tests.suites.crashes.streams import PlainStream, plain_stream

#: A hash: each field's value, and its deadline in ms since the epoch or None.
Fields: TypeAlias = dict[bytes, tuple[bytes, int | None]]
#: A list.
Elements: TypeAlias = tuple[bytes, ...]
#: A set.
Members: TypeAlias = frozenset[bytes]
#: All keys: by number of the database and key, each with its value (bytes, Elements, Fields, Members, Scores or
#: PlainStream) and its deadline or None. A key, or a field, past its deadline is there until it was removed.
Content: TypeAlias = dict[tuple[int, bytes], tuple[Any, int | None]]


class Scores(dict[bytes, float]):
    """A sorted set: the score of each member."""


_BEFORE_ALL_DEADLINES = -(1 << 64)


def _fields(value: Hash) -> Fields:
    entries = [entry for some in value.entries(_BEFORE_ALL_DEADLINES) for entry in some]
    return {field: (inside, value.deadline_ms(field)) for field, inside in entries}


def _scores(value: SortedSet) -> Scores:
    pairs = value.pairs(0, len(value))
    assert pairs == sorted(pairs, key=lambda pair: (pair[1], pair[0])), "members are not in order"
    return Scores(pairs)


#: How a value of each type that the runs draw is told.
READERS: dict[type, Callable[[Any], Any]] = {
    bytes: bytes, List: tuple, Hash: _fields, Set: frozenset, SortedSet: _scores,
    Stream: plain_stream,
}  # fmt: skip


def numbered(store: Store) -> Iterator[tuple[int, State]]:
    """The databases of a store, each with its number, and its libraries of functions."""
    return ((table.number, table) for table in store.tables)


def content(databases: Iterable[tuple[int, State]]) -> Content:
    """What databases, each with its number, hold. Raises AssertionError for a deadline of what is not there, or one
    inside a value that the database does not know of.
    """
    found: Content = {}
    for number, state in databases:
        for key, value in state.values.items():
            plain = READERS[value.__class__](value)
            found[number, key] = plain, state.deadlines.get(key)
            if plain.__class__ is dict:
                _check_inner(state, key, plain)
        assert state.deadlines.keys() <= state.values.keys(), "a deadline without a key"
        assert state.inner.keys() <= state.values.keys(), "a deadline inside nothing"
    return found


def _check_inner(state: State, key: bytes, fields: Fields) -> None:
    deadlines = [deadline for _, deadline in fields.values() if deadline is not None]
    if deadlines:
        assert state.inner.get(key, min(deadlines) + 1) <= min(deadlines), f"the deadlines inside {key!r} are not known"
    else:
        assert key not in state.inner, f"{key!r} has no deadlines inside"


def difference(found: Content, expected: Content) -> str:
    """The first few keys in which two contents differ."""
    wrong = sorted(at for at in found.keys() | expected.keys() if found.get(at) != expected.get(at))
    shown = [f"{at}: {_shown(found, at)}, not {_shown(expected, at)}" for at in wrong[:3]]
    return "; ".join(shown) + f"; {len(wrong)} keys differ"


def _shown(held: Content, at: tuple[int, bytes]) -> str:
    return repr(held[at])[:200] if at in held else "nothing"


class Change(NamedTuple):
    """An edit: name and words of its operation, and what it makes of the plain value."""

    name: bytes
    words: list[bytes]
    after: Elements | Fields | Members | Scores | PlainStream


def list_change(pick: random.Random, before: Elements) -> Change:
    """Some edit of a list, which may be empty."""
    name = pick.choice(_LIST_EDITS if before else _PUSHES)
    words, after = _LIST_CHANGES[name](pick, before)
    return Change(name, words, after)


_Drawn: TypeAlias = tuple[list[bytes], Elements]


def _some(pick: random.Random) -> list[bytes]:
    return [_element(pick) for _ in range(pick.choice((1, 1, 2, 6)))]


def _element(pick: random.Random) -> bytes:
    return pick.choice((b"", b"a", b"b", b"%d" % pick.randrange(1000), b"e" * 30, b"long" * 70))


def _push_right(pick: random.Random, before: Elements) -> _Drawn:
    words = _some(pick)
    return words, (*before, *words)


def _push_left(pick: random.Random, before: Elements) -> _Drawn:
    words = _some(pick)
    return words, (*reversed(words), *before)


def _pop_left(pick: random.Random, before: Elements) -> _Drawn:
    count = pick.randint(1, len(before))
    return [b"%d" % count], before[count:]


def _pop_right(pick: random.Random, before: Elements) -> _Drawn:
    count = pick.randint(1, len(before))
    return [b"%d" % count], before[: len(before) - count]


def _put(pick: random.Random, before: Elements) -> _Drawn:
    at, element = pick.randrange(len(before)), _element(pick)
    return [b"%d" % at, element], (*before[:at], element, *before[at + 1 :])


def _insert(pick: random.Random, before: Elements) -> _Drawn:
    pivot, element, where = pick.choice(before), _element(pick), pick.choice((b"BEFORE", b"AFTER"))
    at = before.index(pivot) + (where == b"AFTER")
    return [where, pivot, element], (*before[:at], element, *before[at:])


def _remove(pick: random.Random, before: Elements) -> _Drawn:
    element, count = pick.choice(before), pick.choice((0, 1, -1, 2, -2))
    at = [index for index, each in enumerate(before) if each == element]
    gone = at[:count] if count > 0 else at[count:]
    return [b"%d" % count, element], tuple(each for index, each in enumerate(before) if index not in gone)


def _trim(pick: random.Random, before: Elements) -> _Drawn:
    start = pick.randrange(len(before))
    stop = pick.randrange(start, len(before))
    return [b"%d" % start, b"%d" % stop], before[start : stop + 1]


_LIST_CHANGES: dict[bytes, Callable[[random.Random, Elements], _Drawn]] = {
    b"RPUSH": _push_right, b"LPUSH": _push_left, b"LPOP": _pop_left, b"RPOP": _pop_right, b"LSET": _put,
    b"LINSERT": _insert, b"LREM": _remove, b"LTRIM": _trim,
}  # fmt: skip
_PUSHES = (b"RPUSH", b"LPUSH")
_LIST_EDITS = (*_LIST_CHANGES, *_PUSHES)


def hash_change(pick: random.Random, before: Fields, now_ms: int) -> Change:
    """Some edit of a hash, which may be empty. Its deadlines are soon after `now_ms`."""
    named = pick.sample(_FIELDS, pick.choice((1, 1, 2, 4)))
    name = pick.choice((b"HSET", b"HSET", b"HDEL", b"HPEXPIREAT", b"HPEXPIREAT", b"HPERSIST")) if before else b"HSET"
    if name == b"HSET":
        given = {field: pick.choice(_INSIDES) for field in named}
        words = [word for pair in given.items() for word in pair]
        return Change(name, words, {**before, **{field: (inside, None) for field, inside in given.items()}})
    if name == b"HDEL":
        return Change(name, named, {field: held for field, held in before.items() if field not in named})
    deadline = now_ms + pick.randrange(1, 3000) if name == b"HPEXPIREAT" else None
    words = [*([] if deadline is None else [b"%d" % deadline]), b"FIELDS", b"%d" % len(named), *named]
    changed = {field: (before[field][0], deadline) for field in named if field in before}
    return Change(name, words, {**before, **changed})


#: Some as a small hash holds them in other bytes than their own; values that make a hash a large one.
_FIELDS = [b"", b"f", b"g", b"field", b"\xff\xfd", b"\xc3\xa4" * 5]
_INSIDES = (b"", b"1", b"\xff", b"v" * 30, b"w" * 64, b"x" * 65, b"y" * 300)


def set_change(pick: random.Random, before: Members) -> Change:
    """Some edit of a set, which may be empty."""
    named = pick.sample(_MEMBERS, pick.choice((1, 1, 2, 4, 9)))
    if before and pick.random() < 0.5:
        return Change(b"SREM", named, before.difference(named))
    return Change(b"SADD", named, before.union(named))


#: Numbers, some as a small set holds them in other bytes than their own, some that make a set a large one.
_MEMBERS = [b"1", b"-2", b"30", b"4" * 18, b"", b"m", b"\xff\xfd", b"\xc3\xa4" * 5, b"w" * 64, b"x" * 65, b"y" * 1030]


def scores_change(pick: random.Random, before: Scores) -> Change:
    """Some edit of a sorted set, which may be empty."""
    kind = pick.choice((b"ZADD", b"ZADD", b"ZREM", b"ZREMRANGEBYRANK")) if before else b"ZADD"
    if kind == b"ZREMRANGEBYRANK":
        start = pick.randrange(len(before))
        stop = pick.randrange(start, len(before))
        in_order = sorted(before, key=lambda member: (before[member], member))
        left = in_order[:start] + in_order[stop + 1 :]
        return Change(kind, [b"%d" % start, b"%d" % stop], Scores((member, before[member]) for member in left))
    named = pick.sample(_MEMBERS, pick.choice((1, 1, 2, 4, 9)))
    if kind == b"ZREM":
        return Change(kind, named, Scores(pair for pair in before.items() if pair[0] not in named))
    given = {member: pick.choice(_SCORES) for member in named}
    words = [word for member, score in given.items() for word in (score, member)]
    return Change(kind, words, Scores(before | {member: float(score) for member, score in given.items()}))


#: Some as they are not written again.
_SCORES = (b"0", b"0", b"-0.0", b"1", b"1.5", b"1e3", b"-inf", b"inf", b"-2.5e-7", b"12345678901234567890")
