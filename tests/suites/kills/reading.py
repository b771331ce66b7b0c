"""Reading everything that a server holds, as the clients of a kill run know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kvstore.client.raw import RawConnection, resp_request
from tests.suites.kills.functions import function_of
from tests.suites.kills.request import Entry, Fields, Held, Pending, Stream, Violation

_KEYS_AT_ONCE = 500


def read_database(connection: RawConnection) -> Iterator[tuple[bytes, Held]]:
    """Every key of the database selected, and what it holds."""
    count, keys = ask(connection, ("DBSIZE",), ("KEYS", "*"))
    if count != len(keys) or len(set(keys)) != len(keys):
        raise Violation(f"DBSIZE is {count}, KEYS gives {len(keys)}, {len(set(keys))} of them different")
    for first in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[first : first + _KEYS_AT_ONCE]
        types = ask(connection, *[("TYPE", key) for key in some])
        for key, kind, held in zip(some, types, ask(connection, *map(_reading, some, types)), strict=True):
            if kind == "+hash":
                yield key, _fields(connection, key, held)
            elif kind == "+stream":
                yield key, _stream(held)
            else:
                yield key, _HELD.get(kind, bytes)(held)


def read_libraries(connection: RawConnection) -> Iterator[tuple[bytes, bytes]]:
    """Every library of functions: its name, and its source. Raises Violation: its function is not there."""
    for library in map(_pairs, *ask(connection, ("FUNCTION", "LIST", "WITHCODE"))):
        name, registered = library[b"library_name"], [_pairs(each)[b"name"] for each in library[b"functions"]]
        if registered != [function_of(name)]:
            raise Violation(f"the functions of the library {name!r} are {registered}")
        yield name, library[b"library_code"]


def _fields(connection: RawConnection, key: bytes, words: list[bytes]) -> Fields:
    """A hash. `words`: what HGETALL gave."""
    fields, values = words[::2], words[1::2]
    (deadlines,) = ask(connection, ("HPEXPIRETIME", key, "FIELDS", b"%d" % len(fields), *fields))
    return dict(zip(fields, zip(values, deadlines, strict=True), strict=True))


def _stream(words: list[Any]) -> Stream:
    """A stream. `words`: what XINFO STREAM FULL gave. Raises Violation."""
    told = _pairs(words)
    entries = tuple(Entry(_number_of(entry_id), inside[1]) for entry_id, inside in told[b"entries"])
    stream = Stream(entries, _number_of(told[b"last-generated-id"]))
    if told[b"length"] != len(entries):
        raise Violation(f"a stream of {len(entries)} entries says that it has {told[b'length']}")
    for group in map(_pairs, told[b"groups"]):
        pending = tuple(Pending(_number_of(each), consumer, times) for each, consumer, _, times in group[b"pending"])
        owners = {each[0]: held[b"name"] for held in map(_pairs, group[b"consumers"]) for each in held[b"pending"]}
        if {_number_of(each): name for each, name in owners.items()} != {
            each.number: each.consumer for each in pending
        }:
            raise Violation(f"a group holds {pending} pending, and its consumers {owners}")
        stream = stream._replace(read=_number_of(group[b"last-delivered-id"]), pending=pending)
    return stream


def _pairs(words: list[Any]) -> dict[bytes, Any]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _number_of(entry_id: bytes) -> int:
    ms, _, serial = entry_id.partition(b"-")
    return int(ms) << 64 | int(serial)


def ask(connection: RawConnection, *requests: tuple[str | bytes, ...]) -> list[Any]:
    """The replies to requests that are sent together."""
    connection.send(b"".join(resp_request(*words) for words in requests))
    return [connection.resp() for _ in requests]


def _reading(key: bytes, kind: str) -> tuple[str | bytes, ...]:
    """The request that reads a key."""
    if kind == "+stream":
        return ("XINFO", "STREAM", key, "FULL", "COUNT", "0")
    name, *words = _READINGS.get(kind, ("GET",))
    return (name, key, *words)


#: By what TYPE tells.
_READINGS = {
    "+list": ("LRANGE", "0", "-1"),
    "+hash": ("HGETALL",),
    "+set": ("SMEMBERS",),
    "+zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
}
_HELD: dict[str, Callable[[Any], Held]] = {"+list": tuple, "+set": frozenset, "+zset": tuple}
