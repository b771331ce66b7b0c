"""What sets have in common, all that they have, and what only the first has: a few members at a time.

Sets of one directory find their members by one hash. So the members of one *region* of it, those whose places end in
the same bits, are in few buckets of each large set, and large sets are combined region by region, without a look at
what any place is: a tenth of the time of a look-up for each member. A set that is small is made a Python set; in one
that is much larger than the first each member is looked up.

What is yielded are lists, maybe empty, each after some 0.2 ms. The sets may not change meanwhile: hand in copies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from kvstore.values.sets import Set

#: A set so many times as large as another is not gone through for it.
_FAR = 8
#: Members that are looked up before something is yielded.
_SOME = 64


def intersection(sets: Sequence[Set]) -> Iterator[list[bytes]]:
    """What all sets have, of which there is at least one."""
    first, *others = sorted(sets, key=len)
    return _those_of(first, others, there=True)


def difference(first: Set, others: Collection[Set]) -> Iterator[list[bytes]]:
    """What `first` has, and none of the others."""
    return _those_of(first, others, there=False)


def union(sets: Collection[Set]) -> Iterator[list[bytes]]:
    """What any of the sets has, each member once."""
    most = max(map(len, sets), default=0)
    near = [each for each in sets if each.is_large and _FAR * len(each) >= most]
    rest: dict[bytes, None] = {}
    for some in chain.from_iterable(each.members() for each in sets if each not in near):
        rest.update(dict.fromkeys(some))
        yield []
    if near:
        for beside in _regions(near):
            yield list(dict.fromkeys(chain.from_iterable(beside)))
    left = list(rest)
    for place in range(0, len(left), _SOME):
        yield _without(left[place : place + _SOME], near)


def _those_of(first: Set, others: Collection[Set], there: bool) -> Iterator[list[bytes]]:
    """The members of `first` that are in each of the others or, if not `there`, in none."""
    large = [other for other in others if other.is_large]
    near = [other for other in large if first.is_large and len(other) <= _FAR * len(first)]
    fixed = [frozenset(other) for other in others if not other.is_large]
    far = [other for other in large if other not in near]
    for some, *beside in _regions([first, *near]):
        for found in (*fixed, *map(frozenset, beside)):
            some = [member for member in some if (member in found) is there]
        for other in far:
            some = _looked_up(some, other, there)
        yield some


def _regions(sets: Sequence[Set]) -> Iterator[tuple[list[bytes], ...]]:
    """Region by region the members of each set, which are large if there is more than one."""
    if len(sets) == 1:
        return ((some,) for some in sets[0].members())
    bits = min(each.region_bits() for each in sets)
    return zip(*(each.regions(bits) for each in sets), strict=True)


def _without(members: list[bytes], sets: Collection[Set]) -> list[bytes]:
    for each in sets:
        members = _looked_up(members, each, there=False)
    return members


def _looked_up(members: list[bytes], other: Set, there: bool) -> list[bytes]:
    """Those of the members that another set has or, if not `there`, has not."""
    if not members:
        return members
    return [member for member, found in zip(members, other.contains_each(members), strict=True) if found is there]
