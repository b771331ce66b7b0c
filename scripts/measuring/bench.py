"""A case of a program that measures: what is asked of its sides in turns, and where that happens.

A case starts its own servers, each on an empty directory, which end with it. Its sides take turns, one right after the
other, and who begins changes from round to round: what changes slowly on the machine falls on all of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kvstore.client.progress import Progress
from scripts.measuring.metering import Measures
from scripts.measuring.servers import ANYWHERE, KVSTORE, VALKEY, MeasuredServer, Surroundings, start_server

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How much to measure. `rounds`: how often each side has its turn. `seconds`: how long a turn lasts.

    `keys`: of a large table. `idle`: connections.
    """

    rounds: int
    seconds: float
    keys: int = 0
    idle: int = 0


@dataclass(frozen=True)
class Setting:
    """Where servers and load generators run, and how kvstore is started.

    `surroundings`: of the servers. `generator_cpus`: the processors of a load generator, none for any.
    `kvstore_options`: given to kvstore after all others. `checkout`: of another kvstore, measured in Valkey's place.
    """

    surroundings: Surroundings = ANYWHERE
    generator_cpus: frozenset[int] = frozenset()
    kvstore_options: tuple[str, ...] = ()
    checkout: Path | None = None


class Bench(ExitStack):
    """One case at work: a directory of its own, and servers that end with it."""

    def __init__(self, name: str, effort: Effort, directory: Path, setting: Setting | None = None) -> None:
        super().__init__()
        self.effort = effort
        self.setting = setting or Setting()
        self.progress = Progress(f"{name:10}")
        self.callback(self.progress.clear)
        self.directory = Path(tempfile.mkdtemp(prefix=f"kvstore-{name}-", dir=directory))
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)

    def start(
        self, side: str, *options: str, sync: str = "always", name: str = "", surroundings: Surroundings | None = None
    ) -> MeasuredServer:
        """Start a server of that side; in Valkey's place another kvstore, if the setting has one. It compacts only when
        it is asked to.

        `options`: of kvstore alone. `sync`: always, everysec or no. `name`: of its directory, new or as an earlier
        server left it; empty for the side's. `surroundings`: others than the setting has.
        """
        where, data = surroundings or self.setting.surroundings, self.directory / (name or side)
        checkout = self.setting.checkout if side == VALKEY else None
        ours = self.setting.kvstore_options if checkout is None else ()  # an older one may not know them
        server = start_server(side, data, *options, *ours, sync=sync, where=where, checkout=checkout)
        self.callback(server.kill)
        return server


#: Prepares a side, warms it up, and returns what takes a turn of it. Raises what servers and generators raise.
SetUp = Callable[[Bench, str], Callable[[], Measures]]


@dataclass(frozen=True)
class Case:
    """One row of a report. `name`: as it is chosen on the command line, such as "set-50". `title`: for a reader.

    `group`: the table that it belongs to. `most_rounds`: of a case whose turns take long. `weight`: how many times as
    long as others it takes, roughly. `needed_bytes`: of memory, without which it is left out.
    """

    name: str
    group: str
    title: str
    set_up: SetUp
    sides: tuple[str, ...] = (KVSTORE, VALKEY)
    most_rounds: int = 1_000
    weight: float = 1.0
    needed_bytes: int = 0

    def measure(self, bench: Bench) -> dict[str, list[Measures]]:
        """All turns of all sides. Raises what servers and generators raise."""
        take_turn = {side: self.set_up(bench, side) for side in self.sides}
        turns: dict[str, list[Measures]] = {side: [] for side in self.sides}
        rounds = min(bench.effort.rounds, self.most_rounds)
        for number in range(rounds):
            bench.progress.show(number / rounds)
            for side in in_turns(self.sides, number):
                turns[side].append(take_turn[side]())
        return turns


def in_turns(sides: Sequence[T], number: int) -> list[T]:
    """The sides in the order of round `number`: each of them begins in its turn."""
    first = number % len(sides)
    return [*sides[first:], *sides[:first]]
