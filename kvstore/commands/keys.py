"""Keys of any type: there or not, which, how long, under what name; and all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvstore.base.chance import Chance
from kvstore.base.errors import NO_SUCH_KEY, Failure, InvalidRequest, syntax_error
from kvstore.base.reply import OK, Reply, Status
from kvstore.base.slices import Slices, one_slice
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S, any_deadline, expire_conditions, in_seconds, may_change
from kvstore.commands.glob import matcher
from kvstore.commands.registry import (
    FAST,
    READ,
    WHOLE,
    WRITE,
    Integer,
    IntegerText,
    Key,
    command,
    to_integer,
)
from kvstore.commands.scanning import Matcher, scan_options, to_cursor
from kvstore.store.table import Table

#: Keys that KEYS and SCAN look at before they look at the watch: some 0.1 ms.
_AT_ONCE = 500
#: Buckets that RANDOMKEY looks into for a key that has not expired, before it takes the first that it finds.
_RANDOM_TRIES = 100


@command("DEL", WRITE, group="generic")
def delete(call: Call, key: Key, *keys: Key) -> Reply:
    """Remove keys; returns how many there were."""
    return sum(map(call.table.delete, (key, *keys)))


command("UNLINK", WRITE | FAST, group="generic")(delete)


@command("EXISTS", READ | FAST, group="generic")
def exists(call: Call, key: Key, *keys: Key) -> Reply:
    """Count how many of the keys exist; a key named twice counts twice."""
    values = list(map(call.table.look_up, (key, *keys)))
    return len(values) - values.count(None)


command("TOUCH", READ | FAST, group="generic")(exists)


@command("TYPE", READ | FAST, group="generic")
def type_(call: Call, key: Key) -> Reply:
    """Tell the type of the value at a key."""
    value = call.table.look_up(key)
    return Status("none" if value is None else call.table.types.name_of(value))


# All keys


@command("KEYS", READ | WHOLE, group="generic")
def keys(call: Call, pattern: bytes) -> Reply:
    """List the keys that match a glob pattern.

    Unlike Valkey, a pattern of several `*` matches the empty key, too, as `*` does.
    """
    matches = None if pattern == b"*" else matcher(pattern)
    return _matching(call.table, matches)


def _matching(table: Table, matches: Matcher | None) -> Slices:
    """The keys there are now that match."""
    yield from table.slicing.room()
    found: list[bytes] = []
    keys, lives = list(table.values), table.living()
    keys.reverse()

    def steps() -> Iterator[None]:
        while keys:
            found.extend(filter(lives, _matched(matches, keys[: -_AT_ONCE - 1 : -1])))
            del keys[-_AT_ONCE:]  # so that not all of them are to be freed at the end
            yield

    yield from table.slicing.go_through(steps())
    return found


def _matched(matches: Matcher | None, keys: list[bytes]) -> Iterable[bytes]:
    return keys if matches is None else filter(matches, keys)


@command("SCAN", READ | WHOLE, group="generic", options="[MATCH pattern] [COUNT count] [TYPE type]")
def scan(call: Call, cursor: bytes, *options: bytes) -> Reply:
    """Walk through the keys, some at a time; returns the next cursor, 0 at the end, and keys.

    Unlike Valkey, it gives fewer keys than COUNT asks for when it has looked for 1 ms, and none while the first
    scan of a large table sorts the keys, some seconds for a million. A cursor is never below 0 (`-01` is 2^64-1
    there).
    """
    place = to_cursor(cursor)
    asked = scan_options(options, of_keys=True)
    matches, count, type_name = asked.matches, asked.number, asked.type_name
    kept: list[bytes] = []

    def steps() -> Iterator[None]:
        nonlocal place, count
        while count > 0:
            place, found = call.table.scan_order.scan(place, min(count, _AT_ONCE))
            kept.extend(key for key in _matched(matches, found) if _has_type(call, key, type_name))
            count = count - len(found) if place and found else 0
            yield

    one_slice(steps())  # and no more: a client comes back anyway
    return [b"%d" % place, kept]


def _has_type(call: Call, key: bytes, type_name: bytes) -> bool:
    """Whether there is such a key, and its type has that name, if any is asked for."""
    if not type_name:
        return call.table.exists(key)
    value = call.table.read(key)
    return value is not None and call.table.types.name_of(value).encode() == type_name


@command("RANDOMKEY", READ | WHOLE, group="generic")
def randomkey(call: Call) -> Reply:
    """Get some key, null if there is none; those in thinly filled buckets of the scan order come up more often."""
    table, chance = call.table, call.server.random
    for _ in range(_RANDOM_TRIES):
        if living := list(filter(table.exists, table.scan_order.sample(chance))):
            return chance.choice(living)
    return _any_of(table, chance)


def _any_of(table: Table, chance: Chance) -> Slices:
    """Any key there is now, None if there is none."""
    living = yield from _matching(table, None)
    return chance.choice(living) if living else None


@command("DBSIZE", READ | FAST | WHOLE, group="server")
def dbsize(call: Call) -> Reply:
    """Count the keys.

    Unlike Valkey, keys that have expired are counted only while more than 1,000 of them wait to be removed, which
    is after a mass expiry, and for some seconds; there they always are. What a write gives a deadline that has
    passed is removed at once.
    """
    return call.table.count()


@command("FLUSHALL", WRITE, group="server", options="[ASYNC|SYNC]")
def flushall(call: Call, *options: bytes) -> Reply:
    """Remove every key of every database."""
    _check_flush(options)
    if any(table.values for table in call.store.databases):
        call.store.flush_all()
    call.server.tracking.flush()
    return OK


@command("FLUSHDB", WRITE, group="server", options="[ASYNC|SYNC]")
def flushdb(call: Call, *options: bytes) -> Reply:
    """Remove every key of the database."""
    _check_flush(options)
    if call.table.values:
        call.table.flush()
    call.server.tracking.flush()
    return OK


def _check_flush(options: tuple[bytes, ...]) -> None:
    if len(options) > 1 or (options and options[0].upper() not in (b"ASYNC", b"SYNC")):
        raise syntax_error()


@command("SWAPDB", WRITE | FAST, group="server")
def swapdb(call: Call, index1: IntegerText, index2: IntegerText) -> Reply:
    """Have two databases swap what is in them: clients that have chosen one see at once what was in the other."""
    if call.server.is_in_cluster:
        raise Failure("SWAPDB is not allowed in cluster mode")
    numbers = to_integer(index1, "invalid first DB index"), to_integer(index2, "invalid second DB index")
    one, other = map(call.table_of, numbers)
    if one is not other:
        call.store.swap(one, other)
    return OK


# Deadlines


@command("EXPIRE", WRITE | FAST, group="generic", options="[NX|XX|GT|LT]")
def expire(call: Call, key: Key, seconds: IntegerText, *conditions: bytes) -> Reply:
    """Have a key removed after some seconds."""
    return _expire(call, key, seconds, MS_PER_S, call.table.now_ms(), conditions, "expire")


@command("PEXPIRE", WRITE | FAST, group="generic", options="[NX|XX|GT|LT]")
def pexpire(call: Call, key: Key, milliseconds: IntegerText, *conditions: bytes) -> Reply:
    """Have a key removed after some milliseconds."""
    return _expire(call, key, milliseconds, 1, call.table.now_ms(), conditions, "pexpire")


@command("EXPIREAT", WRITE | FAST, group="generic", options="[NX|XX|GT|LT]")
def expireat(call: Call, key: Key, unix_time_seconds: IntegerText, *conditions: bytes) -> Reply:
    """Have a key removed at a time, in seconds since the epoch."""
    return _expire(call, key, unix_time_seconds, MS_PER_S, 0, conditions, "expireat")


@command("PEXPIREAT", WRITE | FAST, group="generic", options="[NX|XX|GT|LT]")
def pexpireat(call: Call, key: Key, unix_time_milliseconds: IntegerText, *conditions: bytes) -> Reply:
    """Have a key removed at a time, in milliseconds since the epoch."""
    return _expire(call, key, unix_time_milliseconds, 1, 0, conditions, "pexpireat")


def _expire(
    call: Call, key: bytes, amount: bytes, unit_ms: int, base_ms: int, words: tuple[bytes, ...], name: str
) -> int:
    """Set a deadline if the conditions in `words` allow it; returns 1 if they do.

    A deadline that has passed removes. What is wrong with the conditions is told first, as Redis does.
    """
    conditions = expire_conditions(words)
    deadline_ms = any_deadline(to_integer(amount), unit_ms, base_ms, name)
    table = call.table
    if not table.exists(key) or not may_change(conditions, table.deadline_ms(key), deadline_ms):
        return 0
    if deadline_ms <= table.now_ms():
        table.expire(key)
    else:
        table.set_deadline(key, deadline_ms)
    return 1


@command("PERSIST", WRITE | FAST, group="generic")
def persist(call: Call, key: Key) -> Reply:
    """Take a key's deadline away; returns whether it had one."""
    table = call.table
    if not table.exists(key) or table.deadline_ms(key) is None:
        return 0
    table.set_deadline(key, None)
    return 1


#: What TTL and its kin answer for a key that is not there, and for one without a deadline.
_NO_KEY, _NO_DEADLINE = -2, -1


@command("TTL", READ | FAST, group="generic")
def ttl(call: Call, key: Key) -> Reply:
    """Tell how many seconds a key has left, rounded; -1 without a deadline, -2 without the key."""
    return in_seconds(pttl(call, key))


@command("PTTL", READ | FAST, group="generic")
def pttl(call: Call, key: Key) -> int:
    """Tell how many milliseconds a key has left; -1 without a deadline, -2 without the key."""
    deadline_ms = pexpiretime(call, key)
    return deadline_ms if deadline_ms < 0 else deadline_ms - call.table.now_ms()


@command("EXPIRETIME", READ | FAST, group="generic")
def expiretime(call: Call, key: Key) -> Reply:
    """Tell a key's deadline in seconds since the epoch, rounded; -1 without one, -2 without the key."""
    return in_seconds(pexpiretime(call, key))


@command("PEXPIRETIME", READ | FAST, group="generic")
def pexpiretime(call: Call, key: Key) -> int:
    """Tell a key's deadline in milliseconds since the epoch; -1 without one, -2 without the key."""
    if call.table.look_up(key) is None:
        return _NO_KEY
    deadline_ms = call.table.deadline_ms(key)
    return _NO_DEADLINE if deadline_ms is None else deadline_ms


# Names


@command("RENAME", WRITE, group="generic")
def rename(call: Call, key: Key, newkey: Key) -> Reply:
    """Give a value another key, in place of what was there; its deadline goes with it."""
    _rename(call, key, newkey)
    return OK


@command("RENAMENX", WRITE | FAST, group="generic")
def renamenx(call: Call, key: Key, newkey: Key) -> Reply:
    """Give a value another key if that one does not exist; returns whether it did."""
    if call.table.exists(key) and call.table.exists(newkey):
        return 0
    _rename(call, key, newkey)
    return 1


def _rename(call: Call, key: bytes, newkey: bytes) -> None:
    table = call.table
    value = table.read(key)
    if value is None:
        raise Failure(NO_SUCH_KEY)
    if key != newkey:
        table.put(newkey, *table.take(key))
        table.say(newkey, b"new")
        table.say(key, b"rename_from")
        table.say(newkey, b"rename_to")


@command("MOVE", WRITE | FAST, group="generic")
def move(call: Call, key: Key, db: Integer) -> Reply:
    """Move a key to another database, unless it has one of that name; returns whether it did."""
    table, other = call.table, call.table_of(db)
    if table is other:
        raise InvalidRequest("source and destination objects are the same")
    if not table.exists(key) or other.exists(key):
        return 0
    other.put(key, *table.take(key))
    other.say(key, b"new")
    table.say(key, b"move_from")
    other.say(key, b"move_to")
    return 1


@command("COPY", WRITE, group="generic", options="[DB destination-db] [REPLACE]")
def copy(call: Call, source: Key, destination: Key, *options: bytes) -> Reply:
    """Copy a value and its deadline to another key; returns whether it did."""
    table = call.table
    other, replace = _copy_options(call, options)
    if source == destination and table is other:
        raise InvalidRequest("source and destination objects are the same")
    value = table.look_up(source)
    if value is None or (other.exists(destination) and not replace):
        return 0
    other.put(destination, table.copy_of(value), table.deadline_ms(source))
    other.say(destination, b"new")
    other.say(destination, b"copy_to")
    return 1


def _copy_options(call: Call, options: tuple[bytes, ...]) -> tuple[Table, bool]:
    other, replace = call.table, False
    words = iter(options)
    for word in words:
        name = word.upper()
        if name == b"REPLACE":
            replace = True
        elif name == b"DB" and (number := next(words, None)) is not None:
            other = call.table_of(to_integer(number))
        else:
            raise syntax_error()
    return other, replace
