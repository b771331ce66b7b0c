"""The tables of what N TestPerfs do."""

from __future__ import annotations

from collections.abc import Callable

from scripts.experimenting.data import (
    Data,
    at,
    best,
    levelled,
    limit,
    thinking_ms,
    us_per_request,
)
from scripts.experimenting.rows import SumRow
from scripts.experimenting.swarm import OPERATIONS
from scripts.experimenting.wording import PROCESSORS, SYNCS, by_clients, count, ms, processors
from scripts.experimenting.wording import table as outline


def perf_sums(sync: str) -> Callable[[Data], str]:
    """The sums of TestPerf."""

    def table(data: Data) -> str:
        columns = ["TestPerfs", *(f"{operation}/s" for operation in OPERATIONS), *(f"{o} p50" for o in OPERATIONS),
                   *(f"{o} p99" for o in OPERATIONS)]  # fmt: skip
        return outline(
            f"Sums of N TestPerfs, `--sync {sync}`; latencies in ms", columns,
            by_clients([data.perf_series(sync, operation) for operation in OPERATIONS],
                        [lambda r: count(r.per_second), lambda r: ms(r.p50_ms), lambda r: ms(r.p99_ms)]), "testperf",
        )  # fmt: skip

    return table


def perf_each(sync: str) -> Callable[[Data], str]:
    """What each TestPerf got."""

    def table(data: Data) -> str:
        def cell(row: SumRow) -> str:
            rates = data.client_rates(sync, row.clients, row.operation)
            return f"{count(row.per_second / row.clients)} ({count(rates[0])} to {count(rates[-1])})"

        rows = by_clients([data.perf_series(sync, operation) for operation in OPERATIONS], [cell])
        return outline(f"Requests per second of each TestPerf, `--sync {sync}`: mean (slowest to fastest client)",
                      ["TestPerfs", *OPERATIONS], rows, "testperf")  # fmt: skip

    return table


def perf_levelling(data: Data) -> str:
    """Where TestPerf's sums have levelled out."""
    rows = []
    for sync in SYNCS:
        for operation in OPERATIONS:
            found = data.perf_series(sync, operation)
            if not found:
                continue
            where, top, first = levelled(found), best(found), found[0]
            assert top is not None
            there = at(found, where) if where else None
            rows.append(
                [f"{operation}, `{sync}`", count(first.per_second), str(where or "not yet"),
                 count(there.per_second) if there else "-", f"{count(top.per_second)} (at {top.clients})",
                 f"{top.per_second / first.per_second:.1f}", limit(top)]
            )  # fmt: skip
    columns = ["", "one client", "levelled out at", "sum there", "largest sum", "times one client", "limited by"]
    return outline("Where the sums of TestPerf level out", columns, rows, "testperf")


def perf_processors(sync: str) -> Callable[[Data], str]:
    """Who used the processors while TestPerfs ran."""

    def table(data: Data) -> str:
        rows = []
        for operation in OPERATIONS:
            for row in data.perf_series(sync, operation):
                rows.append(
                    [operation, str(row.clients), count(row.per_second), *processors(row),
                     f"{us_per_request(row.clients_cpu, row):.0f}", f"{us_per_request(row.server_cpu, row):.0f}",
                     ms(row.mean_ms), ms(thinking_ms(row))]
                )  # fmt: skip
        columns = [
            "",
            "TestPerfs",
            "sum/s",
            *PROCESSORS,
            "client µs/req",
            "server µs/req",
            "latency ms",
            "thinking ms",
        ]
        return outline(
            f"Processors in use while N TestPerfs run, `--sync {sync}` (2.00 are there)", columns, rows, "testperf"
        )

    return table


def each_client(data: Data) -> str:
    """The raw throughputs of all TestPerfs."""
    rows = []
    for sync in SYNCS:
        for operation in OPERATIONS:
            for row in data.perf_series(sync, operation):
                rates = data.client_rates(sync, row.clients, operation)
                rows.append([f"{operation}, `{sync}`", str(row.clients), f"{row.window_seconds:.2f}",
                             " ".join(f"{rate:.0f}" for rate in rates)])  # fmt: skip
    columns = ["", "TestPerfs", "window s", "requests per second of each"]
    return outline("Every client of every run", columns, rows, "testperf")
