"""REPORT.md, its tables and plots, made from the raw data and the template `report.md`.

The template is the page with `{names}` in place of numbers (str.format; the names are those of `facts` and `_values`).
A line `=== PART` begins the section of a part; if that was not measured, a line that says so stands in its place.
Rejected: marks in the page itself, which every reader of it would have to look past.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kvstore.testing.server_process import ROOT
from scripts.experimenting.facts import LEAST_GAIN, Part, Point, facts
from scripts.experimenting.model import Model
from scripts.experimenting.plan import OPERATIONS, PARTS
from scripts.measuring.results import markdown_table

TEMPLATE = Path(__file__).with_name("report.md")
_WIDTH = 120
_SECTION = re.compile(r"^=== (\S+)\n", re.MULTILINE)

#: What is taken away in each variant of the first page, and how it is called there.
_CAUSES = {"cheap clients": "the clients' share of the processors", "no sync": "the sync"}


def page(directory: Path) -> str:
    """The whole text, from the data in `directory`."""
    known = facts(directory)
    known |= _values(known)
    head, *sections = _SECTION.split(TEMPLATE.read_text(encoding="utf-8"))
    text = head.format_map(known)
    for name, section in zip(sections[::2], sections[1::2], strict=True):
        try:
            text += section.format_map(known)
        except KeyError:
            text += f"*Not measured, or not all that it is compared with: `scripts/experiment {name}`.*\n\n"
    return "\n\n".join(map(_filled, text.strip().split("\n\n"))) + "\n"


def _filled(block: str) -> str:
    """A paragraph, or the items of a list, in lines of even length; what is neither stays as it is."""
    if block.startswith(("#", "|", "!", "    ")):
        return block
    items = block.split("\n- ")
    indent = "  " if block.startswith("- ") else ""
    filled = [textwrap.fill(" ".join(item.split()), _WIDTH, break_long_words=False, break_on_hyphens=False,
                            initial_indent="- " * (number > 0), subsequent_indent=indent)
              for number, item in enumerate(items)]  # fmt: skip
    return "\n".join(filled)


def by_clients(columns: dict[str, tuple[Any, Callable[[Point], str]]], steps: Sequence[int]) -> str:
    """A table with a line for each number of clients. `columns`: heading to a series, and how its points are told."""
    rows = [[str(n), *(say(series.at[n]) if n in series.at else "" for series, say in columns.values())] for n in steps]
    return markdown_table(["N", *columns], rows)


def rate(point: Point) -> str:
    """The median, and the smallest and largest round."""
    return f"{point.rate:,.0f} ({point.low:,.0f} to {point.high:,.0f})"


def latency(point: Point) -> str:
    """Median, p99 and slowest, in milliseconds."""
    return f"{point.p50:.2f} / {point.p99:.2f} / {point.slowest:.1f}"


def steps_of(part: Part) -> list[int]:
    """All numbers of clients that were tried."""
    return sorted({point.clients for by in part.values() for series in by.values() for point in series.points})


def cause(part: Part, operation: str) -> SimpleNamespace:
    """What keeps a sum from being larger: what brings most when it is taken away, and enough to count as a gain.

    Gains are times the best sum.
    """
    best = part["always"][operation].best.rate
    gains = {name: part[name][operation].best.rate / best for name in _CAUSES}
    name = max(gains, key=lambda name: gains[name])
    cause = _CAUSES[name] if gains[name] > 1 + LEAST_GAIN else "the server's own loop"
    return SimpleNamespace(name=cause, clients=gains["cheap clients"], sync=gains["no sync"])


def models(known: dict[str, Any]) -> dict[str, Model]:
    """What was to be expected of each operation, from the `facts` of the first page."""
    part, processors = known["clients"], known["clients_about"]["processors"]
    return {name: Model.of(part["always"][name], part["cheap clients"][name], processors) for name in OPERATIONS}


def _values(known: dict[str, Any]) -> dict[str, Any]:
    """What the template needs beside `facts`: tables, and what follows from several series."""
    abouts = {name: known[f"{name}_about"] for name in PARTS if name in known}
    found: dict[str, Any] = {"least_gain": LEAST_GAIN, "warning": "", "runs": _runs(abouts), "stolen": 0.0}
    last: dict[str, str] = next(reversed(abouts.values()), {})
    found["machine"] = "; ".join(
        last[what] for what in ("processor", "memory", "system", "file system", "versions") if last
    )
    if any(about["quick"] for about in abouts.values()):
        found["warning"] = "> **From a `--quick` run on a busy machine: not to be believed.**\n\n"
    for name, work_out in _VALUES.items():
        if name in known:
            found |= work_out(known)
    return found


def _runs(abouts: dict[str, dict[str, Any]]) -> str:
    columns = ["data", "date", "commit", "command", "took", "load before", "one fdatasync"]
    return markdown_table(columns, [
        [f"[{name}](report/{name}.csv)", about["date"], f"`{about['commit']}`", f"`{about['command']}`",
         f"{about['took_seconds'] / 60:.0f} min", about["load before"].partition(" ")[0], f"{about['sync_us']:.0f} µs"]
        for name, about in abouts.items()
    ])  # fmt: skip


def _clients(known: dict[str, Any]) -> dict[str, Any]:
    part, expected = known["clients"], models(known)
    always, steps = part["always"], [point.clients for point in part["always"]["insert"].points]
    causes = {name: cause(part, name) for name in OPERATIONS}
    fits = {name: fit(always[name].points, expected[name]) for name in OPERATIONS}
    return {
        "cause": causes, "stolen": max(p.stolen for by in part.values() for s in by.values() for p in s.points),
        "table_clients": by_clients({name: (always[name], rate) for name in OPERATIONS}, steps),
        "table_latency": by_clients({name: (always[name], latency) for name in OPERATIONS}, steps),
        "table_causes": markdown_table(
            ["", "one client", "levels out at", "most (at N)", "clients that cost little", "no syncs"],
            [[name, f"{always[name].one.rate:,.0f}", always[name].levels, most(always[name].best),
              f"{most(part['cheap clients'][name].best)} = {causes[name].clients:.1f} times",
              f"{most(part['no sync'][name].best)} = {causes[name].sync:.1f} times"] for name in OPERATIONS],
        ),
        "table_model": markdown_table(
            ["", "T", "c", "s", "f", "1 / D at the most clients", "measured / predicted"],
            [[name, *(f"{number:.0f}" for number in (m.alone, m.client, m.server, m.sync)),
              f"{1e6 / m.demand(steps[-1]):,.0f}", f"{fits[name].low:.2f} to {fits[name].high:.2f}"]
             for name, m in expected.items()],
        ),
    }  # fmt: skip


def most(point: Point) -> str:
    """The rate of a best point, and where it is."""
    return f"{point.rate:,.0f} ({point.clients})"


def fit(points: Sequence[Point], expected: Model) -> SimpleNamespace:
    """The smallest and the largest of measured by predicted, from 2 clients on: at 1 they are the same."""
    curve = expected.curve(points[-1].clients)
    parts = [point.rate / curve[point.clients - 1] for point in points[1:]]
    return SimpleNamespace(low=min(parts), high=max(parts))


def _one_sync(known: dict[str, Any]) -> dict[str, Any]:
    group, single = (known["one-sync"][name]["insert"] for name in ("group commit", "one sync each"))
    columns = {
        "group commit": (group, rate), "inserts in a commit": (group, lambda p: f"{p.group:.1f}"),
        "µs a commit": (group, lambda p: f"{p.commit_us:.0f}"), "one sync each": (single, rate),
        "p50 / p99 / slowest, ms": (group, latency), "one sync each, ms": (single, latency),
    }  # fmt: skip
    gains = {p.clients: p.rate / single.at[p.clients].rate for p in group.points}
    return {
        "table_one_sync": by_clients(columns, [p.clients for p in group.points]),
        "sync_gain": gains[group.last.clients], "sync_group": group, "sync_single": single,
    }  # fmt: skip


def _cost(known: dict[str, Any]) -> dict[str, Any]:
    part = known["cost"]
    rows = [
        [f"{name}, {variant}", most(series.best), f"{series.best.server_us:.1f}", f"{series.best.client_us:.1f}",
         f"{series.best.server_cpu:.2f}", f"{series.best.idle:.2f}"]
        for name in OPERATIONS for variant, by in part.items() if (series := by.get(name))
    ]  # fmt: skip
    columns = ["", "most (at N)", "server µs", "client µs", "server's processor", "idle"]
    return {"table_cost": markdown_table(columns, rows)}


def _compaction(known: dict[str, Any]) -> dict[str, Any]:
    part, clients = known["compaction"], known["compaction_rows"]["clients"][0]
    phase = {name: {o: part[name][o].at[clients] for o in ("GET", "SET")} for name in ("before", "during", "after")}
    sums = {name: sum(point.rate for point in by.values()) for name, by in phase.items()}
    during = known["compaction_rows"].filter(variant="during", operation="SET")
    rows = [[f"{o} {name}", rate(by[o]), f"{by[o].p50:.2f}", f"{by[o].p99:.2f}", f"{by[o].slowest:.1f}"]
            for o in ("GET", "SET") for name, by in phase.items()]  # fmt: skip
    return {
        "table_compaction": markdown_table(["", "a second", "p50 ms", "p99 ms", "slowest ms"], rows),
        "phase": phase, "phase_part": sums["during"] / sums["before"], "compacting": during.median().row(0, named=True),
    }  # fmt: skip


def _distance(known: dict[str, Any]) -> dict[str, Any]:
    part = known["distance"]
    columns = {f"{o}, {name}": (by[o], lambda p: f"{p.rate:,.0f} ({p.p50:.2f} ms)")
               for o in OPERATIONS[:2] for name, by in part.items()}  # fmt: skip
    links = [p.link_cpu for by in part.values() for series in by.values() for p in series.points]
    far = list(part.values())
    return {
        "table_distance": by_clients(columns, steps_of(part)), "near": far[0], "middle": far[1], "far": far[-1],
        "far_last": steps_of(part)[-1], "link_most": max(links),
    }  # fmt: skip


def _valkey(known: dict[str, Any]) -> dict[str, Any]:
    part = known["valkey"]
    ours, theirs = part["kvstore"], part["Valkey"]
    ratios = {o: {p.clients: p.rate / theirs[o].at[p.clients].rate for p in ours[o].points} for o in ours}
    rows = [
        [str(n), *(text for o in ours for text in (rate(ours[o].at[n]), rate(theirs[o].at[n]), f"{ratios[o][n]:.2f}"))]
        for n in steps_of(part)
    ]  # fmt: skip
    columns = ["N", *(f"{o} {who}" for o in ours for who in ("kvstore", "Valkey", "ratio"))]
    first_and_last = {o: (r[1], r[ours[o].last.clients]) for o, r in ratios.items()}
    return {
        "table_valkey": markdown_table(columns, rows),
        "ratio": first_and_last,
        "valkey_last": ours["SET"].last.clients,
    }


_VALUES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "clients": _clients, "one-sync": _one_sync, "cost": _cost, "compaction": _compaction, "distance": _distance,
    "valkey": _valkey,
}  # fmt: skip


def tables(directory: Path) -> str:
    """Everything that was measured, in medians: the long tables."""
    lines = ["# Every series of scripts/experiment", "", "Made by it from the data beside; how, is in REPORT.md.", ""]
    columns = ["N", "a second (least to most)", "mean", "p50", "p99", "slowest, ms", "server µs", "client µs",
               "server", "clients", "link", "idle", "group", "commit µs", "stolen"]  # fmt: skip
    for name, part in ((name, part) for name, part in facts(directory).items() if name in PARTS):
        for variant, operation, series in ((v, o, s) for v, by in part.items() for o, s in by.items() if v != "course"):
            rows = [[str(p.clients), rate(p), *(f"{number:.3g}" for number in p[4:])] for p in series.points]
            lines += [f"## {name}: {operation}, {variant}", "", markdown_table(columns, rows), ""]
    return "\n".join(lines)


def write_report(directory: Path, target: Path) -> bool:
    """Make plots, the long tables and the page `target` from the data in `directory`."""
    from scripts.experimenting.plots import draw  # matplotlib takes long to import, and checking does not need it

    known = facts(directory)
    for path in draw(known, models(known) if "clients" in known else {}, directory):
        print(f"drawn: {path}")
    (directory / "tables.md").write_text(tables(directory), encoding="utf-8")
    text = page(directory)
    target.write_text(text if target.parent != directory else text.replace("](report/", "]("), encoding="utf-8")
    print(f"written: {target}")
    return True


def check_report(directory: Path, target: Path) -> bool:
    """Whether a page follows from the data; says so if not."""
    if follows := target.read_text(encoding="utf-8") == page(directory):
        return True
    what_to_do = f"run scripts/experiment report; its text is in {TEMPLATE.relative_to(ROOT)}"
    print(f"experiment: {target} does not follow from {directory}: {what_to_do}", file=sys.stderr)
    return follows
