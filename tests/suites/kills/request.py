"""One request of a kill run's client: what is sent, what must be answered, what it changes. See `kill_writer`."""

from __future__ import annotations

import enum
import json
from typing import NamedTuple, TypeAlias

#: How many databases the clients use.
DATABASES = 3


class Violation(AssertionError):
    """A promise was broken. The text says which, and how to run into it again."""


class Unknown(enum.Enum):
    """A line of a reply that cannot be known before, by what it begins with; there is a whole number in it.

    BLOCK: the number that the shared counter gave a block. LENGTH: of what is in the next line. READ: the number that
    was read there.
    """

    BLOCK = b":"
    LENGTH = b"$"
    READ = b""


#: A list; a sorted set, too: each member and its score, in order.
Elements: TypeAlias = tuple[bytes, ...]
#: A hash: each field's value, and its deadline in ms since the epoch, -1 for none.
Fields: TypeAlias = dict[bytes, tuple[bytes, int]]
#: The members of a set.
Members: TypeAlias = frozenset[bytes]


class Entry(NamedTuple):
    """One of a stream, which has one field. `number`: its id, milliseconds in the upper 64 bits."""

    number: int
    value: bytes


class Pending(NamedTuple):
    """An entry that `consumer` was given, the `times`-th time, and nobody has acknowledged."""

    number: int
    consumer: bytes
    times: int


class Stream(NamedTuple):
    """A stream, and its group: `read` so far; `pending` in order, None if there is no group. `last`: newest ever."""

    entries: tuple[Entry, ...] = ()
    last: int = 0
    read: int = 0
    pending: tuple[Pending, ...] | None = None


class Beginning(bytes):
    """How a line of a reply begins."""


#: What a key holds.
Held: TypeAlias = bytes | Elements | Fields | Members | Stream

WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value"


def place(database: int, key: bytes) -> bytes:
    """How a key of a database is named in states."""
    return b"%d/%b" % (database, key) if database else key


def library_place(name: bytes) -> bytes:
    """How a library of functions is named in states. `name`: its client's name, "_", and more."""
    return b"functions/" + name.replace(b"_", b":", 1)


#: A line of a reply that is expected.
Line: TypeAlias = bytes | Unknown


class Request(NamedTuple):
    """One request, or one half of a MULTI block.

    `lines`: those of its reply. `changes`: what it does to the client's keys (see `place`); None for a key that it
    removes.
    """

    data: bytes
    lines: list[Line]
    changes: dict[bytes, Held | None]


def number_in(line: bytes, begins: bytes) -> int:
    """The number after `begins`, -1 if there is none."""
    digits = line.removeprefix(begins)
    return int(digits) if line.startswith(begins) and digits.isdigit() else -1


def as_text(document: object) -> bytes:
    """A document in the one form in which documents are compared."""
    return json.dumps(document, sort_keys=True).encode()


def bulk(value: Held | None) -> list[Line]:
    """The lines of a string in a reply."""
    if value is None:
        return [b"$-1"]
    assert isinstance(value, bytes)
    return [b"$%d" % len(value), value]


def shortened(value: Held | None) -> str:
    """A value for the eyes of a person."""
    return "nothing" if value is None else repr(value)[:60]
