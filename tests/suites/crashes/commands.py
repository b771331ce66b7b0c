"""Requests as clients send them, in the runs of the crash tests: scripts, whole or undone, and clients that wait.

Whatever else the runs do is done with the store's own operations (see `requests`). Here the server's commands do it:
what a script writes to several keys is one request's; one that raises half-way, or takes too long, has changed nothing;
what is pushed for somebody who waits is there and taken in one commit. A row of `ROWS` is one such request; it says
what it makes of the plain values (see `model`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from kvstore.base.errors import RequestError
from kvstore.base.reply import finish
from kvstore.commands import dispatch
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.dispatch import Blocked
from kvstore.store.store import Store
from tests.suites.crashes.model import Scores
from tests.suites.crashes.streams import PlainStream, StreamGroup

#: What a key holds, and its deadline; None if it is not there.
Held: TypeAlias = tuple[Any, int | None] | None
#: Keys of the database that a request is about, and what they hold after it; given its time in milliseconds.
After: TypeAlias = Callable[[int], Mapping[bytes, Held]]
#: Whether a key is there, and not past its deadline.
IsThere: TypeAlias = Callable[[bytes], bool]

#: Each key is emptied, then written as its word says: alone, since all of it is one request.
_SCRIPT = b"""
local write = {
    string = function(key, value) redis.call('set', key, value, 'px', 2000) end,
    list = function(key, value) redis.call('rpush', key, value, 'e') end,
    hash = function(key, value)
        redis.call('hset', key, 'f', value, 'g', '1')
        redis.call('hpexpire', key, 2000, 'fields', 1, 'f')
    end,
    set = function(key, value) redis.call('sadd', key, value, '1') end,
    scores = function(key, value) redis.call('zadd', key, '1.5', value, '-inf', 'm') end,
    stream = function(key, value)
        redis.call('xgroup', 'create', key, 'g', '0', 'mkstream', 'entriesread', '0')
        redis.call('xadd', key, '5-5', 'f', value)
        redis.call('xreadgroup', 'group', 'g', 'c', 'streams', key, '>')
    end,
}
for number, key in ipairs(KEYS) do
    redis.call('del', key)
    write[ARGV[number]](key, ARGV[#ARGV - 1])
    redis.pcall('incr', key)
end
local ending = ARGV[#ARGV]
if ending == 'raises' then error('half-way') end
if ending == 'calls' then redis.call('nosuch') end
while ending == 'late' do end
return 1
"""
_WRITES = (b"string", b"list", b"hash", b"set", b"scores", b"stream")


class Step(NamedTuple):
    """One request. `fails`: it must, and change nothing. `waits`: of another client, which waits until this one serves
    it; `served`: what is there then, instead of `after`.
    """

    words: list[bytes]
    after: After
    fails: bool = False
    waits: list[bytes] | None = None
    served: After | None = None


class Commands:
    """The commands of a server over a store, and two clients of it."""

    def __init__(self, store: Store) -> None:
        clock = store.clock
        self.store = store
        self.server = Server(store, clock, {}, "0" * 40)
        self.server.report_bug = _raise_again
        ticks = itertools.count(0, 500_000)
        self.server.steady_ns = lambda: next(ticks)  # a script that looks 400 times is late
        self._call, self._other = (Call(self.server, Client(number, "", "", 0)) for number in (1, 2))

    def ask(self, number: int, words: list[bytes]) -> Any:
        """The reply to a request about a database; an error is one, too."""
        self._call.select(number)
        return dispatch.answer(self._call, words, _AsItIs()).reply

    def wait(self, number: int, words: list[bytes]) -> Waiting:
        """Let the other client ask; it waits, unless it is refused."""
        self._other.select(number)
        waiter = Waiting(dispatch.answer(self._other, words, _AsItIs()).reply)
        if isinstance(waiter.asked, Blocked):
            self.server.waiting.enter(self._other.client, waiter, self._other.table, waiter.asked.wait)
        return waiter

    def give_up(self) -> None:
        """The other client waits no more."""
        self.server.waiting.leave(self._other.client)


def _raise_again(text: str) -> None:
    """A bug is a bug of the run, too."""
    raise  # inside the `except` of it


class _AsItIs:
    """Leaves replies as they are: an `Encoder`."""

    def begin(self, reply: Any, *, in_slices: bool) -> Any:
        """See `Encoder`."""
        return finish(reply)

    def refusal(self, error: RequestError) -> Any:
        """See `Encoder`."""
        return error


class Waiting:
    """A client that waits: a `Waiter`. `asked`: what it was told first. `reply`: None until it has one."""

    def __init__(self, asked: Blocked | RequestError) -> None:
        self.reply: Any = None
        self.asked = asked

    def try_again(self) -> bool:
        """See `Waiter`."""
        assert isinstance(self.asked, Blocked)
        outcome = dispatch.try_again(self.asked)
        if outcome is not None:
            self.reply = outcome.reply
        return outcome is not None

    def give_up(self, error: RequestError | None) -> None:
        """See `Waiter`."""


# The rows


def script(pick: random.Random, keys: list[bytes], is_there: IsThere) -> list[Step]:
    """Several keys at once; half of the time it raises, or is late."""
    some = pick.sample(keys, pick.randint(1, 4))
    writes = [pick.choice(_WRITES) for _ in some]
    value, ending = (
        pick.choice((b"v", b"w" * 80)),
        pick.choice((b"well", b"well", b"well", b"raises", b"calls", b"late")),
    )
    words = [b"EVAL", _SCRIPT, b"%d" % len(some), *some, *writes, value, ending]

    def after(now_ms: int) -> Mapping[bytes, Held]:
        return {key: _written(write, value, now_ms) for key, write in zip(some, writes, strict=True)}

    return [Step(words, after, fails=ending != b"well")]


def _written(write: bytes, value: bytes, now_ms: int) -> Held:
    if write == b"string":
        return value, now_ms + 2000
    return {
        b"list": (value, b"e"), b"hash": {b"f": (value, now_ms + 2000), b"g": (b"1", None)},
        b"set": frozenset((value, b"1")), b"scores": Scores({value: 1.5, b"m": float("-inf")}),
        b"stream": _stream(value, now_ms),
    }[write], None  # fmt: skip


def _stream(value: bytes, given_ms: int | None) -> PlainStream:
    """With one entry, given out at that time, or not yet."""
    group = StreamGroup((0, 0), 0, frozenset([b"c"]), {})
    if given_ms is not None:
        group = group._replace(last_id=(5, 5), entries_read=1, pending={(5, 5): (b"c", given_ms, 1)})
    return PlainStream((((5, 5), (b"f", value)),), (5, 5), 1, (0, 0), {b"g": group})


def msetex(pick: random.Random, keys: list[bytes], is_there: IsThere) -> list[Step]:
    """MSETEX of some keys, with a deadline, or only if none of them is there."""
    some, value = pick.sample(keys, pick.randint(1, 4)), pick.randbytes(9)
    words = [b"MSETEX", b"%d" % len(some), *(word for key in some for word in (key, value))]
    if pick.random() < 0.3:
        changes: dict[bytes, Held] = {} if any(map(is_there, some)) else dict.fromkeys(some, (value, None))
        return [Step([*words, b"NX"], lambda now_ms: changes)]
    return [Step([*words, b"PX", b"1500"], lambda now_ms: dict.fromkeys(some, (value, now_ms + 1500)))]


def waited_list(pick: random.Random, keys: list[bytes], is_there: IsThere) -> list[Step]:
    """What is pushed is taken at once, or some of it."""
    elements = tuple(b"%d" % number for number in range(pick.randint(1, 4)))
    waits, left = pick.choice((
        ([b"BLPOP", keys[0], b"0"], elements[1:]), ([b"BRPOP", keys[0], b"0"], elements[:-1]),
        ([b"BLMPOP", b"0", b"1", keys[0], b"LEFT", b"COUNT", b"2"], elements[2:]),
    ))  # fmt: skip
    return _waited(keys[0], [b"RPUSH", keys[0], *elements], elements, waits, left)


def waited_scores(pick: random.Random, keys: list[bytes], is_there: IsThere) -> list[Step]:
    """Members are added, and one is taken at once."""
    scores = Scores({b"%d" % number: float(number) for number in range(pick.randint(1, 3))})
    waits, gone = pick.choice((
        ([b"BZPOPMIN", keys[0], b"0"], min(scores)), ([b"BZPOPMAX", keys[0], b"0"], max(scores)),
        ([b"BZMPOP", b"0", b"1", keys[0], b"MIN"], min(scores)),
    ))  # fmt: skip
    left = Scores((member, score) for member, score in scores.items() if member != gone)
    words = [b"ZADD", keys[0], *(word for member in scores for word in (member, member))]
    return _waited(keys[0], words, scores, waits, left)


def _waited(key: bytes, words: list[bytes], brought: Any, waits: list[bytes], left: Any) -> list[Step]:
    gives = Step(
        words, lambda now_ms: {key: (brought, None)}, waits=waits,
        served=lambda now_ms: {key: (left, None) if left else None},
    )  # fmt: skip
    return [_gone(key), gives]


def _gone(key: bytes) -> Step:
    return Step([b"DEL", key], lambda now_ms: {key: None})


def waited_stream(pick: random.Random, keys: list[bytes], is_there: IsThere) -> list[Step]:
    """An entry is added, and given to the consumer that waits."""
    key, value = keys[0], pick.randbytes(5)
    empty = PlainStream(groups={b"g": StreamGroup((0, 0), 0, frozenset([b"c"]), {})})
    return [
        _gone(key),
        Step(
            [b"EVAL", _CREATE, b"1", key], lambda now_ms: {key: (empty, None)},
        ),
        Step(
            [b"XADD", key, b"5-5", b"f", value], lambda now_ms: {key: (_stream(value, None), None)},
            waits=[b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"0", b"STREAMS", key, b">"],
            served=lambda now_ms: {key: (_stream(value, now_ms), None)},
        ),
    ]  # fmt: skip


_CREATE = b"""
redis.call('xgroup', 'create', KEYS[1], 'g', '0', 'mkstream', 'entriesread', '0')
return redis.call('xgroup', 'createconsumer', KEYS[1], 'g', 'c')
"""

#: Each draws requests about some keys of a database, given in an order of chance.
ROWS: tuple[Callable[[random.Random, list[bytes], IsThere], list[Step]], ...] = (
    script, script, msetex, waited_list, waited_scores, waited_stream,
)  # fmt: skip
