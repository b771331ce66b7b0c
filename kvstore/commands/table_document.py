"""The command table as docs/COMMANDS.md shows it, made from the rows: Markdown, one table for each group.

It makes the text and writes no file: `scripts/command_table` puts it into the page, and a test holds that the page
is up to date.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.commands.registry import FAST, IMMEDIATE, NO_FLAGS, NO_MULTI, READ, WHOLE, WRITE, Command, CommandTable

#: The lines around the section.
_BEGIN, _END = "<!-- begin: scripts/command_table -->\n", "<!-- end -->\n"

#: The groups in the order of the page: ours first, then as Redis's own documentation goes; others follow by name.
_ORDER = ("document", "generic", "string", "transactions", "connection", "server")

#: What a flag means to who sends the request; the others show themselves in the summary.
_NOTES = {
    WRITE: "writes", READ: "reads", WHOLE: "whole table", FAST: "fast", NO_MULTI: "not in MULTI",
    IMMEDIATE: "at once in MULTI",
}  # fmt: skip


def replace_section(page: str, table: CommandTable) -> str:
    """The page with its section made anew. Raises ValueError if it does not have both markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {_BEGIN!r} and {_END!r} around the table of commands")
    return f"{before}{begin}\n{markdown(table)}\n{end}{after}"


def markdown(table: CommandTable) -> str:
    """The whole section: each group under its heading."""
    rows = list(_shown_rows(table))
    groups = sorted({row.group for row in rows}, key=_place)
    parts = [_group(group, [row for row in rows if row.group == group]) for group in groups]
    return "\n".join(parts)


def _shown_rows(table: CommandTable) -> Iterator[Command]:
    """Every row that can be called: a container that is nothing by itself is told by its subcommands."""
    for row in table.all_rows():
        if not row.subcommands or row.least == 1:
            yield row


def _place(group: str) -> tuple[int, str]:
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), group)


def _group(group: str, rows: list[Command]) -> str:
    lines = [f"### {group.capitalize()}", "", "| request | what it does | |", "|---|---|---|"]
    return "\n".join(lines + [_line(row) for row in rows]) + "\n"


def _line(row: Command) -> str:
    hidden = READ if row.flags & WHOLE else NO_FLAGS
    notes = [text for flag, text in _NOTES.items() if row.flags & ~hidden & flag]
    return f"| `{_cell(row.usage())}` | {_cell(row.summary)} | {', '.join(notes)} |"


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table, where a bar ends the cell even in code."""
    return text.replace("|", "\\|")
