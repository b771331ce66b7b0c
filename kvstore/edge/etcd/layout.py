"""Which keys a group's log has in etcd, and what their values are.

    kvstore/GROUP/head                      the position of the newest entry
    kvstore/GROUP/first                     the position of the first that was not trimmed
    kvstore/GROUP/entry/POSITION            an entry: `=` and its bytes, or `+`, digest and number of its parts
    kvstore/GROUP/part/POSITION/DIGEST/N    a part of an entry that is too large for one request
    kvstore/GROUP/note/NODE                 a node's note: what its synced checkpoint covers, a blank, its position

A position is 16 hexadecimal digits: so keys stand in the order of positions, and etcd's comparison of values, byte by
byte, is that of numbers. `head` and `first` are there as soon as there is an entry.

DIGEST is that of the whole entry (BLAKE2b, 16 bytes, in hexadecimal). So parts of two that try to append at the same
position do not meet, and an entry of parts is known by its value, as a small one is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from kvstore.base.limits import MIB
from kvstore.base.shared_log import Note
from kvstore.edge.etcd.gateway import KeyValue

#: Most bytes of an entry that go in one request, and of a part. etcd: --max-request-bytes, 1.5 MiB.
PART_BYTES = 1 * MIB

_WHOLE = b"="
_NOTE_VALUE = re.compile(rb"([0-9a-f]{16}) ([0-9a-f]{16})")
_PARTS_VALUE = re.compile(rb"\+([0-9a-f]{32})([0-9a-f]{4})")


def number(position: int) -> bytes:
    """A position as keys and values have it."""
    return b"%016x" % position


def number_in(found: list[KeyValue]) -> int:
    """The position that is the value of a key, or 0 if that is not there."""
    return int(found[0].value, 16) if found else 0


class Keys:
    """The keys of the log of a `group`. Raises ValueError if there can be none of that name."""

    def __init__(self, group: str) -> None:
        if not group or "/" in group:
            raise ValueError(f"{group!r} is no name of a group: it may not be empty, or have a slash")
        self.group = group
        self._prefix = prefix = b"kvstore/%b/" % group.encode()
        self.head = prefix + b"head"
        self.first = prefix + b"first"
        #: Never there: see `gateway.reading`.
        self.nothing = prefix + b"nothing"
        #: From, and to before: all entries, and all notes.
        self.entries = (prefix + b"entry/", prefix + b"entry0")
        self.notes = (prefix + b"note/", prefix + b"note0")

    def entry(self, position: int) -> bytes:
        """The key of an entry."""
        return b"%bentry/%016x" % (self._prefix, position)

    def position(self, key: bytes) -> int:
        """The position of the entry that has a key."""
        return int(key[-16:], 16)

    def parts(self, position: int) -> bytes:
        """What the keys of the parts of an entry begin with."""
        return b"%bpart/%016x/" % (self._prefix, position)

    def part(self, position: int, digest: bytes, index: int) -> bytes:
        """The key of a part."""
        return b"%b%b/%04x" % (self.parts(position), digest, index)

    def note(self, node: str) -> bytes:
        """The key of a node's note."""
        return self.notes[0] + node.encode()

    def node(self, key: bytes) -> str:
        """The node whose note has a key."""
        return key[len(self.notes[0]) :].decode("utf-8", "replace")


def value_of_note(note: Note) -> bytes:
    """The value of a note's key."""
    return b"%b %b" % (number(note.covers), number(note.position))


def note_of(value: bytes) -> Note | None:
    """The note that is the value of a key; None if it is none."""
    words = _NOTE_VALUE.fullmatch(value)
    return None if words is None else Note(int(words[1], 16), int(words[2], 16))


class Parts(NamedTuple):
    """What an entry in parts consists of. `digest`: of the whole. `total`: how many they are."""

    digest: bytes
    total: int

    def are(self, entry: bytes) -> bool:
        """Whether they are those of an entry."""
        return self.digest == _digest(entry)


def value_of(entry: bytes) -> bytes:
    """The value of an entry's key."""
    if not is_large(entry):
        return _WHOLE + entry
    return b"+%b%04x" % (_digest(entry), -(-len(entry) // PART_BYTES))


def entry_of(value: bytes) -> bytes | Parts:
    """The entry that a key's value is, or has the parts of.

    A value that is neither is given as it is: who decodes entries says what is wrong with it.
    """
    if parts := _PARTS_VALUE.fullmatch(value):
        return Parts(parts[1], int(parts[2], 16))
    return value.removeprefix(_WHOLE)


def is_large(entry: bytes) -> bool:
    """Whether an entry goes in parts."""
    return len(entry) > PART_BYTES


def cut(entry: bytes) -> Iterator[bytes]:
    """The parts of an entry."""
    return (entry[at : at + PART_BYTES] for at in range(0, len(entry), PART_BYTES))


def _digest(entry: bytes) -> bytes:
    return blake2b(entry, digest_size=16).hexdigest().encode()
