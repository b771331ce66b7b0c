"""How many keys there are of each type, and about how much memory they take: looked at of a few, drawn at random.

While there are few keys it is all of them, and exact. Of many, an estimate: of a type that has one key in ten, of
hundreds drawn, the number is right within a fifth or so; one key that is far larger than all others is easily missed
(kvstore's `MEMORY USAGE` knows that of each). To count exactly, each write would have to pay for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from kvstore.base.chance import Chance
from kvstore.base.limits import MAX_EXAMINED_KEYS
from kvstore.base.random_entry import RandomEntry
from kvstore.commands.eviction import size_bytes
from kvstore.store.store import Store


class TypeShare(NamedTuple):
    """A type of values. `keys`, `size_bytes`: of all its keys."""

    name: str
    keys: float
    size_bytes: float


class Types:
    """See the module. `chance`: by which keys are drawn."""

    def __init__(self, store: Store, chance: Chance) -> None:
        self._store = store
        self._chance = chance
        self._entries = [RandomEntry() for _ in store.databases]

    def shares(self) -> list[TypeShare]:
        """By how much memory they take, most first."""
        keys: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        looked_at = 0
        for type_name, size in self._examined():
            keys[type_name] += 1
            sizes[type_name] += size
            looked_at += 1
        factor = self.key_count / max(1, looked_at)
        return [TypeShare(name, keys[name] * factor, size * factor) for name, size in sizes.most_common()]

    @property
    def key_count(self) -> int:
        """Of all databases, with those that have expired and are there still."""
        return sum(len(table.values) for table in self._store.databases)

    @property
    def is_exact(self) -> bool:
        """Whether all are looked at."""
        return self.key_count <= MAX_EXAMINED_KEYS

    def _examined(self) -> Iterator[tuple[str, int]]:
        """Type and size of each key that is looked at."""
        types = self._store.types
        for number, key in self._drawn():
            value = self._store.databases[number].values[key]
            yield types.name_of(value), size_bytes(key, value)

    def _drawn(self) -> Iterator[tuple[int, bytes]]:
        """Numbers of databases, and keys of theirs: all, or some at random, of each database as many as is its part."""
        tables, total = self._store.databases, self.key_count
        for table in tables:
            if self.is_exact:
                yield from ((table.number, key) for key in list(table.values))
            elif table.values:
                for _ in range(max(1, MAX_EXAMINED_KEYS * len(table.values) // total)):
                    yield table.number, self._entries[table.number].key_of(table.values, self._chance)
