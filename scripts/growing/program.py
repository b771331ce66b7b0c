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
from scripts.measuring.record import Entry, Figure, Record
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


#: A column of a table: the measure, what is said of it, and how many places of which multiple of it.
_Column = tuple[str, str, int, float]


def _mib(measure: str) -> _Column:
    return (measure, "child MiB", 0, 2**-20)


#: Of each table its title, and the columns.
_KEYS_TABLES: dict[str, list[_Column]] = {
    "Cost of a request, 50 connections with -P 16; of a query, one client": [
        ("get_us", "GET µs", 2, 1),
        ("get_server_us", "of the server's processor", 2, 1),
        ("set_us", "SET µs", 2, 1),
        ("set_server_us", "of the server's", 2, 1),
        ("get_p999_ms", "GET p99.9 ms", 1, 1),
        ("set_p999_ms", "SET p99.9 ms", 1, 1),
        ("query_us", "query µs", 0, 1),
    ],
    "Memory of a key, loaded and recovered; starts, and what each key adds to that of an empty server": [
        ("bytes_each", "bytes, loaded", 0, 1),
        ("recovered_bytes_each", "recovered", 0, 1),
        ("empty_seconds", "empty s", 2, 1),
        ("log_seconds", "from the log s", 2, 1),
        ("log_us_each", "µs a key", 2, 1),
        ("checkpoint_seconds", "from a checkpoint s", 2, 1),
        ("checkpoint_us_each", "µs for a key", 2, 1),
    ],
    "What passes over the whole table": [
        ("first_query_ms", "first query ms", 0, 1),
        ("keys_ms", "KEYS ms", 0, 1),
        ("first_scan_ms", "first SCAN ms", 1, 1),
        ("slowest_scan_ms", "slowest SCAN ms", 1, 1),
        ("scan_ms", "median SCAN ms", 2, 1),
        ("full_scan_ms", "full SCAN ms", 0, 1),
    ],
    "The first compaction, of everything, from the log, and what 16 clients noticed": [
        ("first.compaction_seconds", "seconds", 2, 1),
        ("first.us_each", "µs a key", 2, 1),
        ("first.per_second", "requests/s", 0, 1),
        ("first.GET.p999_ms", "GET p99.9 ms", 1, 1),
        ("first.SET.p999_ms", "SET p99.9 ms", 1, 1),
        ("first.slowest_ms", "slowest ms", 1, 1),
        _mib("first.child_bytes"),
    ],
    "Compactions after it, of what those clients wrote meanwhile; in parentheses a stretch without one": [
        ("compaction_seconds", "seconds", 2, 1),
        ("per_second", "requests/s", 0, 1),
        ("normal.per_second", "(requests/s)", 0, 1),
        ("GET.p999_ms", "GET p99.9 ms", 1, 1),
        ("normal.GET.p999_ms", "(GET p99.9)", 1, 1),
        ("SET.p999_ms", "SET p99.9 ms", 1, 1),
        ("normal.SET.p999_ms", "(SET p99.9)", 1, 1),
        ("slowest_ms", "slowest ms", 1, 1),
        ("normal.slowest_ms", "(slowest)", 1, 1),
        _mib("child_bytes"),
    ],
}
_CONNECTIONS_TABLES: dict[str, list[_Column]] = {
    "Idle connections, and 16 clients beside them, half GET and half SET; in parentheses without them": [
        ("bytes_each", "KiB each", 1, 2**-10),
        ("per_second", "requests/s", 0, 1),
        ("without.per_second", "(requests/s)", 0, 1),
        ("GET.p50_ms", "GET p50 ms", 3, 1),
        ("without.GET.p50_ms", "(GET p50)", 3, 1),
        ("p99_ms", "p99 ms", 2, 1),
        ("without.p99_ms", "(p99)", 2, 1),
        ("slowest_ms", "slowest ms", 1, 1),
        ("without.slowest_ms", "(slowest)", 1, 1),
    ],
}


def tables(record: Record) -> list[Table]:
    """Of what was measured, a row for each size. Not every size has every measure: see `table_size`."""
    found = []
    for group, of_group in (("keys", _KEYS_TABLES), ("connections", _CONNECTIONS_TABLES)):
        entries = [entry for entry in record.entries.values() if entry.group == group]
        for title, columns in of_group.items() if entries else ():
            rows = [[entry.title, *_cells(entry.figures(), columns)] for entry in entries]
            found.append(Table(title, [group, *(label for _, label, _, _ in columns)], rows))
    return found


def _cells(figures: Mapping[str, Figure], columns: list[_Column]) -> list[str]:
    return [f"{figures[m].ours * scale:,.{places}f}" if m in figures else "-" for m, _, places, scale in columns]


def headline(entry: Entry, peer: str) -> str:
    """The memory of each."""
    return f"{entry.figures()['bytes_each'].ours:,.0f} bytes each"


# The plot

#: The least factor between both ends of an axis: what stays level is to look so.
_LEAST_RANGE = 10

#: Panels: title, unit, and the lines by measure.
_Panel = tuple[str, str, dict[str, str]]
_KEYS_PANELS: list[_Panel] = [
    ("one request, 50 connections, -P 16", "microseconds", {"get_us": "GET", "set_us": "SET"}),
    ("a query on an index, one client", "microseconds", {"query_us": "query"}),
    ("memory of a key", "bytes", {"bytes_each": "loaded", "recovered_bytes_each": "recovered"}),
    ("start", "seconds",
     {"log_seconds": "from the log", "checkpoint_seconds": "from a checkpoint", "empty_seconds": "empty server"}),
    ("passes over the table", "milliseconds",
     {"first_query_ms": "first query", "keys_ms": "KEYS", "full_scan_ms": "full SCAN",
      "slowest_scan_ms": "slowest SCAN"}),
    ("compaction", "seconds",
     {"first.compaction_seconds": "the first, of everything", "compaction_seconds": "of what was written since"}),
    ("p99.9 of 16 clients", "milliseconds",
     {"GET.p999_ms": "GET, compacting", "normal.GET.p999_ms": "GET", "SET.p999_ms": "SET, compacting",
      "normal.SET.p999_ms": "SET"}),
]  # fmt: skip
_CONNECTIONS_PANELS: list[_Panel] = [
    ("16 clients beside idle connections", "milliseconds",
     {"GET.p50_ms": "GET p50", "p99_ms": "p99", "slowest_ms": "slowest"}),
    ("memory of an idle connection", "bytes", {"bytes_each": "connection"}),
]  # fmt: skip


def draw(record: Record, directory: Path) -> list[str]:
    """All panels; those without data stay empty."""
    figure, axes = make_axes(3, 3, "Cost against size", (13, 11))
    panels = [(panel, "keys") for panel in _KEYS_PANELS] + [(panel, "connections") for panel in _CONNECTIONS_PANELS]
    for axis, (panel, group) in zip(axes.flat, panels, strict=True):
        found = {int(e.title.replace(",", "")): e.figures() for e in record.entries.values() if e.group == group}
        _draw_panel(axis, panel, found, group)
    save(figure, directory / "growth.png")
    return ["growth.png"]


def _draw_panel(axis: Any, panel: _Panel, found: Mapping[int, Mapping[str, Figure]], what: str) -> None:
    title, unit, lines = panel
    for i, (measure, label) in enumerate(lines.items()):
        there = {number: figures[measure].ours for number, figures in found.items() if measure in figures}
        line(axis, i, list(there), list(there.values()), label)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(what)
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
