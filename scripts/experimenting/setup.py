"""What all parts of the experiment share: where data and results go, how long to measure, what is said meanwhile."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.experimenting.rows import SumRow
from scripts.experimenting.runs import Pace
from scripts.measuring.results import describe_machine, sync_microseconds

ABOUT_NAME = "experiment.json"


@dataclass(frozen=True)
class Effort:
    """How much to measure. Paces are of TestPerf and of the swarm; `most_*`: clients of the largest step.

    `least_swarm`: steps up to here are made even if the series has levelled out before, for comparison. `keys`: of the
    compaction. `lead_seconds`: before and after it.
    """

    perf_pace: Pace
    swarm_pace: Pace
    most_perf: int
    most_swarm: int
    least_swarm: int
    cross_check: Sequence[int]
    far_clients: Sequence[int]
    delays_ms: Sequence[float]
    keys: int
    lead_seconds: float


FULL = Effort(
    Pace(0.4, 1.6), Pace(0.15, 0.8), most_perf=32, most_swarm=192, least_swarm=16, cross_check=(1, 4, 16, 64),
    far_clients=(1, 4, 16, 64, 256), delays_ms=(0.5, 5.0), keys=1_000_000, lead_seconds=3.0,
)  # fmt: skip
QUICK = Effort(
    Pace(0.1, 0.5), Pace(0.1, 0.4), most_perf=3, most_swarm=4, least_swarm=2, cross_check=(1,),
    far_clients=(1, 16), delays_ms=(0.5,), keys=30_000, lead_seconds=0.6,
)  # fmt: skip


@dataclass
class Setup:
    """One call of the program. `out`: for results. `directory`: for data, on the disk that is to be measured."""

    out: Path
    directory: Path
    quick: bool
    effort: Effort
    _number: int = field(default=0, init=False)

    def next_number(self) -> int:
        """A number for the next run."""
        self._number += 1
        return self._number

    def about(self) -> dict[str, Any]:
        """What a reader needs to judge the figures of a part that begins now."""
        return {
            "command": shlex.join(["scripts/experiment", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d %H:%M %Z"),
            "quick": self.quick,
            **describe_machine(self.directory),
            "sync_us": round(sync_microseconds(self.directory), 1),
        }

    def note(self, part: str, about: dict[str, Any], began: float) -> None:
        """Put down that a part was measured. `began`: of time.time."""
        path = self.out / ABOUT_NAME
        notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        notes[part] = about | {"took_seconds": round(time.time() - began)}
        path.write_text(json.dumps(notes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def say(rows: Sequence[SumRow]) -> None:
    """Tell of one run, in a line."""
    first = rows[0]
    what = [first.generator, f"--sync {first.sync}"]
    what += [f"--group-limit {first.group_limit}"] * bool(first.group_limit)
    what += [f"depth {first.depth}"] * (first.depth > 1) + [f"{first.link} {first.delay_ms:g} ms"] * bool(
        first.delay_ms
    )
    sums = ", ".join(f"{row.operation} {row.per_second:,.0f}" for row in rows)
    print(f"{', '.join(what)}, {first.clients:3d} clients: {sums} a second", flush=True)
