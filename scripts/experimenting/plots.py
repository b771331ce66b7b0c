"""The plots of REPORT.md, by name: each is drawn from the raw data into one PNG file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MultipleLocator

from scripts.experimenting.data import Data, at, predicted_per_second
from scripts.experimenting.drawing import (
    DISTANCE_STYLES,
    OPERATION_STYLES,
    PERF_STYLE,
    VARIANT_STYLES,
    clients_axis,
    factors,
    legend_below,
    line,
    make_axes,
    numbers_of,
    save,
    thousands,
)
from scripts.experimenting.rows import SumRow
from scripts.experimenting.swarm import OPERATIONS
from scripts.experimenting.wording import SYNCS, VARIANT_NAMES


def testperf_throughput(data: Data, path: Path) -> bool:
    """Sum and per client, for both policies."""
    if not data.perf:
        return False
    figure, axes = make_axes(2, 2, "N TestPerfs at once: their sum, and what each of them gets", (10, 7.5))
    for column, sync in enumerate(SYNCS):
        total, each = axes[0, column], axes[1, column]
        for operation, (color, marker) in OPERATION_STYLES.items():
            rows = data.perf_series(sync, operation)
            line(total, rows, lambda r: r.per_second, color=color, marker=marker, label=operation)
            line(each, rows, lambda r: r.per_second / r.clients, color=color, marker=marker, label=operation)
            rates = [data.client_rates(sync, row.clients, operation) for row in rows]
            if rows and all(rates):
                each.fill_between(
                    numbers_of(rows), [r[0] for r in rates], [r[-1] for r in rates], color=color, alpha=0.2
                )
        _guide(each, data.perf_series(sync, "lookup"))
        total.set_title(f"sum, --sync {sync}")
        each.set_title(f"each client, --sync {sync} (band: slowest to fastest)")
        for axis in (total, each):
            clients_axis(axis, numbers_of(data.perf), "TestPerfs")
        thousands(total)
        total.set_ylabel("requests per second")
        factors(each, "requests per second of one")
    legend_below(figure, axes[1, 0], 5)
    _share_limits(axes[0])
    _share_limits(axes[1])
    return save(figure, path)


def _guide(axis: Any, rows: Sequence[SumRow]) -> None:
    """How each client's part would fall if the sum stood still."""
    if rows:
        last = rows[-1]
        numbers = [row.clients for row in rows]
        values = [last.per_second / n for n in numbers]
        axis.plot(numbers, values, color="#999999", linewidth=0.8, linestyle="--", label="1 / N")


def _share_limits(axes: Any) -> None:
    """The same scale on all, so that they can be compared."""
    limits = [axis.get_ylim() for axis in axes if axis.has_data()]
    for axis in axes:
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def testperf_latency(data: Data, path: Path) -> bool:
    """p50, p99 and the slowest against the number of TestPerfs."""
    if not data.perf:
        return False
    figure, axes = make_axes(2, 2, "Latency of N TestPerfs", (10, 7.5), sharex=True, sharey=True)
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        for sync in SYNCS:
            rows = data.perf_series(sync, operation)
            color = VARIANT_STYLES[sync][0]
            line(axis, rows, lambda r: r.p50_ms, color=color, marker="o", label=f"p50, --sync {sync}")
            line(axis, rows, lambda r: r.p99_ms, color=color, marker="^", linestyle="--", label=f"p99, --sync {sync}")
            line(
                axis,
                rows,
                lambda r: r.slowest_ms,
                color=color,
                marker="x",
                linestyle=":",
                label=f"slowest, --sync {sync}",
            )
        axis.set_title(operation)
        clients_axis(axis, numbers_of(data.perf), "TestPerfs")
        factors(axis, "milliseconds")
    legend_below(figure, axes[0, 0], 2)
    return save(figure, path)


def testperf_processors(data: Data, path: Path) -> bool:
    """Who used the two processors."""
    if not data.perf:
        return False
    figure, axes = make_axes(2, 4, "Who uses the processors while N TestPerfs run", (13, 6.5), sharex=True, sharey=True)
    kinds: dict[str, tuple[str, Callable[[Any], float]]] = {
        "the server": ("#0072B2", lambda r: r.server_cpu),
        "the TestPerfs": ("#E69F00", lambda r: r.clients_cpu),
        "others and the kernel": ("#bbbbbb", lambda r: r.other_cpu),
        "idle, waiting for the disk": ("#CC79A7", lambda r: r.disk_wait_cpu),
        "idle": ("#f2f2f2", lambda r: r.idle_cpu),
    }
    for i, sync in enumerate(SYNCS):
        for axis, operation in zip(axes[i], OPERATIONS, strict=True):
            rows = data.perf_series(sync, operation)
            if rows:
                parts = [[value(row) for row in rows] for _, value in kinds.values()]
                axis.stackplot(
                    numbers_of(rows), parts, colors=[color for color, _ in kinds.values()], labels=list(kinds)
                )
            axis.set_title(f"{operation}, --sync {sync}", fontsize=10)
            clients_axis(axis, numbers_of(data.perf), "TestPerfs")
            axis.set_xlim(1, max(numbers_of(data.perf)))
        axes[i, 0].set_ylabel("processors")
    axes[0, 0].set_ylim(0, 2)
    axes[0, 0].yaxis.set_major_locator(MultipleLocator(0.5))
    legend_below(figure, axes[0, 0], 5)
    return save(figure, path)


def server_throughput(data: Data, path: Path) -> bool:
    """The server's own curves, TestPerf's beside them."""
    if not data.server:
        return False
    figure, axes = make_axes(2, 2, "The server's own curve: N connections of a cheap generator", (10, 7.5), sharex=True)
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        for name, (color, marker) in VARIANT_STYLES.items():
            dashes = "" if name == "redis-benchmark" else "-"
            style = {"color": color, "marker": marker, "linestyle": dashes}
            line(axis, data.server_series(name, operation), lambda r: r.per_second, label=VARIANT_NAMES[name], **style)
        line(
            axis, data.perf_series("always", operation), lambda r: r.per_second, label="TestPerf, always", **PERF_STYLE
        )
        axis.set_title(operation)
        clients_axis(axis, numbers_of(data.server), "connections (or TestPerfs)")
        factors(axis, "requests per second")
    legend_below(figure, axes[0, 0], 3)
    return save(figure, path)


def server_latency(data: Data, path: Path) -> bool:
    """p50 and p99 against connections."""
    if not data.server:
        return False
    figure, axes = make_axes(1, 2, "Latency against connections, cheap generator", (10, 4.2), sharex=True, sharey=True)
    for axis, name in zip(axes.flat, ("always", "no"), strict=True):
        for operation, (color, marker) in OPERATION_STYLES.items():
            rows = data.server_series(name, operation)
            line(axis, rows, lambda r: r.p50_ms, color=color, marker=marker, label=f"{operation}, p50")
            line(axis, rows, lambda r: r.p99_ms, color=color, marker=marker, linestyle=":", label=f"{operation}, p99")
        axis.set_title(VARIANT_NAMES[name])
        clients_axis(axis, numbers_of(data.server), "connections")
        factors(axis, "milliseconds")
    legend_below(figure, axes[0, 0], 4)
    return save(figure, path)


def group_commit(data: Data, path: Path) -> bool:
    """Group size, time of a commit, and what they predict."""
    rows = [row for row in data.server_series("always", "insert") if row.commits]
    if not rows:
        return False
    figure, (axes,) = make_axes(1, 3, "Inserts under --sync always: why they level out where they do", (13, 4.2))
    size, took, product = axes
    numbers = numbers_of(rows)
    size.plot(numbers, numbers, color="#999999", linestyle="--", linewidth=0.8, label="all clients in every commit")
    line(size, rows, lambda r: r.requests_per_commit, color="#0072B2", marker="o", label="measured")
    factors(size, "inserts per commit")
    size.set_title("group size")
    line(took, rows, lambda r: r.commit_us, color="#0072B2", marker="o", label="group commit")
    single = [row for row in data.server_series("single", "insert") if row.commits]
    line(took, single, lambda r: r.commit_us, color="#D55E00", marker="v", label="one sync per request")
    if "server" in data.about:
        took.axhline(
            data.about["server"]["sync_us"], color="#999999", linestyle="--", linewidth=0.8, label="bare fdatasync"
        )
    took.set_ylim(bottom=0)
    took.set_ylabel("microseconds")
    took.set_title("time of one commit: write and sync")
    line(product, rows, lambda r: r.per_second, color="#0072B2", marker="o", label="measured")
    line(product, rows, lambda r: r.commits_per_second * r.requests_per_commit, color="#000000", marker="+",
          linestyle="", label="commits/s x group size")  # fmt: skip
    unsynced = data.server_series("no", "insert")
    pairs = [(row, at(unsynced, row.clients)) for row in rows]
    known = [(row, without) for row, without in pairs if without is not None]
    product.plot([row.clients for row, _ in known], [predicted_per_second(*pair) for pair in known], color="#009E73",
                 linestyle="--", label="g / (S + g c)")  # fmt: skip
    thousands(product)
    product.set_ylabel("inserts per second")
    product.set_title("throughput")
    for axis in axes:
        clients_axis(axis, numbers, "connections")
        axis.legend(fontsize=8)
    return save(figure, path)


def one_sync(data: Data, path: Path) -> bool:
    """Group commit against one sync per request."""
    grouped, single = data.server_series("always", "insert"), data.server_series("single", "insert")
    if not grouped or not single:
        return False
    figure, (axes,) = make_axes(1, 2, "Inserts: group commit against one sync per request", (10, 4.2))
    for name, rows in (("always", grouped), ("single", single)):
        color, marker = VARIANT_STYLES[name]
        label = "group commit" if name == "always" else VARIANT_NAMES[name]
        line(axes[0], rows, lambda r: r.per_second, color=color, marker=marker, label=label)
        line(axes[1], rows, lambda r: r.p50_ms, color=color, marker=marker, label=f"{label}, p50")
        line(axes[1], rows, lambda r: r.p99_ms, color=color, marker=marker, linestyle=":", label=f"{label}, p99")
    thousands(axes[0])
    axes[0].set_ylabel("inserts per second, sum")
    factors(axes[1], "milliseconds")
    for axis in axes:
        clients_axis(axis, numbers_of(grouped), "connections")
        axis.legend(fontsize=8)
    return save(figure, path)


def compaction(data: Data, path: Path) -> bool:
    """Throughput and latency, tenth of a second by tenth of a second."""
    if not data.tenths or not data.compactions:
        return False
    during = next(row for row in data.compactions if row.phase == "during")
    figure, axes = make_axes(
        3, 1, f"A compaction of {during.keys:,} keys under {during.clients} clients", (10, 8), sharex=True
    )
    colors = {"GET": "#E69F00", "SET": "#0072B2"}
    for operation, color in colors.items():
        rows = [row for row in data.tenths if row.operation == operation]
        seconds = [row.seconds for row in rows]
        axes[0, 0].step(seconds, [row.requests * 10 for row in rows], where="post", color=color, label=operation)
        for axis, value in ((axes[1, 0], "p99_ms"), (axes[2, 0], "slowest_ms")):
            axis.step(
                seconds, [getattr(row, value) or None for row in rows], where="post", color=color, label=operation
            )
    for axis in axes.flat:
        axis.axvspan(0, during.seconds, color="#dddddd", alpha=0.6, linewidth=0, label="compaction")
    thousands(axes[0, 0])
    axes[0, 0].set_ylabel("requests per second")
    axes[0, 0].legend(loc="lower left")
    factors(axes[1, 0], "p99 of each tenth, ms")
    factors(axes[2, 0], "slowest of each tenth, ms")
    axes[2, 0].set_xlabel("seconds since BGREWRITEAOF")
    return save(figure, path)


def distance(data: Data, path: Path) -> bool:
    """Sums and latency of inserts and lookups over each link."""
    if not data.distance:
        return False
    figure, axes = make_axes(
        2, 2, "Two hosts: what distance changes (--sync always)", (10, 7.5), sharex=True, sharey="row"
    )
    for column, operation in enumerate(("insert", "lookup")):
        for (link, delay_ms), (color, marker) in zip(data.distances(), DISTANCE_STYLES, strict=False):
            rows = data.distance_series(link, delay_ms, operation)
            label = f"{link}, {delay_ms:g} ms each way"
            line(axes[0, column], rows, lambda r: r.per_second, color=color, marker=marker, label=label)
            line(axes[1, column], rows, lambda r: r.p50_ms, color=color, marker=marker, label=f"p50, {label}")
            line(axes[1, column], rows, lambda r: r.p99_ms, color=color, marker=marker, linestyle=":")
        axes[0, column].set_title(f"{operation}: sum")
        axes[1, column].set_title(f"{operation}: latency (dotted: p99)")
        factors(axes[0, column], "requests per second")
        factors(axes[1, column], "milliseconds")
        for axis in axes[:, column]:
            clients_axis(axis, numbers_of(data.distance), "connections")
    legend_below(figure, axes[0, 0], 4)
    return save(figure, path)


PLOTS: dict[str, Callable[[Data, Path], bool]] = {
    "testperf-throughput": testperf_throughput,
    "testperf-latency": testperf_latency,
    "testperf-processors": testperf_processors,
    "server-throughput": server_throughput,
    "server-latency": server_latency,
    "group-commit": group_commit,
    "one-sync": one_sync,
    "compaction": compaction,
    "two-hosts": distance,
}
