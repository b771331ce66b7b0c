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
    "types": "Hashes, lists and counters",
    "values": "Values of different sizes, 50 connections",
    "sync": "What a sync before every reply costs",
}

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
    set_up = _set_up(asked, sync, fill or _keys(asked), group == "plain", each_turn)
    return Case(name, group, title, set_up, weight=weight)


def _tests() -> list[Case]:
    """Of redis-benchmark's own tests."""
    title = {"set": "SET", "get": "GET", "mset": "MSET of 10"}
    shapes = [*map(Shape, CLIENTS), *DEEP]
    cases = [
        _case(f"plain-{test}-{s.name}", "plain", f"{title[test]} {s}", ("-t", test), s, PLAIN_BYTES, PLAIN_KEYS)
        for test in ("set", "get")
        for s in (Shape(1), Shape(50), Shape(200), DEEP[0])
    ]
    for group, chosen in (("commands", shapes[: len(CLIENTS)]), ("pipelined", shapes[len(CLIENTS) :])):
        tests = [test for test in title if group == "commands" or test != "mset"]
        cases += [_case(f"{t}-{s.name}", group, f"{title[t]} {s}", ("-t", t), s) for t in tests for s in chosen]
    return cases


# Types


def _hash(server: MeasuredServer, requests: int) -> None:
    load(server.port, (resp_request("HSET", "myhash", f"element:{n:012}", "xxx") for n in range(_KEYS)))


def _list(server: MeasuredServer, elements: int) -> None:
    load(server.port, (resp_request("RPUSH", "mylist", *["xxx"] * 100) for _ in range(elements // 100 + 1)))


def _types() -> list[Case]:
    """Commands of other types than strings, and INCR."""
    asked: dict[str, tuple[str, ...]] = {
        "hset": ("-t", "hset"),
        "hget": ("HGET", "myhash", "element:__rand_int__"),
        "lpush": ("-t", "lpush"),
        "rpop": ("-t", "rpop"),
        "lrange-100": ("LRANGE", "mylist", "0", "99"),
        "incr": ("-t", "incr"),
    }
    fills: dict[str, Fill] = {"hset": _hash, "hget": _hash, "rpop": _list, "lrange-100": _list}
    shapes = {"incr": [*map(Shape, CLIENTS), DEEP[0]]}
    return [
        _case(
            f"{test}-{shape.name}", "types", f"{test.upper().replace('-', '_')} {shape}", words, shape,
            fill=fills.get(test, lambda server, requests: None), each_turn=test == "rpop",
        )
        for test, words in asked.items()
        for shape in shapes.get(test, [Shape(50)])
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
