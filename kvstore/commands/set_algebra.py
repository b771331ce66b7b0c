"""What sets have in common (SINTER), all that they have (SUNION), what only the first has (SDIFF); told or kept.

What is kept is in the log whole, as RENAME has it. What takes long is done in slices if it only reads: with copies of
the sets, which share their buckets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import Members, Reply
from kvstore.base.slices import Slices
from kvstore.commands.arguments import IntegerText, Key, at_least, pairs
from kvstore.commands.context import Call
from kvstore.commands.registry import command
from kvstore.commands.row import READ, WRITE, numbered_keys
from kvstore.store.table import Table
from kvstore.values.combining import difference, intersection, union
from kvstore.values.sets import MAX_SMALL_NUMBERS, Set

#: Sets, None where there is no key.
_Sets: TypeAlias = "list[Set | None]"
_Combine: TypeAlias = Callable[[_Sets], Iterator[list[bytes]]]

#: Members of all sets that are gone through at once: more of them in slices.
_AT_ONCE = 1000


def _common(sets: _Sets) -> Iterator[list[bytes]]:
    there = [each for each in sets if each is not None]
    return intersection(there) if len(there) == len(sets) else iter(())


def _all(sets: _Sets) -> Iterator[list[bytes]]:
    return union([each for each in sets if each is not None])


def _left(sets: _Sets) -> Iterator[list[bytes]]:
    first, *others = sets
    return iter(()) if first is None else difference(first, [each for each in others if each is not None])


# Told


@command("SINTER", READ, group="set")
def sinter(call: Call, key: Key, *keys: Key) -> Reply:
    """List the members that all sets have."""
    return _told(call.table, (key, *keys), _common)


@command("SUNION", READ, group="set")
def sunion(call: Call, key: Key, *keys: Key) -> Reply:
    """List the members that any of the sets has."""
    return _told(call.table, (key, *keys), _all)


@command("SDIFF", READ, group="set")
def sdiff(call: Call, key: Key, *keys: Key) -> Reply:
    """List the members that the first set has, and none of the others."""
    return _told(call.table, (key, *keys), _left)


def _told(table: Table, keys: Sequence[bytes], combine: _Combine) -> Reply:
    reply = Members()
    return _gone_through(table, keys, lambda sets: map(reply.extend, combine(sets)), lambda: reply)


def _gone_through(
    table: Table, keys: Sequence[bytes], steps: Callable[[_Sets], Iterator[object]], reply: Callable[[], Reply]
) -> Reply:
    """`reply()`, after all steps that are to be done with the sets, as they are now."""
    sets = [table.look_up_typed(key, Set) for key in keys]
    if sum(map(len, filter(None, sets))) > _AT_ONCE:
        return _in_slices(table, keys, steps, reply)
    deque(steps(sets), maxlen=0)
    return reply()


def _in_slices(
    table: Table, keys: Sequence[bytes], steps: Callable[[_Sets], Iterator[object]], reply: Callable[[], Reply]
) -> Slices:
    yield from table.slicing.room()
    sets = [table.typed(key, Set) for key in keys]
    yield from table.slicing.go_through(steps([each and each.copy() for each in sets]))
    return reply()


# Counted


@command("SINTERCARD", READ, group="set", keys=numbered_keys(1), options="[key ...] [LIMIT limit]")
def sintercard(call: Call, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Count the members that all sets have; up to a limit, unless that is 0."""
    keys, limit = _card_arguments(numkeys, (key, *more))
    count = 0

    def steps(sets: _Sets) -> Iterator[None]:
        nonlocal count
        for some in _common(sets):
            count += len(some)
            if limit and count >= limit:
                count = limit
                return
            yield

    return _gone_through(call.table, keys, steps, lambda: count)


def _card_arguments(numkeys: bytes, arguments: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], int]:
    """The keys, and the limit."""
    number = at_least(1, numkeys, "numkeys should be greater than 0")
    if number > len(arguments):
        raise InvalidRequest("Number of keys can't be greater than number of args")
    return arguments[:number], limit_of(arguments[number:])


def limit_of(options: tuple[bytes, ...]) -> int:
    """The LIMIT of a SINTERCARD or ZINTERCARD, 0 for none. Raises InvalidRequest."""
    limit = 0
    for name, text in pairs(options):
        if name != b"LIMIT":
            raise syntax_error()
        limit = at_least(0, text, "LIMIT can't be negative")
    return limit


# Kept


@command("SINTERSTORE", WRITE, group="set")
def sinterstore(call: Call, destination: Key, key: Key, *keys: Key) -> Reply:
    """Keep the members that all sets have, as a set at another key; returns how many there are."""
    return _keep(call.table, destination, (key, *keys), _common, b"sinterstore")


@command("SUNIONSTORE", WRITE, group="set")
def sunionstore(call: Call, destination: Key, key: Key, *keys: Key) -> Reply:
    """Keep the members that any of the sets has, as a set at another key; returns how many there are."""
    return _keep(call.table, destination, (key, *keys), _all, b"sunionstore")


@command("SDIFFSTORE", WRITE, group="set")
def sdiffstore(call: Call, destination: Key, key: Key, *keys: Key) -> Reply:
    """Keep the members that only the first set has, as a set at another key; returns how many there are."""
    return _keep(call.table, destination, (key, *keys), _left, b"sdiffstore")


def _keep(table: Table, destination: bytes, keys: Sequence[bytes], combine: _Combine, event: bytes) -> int:
    sets = [table.look_up_typed(key, Set) for key in keys]
    members = list(chain.from_iterable(combine(sets)))
    if not members:
        table.delete(destination)
        return 0
    kept = Set(table.types.places)
    if combine is _left and sets[0] is not None and _takes_away(sets):
        _begin_as(kept, sets[0], members)
    kept.add_each([members])
    table.put(destination, kept, None, event)
    return len(members)


def _takes_away(sets: _Sets) -> bool:
    """Whether Valkey takes members of the others out of a copy of the first, by which that may stay a hash table."""
    there = [each for each in sets if each is not None]
    return len(there[0]) * len(there) // 2 > sum(map(len, there))


def _begin_as(kept: Set, first: Set, members: list[bytes]) -> None:
    """Let `kept` be held as Valkey would hold it when it is left over of a copy of `first`."""
    if len(first) > MAX_SMALL_NUMBERS:
        kept.make_large()
        return
    kept.add_each([list(first)])
    staying = frozenset(members)
    kept.remove([member for member in first if member not in staying])
