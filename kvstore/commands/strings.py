"""Strings: bytes at a key, and numbers written as text.

GET and SET are the hot path: without options each is one look into the table's own dicts. Every command validates
first and changes last, so that an error leaves nothing half-done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from kvstore.base.errors import NOT_AN_INTEGER, Failure, InvalidRequest, syntax_error, wrong_arity
from kvstore.base.reply import OK, Numbers, Reply, Status
from kvstore.commands.arguments import at_least, is_short_number
from kvstore.commands.context import Call
from kvstore.commands.deadlines import (
    MS_PER_S,
    TIMES,
    TIMES_TEXT,
    deadline_given,
    excluding_each_other,
    future_deadline,
    parse_options,
)
from kvstore.commands.long_double import add_as_long_doubles, to_long_double
from kvstore.commands.registry import (
    FAST,
    INT64_MAX,
    INT64_MIN,
    READ,
    WRITE,
    Integer,
    Key,
    command,
    many,
    to_integer,
)
from kvstore.commands.row import numbered_keys
from kvstore.store.operations import encode_each
from kvstore.store.table import Table
from kvstore.values.strings import encode_set

_KEEP_OPTIONS = excluding_each_other(*TIMES, b"KEEPTTL")
_MSETEX_OPTIONS = _KEEP_OPTIONS | excluding_each_other(b"NX", b"XX")
_SET_OPTIONS = _KEEP_OPTIONS | excluding_each_other(b"NX", b"XX", b"IFEQ") | {b"GET": frozenset()}
_SET_OPTIONS[b"IFEQ"] |= {b"IFEQ"}  # that one may not even be repeated
#: Options of SET that count from now, with their units.
_UNITS_MS = {b"EX": MS_PER_S, b"ex": MS_PER_S, b"PX": 1, b"px": 1}
_GETEX_OPTIONS = excluding_each_other(*TIMES, b"PERSIST")


@command("GET", READ | FAST, group="string")
def get(call: Call, key: Key) -> Reply:
    """Get the string at a key."""
    table = call.table
    value = table.values.get(key)
    if value.__class__ is bytes and key not in table.deadlines:
        table.hits += 1
        return value
    return table.look_up_typed(key, bytes)


@command("SET", WRITE, group="string", options=f"[NX|XX|IFEQ comparison-value] [GET] [{TIMES_TEXT}|KEEPTTL]")
def set_(call: Call, key: Key, value: bytes, *options: bytes) -> Reply:
    """Give a key a string value, in place of what was there."""
    if options:
        return _set_with_options(call, key, value, options)
    call.table.write(key, value)
    return OK


@many("GET")
def get_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Sequence[bytes | None] | None:
    """As many GETs; none if a key holds what is no string."""
    return table.look_up_each(columns[0], bytes) if len(columns) == 1 else None


@many("SET", 3, 5)
def set_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Status | None:
    """As many SETs, or SETs with one time to live. Without, their bytes are the operations that the log keeps."""
    if len(columns) == 4:
        return _set_each_until(table, *columns)
    if len(columns) != 2 or raw is None:
        return None
    return OK if table.write_strings(columns[0], columns[1], raw) else None


def _set_each_until(
    table: Table, keys: list[bytes], values: list[bytes], options: list[bytes], times: list[bytes]
) -> Status | None:
    unit_ms = _UNITS_MS.get(options[0])
    if unit_ms is None or options.count(options[0]) < len(options):
        return None
    now_ms = table.now_ms()
    ends = {time: future_deadline(to_integer(time), unit_ms, now_ms, "set") for time in set(times)}
    deadlines_ms = [ends[time] for time in times]
    operations = b"".join(map(encode_set, keys, values, deadlines_ms))
    return OK if table.write_strings(keys, values, operations, deadlines_ms=deadlines_ms) else None


def _set_with_options(call: Call, key: bytes, value: bytes, options: tuple[bytes, ...]) -> Reply:
    table = call.table
    given = parse_options(options, _SET_OPTIONS)
    deadline_ms = deadline_given(given, table.now_ms(), "set")
    before = table.look_up_typed(key, bytes) if b"GET" in given else None
    if not _may_write(table, [key], given) or (b"IFEQ" in given and table.typed(key, bytes) != given[b"IFEQ"]):
        return before
    _write(table, key, value, deadline_ms, keep=b"KEEPTTL" in given)
    return before if b"GET" in given else OK


def _may_write(table: Table, keys: Sequence[bytes], given: Mapping[bytes, bytes]) -> bool:
    """Whether NX and XX let these keys be written: none of them may exist, or all of them must."""
    if b"NX" in given:
        return not any(map(table.exists, keys))
    return b"XX" not in given or all(map(table.exists, keys))


def _write(table: Table, key: bytes, value: bytes, deadline_ms: int | None, *, keep: bool) -> None:
    """Write, and `keep` the deadline there is or set one; if that has passed the key is just gone."""
    if keep:
        table.update(key, value)
    elif deadline_ms is not None and deadline_ms <= table.now_ms():
        table.expire(key)
    else:
        _write_until(table, key, value, deadline_ms)


def _write_until(table: Table, key: bytes, value: bytes, deadline_ms: int | None) -> None:
    table.write(key, value, deadline_ms)
    if deadline_ms is not None:
        table.say(key, b"expire")


@command("SETNX", WRITE | FAST, group="string")
def setnx(call: Call, key: Key, value: bytes) -> Reply:
    """Give a key a string value if there is no such key."""
    if call.table.exists(key):
        return 0
    call.table.write(key, value)
    return 1


@command("SETEX", WRITE, group="string")
def setex(call: Call, key: Key, seconds: Integer, value: bytes) -> Reply:
    """Give a key a string value and a time to live in seconds."""
    _write_until(call.table, key, value, future_deadline(seconds, MS_PER_S, call.table.now_ms(), "setex"))
    return OK


@command("PSETEX", WRITE, group="string")
def psetex(call: Call, key: Key, milliseconds: Integer, value: bytes) -> Reply:
    """Give a key a string value and a time to live in milliseconds."""
    _write_until(call.table, key, value, future_deadline(milliseconds, 1, call.table.now_ms(), "psetex"))
    return OK


@command("GETSET", WRITE | FAST, group="string")
def getset(call: Call, key: Key, value: bytes) -> Reply:
    """Give a key a string value and return the one before."""
    before = call.table.look_up_typed(key, bytes)
    call.table.write(key, value)
    return before


@command("GETDEL", WRITE | FAST, group="string")
def getdel(call: Call, key: Key) -> Reply:
    """Get the string at a key and remove the key."""
    value = call.table.look_up_typed(key, bytes)
    if value is not None:
        call.table.delete(key)
    return value


@command("GETEX", WRITE | FAST, group="string", options=f"[{TIMES_TEXT}|PERSIST]")
def getex(call: Call, key: Key, *options: bytes) -> Reply:
    """Get the string at a key and set or take away its time to live."""
    table = call.table
    given = parse_options(options, _GETEX_OPTIONS)
    deadline_ms = deadline_given(given, table.now_ms(), "getex")
    value = table.look_up_typed(key, bytes)
    if value is None:
        return None
    if deadline_ms is not None and deadline_ms <= table.now_ms():
        table.expire(key)
    elif deadline_ms is not None or (b"PERSIST" in given and table.deadline_ms(key) is not None):
        table.set_deadline(key, deadline_ms)
    return value


@command("MGET", READ | FAST, group="string")
def mget(call: Call, key: Key, *keys: Key) -> Reply:
    """Get the strings at several keys; null for a key that has none."""
    every = [key, *keys]
    values = call.table.look_up_each(every, bytes)
    if values is None:
        return [value if value.__class__ is bytes else None for value in map(call.table.look_up, every)]
    return list(values)


@command("MSET", WRITE, group="string", keys=(1, -1, 2), options="[key value ...]")
def mset(call: Call, key: Key, value: bytes, *pairs: bytes) -> Reply:
    """Give several keys a string value each."""
    if len(pairs) % 2:
        raise wrong_arity("mset")
    write = call.table.write
    write(key, value)
    for i in range(0, len(pairs), 2):
        write(pairs[i], pairs[i + 1])
    return OK


@many("MSET")
def mset_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Status | None:
    """As many MSETs."""
    if len(columns) % 2:
        return None
    keys = list(chain.from_iterable(zip(*columns[0::2], strict=True)))
    values = list(chain.from_iterable(zip(*columns[1::2], strict=True)))
    return OK if table.write_strings(keys, values, encode_each(b"SET", [keys, values])) else None


@command("MSETNX", WRITE, group="string", keys=(1, -1, 2), options="[key value ...]")
def msetnx(call: Call, key: Key, value: bytes, *pairs: bytes) -> Reply:
    """Give several keys a string value each if none of them exists."""
    if len(pairs) % 2:
        raise wrong_arity("msetnx")
    if any(map(call.table.exists, (key, *pairs[::2]))):
        return 0
    mset(call, key, value, *pairs)
    return 1


@command(
    "MSETEX", WRITE, group="string", keys=numbered_keys(1, step=2), least=4,
    options=f"key value [key value ...] [NX|XX] [{TIMES_TEXT}|KEEPTTL]",
)  # fmt: skip
def msetex(call: Call, numkeys: bytes, *words: bytes) -> Reply:
    """Give several keys a string value each, and one time to live, on a condition that all must meet; 1 if it did."""
    number = _to_number_of_keys(numkeys)
    if len(words) < 2 * number:
        raise syntax_error()
    given = parse_options(words[2 * number :], _MSETEX_OPTIONS)
    table = call.table
    deadline_ms = deadline_given(given, table.now_ms(), "msetex")
    keys, values = words[: 2 * number : 2], words[1 : 2 * number : 2]
    if not _may_write(table, keys, given):
        return 0
    for key, value in zip(keys, values, strict=True):
        if b"KEEPTTL" in given:
            table.update(key, value)
        else:
            _write_until(table, key, value, deadline_ms)  # even if that has passed: as Valkey, which tells of the key
    return 1


def _to_number_of_keys(text: bytes) -> int:
    otherwise = "invalid numkeys value or out of range"
    number = at_least(1, text, otherwise)
    if number >= 2**31:
        raise InvalidRequest(otherwise)
    return number


@command("DELIFEQ", WRITE | FAST, group="string")
def delifeq(call: Call, key: Key, value: bytes) -> Reply:
    """Remove a key if it holds this string; returns whether it did."""
    if call.table.typed(key, bytes) != value:
        return 0
    call.table.delete(key)
    return 1


@command("APPEND", WRITE | FAST, group="string")
def append(call: Call, key: Key, value: bytes) -> Reply:
    """Add bytes at the end of the string at a key; returns its new length."""
    before = call.table.typed(key, bytes) or b""
    _check_length(call, len(before) + len(value))
    call.table.update(key, before + value, b"append")
    return len(before) + len(value)


@command("STRLEN", READ | FAST, group="string")
def strlen(call: Call, key: Key) -> Reply:
    """Get the length of the string at a key, in bytes."""
    return len(call.table.look_up_typed(key, bytes) or b"")


@command("GETRANGE", READ, group="string")
def getrange(call: Call, key: Key, start: Integer, end: Integer) -> Reply:
    """Get the bytes from start to end, both included; negative places count from the end."""
    value = call.table.look_up_typed(key, bytes) or b""
    if end < start < 0:
        return b""
    first = start if start >= 0 else max(start + len(value), 0)
    last = end if end >= 0 else max(end + len(value), 0)
    return value[first : last + 1]


command("SUBSTR", READ, group="string")(getrange)


@command("SETRANGE", WRITE, group="string")
def setrange(call: Call, key: Key, offset: Integer, value: bytes) -> Reply:
    """Overwrite the string at a key from an offset on, filling with zero bytes; returns its new length."""
    if offset < 0:
        raise InvalidRequest("offset is out of range")
    before = call.table.typed(key, bytes) or b""
    if not value:
        return len(before)
    _check_length(call, offset + len(value))
    after = before[:offset].ljust(offset, b"\0") + value + before[offset + len(value) :]
    call.table.update(key, after, b"setrange")
    return len(after)


def _check_length(call: Call, length: int) -> None:
    if length > call.server.max_value_bytes:
        raise InvalidRequest("string exceeds maximum allowed size (proto-max-bulk-len)")


@command("INCR", WRITE | FAST, group="string")
def incr(call: Call, key: Key) -> Reply:
    """Add one to the number at a key."""
    return _add(call, key, 1)


@many("INCR")
def incr_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many INCRs; none if a key has a deadline, or holds what is not a number of at most 17 digits."""
    keys, values = columns[0], table.values
    if len(columns) != 1 or (table.deadlines and not table.deadlines.keys().isdisjoint(keys)):
        return None
    numbers: dict[bytes, int] = {}
    after = []
    for key in keys:
        number = numbers.get(key)
        if number is None:
            text = values.get(key, b"0")
            if text.__class__ is not bytes or not is_short_number(text):
                return None
            number = int(text)
        numbers[key] = number = number + 1
        after.append(number)
    digits = Numbers(map(b"%d".__mod__, after))
    return digits if table.write_strings(keys, digits, encode_each(b"SET", [keys, digits]), b"incrby") else None


@command("DECR", WRITE | FAST, group="string")
def decr(call: Call, key: Key) -> Reply:
    """Take one from the number at a key."""
    return _add(call, key, -1)


@command("INCRBY", WRITE | FAST, group="string")
def incrby(call: Call, key: Key, increment: Integer) -> Reply:
    """Add a whole number to the number at a key."""
    return _add(call, key, increment)


@command("DECRBY", WRITE | FAST, group="string")
def decrby(call: Call, key: Key, decrement: Integer) -> Reply:
    """Take a whole number from the number at a key."""
    if decrement == INT64_MIN:
        raise InvalidRequest("decrement would overflow")
    return _add(call, key, -decrement)


def _add(call: Call, key: bytes, increment: int) -> int:
    before = call.table.typed(key, bytes)
    try:
        number = (0 if before is None else to_integer(before)) + increment
    except InvalidRequest:
        raise Failure(NOT_AN_INTEGER) from None
    if not INT64_MIN <= number <= INT64_MAX:
        raise Failure("increment or decrement would overflow")
    call.table.update(key, b"%d" % number, b"incrby")
    return number


@command("INCRBYFLOAT", WRITE | FAST, group="string")
def incrbyfloat(call: Call, key: Key, increment: bytes) -> Reply:
    """Add a number to the number at a key; returns the sum as text, as it is stored."""
    before = call.table.typed(key, bytes)  # a value of another type is the first error
    after = add_as_long_doubles(b"0" if before is None else before, to_long_double(increment))
    call.table.update(key, after, b"incrbyfloat")
    return after
