"""Fields of hashes that expire: their deadlines, and what reads or writes fields together with them.

`FIELDS n field ...` ends each of these requests; what stands before it are options. What is wrong with the options is
told first, then what is wrong with the number, then what the key holds, as Valkey does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import Reply
from kvstore.commands.arguments import IntegerText, Key, to_integer
from kvstore.commands.context import Call
from kvstore.commands.deadlines import (
    MS_PER_S,
    TIMES,
    TIMES_TEXT,
    deadline_given,
    excluding_each_other,
    expire_conditions,
    future_deadline,
    in_seconds,
    may_change,
    parse_options,
)
from kvstore.commands.registry import command
from kvstore.commands.row import FAST, READ, WRITE
from kvstore.store.observing import DELETED
from kvstore.values.hashes import Hash

Words: TypeAlias = Sequence[bytes]

#: What is answered for a field: there is none; it has no deadline; its deadline was changed, or was not, or has passed.
_NO_FIELD, _NO_DEADLINE, _CHANGED, _UNCHANGED, _PASSED = -2, -1, 1, 0, 2

_FIELDS = "FIELDS numfields field [field ...]"
_HGETEX_OPTIONS = excluding_each_other(*TIMES, b"PERSIST")
_HSETEX_OPTIONS = (
    excluding_each_other(*TIMES, b"KEEPTTL") | excluding_each_other(b"NX", b"XX") | excluding_each_other(b"FNX", b"FXX")
)


def _until_fields(words: Words) -> tuple[Words, Words]:
    """The options, and what stands behind FIELDS: the number of fields and they. Raises InvalidRequest."""
    for place, word in enumerate(words[:-1]):
        if word.upper() == b"FIELDS":
            return words[:place], words[place + 1 :]
    raise _wrong_number()


def _wrong_number() -> InvalidRequest:
    return InvalidRequest("numfields should be greater than 0 and match the provided number of fields")


def _counted(words: Words, words_each: int = 1, wrong_number: Callable[[], InvalidRequest] = _wrong_number) -> Words:
    """The fields behind their number. Raises InvalidRequest."""
    number = to_integer(words[0])
    if number <= 0 or number * words_each != len(words) - 1:
        raise wrong_number()
    return words[1:]


def _with_count(fields: Iterable[bytes]) -> tuple[bytes, ...]:
    fields = tuple(dict.fromkeys(fields))
    return (b"FIELDS", b"%d" % len(fields), *fields)


def _deadline(amount: bytes, unit_ms: int, base_ms: int, name: str) -> int:
    """`amount` units after `base_ms`, in ms since the epoch. Raises InvalidRequest if it is negative or too large."""
    return future_deadline(to_integer(amount), unit_ms, base_ms, name, least=0)


# HEXPIRE and its kin


@command("HEXPIRE", WRITE | FAST, group="hash", least=6, options=f"[NX|XX|GT|LT] {_FIELDS}")
def hexpire(call: Call, key: Key, seconds: IntegerText, *words: bytes) -> Reply:
    """Have fields removed after some seconds."""
    return _expire(call, key, words, lambda: _deadline(seconds, MS_PER_S, call.table.now_ms(), "hexpire"))


@command("HPEXPIRE", WRITE | FAST, group="hash", least=6, options=f"[NX|XX|GT|LT] {_FIELDS}")
def hpexpire(call: Call, key: Key, milliseconds: IntegerText, *words: bytes) -> Reply:
    """Have fields removed after some milliseconds."""
    return _expire(call, key, words, lambda: _deadline(milliseconds, 1, call.table.now_ms(), "hpexpire"))


@command("HEXPIREAT", WRITE | FAST, group="hash", least=6, options=f"[NX|XX|GT|LT] {_FIELDS}")
def hexpireat(call: Call, key: Key, unix_time_seconds: IntegerText, *words: bytes) -> Reply:
    """Have fields removed at a time, in seconds since the epoch."""
    return _expire(call, key, words, lambda: _deadline(unix_time_seconds, MS_PER_S, 0, "hexpireat"))


@command("HPEXPIREAT", WRITE | FAST, group="hash", least=6, options=f"[NX|XX|GT|LT] {_FIELDS}")
def hpexpireat(call: Call, key: Key, unix_time_milliseconds: IntegerText, *words: bytes) -> Reply:
    """Have fields removed at a time, in milliseconds since the epoch."""
    return _expire(call, key, words, lambda: _deadline(unix_time_milliseconds, 1, 0, "hpexpireat"))


def _expire(call: Call, key: bytes, words: Words, deadline: Callable[[], int]) -> list[int]:
    """Set the deadline of fields where the conditions allow it; of each field, what became of it."""
    options, counted = _until_fields(words)
    conditions = expire_conditions(options)
    fields = _counted(counted)
    deadline_ms = deadline()
    value, now_ms = call.table.typed(key, Hash), call.table.now_ms()
    changed: dict[bytes, int | None] = {}
    reply = []
    for field in fields:
        reply.append(_NO_FIELD if value is None else _verdict(value, field, changed, conditions, deadline_ms, now_ms))
    _expire_fields(call, key, changed, deadline_ms)
    return reply


def _verdict(
    value: Hash,
    field: bytes,
    changed: dict[bytes, int | None],
    conditions: set[bytes],
    deadline_ms: int,
    now_ms: int,
) -> int:
    """What becomes of a field; it is put into `changed`, with the deadline that it gets or None if it is removed."""
    if changed.get(field, 0) is None or value.get(field, now_ms) is None:
        return _NO_FIELD
    if not may_change(conditions, changed.get(field, value.deadline_ms(field)), deadline_ms):
        return _UNCHANGED
    has_passed = deadline_ms <= now_ms
    changed[field] = None if has_passed else deadline_ms
    return _PASSED if has_passed else _CHANGED


def _expire_fields(
    call: Call, key: bytes, fields: Iterable[bytes], deadline_ms: int, event: bytes = b"hexpire"
) -> None:
    """Give fields, which are there, a deadline; one that has passed removes them."""
    if not fields:
        return
    if deadline_ms <= call.table.now_ms():
        _remove_passed(call, key, tuple(fields))
    else:
        call.table.edit(key, b"HPEXPIREAT", (b"%d" % deadline_ms, *_with_count(fields)), event)


def _remove_passed(call: Call, key: bytes, fields: Words) -> None:
    """Remove fields, which are there, since the deadline that they get has passed: so they count as expired."""
    call.table.edit(key, b"HDEL", fields, b"hexpired")
    call.table.expired_inside += len(fields)


@command("HPERSIST", WRITE | FAST, group="hash", least=5, options=_FIELDS)
def hpersist(call: Call, key: Key, *words: bytes) -> Reply:
    """Take the deadlines of fields away; of each, whether it had one."""
    asked = _fields_alone(words)
    value, now_ms = call.table.typed(key, Hash), call.table.now_ms()
    changed: dict[bytes, None] = {}
    reply = []
    for each in asked:
        if value is None or value.get(each, now_ms) is None:
            reply.append(_NO_FIELD)
        elif each in changed or value.deadline_ms(each) is None:
            reply.append(_NO_DEADLINE)
        else:
            changed[each] = None
            reply.append(_CHANGED)
    if changed:
        call.table.edit(key, b"HPERSIST", _with_count(changed))
    return reply


def _fields_alone(words: Words, wrong_number: Callable[[], InvalidRequest] = _wrong_number) -> Words:
    """The fields, where there are no options. Raises InvalidRequest."""
    if words[0].upper() != b"FIELDS":
        raise syntax_error()
    return _counted(words[1:], wrong_number=wrong_number)


# HTTL and its kin


@command("HTTL", READ | FAST, group="hash", least=5, options=_FIELDS)
def httl(call: Call, key: Key, *words: bytes) -> Reply:
    """Tell how many seconds fields have left, rounded; -1 without a deadline, -2 without the field."""
    return list(map(in_seconds, hpttl(call, key, *words)))


@command("HPTTL", READ | FAST, group="hash", least=5, options=_FIELDS)
def hpttl(call: Call, key: Key, *words: bytes) -> list[int]:
    """Tell how many milliseconds fields have left; -1 without a deadline, -2 without the field."""
    now_ms = call.table.now_ms()
    deadlines = hpexpiretime(call, key, *words)
    return [deadline_ms if deadline_ms < 0 else deadline_ms - now_ms for deadline_ms in deadlines]


@command("HEXPIRETIME", READ | FAST, group="hash", least=5, options=_FIELDS)
def hexpiretime(call: Call, key: Key, *words: bytes) -> Reply:
    """Tell the deadlines of fields in seconds since the epoch, rounded; -1 without one, -2 without the field."""
    return list(map(in_seconds, hpexpiretime(call, key, *words)))


@command("HPEXPIRETIME", READ | FAST, group="hash", least=5, options=_FIELDS)
def hpexpiretime(call: Call, key: Key, *words: bytes) -> list[int]:
    """Tell the deadlines of fields in milliseconds since the epoch; -1 without one, -2 without the field."""
    asked = _fields_alone(words, syntax_error)
    value, now_ms = call.table.look_up_typed(key, Hash), call.table.now_ms()
    reply = []
    for each in asked:
        if value is None or value.get(each, now_ms) is None:
            reply.append(_NO_FIELD)
        else:
            deadline_ms = value.deadline_ms(each)
            reply.append(_NO_DEADLINE if deadline_ms is None else deadline_ms)
    return reply


# Fields read or written, and their deadlines


@command("HGETEX", WRITE | FAST, group="hash", least=5, options=f"[{TIMES_TEXT}|PERSIST] {_FIELDS}")
def hgetex(call: Call, key: Key, *words: bytes) -> Reply:
    """Get the values of fields and set or take away their deadlines."""
    options, counted = _until_fields(words)
    given = parse_options(options, _HGETEX_OPTIONS)
    fields = _counted(counted)
    value, now_ms = call.table.look_up_typed(key, Hash), call.table.now_ms()
    deadline_ms = deadline_given(given, now_ms, "hgetex", least=0)
    if value is None:
        return [None] * len(fields)
    if deadline_ms is not None and deadline_ms <= now_ms:
        return _taken(call, key, value, fields, _remove_passed)
    reply = [value.get(field, now_ms) for field in fields]
    present = [field for field, found in zip(fields, reply, strict=True) if found is not None]
    if deadline_ms is not None:
        _expire_fields(call, key, present, deadline_ms)
    elif b"PERSIST" in given and (persisted := [field for field in present if value.deadline_ms(field) is not None]):
        call.table.edit(key, b"HPERSIST", _with_count(persisted))
    return reply


@command("HGETDEL", WRITE | FAST, group="hash", least=5, options=_FIELDS)
def hgetdel(call: Call, key: Key, *words: bytes) -> Reply:
    """Get the values of fields and remove them."""
    asked = _fields_alone(words)
    value = call.table.typed(key, Hash)
    return [None] * len(asked) if value is None else _taken(call, key, value, asked, _remove)


def _remove(call: Call, key: bytes, fields: Words) -> None:
    call.table.edit(key, b"HDEL", fields, b"hdel")


def _taken(
    call: Call, key: bytes, value: Hash, fields: Words, remove: Callable[[Call, bytes, Words], None]
) -> list[bytes | None]:
    """The values of fields, which are removed; one that is named twice is not there the second time."""
    now_ms = call.table.now_ms()
    found = {field: value.get(field, now_ms) for field in fields}
    present = [field for field, text in found.items() if text is not None]
    reply = [found.pop(field, None) for field in fields]
    if present:
        remove(call, key, present)
    return reply


@command("HSETEX", WRITE | FAST, group="hash", least=6, options=(
    f"[NX|XX] [FNX|FXX] [{TIMES_TEXT}|KEEPTTL] FIELDS numfields field value [field value ...]"
))  # fmt: skip
def hsetex(call: Call, key: Key, *words: bytes) -> Reply:
    """Give fields values and a deadline if a condition holds: of the key (NX, XX) or of all fields (FNX, FXX)."""
    options, counted = _until_fields(words)
    given = parse_options(options, _HSETEX_OPTIONS)
    pairs = _counted(counted, words_each=2)
    table = call.table
    value, now_ms = table.typed(key, Hash), table.now_ms()
    if (b"NX" in given and value is not None) or (b"XX" in given and value is None):
        return 0  # whatever the deadline is, as in Valkey
    deadline_ms = deadline_given(given, now_ms, "hsetex", least=0)
    fields = tuple(dict.fromkeys(pairs[::2]))
    present = [field for field in fields if value is not None and value.get(field, now_ms) is not None]
    if (b"FNX" in given and present) or (b"FXX" in given and len(present) < len(fields)):
        return 0
    if deadline_ms is not None and deadline_ms <= now_ms:
        _pass_by(call, key, is_new=value is None)
        table.expired_inside += len(pairs) // 2 - len(present)
        if present:
            _remove_passed(call, key, present)
        else:
            table.say(key, b"hexpired")
            if value is None:
                table.say(key, DELETED)
        return 1
    kept = {field: value.deadline_ms(field) for field in present} if value is not None and b"KEEPTTL" in given else {}
    table.edit(key, b"HSET", pairs)
    for each_ms in dict.fromkeys(kept.values() if deadline_ms is None else (deadline_ms,)):
        if each_ms is not None:
            _expire_fields(call, key, [f for f in fields if kept.get(f, deadline_ms) == each_ms], each_ms)
    return 1


def _pass_by(call: Call, key: bytes, *, is_new: bool) -> None:
    """Fields are given a deadline that has passed: what is said of that, before they are gone."""
    for event in (b"new", b"hset", b"hexpire")[not is_new :]:
        call.table.say(key, event)
