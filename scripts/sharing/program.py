"""scripts/fairness as a program: a case for each kind of greedy client, beside whom calm ones are measured."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.bench import KVSTORE, Bench, Case, Effort
from scripts.measuring.metering import Measures, latencies, metered, turn
from scripts.measuring.processes import die_with_parent, keep_to
from scripts.measuring.program import Program
from scripts.measuring.record import Entry, Record, number
from scripts.measuring.results import Table, share
from scripts.sharing import greedy
from scripts.sharing.calm import CLIENTS, Calm

BESIDE, ALONE = "beside", "alone"

#: What the calm clients' p99 beside a greedy one may be, in times of what it is alone.
MOST_RATIO = 3.0

TITLES = {
    "pipeline": "SETs and GETs, a pipeline without end",
    "reads": "GETs, a pipeline without end",
    "large": "MSETs and LRANGEs of a megabyte and more",
    "scripts": "scripts of 200 ms in a row",
    "subscriptions": "10,000 subscriptions, published to without end",
}

HOW = f"""Made by `scripts/fairness`; every round's numbers are in [fairness.json](fairness.json).

{CLIENTS} calm clients, half of whom read and half write, each 50 times a second, alone and beside one greedy client
that never waits, in turns. Latency is from when a request was due to when its reply was read. Numbers are medians of
the rounds; "ratio" is the median of the rounds' ratios, beside by alone, and is to be at most {MOST_RATIO:g} for p99.
A script is one request, and nobody is served while it runs: beside those the ratio says how long that is.
"""


#: A greedy client is at work for so long before others are measured beside it.
_AHEAD_SECONDS = 0.3


def _set_up(kind: str) -> Callable[[Bench, str], Callable[[], Measures]]:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        server = bench.start(KVSTORE, name=side)
        calm = Calm(server.port)
        bench.callback(calm.close)
        calm.ask(_AHEAD_SECONDS)

        def take_turn() -> Measures:
            greedy_one = _beside(bench, server.port, kind) if side == BESIDE else nullcontext()
            with greedy_one, metered(server) as used:
                trace = calm.ask(bench.effort.seconds)
            return turn(latencies(trace, bench.effort.seconds), used)

        return take_turn

    return set_up


@contextmanager
def _beside(bench: Bench, port: int, kind: str) -> Iterator[None]:
    """A greedy client is at work meanwhile."""

    def enter() -> None:
        die_with_parent()
        keep_to(bench.setting.generator_cpus)

    words = [sys.executable, "-m", "scripts.sharing.greedy", str(port), kind]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT, preexec_fn=enter)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(_AHEAD_SECONDS)
        yield
    finally:
        process.kill()
        process.communicate()


def headline(entry: Entry, peer: str) -> str:
    """The ratio of the p99s."""
    figure = entry.figures()["p99_ms"]
    return f"p99 {number('p99_ms', figure.ours)} beside, {number('p99_ms', figure.theirs)} alone: {figure.ratio:.1f}"


def tables(record: Record) -> list[Table]:
    """The one."""
    rows = []
    for entry in record.entries.values():
        figures = entry.figures()
        p99 = figures["p99_ms"]
        rows.append([
            entry.title,
            *(f"{number(name, figures[name].ours)} / {number(name, figures[name].theirs)}"
              for name in ("p50_ms", "GET.p99_ms", "SET.p99_ms", "p99_ms", "slowest_ms")),
            f"{p99.ratio:.1f}", f"{p99.least:.1f} to {p99.most:.1f}",
            share(figures["server_share"].ours),
        ])  # fmt: skip
    columns = ["beside", "p50", "p99 of GET", "p99 of SET", "p99", "slowest", "ratio of p99", "rounds", "server"]
    return [Table("Calm clients, beside / alone", columns, rows)] if rows else []


def draw(record: Record, directory: Path) -> list[str]:
    """Nothing."""
    return []


FAIRNESS = Program(
    name="fairness",
    cases=[Case(kind, "fairness", TITLES[kind], _set_up(kind), sides=(BESIDE, ALONE)) for kind in greedy.KINDS],
    full=Effort(rounds=5, seconds=3.0),
    quick=(Effort(rounds=1, seconds=0.3), []),
    how=HOW,
    headline=headline,
    verdict=lambda record: [],
    tables=tables,
    draw=draw,
)
