"""Hashes: fields at a key, each with a value. What fields have to do with time is in `hash_deadlines`.

Every command validates first and computes what is to be written; then it changes the value by `Table.edit`, whose
operations are absolute. Fields whose deadlines have passed are told from the others by the time that readers hand in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeAlias

from kvstore.base.chance import Chance
from kvstore.base.errors import Failure, InvalidRequest, wrong_arity
from kvstore.base.reply import OK, Numbers, Reply
from kvstore.base.slices import Slices
from kvstore.commands.arguments import INT64_MAX, INT64_MIN, Integer, Key, is_short_number, to_integer
from kvstore.commands.context import Call
from kvstore.commands.long_double import LongDouble, add_as_long_doubles
from kvstore.commands.registry import command, many
from kvstore.commands.row import FAST, READ, WRITE
from kvstore.commands.sampling import drawn, limited, number_asked, takes_long
from kvstore.commands.scanning import scan_options, to_cursor, walk
from kvstore.store.observing import NOTHING_SAID
from kvstore.store.table import Table
from kvstore.values.hashes import Hash

Entry: TypeAlias = tuple[bytes, bytes]

#: Fields that are done at once: more of them are done in slices, so many before each look at the watch.
_AT_ONCE = 500
#: A time at which no deadline has passed.
_NEVER = -(1 << 64)


@command("HSET", WRITE | FAST, group="hash", options="[field value ...]")
def hset(call: Call, key: Key, field: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Give fields values; returns how many fields are new."""
    if len(pairs) % 2:
        raise wrong_arity("hset")
    return _set(call, key, (field, value, *pairs))


@many("HSET", one_element=3)
def hset_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many HSETs. Their bytes, as they came, are the operations that the log keeps."""
    if len(columns) < 3 or not len(columns) % 2 or raw is None:
        return None
    added = table.edit_each(columns[0], b"HSET", list(zip(*columns[1:], strict=True)), raw)
    return None if added is None else Numbers(map(b"%d".__mod__, added))


@command("HMSET", WRITE | FAST, group="hash", options="[field value ...]")
def hmset(call: Call, key: Key, field: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Give fields values, as HSET does."""
    if len(pairs) % 2:
        raise wrong_arity("hmset")
    _set(call, key, (field, value, *pairs))
    return OK


def _set(call: Call, key: bytes, words: tuple[bytes, ...]) -> int:
    """Give fields the values that follow them; returns how many are new."""
    table = call.table
    value = table.typed(key, Hash)
    count = 0 if value is None else len(value)
    expired = 0 if value is None else value.count_expired(words[::2], table.now_ms())
    table.edit(key, b"HSET", words)
    return len(table.values[key]) - count + expired


@command("HSETNX", WRITE | FAST, group="hash")
def hsetnx(call: Call, key: Key, field: bytes, value: bytes) -> Reply:
    """Give a field a value if there is no such field; returns whether there was none."""
    before = call.table.typed(key, Hash)
    if before is not None and before.get(field, call.table.now_ms()) is not None:
        return 0
    call.table.edit(key, b"HSET", (field, value))
    return 1


@command("HGET", READ | FAST, group="hash")
def hget(call: Call, key: Key, field: bytes) -> Reply:
    """Get the value of a field."""
    table = call.table
    value = table.look_up_typed(key, Hash)
    return None if value is None else value.get(field, table.now_ms())


@many("HGET", one_element=2)
def hget_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> list[bytes | None] | None:
    """As many HGETs; none if a key holds what is no hash."""
    values = table.look_up_each(columns[0], Hash) if len(columns) == 2 else None
    if values is None:
        return None
    fields, now_ms = columns[1], table.now_ms()
    first = values[0]
    if first is not None and values.count(first) == len(values):
        return first.get_each(fields, now_ms)
    return [None if value is None else value.get(field, now_ms) for value, field in zip(values, fields, strict=True)]


@command("HMGET", READ | FAST, group="hash")
def hmget(call: Call, key: Key, field: bytes, *fields: bytes) -> Reply:
    """Get the values of several fields; null for one that is not there."""
    value = call.table.look_up_typed(key, Hash)
    if value is None:
        return [None] * (1 + len(fields))
    now_ms = call.table.now_ms()
    return [value.get(each, now_ms) for each in (field, *fields)]


@command("HLEN", READ | FAST, group="hash")
def hlen(call: Call, key: Key) -> Reply:
    """Count the fields of a hash.

    Unlike Valkey, fields whose deadlines have passed are counted only while more than 1,000 of them wait to be
    removed; there they always are.
    """
    value = call.table.look_up_typed(key, Hash)
    return 0 if value is None else value.count(call.table.now_ms())


@command("HEXISTS", READ | FAST, group="hash")
def hexists(call: Call, key: Key, field: bytes) -> Reply:
    """Tell whether there is such a field."""
    return int(hget(call, key, field) is not None)


@command("HSTRLEN", READ | FAST, group="hash")
def hstrlen(call: Call, key: Key, field: bytes) -> Reply:
    """Get the length of the value of a field, in bytes."""
    return len(hget(call, key, field) or b"")


@command("HDEL", WRITE | FAST, group="hash")
def hdel(call: Call, key: Key, field: bytes, *fields: bytes) -> Reply:
    """Remove fields; returns how many there were."""
    value = call.table.typed(key, Hash)
    if value is None:
        return 0
    now_ms, names = call.table.now_ms(), [field, *fields]
    if value.count_expired(names, now_ms):  # these are left to be removed in their turn
        names = [name for name in names if value.get(name, now_ms) is not None]
    if all(value.get(name, now_ms) is None for name in names):
        return 0
    count = len(value)
    call.table.edit(key, b"HDEL", names)
    return count - len(value)


@command("HINCRBY", WRITE | FAST, group="hash")
def hincrby(call: Call, key: Key, field: bytes, increment: Integer) -> Reply:
    """Add a whole number to the number that a field holds."""
    before = _number_text(call, key, field)
    try:
        number = to_integer(before) + increment
    except InvalidRequest:
        raise Failure("hash value is not an integer") from None
    if not INT64_MIN <= number <= INT64_MAX:
        raise Failure("increment or decrement would overflow")
    _replace(call, key, field, b"%d" % number, b"hincrby")
    return number


@many("HINCRBY", one_element=3)
def hincrby_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many HINCRBYs; none if one of the numbers has more than 17 digits."""
    if len(columns) != 3 or not all(map(is_short_number, columns[2])):
        return None
    numbers: dict[tuple[bytes, bytes], int] = {}
    after = []
    for key, field, increment in zip(*columns, strict=True):
        number = numbers.get((key, field))
        if number is None:
            value = table.values.get(key)
            text = value.get(field, _NEVER) if value.__class__ is Hash else None
            if text is not None and not is_short_number(text):
                return None
            number = int(text or 0)
        numbers[key, field] = number = number + int(increment)
        if not INT64_MIN <= number <= INT64_MAX:
            return None
        after.append(number)
    digits = Numbers(map(b"%d".__mod__, after))
    words = list(zip(columns[1], digits, strict=True))
    return None if table.edit_each(columns[0], b"HSET", words) is None else digits


@command("HINCRBYFLOAT", WRITE | FAST, group="hash")
def hincrbyfloat(call: Call, key: Key, field: bytes, increment: LongDouble) -> Reply:
    """Add a number to the number that a field holds; returns the sum as text, as it is stored."""
    if increment is None:
        raise InvalidRequest("value is NaN or Infinity")
    after = add_as_long_doubles(_number_text(call, key, field), increment, "hash value is not a float")
    _replace(call, key, field, after, b"hincrbyfloat")
    return after


def _number_text(call: Call, key: bytes, field: bytes) -> bytes:
    """What a field holds, 0 if it is not there."""
    value = call.table.typed(key, Hash)
    text = None if value is None else value.get(field, call.table.now_ms())
    return b"0" if text is None else text


def _replace(call: Call, key: bytes, field: bytes, after: bytes, event: bytes) -> None:
    """Give a field a value; its deadline stays as it is."""
    value = call.table.typed(key, Hash)
    deadline_ms = None if value is None else value.deadline_ms(field)
    call.table.edit(key, b"HSET", (field, after), event)
    if deadline_ms is not None and deadline_ms > call.table.now_ms():
        call.table.edit(key, b"HPEXPIREAT", (b"%d" % deadline_ms, b"FIELDS", b"1", field), NOTHING_SAID)


# All of them, or some by chance


@command("HGETALL", READ, group="hash")
def hgetall(call: Call, key: Key) -> Reply:
    """Get all fields and their values."""
    reply: dict[bytes, bytes] = {}
    return _all(call, key, reply, reply.update)


@command("HKEYS", READ, group="hash")
def hkeys(call: Call, key: Key) -> Reply:
    """List the fields of a hash."""
    reply: list[bytes] = []
    return _all(call, key, reply, lambda entries: reply.extend(field for field, _ in entries))


@command("HVALS", READ, group="hash")
def hvals(call: Call, key: Key) -> Reply:
    """List the values of all fields."""
    reply: list[bytes] = []
    return _all(call, key, reply, lambda entries: reply.extend(value for _, value in entries))


def _all(call: Call, key: bytes, reply: Reply, add: Callable[[list[Entry]], object]) -> Reply:
    """`reply`, to which `add` has put all fields and their values."""
    value = call.table.look_up_typed(key, Hash)
    if value is None:
        return reply
    if len(value) > _AT_ONCE:
        return _in_slices(call, key, reply, lambda value, now_ms: map(add, value.entries(now_ms)))
    for some in value.entries(call.table.now_ms()):
        add(some)
    return reply


def _in_slices(call: Call, key: bytes, reply: Reply, steps: Callable[[Hash, int], Iterable[object]]) -> Slices:
    """`reply`, after all steps that are to be done with the hash that is at `key`, as it is now."""
    table = call.table
    yield from table.slicing.room()
    value = table.typed(key, Hash)
    if value is not None:
        yield from table.slicing.go_through(steps(value, table.now_ms()))
    return reply


@command("HRANDFIELD", READ, group="hash", options="[count [WITHVALUES]]")
def hrandfield(call: Call, key: Key, *options: bytes) -> Reply:
    """Get a random field; or some, all different or, if count is negative, each any of them, maybe with values."""
    if options:
        return _random_fields(call, key, number_asked(options, b"WITHVALUES"), with_values=len(options) > 1)
    value = call.table.look_up_typed(key, Hash)
    entry = None if value is None else next(value.picks(call.server.random, call.table.now_ms()), None)
    return None if entry is None else entry[0]


def _random_fields(call: Call, key: bytes, count: int, with_values: bool) -> Reply:
    chance, in_pairs = call.server.random, call.client.protocol > 2
    reply: list[Any] = []

    def steps(value: Hash, now_ms: int) -> Iterator[object]:
        picked = _picked(value, count, chance, now_ms)
        if not with_values:
            return map(reply.append, limited((field for field, _ in picked), len, call.server.max_reply_bytes))
        add: Callable[[Entry], object] = reply.append if in_pairs else reply.extend
        return map(add, limited(picked, lambda entry: sum(map(len, entry)), call.server.max_reply_bytes))

    value = call.table.look_up_typed(key, Hash)
    if value is None or not count:
        return reply
    if takes_long(count, len(value), _AT_ONCE):
        return _in_slices(call, key, reply, lambda value, now_ms: steps(value.copy(), now_ms))
    deque(steps(value, call.table.now_ms()), maxlen=0)
    return reply


def _picked(value: Hash, count: int, chance: Chance, now_ms: int) -> Iterator[Entry]:
    """So many fields of a hash, see HRANDFIELD."""
    return drawn(
        lambda: value.picks(chance, now_ms), lambda: chain.from_iterable(value.entries(now_ms)),
        count, value.count(now_ms), chance,
    )  # fmt: skip


@command("HSCAN", READ, group="hash", options="[MATCH pattern] [COUNT count] [NOVALUES]")
def hscan(call: Call, key: Key, cursor: bytes, *options: bytes) -> Reply:
    """Walk through the fields, some at a time; returns the next cursor, 0 at the end, and fields with values."""
    place = to_cursor(cursor)
    value = call.table.look_up_typed(key, Hash)
    if value is None:
        return [b"0", []]
    asked = scan_options(options, alone=b"NOVALUES")
    matches, now_ms = asked.matches, call.table.now_ms()
    kept: list[bytes] = []

    def take(entries: list[Entry]) -> None:
        for entry in entries:
            if matches is None or matches(entry[0]):
                kept.extend(entry[:1] if asked.without_values else entry)

    place = walk(lambda cursor: value.scan(cursor, now_ms), place, asked.number, take)
    return [b"%d" % place, kept]
