"""The order in which a large sorted set is scanned: by a keyed hash of the members, made when a scan begins.

The hash is the directory's (`kvstore.base.keyed_hash`), so that a cursor outlives the process: it is the place up to
which all members were given. Members are noted first, then sorted into buckets, some at a time, before any are given;
those that come later are noted too, and sorted when the next scan begins. So a scan gives every member that is there
from its beginning to its end. Those that are gone lie about until the order is dropped: at the end of a scan, or when
as many have come or gone as there are.

A member takes 20 bytes here, and 1 µs to be sorted, about what it costs to be given. Rejected: an order that is always
there (see `ranked`).
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.base.keyed_hash import PLACE_BITS
from kvstore.base.value_type import Places

#: Aim of members in a bucket.
_FILL = 8
#: Members sorted in one step.
_SORTED_AT_ONCE = 256


class ScanOrder:
    """See the module. `members`: all that there are."""

    def __init__(self, places: Places, members: list[bytes]) -> None:
        self._places = places
        self._unsorted = members
        self._fresh: list[bytes] = []
        bits = (len(members) // _FILL).bit_length()
        self._shift = PLACE_BITS - bits
        self._buckets: list[list[bytes] | None] = [None] * (1 << bits)
        self._changes = 0

    def joined_by(self, member: bytes, count: int) -> ScanOrder | None:
        """A member has come to `count` others; None if the order is not worth to be kept any more."""
        self._fresh.append(member)
        return self.left_by(count)

    def left_by(self, count: int) -> ScanOrder | None:
        """A member is gone; `count` are left. Returns the same."""
        self._changes += 1
        return self if self._changes <= count else None

    def begin(self) -> None:
        """A scan begins: it has to give those, too, that came since the last one began."""
        self._unsorted += self._fresh
        self._fresh = []

    def sort(self) -> Iterator[None]:
        """Sort the members that are not, step by step; a second one may do the same beside it."""
        while self._unsorted:
            some = self._unsorted[-_SORTED_AT_ONCE:]
            del self._unsorted[-_SORTED_AT_ONCE:]
            for member, place in zip(some, self._places.places(some), strict=True):
                number = (place & (1 << PLACE_BITS) - 1) >> self._shift
                bucket = self._buckets[number]
                if bucket is None:
                    self._buckets[number] = [member]
                else:
                    bucket.append(member)
            yield

    def scan(self, cursor: int) -> tuple[int, list[bytes]]:
        """Some members, or what were members, from a cursor on, and the cursor behind them; 0 begins and ends.

        Those that are to be given are sorted.
        """
        number = cursor >> self._shift
        following = number + 1
        return (following << self._shift if following < len(self._buckets) else 0), self._buckets[number] or []
