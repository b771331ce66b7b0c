"""Sets: members at a key, each once. What sets have in common, and the like, is in `set_algebra`.

Every command finds out first what there is to change, then changes it by operations that say just that; what was taken
at random is in the log by name.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import filterfalse

from kvstore.base.chance import Chance
from kvstore.base.errors import syntax_error
from kvstore.base.reply import Members, Numbers, Reply, Strings
from kvstore.base.slices import Slices
from kvstore.commands.arguments import Key, at_least, negatable, to_integer
from kvstore.commands.context import Call
from kvstore.commands.registry import command, many
from kvstore.commands.row import FAST, READ, WRITE, can_be_taken
from kvstore.commands.sampling import drawn, limited, takes_long
from kvstore.commands.scanning import scan_options, to_cursor, walk
from kvstore.store.observing import NOTHING_SAID
from kvstore.store.table import Table
from kvstore.values.sets import Set

#: Members that are done at once: more of them are done in slices.
_AT_ONCE = 1000
#: Members that one operation takes out.
_REMOVED_AT_ONCE = 1024
#: If fewer than one of so many members stay, the set is made anew of those that do.
_ONE_STAYS = 6


@command("SADD", WRITE | FAST, group="set")
def sadd(call: Call, key: Key, member: bytes, *members: bytes) -> Reply:
    """Add members to a set; returns how many are new."""
    return _add(call.table, key, (member, *members))


@many("SADD", one_element=2)
def sadd_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many SADDs of one member. Their bytes, as they came, are the operations that the log keeps."""
    if len(columns) != 2 or raw is None:
        return None
    keys, members = columns
    new = table.edit_each(keys, b"SADD", list(zip(members, strict=True)), raw, only_longer=True)
    return None if new is None else Numbers(map(b"%d".__mod__, new))


def _found_each(values: Sequence[Set | None], members: list[bytes]) -> list[bool]:
    """Whether each set has the member at its place."""
    first = values[0]
    if first is not None and values.count(first) == len(values):
        return first.contains_each(members)
    return [value is not None and member in value for value, member in zip(values, members, strict=True)]


def _add(table: Table, key: bytes, members: Sequence[bytes]) -> int:
    value = table.typed(key, Set)
    if value is not None and all(member in value for member in members):
        return 0
    count = 0 if value is None else len(value)
    table.edit(key, b"SADD", members)
    return len(table.values[key]) - count


@command("SREM", WRITE | FAST, group="set")
def srem(call: Call, key: Key, member: bytes, *members: bytes) -> Reply:
    """Remove members of a set; returns how many there were."""
    return _remove(call.table, key, (member, *members))


def _remove(table: Table, key: bytes, members: Sequence[bytes]) -> int:
    value = table.typed(key, Set)
    if value is None or not any(member in value for member in members):
        return 0
    count = len(value)
    table.edit(key, b"SREM", members)
    return count - len(value)


@command("SMOVE", WRITE | FAST, group="set")
def smove(call: Call, source: Key, destination: Key, member: bytes) -> Reply:
    """Take a member out of a set, and put it into another; returns whether it was there."""
    table = call.table
    value = table.typed(source, Set)
    if value is None:
        return 0
    table.typed(destination, Set)
    if member not in value:
        return 0
    if source != destination:
        table.edit(source, b"SREM", (member,))
        _add(table, destination, (member,))
    return 1


@command("SCARD", READ | FAST, group="set")
def scard(call: Call, key: Key) -> Reply:
    """Count the members of a set."""
    return len(call.table.look_up_typed(key, Set) or ())


@command("SISMEMBER", READ | FAST, group="set")
def sismember(call: Call, key: Key, member: bytes) -> Reply:
    """Tell whether a set has a member."""
    value = call.table.look_up_typed(key, Set)
    return int(value is not None and member in value)


@many("SISMEMBER", one_element=2)
def sismember_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many SISMEMBERs; none if a key holds what is no set."""
    values = table.look_up_each(columns[0], Set) if len(columns) == 2 else None
    if values is None:
        return None
    return Numbers(map((b"0", b"1").__getitem__, _found_each(values, columns[1])))


@command("SMISMEMBER", READ | FAST, group="set")
def smismember(call: Call, key: Key, member: bytes, *members: bytes) -> Reply:
    """Tell of each of several whether it is a member of a set."""
    value = call.table.look_up_typed(key, Set)
    if value is None:
        return [0] * (1 + len(members))
    return list(map(int, value.contains_each((member, *members))))


# All of them, or some by chance


@command("SMEMBERS", READ, group="set")
def smembers(call: Call, key: Key) -> Reply:
    """List the members of a set."""
    value = call.table.look_up_typed(key, Set)
    if value is None:
        return Members()
    if len(value) <= _AT_ONCE:
        return Members(value)
    reply = Members()
    return _in_slices(call.table, key, reply, lambda value: map(reply.extend, value.members()))


def _in_slices(table: Table, key: bytes, reply: Reply, steps: Callable[[Set], Iterable[object]]) -> Slices:
    """`reply`, after all steps that are to be done with the set that is at `key`, as it is now."""
    yield from table.slicing.room()
    value = table.typed(key, Set)
    if value is not None:
        yield from table.slicing.go_through(steps(value))
    return reply


@command("SRANDMEMBER", READ, group="set", options="[count]")
def srandmember(call: Call, key: Key, *options: bytes) -> Reply:
    """Get a random member; or some, all different or, if count is negative, each any of them."""
    if len(options) > 1:
        raise syntax_error()
    if options:
        return _random_members(call, key, negatable(to_integer(options[0])))
    value = call.table.look_up_typed(key, Set)
    return None if value is None else value.pick(call.server.random)


def _random_members(call: Call, key: bytes, count: int) -> Reply:
    limit_bytes = call.server.max_reply_bytes
    reply = Strings()

    def steps(value: Set) -> Iterator[object]:
        return map(reply.append, limited(_drawn(value, count, call.server.random), len, limit_bytes))

    value = call.table.look_up_typed(key, Set)
    if value is None or not count:
        return reply
    if takes_long(count, len(value), _AT_ONCE):
        return _in_slices(call.table, key, reply, lambda value: steps(value.copy()))
    deque(steps(value), maxlen=0)
    return reply


def _drawn(value: Set, count: int, chance: Chance) -> Iterator[bytes]:
    """So many members of a set, see SRANDMEMBER."""
    return drawn(lambda: value.picks(chance), lambda: value, count, len(value), chance)


@command("SPOP", WRITE | FAST, group="set", options="[count]")
def spop(call: Call, key: Key, *options: bytes) -> Reply:
    """Take a random member, or some, out of a set."""
    if len(options) > 1:
        raise syntax_error()
    if options:
        return _pop_some(call, key, at_least(0, options[0], "value is out of range, must be positive"))
    value = call.table.typed(key, Set)
    if value is None:
        return None
    member = value.pick(call.server.random)
    call.table.edit(key, b"SREM", (member,), b"spop")
    return member


@many("SPOP")
def spop_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> list[bytes | None] | None:
    """As many SPOPs of one member; none if some find none and others do, or members are long."""
    keys = columns[0]
    values = table.held_each(keys, Set) if len(columns) == 1 else None
    if values is None:
        return None
    if not any(values):
        return [None] * len(keys)
    sets, taken = dict(zip(keys, values, strict=True)), dict[bytes, list[bytes]]()
    for key, count in Counter(keys).items():
        value = sets[key]
        if value is None or len(value) < count:
            return None
        taken[key] = members = list(_drawn(value, count, table.chance))
        if len(members) < count or not can_be_taken(members):
            return None
        table.chance.shuffle(members)  # they may be in the order of the set
    popped = [taken[key].pop() for key in keys]
    return None if table.edit_each(keys, b"SREM", list(zip(popped, strict=True))) is None else list(popped)


def _pop_some(call: Call, key: bytes, count: int) -> Reply:
    table = call.table
    value = table.typed(key, Set)
    if value is None or not count:
        return Members()
    left = len(value) - count
    if left <= 0:
        table.delete(key, b"spop")
        return Members(value)
    if value.is_large and _ONE_STAYS * left <= len(value):
        return _pop_most(call, key, value, left)
    popped = Members(_drawn(value, count, call.server.random))
    for place in range(0, len(popped), _REMOVED_AT_ONCE):
        table.edit(key, b"SREM", popped[place : place + _REMOVED_AT_ONCE], NOTHING_SAID if place else b"spop")
    return popped


def _pop_most(call: Call, key: bytes, value: Set, left: int) -> Members:
    """Take all but `left` members out of the set at `key`: by making it anew of these."""
    table = call.table
    staying = Set(table.types.places)
    staying.add(list(_drawn(value, left, call.server.random)))
    popped = Members(filterfalse(staying.__contains__, value))
    table.put(key, staying, table.deadline_ms(key), b"spop")
    return popped


@command("SSCAN", READ, group="set", options="[MATCH pattern] [COUNT count]")
def sscan(call: Call, key: Key, cursor: bytes, *options: bytes) -> Reply:
    """Walk through the members, some at a time; returns the next cursor, 0 at the end, and members."""
    place = to_cursor(cursor)
    value = call.table.look_up_typed(key, Set)
    if value is None:
        return [b"0", []]
    asked = scan_options(options)
    matches = asked.matches
    kept: list[bytes] = []
    take = kept.extend if matches is None else lambda members: kept.extend(filter(matches, members))
    place = walk(value.scan, place, asked.number, take)
    return [b"%d" % place, kept]
