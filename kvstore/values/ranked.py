"""Members in the order of their scores: what a large sorted set is made of.

A dict finds the score of a member; for the order there are blocks of some hundreds of members, and beside each an array
of their scores. Which block something belongs to, and where in it, is told by a search at C speed: by score, then
among equal scores by the bytes of the member. The rank of a block is a sum of sizes (`Sizes`), made when somebody asks
for a rank in the middle, and kept while no block comes or goes.

1 M members of 14 bytes take 140 bytes each (Valkey: 89), and 10 µs to be put one by one in random order, most of that
the processor's caches. A SortedList of (score, member) beside a dict (sortedcontainers 2.4) takes 198 and 15: a tuple
is 72 bytes. Rejected, too: buckets as hashes have them for the scores (108 bytes, 22 µs); the dict in parts by a keyed
hash, so that a scan has an order (148 bytes, 18 µs): a scan makes its own (`scan_order`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Self, TypeAlias, TypeVar

from kvstore.values.scan_order import ScanOrder

#: Members of a block, at most; one that grows past it is halved.
_MOST = 512
#: One with fewer is joined with a neighbour, if there is room.
_FEW = 64

Pair: TypeAlias = tuple[bytes, float]
_Item = TypeVar("_Item")


class Sizes:
    """Sums of the blocks' sizes: a Fenwick tree."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sums = sums = [0, *sizes]
        for place in range(1, len(sums)):
            above = place + (place & -place)
            if above < len(sums):
                sums[above] += sums[place]

    def add(self, number: int, more: int) -> None:
        """Block `number` has so many members more."""
        sums, place = self._sums, number + 1
        while place < len(sums):
            sums[place] += more
            place += place & -place

    def before(self, number: int) -> int:
        """How many members the blocks before block `number` have."""
        total = 0
        while number:
            total += self._sums[number]
            number &= number - 1
        return total

    def find(self, rank: int) -> tuple[int, int]:
        """In which block the member of that rank is, and where."""
        sums, place = self._sums, 0
        step = 1 << len(sums).bit_length() - 1
        while step:
            if place + step < len(sums) and sums[place + step] <= rank:
                place += step
                rank -= sums[place]
            step >>= 1
        return place, rank


class Ranked:
    """See the module. Ranks count from 0. Scores are never NaN, and 0 has no sign."""

    __slots__ = ("_last_members", "_last_scores", "_members", "_name_bytes", "_scores", "_sizes", "order", "scores")

    def __init__(self) -> None:
        #: Of each member.
        self.scores: dict[bytes, float] = {}
        #: The blocks, none of them empty, and beside them the scores, and the last member and score of each.
        self._members: list[list[bytes]] = []
        self._scores: list[array[float]] = []
        self._last_members: list[bytes] = []
        self._last_scores: array[float] = array("d")
        self._sizes: Sizes | None = None
        self._name_bytes = 0
        #: Of a scan that is under way.
        self.order: ScanOrder | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def size_bytes(self) -> int:
        """Of all members together."""
        return self._name_bytes

    def parts(self) -> tuple[dict[Any, Any] | list[Any], ...]:
        """See `TypedValue`."""
        return self.scores, self._members, self._scores

    def copy(self) -> Self:
        """Another one with the same content."""
        other = self.__class__()
        other.scores = self.scores.copy()
        other._members = [block[:] for block in self._members]
        other._scores = [block[:] for block in self._scores]
        other._last_members, other._last_scores = self._last_members[:], self._last_scores[:]
        other._name_bytes = self._name_bytes
        return other

    # Reading

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members of the ranks from `start` to before `stop`, which are there."""
        return list(chain.from_iterable(self._between(self._members, start, stop)))

    def scores_of(self, start: int, stop: int) -> list[float]:
        """Their scores."""
        return list(chain.from_iterable(self._between(self._scores, start, stop)))

    def _between(self, blocks: Sequence[Sequence[_Item]], start: int, stop: int) -> list[Sequence[_Item]]:
        if start >= stop:
            return []
        (first, within), (last, end) = self._at(start), self._at(stop - 1)
        if first == last:
            return [blocks[first][within : end + 1]]
        return [blocks[first][within:], *blocks[first + 1 : last], blocks[last][: end + 1]]

    def at(self, rank: int) -> bytes:
        """The member of a rank, which is there."""
        number, within = self._at(rank)
        return self._members[number][within]

    def rank(self, member: bytes) -> int | None:
        """The rank of a member, None if it is not there."""
        score = self.scores.get(member)
        return None if score is None else self._rank(*self._find(score, member))

    def below(self, score: float, *, inclusive: bool) -> int:
        """How many members have a lower score, or that one if `inclusive`."""
        return self._search(bisect_right if inclusive else bisect_left, self._last_scores, self._scores, score)

    def before(self, member: bytes, *, inclusive: bool) -> int:
        """How many members come before `member`, or are it if `inclusive`; where all have one score."""
        return self._search(bisect_right if inclusive else bisect_left, self._last_members, self._members, member)

    def _search(self, search: Callable[..., int], ends: Sequence[Any], blocks: Sequence[Any], wanted: Any) -> int:
        number = search(ends, wanted)
        return len(self) if number == len(ends) else self._rank(number, search(blocks[number], wanted))

    def _find(self, score: float, member: bytes) -> tuple[int, int]:
        """In which block a member with that score is, and where; or belongs."""
        number = _place(self._last_scores, self._last_members, score, member)
        if number == len(self._members):
            return number - 1, len(self._members[-1])
        return number, _place(self._scores[number], self._members[number], score, member)

    def _rank(self, number: int, within: int) -> int:
        """The rank of what is there in that block."""
        if not number:
            return within
        if number == len(self._members) - 1:
            return len(self) - len(self._members[-1]) + within
        return self._all_sizes().before(number) + within

    def _at(self, rank: int) -> tuple[int, int]:
        """In which block the member of that rank is, and where."""
        if rank < len(self._members[0]):
            return 0, rank
        from_end = rank - (len(self) - len(self._members[-1]))
        return (len(self._members) - 1, from_end) if from_end >= 0 else self._all_sizes().find(rank)

    def _all_sizes(self) -> Sizes:
        if self._sizes is None:
            self._sizes = Sizes(map(len, self._members))
        return self._sizes

    # Changing

    def put(self, member: bytes, score: float) -> float | None:
        """Give a member that score; returns the one that it had, None if it was not there."""
        before = self.scores.get(member)
        if before is None:
            self._name_bytes += len(member)
            if self.order is not None:
                self.order = self.order.joined_by(member, len(self))
        elif before == score:
            return before
        else:
            member = self._take_out(member, before)
        self.scores[member] = score
        self._insert(member, score)
        return before

    def put_sorted(self, pairs: list[Pair]) -> None:
        """Put many members that are not there, each once, in their order."""
        if self.scores and not (self._last_scores[-1], self._last_members[-1]) < (pairs[0][1], pairs[0][0]):
            for member, score in pairs:
                self.put(member, score)
            return
        self.scores.update(pairs)
        names = [member for member, _ in pairs]
        self._name_bytes += sum(map(len, names))
        if self.order is not None:
            for member in names:
                self.order = self.order and self.order.joined_by(member, len(self))
        scores = array("d", [score for _, score in pairs])
        room = max(0, _MOST // 2 - len(self._members[-1])) if self._members else 0
        if room:
            self._members[-1] += names[:room]
            self._scores[-1] += scores[:room]
            self._mend(len(self._members) - 1)
        for start in range(room, len(names), _MOST // 2):
            block = names[start : start + _MOST // 2]
            self._add_block(len(self._members), block, scores[start : start + _MOST // 2])
        self._sizes = None

    def take(self, member: bytes) -> float | None:
        """Remove a member; returns the score that it had, None if it was not there."""
        score = self.scores.pop(member, None)
        if score is not None:
            self._gone(self._take_out(member, score))
        return score

    def take_range(self, start: int, stop: int) -> list[Pair]:
        """Remove the members of the ranks from `start` to before `stop`, which are there, and return them."""
        if start >= stop:
            return []
        names = self.members(start, stop)
        (first, within), (last, end) = self._at(start), self._at(stop - 1)
        taken = list(zip(names, map(self.scores.pop, names), strict=True))
        if first == last:
            del self._members[first][within : end + 1], self._scores[first][within : end + 1]
        else:
            del self._members[last][: end + 1], self._scores[last][: end + 1]
            del self._members[first][within:], self._scores[first][within:]
            self._drop_blocks(first + 1, last)
            self._mend(first + 1)
        self._sizes = None
        self._mend(first)
        for member in names:
            self._gone(member)
        return taken

    def _insert(self, member: bytes, score: float) -> None:
        if not self._members:
            self._add_block(0, [member], array("d", [score]))
            return
        number, at = self._find(score, member)
        members = self._members[number]
        members.insert(at, member)
        self._scores[number].insert(at, score)
        if at == len(members) - 1:
            self._last_members[number], self._last_scores[number] = member, score
        if self._sizes is not None:
            self._sizes.add(number, 1)
        if len(members) > _MOST:
            self._halve(number)

    def _take_out(self, member: bytes, score: float) -> bytes:
        """Take a member out of its block; returns the object that was there."""
        number, at = self._find(score, member)
        del self._scores[number][at]
        taken = self._members[number].pop(at)
        if self._sizes is not None:
            self._sizes.add(number, -1)
        left = len(self._members[number])
        if at == left or left < _FEW:
            self._mend(number)
        return taken

    def _gone(self, member: bytes) -> None:
        self._name_bytes -= len(member)
        if self.order is not None:
            self.order = self.order.left_by(len(self))

    # Blocks

    def _add_block(self, number: int, members: list[bytes], scores: array[float]) -> None:
        self._members.insert(number, members)
        self._scores.insert(number, scores)
        self._last_members.insert(number, members[-1])
        self._last_scores.insert(number, scores[-1])
        self._sizes = None

    def _drop_blocks(self, start: int, stop: int) -> None:
        del self._members[start:stop], self._scores[start:stop]
        del self._last_members[start:stop], self._last_scores[start:stop]
        self._sizes = None

    def _halve(self, number: int) -> None:
        members, scores = self._members[number], self._scores[number]
        half = len(members) // 2
        self._add_block(number + 1, members[half:], scores[half:])
        del members[half:], scores[half:]
        self._mend(number)

    def _mend(self, number: int) -> None:
        """A block has lost some of its members, or got others at its end."""
        members = self._members[number]
        if not members:
            self._drop_blocks(number, number + 1)
            return
        self._last_members[number], self._last_scores[number] = members[-1], self._scores[number][-1]
        if len(members) < _FEW:
            for first in (number, number - 1):
                both = self._members[first : first + 2] if first >= 0 else []
                if len(both) == 2 and sum(map(len, both)) <= _MOST // 2:
                    self._join(first)
                    return

    def _join(self, number: int) -> None:
        """Put the next block's members behind those of block `number`."""
        self._members[number] += self._members[number + 1]
        self._scores[number] += self._scores[number + 1]
        self._drop_blocks(number + 1, number + 2)
        self._mend(number)


def _place(scores: array[float], members: list[bytes], score: float, member: bytes) -> int:
    """Where a member with that score is among others, or belongs."""
    at = bisect_left(scores, score)
    if at == len(scores) or scores[at] != score or members[at] >= member:
        return at
    return bisect_left(members, member, at, bisect_right(scores, score, at))
