"""scripts/growth as a program: its cases, how much is measured, its tables, its plot of cost against size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benching.large import idle
from scripts.growing import table_size
from scripts.measuring.bench import KVSTORE, Bench, Case, Effort
from scripts.measuring.drawing import factors, line, make_axes, save
from scripts.measuring.metering import Measures
from scripts.measuring.program import Program
from scripts.measuring.record import Entry, Figure, Record, number
from scripts.measuring.results import Table

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CONNECTIONS = (100, 1_000, 5_000, 10_000)

#: Memory for each key that must be there, in bytes: the server's, its child's while it compacts, and the files' cache.
_NEEDED_BYTES = 1_000

#: Clients beside the idle ones, and more.
_OTHER_CLIENTS = 256

HOW = """Made by `scripts/growth`; all numbers are in [growth.json](growth.json). What is done at each size is told in
`scripts/growing/table_size.py`. Keys hold documents of some 100 bytes; numbers are medians where there is more than one
turn. With 1,000 keys what a server sets up at its first requests weighs more than they do. GET and SET of a large table
cost more because its keys and values are no longer in the processor's caches.
"""


def _size(keys: int) -> Case:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        return lambda: table_size.measure(bench, keys)

    weight = 2 + keys / 80_000
    return Case(f"keys-{keys}", "keys", f"{keys:,}", set_up, (KVSTORE,), 1, weight, keys * _NEEDED_BYTES)


def _connections(count: int) -> Case:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        return idle(bench, side, count, "--max-clients", str(count + _OTHER_CLIENTS))

    return Case(f"connections-{count}", "connections", f"{count:,}", set_up, (KVSTORE,), weight=2)


#: What belongs together, by a title: unit, and measures with what is said of them. A panel of the plot each; without a
#: unit it is only in the table.
_Parts = dict[str, tuple[str, dict[str, str]]]

_KEYS: _Parts = {
    "one request, 50 connections, -P 16": ("microseconds", {
        "get_us": "GET", "set_us": "SET", "get_server_us": "GET, processor", "set_server_us": "SET, processor"}),
    "a query on an index, one client": ("microseconds", {"query_us": "query"}),
    "memory of a key": ("bytes", {"bytes_each": "loaded", "recovered_bytes_each": "recovered"}),
    "start": ("seconds", {
        "log_seconds": "from the log", "checkpoint_seconds": "from a checkpoint", "empty_seconds": "empty server"}),
    "passes over the table": ("milliseconds", {
        "first_query_ms": "first query", "keys_ms": "KEYS", "full_scan_ms": "full SCAN", "first_scan_ms": "first SCAN",
        "slowest_scan_ms": "slowest SCAN", "scan_ms": "median SCAN"}),
    "compaction": ("seconds", {
        "first.compaction_seconds": "the first, of everything", "compaction_seconds": "of what was written since"}),
    "p99.9 of 16 clients": ("milliseconds", {
        "GET.p999_ms": "GET, compacting", "normal.GET.p999_ms": "GET", "first.GET.p999_ms": "GET, first compaction",
        "SET.p999_ms": "SET, compacting", "normal.SET.p999_ms": "SET", "first.SET.p999_ms": "SET, first compaction"}),
    "more": ("", {
        "get_p999_ms": "p99.9 of GET, 50 connections, -P 16", "set_p999_ms": "p99.9 of SET",
        "log_us_each": "start from the log, a key", "checkpoint_us_each": "start from a checkpoint, a key",
        "first.us_each": "first compaction, a key", "first.slowest_ms": "slowest request, first compaction",
        "slowest_ms": "slowest request, compacting", "normal.slowest_ms": "slowest request",
        "per_second": "requests of 16 clients, compacting", "normal.per_second": "requests of 16 clients",
        "first.child_bytes": "compacting child, first", "child_bytes": "compacting child"}),
}  # fmt: skip
_IDLE: _Parts = {
    "16 clients beside idle connections": ("milliseconds", {
        "GET.p50_ms": "GET p50", "without.GET.p50_ms": "GET p50 without", "p99_ms": "p99",
        "without.p99_ms": "p99 without", "slowest_ms": "slowest", "without.slowest_ms": "slowest without"}),
    "memory of an idle connection": ("bytes", {"bytes_each": "connection"}),
    "more": ("", {"per_second": "requests of 16 clients", "without.per_second": "requests without"}),
}  # fmt: skip
PARTS = {"keys": _KEYS, "connections": _IDLE}


def _of_group(record: Record, group: str) -> dict[str, Mapping[str, Figure]]:
    return {entry.title: entry.figures() for entry in record.entries.values() if entry.group == group}


def tables(record: Record) -> list[Table]:
    """Of what was measured, a column for each size. Not every size has every measure: see `table_size`."""
    found = []
    for group, parts in PARTS.items():
        if sizes := _of_group(record, group):
            rows = [
                [f"{part}: {label}", *(number(name, figures.get(name)) for figures in sizes.values())]
                for part, (_, measures) in parts.items()
                for name, label in measures.items()
            ]
            found.append(Table(f"Cost by the number of {group}", [group, *sizes], rows))
    return found


def headline(entry: Entry, peer: str) -> str:
    """The memory of each."""
    return number("bytes_each", entry.figures()["bytes_each"])


#: The least factor between both ends of an axis: what stays level is to look so.
_LEAST_RANGE = 10


def draw(record: Record, directory: Path) -> list[str]:
    """All panels; those without data stay empty."""
    figure, axes = make_axes(3, 3, "Cost against size", (13, 11))
    panels = [(group, title, part) for group, parts in PARTS.items() for title, part in parts.items() if part[0]]
    for axis, (group, title, (unit, measures)) in zip(axes.flat, panels, strict=True):
        sizes = {int(size.replace(",", "")): figures for size, figures in _of_group(record, group).items()}
        for i, (name, label) in enumerate(measures.items()):
            there = {size: figures[name].ours for size, figures in sizes.items() if name in figures}
            line(axis, i, list(there), list(there.values()), label)
        axis.set_title(title, fontsize=10)
        if sizes:
            _scale(axis, group, unit)
    save(figure, directory / "growth.png")
    return ["growth.png"]


def _scale(axis: Any, group: str, unit: str) -> None:
    axis.set_xlabel(group)
    axis.set_xscale("log")
    factors(axis, unit)
    low, high = axis.get_ylim()
    widen = max(1.5, (_LEAST_RANGE * low / high) ** 0.5)
    axis.set_ylim(low / widen, high * widen)
    axis.legend(fontsize=8)


GROWTH = Program(
    name="growth",
    cases=[*map(_size, SIZES), *map(_connections, CONNECTIONS)],
    full=Effort(rounds=3, seconds=0.7),
    quick=(Effort(rounds=1, seconds=0.1), ["keys-1000", "keys-10000", "connections-100"]),
    how=HOW,
    headline=headline,
    verdict=lambda record: [],
    tables=tables,
    draw=draw,
)
