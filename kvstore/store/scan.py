"""The order in which SCAN walks the keys: buckets by hash, with cursors that survive growth and shrinking.

Like an index it appears when asked for, but not at once. The first SCAN notes the keys there are (20 to 40 ms for a
million); it, those that follow it, and the server between requests (`Table.tidy`) sort some of them into the buckets.
Until all are sorted a SCAN gives no keys, only a cursor to come back with. Writes maintain the buckets while scans go
on, and they are dropped when no scan came for a while.

A cursor is a bucket
number, counted with its bits reversed: when the number of buckets doubles or halves, what was visited stays visited
(the method is Pieter Noordhuis's, from Redis's dict.c). So every key that is there during a whole scan is given at
least once, with no state kept per scan.

While keys are being sorted, a key that came or went since they were noted is settled: it is in its bucket, or it is
not, and the note of it no longer counts. All keys are sorted some seconds later, whether a scan comes back or not, so
that the number of settled keys is bounded.

The place of a key is a hash whose secret is in the directory (see `kvstore.base.keyed_hash`): no client can fill one
bucket, and a cursor means the same to a server that was started again. It makes a million keys take 1.8 s of processor
to be sorted, instead of 1.2 with Python's own hash. Places are not kept: they would take 32 bytes a key.

Rejected: the position in the dict (reading it costs a walk from the start, and deletions shift it); a copy of all keys
per scan (memory in the hands of clients that never come back).
"""

from __future__ import annotations

from kvstore.base.chance import Chance
from kvstore.base.keyed_hash import KeyedHash, bucket_after
from kvstore.store.observing import Observed, Observer

#: Aim of keys in a bucket; twice or a quarter of it on average changes the number of buckets.
_FILL = 8
_LEAST_BITS = 4
_KEPT_TICKS = 300
#: Keys sorted by one scan: some 2 ms.
_SORTED_AT_ONCE = 1500
#: Where a scan begins that was told to come back: past every bucket, so that it is the first one's.
_BEGINNING = 1 << 62


class ScanOrder(Observer):
    """Buckets of the table's keys. An observer of the table while it is built. `hashed`: where keys lie."""

    def __init__(self, table: Observed, hashed: KeyedHash) -> None:
        self._table = table
        self._hashed = hashed
        self._bits = 0
        self._count = 0
        #: None is an empty bucket that was never filled: making a list for each would take longer than noting the keys.
        self._buckets: list[list[bytes] | None] = []
        self._unsorted: list[bytes] = []
        self._settled: set[bytes] = set()
        self._idle_ticks = 0

    @property
    def is_built(self) -> bool:
        """Whether the buckets exist and are maintained."""
        return bool(self._buckets)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About `count` keys (at least 1) from `cursor` on (0 begins), or none while the keys are being sorted. Returns
        the next cursor, 0 at the end, and the keys.

        Keys past their deadline may be among them.
        """
        self._idle_ticks = 0
        if not self._buckets:
            self._begin()
        if self._unsorted and self.sort_some(_SORTED_AT_ONCE):
            return cursor or _BEGINNING, []
        mask = (1 << self._bits) - 1
        keys: list[bytes] = []
        position = cursor & mask
        while True:
            keys.extend(self._buckets[position] or ())
            position = bucket_after(position, self._bits)
            if not position or len(keys) >= count:
                return position, keys

    def sample(self, chance: Chance) -> list[bytes]:
        """Some keys that chance picks, maybe none. Keys that have expired, or are no more, may be among them."""
        self._idle_ticks = 0
        if not self._buckets:
            self._begin()
        place = chance.randrange(max(1, self._count))
        if place < len(self._unsorted):
            return [self._unsorted[place]]
        return self._buckets[chance.getrandbits(self._bits)] or []

    def age(self) -> None:
        """A tick passed; after _KEPT_TICKS of them without a scan the buckets are dropped."""
        self._idle_ticks += 1
        if self._buckets and self._idle_ticks > _KEPT_TICKS:
            self.drop()

    def drop(self) -> None:
        """Forget the buckets; the next scan builds them again. Cursors stay valid."""
        self._table.forget(self)
        self._let_go()
        self._buckets, self._unsorted, self._settled = [], [], set()

    def changed(self, key: bytes, before: bytes | None, after: bytes | None, event: bytes | None) -> None:
        """See `Observer`."""
        if before is None and after is not None:
            self._put(key, self._hashed.place(key))
            self._count += 1
            self._settle(key)
            if self._count > 2 * _FILL * len(self._buckets):
                self._begin()
        elif before is not None and after is None:
            self._take_out(key)
            self._count -= 1
            self._settle(key)
            if self._count * 4 < _FILL * len(self._buckets) and self._bits > _LEAST_BITS:
                self._begin()

    def flushed(self) -> None:
        """See `Observer`."""
        self._begin()

    def _put(self, key: bytes, place: int) -> None:
        number = place & (len(self._buckets) - 1)
        bucket = self._buckets[number]
        if bucket is None:
            self._buckets[number] = [key]
        else:
            bucket.append(key)

    def _take_out(self, key: bytes) -> None:
        bucket = self._buckets[self._hashed.place(key) & (len(self._buckets) - 1)]
        if bucket is not None and key in bucket:  # else it is not sorted yet
            bucket.remove(key)

    def _settle(self, key: bytes) -> None:
        if self._unsorted:
            self._settled.add(key)

    def _let_go(self) -> None:
        self._table.garbage.put(self._buckets)
        self._table.garbage.put(self._unsorted)

    def _begin(self) -> None:
        """Note the keys there are, to be sorted into as many empty buckets as fit them."""
        self._let_go()
        self._unsorted, self._settled = list(self._table.values), set()
        self._count = len(self._unsorted)
        self._bits = max(_LEAST_BITS, (self._count // _FILL).bit_length())
        self._buckets = [None] * (1 << self._bits)
        self._table.observe(self)

    def sort_some(self, number: int) -> bool:
        """Put so many of the keys noted into their buckets; returns whether there are more."""
        if not self._unsorted:
            return False
        settled = self._settled
        keys = [key for key in self._unsorted[-number:] if key not in settled]
        for key, place in zip(keys, self._hashed.places(keys), strict=True):
            self._put(key, place)
        del self._unsorted[-number:]
        if self._unsorted:
            return True
        self._settled = set()
        return False
