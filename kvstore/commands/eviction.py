"""Which key goes when memory is short: what `maxmemory-policy` says.

| policy | which |
|---|---|
| `allkeys-random`, `volatile-random` | any, of each database in turn |
| `allkeys-lru`, `volatile-lru` | the one that nobody has asked for longest |
| `allkeys-lfu`, `volatile-lfu` | the one that was asked for least, of late |
| `volatile-ttl` | the one whose deadline is next |
| `noeviction` | none |

`volatile-*` are about keys that have a deadline. Past the first row the best of a sample is taken, as in Redis: of each
database `maxmemory-samples` keys, and the best of earlier samples, which are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from kvstore.base.chance import Chance
from kvstore.base.random_entry import RandomEntry
from kvstore.base.value_type import Value
from kvstore.commands.accesses import Accesses
from kvstore.commands.configuration import Configuration
from kvstore.store.observing import EVICTED
from kvstore.store.table import Table

#: What a key takes besides its own bytes and its value's: its place in the table.
KEY_BYTES = 36
#: Candidates that are kept from one eviction to the next: EVPOOL_SIZE.
_KEPT = 16


def size_bytes(key: bytes, value: Value) -> int:
    """About how many bytes of memory a key and its value take."""
    of_value = sys.getsizeof(value) if value.__class__ is bytes else value.size_bytes()
    return KEY_BYTES + sys.getsizeof(key) + int(of_value)


class Eviction:
    """See the module. `evicted`: how many keys are gone so far. `chance`: picks the samples."""

    def __init__(
        self, tables: Sequence[Table], configuration: Configuration, accesses: Accesses, chance: Chance
    ) -> None:
        self._tables = tables
        self._configuration = configuration
        self._accesses = accesses
        self._chance = chance
        self._entries = [RandomEntry() for _ in tables]
        #: The databases that have had such keys of late, for `random`, and the place of the last one among them.
        self._occupied: list[int] = []
        self._next = 0
        #: Candidates, with how gladly each is let go.
        self._kept: dict[tuple[Table, bytes], int] = {}
        self.evicted = 0

    def evict(self) -> int | None:
        """Let one key go. Returns about how many bytes that frees; None if there is none that may go. Raises
        StorageFull; then nothing changed.
        """
        scope, _, order = self._configuration.text("maxmemory-policy").partition("-")
        if not order:
            return None
        is_volatile = scope == "volatile"
        found = self._any(is_volatile) if order == "random" else self._best(is_volatile, order)
        if found is None:
            return None
        table, key = found
        freed_bytes = size_bytes(key, table.values[key])
        table.delete(key, EVICTED)
        table.pending.undo.clear()
        self.evicted += 1
        return freed_bytes

    @property
    def is_off(self) -> bool:
        """Whether no key may ever go."""
        return self._configuration.text("maxmemory-policy") == "noeviction"

    def policy_changed(self) -> None:
        """What was a candidate is none any more."""
        self._kept.clear()
        self._occupied.clear()

    def _any(self, is_volatile: bool) -> tuple[Table, bytes] | None:
        if self.evicted % _KEPT == 0 or not self._occupied:
            self._occupied = [number for number in range(len(self._tables)) if self._keys(number, is_volatile)]
        while self._occupied:
            self._next = (self._next + 1) % len(self._occupied)
            number = self._occupied[self._next]
            if keys := self._keys(number, is_volatile):
                return self._tables[number], self._drawn(number, keys)
            self._occupied.remove(number)
        return None

    def _keys(self, number: int, is_volatile: bool) -> dict[bytes, Any]:
        table = self._tables[number]
        return table.deadlines if is_volatile else table.values

    def _drawn(self, number: int, keys: dict[bytes, Any]) -> bytes:
        key: bytes = self._entries[number].key_of(keys, self._chance)
        return key

    def _best(self, is_volatile: bool, order: str) -> tuple[Table, bytes] | None:
        self._sample(is_volatile, _SCORES[order])
        kept = self._kept
        while kept:
            table, key = best = max(kept, key=kept.__getitem__)
            del kept[best]
            if key in (table.deadlines if is_volatile else table.values):
                return best
        return None

    def _sample(self, is_volatile: bool, score: Callable[[Eviction, Table, bytes], int]) -> None:
        kept, samples = self._kept, self._configuration.number("maxmemory-samples")
        for number, table in enumerate(self._tables):
            if keys := self._keys(number, is_volatile):
                for _ in range(min(samples, len(keys))):
                    key = self._drawn(number, keys)
                    kept[table, key] = score(self, table, key)
        for candidate in sorted(kept, key=kept.__getitem__)[:-_KEPT]:
            del kept[candidate]

    def idle_ms(self, table: Table, key: bytes) -> int:
        """For how long nobody has asked for a key."""
        return self._accesses.idle_ms(table, key)

    def seldom(self, table: Table, key: bytes) -> int:
        """How seldom a key is asked for, of late."""
        return -self._accesses.frequency(table, key)

    def soon(self, table: Table, key: bytes) -> int:
        """How soon the deadline of a key is."""
        return -table.deadlines[key]


#: How gladly a key is let go, by the order.
_SCORES: dict[str, Callable[[Eviction, Table, bytes], int]] = {
    "lru": Eviction.idle_ms, "lfu": Eviction.seldom, "ttl": Eviction.soon,
}  # fmt: skip
