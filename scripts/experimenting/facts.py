"""What follows from the raw data: medians over the rounds with their spread, and where a series levels out.

`facts` gives all of it by name, for the template of REPORT.md and for the plots: `clients[always][insert].one.rate` is
the rate of inserts of one TestPerf, the median of its rounds. Nothing here rounds or words anything but `levels`.

A series **levels out** at the first number of clients that no larger one beats by 5 %, provided that two larger ones
were tried: one may fall short by itself. Medians count, so that one round that went wrong decides nothing. Rejected: to
stop at the first two steps that bring no gain. Two bad ones in the middle would hide what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from scripts.experimenting.plan import PARTS
from scripts.experimenting.store import Record

#: What brings less than this part more is no gain.
LEAST_GAIN = 0.05

#: Larger numbers of clients that must have been tried.
STEPS_BEYOND = 2


class Point(NamedTuple):
    """The rounds with one number of clients: medians, and of the rate also the smallest and the largest.

    `server_us`, `client_us`: processor time for a request. `group`: requests in a commit, which took `commit_us`.
    `slowest`, `stolen`: the largest.
    """

    clients: int
    rate: float
    low: float
    high: float
    mean: float
    p50: float
    p99: float
    slowest: float
    server_us: float
    client_us: float
    server_cpu: float
    clients_cpu: float
    link_cpu: float
    idle: float
    group: float
    commit_us: float
    stolen: float


def _per_request(column: str) -> pl.Expr:
    return (pl.col(column) / pl.col("per_second") * 1e6).median()


_GROUP = pl.when(pl.col("commits") > 0).then(pl.col("committed") / pl.col("commits")).otherwise(0.0)
_POINT = [
    pl.col("per_second").median().alias("rate"), pl.col("per_second").min().alias("low"),
    pl.col("per_second").max().alias("high"), pl.col("mean_ms").median().alias("mean"),
    pl.col("p50_ms").median().alias("p50"), pl.col("p99_ms").median().alias("p99"),
    pl.col("slowest_ms").max().alias("slowest"), _per_request("server_cpu").alias("server_us"),
    _per_request("clients_cpu").alias("client_us"), pl.col("server_cpu").median(), pl.col("clients_cpu").median(),
    pl.col("link_cpu").median(), pl.col("idle_cpu").median().alias("idle"), _GROUP.median().alias("group"),
    pl.col("commit_us").median(), pl.col("stolen_cpu").max().alias("stolen"),
]  # fmt: skip


class Series:
    """One operation of one variant, its clients growing. `at`: the point of a number of clients."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.at = {point.clients: point for point in points}

    @property
    def one(self) -> Point:
        """One client."""
        return self.at[1]

    @property
    def best(self) -> Point:
        """The largest median."""
        return max(self.points, key=lambda point: point.rate)

    @property
    def last(self) -> Point:
        """The most clients."""
        return self.points[-1]

    @property
    def levelled_at(self) -> int | None:
        """Where it levels out, or None if that is not to be seen yet."""
        return levelled_at([(point.clients, point.rate) for point in self.points])

    @property
    def levels(self) -> str:
        """The same as text: "N = 8", or "N > 32" if it has not with 32 clients."""
        return f"N = {self.levelled_at}" if self.levelled_at else f"N > {self.last.clients}"


Part = dict[str, dict[str, Series]]


def levelled_at(series: Sequence[tuple[int, float]]) -> int | None:
    """The number of clients at which a series of (clients, rate), the clients growing, levels out; None: not yet."""
    for i, (clients, rate) in enumerate(series[:-STEPS_BEYOND]):
        if all(later < rate * (1 + LEAST_GAIN) for _, later in series[i + 1 :]):
            return clients
    return None


def series_of(frame: pl.DataFrame) -> Part:
    """All series of a part, by variant and operation."""
    keys = ["variant", "operation", "clients"]
    missing = [
        name
        for name in ("commits", "committed", "commit_us", "link_cpu", "idle_cpu", "stolen_cpu")
        if name not in frame
    ]
    whole = frame.with_columns(pl.lit(0.0).alias(name) for name in missing)
    medians = whole.group_by(keys, maintain_order=True).agg(_POINT).sort("clients", maintain_order=True)
    part: Part = {}
    for (variant, operation), rows in medians.partition_by("variant", "operation", as_dict=True).items():
        points = [Point(**row) for row in rows.drop("variant", "operation").to_dicts()]
        part.setdefault(variant, {})[operation] = Series(points)
    return part


def facts(directory: Path) -> dict[str, Any]:
    """For each part that was measured, under its name, its series; under NAME_about its notes, NAME_rows all rows."""
    found: dict[str, Any] = {}
    for name in PARTS:
        record = Record(directory, name)
        if record.finished:
            found |= {name: series_of(record.frame()), f"{name}_about": record.about, f"{name}_rows": record.frame()}
    return found
