"""What `help` says to a person: lines of text, made from the command table.

Programs get the same as names with values (`documents.help_`). A line is no wider than a terminal and ends with LF; the
wire makes that CR LF. Each begins with a blank, also one with nothing else, so that it cannot be taken for any other
reply.
"""

from __future__ import annotations

import textwrap

from kvstore.commands.registry import VERB, Command, CommandTable

_WIDTH = 76


def overview(table: CommandTable) -> str:
    """The verbs and how each is used; the names of all commands; how to leave."""
    verbs = [row for row in table.rows() if row.flags & VERB]
    return _text(
        "Type a request, then Enter. Words with spaces need quotes, JSON does not.",
        "",
        *(line for row in verbs for line in _entry(row)),
        "",
        'For example: insert zebra {"weight":100}   and then: query weight 100',
        "",
        "Redis's commands, such as SET key value and GET key, are here too:",
        *_names([row for row in table.rows() if not row.flags & VERB]),
        "",
        "help NAME tells how one of them is used: help set, help client list.",
        "quit, exit or Ctrl-D to leave.",
    )


def of_command(row: Command, subcommands: list[Command]) -> str:
    """How one command is used and what it does; of a container, each of its subcommands."""
    return _text(*(line for each in (row, *subcommands) for line in _entry(each)))


def alike(table: CommandTable, name: str) -> list[str]:
    """The names of commands that somebody may have meant who typed a name that is none."""
    return [row.name for row in table.rows() if name.upper() in row.name]


def _entry(row: Command) -> list[str]:
    return [*_wrapped(row.usage(), ""), *_wrapped(row.summary, "    ")]


def _names(rows: list[Command]) -> list[str]:
    """The rows' names, group by group."""
    lines: list[str] = []
    for group in sorted({row.group for row in rows}):
        names = " ".join(row.name for row in rows if row.group == group)
        lines += _wrapped(f"{group}: {names}", "    ")
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent="        ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _text(*lines: str) -> str:
    return "".join(f"  {line}\n" for line in lines)
