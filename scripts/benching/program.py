"""scripts/bench as a program: its cases, a table for each group of them, the figures to reach, a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benching import beside, large, loops, probes, rates, targets, together
from scripts.measuring.bench import KVSTORE, VALKEY, Effort
from scripts.measuring.drawing import COLORS, make_axes, save
from scripts.measuring.program import Program
from scripts.measuring.record import Entry, Figure, Record, number
from scripts.measuring.results import Table, share

_LABELS = large.LABELS | beside.LABELS
GROUP_TITLES: dict[str, str] = {
    **probes.GROUP_TITLES,
    **rates.GROUP_TITLES,
    **loops.GROUP_TITLES,
    **together.GROUP_TITLES,
    **large.GROUP_TITLES,
}

#: Figures of one case, by measure; and of all, by case.
_Figures = Mapping[str, Figure]
_All = Mapping[str, _Figures]

HOW = """Made by `scripts/bench`; every round's numbers are in [bench.json](bench.json). How to read it, and what limits
each figure: [docs/PERFORMANCE.md](../docs/PERFORMANCE.md).

kvstore and Valkey, each on an empty directory on the same file system, take turns; who begins changes from round to
round. Numbers are medians of the rounds, "kvstore's / Valkey's"; "ratio" is the median of the rounds' ratios, kvstore's
number by Valkey's, and "rounds" is from the smallest of them to the largest. "Server" and "generator" are what each
used of a processor: what is near 100 % was measured.
"""


def verdict(record: Record) -> list[Table]:
    """The targets that were measured, if it is beside Valkey."""
    return targets.tables(record.figures()) if record.peer == VALKEY else []


def headline(entry: Entry, peer: str) -> str:
    """The first thing to know of each side."""
    figures = entry.figures()
    name = next(name for name in _LABELS.get(entry.title, ["per_second"]) if name in figures)
    numbers = [number(name, value) for value in figures[name][:2] if value is not None]
    return "  ".join(map(" ".join, zip(_names(entry, peer), numbers, strict=True)))


def tables(record: Record) -> list[Table]:
    """One for each group of which something was measured."""
    figures, found = record.figures(), []
    for group, title in GROUP_TITLES.items():
        if entries := {name: entry for name, entry in record.entries.items() if entry.group == group}:
            make = _other_table if group == "large" else _rate_table
            found.append(make(title.replace(VALKEY, record.peer), entries, figures, record.peer))
    return found


def _names(entry: Entry, peer: str) -> list[str]:
    return [side.replace(VALKEY, peer) for side in entry.turns]


def _ratio(figure: Figure) -> list[str]:
    """The median of the rounds' ratios, and their range."""
    if figure.ratio is None:
        return ["-", "-"]
    return [f"{figure.ratio:.2f}", f"{figure.least:.2f} to {figure.most:.2f}"]


def _other_table(title: str, entries: Mapping[str, Entry], figures: _All, peer: str) -> Table:
    rows = [
        [f"{entry.title}: {label}", *(number(measure, value) for value in figure[:2]), *_ratio(figure)]
        for name, entry in entries.items()
        for measure, label in _LABELS[name].items()
        if (figure := figures[name].get(measure))
    ]
    return Table(title, ["", KVSTORE, peer, "ratio", "rounds"], rows)


#: Measures of both sides in one column, and how they are written; by the column.
_Pairs = Mapping[str, tuple[str, Callable[[float], str]]]
_PAIRS: _Pairs = {
    "p50 ms": ("p50_ms", "{:.3f}".format),
    "p99 ms": ("p99_ms", "{:.2f}".format),
    "p99.9 ms": ("p999_ms", "{:.2f}".format),
    "slowest ms": ("slowest_ms", "{:.1f}".format),
    "server": ("server_share", share),
    "generator": ("generator_share", share),
    "µs/request": ("server_us", "{:.2f}".format),
    "requests a commit": ("requests_per_commit", "{:.1f}".format),
    "µs a commit": ("commit_us", "{:.0f}".format),
}


def _rate_table(title: str, entries: Mapping[str, Entry], figures: _All, peer: str) -> Table:
    """Rate and latency of all requests of a case, and below it of each kind."""
    sides = max((_names(entry, peer) for entry in entries.values()), key=len)
    measured = {measure for name in entries for measure in figures[name]}
    pairs = {label: pair for label, pair in _PAIRS.items() if pair[0] in measured}
    rows = []
    for name, entry in entries.items():
        kinds = [measure.removesuffix("per_second") for measure in figures[name] if measure.endswith(".per_second")]
        for kind in ["", *sorted(kinds)]:
            rows.append(_rate_row(f"- {kind[:-1]}" if kind else entry.title, figures[name], kind, len(sides), pairs))
    compared = ["ratio", "rounds"] if len(sides) == 2 else []
    return Table(title, ["", *(f"{side}/s" for side in sides), *compared, *pairs], rows)


def _rate_row(title: str, found: _Figures, kind: str, sides: int, pairs: _Pairs) -> list[str]:
    rate = found[f"{kind}per_second"]
    rates_ = ["-" if value is None else f"{value:,.0f}" for value in rate[:sides]]
    row = [title, *rates_, *(_ratio(rate) if sides == 2 else [])]
    for measure, written in pairs.values():
        values = found[kind + measure][:2] if kind + measure in found else ()
        row.append(" / ".join(written(value) for value in values if value is not None) or "-")
    return row


# The plot


def draw(record: Record, directory: Path) -> list[str]:
    """The ratio of every case, with the range of its rounds; times and memory beside rates. Returns the names of the
    plots that were drawn.
    """
    figures = record.figures()
    rated = [group for group in GROUP_TITLES if group not in ("large", *probes.GROUP_TITLES)]
    more = [(f"{e.title} ({e.group})", figures[n]["per_second"]) for n, e in record.entries.items() if e.group in rated]
    less = [
        (target.what.replace("`", ""), figures[target.case][target.measure])
        for target in targets.TARGETS
        if not target.is_rate and not target.is_own and target.measure in figures.get(target.case, {})
    ]
    panels = [("rate: more is better", more), ("time or memory: less is better", less)]
    panels = [(label, [row for row in rows if row[1].ratio is not None]) for label, rows in panels]
    panels = [(label, rows) for label, rows in panels if rows]
    if not panels:
        return []
    heights = [len(rows) for _, rows in panels]
    title = f"kvstore by {record.peer}: median of the rounds, and their range"
    size = (10, 2.5 + 0.2 * sum(heights))
    figure, axes = make_axes(len(panels), 1, title, size, height_ratios=heights)
    for axis, (label, rows) in zip(axes.flat, panels, strict=True):
        _draw_ranges(axis, label, rows)
    save(figure, directory / "bench.png")
    return ["bench.png"]


def _draw_ranges(axis: Any, label: str, rows: list[tuple[str, Figure]]) -> None:
    for i, (_, figure) in enumerate(rows):
        axis.plot([figure.least, figure.most], [-i, -i], color=COLORS[0], linewidth=1.2)
        axis.plot([figure.ratio], [-i], color=COLORS[0], marker="o", markersize=4)
    axis.axvline(1, color="#999999", linewidth=1)
    axis.set_yticks([-i for i in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axis.set_ylim(-len(rows) + 0.4, 0.6)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(label)


BENCH = Program(
    name="bench",
    cases=[*probes.cases(), *rates.cases(), *loops.cases(), *together.cases(), *large.cases(), *beside.cases()],
    full=Effort(rounds=5, seconds=0.6, keys=1_000_000, idle=5_000),
    quick=(Effort(rounds=2, seconds=0.15, keys=30_000, idle=1_000), []),
    how=HOW,
    headline=headline,
    verdict=verdict,
    tables=tables,
    draw=draw,
)
