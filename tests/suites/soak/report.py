"""soak.json, soak.md and soak.png: all samples, the verdict, the curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripts.measuring.drawing import COLORS, make_axes, save
from scripts.measuring.results import Table, replace_file
from tests.suites.soak.judging import MIB, Judgement
from tests.suites.soak.plan import long_life
from tests.suites.soak.run import Soak
from tests.suites.soak.sampling import Sample

_HOW = """Made by `scripts/soak`, whose `--help` tells what is done; all samples are in [soak.json](soak.json).
The rules are in `tests/suites/soak/judging.py`.
"""
_HOLDS = {True: "holds", False: "**does not hold**", None: "not judged"}


def verdict_of(judgements: Sequence[Judgement]) -> str:
    """In a word or two."""
    broken = sum(each.holds is False for each in judgements)
    return f"{broken} of {len(judgements)} rules do not hold" if broken else "flat"


def counts_of(soak: Soak) -> list[tuple[str, str]]:
    """What was done, a row for each."""
    counts, calm = soak.load.counts, soak.calm.totals
    rows = [
        ("requests that were checked", f"{counts.acknowledged:,}, {counts.blocks_acknowledged:,} of them MULTI blocks"),
        ("elements of queues that came out", f"{counts.taken:,}"),
        ("kills", f"{counts.rounds}; {counts.in_flight} requests in flight, {counts.in_flight_done} found done"),
        ("keys of those who check, at the end", f"{counts.keys:,}"),
        ("requests of calm clients", f"{calm['requests']:,}; {calm['refused']:,} refused, {calm['lost']:,} lost"),
    ]
    for companion in soak.companions:
        each = ", ".join(f"{name} {count:,}" for name, count in sorted(companion.counts.items()))
        rows.append((companion.name, each))
    return rows


def write(soak: Soak, judgements: Sequence[Judgement], about: dict[str, str], seconds: float, directory: Path) -> None:
    """All three files."""
    directory.mkdir(parents=True, exist_ok=True)
    events = [each._asdict() for each in soak.events]
    judged = [each._asdict() for each in judgements]
    names = sorted({name for sample in soak.samples for name in sample}, key=lambda name: (name != "at_s", name))
    columns = {name: [sample.get(name) for sample in soak.samples] for name in names}
    found = {"verdict": verdict_of(judgements), "about": about, "rules": judged, "counts": dict(counts_of(soak)),
             "events": events}  # fmt: skip
    # A line for each column: a file that can be looked at.
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in columns.items())
    text = json.dumps(found, indent=1)[:-2] + ',\n "samples": {\n' + lines + "\n }\n}\n"
    replace_file(directory / "soak.json", text)
    replace_file(directory / "soak.md", _markdown(soak, judgements, about))
    draw(soak, seconds, directory / "soak.png")


def _markdown(soak: Soak, judgements: Sequence[Judgement], about: dict[str, str]) -> str:
    rules = Table("Rules", ["rule", "found", ""], [[each.rule, each.found, _HOLDS[each.holds]] for each in judgements])
    counts = Table("Done", ["what", "how much"], [list(row) for row in counts_of(soak)])
    events = Table("Happened", ["at", "what", "until all was as before", ""], [
        [f"{each.at_s / 60:.1f} min", each.what, f"{each.took_s:.2f} s", each.note] for each in soak.events
    ])  # fmt: skip
    facts = "".join(f"- {name}: {text}\n" for name, text in about.items())
    tables = "\n".join(each.as_markdown() for each in (rules, counts, events))
    return f"# Soak\n\n**Verdict: {verdict_of(judgements)}.**\n\n{_HOW}\n{facts}\n![](soak.png)\n\n{tables}"


# The plot

_Curve = tuple[str, str, float]

#: Panels: title, unit, curves (name of the sample, label, what it is divided by), whether the axis is logarithmic.
_PANELS: list[tuple[str, str, list[_Curve], bool]] = [
    ("memory of the server", "MiB", [("rss", "resident", MIB), ("used_memory", "used_memory", MIB),
                                     ("child_rss", "compacting child", MIB)], False),
    ("open files", "", [("files", "all", 1), ("clients", "of clients", 1)], False),
    ("latency of calm clients", "ms", [("calm_p50_ms", "p50", 1), ("calm_p99_ms", "p99", 1),
                                       ("calm_slowest_ms", "slowest", 1)], True),
    ("files on disk", "MiB", [("log_bytes", "log", MIB), ("checkpoint_bytes", "checkpoint", MIB),
                              ("disk_bytes", "all files", MIB)], False),
    ("load of the machine, compactions of a life", "", [("load1", "load, 1 minute", 1),
                                                        ("compactions", "compactions", 1)], False),
    ("keys of a life", "thousands", [("evicted", "evicted", 1000), ("expired", "expired", 1000)], False),
]  # fmt: skip
_EVENT_COLORS = {"kill": "#D55E00", "full disk": "#CC79A7", "compaction": "#bbbbbb"}


def draw(soak: Soak, seconds: float, path: Path) -> None:
    """All panels, with a line for each event."""
    figure, axes = make_axes(3, 2, "Soak: kills orange, full disks pink, compactions asked for grey", (13, 10))
    for axis, (title, unit, curves, is_logarithmic) in zip(axes.flat, _PANELS, strict=True):
        for number, (name, label, divisor) in enumerate(curves):
            _curve(axis, soak.samples, name, lambda value, by=divisor: value / by, COLORS[number], label)
        for event in soak.events:
            axis.axvline(event.at_s / 60, color=_EVENT_COLORS[event.what], linewidth=0.8, linestyle=":", zorder=0)
        axis.axvspan(*(part * seconds / 60 for part in long_life()), color="#f4f4f4", zorder=-1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("minutes (grey: the life that memory is judged by)")
        axis.set_ylabel(unit)
        if is_logarithmic:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    save(figure, path)


def _curve(
    axis: Any, samples: Sequence[Sample], name: str, scaled: Callable[[float], float], color: str, label: str
) -> None:
    """With a gap where there was nothing."""
    x = [(sample["at_s"] or 0.0) / 60 for sample in samples]
    y = [float("nan") if (value := sample.get(name)) is None else scaled(value) for sample in samples]
    axis.plot(x, y, color=color, linewidth=1.1, label=label)
