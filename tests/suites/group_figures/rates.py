"""Requests a second: a group's leader, and a server by itself, asked by redis-benchmark in turns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from scripts.measuring.load import load_keys
from scripts.measuring.metering import Measures, Shape
from scripts.measuring.processes import die_with_parent
from scripts.measuring.redis_benchmark import Load, command, parse
from scripts.measuring.results import Table, share
from scripts.measuring.servers import commits_of, parse_info
from tests.suites.group_figures.figures import Figure, Part
from tests.suites.group_figures.sides import (
    FOLLOWERS,
    GENERATOR,
    GROUP,
    LEADING_NODE,
    LOCAL,
    NODES,
    SERVER,
    Sides,
)  # fmt: skip

VALUE_BYTES, KEYS = 100, 100_000
CONNECTIONS = (1, 16, 50, 200)
#: What is asked of group / local, by connections; "aim" is more than is asked.
ASKED_SET = {16: 0.39, 50: 0.29, 200: 0.31}
AIM_SET = 0.5
ASKED_GET = 0.95
GET_CONNECTIONS = 50

_WHO = (SERVER, FOLLOWERS, LEADING_NODE, NODES, GENERATOR)
#: Requests of the first turn: for each connection, and at least.
_FIRST_REQUESTS = 60
_FEWEST_FIRST_REQUESTS = 500
#: With an overloaded machine a lease can run out within a turn: it is taken again.
_ATTEMPTS = 3

#: The measures of a turn: `per_second`, `p50_ms`, `p99_ms`, ...; `WHO_ms`, of a processor, a request; `busy` and
#: `idle`, of all processors; `requests_per_commit`.
Turns = Mapping[str, Sequence[Measures]]


class Series:
    """Turns of one side under one load, each of so many seconds by how fast it was in the one before; the first is not
    counted.
    """

    def __init__(self, sides: Sides, side: str, test: str, connections: int, seconds: float) -> None:
        self._sides = sides
        self._side = side
        self._load = Load(("-t", test), Shape(connections), VALUE_BYTES, KEYS)
        self._seconds = seconds
        self._requests = max(_FEWEST_FIRST_REQUESTS, _FIRST_REQUESTS * connections)
        self.take_turn()

    def take_turn(self) -> Measures:
        """One run of redis-benchmark. Raises CalledProcessError."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                found = self._take_turn()
            except subprocess.CalledProcessError:
                if not attempts_left:
                    raise
            else:
                break
        self._requests = max(self._load.shape.clients, int(found["per_second"] * self._seconds))
        return found

    def _take_turn(self) -> Measures:
        port, _ = self._sides.server(self._side)
        words = command(port, self._load, self._requests)
        committed = _commits(port)
        with self._sides.metered(self._side) as meter:
            done = subprocess.run(words, capture_output=True, text=True, check=True, preexec_fn=die_with_parent)
        commits, requests = (now - then for now, then in zip(_commits(port), committed, strict=True))
        found = parse(done.stdout)
        found |= {f"{who}_ms": 1e3 * used_s / self._requests for who, used_s in meter.used_s.items()}
        found |= {"busy": meter.busy, "idle": meter.idle_s / meter.elapsed_s / (os.cpu_count() or 1)}
        return found | ({"requests_per_commit": requests / commits} if commits else {})


def _commits(port: int) -> tuple[int, int]:
    with RawConnection(Address("127.0.0.1", port)) as connection:
        connection.send(resp_request("INFO"))
        commits, requests, _ = commits_of(parse_info(connection.resp()))
    return commits, requests


def in_turns(sides: Sides, test: str, connections: int, rounds: int, seconds: float) -> dict[str, list[Measures]]:
    """Both, round by round; who begins changes."""
    series = {side: Series(sides, side, test, connections, seconds) for side in (LOCAL, GROUP)}
    turns: dict[str, list[Measures]] = {side: [] for side in series}
    for number in range(rounds):
        for side in list(series)[:: -1 if number % 2 else 1]:
            turns[side].append(series[side].take_turn())
    return turns


def measure_sets(rounds: int, seconds: float, say: Callable[[str], None]) -> Part:
    """SET at 1, 16, 50 and 200 connections."""
    with ExitStack() as held:
        sides = Sides(held)
        found = {}
        for connections in CONNECTIONS:
            say(f"SET at {connections}")
            found[connections] = in_turns(sides, "set", connections, rounds, seconds)
    return sets_part(found)


def measure_gets(rounds: int, seconds: float, say: Callable[[str], None]) -> Part:
    """GET at 50 connections, of a leader that trusts its lease, and of one that asks etcd."""
    found = {}
    for reads in ("lease", "quorum"):
        say(f"GET with --reads {reads}")
        with ExitStack() as held:
            sides = Sides(held, "--reads", reads)
            for side in (LOCAL, GROUP):
                load_keys(sides.server(side)[0], KEYS, VALUE_BYTES)
            found[reads] = in_turns(sides, "get", GET_CONNECTIONS, rounds, seconds)
    return gets_part(found)


def ratios(turns: Turns) -> list[float]:
    """Of each round, group / local."""
    rates = [[turn["per_second"] for turn in turns[side]] for side in (GROUP, LOCAL)]
    return [group / local for group, local in zip(*rates, strict=True)]


def sets_part(found: Mapping[int, Turns]) -> Part:
    """Of turns by connections."""
    part = Part("SET of 100 bytes", raw={"turns": {str(c): turns for c, turns in found.items()}})
    rows = []
    for connections, turns in found.items():
        what = f"SET at {connections}, group / local (aim {AIM_SET:g})"
        part.figures.append(Figure(what, ratios(turns), "", ASKED_SET.get(connections), at_least=True))
        rows += [row(f"{connections}, {side}", turns[side]) for side in (LOCAL, GROUP)]
    part.tables = [Table("Connections; processor milliseconds a request (seconds per 1,000) of each", COLUMNS, rows)]
    part.said = [on_this_machine(f"{c} connections", turns[GROUP]) for c, turns in found.items() if c in ASKED_SET]
    return part


def gets_part(found: Mapping[str, Turns]) -> Part:
    """Of turns by `--reads`."""
    part = Part(f"GET of 100 bytes at {GET_CONNECTIONS}", raw={"turns": found})
    rows = []
    for reads, turns in found.items():
        asked = ASKED_GET if reads == "lease" else None
        part.figures.append(Figure(f"GET, --reads {reads}, group / local", ratios(turns), "", asked, at_least=True))
        rows += [row(f"--reads {reads}, {side}", turns[side]) for side in (LOCAL, GROUP)]
    part.tables = [Table("GET; processor milliseconds a request (seconds per 1,000) of each", COLUMNS, rows)]
    return part


COLUMNS = ["", "requests/s", "p50", "p99", "in a commit", *_WHO, "of the processors", "idle group's"]


def middle(turns: Sequence[Measures], name: str) -> float:
    """The median of a measure; 0 if no turn has it."""
    return median([turn[name] for turn in turns if name in turn] or [0.0])


def row(title: str, turns: Sequence[Measures]) -> list[str]:
    """Of one side's turns."""
    times = [f"{middle(turns, f'{who}_ms'):.3f}" if f"{who}_ms" in turns[0] else "-" for who in _WHO]
    commit = middle(turns, "requests_per_commit")
    shown = [f"{middle(turns, 'per_second'):,.0f}", *(f"{middle(turns, p):.2f} ms" for p in ("p50_ms", "p99_ms"))]
    return [title, *shown, f"{commit:.1f}" if commit else "-", *times, share(middle(turns, "busy")),
            share(middle(turns, "idle"))]  # fmt: skip


def on_this_machine(title: str, turns: Sequence[Measures]) -> str:
    """What of a group's rate is the one machine's doing: who else uses its processors."""
    of_each = {who: middle(turns, f"{who}_ms") for who in _WHO}
    total, etcd = sum(of_each.values()), of_each[LEADING_NODE] + of_each[NODES]
    leading = of_each[SERVER] + of_each[LEADING_NODE]
    return (
        f"Group, {title}: {share(middle(turns, 'busy'))} of the processors are used; of {total:.3f} ms a request etcd "
        f"takes {share(etcd / total)}, the leader {share(of_each[SERVER] / total)}, the followers "
        f"{share(of_each[FOLLOWERS] / total)}, the generator {share(of_each[GENERATOR] / total)}. On three machines "
        f"that of the leader has {share(leading / total)} of it, if etcd's leader is there, too."
    )
