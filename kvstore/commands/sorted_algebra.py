"""What sorted sets, plain ones among them too, have together (ZUNION), in common (ZINTER), or alone (ZDIFF).

The members of a plain set have the score 1. What is kept is in the log whole, as RENAME has it. What takes long is done
in slices if it only reads: with copies.

Errors come in Valkey's order: the number of keys, what the keys hold, the options. Sums are added up in its order, too,
the smallest set first, since with doubles the order counts.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeAlias

from kvstore.base.errors import InvalidRequest, syntax_error, wrong_type
from kvstore.base.reply import Reply, Strings
from kvstore.base.slices import Slices
from kvstore.commands.arguments import IntegerText, Key, to_integer
from kvstore.commands.context import Call
from kvstore.commands.registry import command
from kvstore.commands.row import READ, WRITE, numbered_keys
from kvstore.commands.scores import to_score
from kvstore.commands.set_algebra import limit_of
from kvstore.commands.sorted_sets import keep, with_scores
from kvstore.store.table import Table
from kvstore.values.ranked import Pair
from kvstore.values.sets import Set
from kvstore.values.sorted_sets import SortedSet

_Source: TypeAlias = "SortedSet | Set"
_Scores: TypeAlias = dict[bytes, float]
_Aggregate: TypeAlias = Callable[[float, float], float]

#: Members of all sets that are gone through at once: more of them in slices, so many in each step.
_AT_ONCE, _SOME = 1000, 256

_in_order = itemgetter(1, 0)


class _Weighed(NamedTuple):
    """A set, None if there is none, and what its scores are multiplied by."""

    source: _Source | None
    weight: float

    @property
    def size(self) -> int:
        """How many members there are."""
        return 0 if self.source is None else len(self.source)

    def parts(self) -> Iterator[list[Pair]]:
        """The members with their own scores, some at a time."""
        if isinstance(self.source, SortedSet):
            size = len(self.source)
            for start in range(0, size, _SOME):
                yield self.source.pairs(start, min(start + _SOME, size))
        elif self.source is not None:
            for some in self.source.members():
                yield [(member, 1.0) for member in some]

    def score(self, member: bytes) -> float | None:
        """Its own score, None if it is not there."""
        if isinstance(self.source, SortedSet):
            return self.source.score(member)
        return 1.0 if self.source is not None and member in self.source else None


_size = attrgetter("size")


def _is_long(sets: Sequence[_Weighed]) -> bool:
    """Whether they are to be gone through in slices, if they are only read."""
    return sum(each.size for each in sets) > _AT_ONCE


def _copied(sets: Sequence[_Weighed]) -> list[_Weighed]:
    return [_Weighed(source and source.copy(), weight) for source, weight in sets]


def _sum(one: float, other: float) -> float:
    return _number(one + other)


def _number(score: float) -> float:
    """The score; 0 in place of what is none (inf - inf, 0 * inf)."""
    return 0.0 if score != score else score


def _least(one: float, other: float) -> float:
    return other if other < one else one


def _most(one: float, other: float) -> float:
    return other if other > one else one


_AGGREGATES: dict[bytes, _Aggregate] = {b"SUM": _sum, b"MIN": _least, b"MAX": _most}


# Each puts into `scores` what it finds, in steps


def _unite(sets: Sequence[_Weighed], aggregate: _Aggregate, scores: _Scores) -> Iterator[None]:
    for each in sorted(sets, key=_size):
        for some in each.parts():
            for member, own in some:
                score, before = _number(own * each.weight), scores.get(member)
                scores[member] = score if before is None else aggregate(before, score)
            yield


def _intersect(sets: Sequence[_Weighed], aggregate: _Aggregate, scores: _Scores) -> Iterator[None]:
    first, *others = sorted(sets, key=_size)
    for some in first.parts():
        for member, own in some:
            score: float | None = _number(own * first.weight)
            for other in others:
                found = other.score(member)
                if score is None or found is None:
                    score = None
                    break
                score = aggregate(score, found * other.weight)
            if score is not None:
                scores[member] = score
        yield


def _subtract(sets: Sequence[_Weighed], aggregate: _Aggregate, scores: _Scores) -> Iterator[None]:
    first, *others = sets
    for some in first.parts():
        scores.update(pair for pair in some if all(other.score(pair[0]) is None for other in others))
        yield


_Combine: TypeAlias = Callable[[Sequence[_Weighed], _Aggregate, _Scores], Iterator[None]]


# Told


@command("ZUNION", READ, group="sorted-set", keys=numbered_keys(1), options=(
    "[key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]"
))  # fmt: skip
def zunion(call: Call, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Get the members that any of the sets has, with the sum, or so, of their scores."""
    return _told(call, _unite, "zunion", numkeys, (key, *more))


@command("ZINTER", READ, group="sorted-set", keys=numbered_keys(1), options=(
    "[key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]"
))  # fmt: skip
def zinter(call: Call, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Get the members that all sets have, with the sum, or so, of their scores."""
    return _told(call, _intersect, "zinter", numkeys, (key, *more))


@command("ZDIFF", READ, group="sorted-set", keys=numbered_keys(1), options="[key ...] [WITHSCORES]")
def zdiff(call: Call, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Get the members that only the first set has, with their scores there."""
    return _told(call, _subtract, "zdiff", numkeys, (key, *more))


def _told(call: Call, combine: _Combine, name: str, numkeys: bytes, words: tuple[bytes, ...]) -> Reply:
    asked = _asked(call.table, combine, name, numkeys, words, told=True)
    if _is_long(asked.sets):
        return _told_in_slices(call, combine, asked)
    return _shown(call, sorted(_combined(combine, asked).items(), key=_in_order), asked.with_scores)


def _shown(call: Call, pairs: Sequence[Pair], scores: bool) -> Reply:
    return with_scores(call, pairs) if scores else Strings([member for member, _ in pairs])


def _told_in_slices(call: Call, combine: _Combine, asked: _Asked) -> Slices:
    slicing, scores = call.table.slicing, _Scores()
    yield from slicing.room()
    yield from slicing.go_through(combine(_copied(asked.sets), asked.aggregate, scores))
    items, pairs = iter(scores.items()), list[Pair]()
    runs = list(iter(lambda: list(islice(items, _SOME)), []))
    yield from slicing.go_through(run.sort(key=_in_order) for run in runs)
    yield from slicing.go_through(map(pairs.append, heapq.merge(*runs, key=_in_order)))
    return _shown(call, pairs, asked.with_scores)


@command("ZINTERCARD", READ, group="sorted-set", keys=numbered_keys(1), options="[key ...] [LIMIT limit]")
def zintercard(call: Call, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Count the members that all sets have; up to a limit, unless that is 0."""
    keys, words = _counted("zintercard", numkeys, (key, *more))
    sets = [_Weighed(_look_up(call.table, each), 1.0) for each in keys]
    limit = limit_of(words)
    if _is_long(sets):
        return _counted_in_slices(call.table, sets, limit)
    scores = _Scores()
    deque(_up_to(limit, sets, scores), maxlen=0)
    return min(len(scores), limit or len(scores))


def _up_to(limit: int, sets: Sequence[_Weighed], scores: _Scores) -> Iterator[None]:
    for _ in _intersect(sets, _sum, scores):
        if limit and len(scores) >= limit:
            return
        yield


def _counted_in_slices(table: Table, sets: Sequence[_Weighed], limit: int) -> Slices:
    scores = _Scores()
    yield from table.slicing.room()
    yield from table.slicing.go_through(_up_to(limit, _copied(sets), scores))
    return min(len(scores), limit or len(scores))


# Kept


@command("ZUNIONSTORE", WRITE, group="sorted-set", keys=numbered_keys(2, 1), options=(
    "[key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]"
))  # fmt: skip
def zunionstore(call: Call, destination: Key, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Keep what ZUNION gives at another key; returns how many members there are."""
    return _kept(call, _unite, "zunionstore", destination, numkeys, (key, *more))


@command("ZINTERSTORE", WRITE, group="sorted-set", keys=numbered_keys(2, 1), options=(
    "[key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]"
))  # fmt: skip
def zinterstore(call: Call, destination: Key, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Keep what ZINTER gives at another key; returns how many members there are."""
    return _kept(call, _intersect, "zinterstore", destination, numkeys, (key, *more))


@command("ZDIFFSTORE", WRITE, group="sorted-set", keys=numbered_keys(2, 1), options="[key ...]")
def zdiffstore(call: Call, destination: Key, numkeys: IntegerText, key: Key, *more: bytes) -> Reply:
    """Keep what ZDIFF gives at another key; returns how many members there are."""
    return _kept(call, _subtract, "zdiffstore", destination, numkeys, (key, *more))


def _kept(
    call: Call, combine: _Combine, name: str, destination: bytes, numkeys: bytes, words: tuple[bytes, ...]
) -> int:
    asked = _asked(call.table, combine, name, numkeys, words, told=False)
    return keep(call.table, destination, _combined(combine, asked), name.encode())


# Arguments


class _Asked(NamedTuple):
    """What is to be combined, and how."""

    sets: list[_Weighed]
    aggregate: _Aggregate
    with_scores: bool


def _combined(combine: _Combine, asked: _Asked) -> _Scores:
    scores = _Scores()
    deque(combine(asked.sets, asked.aggregate, scores), maxlen=0)
    return scores


def _asked(
    table: Table, combine: _Combine, name: str, numkeys: bytes, words: tuple[bytes, ...], *, told: bool
) -> _Asked:
    """What a request asks for. `told`: whether WITHSCORES is an option. Raises InvalidRequest."""
    keys, options = _counted(name, numkeys, words)
    sources = [_look_up(table, key) for key in keys]
    weights, scores = [1.0] * len(keys), False
    aggregate: _Aggregate = _sum
    place = 0
    while place < len(options):
        option, left = options[place].upper(), len(options) - place - 1
        if option == b"WITHSCORES" and told:
            scores = True
        elif option == b"WEIGHTS" and combine is not _subtract and left >= len(keys):
            weights = [to_score(text, "weight value is not a float") for text in options[place + 1 :][: len(keys)]]
            place += len(keys)
        elif option == b"AGGREGATE" and combine is not _subtract and left:
            aggregate = _AGGREGATES.get(options[place + 1].upper()) or _no_aggregate()
            place += 1
        else:
            raise syntax_error()
        place += 1
    return _Asked(list(map(_Weighed, sources, weights)), aggregate, scores)


def _no_aggregate() -> _Aggregate:
    raise syntax_error()


def _counted(name: str, numkeys: bytes, words: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The keys, and what is behind them."""
    number = to_integer(numkeys)
    if number < 1:
        raise InvalidRequest(f"at least 1 input key is needed for '{name}' command")
    if number > len(words):
        raise syntax_error()
    return words[:number], words[number:]


def _look_up(table: Table, key: bytes) -> _Source | None:
    value = table.look_up(key)
    if value is not None and value.__class__ not in (SortedSet, Set):
        raise wrong_type()
    found: _Source | None = value
    return found
