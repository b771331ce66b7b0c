"""The raw data: what a row of each CSV file is, and reading and writing them.

| file | a row is |
|---|---|
| `testperf-clients.csv` | one operation of one TestPerf in one run |
| `testperf.csv` | one operation of one run of N TestPerfs: their sum, and who was busy meanwhile |
| `server.csv` | the same of a run of one generator with N connections, or of redis-benchmark |
| `two-hosts.csv` | the same, over a distance |
| `compaction.csv` | a tenth of a second around a compaction, one operation |
| `compactions.csv` | a compaction as a whole |

A file is written anew by the part of the experiment that it belongs to. Columns are the fields of the classes below,
units in their names; floats are written so that reading gives the same number. Tables, plots and all figures in
REPORT.md are made from these files alone.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints


class MalformedData(Exception):
    """A CSV file is not what this version writes; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class ClientRow:
    """One operation of one TestPerf. `window_seconds`: in which all ran, and the rate was taken."""

    FILE: ClassVar[str] = "testperf-clients.csv"

    run: int
    sync: str
    clients: int
    client: int
    operation: str
    window_seconds: float
    requests: int
    per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float


@dataclasses.dataclass(frozen=True)
class SumRow:
    """One operation of one run: all clients together, and what processors and disk did in the window.

    `generator`: "TestPerf", "swarm" or "redis-benchmark". `depth`: requests on the way on each connection.
    `group_limit`: of the server; 0 is none. `link`: "loopback", or what joins the two hosts. `delay_ms`: one way.
    `round_trip_ms`: measured with PING, nothing else going on; 0 if it was not. `requests`: in the window.
    `*_cpu`: processors used, 1.0 being one all the time; `idle_cpu` and `disk_wait_cpu` are those that nobody used, the
    latter while something waited for the disk. `commits`, `committed_requests`, `commit_us`: from INFO, in
    `commit_seconds` of the window; the last is the mean time that one took to write and sync.
    """

    FILE: ClassVar[str] = ""

    run: int
    generator: str
    sync: str
    group_limit: int
    depth: int
    link: str
    delay_ms: float
    round_trip_ms: float
    clients: int
    operation: str
    window_seconds: float
    requests: int
    per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    server_cpu: float
    clients_cpu: float
    link_cpu: float
    other_cpu: float
    disk_wait_cpu: float
    idle_cpu: float
    commit_seconds: float
    commits: int
    committed_requests: int
    commit_us: float

    @property
    def requests_per_commit(self) -> float:
        """The group size; 0 if nothing was committed."""
        return self.committed_requests / self.commits if self.commits else 0.0

    @property
    def commits_per_second(self) -> float:
        """Commits, hence syncs under `--sync always`, per second."""
        return self.commits / self.commit_seconds if self.commit_seconds else 0.0


@dataclasses.dataclass(frozen=True)
class PerfRow(SumRow):
    """N TestPerfs, each a program of its own."""

    FILE: ClassVar[str] = "testperf.csv"


@dataclasses.dataclass(frozen=True)
class ServerRow(SumRow):
    """N connections of one cheap generator."""

    FILE: ClassVar[str] = "server.csv"


@dataclasses.dataclass(frozen=True)
class DistanceRow(SumRow):
    """N clients on another host."""

    FILE: ClassVar[str] = "two-hosts.csv"


@dataclasses.dataclass(frozen=True)
class TenthRow:
    """Requests completed in the tenth of a second that begins `seconds` after the compaction was asked for."""

    FILE: ClassVar[str] = "compaction.csv"

    seconds: float
    operation: str
    requests: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float


@dataclasses.dataclass(frozen=True)
class CompactionRow:
    """Requests of one operation before, during or after a compaction. Memory: growth of the server, and its child."""

    FILE: ClassVar[str] = "compactions.csv"

    phase: str
    operation: str
    keys: int
    clients: int
    seconds: float
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    server_growth_mib: float
    child_peak_mib: float
    server_cpu: float
    child_cpu: float
    generator_cpu: float


Row = TypeVar("Row", ClientRow, PerfRow, ServerRow, DistanceRow, TenthRow, CompactionRow)


def write_rows(directory: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write the file of this kind of rows in `directory`, in place of what was there."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / kind.FILE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(kind))
        writer.writerows(map(dataclasses.astuple, rows))


def read_rows(directory: Path, kind: type[Row]) -> list[Row]:
    """Read the file of this kind; empty if there is none. Raises MalformedData."""
    path = directory / kind.FILE
    if not path.exists():
        return []
    types = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != names:
            raise MalformedData(f"{path} has other columns than this version writes: measure that part again")
        try:
            return [kind(**{name: _value(types[name], row[name]) for name in names}) for row in reader]
        except (ValueError, TypeError) as error:
            raise MalformedData(f"{path}, near line {reader.line_num}: {error}; measure that part again") from error


def _value(kind: Any, text: str) -> Any:
    return kind(text)
