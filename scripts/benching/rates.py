"""Cases that redis-benchmark asks: single commands, at so many connections, with values of so many bytes."""

from __future__ import annotations

from scripts.benching.case import Case, Measures, start
from scripts.benching.commits import CommitCounters
from scripts.measuring.bench import Bench
from scripts.measuring.load import load_keys
from scripts.measuring.redis_benchmark import Load, Series
from scripts.measuring.turn import Shape

#: Keys in the table, and drawn from: fewer if the values would take more than so many bytes.
_KEYS = 10_000
_VALUES_BYTES = 40_000_000

#: redis-benchmark's own default.
VALUE_BYTES = 3

#: With more clients than this a turn lasts so many times longer: they connect in it, and that is not to be measured.
_MANY_CLIENTS, _LONGER_TURN = 100, 3

CLIENTS = (1, 16, 50, 200)
DEEP = (Shape(50, 16), Shape(50, 64))
SIZES = (10, 100, 1_000, 10_000, 100_000)
POLICIES = ("always", "everysec", "no")

#: Groups: the tables of the report.
COMMANDS, PIPELINED, SIZED, SYNCED = "commands", "pipelined", "values", "sync"

GROUP_TITLES = {
    COMMANDS: "Single commands, one request on the way on each connection",
    PIPELINED: "Several requests on the way on each connection",
    SIZED: "Values of different sizes, 50 connections",
    SYNCED: "What a sync before every reply costs",
}


class RateStation:
    """One server and redis-benchmark."""

    def __init__(self, bench: Bench, side: str, load: Load, sync: str) -> None:
        server = start(bench, side, sync)
        load_keys(server.port, load.keys, load.value_bytes)
        self._series = Series(server, load, bench.setting.generator_cpus)
        many = load.shape.clients > _MANY_CLIENTS
        self._seconds = bench.effort.seconds * (_LONGER_TURN if many else 1)
        self._commits = CommitCounters(server)

    def warm_up(self) -> None:
        """Find out how fast it is."""
        self._series.find_pace(self._seconds)

    def take_turn(self) -> Measures:
        """One run of redis-benchmark."""
        self._commits.begin()
        return self._series.take_turn()._asdict() | self._commits.measures()


def _case(
    name: str, group: str, title: str, test: str, shape: Shape, value_bytes: int = VALUE_BYTES, sync: str = "always"
) -> Case:
    load = Load(test, shape, value_bytes, min(_KEYS, _VALUES_BYTES // value_bytes))
    return Case(name, group, title, lambda bench, side: RateStation(bench, side, load, sync))


def _name(test: str, shape: Shape) -> str:
    return f"{test}-{shape.clients}" + (f"-p{shape.pipeline}" if shape.pipeline > 1 else "")


def cases() -> list[Case]:
    """All of them, table by table."""
    title = {"set": "SET", "get": "GET", "mset": "MSET of 10", "incr": "INCR"}
    single = [
        _case(_name(test, Shape(n)), COMMANDS, f"{title[test]} {n}", test, Shape(n)) for test in title for n in CLIENTS
    ]
    deep = [
        _case(_name(test, shape), PIPELINED, f"{title[test]} {shape}", test, shape)
        for test in ("set", "get")
        for shape in DEEP
    ]
    sized = [
        _case(f"{test}-{size}b", SIZED, f"{title[test]}, {size:,} bytes", test, Shape(50), size)
        for test in ("set", "get")
        for size in SIZES
    ]
    synced = [
        _case(f"{_name('set', shape)}-{sync}", SYNCED, f"SET {shape}, {sync}", "set", shape, sync=sync)
        for shape in (Shape(50), DEEP[0])
        for sync in POLICIES
    ]
    return [*single, *deep, *sized, *synced]
