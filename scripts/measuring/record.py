"""What a program has found so far, in one file that is whole at any time: `bench.json`, `growth.json`.

Each case is put there as it ends, with its own date, command and commit, so a run that is broken off loses only the
case it was at; a case that is measured again replaces itself only. Reports are made from `figures` of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from scripts.measuring.bench import VALKEY, Case
from scripts.measuring.metering import Measures
from scripts.measuring.results import replace_file


class Figure(NamedTuple):
    """One measure of one case: medians of the rounds, of the first side and the second, and of the ratios of the rounds
    with the smallest and the largest. None of what a case of one side does not have.
    """

    ours: float
    theirs: float | None
    ratio: float | None
    least: float | None
    most: float | None


#: How a measure is written, by the end of its name: what it is divided by, places, unit. The first that fits.
_UNITS = {
    "bytes_each": (1, 0, " bytes"),
    "_bytes": (2**20, 0, " MiB"),
    "per_second": (1, 0, "/s"),
    "us": (1, 2, " µs"),
    "us_each": (1, 2, " µs"),
    "_ms": (1, 2, " ms"),
    "_seconds": (1, 2, " s"),
}


def number(name: str, figure: Figure | float | None) -> str:
    """A measure of that name as text, with its unit; a dash for none. Of a figure, that of the first side."""
    if figure is None:
        return "-"
    value = figure.ours if isinstance(figure, Figure) else figure
    divisor, places, unit = next(how for end, how in _UNITS.items() if name.endswith(end))
    return f"{value / divisor:,.{places}f}{unit}"


@dataclass
class Entry:
    """One case as it was measured. `turns`: by side. `about`: when, with which command, on what."""

    title: str
    group: str
    turns: dict[str, list[Measures]]
    about: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, Figure]:
        """By the measure's name."""
        rows = [
            (side, turn, name, float(value))
            for side, turns in zip(("ours", "theirs"), self.turns.values(), strict=False)
            for turn, measures in enumerate(turns)
            for name, value in measures.items()
        ]
        if not rows:
            return {}
        every = pl.DataFrame(rows, schema=["side", "turn", "measure", "value"], orient="row")
        wide = every.pivot(on="side", on_columns=["ours", "theirs"], index=["measure", "turn"], values="value")
        ours, theirs = pl.col("ours"), pl.col("theirs")
        ratio = pl.when(theirs != 0).then(ours / theirs)
        medians = [ours.median(), theirs.median(), ratio.median().alias("ratio")]
        ends = [ratio.min().alias("least"), ratio.max().alias("most")]
        found = wide.group_by("measure", maintain_order=True).agg(*medians, *ends)
        return {name: Figure(*rest) for name, *rest in found.filter(ours.is_not_null()).iter_rows()}


@dataclass
class Record:
    """All of it. `peer`: what had Valkey's place. `entries`: by the case's name."""

    path: Path | None = None
    peer: str = VALKEY
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, peer: str = VALKEY) -> Record:
        """What the file has; nothing if there is none. None: it is kept in memory only. Raises ValueError if it has
        another peer.
        """
        if path is None or not path.exists():
            return cls(path, peer)
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["peer"] != peer:
            raise ValueError(f"{path} compares with {found['peer']}, not with {peer}: choose another --out")
        return cls(path, peer, {name: Entry(**entry) for name, entry in found["cases"].items()})

    def put(self, case: Case, turns: dict[str, list[Measures]], about: dict[str, str]) -> Entry:
        """Add one case, and save."""
        self.entries[case.name] = entry = Entry(case.title, case.group, turns, about)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            cases = {name: vars(entry) for name, entry in self.entries.items()}
            replace_file(self.path, json.dumps({"peer": self.peer, "cases": cases}, indent=1) + "\n")
        return entry

    def part(self, names: list[str]) -> Record:
        """Only the cases of those names, in that order, as far as there are any."""
        return Record(None, self.peer, {name: self.entries[name] for name in names if name in self.entries})

    def figures(self) -> dict[str, dict[str, Figure]]:
        """By the name of the case."""
        return {name: entry.figures() for name, entry in self.entries.items()}
