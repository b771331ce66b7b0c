"""What a figure comes to: tables, checks against a target, and the two files of the report.

`figures.json` has everything, each round's raw numbers included; `figures.md` is made from it and has the tables. A
figure that is measured again replaces its own part; the others stay as they were, each with its own date, command and
commit. What is written down of the machine is what a reader needs to judge the numbers.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import kvstore
from kvstore.testing.server_process import ROOT
from tests.valkey import valkey_binary

JSON_NAME = "figures.json"
MARKDOWN_NAME = "figures.md"

#: How often the disk is asked what one sync takes.
_SYNCS = 200
_SYNCED_BYTES = 256 * 1024


@dataclass
class Check:
    """One figure against what it has to reach; `reached` is false too when it was not measured well enough."""

    what: str
    measured: str
    target: str
    reached: bool


@dataclass
class Table:
    """Rows of text under a caption."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    def as_text(self) -> str:
        """For a terminal: the first column to the left, the others to the right."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in [self.columns, ["-" * width for width in widths], *self.rows]
        ]
        return "\n".join(["", self.caption, *(line.rstrip() for line in lines)])

    def as_markdown(self) -> str:
        """The same for the report."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in [self.columns, rule, *self.rows]]
        return "\n".join([f"**{self.caption}**", "", *lines, ""])


@dataclass
class Result:
    """One figure. `method`: what was done, and where the load came from. `raw`: every number, for a program."""

    title: str
    method: str
    tables: list[Table]
    checks: list[Check]
    raw: dict[str, Any] = field(default_factory=dict)

    def check_table(self) -> Table:
        """The checks as a table."""
        rows = [[c.what, c.measured, c.target, "yes" if c.reached else "NO"] for c in self.checks]
        return Table("Against the targets", ["what", "measured", "target", "reached"], rows)

    def as_text(self) -> str:
        """For a terminal."""
        return "\n".join([f"\n== {self.title}", *(table.as_text() for table in [*self.tables, self.check_table()])])


def median(numbers: Iterable[float]) -> float:
    """The median."""
    return float(statistics.median(numbers))


def spread(numbers: Sequence[float], scale: float = 1.0, places: int = 0) -> str:
    """The smallest and the largest, as text."""
    return f"{min(numbers) / scale:.{places}f} to {max(numbers) / scale:.{places}f}"


def thousands(number: float) -> str:
    """A rate such as 37.2 k."""
    return f"{number / 1000:.1f} k"


# What was measured, and on what


def describe_machine(directory: Path) -> dict[str, str]:
    """The machine, the file system of `directory` and the versions of all that takes part."""
    load1, load5, _ = os.getloadavg()
    return {
        "processor": f"{_processor()}, {os.cpu_count()} of them",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(directory),
        "one fdatasync": f"{sync_microseconds(directory):.0f} µs (median, 100 bytes written before each)",
        "load before": f"{load1:.2f} (1 minute), {load5:.2f} (5 minutes)",
        "versions": _versions(),
        "commit": _commit(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system that a directory is on, by the longest mount point above it."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind, *_ = line.split(" ")
        if directory.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def sync_microseconds(directory: Path) -> float:
    """What one fdatasync takes there, after a small write into blocks that the file has already: the median."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(_SYNCED_BYTES))
        file.flush()
        os.fsync(file.fileno())
        for i in range(_SYNCS):
            os.pwrite(file.fileno(), b"x" * 100, i * 1000)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1e6


def _versions() -> str:
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("Twisted", "hiredis", "orjson")]
    own = [f"kvstore {kvstore.__version__}", f"Python {platform.python_version()}", *packages]
    return ", ".join([*own, _first_line(str(valkey_binary() or "")), _first_line("redis-benchmark")])


def _first_line(program: str) -> str:
    """What a program says of its version."""
    if not program or shutil.which(program) is None:
        return "no " + (program or "Valkey")
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = next((word.removeprefix("v=") for word in words if word[:1].isdigit() or word[:2] == "v="), "?")
    return f"{'Valkey' if 'valkey' in program else program} {version}"


def _commit() -> str:
    """The commit that is checked out, and whether what is measured differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "kvstore", "scripts")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (", with changes not committed" if changed else "")


# The files


def save(directory: Path, name: str, result: Result, about: dict[str, str]) -> None:
    """Put the result of one figure into both files in `directory`. `about`: command, date, machine."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JSON_NAME
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    figures[name] = {"about": about, **asdict(result)}
    replace_file(path, json.dumps(figures, indent=1) + "\n")
    replace_file(directory / MARKDOWN_NAME, as_markdown(figures))


def as_markdown(figures: dict[str, Any]) -> str:
    """The report of all figures."""
    parts = [
        "# Figures",
        "",
        "Made by `scripts/figures`; every round's numbers are in [figures.json](figures.json). How the measurements",
        "are taken is described in `scripts/measuring/__init__.py`.",
        "",
    ]
    for name, figure in figures.items():
        result = _from_json(figure)
        parts += [f"## {name}: {result.title}", "", result.method, ""]
        parts += [f"- {what}: {f'`{text}`' if what == 'command' else text}" for what, text in figure["about"].items()]
        parts += ["", *(table.as_markdown() for table in [*result.tables, result.check_table()])]
    return "\n".join(parts)


def _from_json(figure: dict[str, Any]) -> Result:
    tables = [Table(**table) for table in figure["tables"]]
    return Result(figure["title"], figure["method"], tables, [Check(**check) for check in figure["checks"]])


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that it is whole at any time: the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
