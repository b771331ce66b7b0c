"""A compaction of a large table in the middle of a load, tenth of a second by tenth of a second.

The table is loaded and never compacted; then clients in a closed loop, half of them reading and half writing, go on for
some seconds before the compaction is asked for with BGREWRITEAOF, while it works, and after.
"""

from __future__ import annotations

import polars as pl

from kvstore.base.limits import MIB
from scripts.experimenting.places import Loopback
from scripts.experimenting.rows import CompactionRow, TenthRow, write_rows
from scripts.experimenting.runs import serving
from scripts.experimenting.setup import Setup
from scripts.measuring.bench import NEVER_COMPACT
from scripts.measuring.compaction import Compaction, under_load
from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import load_keys, strings

CLIENTS = 16
VALUE_BYTES = 100
TENTH_NS = 100_000_000
PHASES = ("before", "during", "after")

_ENDED = pl.col("began_ns") + pl.col("took_ns")
_QUANTILES = [(pl.col("took_ns").quantile(q, "lower") / 1e6).alias(f"q{q}") for q in (0.5, 0.99, 1)]


def run(setup: Setup) -> None:
    """Measure one compaction, and write the rows. Raises NoCompaction, WrongReply, DidNotStart."""
    keys = setup.effort.keys
    with serving(Loopback(), setup.directory, "--sync", "always", *NEVER_COMPACT) as server:
        print(f"loading {keys:,} keys", flush=True)
        load_keys(server.port, keys, VALUE_BYTES)
        halves = [Group(CLIENTS // 2, 1, strings(kind, keys, VALUE_BYTES, 100_000)) for kind in ("GET", "SET")]
        found = under_load(server, Generator(setup.directory, halves), *[setup.effort.lead_seconds] * 2)
    write_rows(setup.out, TenthRow, tenths(found.trace, found.watch.asked_ns))
    rows = phases(found, keys)
    write_rows(setup.out, CompactionRow, rows)
    for row in rows:
        took = f"p99 {row.p99_ms:.2f} ms, slowest {row.slowest_ms:.1f} ms"
        print(f"{row.phase} ({row.seconds:.1f} s), {row.operation}: {row.per_second:,.0f} a second, {took}", flush=True)


def tenths(trace: pl.DataFrame, zero_ns: int) -> list[TenthRow]:
    """The course of each operation; a request counts in the tenth in which its reply came. `zero_ns`: second 0."""
    rows = []
    timed = trace.with_columns(tenth=(_ENDED.cast(pl.Int64) - zero_ns).floordiv(TENTH_NS))
    for (operation,), found in timed.group_by("kind", maintain_order=True):
        by_tenth = {t: rest for t, *rest in found.group_by("tenth").agg(pl.len(), *_QUANTILES).iter_rows()}
        for tenth in range(min(by_tenth) + 1, max(by_tenth)):  # the first and the last are not whole
            count, *quantiles = by_tenth.get(tenth, [0, 0.0, 0.0, 0.0])
            rows.append(TenthRow(tenth / 10, str(operation), count, *map(_short, quantiles)))
    return rows


def phases(compaction: Compaction, keys: int) -> list[CompactionRow]:
    """Each operation before, during and after."""
    rows, watch, trace = [], compaction.watch, compaction.trace
    for phase, begin, end in zip(PHASES, compaction.busy, compaction.busy[1:], strict=False):
        elapsed, *used = (now - then for now, then in zip(end, begin, strict=True))
        grown = (watch.server_grown_bytes / MIB, watch.child_bytes / MIB) if phase == "during" else (0.0, 0.0)
        part = trace.filter(_ENDED.is_between(begin.at_ns, end.at_ns, closed="left"))
        for operation, count, *quantiles in (
            part.group_by("kind", maintain_order=True).agg(pl.len(), *_QUANTILES).iter_rows()
        ):
            about = (phase, operation, keys, CLIENTS, _short(elapsed / 1e9), count)
            figures = [count / elapsed * 1e9, *quantiles, *grown, *(ns / elapsed for ns in used)]
            rows.append(CompactionRow(*about, *map(_short, figures)))
    return rows


def _short(number: float) -> float:
    """Six significant digits."""
    return float(f"{number:.6g}")
