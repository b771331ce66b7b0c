"""A case of the bench: what is asked of both servers in turns, and what their turns found.

A case starts its own servers, each on an empty directory, and ends them. A `Station` is one of them with its load; a
turn of it comes to `Measures`: numbers by name, with the unit at the end of the name (`p99_ms`, `start_seconds`).
Whatever is measured, by whatever generator, so has the same form, and report, plot and targets need to know no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scripts.measuring.bench import NEVER_COMPACT, VALKEY_NEVER_COMPACT, Bench, in_turns
from scripts.measuring.servers import MeasuredServer, Surroundings

KVSTORE = "kvstore"
VALKEY = "Valkey"
SIDES = (KVSTORE, VALKEY)

#: Numbers by name.
Measures = dict[str, float]


class Station(Protocol):
    """One server with its load."""

    def warm_up(self) -> None:
        """What comes before the first turn and is not counted."""

    def take_turn(self) -> Measures:
        """One turn."""


@dataclass(frozen=True)
class Case:
    """One row of the bench. `name`: as it is chosen on the command line, such as "set-50". `title`: for a reader.

    `group`: the table that it belongs to. `set_up`: makes the station of a side. `most_rounds`: of a case whose turns
    take long.
    """

    name: str
    group: str
    title: str
    set_up: Callable[[Bench, str], Station]
    sides: tuple[str, ...] = SIDES
    most_rounds: int = 1_000

    def measure(self, bench: Bench) -> dict[str, list[Measures]]:
        """All turns of all sides. Raises what servers and generators raise."""
        stations: dict[str, Station] = {side: self.set_up(bench, side) for side in self.sides}
        for station in stations.values():
            station.warm_up()
        turns: dict[str, list[Measures]] = {side: [] for side in self.sides}
        rounds = min(bench.effort.rounds, self.most_rounds)
        for number in range(rounds):
            bench.progress.show(number / rounds)
            for side in in_turns(self.sides, number):
                turns[side].append(stations[side].take_turn())
        return turns


def start(
    bench: Bench, side: str, sync: str = "always", *, directory: str = "", surroundings: Surroundings | None = None
) -> MeasuredServer:
    """Start a server of that side; in Valkey's place another kvstore, if the setting has one. It compacts only when it
    is asked to.

    `sync`: always, everysec or no. `directory`: of its data, empty for one named as the side. `surroundings`: others
    than the bench's setting has.
    """
    name = directory or side
    checkout = bench.setting.checkout if side == VALKEY else None
    if side == KVSTORE or checkout:
        return bench.kvstore(name, "--sync", sync, *NEVER_COMPACT, surroundings=surroundings, checkout=checkout)
    return bench.valkey(name, "--appendfsync", sync, *VALKEY_NEVER_COMPACT, surroundings=surroundings)


def ratios(turns: Mapping[str, list[Measures]], measure: str) -> list[float]:
    """kvstore's number by Valkey's, round by round; infinite where Valkey's is nothing."""
    pairs = zip(turns[KVSTORE], turns[VALKEY], strict=True)
    return [ours[measure] / theirs[measure] if theirs[measure] else math.inf for ours, theirs in pairs]
