"""Ranges of sorted sets: by rank, by score, by member; read, counted, kept at another key, or removed.

All come to a span of ranks. What is wrong with the options is told first, then what is wrong with the ends, then what
the key holds, as Valkey does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import Reply, Strings
from kvstore.base.slices import Slices
from kvstore.commands.arguments import Key, to_integer
from kvstore.commands.context import Call
from kvstore.commands.registry import command
from kvstore.commands.row import FAST, READ, WRITE
from kvstore.commands.scores import MemberRange, ScoreRange, Span, member_range, score_range
from kvstore.commands.sorted_sets import keep, remove_ranks, with_scores
from kvstore.values.ranked import Pair
from kvstore.values.sorted_sets import SortedSet

_Element = TypeVar("_Element")

#: Members that are read in one slice: some 0.2 ms.
_AT_ONCE = 1000


class RankRange(NamedTuple):
    """From one rank to another, both included; -1 is the last."""

    start: int
    stop: int

    def span(self, value: SortedSet) -> Span:
        """Which ranks these are."""
        count = len(value)
        start, stop = (end + count if end < 0 else end for end in self)
        return Span(max(start, 0), min(stop, count - 1) + 1)


Range: TypeAlias = RankRange | ScoreRange | MemberRange


class _Options(NamedTuple):
    """How a range is meant. `kind`: b"BYSCORE", b"BYLEX", or b"" for ranks; `offset`, `limit`: of the members in it,
    from that one on at most so many, all if it is below 0.
    """

    kind: bytes = b""
    backwards: bool = False
    offset: int = 0
    limit: int = -1
    scores: bool = False


class _Asked(NamedTuple):
    """A range, and how it is meant."""

    range: Range
    options: _Options

    def span(self, value: SortedSet) -> Span:
        """Which ranks these are."""
        _, backwards, offset, limit, _ = self.options
        span = self.range.span(value)
        if backwards and self.range.__class__ is RankRange:
            span = Span(len(value) - span.stop, len(value) - span.start)
        length = max(0, span.size - offset) if offset >= 0 else 0
        length = length if limit < 0 else min(length, limit)
        start = span.stop - offset - length if backwards else span.start + offset
        return Span(start, start + length)

    def in_order(self, elements: list[_Element]) -> list[_Element]:
        """What is in the order of ranks, in the order that was asked for."""
        return elements[::-1] if self.options.backwards else elements


def _rank_range(start: bytes, stop: bytes) -> RankRange:
    return RankRange(to_integer(start), to_integer(stop))


_RANGES: dict[bytes, Callable[[bytes, bytes], Range]] = {
    b"": _rank_range, b"BYSCORE": score_range, b"BYLEX": member_range,
}  # fmt: skip
_PLAIN = _Options()
#: What ZRANGE may be told that its kin are by their names.
_ANY = frozenset((b"BYSCORE", b"BYLEX", b"REV", b"WITHSCORES"))
_SCORES = frozenset((b"WITHSCORES",))


def _asked(
    first: bytes, last: bytes, words: tuple[bytes, ...], allowed: frozenset[bytes], options: _Options = _PLAIN
) -> _Asked:
    """What a request asks for. `words`: its options, of those `allowed` and LIMIT. Raises InvalidRequest."""
    place = 0
    while place < len(words):
        name = words[place].upper()
        place += 1
        if name == b"LIMIT" and place + 2 <= len(words):
            options = options._replace(offset=to_integer(words[place]), limit=to_integer(words[place + 1]))
            place += 2
        elif name not in allowed:
            raise syntax_error()
        elif name == b"WITHSCORES":
            options = options._replace(scores=True)
        elif name == b"REV":
            allowed -= {name}
            options = options._replace(backwards=True)
        else:
            allowed -= {b"BYSCORE", b"BYLEX"}
            options = options._replace(kind=name)
    _check(options)
    if not options.kind:
        options = options._replace(offset=0)  # as Valkey, which overlooks a LIMIT without a limit
    ends = (last, first) if options.backwards and options.kind else (first, last)
    return _Asked(_RANGES[options.kind](*ends), options)


def _check(options: _Options) -> None:
    """Raise InvalidRequest for options that do not go together."""
    if options.limit != -1 and not options.kind:
        raise InvalidRequest("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if options.scores and options.kind == b"BYLEX":
        raise InvalidRequest("syntax error, WITHSCORES not supported in combination with BYLEX")


# Read


@command(
    "ZRANGE", READ, group="sorted-set", options="[BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"
)  # fmt: skip
def zrange(call: Call, key: Key, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Get the members in a range of ranks, scores or members, maybe from its end on, maybe with their scores.

    Unlike Valkey, LIMIT with an offset below 0 gives nothing, of a large sorted set, too; so in ZRANGEBYSCORE and
    its kin.
    """
    return _read(call, key, _asked(start, stop, options, _ANY))


@command("ZREVRANGE", READ, group="sorted-set", options="[WITHSCORES]")
def zrevrange(call: Call, key: Key, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Get the members in a range of ranks, counted from the last, from the last on."""
    return _read(call, key, _asked(start, stop, options, _SCORES, _Options(backwards=True)))


@command("ZRANGEBYSCORE", READ, group="sorted-set", options="[WITHSCORES] [LIMIT offset count]")
def zrangebyscore(call: Call, key: Key, min: bytes, max: bytes, *options: bytes) -> Reply:
    """Get the members in a range of scores."""
    return _read(call, key, _asked(min, max, options, _SCORES, _Options(b"BYSCORE")))


@command("ZREVRANGEBYSCORE", READ, group="sorted-set", options="[WITHSCORES] [LIMIT offset count]")
def zrevrangebyscore(call: Call, key: Key, max: bytes, min: bytes, *options: bytes) -> Reply:
    """Get the members in a range of scores, from the highest on."""
    return _read(call, key, _asked(max, min, options, _SCORES, _Options(b"BYSCORE", backwards=True)))


@command("ZRANGEBYLEX", READ, group="sorted-set", options="[LIMIT offset count]")
def zrangebylex(call: Call, key: Key, min: bytes, max: bytes, *options: bytes) -> Reply:
    """Get the members in a range of members, where all have one score.

    Unlike Valkey, where scores differ the range is another one: Redis does not say what it is. So in ZREVRANGEBYLEX
    and its kin.
    """
    return _read(call, key, _asked(min, max, options, _SCORES, _Options(b"BYLEX")))


@command("ZREVRANGEBYLEX", READ, group="sorted-set", options="[LIMIT offset count]")
def zrevrangebylex(call: Call, key: Key, max: bytes, min: bytes, *options: bytes) -> Reply:
    """Get the members in a range of members, where all have one score, from the last on."""
    return _read(call, key, _asked(max, min, options, _SCORES, _Options(b"BYLEX", backwards=True)))


def _read(call: Call, key: bytes, asked: _Asked) -> Reply:
    value = call.table.look_up_typed(key, SortedSet)
    if value is None:
        return []
    span = asked.span(value)
    if span.size > _AT_ONCE:
        return _long(call, value, asked, span)
    if asked.options.scores:
        return with_scores(call, asked.in_order(value.pairs(*span)))
    return Strings(asked.in_order(value.members(*span)))


def _long(call: Call, value: SortedSet, asked: _Asked, span: Span) -> Slices:
    """The members that are there now."""
    yield from call.table.slicing.room()
    if not asked.options.scores:
        return asked.in_order(value.members(*span))
    members, scores = value.columns(*span)
    reply: list[Any] = []
    add: Callable[[Pair], object] = reply.append if call.client.protocol > 2 else reply.extend
    yield from call.table.slicing.go_through(
        map(add, zip(asked.in_order(members), asked.in_order(scores), strict=True))
    )
    return reply


@command("ZCOUNT", READ | FAST, group="sorted-set")
def zcount(call: Call, key: Key, min: bytes, max: bytes) -> Reply:
    """Count the members in a range of scores."""
    return _count(call, key, score_range(min, max))


@command("ZLEXCOUNT", READ | FAST, group="sorted-set")
def zlexcount(call: Call, key: Key, min: bytes, max: bytes) -> Reply:
    """Count the members in a range of members, where all have one score."""
    return _count(call, key, member_range(min, max))


def _count(call: Call, key: bytes, range_: Range) -> int:
    value = call.table.look_up_typed(key, SortedSet)
    return 0 if value is None else range_.span(value).size


# Kept, or removed


@command("ZRANGESTORE", WRITE, group="sorted-set", options="[BYSCORE|BYLEX] [REV] [LIMIT offset count]")
def zrangestore(call: Call, destination: Key, source: Key, min: bytes, max: bytes, *options: bytes) -> Reply:
    """Keep the members in a range of a sorted set, with their scores, at another key; returns how many they are."""
    asked = _asked(min, max, options, _ANY - _SCORES)
    value = call.table.look_up_typed(source, SortedSet)
    scores = {} if value is None else dict(value.pairs(*asked.span(value)))
    return keep(call.table, destination, scores, b"zrangestore")


@command("ZREMRANGEBYRANK", WRITE, group="sorted-set")
def zremrangebyrank(call: Call, key: Key, start: bytes, stop: bytes) -> Reply:
    """Remove the members in a range of ranks; returns how many they were."""
    return _remove(call, key, _rank_range(start, stop), b"zremrangebyrank")


@command("ZREMRANGEBYSCORE", WRITE, group="sorted-set")
def zremrangebyscore(call: Call, key: Key, min: bytes, max: bytes) -> Reply:
    """Remove the members in a range of scores; returns how many they were."""
    return _remove(call, key, score_range(min, max), b"zremrangebyscore")


@command("ZREMRANGEBYLEX", WRITE, group="sorted-set")
def zremrangebylex(call: Call, key: Key, min: bytes, max: bytes) -> Reply:
    """Remove the members in a range of members, where all have one score; returns how many they were."""
    return _remove(call, key, member_range(min, max), b"zremrangebylex")


def _remove(call: Call, key: bytes, range_: Range, event: bytes) -> int:
    value = call.table.typed(key, SortedSet)
    if value is None:
        return 0
    span = range_.span(value)
    remove_ranks(call.table, key, value, *span, event)
    return span.size
