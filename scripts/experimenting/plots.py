"""The plots of REPORT.md, each from the facts of a part into one PNG file, named after it.

Numbers of clients grow by factors, so their axis is logarithmic; rates are drawn from zero, except where curves that
lie factors apart are compared. Points are medians of the rounds, bars reach from the smallest to the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from scripts.experimenting.facts import Part, Point, Series
from scripts.experimenting.model import Model
from scripts.experimenting.plan import OPERATIONS
from scripts.measuring.drawing import COLORS, doubling, factors, line, make_axes, save, thousands


def _clients_axis(axis: Any, numbers: Sequence[int]) -> None:
    doubling(axis, [n for n in numbers if n & (n - 1) == 0 or n == max(numbers)], "clients, N")


def _thousands(axis: Any, label: str = "requests per second") -> None:
    thousands(axis)
    axis.set_ylabel(label)


def _rates(axis: Any, series: Series, number: int, label: str, **style: Any) -> None:
    """Medians with their spread. `number`: of colour and marker."""
    points = series.points
    ends = [(p.low, p.high) for p in points]
    line(axis, number, [p.clients for p in points], [p.rate for p in points], label, ends, **style)


def _line(axis: Any, series: Series, value: Callable[[Point], float], number: int, label: str, **style: Any) -> None:
    line(axis, number, [p.clients for p in series.points], [value(p) for p in series.points], label, **style)


def _numbers(part: Part) -> list[int]:
    return sorted({p.clients for by in part.values() for series in by.values() for p in series.points})


def clients(part: Part, models: Mapping[str, Model]) -> Any:
    """The sums of the four operations, what was to be expected, and what the causes' absence brings."""
    figure, axes = make_axes(2, 2, "What N clients get of one server, all together", (11, 8), sharex=True)
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        measured = part["always"][operation]
        _rates(axis, part["cheap clients"][operation], 2, "clients that cost little", linestyle=":", linewidth=1)
        _rates(axis, part["no sync"][operation], 1, "no syncs", linestyle=":", linewidth=1)
        _rates(axis, measured, 0, "measured (least to most of the rounds)")
        numbers = range(1, measured.last.clients + 1)
        axis.plot(numbers, models[operation].curve(measured.last.clients), color="black", label="predicted")
        if levelled := measured.levelled_at:
            axis.axvline(levelled, color="#999999", linewidth=0.8, linestyle="--", label="levels out")
        axis.set_title(operation)
        _clients_axis(axis, _numbers(part))
        _thousands(axis)
    for axis in axes[0]:
        axis.set_xlabel("")
    named = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def latency(part: Part) -> Any:
    """Median and p99 of the four operations."""
    figure, axes = make_axes(1, 2, "How long a request takes", (11, 4.2), sharex=True, sharey=True)
    for axis, (name, value) in zip(axes.flat, {"p50": lambda p: p.p50, "p99": lambda p: p.p99}.items(), strict=True):
        for number, operation in enumerate(OPERATIONS):
            _line(axis, part["always"][operation], value, number, operation)
        axis.set_title(name)
        _clients_axis(axis, [p.clients for p in part["always"]["insert"].points])
        factors(axis, "milliseconds")
        axis.legend()
    return figure


def one_sync(part: Part) -> Any:
    """Sums and latencies of inserts."""
    figure, axes = make_axes(1, 2, "Inserts: group commit, and one sync for each", (11, 4.2))
    for number, (name, by) in enumerate(part.items()):
        _rates(axes[0, 0], by["insert"], number, name)
        _line(axes[0, 1], by["insert"], lambda p: p.p50, number, f"{name}, p50")
        _line(axes[0, 1], by["insert"], lambda p: p.p99, number, f"{name}, p99", linestyle=":")
    _thousands(axes[0, 0], "inserts per second")
    factors(axes[0, 1], "milliseconds")
    for axis in axes.flat:
        _clients_axis(axis, _numbers(part))
        axis.legend()
    return figure


def compaction(rows: pl.DataFrame) -> Any:
    """Rates and latencies, tenth of a second by tenth of a second."""
    figure, axes = make_axes(3, 1, "A compaction in the middle", (11, 7), sharex=True)
    length = rows.filter(variant="during", round=1)["seconds"][0]
    for number, operation in enumerate(("SET", "GET")):
        course = rows.filter(variant="course", operation=operation).sort("at")
        for axis, column in zip(axes.flat, ("per_second", "p99_ms", "slowest_ms"), strict=True):
            axis.step(course["at"], course[column], where="post", color=COLORS[number], label=operation)
    for axis in axes.flat:
        axis.axvspan(0, length, color="#dddddd", alpha=0.6, linewidth=0, label="compaction")
    _thousands(axes[0, 0])
    axes[0, 0].legend(loc="lower left")
    factors(axes[1, 0], "p99, ms")
    factors(axes[2, 0], "slowest, ms")
    axes[2, 0].set_xlabel("seconds since BGREWRITEAOF")
    return figure


def _by_variant(part: Part, operations: Sequence[str], title: str) -> Any:
    """Rates of each operation, a line for each variant; factors apart."""
    figure, axes = make_axes(1, len(operations), title, (11, 4.2), sharey=True)
    for axis, operation in zip(axes.flat, operations, strict=True):
        for number, (name, by) in enumerate(part.items()):
            if operation in by:
                _rates(axis, by[operation], number, name)
        axis.set_title(operation)
        _clients_axis(axis, _numbers(part))
        factors(axis, "requests per second")
        axis.legend()
    return figure


def draw(known: Mapping[str, Any], models: Mapping[str, Model], directory: Path) -> Iterator[Path]:
    """Draw what there are facts for; gives the files."""
    perf = {"TestPerf": known["clients"]["always"]} if "clients" in known else {}
    drawings: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "clients": ("clients", lambda part: clients(part, models)),
        "latency": ("clients", latency),
        "one-sync": ("one-sync", one_sync),
        "cost": ("cost", lambda part: _by_variant(perf | part, OPERATIONS[:3], "The same server, asked at less cost")),
        "compaction": ("compaction_rows", compaction),
        "distance": ("distance", lambda part: _by_variant(part, OPERATIONS[:2], "Clients at a distance, one way")),
        "valkey": ("valkey", lambda part: _by_variant(part, ("SET", "GET"), "Beside Valkey")),
    }
    for name, (source, drawing) in drawings.items():
        if source in known:
            figure, path = drawing(known[source]), directory / f"{name}.png"
            save(figure, path)
            yield path
