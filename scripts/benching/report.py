"""The bench as text and plots: a table for each group of cases, the figures to reach, what a request costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benching import large, loops, probes, rates, targets
from scripts.measuring.bench import KVSTORE, VALKEY
from scripts.measuring.drawing import COLORS, doubling, factors, line, make_axes, save, thousands
from scripts.measuring.record import Entry, Figure, Record
from scripts.measuring.results import Table, share

GROUP_TITLES: dict[str, str] = {
    **probes.GROUP_TITLES,
    **rates.GROUP_TITLES,
    **loops.GROUP_TITLES,
    **large.GROUP_TITLES,
}

#: Figures of one case, by measure; and of all, by case.
_Figures = Mapping[str, Figure]
_All = Mapping[str, _Figures]

HOW = """Made by `scripts/bench`; every round's numbers are in [bench.json](bench.json). How to read it, and what limits
each figure: [docs/PERFORMANCE.md](../docs/PERFORMANCE.md).

kvstore and Valkey, each on an empty directory on the same file system, take turns; who begins changes from round to
round. Rates and latencies are medians of the rounds; "ratio" is the median of the rounds' ratios, kvstore's number by
Valkey's, and "rounds" is from the smallest of them to the largest. Latencies are "kvstore's / Valkey's".
"Processors" is "server / load generator" during that server's turns: what is near 100 % was measured.
"""


def tables(record: Record) -> list[Table]:
    """One for each group of which something was measured."""
    figures, found = record.figures(), []
    for group, title in GROUP_TITLES.items():
        if entries := {name: entry for name, entry in record.entries.items() if entry.group == group}:
            make = _other_table if group == "large" else _disk_table if group == probes.DISK else _rate_table
            found.append(make(title.replace(VALKEY, record.peer), entries, figures, record.peer))
    return [*found, *_cost_tables(record, figures)]


def verdict(record: Record) -> list[Table]:
    """The targets that were measured, if it is beside Valkey."""
    return targets.tables(record.figures()) if record.peer == VALKEY else []


def headline(entry: Entry, peer: str) -> str:
    """The first thing to know of each side."""
    figures = entry.figures()
    name = next((name for name in large.LABELS if name in figures), "") if entry.group == "large" else "per_second"
    numbers = zip(_names(entry, peer), [figures[name].ours, figures[name].theirs], strict=False)
    return "  ".join(f"{side} {_number(name, value)}" for side, value in numbers if value is not None)


def _names(entry: Entry, peer: str) -> list[str]:
    return [side.replace(VALKEY, peer) for side in entry.turns]


def _number(name: str, value: float | None) -> str:
    """By the unit that the name ends with."""
    if value is None:
        return "-"
    if name.endswith("bytes_each"):
        return f"{value:,.0f} bytes"
    if name.endswith("_bytes"):
        return f"{value / 2**20:.0f} MiB"
    if name.endswith("per_second"):
        return f"{value:,.0f}/s"
    return f"{value:.2f} {'ms' if name.endswith('_ms') else 's'}"


def _ratio(figure: Figure) -> list[str]:
    """The median of the rounds' ratios, and their range."""
    if figure.ratio is None:
        return ["-", "-"]
    return [f"{figure.ratio:.2f}", f"{figure.least:.2f} to {figure.most:.2f}"]


def _rate_table(title: str, entries: Mapping[str, Entry], figures: _All, peer: str) -> Table:
    """Rate and latency of all requests of a case, and below it of each kind that all turns had."""
    names = (*_names(max(entries.values(), key=lambda entry: len(entry.turns)), peer), "-")[:2]
    columns = ["", *(f"{name}/s" for name in names), "ratio", "rounds", "p50 ms", "p99 ms", "p99.9 ms", "slowest ms",
               "processors", f"{names[1]}'s"]  # fmt: skip
    rows = []
    for name, entry in entries.items():
        found = figures[name]
        rows.append(_rate_row(entry.title, found, ""))
        rows[-1][-2:] = [f"{_share(found, side, 'server')} / {_share(found, side, 'generator')}" for side in (0, 1)]
        kinds = [measure.removesuffix("per_second") for measure in found if measure.endswith(".per_second")]
        rows += [_rate_row(f"- {kind[:-1]}", found, kind) for kind in sorted(kinds)]
    return Table(title, columns, rows)


def _rate_row(title: str, found: _Figures, kind: str) -> list[str]:
    rate = found[f"{kind}per_second"]

    def both(measure: str, places: int) -> str:
        figure = found[f"{kind}{measure}"]
        return " / ".join(f"{value:.{places}f}" for value in figure[:2] if value is not None)

    rates_ = ["-" if value is None else f"{value:,.0f}" for value in rate[:2]]
    tail = [both("p50_ms", 3), both("p99_ms", 2), both("p999_ms", 2), both("slowest_ms", 1)]
    return [title, *rates_, *_ratio(rate), *tail, "", ""]


def _share(found: _Figures, side: int, who: str) -> str:
    value = found[f"{who}_share"][side]
    return "-" if value is None else share(value)


def _disk_table(title: str, entries: Mapping[str, Entry], figures: _All, peer: str) -> Table:
    rows = [
        [entry.title, *(f"{figures[n][m].ours * 1e3:.0f}" for m in ("p50_ms", "p99_ms")),
         f"{figures[n]['per_second'].ours:,.0f}"]
        for n, entry in entries.items()
    ]  # fmt: skip
    return Table(title, ["", "median µs", "p99 µs", "a second"], rows)


def _other_table(title: str, entries: Mapping[str, Entry], figures: _All, peer: str) -> Table:
    rows = [
        [f"{entry.title}: {label}", *(_number(measure, value) for value in figure[:2]), *_ratio(figure)]
        for name, entry in entries.items()
        for measure, label in large.LABELS.items()
        if (figure := figures[name].get(measure))
    ]
    return Table(title, ["", KVSTORE, peer, "ratio", "rounds"], rows)


def _cost_tables(record: Record, figures: _All) -> list[Table]:
    """What a request costs the servers' processors, and what kvstore's commits carry and take."""
    columns = ["", "kvstore's µs/request", f"{record.peer}'s µs/request", "commits/s", "requests a commit",
               "µs a commit", "stolen"]  # fmt: skip
    served = {name: e for name, e in record.entries.items() if KVSTORE in e.turns and "server_share" in figures[name]}
    rows = [_cost_row(f"{entry.title} ({entry.group})", figures[name]) for name, entry in served.items()]
    title = "Processor time of a request, kvstore's commits, and what the host took away"
    return [Table(title, columns, rows)] if rows else []


def _cost_row(title: str, found: _Figures) -> list[str]:
    rate, busy, commits = found["per_second"], found["server_share"], ["-"] * 3
    cost = [f"{1e6 * b / r:.2f}" if r and b is not None else "-" for r, b in zip(rate[:2], busy[:2], strict=True)]
    if "commits" in found:
        size, us = found["requests_per_commit"].ours, found["commit_us"].ours
        commits = [f"{found.get('SET.per_second', rate).ours / size:,.0f}", f"{size:.1f}", f"{us:.0f}"]
    return [title, *cost, *commits, share(found["stolen_share"].ours)]


# Plots


def draw(record: Record, directory: Path) -> list[str]:
    """All plots of what was measured. Returns the names of those that were drawn."""
    figures = record.figures()
    plots: dict[str, Callable[[Record, _All, Path], bool]] = {
        "bench.png": _draw_ratios,
        "bench-rates.png": _draw_rates,
        "bench-latency.png": _draw_tails,
    }
    return [name for name, plot in plots.items() if plot(record, figures, directory / name)]


def _draw_ratios(record: Record, figures: _All, path: Path) -> bool:
    """The ratio of every case, with the range of its rounds; times and memory beside rates."""
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
        return False
    heights = [len(rows) for _, rows in panels]
    title = f"kvstore by {record.peer}: median of the rounds, and their range"
    size = (10, 2.5 + 0.2 * sum(heights))
    figure, axes = make_axes(len(panels), 1, title, size, height_ratios=heights)
    for axis, (label, rows) in zip(axes.flat, panels, strict=True):
        _draw_ranges(axis, label, rows)
    save(figure, path)
    return True


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


def _draw_rates(record: Record, figures: _All, path: Path) -> bool:
    """Rates against connections, for each command, and against the size of the value."""
    titles = {"set": "SET", "get": "GET", "mset": "MSET of 10", "incr": "INCR"}
    curves = [(title, {n: f"{test}-{n}" for n in rates.CLIENTS}, "connections") for test, title in titles.items()]
    curves += [
        (f"{titles[test]}, 50 connections", {n: f"{test}-{n}b" for n in rates.SIZES}, "bytes of a value")
        for test in ("set", "get")
    ]
    if not any(name in figures for _, names, _ in curves for name in names.values()):
        return False
    figure, axes = make_axes(2, 3, "Requests a second, every write synced before its reply", (12, 7))
    for axis, (title, names, label) in zip(axes.flat, curves, strict=True):
        there = {number: figures[name]["per_second"] for number, name in names.items() if name in figures}
        for i, side in enumerate((KVSTORE, record.peer)):
            line(axis, i, list(there), [f[i] or 0 for f in there.values()], side)
        axis.set_title(title)
        thousands(axis)
        if label == "connections":
            doubling(axis, list(there), label)
        else:
            axis.set_xscale("log")
            axis.set_xlabel(label)
    save(figure, path, axes[0, 0])
    return True


#: Which tails are drawn: title, name of the case, and of the kind of request if it has several.
_TAILS = [
    ("SET 50", "set-50", ""),
    ("GET 50", "get-50", ""),
    ("SET 50, -P 16", "set-50-p16", ""),
    ("GET of 16 beside 16 SET", "gets-beside-16-writers", "GET."),
    ("GET of 50 beside 5 SET, 5 ms syncs", "slow-disk-gets-beside-5-writers", "GET."),
    ("SET 50, 5 ms syncs", "slow-disk-set-50", ""),
]
_PERCENTILES = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9", "slowest_ms": "slowest"}


def _draw_tails(record: Record, figures: _All, path: Path) -> bool:
    """p50 to the slowest, of some cases."""
    tails = [(title, figures[name], kind) for title, name, kind in _TAILS if name in figures]
    if not tails:
        return False
    figure, axes = make_axes(2, 3, "Latency: medians of the rounds", (12, 7), sharey=True)
    for axis, (title, found, kind) in zip(axes.flat, tails, strict=False):
        for i, side in enumerate((KVSTORE, record.peer)):
            values = [found[kind + name][i] or 0 for name in _PERCENTILES]
            line(axis, i, list(_PERCENTILES.values()), values, side)
        axis.set_title(title, fontsize=10)
    for axis in axes[:, 0]:
        factors(axis, "milliseconds")
    save(figure, path, axes[0, 0])
    return True
