"""How plots are drawn: axes, colours, lines, files. Which they are, and what is on them, is in `plots`.

Numbers of clients grow by factors, so their axis is logarithmic; throughputs are drawn from zero, except where curves
that lie factors apart are compared. Operations and variants keep their colours throughout (Okabe and Ito's, which
colour-blind readers can tell apart), and their markers, for those who print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from scripts.experimenting.rows import SumRow

OPERATION_STYLES = {
    "insert": ("#0072B2", "o"),
    "lookup": ("#E69F00", "s"),
    "query": ("#009E73", "^"),
    "remove": ("#CC79A7", "D"),
}
VARIANT_STYLES = {
    "always": ("#0072B2", "o"),
    "no": ("#E69F00", "s"),
    "single": ("#D55E00", "v"),
    "deep": ("#009E73", "^"),
    "redis-benchmark": ("#000000", "x"),
}
DISTANCE_STYLES = [("#0072B2", "o"), ("#56B4E9", "s"), ("#E69F00", "^"), ("#D55E00", "D"), ("#CC79A7", "v")]
SYNC_LINES = {"always": "-", "no": "--"}
PERF_STYLE = {"color": "#777777", "marker": ".", "linestyle": ":"}

_DPI = 110
_GRID = {"color": "#dddddd", "linewidth": 0.7}


def make_axes(rows: int, columns: int, title: str, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure and its axes, always in two dimensions. `title`: over all. `size`: in inches. `options`: of subplots."""
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    for axis in axes.flat:
        axis.grid(True, **_GRID)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def clients_axis(axis: Any, numbers: Sequence[int], label: str = "clients") -> None:
    """A logarithmic axis with a tick at each number that was tried, of which the crowded ones stay without text."""
    if not numbers:
        return
    shown = set(numbers) if len(numbers) <= 10 else {n for n in numbers if n & (n - 1) == 0 or n == max(numbers)}
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(numbers), [str(n) if n in shown else "" for n in sorted(numbers)])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(label)


def thousands(axis: Any) -> None:
    """Throughput from zero, in thousands."""
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g} k"))


def factors(axis: Any, label: str) -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 in each power of ten."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(label)


def line(axis: Any, rows: Sequence[SumRow], value: Callable[[SumRow], float], **style: Any) -> None:
    """Draw one value of a series against its clients."""
    if rows:
        axis.plot([row.clients for row in rows], [value(row) for row in rows], markersize=4, linewidth=1.5, **style)


def legend_below(figure: Any, axis: Any, columns: int) -> None:
    """One legend for all, where it covers nothing."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)


def save(figure: Any, path: Path) -> bool:
    """Write the file; returns True: it was drawn."""
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})  # without the version, equal data make equal files
    pyplot.close(figure)
    return True


def numbers_of(rows: Sequence[SumRow]) -> list[int]:
    """The numbers of clients that were tried."""
    return sorted({row.clients for row in rows})
