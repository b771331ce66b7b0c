"""Cases that redis-benchmark asks: single commands, at so many connections, with values of so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kvstore.client.raw import resp_request
from scripts.measuring.bench import Bench, Case, SetUp
from scripts.measuring.load import load, load_keys
from scripts.measuring.metering import Measures, Shape
from scripts.measuring.redis_benchmark import Load, Series
from scripts.measuring.servers import ANYWHERE, MeasuredServer

#: Keys in the table, and drawn from: fewer if the values would take more than so many bytes.
_KEYS = 10_000
_VALUES_BYTES = 40_000_000

#: redis-benchmark's own default; and what a plain user's values are like, over how many keys.
VALUE_BYTES = 3
PLAIN_BYTES, PLAIN_KEYS = 100, 100_000

#: With more clients than this a turn lasts so many times longer: they connect in it, and that is not to be measured.
_MANY_CLIENTS, _LONGER_TURN = 100, 3

CLIENTS = (1, 16, 50, 200)
DEEP = (Shape(50, 16), Shape(50, 64))
SIZES = (100, 1_000, 10_000, 100_000)
POLICIES = ("always", "everysec", "no")

GROUP_TITLES = {
    "plain": f"As it is typed: redis-benchmark -d {PLAIN_BYTES} -r {PLAIN_KEYS:,}, no process kept to a processor",
    "commands": "Single commands, one request on the way on each connection",
    "pipelined": "Several requests on the way on each connection",
    "types": f"Other types, as redis-benchmark -d {PLAIN_BYTES} asks, no process kept to a processor",
    "values": "Values of different sizes, 50 connections",
    "sync": "What a sync before every reply costs",
}

#: Groups in which no process is kept to a processor.
_PLAIN_GROUPS = ("plain", "types")

#: What has to be there before a turn of so many requests.
Fill = Callable[[MeasuredServer, int], None]


def _keys(asked: Load) -> Fill:
    return lambda server, requests: load_keys(server.port, asked.keys, asked.value_bytes)


def _set_up(asked: Load, sync: str, fill: Fill, is_plain: bool, each_turn: bool) -> SetUp:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        server = bench.start(side, sync=sync, surroundings=ANYWHERE if is_plain else None)
        if not each_turn:
            fill(server, 0)
        seconds = bench.effort.seconds * (_LONGER_TURN if asked.shape.clients > _MANY_CLIENTS else 1)
        cpus = frozenset[int]() if is_plain else bench.setting.generator_cpus
        return Series(
            server, asked, seconds, cpus, lambda requests: fill(server, requests) if each_turn else None
        ).take_turn

    return set_up


def _case(
    name: str, group: str, title: str, words: Iterable[str], shape: Shape, value_bytes: int = VALUE_BYTES,
    keys: int = _KEYS, sync: str = "always", fill: Fill | None = None, each_turn: bool = False,
) -> Case:  # fmt: skip
    asked = Load(tuple(words), shape, value_bytes, min(keys, _VALUES_BYTES // value_bytes))
    weight = _LONGER_TURN if shape.clients > _MANY_CLIENTS else 1
    set_up = _set_up(asked, sync, fill or _keys(asked), group in _PLAIN_GROUPS, each_turn)
    return Case(name, group, title, set_up, weight=weight)


def _tests() -> list[Case]:
    """Of redis-benchmark's own tests."""
    tests = ("set", "get")
    cases = [
        _case(f"plain-{test}-{s.name}", "plain", f"{test.upper()} {s}", ("-t", test), s, PLAIN_BYTES, PLAIN_KEYS)
        for test in tests
        for s in (Shape(1), Shape(50), Shape(200), DEEP[0])
    ]
    for group, shapes in (("commands", [*map(Shape, CLIENTS)]), ("pipelined", DEEP)):
        cases += [_case(f"{t}-{s.name}", group, f"{t.upper()} {s}", ("-t", t), s) for t in tests for s in shapes]
    return cases


# Types

#: So many members and fields are drawn from, and so many elements are there at least; a command adds so many at once.
_ELEMENTS = 10_000
_AT_ONCE = 100

#: What is asked, as redis-benchmark's own tests of that name ask it, with values of PLAIN_BYTES.
TYPES: dict[str, str] = {
    "incr": "INCR counter:__rand_int__",
    "lpush": "LPUSH mylist __data__",
    "rpush": "RPUSH mylist __data__",
    "lpop": "LPOP mylist",
    "rpop": "RPOP mylist",
    "lrange-100": "LRANGE mylist 0 99",
    "lrange-600": "LRANGE mylist 0 599",
    "sadd": "SADD myset element:__rand_int__",
    "spop": "SPOP myset",
    "hset": "HSET myhash element:__rand_int__ __data__",
    "hget": "HGET myhash element:__rand_int__",
    "zadd": "ZADD myzset __rand_int__ element:__rand_int__",
    "zpopmin": "ZPOPMIN myzset",
    "mset": "MSET" + " key:__rand_int__ __data__" * 10,
    "xadd": "XADD mystream * myfield __data__",
}


def _elements(name: str, key: str, *of_each: Callable[[int], bytes]) -> Fill:
    """Fills one value, by the command `name`; `of_each`: the words of an element, by its number."""

    def fill(server: MeasuredServer, requests: int) -> None:
        parts = (range(first, first + _AT_ONCE) for first in range(0, max(requests, _ELEMENTS), _AT_ONCE))
        load(server.port, (resp_request(name, key, *(word(n) for n in part for word in of_each)) for part in parts))

    return fill


def _element(number: int) -> bytes:
    return b"element:%012d" % number


def _value(number: int) -> bytes:
    return b"x" * PLAIN_BYTES


_FULL_LIST = _elements("RPUSH", "mylist", _value)

#: What has to be there; before each turn, where the turn takes it away.
_TYPE_FILLS: dict[str, Fill] = {
    "lrange-100": _FULL_LIST,
    "lrange-600": _FULL_LIST,
    "lpop": _FULL_LIST,
    "rpop": _FULL_LIST,
    "spop": _elements("SADD", "myset", _element),
    "hget": _elements("HSET", "myhash", _element, _value),
    "zpopmin": _elements("ZADD", "myzset", b"%d".__mod__, _element),
}


def _types() -> list[Case]:
    """redis-benchmark's tests of other types than strings, and INCR and MSET, as a plain user sees them."""
    return [
        _case(
            f"{test}-{shape.name}", "types", f"{test.upper().replace('-', '_')} {shape}", words.split(), shape,
            PLAIN_BYTES, _ELEMENTS, fill=_TYPE_FILLS.get(test, lambda server, requests: None),
            each_turn="pop" in test,
        )
        for shape in (Shape(50), DEEP[0])
        for test, words in TYPES.items()
    ]  # fmt: skip


def cases() -> list[Case]:
    """All of them, table by table."""
    sized = [
        _case(f"{test}-{size}b", "values", f"{test.upper()}, {size:,} bytes", ("-t", test), Shape(50), size)
        for test in ("set", "get")
        for size in SIZES
    ]
    synced = [
        _case(f"set-{shape.name}-{sync}", "sync", f"SET {shape}, {sync}", ("-t", "set"), shape, sync=sync)
        for shape in (Shape(50), DEEP[0])
        for sync in POLICIES
    ]
    return [*_tests(), *_types(), *sized, *synced]
