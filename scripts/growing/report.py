"""What scripts/growth has found: `growth.json`, whole at any time, and the tables of `growth.md` made from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scripts.benching.case import Measures
from scripts.measuring.results import Table, replace_file

JSON_NAME = "growth.json"
MARKDOWN_NAME = "growth.md"


@dataclass
class Growth:
    """Measures by number of keys, and by number of idle connections. `about`: of the run that measured last."""

    path: Path | None = None
    about: dict[str, str] = field(default_factory=dict)
    sizes: dict[int, Measures] = field(default_factory=dict)
    connections: dict[int, Measures] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> Growth:
        """What the file has; nothing if there is none. None: it is kept in memory only."""
        if path is None or not path.exists():
            return cls(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        sizes, connections = ({int(n): m for n, m in found[name].items()} for name in ("sizes", "connections"))
        return cls(path, found["about"], sizes, connections)

    def save(self) -> None:
        """Write the file, if there is to be one."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.sizes, self.connections = dict(sorted(self.sizes.items())), dict(sorted(self.connections.items()))
        found = {"about": self.about, "sizes": self.sizes, "connections": self.connections}
        replace_file(self.path, json.dumps(found, indent=1) + "\n")


class Column(NamedTuple):
    """One measure in a table. `shown`: as text."""

    measure: str
    label: str
    shown: Callable[[float], str]


def _places(places: int, scale: float = 1.0) -> Callable[[float], str]:
    return lambda value: f"{value * scale:,.{places}f}"


_TABLES: list[tuple[str, list[Column]]] = [
    (
        "Cost of a request, 50 connections with -P 16; of a query, one client",
        [
            Column("get_us", "GET µs", _places(2)),
            Column("get_server_us", "of the server's processor", _places(2)),
            Column("set_us", "SET µs", _places(2)),
            Column("set_server_us", "of the server's processor", _places(2)),
            Column("get_p999_ms", "GET p99.9 ms", _places(1)),
            Column("set_p999_ms", "SET p99.9 ms", _places(1)),
            Column("query_us", "query µs", _places(0)),
        ],
    ),
    (
        "Memory of a key, loaded and recovered; starts, and what each key adds to that of an empty server",
        [
            Column("bytes_each", "bytes, loaded", _places(0)),
            Column("recovered_bytes_each", "recovered", _places(0)),
            Column("empty_seconds", "empty s", _places(2)),
            Column("log_seconds", "from the log s", _places(2)),
            Column("log_us_each", "µs a key", _places(2)),
            Column("checkpoint_seconds", "from a checkpoint s", _places(2)),
            Column("checkpoint_us_each", "µs a key", _places(2)),
        ],
    ),
    (
        "What passes over the whole table",
        [
            Column("first_query_ms", "first query ms", _places(0)),
            Column("keys_ms", "KEYS ms", _places(0)),
            Column("first_scan_ms", "first SCAN ms", _places(1)),
            Column("slowest_scan_ms", "slowest SCAN ms", _places(1)),
            Column("scan_ms", "median SCAN ms", _places(2)),
            Column("full_scan_ms", "full SCAN ms", _places(0)),
        ],
    ),
    (
        "The first compaction, of everything from the log, under 16 clients, half GET and half SET",
        [
            Column("first.compaction_seconds", "seconds", _places(2)),
            Column("first.us_each", "µs a key", _places(2)),
            Column("first.per_second", "requests/s", _places(0)),
            Column("first.GET.p999_ms", "GET p99.9 ms", _places(1)),
            Column("first.SET.p999_ms", "SET p99.9 ms", _places(1)),
            Column("first.slowest_ms", "slowest ms", _places(1)),
            Column("first.child_peak_bytes", "child MiB", _places(0, 2**-20)),
        ],
    ),
    (
        "Compactions after it, of what those clients wrote meanwhile; beside each a stretch without one",
        [
            Column("compaction_seconds", "seconds", _places(2)),
            Column("per_second", "requests/s", _places(0)),
            Column("normal.per_second", "without", _places(0)),
            Column("GET.p999_ms", "GET p99.9 ms", _places(1)),
            Column("normal.GET.p999_ms", "without", _places(1)),
            Column("SET.p999_ms", "SET p99.9 ms", _places(1)),
            Column("normal.SET.p999_ms", "without", _places(1)),
            Column("slowest_ms", "slowest ms", _places(1)),
            Column("normal.slowest_ms", "without", _places(1)),
            Column("child_peak_bytes", "child MiB", _places(0, 2**-20)),
        ],
    ),
]

_CONNECTIONS = (
    "Idle connections, and 16 busy clients beside them, half GET and half SET",
    [
        Column("bytes_each", "KiB each", _places(1, 2**-10)),
        Column("beside.per_second", "requests/s", _places(0)),
        Column("without.per_second", "without", _places(0)),
        Column("beside.get_p50_ms", "GET p50 ms", _places(3)),
        Column("without.get_p50_ms", "without", _places(3)),
        Column("beside.p99_ms", "p99 ms", _places(2)),
        Column("without.p99_ms", "without", _places(2)),
        Column("beside.slowest_ms", "slowest ms", _places(1)),
        Column("without.slowest_ms", "without", _places(1)),
    ],
)


def _cell(column: Column, measures: Measures) -> str:
    """Not every size has every measure: see `table_size`."""
    return column.shown(measures[column.measure]) if column.measure in measures else "-"


def _table(title: str, what: str, columns: list[Column], measured: dict[int, Measures]) -> Table:
    rows = [[f"{number:,}", *(_cell(column, measures) for column in columns)] for number, measures in measured.items()]
    return Table(title, [what, *(column.label for column in columns)], rows)


def tables(growth: Growth) -> list[Table]:
    """Of what was measured."""
    found = [_table(title, "keys", columns, growth.sizes) for title, columns in _TABLES] if growth.sizes else []
    if growth.connections:
        found.append(_table(_CONNECTIONS[0], "connections", _CONNECTIONS[1], growth.connections))
    return found


_HOW = f"""Made by `scripts/growth`; all numbers are in [{JSON_NAME}]({JSON_NAME}). What is done at each size is told in
`scripts/growing/table_size.py` and `connections.py` there. Keys hold documents of some 100 bytes; numbers are medians
where there is more than one turn. With 1,000 keys what a server sets up at its first requests weighs more than they do.
GET and SET of a large table cost more because its keys and values are no longer in the processor's caches.
"""


def as_markdown(growth: Growth, pictures: Iterable[str] = ()) -> str:
    """The report. `pictures`: names of files beside it."""
    parts = ["# Growth", "", _HOW]
    parts += [f"- {what}: {f'`{text}`' if what == 'command' else text}" for what, text in growth.about.items()]
    parts += ["", *(table.as_markdown() for table in tables(growth))]
    return "\n".join([*parts, *(f"![{name}]({name})\n" for name in pictures)])
