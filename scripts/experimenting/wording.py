"""How numbers are worded in tables and text, and how the variants are called; a table's outline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.experimenting.data import at
from scripts.experimenting.rows import SumRow
from scripts.measuring.results import Table

SYNCS = ("always", "no")

#: How a variant of the server's own curve is called in tables and plots.
VARIANT_NAMES = {
    "always": "--sync always",
    "no": "--sync no",
    "single": "one sync per request",
    "deep": "--sync always, 16 at a time",
    "redis-benchmark": "redis-benchmark",
}

#: The columns of `processors`.
PROCESSORS = ["server", "clients", "other", "disk wait", "idle"]


def count(number: float) -> str:
    """A rate or a number, with commas; one decimal below 100."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def ms(milliseconds: float) -> str:
    """A time in milliseconds, three significant digits or so."""
    return (
        f"{milliseconds:.3f}"
        if milliseconds < 1
        else f"{milliseconds:.2f}"
        if milliseconds < 100
        else f"{milliseconds:.0f}"
    )


def percent(part: float) -> str:
    """A share."""
    return f"{100 * part:.0f} %"


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], part: str) -> str:
    """A table in markdown; without rows, a line that says how to measure them. `part`: of scripts/experiment."""
    if not rows:
        return f"*Not measured yet: `scripts/experiment {part}`.*\n"
    return Table(caption, list(columns), [list(row) for row in rows]).as_markdown()


def by_clients(columns: Sequence[Sequence[SumRow]], cells: Sequence[Callable[[SumRow], str]]) -> list[list[str]]:
    """A line for each number of clients; for each kind of cell, one of each series."""
    clients = sorted({row.clients for rows in columns for row in rows})
    lines = []
    for number in clients:
        line = [str(number)]
        for cell in cells:
            for rows in columns:
                row = at(rows, number)
                line.append(cell(row) if row else "-")
        lines.append(line)
    return lines


def processors(row: SumRow) -> list[str]:
    """Processors in use, as text."""
    used = (row.server_cpu, row.clients_cpu, row.other_cpu, row.disk_wait_cpu, row.idle_cpu)
    return [f"{cpu:.2f}" for cpu in used]
