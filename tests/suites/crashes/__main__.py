"""Crash the store in every way the model knows, and count: what scripts/crashpoints runs.

Sections, each over a number of seeds:

- `every state`: short runs; of each moment all states there are, torn at every byte, up to a limit.
- `every moment`: long runs under each sync policy; of each moment a spread of states; each is crashed twice more, in
  the recovery or in what is written after it.
- `full disk`: the same on a disk that is full now and then.
- `real sizes`: the same with the log's real units (256 KiB) instead of small ones.
- `failing calls`: a run for every call of a run, in which that call fails: by EIO, ENOSPC or EINTR, before, in the
  middle of or after its work, once or from then on; then what is left is crashed, started again, and crashed again.

A violation is printed with all that is needed to see it again. Exit status: 0 if there was none, else 1.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from kvstore.client.progress import Progress
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.suites import program
from tests.suites.crashes.explore import (
    Counts,
    Effort,
    Fault,
    errors_as_violations,
    explore_fault,
    explore_moment,
)
from tests.suites.crashes.history import Violation
from tests.suites.crashes.run import POLICIES, Run, small_files

KIB = 1024
#: How many violations of one task are kept.
MOST_KEPT = 3


class Task(NamedTuple):
    """One run and its exploration. `fault`: which error and how, for the runs with failing calls. `until`: when to
    stop, whatever is left, by the steady clock in seconds.
    """

    section: str
    seed: str
    sync: str
    steps: int
    effort: Effort
    zero_fill_bytes: int = 2 * KIB
    tight: bool = False
    fault: Fault | None = None
    until: float = math.inf


class Outcome(NamedTuple):
    """What came of a task. `violations`: the texts of the first few; `violated`: how many there were."""

    task: Task
    counts: Counts
    violated: int
    violations: list[str]


def tasks(seed: str, runs: int) -> Iterator[Task]:
    """All tasks. `runs`: seeds for each of the long sections."""
    for number in range(2 * runs):
        for sync in POLICIES:
            yield Task("every state", f"{seed}/e{number}", sync, 8, Effort(3000, 4096, 0))
    for number in range(2 * runs):
        for sync in POLICIES:
            yield Task("every moment", f"{seed}/m{number}", sync, 120, Effort(40, 256, 2))
            yield Task("full disk", f"{seed}/f{number}", sync, 120, Effort(20, 256, 2), tight=True)
    for number in range(max(1, runs // 4)):
        for sync in POLICIES:
            yield Task("real sizes", f"{seed}/r{number}", sync, 60, Effort(12, 64, 1), 256 * KIB)
    for number in range(max(1, runs // 6)):
        for sync in POLICIES:
            for fault in faults():
                yield Task("failing calls", f"{seed}/c{number}", sync, 35, Effort(4, 256, 1), fault=fault)


def faults() -> Iterator[Fault]:
    """The ways in which a call can fail; `when` is filled in later."""
    for error in (errno.EIO, errno.ENOSPC, errno.EINTR):
        for done in (0, 1, 60, 1_000_000):
            for times in (1, None):
                yield Fault(0, error, done, times)


def perform(task: Task) -> Outcome:
    """Do one task."""
    counts = Counts()
    violations: list[str] = []
    with small_files(task.zero_fill_bytes):
        try:
            violations.extend(_violations(task, counts))
        except Violation as violation:
            violations.append(str(violation))
    return Outcome(task, counts, len(violations), violations[:MOST_KEPT])


def _violations(task: Task, counts: Counts) -> Iterator[str]:
    if task.fault is not None:
        yield from _violations_of_faults(task, task.fault, counts)
        return
    if time.monotonic() > task.until:
        return
    with errors_as_violations(f"{task.seed}, sync {task.sync}, recording"):
        run = Run(SimulatedDisk(), task.seed, task.sync, tight=task.tight).steps(task.steps)
    seen: set[int] = set()
    for moment in run.disk.moments():
        if time.monotonic() > task.until:
            return
        try:
            explore_moment(moment, run, task.effort, counts, seen)
        except Violation as violation:
            yield str(violation)


def _violations_of_faults(task: Task, fault: Fault, counts: Counts) -> Iterator[str]:
    """Let each call of the run fail in turn, until the run is over before its turn comes."""
    came, when = True, 0
    while came and time.monotonic() < task.until:
        when += 1
        try:
            came = explore_fault(fault._replace(when=when), task.seed, task.sync, task.steps, task.effort, counts)
        except Violation as violation:
            yield str(violation)


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = program.parser_of("crashpoints", __doc__, seeded=False)
    parser.add_argument(
        "--seed",
        default=str(program.drawn_seed()),
        help="any text: of all that is random here (default: drawn, and printed)",
    )
    parser.add_argument(
        "--runs", type=program.positive, default=6, metavar="N", help="seeds of a section (default %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one a CPU)"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="N", help="try no moment after so long (default: all)"
    )
    parser.add_argument("--section", default=None, help="only this section, such as 'every moment'")
    return parser.parse_args()


def main() -> int:
    """The program. Returns the exit status."""
    chosen = options()
    seed = chosen.seed
    todo = [task for task in tasks(seed, chosen.runs) if chosen.section in (None, task.section)]
    if not todo:
        print(f"crashpoints: there is no section {chosen.section!r}", file=sys.stderr)
        return 2
    print(f"crashpoints: {len(todo)} tasks, --seed {seed} --runs {chosen.runs}, {chosen.jobs} processes", flush=True)
    began = time.monotonic()
    until = began + 60 * chosen.minutes
    outcomes = _perform_all([task._replace(until=until) for task in todo], chosen.jobs)
    return report(outcomes, time.monotonic() - began)


def _perform_all(todo: list[Task], jobs: int) -> list[Outcome]:
    progress = Progress("crashpoints")
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(jobs) as pool:
        for outcome in pool.map(perform, todo):
            outcomes.append(outcome)
            progress.show(len(outcomes) / len(todo))
            if outcome.violated:
                progress.clear()
                print(*outcome.violations, sep="\n", flush=True)
    progress.clear()
    return outcomes


def report(outcomes: list[Outcome], seconds: float) -> int:
    """Print the table of counts. Returns the exit status."""
    sections = list(dict.fromkeys(outcome.task.section for outcome in outcomes))
    titles = " ".join(f"{title:>9}" for title in ("moments", "complete", "states", "distinct"))
    print(f"{'section':14} {'runs':>5} {titles} {'recoveries':>11} violations")
    for section in [*sections, "all"]:
        part = [outcome for outcome in outcomes if section in (outcome.task.section, "all")]
        counts = Counts()
        for outcome in part:
            counts.add(outcome.counts)
        row = (counts.moments, counts.complete, counts.states, counts.distinct)
        figures = " ".join(f"{figure:9,}" for figure in row)
        violated = sum(outcome.violated for outcome in part)
        print(f"{section:14} {len(part):5} {figures} {counts.recoveries:11,} {violated:10,}")
    violated = sum(outcome.violated for outcome in outcomes)
    print(f"{seconds:.0f} s; {'no violation' if not violated else f'{violated} VIOLATIONS, the first of them above'}")
    return 1 if violated else 0


if __name__ == "__main__":
    program.run(main)
