"""COMMAND: the command table, told to clients. All of it is made from the rows.

redis-cli completes and hints from COMMAND DOCS; cluster-aware clients and proxies take the places of keys from
COMMAND INFO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import Reply, Status
from kvstore.commands.arguments import Parameter
from kvstore.commands.context import Call
from kvstore.commands.glob import matcher
from kvstore.commands.key_flags import key_flags, key_flags_of
from kvstore.commands.registry import ADMIN, FAST, NO_MULTI, READ, WRITE, Command, command, table
from kvstore.commands.row import BLOCKING, NOT_KEYS, PUBSUB
from kvstore.values import TYPES

#: The flags that Redis has, under its names.
_FLAG_NAMES = {
    READ: "readonly",
    WRITE: "write",
    FAST: "fast",
    ADMIN: "admin",
    NO_MULTI: "no_multi",
    BLOCKING: "blocking",
    PUBSUB: "pubsub",
}
#: The ACL categories of a flag, and that of a group.
_CATEGORIES_OF_FLAG = {
    READ: ["@read"],
    WRITE: ["@write"],
    ADMIN: ["@admin", "@dangerous"],
    BLOCKING: ["@blocking"],
    PUBSUB: ["@pubsub"],
}
_CATEGORIES = {
    "connection": "@connection",
    "document": "@document",
    "generic": "@keyspace",
    "sorted-set": "@sortedset",
    "string": "@string",
    "transactions": "@transaction",
} | {row.name: f"@{row.name}" for row in TYPES.others}
#: Those of commands that take several types, in place of their group's.
_CATEGORIES_OF_COMMAND = dict.fromkeys(("SORT", "SORT_RO"), ("@set", "@sortedset", "@list", "@dangerous"))
#: How COMMAND DOCS calls our argument types; the others have the same name.
_DOC_TYPES = {"json": "string"}


@command("COMMAND", group="server")
def command_(call: Call, *ignored: bytes) -> Reply:
    """Describe every command, for programs."""
    return [_entry(row) for row in table.rows()]


table.add_help("COMMAND", group="server")


@command("COMMAND|COUNT", group="server")
def command_count(call: Call) -> Reply:
    """Count the commands."""
    return len(table.rows())


@command("COMMAND|INFO", group="server")
def command_info(call: Call, *commands: bytes) -> Reply:
    """Describe some commands, or all, for programs."""
    if not commands:
        return command_(call)
    return [None if (row := _find(name)) is None else _entry(row) for name in commands]


@command("COMMAND|DOCS", group="server")
def command_docs(call: Call, *commands: bytes) -> Reply:
    """Describe some commands, or all, for people."""
    rows = [row for name in commands if (row := _find(name))] if commands else table.rows()
    return {row.name.lower(): _docs(row) for row in rows}


@command("COMMAND|LIST", group="server", options="[FILTERBY MODULE name|ACLCAT category|PATTERN pattern]")
def command_list(call: Call, *options: bytes) -> Reply:
    """List the names of the commands."""
    keep = _list_filter(options)
    return [row.name.lower() for row in table.rows() if keep(row)]


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
def command_getkeys(call: Call, command: bytes, *arguments: bytes) -> Reply:
    """List the keys in a request."""
    return _keys_in([command, *arguments])[1]


@command("COMMAND|GETKEYSANDFLAGS", group="server")
def command_getkeysandflags(call: Call, command: bytes, *arguments: bytes) -> Reply:
    """List the keys in a request, each with what becomes of it."""
    request = [command, *arguments]
    row, keys = _keys_in(request)
    told = key_flags_of(row, request, keys)
    return [[key, {Status(flag) for flag in flags}] for key, flags in zip(keys, told, strict=True)]


def _keys_in(request: list[bytes]) -> tuple[Command, list[bytes]]:
    """The row of a request, and its keys. Raises InvalidRequest, in Redis's words, if there are none."""
    try:
        row = table.find(request)
    except InvalidRequest:
        raise InvalidRequest("Invalid command specified") from None
    if (not row.keys[0] and row.find_keys is None) or row.flags & NOT_KEYS:
        raise InvalidRequest("The command has no key arguments")
    try:
        row.check_arity(request)
    except InvalidRequest:
        raise InvalidRequest("Invalid number of arguments specified for command") from None
    keys = row.keys_of(request)
    if not keys:
        raise InvalidRequest("Invalid arguments specified for command")
    return row, keys


def _find(name: bytes) -> Command | None:
    """The row of a command, or of a subcommand written `container|sub`."""
    container, _, sub = name.upper().partition(b"|")
    row = table.by_name.get(container)
    return row.subcommands.get(sub) if row is not None and sub else row


def _entry(row: Command) -> list[Any]:
    """One command as COMMAND INFO has it: the ten fields of Redis 7."""
    first, last, step = row.keys
    return [
        row.name.lower(),
        row.arity,
        {Status(name) for name in flag_names(row)},
        first,
        last,
        step,
        {Status(name) for name in categories_of(row)},
        [],  # tips
        key_specifications(row) if first else [],
        [_entry(sub) for sub in table.subcommands(row)],
    ]


def flag_names(row: Command) -> list[str]:
    """The flags of a command that Redis has, too."""
    names = [name for flag, name in _FLAG_NAMES.items() if row.flags & flag]
    return names if row.find_keys is None else [*names, "movablekeys"]


def categories_of(row: Command) -> list[str]:
    """The ACL categories, by which COMMAND LIST filters: how fast, what it does, its group."""
    speed = "@fast" if row.flags & FAST else "@slow"
    told = [name for flag, names in _CATEGORIES_OF_FLAG.items() if row.flags & flag for name in names]
    if row.group == "scripting":  # what a script does is its commands' business
        return [speed] if row.subcommands else [speed, "@scripting"]
    has_group = row.group in _CATEGORIES and not row.subcommands
    own = _CATEGORIES_OF_COMMAND.get(row.name, (_CATEGORIES[row.group],) if has_group else ())
    return [speed, *told, *own]


def key_specifications(row: Command) -> list[dict[str, Any]]:
    """Where the keys are, and what becomes of them, in the form that Redis 7 has for it; those behind their number are
    left out.
    """
    first, last, step = row.keys
    told = key_flags(row)
    if len(told) == 1 or row.find_keys is not None:
        return [_key_specification(told[0], first, last, step)]
    rest = [(flags, first + place, first + place) for place, flags in enumerate(told)]
    rest[-1] = (told[-1], first + len(told) - 1, last)
    return [_key_specification(*each, step) for each in rest]


def _key_specification(flags: list[str], first: int, last: int, step: int) -> dict[str, Any]:
    return {
        "flags": {Status(flag) for flag in flags},
        "begin_search": {"type": "index", "spec": {"index": first}},
        "find_keys": {
            "type": "range",
            "spec": {"lastkey": last if last < 0 else last - first, "keystep": step, "limit": 0},
        },
    }


def _docs(row: Command) -> dict[str, Any]:
    docs: dict[str, Any] = {"summary": row.summary, "group": row.group}
    if row.parameters:
        docs["arguments"] = [_argument_docs(row, parameter) for parameter in row.parameters]
    if row.subcommands:
        docs["subcommands"] = {sub.name.lower(): _docs(sub) for sub in table.subcommands(row)}
    return docs


def _argument_docs(row: Command, parameter: Parameter) -> dict[str, Any]:
    name, argument, optional, variadic = parameter
    shown = row.options if variadic and row.options else name
    docs: dict[str, Any] = {
        "name": name,
        "type": _DOC_TYPES.get(argument.kind, argument.kind),
        "display_text": shown,
    }
    if argument.kind == "key":
        docs["key_spec_index"] = 0
    flags = [Status(flag) for flag, holds in (("optional", optional or variadic), ("multiple", variadic)) if holds]
    return docs | {"flags": flags} if flags else docs
