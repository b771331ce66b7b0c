"""The order in which SCAN walks the keys: buckets by hash, with cursors that survive growth and shrinking.

Like an index it appears when asked for: the first SCAN sorts the keys into buckets (some 0.3 s for a million keys),
writes maintain them while scans go on, and they are dropped when no scan came for a while. A cursor is a bucket
number, counted with its bits reversed: when the number of buckets doubles or halves, what was visited stays visited
(the method is Pieter Noordhuis's, from Redis's dict.c). So every key that is there during a whole scan is given at
least once, with no state kept per scan.

Rejected: the position in the dict (reading it costs a walk from the start, and deletions shift it); a copy of all keys
per scan (memory in the hands of clients that never come back).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.store.table import Table

#: Aim of keys in a bucket; twice or a quarter of it on average changes the number of buckets.
_FILL = 8
_LEAST_BITS = 4
_KEPT_TICKS = 300


class ScanOrder:
    """Buckets of the table's keys. An observer of the table while it is built."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._bits = 0
        self._count = 0
        self._buckets: list[list[bytes]] = []
        self._idle_ticks = 0

    @property
    def is_built(self) -> bool:
        """Whether the buckets exist and are maintained."""
        return bool(self._buckets)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About `count` keys (at least 1) from `cursor` on (0 begins). Returns the next cursor, 0 at the end, and the
        keys.

        Keys past their deadline may be among them.
        """
        self._idle_ticks = 0
        if not self._buckets:
            self._build()
        mask = (1 << self._bits) - 1
        keys: list[bytes] = []
        position = cursor & mask
        while True:
            keys.extend(self._buckets[position])
            position = _after(position, self._bits)
            if not position or len(keys) >= count:
                return position, keys

    def age(self) -> None:
        """A tick passed; after _KEPT_TICKS of them without a scan the buckets are dropped."""
        self._idle_ticks += 1
        if self._buckets and self._idle_ticks > _KEPT_TICKS:
            self.drop()

    def drop(self) -> None:
        """Forget the buckets; the next scan builds them again. Cursors stay valid."""
        self._table.forget(self)
        self._buckets = []

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """See `Observer`."""
        if before is None and after is not None:
            self._buckets[hash(key) & (len(self._buckets) - 1)].append(key)
            self._count += 1
            if self._count > 2 * _FILL * len(self._buckets):
                self._build()
        elif before is not None and after is None:
            self._buckets[hash(key) & (len(self._buckets) - 1)].remove(key)
            self._count -= 1
            if self._count * 4 < _FILL * len(self._buckets) and self._bits > _LEAST_BITS:
                self._build()

    def flushed(self) -> None:
        """See `Observer`."""
        self._build()

    def _build(self) -> None:
        values = self._table.values
        self._count = len(values)
        self._bits = max(_LEAST_BITS, (self._count // _FILL).bit_length())
        mask = (1 << self._bits) - 1
        buckets: list[list[bytes]] = [[] for _ in range(mask + 1)]
        self._buckets = buckets
        for key in values:
            buckets[hash(key) & mask].append(key)
        self._table.observe(self)


def _after(position: int, bits: int) -> int:
    """The bucket after `position`, counting with the bits reversed; 0 after the last."""
    bit = 1 << (bits - 1)
    while position & bit:
        position ^= bit
        bit >>= 1
    return position | bit
