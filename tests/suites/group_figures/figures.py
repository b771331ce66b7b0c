"""Figures, what is asked of them, and the report: no process and no clock.

A part of the report is what one measurement found: `Part`. All parts are kept in `group.json`, each with its own date,
so that one that is measured again replaces itself only; `group.md` is made from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from scripts.measuring.results import Table, replace_file

JSON_NAME, MARKDOWN_NAME = "group.json", "group.md"

MEDIAN, MOST = "median", "most"

#: How a number is written, by its unit.
_PLACES = {"": 2, "s": 2, "ms": 2, "/s": 0}


def quantile(values: Iterable[float], part: float) -> float:
    """The value below or at which such a part of all are (nearest rank). `part`: above 0, at most 1."""
    ordered = sorted(values)
    return ordered[max(0, -int(-part * len(ordered) // 1) - 1)]


def written(value: float, unit: str = "") -> str:
    """A number with its unit."""
    return f"{value:,.{_PLACES[unit]}f}" + (unit if unit.startswith("/") else f" {unit}" if unit else "")


@dataclass(frozen=True)
class Figure:
    """One number that is asked for. `values`: of each round, in `unit` ("" of a ratio). `asked`: None if it is only of
    interest; at most so much, or with `at_least` at least. `by`: which of the values counts, MEDIAN or MOST.
    """

    what: str
    values: Sequence[float]
    unit: str = ""
    asked: float | None = None
    at_least: bool = False
    by: str = MEDIAN

    @property
    def value(self) -> float:
        """The number."""
        return median(self.values) if self.by == MEDIAN else max(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether it is what is asked; None if nothing is."""
        if self.asked is None:
            return None
        return self.value >= self.asked if self.at_least else self.value <= self.asked

    def row(self) -> list[str]:
        """Of the table: what, its number, the range of the values, what is asked, and whether that is reached."""
        asked = "-" if self.asked is None else f"{'≥' if self.at_least else '≤'} {written(self.asked, self.unit)}"
        said = {None: "-", True: "yes", False: "**no**"}[self.reached]
        ends = f"{written(min(self.values), self.unit)} to {written(max(self.values), self.unit)}"
        return [self.what, written(self.value, self.unit), self.by, ends, str(len(self.values)), asked, said]


@dataclass
class Part:
    """What one measurement found. `said`: paragraphs below its tables. `raw`: all of it, for JSON."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For json.dumps."""
        figures = [vars(each) | {"value": each.value, "reached": each.reached} for each in self.figures]
        return vars(self) | {"figures": figures, "tables": [vars(table) for table in self.tables]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Part:
        """What `as_json` gave."""
        figures = [
            Figure(**{name: value for name, value in each.items() if name not in ("value", "reached")})
            for each in found["figures"]
        ]
        return cls(**{**found, "figures": figures, "tables": [Table(**each) for each in found["tables"]]})


def asked_table(parts: Iterable[Part]) -> Table:
    """All figures, of all parts."""
    columns = ["figure", "measured", "is the", "range", "of", "asked", "reached"]
    return Table("What is asked, and what was measured", columns, [f.row() for part in parts for f in part.figures])


def read(directory: Path) -> dict[str, Part]:
    """The parts of a report, by name; none if there is none."""
    path = directory / JSON_NAME
    if not path.exists():
        return {}
    return {name: Part.from_json(found) for name, found in json.loads(path.read_text(encoding="utf-8")).items()}


def write(directory: Path, parts: Mapping[str, Part]) -> None:
    """Both files."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {name: part.as_json() for name, part in parts.items()}
    replace_file(directory / JSON_NAME, json.dumps(found, indent=1) + "\n")
    replace_file(directory / MARKDOWN_NAME, markdown(parts))


def markdown(parts: Mapping[str, Part]) -> str:
    """group.md."""
    pieces = [_HOW, asked_table(parts.values()).as_markdown()]
    for part in parts.values():
        pieces += [f"## {part.title}\n", *(table.as_markdown() for table in part.tables)]
        pieces += [f"{paragraph}\n" for paragraph in part.said]
    return "\n".join([*pieces, "## Measured\n", _measured(parts)])


def _measured(parts: Mapping[str, Part]) -> str:
    """What the parts were measured on, and what differs from part to part."""
    abouts = [part.about for part in parts.values()]
    names = list(dict.fromkeys(name for about in abouts for name in about))
    lines = []
    for name in names:
        texts = {part: about[name] for part, about in zip(parts, abouts, strict=True) if name in about}
        for text in dict.fromkeys(texts.values()):
            which = [part for part, each in texts.items() if each == text]
            of = "" if len(which) == len(parts) else f" ({', '.join(which)})"
            lines.append(f"- {name}{of}: {text}")
    return "\n".join(lines) + "\n"


_HOW = f"""# What a group costs

Made by `scripts/group_figures`; every round's numbers are in [{JSON_NAME}]({JSON_NAME}). Three servers, three nodes of
etcd and whoever asks them share one machine: nothing here is what three machines do, but for the estimate at the end.
The numbers of a table are medians of the rounds. "Local" is one server by itself with `--sync always`, measured in
turns with the group; the group's processes go on then, without a request: to stand still they would have to be stopped,
and would change their leader for it. What they took of the processors meanwhile is in the tables.
"""
