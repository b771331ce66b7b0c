"""A compaction of a large table in the middle of a load, tenth of a second by tenth of a second.

The table is loaded and never compacted; then clients in a closed loop, half of them reading and half writing, go on for
some seconds before the compaction is asked for with BGREWRITEAOF, while it works, and after.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from kvstore.base.limits import MIB
from scripts.experimenting.places import Loopback
from scripts.experimenting.processors import running_ns
from scripts.experimenting.rows import CompactionRow, TenthRow, write_rows
from scripts.experimenting.runs import serving
from scripts.experimenting.setup import Setup
from scripts.measuring.bench import NEVER_COMPACT
from scripts.measuring.compaction import _LEAD_SECONDS as LEAD_SECONDS
from scripts.measuring.compaction import VALUE_BYTES, Watch
from scripts.measuring.load import ClosedLoop, Latencies, half_gets_half_sets, load_keys
from scripts.measuring.servers import MeasuredServer

CLIENTS = 16
TENTH_NS = 100_000_000
PHASES = ("before", "during", "after")


class Busy(NamedTuple):
    """Nanoseconds that were used so far, at one time (of perf_counter_ns)."""

    at: int
    server: int
    child: int
    generator: int


class Course:
    """Decides how long the load goes on: a while, the compaction, a while. The loop calls it every few milliseconds."""

    def __init__(self, server: MeasuredServer, lead_seconds: float) -> None:
        self._server = server
        self._lead_seconds = lead_seconds
        self._child_ns: dict[int, int] = {}
        self._began = self._ended = time.monotonic()
        self.watch: Watch | None = None
        self.busy = [self._busy()]

    def __call__(self) -> bool:
        """Whether to go on. Raises NoCompaction."""
        now = time.monotonic()
        if self.watch is None:
            if now >= self._began + self._lead_seconds - LEAD_SECONDS:
                self.watch = Watch(self._server)  # which waits for LEAD_SECONDS itself
        elif not self.watch.ended_ns:
            self._step(self.watch)
        elif now >= self._ended + self._lead_seconds:
            self.busy.append(self._busy())
            return False
        return True

    def _step(self, watch: Watch) -> None:
        """Look at the compaction, and note what was used when it begins and when it ends."""
        self._child_ns |= {pid: running_ns(pid) for pid in self._server.children()}
        had_begun = watch.asked_ns
        if not watch():
            self.busy.append(self._busy())
            self._ended = time.monotonic()
        elif watch.asked_ns and not had_begun:
            self.busy.append(self._busy())

    def _busy(self) -> Busy:
        child = sum(self._child_ns.values())
        return Busy(time.perf_counter_ns(), running_ns(self._server.pid), child, time.process_time_ns())


def run(setup: Setup) -> None:
    """Measure one compaction, and write the rows. Raises NoCompaction, WrongReply, DidNotStart."""
    keys = setup.effort.keys
    with serving(Loopback(), setup.directory, "--sync", "always", *NEVER_COMPACT) as server:
        print(f"loading {keys:,} keys", flush=True)
        load_keys(server.port, keys, VALUE_BYTES)
        loop = ClosedLoop(server.port, half_gets_half_sets(CLIENTS, keys, VALUE_BYTES))
        try:
            loop.run_for(setup.effort.lead_seconds / 2)
            course = Course(server, setup.effort.lead_seconds)
            loop.run(course)
        finally:
            loop.close()
    assert course.watch is not None
    write_rows(setup.out, TenthRow, tenths(loop.latencies, course.watch.asked_ns))
    rows = phases(loop.latencies, course, course.watch, keys)
    write_rows(setup.out, CompactionRow, rows)
    for row in rows:
        took = f"p99 {row.p99_ms:.2f} ms, slowest {row.slowest_ms:.1f} ms"
        print(f"{row.phase} ({row.seconds:.1f} s), {row.operation}: {row.per_second:,.0f} a second, {took}", flush=True)


def tenths(latencies: dict[str, Latencies], zero_ns: int) -> list[TenthRow]:
    """The course of each operation; a request counts in the tenth in which its reply came. `zero_ns`: second 0."""
    rows = []
    for operation, found in latencies.items():
        in_tenth: dict[int, list[int]] = defaultdict(list)
        for began, took in zip(found.began, found.took, strict=True):
            in_tenth[(began + took - zero_ns) // TENTH_NS].append(took)
        for tenth in range(min(in_tenth) + 1, max(in_tenth)):  # the first and the last are not whole
            took_ns = in_tenth.get(tenth, [])
            rows.append(TenthRow(tenth / 10, operation, len(took_ns), *_quantiles_ms(took_ns)))
    return rows


def phases(latencies: dict[str, Latencies], course: Course, watch: Watch, keys: int) -> list[CompactionRow]:
    """Each operation before, during and after."""
    rows = []
    bounds = [course.busy[0].at, watch.asked_ns, watch.ended_ns, course.busy[-1].at]
    memory = ((watch.server_peak - watch.before) / MIB, watch.child_peak / MIB)
    for i, phase in enumerate(PHASES):
        start, end = bounds[i], bounds[i + 1]
        cpu = [(b - a) / (course.busy[i + 1].at - course.busy[i].at) for a, b in
               zip(course.busy[i][1:], course.busy[i + 1][1:], strict=True)]  # fmt: skip
        for operation, found in latencies.items():
            took = [t for b, t in zip(found.began, found.took, strict=True) if start <= b + t < end]
            seconds = (end - start) / 1e9
            grown = memory if phase == "during" else (0.0, 0.0)
            figures = [len(took) / seconds, *_quantiles_ms(took), *grown, *cpu]
            about = (phase, operation, keys, CLIENTS, _short(seconds), len(took))
            rows.append(CompactionRow(*about, *map(_short, figures)))
    return rows


def _short(number: float) -> float:
    """Six significant digits."""
    return float(f"{number:.6g}")


def _quantiles_ms(took_ns: Sequence[int]) -> list[float]:
    """p50, p99 and the slowest in milliseconds; zeros if there is none."""
    ordered = sorted(took_ns) or [0]
    return [_short(ordered[int(fraction * (len(ordered) - 1))] / 1e6) for fraction in (0.5, 0.99, 1)]
