"""COMMAND: the command table, told to clients. What it says of each row: `description`.

redis-cli completes and hints from COMMAND DOCS; cluster-aware clients and proxies take the places of keys from
COMMAND INFO.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import Distinct, Reply, Status
from kvstore.commands.context import Call
from kvstore.commands.description import categories_of, documentation, flags_of, information
from kvstore.commands.glob import matcher
from kvstore.commands.key_flags import key_flags_of
from kvstore.commands.registry import Command, command, table
from kvstore.commands.row import NOT_KEYS


@command("COMMAND", group="server")
def command_(call: Call, *_ignored: bytes) -> Reply:
    """Describe every command, for programs."""
    return [information(row) for row in table.rows()]


table.add_help("COMMAND", group="server")


@command("COMMAND|COUNT", group="server")
def command_count(call: Call) -> Reply:
    """Count the commands."""
    return len(table.rows())


@command("COMMAND|INFO", group="server")
def command_info(call: Call, *command_names: bytes) -> Reply:
    """Describe some commands, or all, for programs."""
    if not command_names:
        return command_(call)
    return [None if (row := _find(name)) is None else information(row) for name in command_names]


@command("COMMAND|DOCS", group="server")
def command_docs(call: Call, *command_names: bytes) -> Reply:
    """Describe some commands, or all, for people.

    Unlike Valkey, summaries are in words of our own.
    """
    rows = [row for name in command_names if (row := _find(name))] if command_names else table.rows()
    return {row.name.lower(): documentation(row) for row in rows}


@command("COMMAND|LIST", group="server", options="[FILTERBY MODULE name|ACLCAT category|PATTERN pattern]")
def command_list(call: Call, *options: bytes) -> Reply:
    """List the names of the commands and subcommands."""
    keep = _list_filter(options)
    return [row.name.lower() for row in table.all_rows() if keep(row)]


def _list_filter(options: tuple[bytes, ...]) -> Callable[[Command], object]:
    if not options:
        return lambda row: True
    if len(options) != 3 or options[0].upper() != b"FILTERBY":
        raise syntax_error()
    kind, argument = options[1].upper(), options[2]
    if kind == b"MODULE":
        return lambda row: False
    if kind == b"ACLCAT":
        return lambda row: "@" + argument.decode("latin-1").lower() in categories_of(row)
    if kind == b"PATTERN":
        matches = matcher(argument, any_case=True)
        return lambda row: matches(row.name.lower().encode())
    raise syntax_error()


@command("COMMAND|GETKEYS", group="server")
def command_getkeys(call: Call, command: bytes, *args: bytes) -> Reply:
    """List the keys in a request."""
    return _keys_in([command, *args])[1]


@command("COMMAND|GETKEYSANDFLAGS", group="server")
def command_getkeysandflags(call: Call, command: bytes, *args: bytes) -> Reply:
    """List the keys in a request, each with what becomes of it."""
    request = [command, *args]
    row, keys = _keys_in(request)
    told = key_flags_of(row, request, keys)
    return [[key, Distinct(map(Status, flags))] for key, flags in zip(keys, told, strict=True)]


def _keys_in(request: list[bytes]) -> tuple[Command, list[bytes]]:
    """The row of a request, and its keys. Raises InvalidRequest, in Redis's words, if there are none."""
    try:
        row = table.find(request)
    except InvalidRequest:
        raise InvalidRequest("Invalid command specified") from None
    if not row.has_keys or row.flags & NOT_KEYS:
        raise InvalidRequest("The command has no key arguments")
    try:
        row.check_arity(request)
    except InvalidRequest:
        raise InvalidRequest("Invalid number of arguments specified for command") from None
    keys = row.keys_of(request)
    if not keys and "no_mandatory_keys" not in flags_of(row):
        raise InvalidRequest("Invalid arguments specified for command")
    return row, keys


def _find(name: bytes) -> Command | None:
    """The row of a command, or of a subcommand written `container|sub`."""
    container, _, sub = name.upper().partition(b"|")
    row = table.by_name.get(container)
    return row.subcommands.get(sub) if row is not None and sub else row
