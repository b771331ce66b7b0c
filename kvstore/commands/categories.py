"""The commands that rules about users may name, and their categories, by which rules may name many at once.

All of Valkey's are known, those that there are none of here too: a list of users that was written for Valkey can be
read as it is. The categories of a command: `description.categories_of`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from kvstore.commands.description import categories_of
from kvstore.commands.facts import facts_of, names
from kvstore.commands.registry import Command, table
from kvstore.commands.row import NOT_KEYS

#: In Valkey's order; the last one is our own.
CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
    "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting", "document",
)  # fmt: skip


@functools.cache
def known_commands() -> dict[str, frozenset[str]]:
    """The commands that rules may name, in upper case, `CONTAINER|SUB` for subcommands, with their categories."""
    foreign = {name.upper(): frozenset[str](facts_of(name).get("categories", ())) for name in names()}
    return foreign | {row.name: frozenset(categories_of(row)) for row in table.all_rows()}


@functools.cache
def subcommands_of(name: str) -> tuple[str, ...]:
    """The names of a command's subcommands."""
    return tuple(each for each in known_commands() if each.startswith(f"{name}|"))


@functools.cache
def commands_of(category: str) -> tuple[str, ...]:
    """The names of the commands of a category, which is written `@read`."""
    return tuple(name for name, categories in known_commands().items() if category in categories)


@functools.cache
def is_about_keys(row: Command) -> bool:
    """Whether a command has to do with what is in the database that is chosen."""
    has_keys = row.has_keys and not row.flags & NOT_KEYS
    return has_keys or not {"@keyspace", "@read", "@write"}.isdisjoint(known_commands()[row.name])


def rows_of(category: str) -> Iterator[Command]:
    """The commands and subcommands of a category that there are here."""
    return (row for row in table.all_rows() if f"@{category}" in known_commands()[row.name])
