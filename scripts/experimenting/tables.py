"""The tables of REPORT.md, by name: from the raw data to markdown, nothing else.

A table of what was not measured is a line that says so, with the command that measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.experimenting import tables_server, tables_testperf
from scripts.experimenting.data import Data, best, levelled, limit
from scripts.experimenting.rows import SumRow
from scripts.experimenting.swarm import OPERATIONS
from scripts.experimenting.wording import count, ms
from scripts.experimenting.wording import table as outline


def machine(data: Data) -> str:
    """When and on what each part was measured."""
    rows = [
        [part, about["date"], f"`{about['command']}`", f"{about['took_seconds']} s", about["load before"],
         f"{about['sync_us']:.0f} µs", f"`{about['commit']}`" + (" (quick)" if about["quick"] else "")]
        for part, about in data.about.items()
    ]  # fmt: skip
    last: dict[str, str] = next(reversed(data.about.values()), {})
    lines = [f"- {what}: {last[what]}" for what in ("processor", "memory", "system", "file system", "versions") if last]
    columns = ["part", "date", "command", "took", "load before", "one fdatasync", "commit"]
    return "\n".join([*lines, "", outline("The runs", columns, rows, "")])


def warning(data: Data) -> str:
    """That the figures are worth nothing, if they are."""
    if data.is_quick():
        return "> **Some of these figures come from `--quick` on a busy machine. They are not to be believed.**\n"
    return ""


def all_sums(data: Data) -> str:
    """Every row of sums."""
    rows = [
        [row.generator, row.sync, str(row.group_limit or "-"), str(row.depth), f"{row.link} {row.delay_ms:g}",
         str(row.clients), row.operation, f"{row.window_seconds:.2f}", str(row.requests), f"{row.per_second:.0f}",
         ms(row.mean_ms), ms(row.p50_ms), ms(row.p99_ms), ms(row.slowest_ms)]
        for row in [*data.perf, *data.server, *data.distance]
    ]  # fmt: skip
    columns = ["generator", "sync", "group limit", "depth", "link, ms", "clients", "operation", "window s", "requests",
               "sum/s", "mean ms", "p50", "p99", "slowest"]  # fmt: skip
    return outline("Every sum", columns, rows, "testperf server two-hosts")


#: The curves of the report, for `limits`.
_CURVES: list[tuple[str, Callable[[Data, str], Sequence[SumRow]], Sequence[str]]] = [
    ("TestPerfs, `always`", lambda data, operation: data.perf_series("always", operation), OPERATIONS),
    ("TestPerfs, `no`", lambda data, operation: data.perf_series("no", operation), OPERATIONS),
    ("server, `always`", lambda data, operation: data.server_series("always", operation), OPERATIONS),
    ("server, `no`", lambda data, operation: data.server_series("no", operation), ("insert", "remove")),
    ("one sync per request", lambda data, operation: data.server_series("single", operation), ("insert", "remove")),
    ("16 at a time", lambda data, operation: data.server_series("deep", operation), OPERATIONS),
]


def limits(data: Data) -> str:
    """Where each curve of the report levels out, and why; the distances, which have few steps, at their largest sum."""
    curves = [(f"{o}, {name}", list(of(data, o))) for name, of, ops in _CURVES for o in ops]
    for link, delay_ms in data.distances():
        for operation in ("insert", "lookup"):
            found: list[SumRow] = list(data.distance_series(link, delay_ms, operation))
            curves.append((f"{operation}, {link}, {delay_ms:g} ms away", found))
    rows = []
    for name, series in curves:
        if top := best(series):
            rows.append([name, str(levelled(series) or "-"), count(top.per_second), str(top.clients), limit(top)])
    columns = ["curve", "levels out at", "largest sum/s", "at clients", "limited by"]
    return outline("Where each curve levels out, and what keeps it there", columns, rows, "")


TABLES: dict[str, Callable[[Data], str]] = {
    "warning": warning,
    "machine": machine,
    "testperf-sums-always": tables_testperf.perf_sums("always"),
    "testperf-sums-no": tables_testperf.perf_sums("no"),
    "testperf-each-always": tables_testperf.perf_each("always"),
    "testperf-each-no": tables_testperf.perf_each("no"),
    "testperf-levelling": tables_testperf.perf_levelling,
    "testperf-processors-always": tables_testperf.perf_processors("always"),
    "testperf-processors-no": tables_testperf.perf_processors("no"),
    "server-sums": tables_server.server_sums,
    "server-levelling": tables_server.server_levelling,
    "server-latency": tables_server.server_latency,
    "generators": tables_server.generators,
    "group-commit": tables_server.group_commit,
    "one-sync": tables_server.one_sync,
    "compaction": tables_server.compaction,
    "distance": tables_server.distance,
    "each-client": tables_testperf.each_client,
    "all-sums": all_sums,
    "limits": limits,
}
