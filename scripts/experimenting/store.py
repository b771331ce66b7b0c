"""The raw data of a part: NAME.csv, a row for each run and operation, and NAME.json, when, where and how it came.

Rows are written when their run is over, so that whatever breaks off loses one run. A row is known by its round, variant
and clients. Its other columns, with units in their names:

- `requests` were answered in `seconds`, in which all clients were running; `per_second` is their rate, `mean_ms`,
  `p50_ms`, `p99_ms`, `slowest_ms` are of their latencies (quantiles by nearest rank, of every single request).
- `*_cpu`: processors in use meanwhile by the server, the clients and the link between; `idle_cpu`: by nobody;
  `stolen_cpu`: what a virtual machine's host gave to others. 1 is one of them all the time.
- `commits`, with `committed` requests in them, took `commit_us` each to write and sync: INFO of the server.

Numbers have six significant digits: more are noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

Row = dict[str, Any]

_DIGITS = 6


class Record:
    """The data of one part in `directory`, read if they are there. `about`: what is known of them."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._table, self._notes = directory / f"{name}.csv", directory / f"{name}.json"
        self.about: dict[str, Any] = json.loads(self._notes.read_text("utf-8")) if self._notes.exists() else {}
        self.rows: list[Row] = pl.read_csv(self._table).to_dicts() if self.about and self._table.exists() else []

    def begin(self, about: dict[str, Any]) -> None:
        """Begin anew, with no rows."""
        self.rows = []
        self._table.unlink(missing_ok=True)
        self.note(about)

    def note(self, about: dict[str, Any]) -> None:
        """Note more of what is known of the data."""
        self.about |= about
        self._notes.write_text(json.dumps(self.about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def add(self, rows: Iterable[Row]) -> None:
        """Add the rows of a run."""
        self.rows += [{name: _short(value) for name, value in row.items()} for row in rows]
        pl.DataFrame(self.rows, infer_schema_length=None).write_csv(self._table)

    def has(self, round_: int, variant: str, clients: int) -> bool:
        """Whether that run is there."""
        wanted = (round_, variant, clients)
        return any((row["round"], row["variant"], row["clients"]) == wanted for row in self.rows)

    @property
    def finished(self) -> bool:
        """Whether all of it was measured."""
        return bool(self.about.get("finished"))

    def frame(self) -> pl.DataFrame:
        """All rows."""
        return pl.DataFrame(self.rows, infer_schema_length=None)


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
