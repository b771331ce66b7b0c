"""The command table: a command is one function and one row, and everything generic is read from the row.

    @command("INCRBY", WRITE | FAST, group="string")
    def incrby(call: Call, key: Key, increment: Integer) -> Reply:
        \"\"\"Add a whole number to the number stored at a key.\"\"\"

The function's signature is the declaration: its parameters after `call` give the arity, which arguments are keys
(annotated `Key`), and how each is converted (`Integer`, `Number`, `Json`; plain `bytes` is passed as it came; see
`arguments`). The first line of the docstring is the summary. Arity, types and flags are the row's (see `row`), once; a
command body never repeats them. COMMAND, HELP and docs/COMMANDS.md are made from the table.

A subcommand is a row of its own, named `CLIENT|SETNAME`; its function does not see the subcommand's name. What
follows the fixed arguments is one variadic parameter, `*options: bytes`, that the body reads; the row's `options`
text shows it to people.

Rejected: dispatch by getattr on what a peer sends (a peer could name any attribute); classes per command (three lines
of ceremony each, three hundred times).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kvstore.base.errors import InvalidRequest, shorten, unknown_command
from kvstore.base.reply import Reply, Status
from kvstore.commands.arguments import INT64_MAX, INT64_MIN, Integer, IntegerText, Json, Key, Number, to_integer
from kvstore.commands.row import (
    ADMIN,
    FAST,
    IMMEDIATE,
    NO_FLAGS,
    NO_MULTI,
    READ,
    RUNS,
    TELLS,
    VERB,
    WHOLE,
    WRITE,
    Command,
    Flag,
    KeyPlaces,
    Many,
    Members,
    OnlyReads,
)

_Function = TypeVar("_Function", bound=Callable[..., Reply])


class CommandTable:
    """All rows, by name. One table for all grammars; made once at import of `kvstore.commands`."""

    def __init__(self) -> None:
        #: Rows by name in upper and in lower case, as nearly every client spells them; `find` takes any spelling. No
        #: more are added at run time: a name has 2**length spellings.
        self.by_name: dict[bytes, Command] = {}

    def command(
        self,
        name: str,
        flags: Flag = NO_FLAGS,
        *,
        group: str,
        keys: KeyPlaces | None = None,
        options: str = "",
        least: int = 0,
        members: Members = (),
    ) -> Callable[[_Function], _Function]:
        """Decorator: add a row for the function. A container comes before its subcommands.

        `keys`: where the signature cannot say it: (first, last, step) (MSET), or a function of the request's words, as
        `numbered_keys` makes them (LMPOP). `options`, `least`, `members`: see `Command`.
        """

        def add(function: _Function) -> _Function:
            row = Command(name, flags, group, function, keys, options, least, members)
            if row.words == 1:
                self.by_name[name.encode()] = self.by_name[name.lower().encode()] = row
            else:
                container, sub = name.split("|")
                self.by_name[container.encode()].subcommands[sub.encode()] = row
            return function

        return add

    def many(self, name: str, *words: int, one_element: int = 0) -> Callable[[Many], Many]:
        """Decorator: the function executes many requests of the command `name` at once.

        `words`: those of so many words, the name counts; none: of any number, more or less.

        It is given the table, the arguments in columns, and the requests as they came, or None if the name was not
        spelled as here. It does all of them or, returning None or raising RequestError, none; it must mean what the
        command means. Returns one reply for all (Status), or strings and nulls, `Numbers` or `Arrays`, one for each.
        `one_element`: see `Command`; others of the value at its key neither change it nor are changed then.
        """

        def add(function: Many) -> Many:
            row = self.by_name[name.encode()]
            row.many, row.words_of_many, row.one_element = function, words, one_element
            return function

        return add

    def only_reads(self, *names: str) -> Callable[[OnlyReads], OnlyReads]:
        """Decorator: the function tells whether a request of these commands runs what says that it changes nothing."""

        def add(function: OnlyReads) -> OnlyReads:
            for name in names:
                self.by_name[name.encode()].only_reads = function
            return function

        return add

    def container(self, name: str, summary: str, *, group: str) -> None:
        """Add a row that only holds subcommands, and its HELP."""

        def needs_subcommand(call: Any, subcommand: bytes, *arguments: bytes) -> Reply:
            raise AssertionError("find() leads to a subcommand or raises")

        needs_subcommand.__doc__ = summary
        self.command(name, group=group)(needs_subcommand)
        self.add_help(name, group=group)

    def add_help(self, name: str, *, group: str) -> None:
        """Add the HELP subcommand of a container: what its subcommands are, made from their rows."""
        row = self.by_name[name.encode()]

        def help_(call: Any) -> Reply:
            """List the subcommands."""
            shown = [f"{row.name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
            for sub in self.subcommands(row):
                shown += [sub.usage().partition(" ")[2], "    " + sub.summary]
            return [Status(line) for line in shown]

        self.command(f"{name}|HELP", group=group)(help_)

    @functools.cached_property
    def plain(self) -> dict[bytes, Command]:
        """The rows that only read or change data, or tell others: no subcommands, nothing of the connection; in upper
        and lower case.

        To be asked for when the table is full.
        """
        rows = [row for row in self.rows() if row.flags & (READ | WRITE | TELLS | RUNS) and not row.subcommands]
        return {name: row for row in rows for name in (row.name.encode(), row.name.lower().encode())}

    @functools.cached_property
    def verbs(self) -> dict[str, Command]:
        """The verbs of our own, by their names in lower case. For a full table."""
        return {row.name.lower(): row for row in self.rows() if row.flags & VERB}

    @functools.cached_property
    def methods(self) -> dict[str, Command]:
        """The commands that a JSON line may call, by their names in lower case. For a full table."""
        return {row.name.lower(): row for row in self.rows() if row.flags & VERB or row.members}

    def find(self, request: list[bytes]) -> Command:
        """The row for a request, in any case of letters; follows subcommands.

        Raises InvalidRequest if there is none.
        """
        row = self.by_name.get(request[0].upper())
        if row is None:
            raise InvalidRequest(unknown_command(request))
        if row.subcommands and len(request) > 1:
            sub = row.subcommands.get(request[1].upper())
            if sub is None:
                raise InvalidRequest(f"unknown subcommand '{shorten(request[1])}'. Try {row.name} HELP.")
            return sub
        return row

    def find_typed(self, request: list[bytes]) -> Command:
        """The same for a request that a person typed: `exit` is QUIT, and the error says how to go on."""
        name = request[0].upper()
        if name in self.by_name:
            return self.find(request)
        if name == b"EXIT":
            return self.by_name[b"QUIT"]
        raise InvalidRequest(f"{unknown_command(request)}; try help")

    def rows(self) -> list[Command]:
        """Every top-level row, in alphabetical order."""
        return sorted(set(self.by_name.values()), key=lambda row: row.name)

    def subcommands(self, row: Command) -> list[Command]:
        """The subcommands of a container, in alphabetical order."""
        return sorted(row.subcommands.values(), key=lambda sub: sub.name)

    def all_rows(self) -> Iterator[Command]:
        """Every row, each container followed by its subcommands."""
        for row in self.rows():
            yield row
            yield from self.subcommands(row)


table = CommandTable()
command = table.command
container = table.container
many = table.many
only_reads = table.only_reads

#: With what a row's declaration needs from its neighbours, so that a family has it from one place.
__all__ = [
    "ADMIN", "FAST", "IMMEDIATE", "INT64_MAX", "INT64_MIN", "NO_FLAGS", "NO_MULTI", "READ", "VERB", "WHOLE", "WRITE",
    "Command", "CommandTable", "Flag", "Integer", "IntegerText", "Json", "Key", "Number", "command", "container",
    "many", "only_reads", "table", "to_integer",
]  # fmt: skip
