"""A request, as those who look at a client's rights need it: which keys, channels and databases it is about."""

from __future__ import annotations

import enum
import functools
from typing import NamedTuple

from kvstore.commands.key_flags import key_flags, key_flags_of
from kvstore.commands.registry import Command
from kvstore.commands.row import NOT_KEYS

#: What may be done with keys.
READ_KEYS, WRITE_KEYS = 1, 2
_ACCESS = {"access": READ_KEYS, "insert": WRITE_KEYS, "delete": WRITE_KEYS, "update": WRITE_KEYS}

#: How many of a request's words, behind the name, are channels (None: all), and whether they are patterns.
_CHANNELS: dict[str, tuple[int | None, bool]] = {
    "SUBSCRIBE": (None, False),
    "SSUBSCRIBE": (None, False),
    "PSUBSCRIBE": (None, True),
    "PUBLISH": (1, False),
    "SPUBLISH": (1, False),
}
#: Where a request names databases. Those of COPY: see `_databases_of_copy`.
_DATABASES = {"SELECT": (1,), "SWAPDB": (1, 2), "MOVE": (2,)}
#: What is about all databases.
OF_ALL_DATABASES = ("FLUSHALL",)
#: What tells of the values of keys that it does not name.
_OF_ALL_KEYS = ("QUERY",)


class Reason(enum.IntEnum):
    """Why a request is refused; of several reasons the greatest is told."""

    DATABASE = 1
    COMMAND = 2
    KEY = 3
    CHANNEL = 4


class Denial(NamedTuple):
    """What a request lacks. `place`: of its words the one at fault, more or less; the last one is told.

    `name`: the key, channel or database; of a command that may not be run, its own.
    """

    reason: Reason
    place: int
    name: bytes


def is_about_one_key(row: Command) -> bool:
    """Whether what a command may do hangs on the key behind its name alone, and the database that is chosen."""
    return (
        row.find_keys is None
        and row.keys == (1, 1, 1)
        and row.words == 1
        and not (row.flags & NOT_KEYS or row.name in _DATABASES)
    )


def access_of(row: Command) -> int:
    """What such a command does with its key."""
    return _access(key_flags(row)[0])


def _access(flags: list[str]) -> int:
    return functools.reduce(int.__or__, (_ACCESS.get(flag, 0) for flag in flags), 0)


class Asked:
    """A request, as those who look at it need it. `words`: the name first. `database`: the one that is chosen.

    `databases`: how many there are.
    """

    def __init__(self, row: Command, words: list[bytes], database: int, databases: int) -> None:
        self.row = row
        self.words = words
        self.database = database
        self._databases = databases

    @functools.cached_property
    def keys(self) -> list[tuple[bytes, int]]:
        """The keys that it names, each with what becomes of it."""
        if self.row.flags & NOT_KEYS:
            return []
        keys = self.row.keys_of(self.words)
        told = key_flags_of(self.row, self.words, keys)
        return [(key, _access(flags)) for key, flags in zip(keys, told, strict=True)]

    @property
    def reads_all_keys(self) -> bool:
        """Whether it tells of any values."""
        return self.row.name in _OF_ALL_KEYS

    @functools.cached_property
    def named_databases(self) -> list[tuple[int, int]]:
        """The databases that it names, each behind the place of the word; none where any of them makes no sense."""
        places = _databases_of_copy(self.words) if self.row.name == "COPY" else _DATABASES.get(self.row.name, ())
        words = [(place, self.words[place]) for place in places if place < len(self.words)]
        if not all(word.isdigit() and len(word) < 10 and int(word) < self._databases for _, word in words):
            return []
        return [(place, int(word)) for place, word in words]

    @property
    def channels(self) -> tuple[list[bytes], bool]:
        """The channels that it names, and whether they are patterns."""
        count, is_pattern = _CHANNELS.get(self.row.name, (0, False))
        return self.words[1:][:count], is_pattern

    @property
    def names_databases(self) -> bool:
        """Whether the command takes databases by their numbers."""
        return self.row.name in _DATABASES or self.row.name == "COPY"

    def all_databases(self) -> range:
        """The numbers of those that there are."""
        return range(self._databases)


def _databases_of_copy(words: list[bytes]) -> list[int]:
    """The places of all numbers behind DB; none if the options make no sense."""
    places = []
    left = iter(range(3, len(words)))
    for place in left:
        option = words[place].upper()
        if option == b"DB" and place + 1 < len(words):
            places.append(next(left))
        elif option != b"REPLACE":
            return []
    return places
