"""Tables, the report's files, and what is written down of the machine: what a reader needs to judge the numbers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import polars as pl

import kvstore
from kvstore.testing.server_process import ROOT
from tests.kit.valkey import valkey_binary

#: How often the disk is asked what one sync takes.
_SYNCS = 200
_SYNCED_BYTES = 256 * 1024


@dataclass
class Table:
    """Rows of text under a caption. `columns`: their names, all different."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    def as_text(self) -> str:
        """For a terminal."""
        width = max(len(row[0]) for row in [self.columns, *self.rows])  # the first column stays to the left
        rows = [[row[0].ljust(width), *row[1:]] for row in self.rows]
        frame = pl.DataFrame(rows, schema=[self.columns[0].ljust(width), *self.columns[1:]], orient="row")
        with pl.Config(
            tbl_formatting="NOTHING", tbl_cell_alignment="RIGHT", tbl_rows=-1, tbl_cols=-1, tbl_width_chars=10_000,
            fmt_str_lengths=1_000, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True,
        ):  # fmt: skip
            return f"\n{self.caption}\n{frame}"

    def as_markdown(self) -> str:
        """The same for a report."""
        return f"**{self.caption}**\n\n{markdown_table(self.columns, self.rows)}\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown, numbers to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(part: float) -> str:
    """A part of a processor, or of the time, as text."""
    return f"{100 * part:.0f} %"


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


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that it is whole at any time: the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
