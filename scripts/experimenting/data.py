"""All raw data of a report, read once, and the selections that tables, plots and figures in the text share.

Nothing here rounds or words anything. `about`: for each part that was measured, when, with which command, on what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scripts.experimenting.levelling import levelled_at
from scripts.experimenting.rows import (
    ClientRow,
    CompactionRow,
    DistanceRow,
    MalformedData,
    PerfRow,
    ServerRow,
    SumRow,
    TenthRow,
    read_rows,
)
from scripts.experimenting.setup import ABOUT_NAME

Sum = TypeVar("Sum", bound=SumRow)

#: The variants of part_server by name: (generator, sync, group_limit, depth is over 1).
VARIANTS = {
    "always": ("swarm", "always", 0, False),
    "no": ("swarm", "no", 0, False),
    "single": ("swarm", "always", 1, False),
    "deep": ("swarm", "always", 0, True),
    "redis-benchmark": ("redis-benchmark", "always", 0, False),
}


#: A processor of which this part is used is full; so are both, when less than that is left of them.
FULL_PROCESSOR = 0.85
FULL_MACHINE_IDLE = 0.2


@dataclass(frozen=True)
class Data:
    """What the CSV files hold."""

    about: dict[str, Any]
    perf: list[PerfRow]
    clients: list[ClientRow]
    server: list[ServerRow]
    distance: list[DistanceRow]
    tenths: list[TenthRow]
    compactions: list[CompactionRow]

    @classmethod
    def read(cls, directory: Path) -> Data:
        """Read what is there; parts that were not measured are empty. Raises MalformedData."""
        path = directory / ABOUT_NAME
        try:
            about = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise MalformedData(f"{path}: {error}") from error
        return cls(
            about, read_rows(directory, PerfRow), read_rows(directory, ClientRow), read_rows(directory, ServerRow),
            read_rows(directory, DistanceRow), read_rows(directory, TenthRow), read_rows(directory, CompactionRow),
        )  # fmt: skip

    def perf_series(self, sync: str, operation: str) -> list[PerfRow]:
        """The sums of TestPerf, clients growing."""
        return series(row for row in self.perf if (row.sync, row.operation) == (sync, operation))

    def server_series(self, variant: str, operation: str) -> list[ServerRow]:
        """The sums of one of VARIANTS, clients growing."""
        wanted = VARIANTS[variant]
        return series(
            row for row in self.server
            if (row.generator, row.sync, row.group_limit, row.depth > 1) == wanted and row.operation == operation
        )  # fmt: skip

    def distances(self) -> list[tuple[str, float]]:
        """(link, delay one way in ms), in the order in which they were measured."""
        return list(dict.fromkeys((row.link, row.delay_ms) for row in self.distance))

    def distance_series(self, link: str, delay_ms: float, operation: str) -> list[DistanceRow]:
        """The sums over one link, clients growing."""
        return series(
            row for row in self.distance
            if (row.link, row.delay_ms, row.operation) == (link, delay_ms, operation)
        )  # fmt: skip

    def client_rates(self, sync: str, clients: int, operation: str) -> list[float]:
        """Requests per second of each TestPerf of a run, the slowest first."""
        return sorted(
            row.per_second for row in self.clients
            if (row.sync, row.clients, row.operation) == (sync, clients, operation)
        )  # fmt: skip

    def phase(self, phase: str, operation: str) -> CompactionRow | None:
        """One row of the compaction."""
        return next((r for r in self.compactions if (r.phase, r.operation) == (phase, operation)), None)

    def is_quick(self) -> bool:
        """Whether any of it comes from --quick."""
        return any(about["quick"] for about in self.about.values())


def series(rows: Iterable[Sum]) -> list[Sum]:
    """Rows in the order of their clients."""
    return sorted(rows, key=lambda row: row.clients)


def at(rows: Sequence[Sum], clients: int) -> Sum | None:
    """The row of so many clients, if there is one."""
    return next((row for row in rows if row.clients == clients), None)


def best(rows: Sequence[Sum]) -> Sum | None:
    """The row with the largest sum."""
    return max(rows, key=lambda row: row.per_second, default=None)


def levelled(rows: Sequence[SumRow]) -> int | None:
    """Where a series has levelled out, by the rule of `levelling`."""
    return levelled_at([(row.clients, row.per_second) for row in rows])


def common_clients(*series_: Sequence[SumRow]) -> list[int]:
    """The numbers of clients that all series have."""
    sets = [{row.clients for row in rows} for rows in series_]
    return sorted(set.intersection(*sets)) if sets else []


# What follows from a row


def us_per_request(cpu: float, row: SumRow) -> float:
    """Processor time for each request, in microseconds, of what used `cpu` processors."""
    return cpu / row.per_second * 1e6 if row.per_second else 0.0


def committing_share(row: SumRow) -> float:
    """The part of the time in which a commit was being written and synced."""
    return row.commits_per_second * row.commit_us / 1e6


def thinking_ms(row: SumRow) -> float:
    """What passes on a client between a reply and its next request, from Little's law: clients / sum - latency."""
    return row.clients * row.depth / row.per_second * 1e3 - row.mean_ms if row.per_second else 0.0


def predicted_per_second(synced: SumRow, unsynced: SumRow) -> float:
    """Writes per second that a loop can do which works through a group, writes and syncs it, and begins again.

    g / (S + g c): the group g and the time S of a commit from the synced run; the processor time c of one request from
    the run without syncs.
    """
    group = synced.requests_per_commit
    seconds = synced.commit_us / 1e6 + group * unsynced.server_cpu / unsynced.per_second
    return group / seconds if group else 0.0


def limit(row: SumRow) -> str:
    """What keeps a sum from being larger: the first of these rules that is true, in the words of the report."""
    idle, in_commits = row.idle_cpu + row.disk_wait_cpu, committing_share(row)
    if idle < FULL_MACHINE_IDLE:
        return "both processors"
    if row.server_cpu >= FULL_PROCESSOR:
        return "the server's processor"
    if row.server_cpu + in_commits >= FULL_PROCESSOR:
        return "the disk" if in_commits >= row.server_cpu else "the server's processor, and the disk"
    if row.clients_cpu >= FULL_PROCESSOR and row.generator == "swarm":
        return "the generator's processor"
    return "distance" if row.delay_ms else "too few clients"
