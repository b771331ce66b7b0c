"""Cost against size, one plot of all of it: a line that stays level costs the same however much there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.experimenting.drawing import factors, make_axes, save
from scripts.growing.report import Growth

PICTURE = "growth.png"
_COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00"]

#: The least factor between both ends of an axis: what stays level is to look so.
_LEAST_RANGE = 10

#: Panels: title, unit, and the lines by measure.
_PANELS: list[tuple[str, str, dict[str, str]]] = [
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
_CONNECTIONS: list[tuple[str, str, dict[str, str]]] = [
    ("16 clients beside idle connections", "milliseconds",
     {"beside.get_p50_ms": "GET p50", "beside.p99_ms": "p99", "beside.slowest_ms": "slowest"}),
    ("memory of an idle connection", "bytes", {"bytes_each": "connection"}),
]  # fmt: skip


def draw(growth: Growth, path: Path) -> bool:
    """All panels; those without data stay empty."""
    if not growth.sizes and not growth.connections:
        return False
    figure, axes = make_axes(3, 3, "Cost against size", (13, 11))
    panels = [(panel, growth.sizes, "keys") for panel in _PANELS]
    panels += [(panel, growth.connections, "idle connections") for panel in _CONNECTIONS]
    for axis, panel in zip(axes.flat, panels, strict=True):
        _draw_panel(axis, *panel)
    return save(figure, path)


def _draw_panel(axis: Any, panel: tuple[str, str, dict[str, str]], measured: dict[int, Any], what: str) -> None:
    title, unit, lines = panel
    for (measure, label), color in zip(lines.items(), _COLORS, strict=False):
        there = {number: measures[measure] for number, measures in measured.items() if measure in measures}
        axis.plot(list(there), list(there.values()), color=color, marker="o", markersize=4, label=label)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(what)
    axis.set_xscale("log")
    factors(axis, unit)
    low, high = axis.get_ylim()
    widen = max(1.5, (_LEAST_RANGE * low / high) ** 0.5)
    axis.set_ylim(low / widen, high * widen)
    axis.legend(fontsize=8)
