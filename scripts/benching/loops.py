"""Cases that the project's own generator asks: several kinds of requests at once, and JSON lines."""

from __future__ import annotations

from collections.abc import Callable

from scripts.benching.case import KVSTORE, SIDES, Case, Measures, start
from scripts.benching.commits import CommitCounters
from scripts.benching.requests import Asked, insert_line, lines, lookup_line, mixed, query_line, resp
from scripts.measuring.bench import Bench
from scripts.measuring.generator import Found, Generator, Group
from scripts.measuring.load import load_keys
from scripts.measuring.turn import Shape, Turn

KEYS = 10_000
VALUE_BYTES = 100

#: As redis-benchmark's.
_SHORT_BYTES = 3

#: The first part of a turn, which is not counted, in seconds.
SKIP_SECONDS = 0.05

OWN, MIXED, DOCUMENTS, BESIDE_WRITES = "own-generator", "mixed", "documents", "beside-writes"

GROUP_TITLES = {
    OWN: "SET and GET of 3 bytes again, by a generator that costs half of redis-benchmark",
    MIXED: "80 % GET and 20 % SET of 100 bytes, on the same connections",
    DOCUMENTS: "The JSON-line verbs, documents of some 100 bytes; beside them SET and GET of what has no such verbs",
    BESIDE_WRITES: "GET on some connections while others SET durably",
}


def with_kinds(turn: Turn, found: Found) -> Measures:
    """The measures of a turn; those of one kind of request are named `GET.p99_ms` and the like."""
    measures: Measures = turn._asdict()
    for kind, latency in found.by_kind.items():
        measures |= {f"{kind}.{name}": value for name, value in latency._asdict().items()}
    return measures


class LoopStation:
    """One server and the generator. `groups`: what it asks."""

    def __init__(self, bench: Bench, side: str, groups: list[Group]) -> None:
        self.server = start(bench, side)
        self._generator = Generator(bench.directory, groups, bench.setting.generator_cpus)
        self._seconds = bench.effort.seconds
        self._commits = CommitCounters(self.server)

    def warm_up(self) -> None:
        """A short turn."""
        self._generator.run(self.server.port, self._seconds / 3)

    def take_turn(self) -> Measures:
        """One run of the generator."""
        self._commits.begin()
        turn = self._generator.take_turn(self.server, self._seconds, SKIP_SECONDS)
        return with_kinds(*turn) | self._commits.measures()


def _on_strings(
    groups: Callable[[], list[Group]], value_bytes: int = VALUE_BYTES
) -> Callable[[Bench, str], LoopStation]:
    """Stations with KEYS strings in the table."""

    def set_up(bench: Bench, side: str) -> LoopStation:
        station = LoopStation(bench, side, groups())
        load_keys(station.server.port, KEYS, value_bytes)
        return station

    return set_up


def _on_documents(groups: Callable[[str], list[Group]]) -> Callable[[Bench, str], LoopStation]:
    """Stations with KEYS documents in kvstore, and as many strings in Valkey."""

    def set_up(bench: Bench, side: str) -> LoopStation:
        server = KVSTORE if bench.setting.checkout else side
        station = LoopStation(bench, side, groups(server))
        if server == KVSTORE:
            every = [("insert", insert_line(number)) for number in range(KEYS)]
            _send_all(bench, station, every)
        else:
            load_keys(station.server.port, KEYS, VALUE_BYTES)
        return station

    return set_up


def _send_all(bench: Bench, station: LoopStation, requests: list[Asked]) -> None:
    """Each request at least once."""
    with_one = Generator(bench.directory, [Group(1, len(requests), requests)])
    with_one.run(station.server.port, 0.001)


def _verb(verb: str, line: Callable[[int], bytes], command: str, clients: int) -> Case:
    """One verb; `command`: what Valkey has instead, none if empty."""

    def groups(server: str) -> list[Group]:
        asked = lines(verb, line, KEYS) if server == KVSTORE else resp(command, KEYS, VALUE_BYTES)
        return [Group(clients, 1, asked)]

    title = f"{verb} {clients}" + (f", or {command}" if command else "")
    sides = SIDES if command else (KVSTORE,)
    return Case(f"{verb}-{clients}", DOCUMENTS, title, _on_documents(groups), sides)


def readers_and_writers(readers: int, writers: int) -> list[Group]:
    """So many clients that only GET, and so many that only SET."""
    return [
        Group(readers, 1, resp("GET", KEYS, VALUE_BYTES, seed=5)),
        Group(writers, 1, resp("SET", KEYS, VALUE_BYTES, seed=6)),
    ]


def _plain(kind: str, shape: Shape) -> Case:
    """One command; what redis-benchmark asks too."""

    def groups() -> list[Group]:
        return [Group(shape.clients, shape.pipeline, resp(kind, KEYS, _SHORT_BYTES))]

    name = f"own-{kind.lower()}-{shape.clients}" + (f"-p{shape.pipeline}" if shape.pipeline > 1 else "")
    return Case(name, OWN, f"{kind} {shape}", _on_strings(groups, _SHORT_BYTES))


def _blend(shape: Shape) -> Case:
    """GET and SET mixed."""

    def groups() -> list[Group]:
        return [Group(shape.clients, shape.pipeline, mixed(0.8, KEYS, VALUE_BYTES))]

    name = f"mixed-{shape.clients}" + (f"-p{shape.pipeline}" if shape.pipeline > 1 else "")
    return Case(name, MIXED, f"mixed {shape}", _on_strings(groups))


def _beside(readers: int, writers: int) -> Case:
    """GET beside SET."""
    title = f"{readers} GET beside {writers} SET"
    set_up = _on_strings(lambda: readers_and_writers(readers, writers))
    return Case(f"gets-beside-{writers}-writers", BESIDE_WRITES, title, set_up)


def cases() -> list[Case]:
    """All of them, table by table."""
    plain = [_plain(kind, shape) for kind in ("SET", "GET") for shape in (Shape(50), Shape(200), Shape(50, 16))]
    blends = [_blend(Shape(50)), _blend(Shape(50, 16))]
    verbs = [
        _verb("insert", insert_line, "SET", 50),
        _verb("lookup", lookup_line, "GET", 50),
        _verb("query", query_line, "", 50),
    ]
    beside = [_beside(16, 16), _beside(50, 5)]
    return [*plain, *blends, *verbs, *beside]
