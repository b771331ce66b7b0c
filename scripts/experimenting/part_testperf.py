"""N instances of scripts/TestPerf.py at once, N growing until the sums of all four operations have levelled out."""

from __future__ import annotations

from scripts.experimenting.levelling import levelled_at, steps
from scripts.experimenting.places import Loopback
from scripts.experimenting.rows import ClientRow, PerfRow, write_rows
from scripts.experimenting.runs import Load, Run
from scripts.experimenting.setup import Setup, say
from scripts.experimenting.swarm import OPERATIONS

SYNCS = ("always", "no")


def run(setup: Setup) -> None:
    """Measure both policies, and write the rows as they come."""
    sums: list[PerfRow] = []
    clients: list[ClientRow] = []
    for sync in SYNCS:
        series: dict[str, list[tuple[int, float]]] = {operation: [] for operation in OPERATIONS}
        for count in steps(setup.effort.most_perf):
            a_run = Run(setup.next_number(), Load("TestPerf", count, sync), Loopback(), setup.effort.perf_pace)
            rows = a_run.measure(PerfRow, setup.directory)
            say(rows)
            sums += rows
            clients += a_run.client_rows
            write_rows(setup.out, PerfRow, sums)
            write_rows(setup.out, ClientRow, clients)
            for row in rows:
                series[row.operation].append((count, row.per_second))
            if all(map(levelled_at, series.values())):
                break
