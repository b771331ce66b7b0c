"""How long a SET takes at half load: an open loop over 50 connections, at half of what each side does at most."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import strings
from scripts.measuring.metering import Measures
from scripts.measuring.results import Table, share
from tests.suites.group_figures.figures import Figure, Part
from tests.suites.group_figures.rates import KEYS, VALUE_BYTES
from tests.suites.group_figures.sides import GROUP, LOCAL, Sides

CONNECTIONS = 50
#: The requests of so much of a turn are not counted.
_SKIPPED = 0.2


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> Part:
    """Both, in turns."""
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory()))
        sides = Sides(held)
        most, turns = {}, {}
        for side in (LOCAL, GROUP):
            say(f"most, {side}")
            most[side] = _turn(sides, side, directory, 0.0, seconds)["per_second"]
            turns[side] = list[Measures]()
        for number in range(rounds):
            say(f"half load, round {number + 1}")
            for side in list(turns)[:: -1 if number % 2 else 1]:
                turns[side].append(_turn(sides, side, directory, most[side] / 2, seconds))
    return part_of(most, turns)


def _turn(sides: Sides, side: str, directory: Path, rate: float, seconds: float) -> Measures:
    """`rate`: requests a second; 0 for as many as it can."""
    generator = Generator(directory, [Group(CONNECTIONS, 1, strings("SET", KEYS, VALUE_BYTES), rate)])
    with sides.metered(side) as meter:
        found = generator.run(sides.server(side)[0], seconds, _SKIPPED * seconds).measures()
    return found | {"busy": meter.busy}


def part_of(most: Mapping[str, float], turns: Mapping[str, Sequence[Measures]]) -> Part:
    """Of the most requests a second, and turns at half of it."""
    part = Part("SET at half load", raw={"most": most, "turns": turns})
    rows = []
    for side, taken in turns.items():
        for name in ("p50", "p99"):
            values = [turn[f"{name}_ms"] for turn in taken]
            part.figures.append(Figure(f"SET at half load, {name}, {side}", values, "ms"))
        middles = {name: median(turn[name] for turn in taken) for name in taken[0]}
        shown = [f"{middles[name]:.2f} ms" for name in ("p50_ms", "p99_ms", "p999_ms", "slowest_ms")]
        rate = middles["per_second"]
        rows.append([side, f"{most[side]:,.0f}/s", f"{rate:,.0f}/s", *shown, share(middles["busy"])])
    columns = ["", "at most", "asked", "p50", "p99", "p99.9", "slowest", "of the processors"]
    part.tables = [Table(f"SET of {VALUE_BYTES} bytes, {CONNECTIONS} connections", columns, rows)]
    part.said = [
        "An open loop, by the project's own generator: each request is sent when it is due, and its latency counts "
        "from then, whatever the one before it took. Half load is half of what the same generator reaches in closed "
        f"loops just before, on {os.cpu_count()} processors that all share; so each side has a rate of its own."
    ]
    return part
