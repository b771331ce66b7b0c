"""The plots of the bench: ratios of all cases, rates against connections and sizes, and tails of latency.

What was not measured is left out; a plot of nothing is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benching import loops, rates, slow_disk
from scripts.benching.case import KVSTORE, SIDES, VALKEY, Measures, ratios
from scripts.benching.record import Entry, Record
from scripts.benching.targets import TARGETS
from scripts.experimenting.drawing import clients_axis, factors, legend_below, make_axes, save, thousands
from scripts.measuring.results import median

STYLES = {KVSTORE: ("#0072B2", "o"), VALKEY: ("#D55E00", "s")}

_RATE_GROUPS = [*rates.GROUP_TITLES, *loops.GROUP_TITLES, *slow_disk.GROUP_TITLES]
_PERCENTILES = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9", "slowest_ms": "slowest"}


def _middle(turns: list[Measures], name: str) -> float:
    return median(turn[name] for turn in turns)


# Ratios


def draw_ratios(record: Record, path: Path) -> bool:
    """The ratio of every case, with the range of its rounds; times and memory beside rates."""
    by_group = {group: [e for e in record.entries.values() if e.group == group] for group in _RATE_GROUPS}
    entries = [entry for group in by_group.values() for entry in group if VALKEY in entry.turns]
    faster = [(f"{e.title} ({e.group})", ratios(e.turns, "per_second")) for e in entries]
    lower = [
        (target.what.replace("`", ""), ratios(record.entries[target.case].turns, target.measure))
        for target in TARGETS
        if not target.more_is_better and target.case in record.entries
    ]
    if not faster and not lower:
        return False
    heights = [max(1, len(faster)), max(1, len(lower))]
    figure, axes = make_axes(
        2, 1, f"kvstore by {record.peer}: median of the rounds, and their range", (10, 2.5 + 0.2 * sum(heights)),
        height_ratios=heights,
    )  # fmt: skip
    _draw_ranges(axes[0, 0], faster, "rate: more is better")
    _draw_ranges(axes[1, 0], lower, "time or memory: less is better")
    return save(figure, path)


def _draw_ranges(axis: Any, rows: list[tuple[str, list[float]]], label: str) -> None:
    for i, (_, values) in enumerate(rows):
        axis.plot([min(values), max(values)], [-i, -i], color="#0072B2", linewidth=1.2)
        axis.plot([median(values)], [-i], color="#0072B2", marker="o", markersize=4)
    axis.axvline(1, color="#999999", linewidth=1)
    axis.set_yticks([-i for i in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axis.set_ylim(-len(rows) + 0.4, 0.6)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(label)


# Rates


def draw_rates(record: Record, path: Path) -> bool:
    """Rates against connections, for each command, and against the size of the value."""
    tests = {"set": "SET", "get": "GET", "mset": "MSET of 10", "incr": "INCR"}
    curves: list[tuple[str, dict[int, Entry], str]] = [
        (title, _entries(record, {n: f"{test}-{n}" for n in rates.CLIENTS}), "connections")
        for test, title in tests.items()
    ]
    curves += [
        (f"{tests[test]}, 50 connections", _entries(record, {n: f"{test}-{n}b" for n in rates.SIZES}), "bytes")
        for test in ("set", "get")
    ]
    if not any(entries for _, entries, _ in curves):
        return False
    figure, axes = make_axes(2, 3, "Requests a second, every write synced before its reply", (12, 7))
    for axis, (title, entries, label) in zip(axes.flat, curves, strict=True):
        for side, (color, marker) in STYLES.items():
            values = [_middle(entry.turns[side], "per_second") for entry in entries.values()]
            axis.plot(
                list(entries), values, color=color, marker=marker, markersize=4, label=side.replace(VALKEY, record.peer)
            )
        axis.set_title(title)
        if label == "bytes":
            axis.set_xscale("log")
            axis.set_xlabel("bytes of a value")
        else:
            clients_axis(axis, list(entries), label)
        thousands(axis)
    legend_below(figure, axes[0, 0], 2)
    return save(figure, path)


def _entries(record: Record, names: Mapping[int, str]) -> dict[int, Entry]:
    return {number: record.entries[name] for number, name in names.items() if name in record.entries}


# Latency

#: Which tails are drawn: name of the case, and of the kind of request if it has several.
_TAILS = [
    ("set-50", ""),
    ("get-50", ""),
    ("set-50-p16", ""),
    ("gets-beside-16-writers", "GET."),
    ("slow-disk-gets-beside-5-writers", "GET."),
    ("slow-disk-set-50", ""),
]


def draw_tails(record: Record, path: Path) -> bool:
    """p50 to the slowest, of some cases."""
    tails = [(record.entries[name], prefix) for name, prefix in _TAILS if name in record.entries]
    if not tails:
        return False
    figure, axes = make_axes(2, 3, "Latency: medians of the rounds", (12, 7), sharey=True)
    for axis, (entry, prefix) in zip(axes.flat, tails, strict=False):
        for side in SIDES:
            color, marker = STYLES[side]
            values = [_middle(entry.turns[side], prefix + name) for name in _PERCENTILES]
            axis.plot(
                list(_PERCENTILES.values()),
                values,
                color=color,
                marker=marker,
                markersize=4,
                label=side.replace(VALKEY, record.peer),
            )
        axis.set_title(entry.title + (", 5 ms syncs" if entry.group == slow_disk.SLOW_DISK else "")
                       + (f": {prefix[:-1]}" if prefix else ""), fontsize=10)  # fmt: skip
    for axis in axes[:, 0]:
        factors(axis, "milliseconds")
    legend_below(figure, axes[0, 0], 2)
    return save(figure, path)


PLOTS: dict[str, Callable[[Record, Path], bool]] = {
    "bench.png": draw_ratios,
    "bench-rates.png": draw_rates,
    "bench-latency.png": draw_tails,
}


def draw(record: Record, directory: Path) -> list[str]:
    """All plots of what was measured. Returns the names of those that were drawn."""
    return [name for name, plot in PLOTS.items() if plot(record, directory / name)]
