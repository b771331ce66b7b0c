"""The command table as docs/COMMANDS.md shows it, made from the rows and from what is known of Valkey's: Markdown, a
list for each group.

Each command has its lines and nothing is counted, so that two branches that add commands can be merged. It makes the
text and writes no file: `scripts/command_table` puts it into the page, and a test holds that the page is up to date.

What differs from Valkey stands in the docstring of the command, in a paragraph that begins with `Unlike Valkey`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from kvstore.commands.description import flags_of
from kvstore.commands.facts import facts_of, names
from kvstore.commands.registry import IMMEDIATE, WHOLE, Command, CommandTable

#: The lines around the section.
_BEGIN, _END = "<!-- begin: scripts/command_table -->\n", "<!-- end -->\n"

#: The groups in the order of the page: ours first, then as Redis's own documentation goes; others follow by name.
_ORDER = ("document", "generic", "string", "transactions", "connection", "server")

#: Flags of our own, as they are shown.
_NOTES = {WHOLE: "whole table", IMMEDIATE: "at once in MULTI"}
_UNLIKE = "Unlike Valkey"


def replace_section(page: str, table: CommandTable) -> str:
    """The page with its section made anew. Raises ValueError if it does not have both markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {_BEGIN!r} and {_END!r} around the table of commands")
    return f"{before}{begin}\n{markdown(table)}\n{end}{after}"


def markdown(table: CommandTable) -> str:
    """The whole section: each group under its heading, then what Valkey has and we have not."""
    rows = list(table.all_rows())
    parts = [
        _list(f"{group.capitalize()} commands", (_item(row) for row in rows if row.group == group))
        for group in sorted({row.group for row in rows}, key=_place)
    ]
    return "\n".join([*parts, _list("Not here", (f"- `{name}`" for name in _absent(rows)))])


def _place(group: str) -> tuple[int, str]:
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), group)


def _list(heading: str, items: Iterator[str]) -> str:
    return "\n".join([f"## {heading}", "", *items, ""])


def _item(row: Command) -> str:
    """One command: how it is written, what it does, since when and how fast; then what is another thing in Valkey."""
    facts = facts_of(row.name.lower())
    since = f"Since {facts['since']}" if "since" in facts else "Not in Valkey"
    told = [f"{since}; arity {row.arity}", *flags_of(row), *(text for flag, text in _NOTES.items() if row.flags & flag)]
    lines = [f"- **`{row.usage()}`**: {row.summary}", f"  {', '.join(told)}. {facts.get('complexity', '')}".rstrip()]
    return "\n".join([*lines, *(f"  *{_UNLIKE}*{text}" for text in differences(row))])


def differences(row: Command) -> list[str]:
    """What its docstring says that differs from Valkey: each paragraph that begins so, on one line, without that."""
    paragraphs = (inspect.getdoc(row.function) or "").split("\n\n")
    return [" ".join(each.split()).removeprefix(_UNLIKE) for each in paragraphs if each.startswith(_UNLIKE)]


def _absent(rows: list[Command]) -> list[str]:
    """What Valkey has and we have not, in upper case; a container that is not here stands for all that it holds."""
    here = {row.name.lower() for row in rows}
    holds = {row.name.lower() for row in rows if row.subcommands}
    missing = [name for name in names() if name not in here and ("|" not in name or name.partition("|")[0] in holds)]
    return [name.upper().replace("|", " ") for name in missing]
