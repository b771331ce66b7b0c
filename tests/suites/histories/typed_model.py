"""The model of sorted sets as leader boards, of streams with a group, and of locks: see `model`.

| what | commands, as histories have them |
|---|---|
| a board | `ZADD key score member`, `ZINCRBY key by member`, `ZRANK`, `ZSCORE`, `ZREM`, `ZPOPMIN`, `ZPOPMAX`, `BZPOPMIN key`, `ZRANGE key` (all of it), `ZUNIONSTORE key other` (of both, the larger score) |
| a stream | `XGROUP key`, `XADD key value`, `XREADGROUP key consumer` (one entry, new ones), `XACK key id`, `XCLAIM key consumer id`, `XAUTOCLAIM key consumer` (the first), `XPENDING key` (all), `XLEN key` |
| a lock | `LOCK key token ms` (SET NX PX), and by scripts, if the token is right: `UNLOCK key token`, `EXTEND key token ms`, `FENCED key fence shared token value` (counts the fence on, and sets what is shared), `HOLDER key`, `SHARED key fence shared`; `RAISES ...` is a script that does it all and raises |
| a string with a deadline | `VANISH key value`: it passes, by a clock that nobody knows here |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

#: A board: (score, member) in order.
Board = tuple[tuple[int, bytes], ...]


def _board(table: dict[bytes, Any], key: bytes, scores: dict[bytes, int]) -> None:
    table[key] = tuple(sorted((score, member) for member, score in scores.items()))
    if not scores:
        del table[key]


def _scores(table: dict[bytes, Any], key: bytes) -> dict[bytes, int]:
    return {member: score for score, member in table.get(key, ())}


def _zadd(table: dict[bytes, Any], key: bytes, score: bytes, member: bytes) -> int:
    scores = _scores(table, key)
    _board(table, key, {**scores, member: int(score)})
    return int(member not in scores)


def _zincrby(table: dict[bytes, Any], key: bytes, by: bytes, member: bytes) -> bytes:
    scores = _scores(table, key)
    scores[member] = scores.get(member, 0) + int(by)
    _board(table, key, scores)
    return b"%d" % scores[member]


def _zrem(table: dict[bytes, Any], key: bytes, member: bytes) -> int:
    scores = _scores(table, key)
    there = scores.pop(member, None) is not None
    _board(table, key, scores) if there else None
    return int(there)


def _zrank(table: dict[bytes, Any], key: bytes, member: bytes) -> int | None:
    members = [each for _, each in table.get(key, ())]
    return members.index(member) if member in members else None


def _zscore(table: dict[bytes, Any], key: bytes, member: bytes) -> bytes | None:
    score = _scores(table, key).get(member)
    return None if score is None else b"%d" % score


def _popped(table: dict[bytes, Any], key: bytes, at: int) -> list[bytes]:
    board = table.get(key, ())
    if not board:
        return []
    score, member = board[at]
    _zrem(table, key, member)
    return [member, b"%d" % score]


def _zpopmin(table: dict[bytes, Any], key: bytes) -> list[bytes]:
    return _popped(table, key, 0)


def _zpopmax(table: dict[bytes, Any], key: bytes) -> list[bytes]:
    return _popped(table, key, -1)


def _bzpopmin(table: dict[bytes, Any], key: bytes) -> list[bytes] | None:
    popped = _popped(table, key, 0)
    return [key, *popped] if popped else None


def _zrange(table: dict[bytes, Any], key: bytes) -> list[bytes]:
    return [word for score, member in table.get(key, ()) for word in (member, b"%d" % score)]


def _zunionstore(table: dict[bytes, Any], key: bytes, other: bytes) -> int:
    one, two = _scores(table, key), _scores(table, other)
    _board(table, key, {member: max(each[member] for each in (one, two) if member in each) for member in one | two})
    return len(one | two)


class Group(NamedTuple):
    """A stream and its group: entries by their numbers; how far it has read; (number, consumer, times) pending."""

    entries: tuple[bytes, ...] = ()
    read: int = 0
    pending: tuple[tuple[int, bytes, int], ...] = ()
    there: bool = False


def _id(number: int) -> bytes:
    return b"1-%d" % number


def _xgroup(table: dict[bytes, Any], key: bytes) -> str:
    stream = table.get(key, Group())
    table[key] = stream._replace(there=True)
    return "-BUSYGROUP Consumer Group name already exists" if stream.there else "+OK"


def _xadd(table: dict[bytes, Any], key: bytes, value: bytes) -> bytes:
    stream = table.get(key, Group())
    table[key] = stream._replace(entries=(*stream.entries, value))
    return _id(len(stream.entries))


def _xreadgroup(table: dict[bytes, Any], key: bytes, consumer: bytes) -> tuple[bytes, bytes] | None:
    stream = table[key]
    if stream.read == len(stream.entries):
        return None
    pending = (*stream.pending, (stream.read, consumer, 1))
    table[key] = stream._replace(read=stream.read + 1, pending=pending)
    return _id(stream.read), stream.entries[stream.read]


def _xack(table: dict[bytes, Any], key: bytes, entry_id: bytes) -> int:
    stream = table[key]
    left = tuple(each for each in stream.pending if _id(each[0]) != entry_id)
    table[key] = stream._replace(pending=left)
    return len(stream.pending) - len(left)


def _xclaim(table: dict[bytes, Any], key: bytes, consumer: bytes, entry_id: bytes) -> tuple[bytes, bytes] | None:
    stream = table[key]
    for place, (number, _, times) in enumerate(stream.pending):
        if _id(number) == entry_id:
            claimed = (number, consumer, times + 1)
            table[key] = stream._replace(pending=(*stream.pending[:place], claimed, *stream.pending[place + 1 :]))
            return entry_id, stream.entries[number]
    return None


def _xautoclaim(table: dict[bytes, Any], key: bytes, consumer: bytes) -> tuple[bytes, bytes] | None:
    pending = table[key].pending
    return _xclaim(table, key, consumer, _id(pending[0][0])) if pending else None


def _xpending(table: dict[bytes, Any], key: bytes) -> tuple[tuple[bytes, bytes, int], ...]:
    return tuple((_id(number), consumer, times) for number, consumer, times in table[key].pending)


def _xlen(table: dict[bytes, Any], key: bytes) -> int:
    return len(table[key].entries)


class Lock(NamedTuple):
    """A lock that is held. `ms`: how long from now, if the operation that is executed has set it; else it ends between
    `earliest` and `latest`, by the clients' clock, which the checker fills in.
    """

    token: bytes
    ms: int
    earliest: float = 0.0
    latest: float = 0.0


def _held(table: dict[bytes, Any], key: bytes, token: bytes) -> bool:
    return key in table and table[key].token == token


def _lock(table: dict[bytes, Any], key: bytes, token: bytes, ms: bytes) -> str | None:
    if key in table:
        return None
    table[key] = Lock(token, int(ms))
    return "+OK"


def _unlock(table: dict[bytes, Any], key: bytes, token: bytes) -> int:
    held = _held(table, key, token)
    if held:
        del table[key]
    return int(held)


def _extend(table: dict[bytes, Any], key: bytes, token: bytes, ms: bytes) -> int:
    held = _held(table, key, token)
    if held:
        table[key] = Lock(token, int(ms))
    return int(held)


def _fenced(table: dict[bytes, Any], key: bytes, fence: bytes, shared: bytes, token: bytes, value: bytes) -> int:
    if not _held(table, key, token):
        return 0
    table[fence] = table.get(fence, 0) + 1
    table[shared] = value
    return int(table[fence])


def _holder(table: dict[bytes, Any], key: bytes) -> bytes | None:
    return table[key].token if key in table else None


def _shared(table: dict[bytes, Any], key: bytes, fence: bytes, shared: bytes) -> list[bytes | None]:
    return [b"%d" % table[fence] if fence in table else None, table.get(shared)]


def _raises(table: dict[bytes, Any], *words: bytes) -> None:
    """It changes nothing, answered or not."""


def _vanish(table: dict[bytes, Any], key: bytes, value: bytes) -> None:
    """A string with a deadline passes, if it is still there."""
    if table.get(key) == value:
        del table[key]


#: By name, given the table and the words behind it.
COMMANDS: dict[bytes, Callable[..., Any]] = {
    b"ZADD": _zadd, b"ZINCRBY": _zincrby, b"ZREM": _zrem, b"ZRANK": _zrank, b"ZSCORE": _zscore, b"ZPOPMIN": _zpopmin,
    b"ZPOPMAX": _zpopmax, b"BZPOPMIN": _bzpopmin, b"ZRANGE": _zrange, b"ZUNIONSTORE": _zunionstore,
    b"XGROUP": _xgroup, b"XADD": _xadd, b"XREADGROUP": _xreadgroup, b"XACK": _xack, b"XCLAIM": _xclaim,
    b"XAUTOCLAIM": _xautoclaim, b"XPENDING": _xpending, b"XLEN": _xlen,
    b"LOCK": _lock, b"UNLOCK": _unlock, b"EXTEND": _extend, b"FENCED": _fenced, b"HOLDER": _holder, b"SHARED": _shared,
    b"RAISES": _raises, b"VANISH": _vanish,
}  # fmt: skip
_KEYS = {b"ZUNIONSTORE": 2, b"FENCED": 3, b"SHARED": 3, b"RAISES": 3}


def keys_of(words: Sequence[Any]) -> Iterator[bytes]:
    """The keys that a command of these names."""
    yield from words[1 : 1 + _KEYS.get(words[0], 1)]
