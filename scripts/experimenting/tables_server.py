"""The tables of the server's own curves, of group commit, of a compaction and of two hosts."""

from __future__ import annotations

from collections.abc import Callable

from scripts.experimenting.data import (
    Data,
    at,
    best,
    committing_share,
    common_clients,
    levelled,
    limit,
    predicted_per_second,
    us_per_request,
)
from scripts.experimenting.rows import SumRow
from scripts.experimenting.swarm import OPERATIONS
from scripts.experimenting.wording import PROCESSORS, VARIANT_NAMES, by_clients, count, ms, percent, processors
from scripts.experimenting.wording import table as outline


def server_sums(data: Data) -> str:
    """The sums of the cheap generator."""
    rows, names = [], ["always", "no", "single", "deep"]
    clients = sorted({row.clients for row in data.server if row.generator == "swarm"})
    for number in clients:
        line = [str(number)]
        for operation in OPERATIONS:
            for name in names:
                if operation in ("lookup", "query") and name in ("no", "single"):
                    continue
                row = at(data.server_series(name, operation), number)
                line.append(count(row.per_second) if row else "-")
        rows.append(line)
    write = ["`always`", "`no`", "one sync", "16 at a time"]
    read = ["`always`", "16 at a time"]
    columns = ["clients", *(f"{o} {n}" for o in OPERATIONS for n in (read if o in ("lookup", "query") else write))]
    return outline("Requests per second, sums over all connections of one cheap generator", columns, rows, "server")


def server_levelling(data: Data) -> str:
    """Where the server's own curves level out, and what limits them."""
    rows = []
    for name in ("always", "no", "single", "deep"):
        for operation in OPERATIONS:
            found = data.server_series(name, operation)
            top = best(found)
            if top is None:
                continue
            rows.append(
                [f"{operation}, {VARIANT_NAMES[name]}", str(levelled(found) or "not yet"), str(top.clients),
                 count(top.per_second), *processors(top), percent(committing_share(top)),
                 f"{us_per_request(top.server_cpu, top):.1f}", limit(top)]
            )  # fmt: skip
    columns = ["", "levelled out at", "largest at", "sum/s", *PROCESSORS, "in commits", "server µs/req", "limited by"]
    return outline("The largest sum of each curve, and who was busy then", columns, rows, "server")


def server_latency(data: Data) -> str:
    """What latency does as connections grow."""
    cells: list[Callable[[SumRow], str]] = [lambda r: f"{ms(r.p50_ms)} / {ms(r.p99_ms)} / {ms(r.slowest_ms)}"]
    rows = by_clients([data.server_series("always", operation) for operation in OPERATIONS], cells)
    return outline("Latency with the cheap generator, `--sync always`: p50 / p99 / slowest, ms",
                  ["clients", *OPERATIONS], rows, "server")  # fmt: skip


def generators(data: Data) -> str:
    """The three generators beside each other."""
    rows = []
    for operation in OPERATIONS:
        perf, swarm, c = (data.perf_series("always", operation), data.server_series("always", operation),
                          data.server_series("redis-benchmark", operation))  # fmt: skip
        for clients in sorted({row.clients for row in [*perf, *c]} & {row.clients for row in swarm}):
            line = [operation, str(clients)]
            for found in (perf, swarm, c):
                row = at(found, clients)
                line += [count(row.per_second), f"{us_per_request(row.clients_cpu, row):.0f}"] if row else ["-", "-"]
            rows.append(line)
    columns = ["", "clients", "TestPerf/s", "client µs", "swarm/s", "client µs", "redis-benchmark/s", "client µs"]
    return outline("The same load from three generators, `--sync always`", columns, rows, "testperf server")


def group_commit(data: Data) -> str:
    """Group size and sync time, and whether their product is the throughput."""
    rows = []
    unsynced = data.server_series("no", "insert")
    for row in data.server_series("always", "insert"):
        if not row.commits:
            continue
        without = at(unsynced, row.clients)
        rows.append(
            [str(row.clients), count(row.commits_per_second), f"{row.requests_per_commit:.1f}",
             count(row.commits_per_second * row.requests_per_commit), count(row.per_second), f"{row.commit_us:.0f}",
             percent(committing_share(row)), f"{row.server_cpu:.2f}",
             count(predicted_per_second(row, without)) if without else "-"]
        )  # fmt: skip
    columns = ["clients", "commits/s", "inserts per commit", "their product", "measured inserts/s", "µs a commit",
               "in commits", "server", "g / (S + g c)"]  # fmt: skip
    return outline("Inserts under `--sync always`: commits and their sizes, from INFO", columns, rows, "server")


def one_sync(data: Data) -> str:
    """Group commit against one sync for each request."""
    rows = []
    for operation in ("insert", "remove"):
        grouped, single = data.server_series("always", operation), data.server_series("single", operation)
        for clients in common_clients(grouped, single):
            a, b = at(grouped, clients), at(single, clients)
            assert a is not None and b is not None
            rows.append(
                [operation, str(clients), count(a.per_second), count(b.per_second),
                 f"{a.per_second / b.per_second:.1f}", f"{a.requests_per_commit:.1f}", f"{a.commit_us:.0f}",
                 f"{b.commit_us:.0f}", ms(a.p99_ms), ms(b.p99_ms)]
            )  # fmt: skip
    columns = ["", "clients", "group commit/s", "one sync each/s", "ratio", "group", "µs a commit", "one sync: µs",
               "p99 ms", "one sync: p99 ms"]  # fmt: skip
    return outline("Group commit against one sync per request", columns, rows, "server")


def compaction(data: Data) -> str:
    """Before, during and after a compaction."""
    rows = [
        [f"{row.operation} {row.phase}", f"{row.seconds:.1f}", count(row.per_second), ms(row.p50_ms), ms(row.p99_ms),
         ms(row.slowest_ms), f"{row.server_cpu:.2f}", f"{row.child_cpu:.2f}", f"{row.generator_cpu:.2f}",
         f"+{row.server_growth_mib:.0f} / {row.child_peak_mib:.0f}" if row.phase == "during" else "-"]
        for row in data.compactions
    ]  # fmt: skip
    keys = data.compactions[0].keys if data.compactions else 0
    clients = data.compactions[0].clients if data.compactions else 0
    columns = ["", "seconds", "sum/s", "p50 ms", "p99 ms", "slowest ms", "server", "child", "generator",
               "MiB server / child"]  # fmt: skip
    return outline(f"A compaction of {keys:,} keys under {clients} clients", columns, rows, "compaction")


def distance(data: Data) -> str:
    """Sums and latency over each link."""
    rows = []
    for link, delay_ms in data.distances():
        found = [data.distance_series(link, delay_ms, operation) for operation in OPERATIONS]
        for line in by_clients(found, [lambda r: f"{count(r.per_second)} ({ms(r.p50_ms)} / {ms(r.p99_ms)})"]):
            row = at(found[0], int(line[0]))
            assert row is not None
            rows.append([f"{link}, {delay_ms:g} ms", ms(row.round_trip_ms), *line,
                         f"{row.requests_per_commit:.1f}", f"{row.link_cpu:.2f}", limit(row)])  # fmt: skip
    columns = [
        "link, one way",
        "PING ms",
        "clients",
        *OPERATIONS,
        "inserts per commit",
        "link's processor",
        "inserts limited by",
    ]
    return outline("Two hosts: requests per second (p50 / p99 ms), `--sync always`", columns, rows, "two-hosts")
