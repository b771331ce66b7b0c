"""Some members of a sorted set: by chance (ZRANDMEMBER), and one part after the other (ZSCAN)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvstore.base.doubles import double_text
from kvstore.base.reply import Reply
from kvstore.base.slices import Slices, one_slice
from kvstore.commands.arguments import Key
from kvstore.commands.context import Call
from kvstore.commands.registry import command
from kvstore.commands.row import READ
from kvstore.commands.sampling import drawn, limited, number_asked, takes_long
from kvstore.commands.scanning import scan_options, to_cursor, walk
from kvstore.commands.sorted_sets import with_scores
from kvstore.values.ranked import Pair
from kvstore.values.sorted_sets import SortedSet

#: Members that are picked at once: more of them in slices.
_AT_ONCE = 1000


@command("ZRANDMEMBER", READ, group="sorted-set", options="[count [WITHSCORES]]")
def zrandmember(call: Call, key: Key, *options: bytes) -> Reply:
    """Get a random member; or some, all different or, if count is negative, each any of them, maybe with scores."""
    if options:
        return _random_members(call, key, number_asked(options, b"WITHSCORES"), scores=len(options) > 1)
    value = call.table.look_up_typed(key, SortedSet)
    pair = None if value is None else next(value.picks(call.server.random), None)
    return None if pair is None else pair[0]


def _random_members(call: Call, key: bytes, count: int, *, scores: bool) -> Reply:
    value = call.table.look_up_typed(key, SortedSet)
    if value is None or not count:
        return []
    chance, size = call.server.random, len(value)
    if takes_long(count, size, _AT_ONCE):
        return _many_random_members(call, value, count, scores)
    pairs = drawn(lambda: value.picks(chance), lambda: value.pairs(0, size), count, size, chance)
    return _picked(call, list(_limited(call, pairs)), scores)


def _many_random_members(call: Call, value: SortedSet, count: int, scores: bool) -> Slices:
    """Of those that are there now."""
    yield from call.table.slicing.room()
    members, beside = value.columns(0, len(value))
    chance, size = call.server.random, len(members)

    def picks() -> Iterator[Pair]:
        while True:
            rank = chance.randrange(size)
            yield members[rank], beside[rank]

    pairs: list[Pair] = []
    drawn_pairs = drawn(picks, lambda: zip(members, beside, strict=True), count, size, chance)
    yield from call.table.slicing.go_through(map(pairs.append, _limited(call, drawn_pairs)))
    return _picked(call, pairs, scores)


def _limited(call: Call, pairs: Iterator[Pair]) -> Iterator[Pair]:
    return limited(pairs, lambda pair: len(pair[0]), call.server.max_reply_bytes)


def _picked(call: Call, pairs: list[Pair], scores: bool) -> Reply:
    return with_scores(call, pairs) if scores else [member for member, _ in pairs]


@command("ZSCAN", READ, group="sorted-set", options="[MATCH pattern] [COUNT count] [NOSCORES]")
def zscan(call: Call, key: Key, cursor: bytes, *options: bytes) -> Reply:
    """Walk through the members, some at a time; returns the next cursor, 0 at the end, and members with scores.

    Unlike Valkey, it gives no members, but a cursor, while those of a large sorted set are sorted for the scan: a
    second for a million.
    """
    place = to_cursor(cursor)
    value = call.table.look_up_typed(key, SortedSet)
    if value is None:
        return [b"0", []]
    asked = scan_options(options, alone=b"NOSCORES")
    kept: list[bytes] = []
    order = value.scan_order()
    text = double_text if order is None else b"%.17g".__mod__  # of a large one Valkey tells all digits, here alone

    def take(members: Iterable[bytes]) -> None:
        for member in members if asked.matches is None else filter(asked.matches, members):
            score = value.score(member)
            if score is not None:
                kept.extend((member,) if asked.without_values else (member, text(score)))

    if order is None:
        take(value.members(0, len(value)))
        return [b"0", kept]
    if not place:
        order.begin()
    if one_slice(order.sort()):  # to come back with; any cursor below the first one is the beginning, but no new one
        return [b"%d" % (place or 1), []]
    place = walk(order.scan, place, asked.number, take)
    if not place:
        value.scan_is_done(order)
    return [b"%d" % place, kept]
