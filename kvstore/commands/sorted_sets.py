"""Sorted sets: members with a score each. Ranges of them are in `sorted_ranges`, unions and such in `sorted_algebra`,
what reads some by chance or one part after the other in `sorted_parts`.

What a sorted set is, and its operations, is told in `kvstore.values.sorted_sets`. Every command finds out first what
there is to change, then changes it by operations that say just that: ZINCRBY by a ZADD of the sum, ZPOPMIN by the
removal of the first ranks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

from kvstore.base.doubles import double_text
from kvstore.base.errors import Failure, InvalidRequest, syntax_error
from kvstore.base.reply import NULL_ARRAY, Numbers, Reply, Scored
from kvstore.commands.arguments import IntegerText, Key, at_least
from kvstore.commands.context import Call
from kvstore.commands.lists import mpop_arguments
from kvstore.commands.registry import command, many
from kvstore.commands.row import FAST, READ, WRITE, can_be_taken, numbered_keys
from kvstore.commands.scores import is_plain_score, to_score
from kvstore.store.table import Table
from kvstore.values.ranked import Pair
from kvstore.values.sorted_sets import SortedSet

Options: TypeAlias = set[bytes]

ENDS = (b"MIN", b"MAX")
_ADD_OPTIONS = {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}


# Putting in


@command(
    "ZADD", WRITE | FAST, group="sorted-set",
    options="[NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]", least=4,
)  # fmt: skip
def zadd(call: Call, key: Key, *words: bytes) -> Reply:
    """Give members scores; returns how many are new, or with CH were changed, or with INCR the score it then has.

    Unlike Valkey, a score of `-0` is `0`, which there it is while a sorted set is small.
    """
    options, given = _add_arguments(words)
    table = call.table
    value = table.typed(key, SortedSet)
    if b"INCR" in options:
        return _increase(table, key, value, options, *given[0])
    after: dict[bytes, float] = {}
    added = changed = 0
    for member, score in given:
        before = after[member] if member in after else None if value is None else value.score(member)
        if before == score or _stays(options, before, score):
            continue
        after[member] = score
        added += before is None
        changed += before is not None
    if after:
        table.edit(key, b"ZADD", _words(after.items()))
    return added + changed if b"CH" in options else added


@many("ZADD")
def zadd_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Numbers | None:
    """As many ZADDs of one member without options. Their bytes, as they came, are the operations that the log keeps."""
    if len(columns) != 3 or raw is None or not all(map(is_plain_score, columns[1])):
        return None
    keys, texts, members = columns
    values = table.held_each(keys, SortedSet)
    if values is None:
        return None
    changed, added = _changes(keys, values, members, list(map(float, texts)))
    if len(changed) < len(keys):
        raw = None
        keys, texts, members = (list(map(each.__getitem__, changed)) for each in columns)
    if keys and table.edit_each(keys, b"ZADD", list(zip(texts, members, strict=True)), raw) is None:
        return None
    return Numbers(map((b"0", b"1").__getitem__, added))


def _changes(
    keys: list[bytes], values: list[SortedSet | None], members: list[bytes], scores: list[float]
) -> tuple[list[int], list[bool]]:
    """Which of these scores change something, one after the other, by their places; and of each whether it is of a new
    member.
    """
    before = _scores_each(values, members)
    if len(set(members)) < len(members):  # some are named twice, maybe at one key
        now: dict[tuple[bytes, bytes], float] = {}
        for place, at in enumerate(zip(keys, members, strict=True)):
            before[place] = now.get(at, before[place])
            now[at] = scores[place]
    changed = [place for place, score in enumerate(scores) if before[place] != score]
    return changed, [score is None for score in before]


def _scores_each(values: list[SortedSet | None], members: list[bytes]) -> list[float | None]:
    """The score that the member at its place has in each sorted set."""
    first = values[0]
    if first is not None and values.count(first) == len(values):
        return first.scores_each(members)
    return [None if value is None else value.score(member) for value, member in zip(values, members, strict=True)]


def _add_arguments(words: tuple[bytes, ...]) -> tuple[Options, list[Pair]]:
    """The options of a ZADD, and its members with their scores. Raises InvalidRequest."""
    options: Options = set()
    place = 0
    while place < len(words) and (name := words[place].upper()) in _ADD_OPTIONS:
        options.add(name)
        place += 1
    texts, members = words[place::2], words[place + 1 :: 2]
    if not members or len(texts) != len(members):
        raise syntax_error()
    if {b"NX", b"XX"} <= options:
        raise InvalidRequest("XX and NX options at the same time are not compatible")
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise InvalidRequest("GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in options and len(members) > 1:
        raise InvalidRequest("INCR option supports a single increment-element pair")
    return options, list(zip(members, map(to_score, texts), strict=True))


def _stays(options: Options, before: float | None, score: float) -> bool:
    """Whether a member keeps its score, or stays away (None), because of the options."""
    if before is None:
        return b"XX" in options
    return b"NX" in options or (b"GT" in options and score <= before) or (b"LT" in options and score >= before)


def _increase(
    table: Table, key: bytes, value: SortedSet | None, options: Options, member: bytes, increment: float
) -> float | None:
    """Add to the score of a member, where the options allow it; returns the sum, else None."""
    before = None if value is None else value.score(member)
    score = increment if before is None else before + increment
    if score != score:
        raise Failure("resulting score is not a number (NaN)")
    if _stays(options, before, score):
        return None
    if score != before:
        table.edit(key, b"ZADD", _words([(member, score)]), b"zincr")
    return score


def _words(pairs: Iterable[Pair]) -> list[bytes]:
    """Members and their scores as they stand in a ZADD."""
    return [word for member, score in pairs for word in (double_text(score), member)]


def keep(table: Table, key: bytes, scores: dict[bytes, float], event: bytes) -> int:
    """The key holds a sorted set with these members, and nothing else; without any it is gone. Returns how many."""
    if scores:
        value = SortedSet(table.types.places)
        value.put_for_good(scores)
        table.put(key, value, None, event)
    else:
        table.delete(key)
    return len(scores)


@command("ZINCRBY", WRITE | FAST, group="sorted-set")
def zincrby(call: Call, key: Key, increment: bytes, member: bytes) -> Reply:
    """Add to the score of a member, 0 if it is new; returns the sum."""
    number = to_score(increment)
    return _increase(call.table, key, call.table.typed(key, SortedSet), set(), member, number)


# Reading


@command("ZCARD", READ | FAST, group="sorted-set")
def zcard(call: Call, key: Key) -> Reply:
    """Count the members of a sorted set."""
    return len(call.table.look_up_typed(key, SortedSet) or ())


@command("ZSCORE", READ | FAST, group="sorted-set")
def zscore(call: Call, key: Key, member: bytes) -> Reply:
    """Get the score of a member."""
    value = call.table.look_up_typed(key, SortedSet)
    return None if value is None else value.score(member)


@command("ZMSCORE", READ | FAST, group="sorted-set")
def zmscore(call: Call, key: Key, member: bytes, *members: bytes) -> Reply:
    """Get the scores of several members; null for one that is not there."""
    value = call.table.look_up_typed(key, SortedSet)
    return [None if value is None else value.score(each) for each in (member, *members)]


@command("ZRANK", READ | FAST, group="sorted-set", options="[WITHSCORE]")
def zrank(call: Call, key: Key, member: bytes, withscore: bytes | None = None) -> Reply:
    """Tell how many members come before one, maybe with its score."""
    return _rank(call, key, member, withscore, from_end=False)


@command("ZREVRANK", READ | FAST, group="sorted-set", options="[WITHSCORE]")
def zrevrank(call: Call, key: Key, member: bytes, withscore: bytes | None = None) -> Reply:
    """Tell how many members come behind one, maybe with its score."""
    return _rank(call, key, member, withscore, from_end=True)


def _rank(call: Call, key: bytes, member: bytes, withscore: bytes | None, *, from_end: bool) -> Reply:
    if withscore is not None and withscore.upper() != b"WITHSCORE":
        raise syntax_error()
    value = call.table.look_up_typed(key, SortedSet)
    rank = None if value is None else value.rank(member)
    if value is None or rank is None:
        return None if withscore is None else NULL_ARRAY
    if from_end:
        rank = len(value) - 1 - rank
    return rank if withscore is None else [rank, value.score(member)]


def with_scores(call: Call, pairs: Sequence[Pair]) -> list[Any]:
    """Members with their scores, as they stand in a reply: pairs for a client that speaks RESP3, else one by one."""
    return list(pairs) if call.client.protocol > 2 else list(chain.from_iterable(pairs))


# Taking out


@command("ZREM", WRITE | FAST, group="sorted-set")
def zrem(call: Call, key: Key, member: bytes, *members: bytes) -> Reply:
    """Remove members; returns how many there were."""
    value = call.table.typed(key, SortedSet)
    there = (
        []
        if value is None
        else [each for each in {member: 0} | dict.fromkeys(members) if value.score(each) is not None]
    )
    if there:
        call.table.edit(key, b"ZREM", there)
    return len(there)


@command("ZPOPMIN", WRITE | FAST, group="sorted-set", options="[count]")
def zpopmin(call: Call, key: Key, *count: bytes) -> Reply:
    """Take the member with the lowest score, or some, out of a sorted set; returns them with their scores."""
    return _pop(call, key, b"MIN", count)


@command("ZPOPMAX", WRITE | FAST, group="sorted-set", options="[count]")
def zpopmax(call: Call, key: Key, *count: bytes) -> Reply:
    """Take the member with the highest score, or some, out of a sorted set; returns them with their scores."""
    return _pop(call, key, b"MAX", count)


@many("ZPOPMIN")
def zpopmin_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Scored | None:
    """As many ZPOPMINs of one member; none if some find none and others do, or members are long."""
    return _pop_each(table, b"MIN", columns)


@many("ZPOPMAX")
def zpopmax_many(table: Table, columns: list[list[bytes]], raw: bytes | None) -> Scored | None:
    """As many ZPOPMAXes of one member; none if some find none and others do, or members are long."""
    return _pop_each(table, b"MAX", columns)


def _pop_each(table: Table, end: bytes, columns: list[list[bytes]]) -> Scored | None:
    keys = columns[0]
    values = table.held_each(keys, SortedSet) if len(columns) == 1 else None
    if values is None:
        return None
    if not any(values):
        return Scored([()] * len(keys))
    held = dict(zip(keys, values, strict=True))
    taken: dict[bytes, Iterator[Pair]] = {}
    ranks: dict[bytes, tuple[bytes, bytes]] = {}
    for key, count in Counter(keys).items():
        value, size = held[key], len(held[key] or ())
        if value is None or size < count:
            return None
        start = 0 if end == b"MIN" else size - count
        pairs = value.pairs(start, start + count)
        if not can_be_taken([member for member, _ in pairs]):
            return None
        taken[key] = iter(pairs if end == b"MIN" else pairs[::-1])
        ranks[key] = b"%d" % start, b"%d" % (start + count - 1)
    if table.edit_each(list(ranks), b"ZREMRANGEBYRANK", list(ranks.values())) is None:
        return None
    return Scored([(member, double_text(score)) for member, score in map(next, map(taken.__getitem__, keys))])


def _pop(call: Call, key: bytes, end: bytes, counts: tuple[bytes, ...]) -> Reply:
    if len(counts) > 1:
        raise syntax_error()
    number = at_least(0, counts[0], "value is out of range, must be positive") if counts else 1
    value = call.table.typed(key, SortedSet)
    taken = [] if value is None else _take(call.table, key, value, end, number)
    return with_scores(call, taken) if counts else list(chain.from_iterable(taken))


def _take(table: Table, key: bytes, value: SortedSet, end: bytes, count: int) -> list[Pair]:
    """Take up to `count` members from an end of the sorted set at `key`, from that end on."""
    size = len(value)
    count = min(count, size)
    start = 0 if end == b"MIN" else size - count
    pairs = value.pairs(start, start + count)
    remove_ranks(table, key, value, start, start + count, b"zpopmin" if end == b"MIN" else b"zpopmax")
    return pairs if end == b"MIN" else pairs[::-1]


def remove_ranks(table: Table, key: bytes, value: SortedSet, start: int, stop: int, event: bytes) -> None:
    """Remove the members of the ranks from `start` to before `stop` of the sorted set at `key`; maybe none."""
    if start < stop and stop - start == len(value):
        table.delete(key, event)
    elif start < stop:
        table.edit(key, b"ZREMRANGEBYRANK", (b"%d" % start, b"%d" % (stop - 1)), event)


@command("ZMPOP", WRITE, group="sorted-set", keys=numbered_keys(1), options="... MIN|MAX [COUNT count]")
def zmpop(call: Call, numkeys: IntegerText, key: Key, where: bytes, *more: bytes) -> Reply:
    """Take members out of the first sorted set that exists; returns its key, and them with their scores."""
    keys, end, count = mpop_arguments(numkeys, (key, where, *more), ENDS)
    return pop_first(call.table, keys, end, count) or NULL_ARRAY


def pop_first(table: Table, keys: Sequence[bytes], end: bytes, count: int) -> list[Reply] | None:
    """The first key with a sorted set, and members taken from it; None if there is none."""
    for key in keys:
        value = table.typed(key, SortedSet)
        if value is not None:
            return [key, _take(table, key, value, end, count)]
    return None
