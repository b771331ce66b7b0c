"""A request means the same whichever way it goes through the session: any sequence, by every way, beside the others.

| way | how it is forced |
|---|---|
| the fast loop, and pipelines of one command all at once | RESP, nobody watches |
| one request at a time | a watcher |
| in small batches | a budget of a few bytes, so that nearly every request begins as backlog |
| dispatch alone | `dispatch.answer`, without a session |

The same steps go to each: requests of two clients, of many commands or pipelines of one, in any spelling and with what
a read cut off behind them; long replies, some past the limit, and a command that goes on in slices; commits closed and
settled in between, the clock, indexes and the order of SCAN, a disk that
is full and has room again, and a limit on the group.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import groupby
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import slices
from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.commands import dispatch, watches
from kvstore.commands.context import Call
from kvstore.commands.registry import table as commands
from kvstore.commands.statistics import CommandStatistics
from kvstore.session.grammar import Resp
from kvstore.session.hooks import Hooks
from kvstore.store import index, log
from kvstore.store.log import Purpose
from kvstore.store.operations import decode
from kvstore.wire import resp
from tests.kit.serving import UNLIMITED_BYTES, Connection, Serving

#: Requests with places for a key (K), a value (V), a number (N) and a document (J); the others are words.
REQUESTS = """
SET K V|SET K V NX|SET K V XX GET|SET K V PX N|SET K V KEEPTTL|SETNX K V|GETSET K V|GETDEL K|GET K|STRLEN K|APPEND K V
MSET K V K V|MSET K V K|MGET K K|MSETNX K V K V|DEL K|DEL K K|EXISTS K K|INCR K|INCRBY K N|DECRBY K V|TYPE K
PEXPIRE K N|EXPIRE K N NX|PTTL K|TTL K|PERSIST K|KEYS *|DBSIZE|FLUSHALL|INSERT K J|INSERT K V|LOOKUP K|REMOVE K|SIZE
QUERY name J|PING|PING V|ECHO V|TIME|SELECT 0|SELECT 1|HELLO 3|HELLO 2|HELLO 4|RESET|CLIENT ID|CLIENT SETNAME V
CLIENT GETNAME|CLIENT NONSENSE|CLIENT|MULTI|MULTI|EXEC|EXEC|DISCARD|WATCH K|WATCH K K|UNWATCH|NONSENSE K|GET|GET K K
EXEC V|MULTI V|INCRBY K|HELP|HELP K|COMMAND COUNT|QUIT|MGET K K K K
""".replace("\n", "|").strip("|").split("|")  # fmt: skip

PLACES = {
    "K": st.sampled_from([b"a", b"b", b"c"]),
    "V": st.sampled_from([b"1", b"text", b"", b"-5", b"\r\n\xff", b"x" * 200, b"y" * LONG_STRING_BYTES]),
    "N": st.sampled_from([b"1", b"5", b"0", b"-1", b"100", b"1.5"]),
    "J": st.sampled_from([b"1", b'"fred"', b'{"name":1}', b'{"name":"fred"}', b"[1]", b"{oops"]),
}

requests = (
    st.sampled_from(REQUESTS)
    .flatmap(lambda text: st.tuples(*(PLACES.get(word, st.just(word.encode())) for word in text.split(" "))))
    .flatmap(lambda words: st.sampled_from([words, (words[0].lower(), *words[1:]), (words[0].title(), *words[1:])]))
    .map(list)
)
batches = st.tuples(st.just("batch"), st.integers(0, 1), st.lists(requests, min_size=1, max_size=6))
#: As `batches`, of one command; most of it can do many requests at once, unless something is in the way.
_keys = st.sampled_from([b"a", b"b", b"c", *(b"key:%d" % number for number in range(12))])
_values = st.sampled_from(
    [
        b"1",
        b"text",
        b"",
        b"-5",
        b"x" * 200,
        b"y" * LONG_STRING_BYTES,
        b'{"name":1}',
        b'{"name":"fred"}',
        b"\xff",
        b"*3",
        b"$1",
    ]
)


#: Commands on lists, with their last words, None if that is an element.
_OF_LISTS: dict[bytes, list[bytes] | None] = {
    b"LPUSH": None, b"RPUSH": None, b"LRANGE": [b"0", b"-2"], b"LPOP": [], b"RPOP": [],
}  # fmt: skip
#: The same of hashes.
_OF_HASHES: dict[bytes, list[bytes]] = {b"HSET": [b"value"], b"HGET": [], b"HINCRBY": [b"5"]}
#: The same of sets: of a set, mostly.
#: What takes from an end, as requests and as operations.
_POPS = (b"LPOP", b"RPOP", b"ZPOPMIN", b"ZPOPMAX", b"ZREMRANGEBYRANK")
_OF_SETS = (b"SADD", b"SISMEMBER")
#: More often what others need to be there.
_ALIKE = (
    b"GET SET SET GET SET SET MSET MSET INCR INCR get set HSET HSET HGET HINCRBY LPUSH RPUSH RPUSH LRANGE RPOP LPOP"
    b" SADD SADD SISMEMBER ZADD ZADD ZPOPMIN ZPOPMAX XADD XADD"
).split()


def _pipeline(name: bytes, pairs: list[tuple[bytes, bytes]], options: list[bytes]) -> list[list[bytes]]:
    if name == b"MSET":
        return [[name, key, value, value, key, *options] for key, value in pairs]
    if name in _OF_LISTS:  # of one list, mostly
        rest = _OF_LISTS[name]
        named = [(b"list" if key.startswith(b"key") else key, value) for key, value in pairs]
        return [[name, key, *([value] if rest is None else rest), *options] for key, value in named]
    if name == b"SPOP":  # there is one, if any
        return [[name, key] for key, _ in pairs]
    if name == b"XADD":
        named = [(b"stream" if key.startswith(b"key:") else key, value) for key, value in pairs]
        return [[name, key, b"*", value[:1], value, *options] for key, value in named]
    if name == b"ZADD":  # the length of the value is the score, which many have
        return [
            [name, b"zset" if key.startswith(b"key:") else key, b"%d" % len(value), value, *options]
            for key, value in pairs
        ]
    if name.startswith(b"ZPOP"):
        return [[name, b"zset" if key.startswith(b"key:") else key, *options] for key, value in pairs]
    if name in _OF_SETS:
        return [[name, b"set" if key.startswith(b"key:") else key, value, *options] for key, value in pairs]
    if name in _OF_HASHES:  # of strings in some of them
        rest = _OF_HASHES[name] + options
        return [[name, key.replace(b"key", b"hash"), value[:1], *rest] for key, value in pairs]
    return [[name, key] if name.upper() in (b"GET", b"INCR") else [name, key, value, *options] for key, value in pairs]


pipelines = st.tuples(
    st.just("batch"),
    st.integers(0, 1),
    st.builds(
        lambda requests, end: requests + end,
        st.builds(
            _pipeline,
            st.sampled_from(_ALIKE),
            st.lists(st.tuples(_keys, _values), min_size=7, max_size=20),
            st.sampled_from([[], [], [], [], [], [b"NX"], [b"PX", b"5000"], [b"EX", b"7"]]),
        ),
        st.sampled_from([[], [], [], [], [[b"PING"]], [[b"EXEC"]], [[b"INCR", b"a"], [b"GET", b"a"]]]),
    ),
)
#: What decides whether many requests may execute at once: deadlines, watched keys, indexes, the order of SCAN, blocks.
SCENES = """
SET a 1 PX 3|SET key:1 1 PX 1|PEXPIRE key:2 2|PERSIST a|WATCH a key:3|MULTI|EXEC|UNWATCH|QUERY name 1|SCAN 0|HELLO 3
SET b 1|FLUSHALL|DEL a key:1|DEL a b c|HSET a 1 2 x 3|HPEXPIRE hash:1 2 FIELDS 1 x|PEXPIRE hash:2 2
""".replace("\n", "|").strip("|").split("|")  # fmt: skip
scenes = st.tuples(
    st.just("batch"), st.integers(0, 1), st.sampled_from(SCENES).map(lambda text: [text.encode().split(b" ")])
)
turns = st.sampled_from([("close",), ("settle",), ("commit",), ("later", 3), ("full",), ("room",)])
steps = st.lists(st.one_of(batches, batches, turns), max_size=12)
#: What the default user, who both clients are, may do from now on.
RULES = b"resetkeys ~a %R~b %W~c ~key:* allkeys -get -@write +@all -multi db=0 alldbs resetpass nopass".split()
rights = st.tuples(st.just("rights"), st.lists(st.sampled_from(RULES), min_size=1, max_size=3))


#: Three long strings are a reply, four are too many, and what surrounds them makes no difference.
REPLY_LIMIT = 7 * LONG_STRING_BYTES // 2


def keys_in_slices(call: Call, pattern: bytes) -> Generator[None, None, list[bytes]]:
    """KEYS, as a command that goes on in slices: of the moment at which it began."""
    every = list(filter(call.table.living(), call.table.values))
    yield
    yield
    return every


class Way:
    """A server of its own, and two clients that go one way through it. `replies`: what each client got so far."""

    def __init__(self, budget_bytes: int = UNLIMITED_BYTES, watched: bool = False) -> None:
        self.serving = Serving()
        self.serving.server.max_reply_bytes = REPLY_LIMIT
        self.connections = [self.serving.connect(budget_bytes) for _ in range(2)]
        self.budget_bytes = budget_bytes
        self.replies = [b"", b""]
        if watched:
            self.serving.hooks.watchers.append(lambda executed: None)

    def limit_groups(self, limit: int | None) -> None:
        """Close the open commit whenever it holds so many requests, if none is in flight."""
        if limit is not None:
            self.serving.hooks.request_limit = limit
            self.serving.hooks.commit_now = self.close

    def step(self, kind: str, *arguments: Any) -> None:
        """Do one step."""
        getattr(self, kind)(*arguments)
        for number in range(2):
            self.replies[number] += self.connections[number].released()

    def batch(self, number: int, requests: list[list[bytes]]) -> None:
        """Requests of one client, in one go, to their end."""
        connection = self.connections[number]
        data = b"".join(resp.pack(*request) for request in requests)
        cut = len(data) - len(data) % 7  # so that the last request often goes on in a second chunk
        connection.session.receive(data[:cut])
        if cut < len(data):
            connection.session.receive(data[cut:])
        while connection.session.backlog:
            connection.session.until_ns = Hooks.NO_LIMIT  # its turn, with time for all of it; see `Waiting.go_on`
            connection.session.run(self.budget_bytes)

    def close(self) -> None:
        """The open commit goes in flight."""
        if self.serving.store.in_flight is None and self.serving.store.has_changes():
            self.serving.close()

    def settle(self) -> None:
        """The commit in flight is settled."""
        if self.serving.store.in_flight is not None:
            self.serving.settle()

    def commit(self) -> None:
        """All that changed is settled."""
        self.settle()
        self.close()
        self.settle()

    def rights(self, rules: list[bytes]) -> None:
        """The default user may do something else."""
        with contextlib.suppress(InvalidRequest):  # one pattern more than all of them
            self.serving.server.users.set_user(b"default", rules)

    def later(self, ms: int) -> None:
        """Time goes by."""
        self.serving.now_ms += ms

    def full(self) -> None:
        """The disk is full, to the last byte: where some fit yet, many at once are refused that do not all fit."""
        store = self.serving.store
        self.serving.disk.capacity_bytes = 0
        store.log.give_back(store.pending.size_bytes + Purpose.GROW.kept_bytes)
        store.pending.room = min(store.pending.room, store.pending.size_bytes)

    def room(self) -> None:
        """The disk has room."""
        self.serving.disk.capacity_bytes = None

    def counted(self) -> Any:
        """How often each command was called, well or badly, and refused."""
        statistics = self.serving.server.statistics
        return {row.name: (each.calls, each.rejected, each.failed) for row, each in statistics.items() if any_of(each)}

    def seen(self) -> Any:
        """All that can be compared after a step, whichever the way."""
        values, deadlines, operations = self.serving.state()
        table = self.serving.store.table
        clients = [_client_state(connection) for connection in self.connections]
        return values, deadlines, _pops_together(operations), clients, table.hits, table.misses


def _pops_together(operations: list[bytes]) -> list[Any]:
    """What the log is told: of pops that stand together only how many elements each value loses, in however many."""
    told: list[Any] = []
    for are_pops, some in groupby(decode(b"".join(operations)), lambda operation: operation[0] in _POPS):
        if are_pops:
            told.append(sum((Counter({(name, key): _taken(*words)}) for name, key, *words in some), Counter()))
        else:
            told += some
    return told


def _taken(first: bytes, last: bytes | None = None) -> int:
    """How many elements a pop takes: it says that, or from which rank to which."""
    return int(first) if last is None else int(last) - int(first) + 1


def any_of(counted: CommandStatistics) -> bool:
    """Whether it counted anything."""
    return bool(counted.calls or counted.rejected)


def _client_state(connection: Connection) -> Any:
    client = connection.client
    queued = None if client.queued is None else [request for _, request in client.queued]
    return (
        client.protocol,
        client.name,
        client.closing,
        queued,
        client.poisoned,
        len(client.watching),
        client.watched_changed,
    )


def _without_pops_on_a_full_disk(plan: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Pops that execute at once are one short operation: it may fit where as many do not."""
    is_full = False
    for kind, *arguments in plan:
        is_full = kind == "full" or (is_full and kind != "room")
        if not (is_full and kind == "batch" and any(words[0].upper() in _POPS for words in arguments[1])):
            yield kind, *arguments


class DispatchAlone(Way):
    """No session: each request goes through `dispatch.answer`, and its reply is there at once."""

    def batch(self, number: int, requests: list[list[bytes]]) -> None:
        """See `Way`."""
        client, call = self.connections[number].client, self.connections[number].session.call
        for request in requests:
            if client.closing:
                return
            reply = dispatch.answer(call, _as_parsed(request), Resp(client, REPLY_LIMIT)).reply
            while isinstance(reply, dispatch.Unfinished):
                reply = dispatch.go_on(call, reply).reply
            self.replies[number] += bytes(reply)


def _as_parsed(request: list[bytes]) -> list[bytes]:
    """Words that are objects of their own, as a parser makes them: an index skips a value that is the same object."""
    return [bytes(bytearray(word)) for word in request]


class WaysTests(SynchronousTestCase):
    """Any steps, by every way."""

    def setUp(self) -> None:
        """Have a command that goes on in slices."""
        self.patch(commands.by_name[b"KEYS"], "function", keys_in_slices)
        self.patch(slices, "SLICE_NS", 0)
        self.patch(watches, "_AT_ONCE", 1)
        self.patch(index, "_AT_ONCE", 1)

    def test_the_same_by_every_way(self) -> None:
        """The same table and log, the same replies, and the same moment at which each may leave."""
        self.compare(steps, 250)

    def test_who_may_not_do_everything(self) -> None:
        """The same while rights come and go."""
        self.compare(st.lists(st.one_of(batches, pipelines, rights, rights, turns), max_size=12), 40)

    def test_a_document_set_again(self) -> None:
        """QUERY's order, which nothing promises, is the same too when a key gets the document that it has."""
        document = b'{"name":1}'
        find = [b"QUERY", b"name", b"1"]
        sets = [[b"SET", key, document] for key in (b"b", b"a", b"b")]
        self.follow([("batch", 0, [find, *sets, find]), ("commit",)], None)

    def test_slices_of_a_request_that_came_alone(self) -> None:
        """A new client's first request goes on in slices, and what came behind it leaves with it by every way."""
        self.follow([("batch", 1, [[b"KEYS", b"*"], [b"APPEND", b"a", b"text"]]), ("commit",)], None)

    def test_pipelines_of_one_command(self) -> None:
        """The same for pipelines of what is to execute all at once in most of the plans."""
        rows = [row for row in commands.rows() if row.many is not None]
        at_once = [0] * len(rows)
        for number, row in enumerate(rows):
            many = row.many

            def counted(*arguments: Any, many: Any = many, number: int = number) -> Any:
                reply = many(*arguments)
                at_once[number] += reply is not None
                return reply

            self.patch(row, "many", counted)
        self.compare(st.lists(st.one_of(pipelines, pipelines, scenes, scenes, turns), max_size=12), 150)
        pairs = [(b"a", b"1")] * 7
        plan = [("batch", 0, _pipeline(name, pairs, [])) for name in (b"SET", b"MSET", b"GET")]
        plan.append(("batch", 0, _pipeline(b"INCR", [(b"n", b"")] * 7, [])))
        plan += [("batch", 0, _pipeline(name, [(b"h", name[1:])] * 7, [])) for name in (b"HINCRBY", b"HSET", b"HGET")]
        plan += [("batch", 0, _pipeline(name, [(b"l", b"v")] * 7, [])) for name in _OF_LISTS]
        waiting = (b"RPUSH", b"BLPOP", b"RPUSH", b"BRPOP")
        plan += [("batch", 0, [[name, b"l", b"5"]] * 7) for name in waiting]
        plan += [("batch", 0, _pipeline(name, [(b"s", b"v")] * 7, [])) for name in (*_OF_SETS, b"SPOP", b"SPOP")]
        of_sorted_sets = (b"ZADD", b"ZPOPMIN", b"ZPOPMIN", b"ZPOPMAX")
        plan += [("batch", 0, _pipeline(name, [(b"z", b"v")] * 7, [])) for name in of_sorted_sets]
        plan.append(("batch", 0, _pipeline(b"XADD", [(b"x", b"v")] * 7, [])))
        self.follow([*plan, ("commit",)], None)
        self.assertGreater(min(at_once), 0)

    def compare(self, plans: st.SearchStrategy[list[tuple[Any, ...]]], examples: int) -> None:
        """Try so many plans."""

        @settings(max_examples=examples)
        @given(plans, st.one_of(st.none(), st.none(), st.integers(1, 3)))
        def try_out(plan: list[tuple[Any, ...]], limit: int | None) -> None:
            with mock.patch.object(log, "ZERO_FILL_BYTES", 512):
                self.follow([*plan, ("room",), ("commit",)], limit)

        try_out()

    def follow(self, plan: list[tuple[Any, ...]], limit: int | None) -> None:
        """Go the plan by every way, and compare after each step."""
        fast, slow = Way(), Way(watched=True)
        ways = [fast, slow, Way(budget_bytes=10)]
        for way in ways:
            way.limit_groups(limit)
        if limit is None:  # dispatch knows no groups, and another number of frames leaves another room in the log
            ways.append(DispatchAlone())
        for step in _without_pops_on_a_full_disk(plan):
            for way in ways:
                way.step(*step)
            for way in ways[1:]:
                self.assertEqual(fast.seen(), way.seen(), step)
            self.assertEqual(fast.replies, slow.replies, step)
            for one, two in zip(fast.connections, slow.connections, strict=True):
                self.assertEqual(one.session.waits_for, two.session.waits_for, step)
                self.assertEqual(one.session.closing, two.session.closing, step)
        for way in ways[1:]:
            self.assertEqual(fast.replies, way.replies)
            self.assertEqual(way.serving.bugs, [])
        for way in ways[1:3]:
            self.assertEqual(fast.counted(), way.counted())
        self.assertEqual(fast.serving.server.errors, slow.serving.server.errors)
        self.assertEqual(fast.serving.server.requests_executed, slow.serving.server.requests_executed)
