"""The sequential model of the histories: what each command does to a table, and what it answers.

Strings, documents, fields of hashes, and lists as queues stand here; sorted sets, streams with groups, and locks in
`typed_model`. Written from the commands' documentation, not from this server's code, of which it shares nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.suites.histories import typed_model

_MOVES = (b"LMOVE", b"BLMOVE")
_OF_LISTS = (b"RPUSH", b"LPUSH", b"LPOP", b"RPOP", b"BLPOP", b"BRPOP", b"LRANGE", *_MOVES)


def keys_of(words: Sequence[Any]) -> Iterator[bytes]:
    """The keys that an operation touches."""
    if words[0] == b"EXEC":
        for inner in words[1:]:
            yield from keys_of(inner)
    elif words[0] in _OF_FIELDS:
        yield _register(words)
    elif words[0] == b"MGET":
        yield from words[1:]
    elif words[0] in _MOVES:
        yield from words[1:3]
    elif words[0] in typed_model.COMMANDS:
        yield from typed_model.keys_of(words)
    else:
        yield words[1]


#: Commands on one field of a hash. Each field is a register of its own: nothing here touches two of them.
_OF_FIELDS = (b"HSET", b"HSETNX", b"HGET", b"HDEL", b"HINCRBY")


def _register(words: Sequence[Any]) -> bytes:
    """The key under which the field has its value in the model's table."""
    return b"%b.%b" % (words[1], words[2])


def execute(table: dict[bytes, Any], words: Sequence[Any]) -> Any:
    """The model: do what `words` say to `table`, and return the result.

    A status is a str, a document or its absence a tuple `("success", text)`, `("failure",)`; the rest is as RESP has
    it. A CAS that was refused changes nothing and fits everywhere: its result is None, see `checker.steps`. EVICT is
    what the server does by itself.
    """
    name = words[0]
    if name in _OF_FIELDS:
        return _execute_on_field(table, name, _register(words), *words[3:])
    if name == b"EXEC":
        return [execute(table, inner) for inner in words[1:]]
    if name == b"MGET":
        return [table.get(key) for key in words[1:]]
    if name in _OF_LISTS:
        return _execute_on_lists(table, name, *words[1:])
    if name in typed_model.COMMANDS:
        return typed_model.COMMANDS[name](table, *words[1:])
    key = words[1]
    if name == b"EVICT":
        table.pop(key, None)
        return None
    old = table.get(key)
    if name == b"GET":
        return old
    if name == b"LOOKUP":
        return ("failure",) if old is None else ("success", old)
    if name in (b"DEL", b"REMOVE"):
        table.pop(key, None)
        return int(old is not None) if name == b"DEL" else ("failure",) if old is None else ("success",)
    if name == b"INCR":
        number = int(old or b"0") + 1
        table[key] = b"%d" % number
        return number
    if name == b"CAS":
        if old != words[2]:
            return None
        table[key] = words[3]
        return ["+OK"]
    if name == b"SET" and words[3:] == (b"NX",) and old is not None:
        return None
    if name not in (b"SET", b"GETSET", b"INSERT"):
        raise ValueError(f"the model has no {name!r}")
    table[key] = words[2]
    return old if name == b"GETSET" else ("success",) if name == b"INSERT" else "+OK"


def _execute_on_lists(table: dict[bytes, Any], name: bytes, key: bytes, *words: bytes) -> Any:
    """As `execute`. A blocking command that found nothing to take has seen an empty list at some moment."""
    if name == b"LRANGE":
        return list(table.get(key, ()))
    if name in (b"RPUSH", b"LPUSH"):
        return _put(table, key, name[:1], words[0])
    if name in _MOVES:
        destination, wherefrom, whereto = words
        element = _take(table, key, wherefrom[:1])
        if element is not None:
            _put(table, destination, whereto[:1], element)
        return element
    element = _take(table, key, name.lstrip(b"B")[:1])
    return [key, element] if element is not None and name[:1] == b"B" else element


def _put(table: dict[bytes, Any], key: bytes, end: bytes, element: bytes) -> int:
    """Put an element at an end, `L` or `R`; returns how many there are."""
    elements = table.get(key, ())
    table[key] = (*elements, element) if end == b"R" else (element, *elements)
    return len(table[key])


def _take(table: dict[bytes, Any], key: bytes, end: bytes) -> bytes | None:
    """Take an element from an end, `L` or `R`; None if there is none."""
    elements = table.pop(key, ())
    if len(elements) > 1:
        table[key] = elements[:-1] if end == b"R" else elements[1:]
    return None if not elements else elements[-1] if end == b"R" else elements[0]


def _execute_on_field(table: dict[bytes, Any], name: bytes, register: bytes, value: bytes = b"") -> Any:
    """As `execute`. HINCRBY is by 1."""
    old = table.get(register)
    if name == b"HGET":
        return old
    if name == b"HDEL":
        table.pop(register, None)
        return int(old is not None)
    if name == b"HINCRBY":
        number = int(old or b"0") + 1
        table[register] = b"%d" % number
        return number
    if name == b"HSET" or old is None:
        table[register] = value
    return int(old is None)
