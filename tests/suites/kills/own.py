"""The keys of one client of a kill run: what they will hold when all that it sent is done, and which comes next.

Each client has keys of its own, in several databases, so that what they hold is known exactly.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.suites.kills.request import Elements, Fields, Held, Members, Stream, place

#: How many keys a client has of strings, counters and documents, and of every other kind.
_KEYS = 40
FEW = 6
_FIELDS = 5
LONGEST_PADDING = 300


class Own:
    """See the module. `name`: begins each key. `chance`: where requests come from.

    `planned`: what the keys will hold, by `place`. `database`: the one that the next request is about.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.chance = chance
        self.planned: dict[bytes, Held] = {}
        self.database = 0
        self._serial = 0

    def at(self, key: bytes) -> bytes:
        """How a key of the present database is named in states."""
        return place(self.database, key)

    def key(self, kind: str, keys: int = _KEYS) -> bytes:
        """One of its keys of a kind."""
        return b"%b:%b:%d" % (self.name.encode(), kind.encode(), self.chance.randrange(keys))

    def number(self) -> int:
        """One that is larger than all before."""
        self._serial += 1
        return self._serial

    def value(self) -> bytes:
        """A value that was never used before."""
        return b"%b-%d-%b" % (self.name.encode(), self.number(), b"x" * self.chance.randrange(LONGEST_PADDING))

    def field(self) -> bytes:
        """One of a few names of fields and members."""
        return b"field-%d" % self.chance.randrange(_FIELDS)

    def incremented(self, at: bytes) -> bytes:
        """What a counter will be after one more."""
        held = self.planned.get(at, b"0")
        assert isinstance(held, bytes)
        return b"%d" % (int(held) + 1)

    def elements(self, key: bytes) -> Elements:
        """Of a list, or members and scores of a sorted set; none if there is none."""
        held = self.planned.get(self.at(key), ())
        assert isinstance(held, tuple) and not isinstance(held, Stream)
        return held

    def hash(self) -> tuple[bytes, Fields]:
        """A hash's key, and what it holds."""
        key = self.key("hash", FEW)
        held = self.planned.get(self.at(key), {})
        assert isinstance(held, dict)
        return key, held

    def a_set(self) -> tuple[bytes, Members]:
        """A set's key, and its members."""
        key = self.key("set", FEW)
        return key, self.members(key)

    def members(self, key: bytes) -> Members:
        """Of a set."""
        held = self.planned.get(self.at(key), frozenset())
        assert isinstance(held, frozenset)
        return held

    def scores(self) -> tuple[bytes, dict[bytes, int]]:
        """A sorted set's key, and the scores of its members."""
        key = self.key("ranking", FEW)
        held = self.elements(key)
        return key, dict(zip(held[::2], map(int, held[1::2]), strict=True))

    def stream(self) -> tuple[bytes, Stream | None]:
        """A stream's key, and what it holds."""
        key = self.key("stream", FEW)
        held = self.planned.get(self.at(key))
        assert held is None or isinstance(held, Stream)
        return key, held


def ranking(scores: Mapping[bytes, int]) -> Elements | None:
    """A sorted set with these members: each and its score, in order."""
    in_order = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))
    return tuple(word for member, score in in_order for word in (member, b"%d" % score)) or None
