"""A compaction of a large table in the middle of a load, tenth of a second by tenth of a second.

The table is loaded and never compacted; then clients in a closed loop, half of them reading and half writing, go on for
some seconds before the compaction is asked for with BGREWRITEAOF, while it works, and after. How it is watched is told
in `scripts.measuring.compaction`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kvstore.base.limits import MIB
from scripts.experimenting.network import Place
from scripts.experimenting.plan import Effort, Run
from scripts.experimenting.running import directory_in, figures_of, scratch, serving
from scripts.experimenting.store import Row
from scripts.measuring.compaction import Compaction, under_load
from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import load_keys, strings
from scripts.measuring.metering import ENDED_NS

VALUE_BYTES = 100
TENTH_NS = 100_000_000


def measure(run: Run, effort: Effort, parent: Path) -> list[Row]:
    """The rows of one compaction: phases as variants, and for the first round its course. `parent`: see `running`.

    Raises NoCompaction, WrongReply, NoCompiler, StartFailed.
    """
    asked = [strings(kind, effort.keys, VALUE_BYTES, seed=run.round) for kind in ("GET", "SET")]
    groups = [Group(run.clients // 2, 1, requests) for requests in asked]
    with scratch() as files, directory_in(parent) as directory, serving(run, Place(), directory) as server:
        load_keys(server.port, effort.keys, VALUE_BYTES)
        found = under_load(server, Generator(files, groups), effort.lead_seconds, effort.lead_seconds)
    about = {"round": run.round, "clients": run.clients}
    return [about | row for row in [*_phases(found), *(_course(found) if run.round == 1 else [])]]


def _phases(found: Compaction) -> list[Row]:
    rows = []
    for phase, before, after in zip(("before", "during", "after"), found.busy, found.busy[1:], strict=False):
        seconds = (after.at_ns - before.at_ns) / 1e9
        used = {name: (getattr(after, name) - getattr(before, name)) / 1e9 / seconds
                for name in ("server", "child", "generator")}  # fmt: skip
        inside = found.trace.filter(ENDED_NS.is_between(before.at_ns, after.at_ns))
        for operation in ("GET", "SET"):
            row = figures_of(inside.filter(pl.col("kind") == operation), seconds)
            cpu = {"server_cpu": used["server"], "clients_cpu": used["generator"], "child_cpu": used["child"]}
            memory = {"server_grown_mib": found.watch.server_grown_bytes / MIB,
                      "child_mib": found.watch.child_bytes / MIB}  # fmt: skip
            rows.append({"variant": phase, "operation": operation, "at": 0.0} | row | cpu | memory)
    return rows


def _course(found: Compaction) -> list[Row]:
    """A row for each tenth and operation; a request counts in the tenth in which its reply came. `at`: seconds since
    the compaction was asked for.
    """
    tenth = (ENDED_NS.cast(pl.Int64) - found.watch.asked_ns).floordiv(TENTH_NS).alias("tenth")
    parts = found.trace.with_columns(tenth).partition_by("tenth", "kind", as_dict=True)
    times = sorted({time for time, _ in parts})[1:-1]  # the first and the last are not whole
    return [
        {"variant": "course", "operation": operation, "at": time / 10}
        | figures_of(part, TENTH_NS / 1e9)
        for (time, operation), part in sorted(parts.items()) if time in times
    ]  # fmt: skip
