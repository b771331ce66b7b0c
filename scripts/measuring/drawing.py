"""How plots are drawn: axes, lines, files. Which they are, and what is on them, is in each report.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; markers differ too, for those who print.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"]
MARKERS = ["o", "s", "^", "v", "D", "x"]

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


def line(
    axis: Any, number: int, x: Sequence[Any], y: Sequence[float], label: str,
    ends: Sequence[tuple[float, float]] | None = None, **style: Any,
) -> None:  # fmt: skip
    """The line of that number, in its colour. `ends`: of a bar at each point. `style`: matplotlib's."""
    look = {"color": COLORS[number], "marker": MARKERS[number], "markersize": 4, "linewidth": 1.4} | style
    bars = ends and [[value - low for value, (low, _) in zip(y, ends, strict=True)],
                     [high - value for value, (_, high) in zip(y, ends, strict=True)]]  # fmt: skip
    axis.errorbar(list(x), list(y), bars, capsize=2, label=label, **look)


def doubling(axis: Any, numbers: Sequence[int], label: str) -> None:
    """A logarithmic axis with a tick at each number, of which crowded ones stay without text."""
    shown = set(numbers) if len(numbers) <= 10 else {n for n in numbers if n & (n - 1) == 0 or n == max(numbers)}
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(numbers), [f"{n:,}" if n in shown else "" for n in sorted(numbers)])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(label)


def thousands(axis: Any) -> None:
    """Rates from zero, in thousands."""
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g} k"))


def factors(axis: Any, label: str) -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 in each power of ten."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(label)


def save(figure: Any, path: Path) -> None:
    """Write the file."""
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})  # without the version, equal data make equal files
    pyplot.close(figure)
