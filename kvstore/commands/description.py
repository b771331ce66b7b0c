"""What COMMAND says of a row: its flags, categories and key specifications for programs (INFO), and its documentation
(DOCS), in the form of Valkey 9.1.

Made from the row, and from `facts` what no row can tell; a test compares it with Valkey's, field by field. The summary
is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kvstore.base.reply import Distinct, Status
from kvstore.commands.arguments import Parameter
from kvstore.commands.facts import facts_of
from kvstore.commands.key_flags import key_flags
from kvstore.commands.registry import ADMIN, FAST, NO_MULTI, READ, WRITE, Command, table
from kvstore.commands.row import BLOCKING, NO_SCRIPT, PUBSUB, NumberedKeys, StreamKeys, shown_name, singular
from kvstore.values import TYPES

#: The flags that Redis has, under its names.
_FLAG_NAMES = {
    WRITE: "write",
    READ: "readonly",
    ADMIN: "admin",
    PUBSUB: "pubsub",
    BLOCKING: "blocking",
    FAST: "fast",
    NO_MULTI: "no_multi",
    NO_SCRIPT: "noscript",
}
#: All that a row can tell.
FLAGS = [*_FLAG_NAMES.values(), "movablekeys"]
#: The ACL categories of a flag, and that of a group.
_CATEGORIES_OF_FLAG = {
    WRITE: ["@write"],
    READ: ["@read"],
    ADMIN: ["@admin", "@dangerous"],
    PUBSUB: ["@pubsub"],
    BLOCKING: ["@blocking"],
}
_CATEGORIES = {
    "connection": "@connection",
    "document": "@document",
    "generic": "@keyspace",
    "sorted-set": "@sortedset",
    "string": "@string",
    "transactions": "@transaction",
} | {row.name: f"@{row.name}" for row in TYPES.others}
#: How COMMAND DOCS calls our argument types; the others have the same name.
_DOC_TYPES = {"json": "string"}


def information(row: Command) -> list[Any]:
    """One command as COMMAND INFO has it: the ten fields of Redis 7."""
    return [
        row.name.lower(),
        row.arity,
        _statuses(flags_of(row)),
        *row.keys,
        _statuses(categories_of(row)),
        Distinct(_facts(row).get("tips", [])),
        Distinct(map(_shown_specification, _facts(row).get("key_specs") or key_specifications(row))),
        [information(sub) for sub in table.subcommands(row)],
    ]


def documentation(row: Command) -> dict[str, Any]:
    """One command as COMMAND DOCS has it: a map, without what there is nothing of."""
    facts = _facts(row)
    docs = {
        "summary": row.summary,
        "since": facts.get("since"),
        "group": row.group,
        "complexity": facts.get("complexity"),
        "doc_flags": _statuses(facts.get("doc_flags", [])),
        "deprecated_since": facts.get("deprecated_since"),
        "replaced_by": facts.get("replaced_by"),
        "history": Distinct(facts.get("history", [])),
        "arguments": list(map(_shown_argument, facts.get("arguments") or arguments_of(row))),
        "subcommands": {sub.name.lower(): documentation(sub) for sub in table.subcommands(row)},
    }
    return {name: told for name, told in docs.items() if told}


def flags_of(row: Command) -> list[str]:
    """The flags of a command, under the names that Valkey has for them."""
    return list(dict.fromkeys([*flags_told_by(row), *_facts(row).get("flags", [])]))


def categories_of(row: Command) -> list[str]:
    """The ACL categories of a command, by which COMMAND LIST filters."""
    return _facts(row).get("categories") or categories_told_by(row)


def _facts(row: Command) -> dict[str, Any]:
    return facts_of(row.name.lower())


def _statuses(names: Iterable[str]) -> Distinct:
    return Distinct(map(Status, names))


def _shown_specification(specification: dict[str, Any]) -> dict[str, Any]:
    return {name: _statuses(told) if name == "flags" else told for name, told in specification.items()}


def _shown_argument(argument: dict[str, Any]) -> dict[str, Any]:
    """An argument with its members in Valkey's order, and the text to display, which mostly is its name."""
    kind = argument["type"]
    shown = {"name": argument["name"], "type": kind}
    if kind not in ("oneof", "block"):
        shown["display_text"] = argument.get("display_text", argument["name"])
    shown |= {name: told for name, told in argument.items() if name not in (*shown, "flags", "arguments")}
    if "flags" in argument:
        shown["flags"] = _statuses(argument["flags"])
    if "arguments" in argument:
        shown["arguments"] = list(map(_shown_argument, argument["arguments"]))
    return shown


def flags_told_by(row: Command) -> list[str]:
    """Those flags of a command that its row tells."""
    names = [name for flag, name in _FLAG_NAMES.items() if row.flags & flag]
    return names if row.find_keys is None else [*names, "movablekeys"]


def categories_told_by(row: Command) -> list[str]:
    """Those categories that its row tells: its group, what it does, how fast."""
    told = [name for flag, names in _CATEGORIES_OF_FLAG.items() if row.flags & flag for name in names]
    if row.group == "scripting":  # what a script does is its commands' business
        told = []
    group = [_CATEGORIES[row.group]] if row.group in _CATEGORIES and not row.subcommands else []
    return [*group, *told, "@fast" if row.flags & FAST else "@slow"]


def key_specifications(row: Command) -> list[dict[str, Any]]:
    """Where the keys are, and what becomes of them, in the form that Redis 7 has for it, as far as the row tells."""
    flags = key_flags(row)
    places = _key_places(row, len(flags))
    return [
        {"flags": flags[min(number, len(flags) - 1)], "begin_search": begin, "find_keys": find}
        for number, (begin, find) in enumerate(places)
    ]


def _key_places(row: Command, kinds: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Where each kind of key begins, and how to go on from there. `kinds`: how many kinds of flags they have."""
    first, last, step = row.keys
    firsts = range(first, first + kinds - 1) if row.find_keys is None else [first]
    places = [_range(_index(at), 0, step) for at in firsts if first]
    if row.find_keys is None:
        at = first + kinds - 1
        return [*places, _range(_index(at), last if last < 0 else last - at, step)] if first else []
    if isinstance(row.find_keys, NumberedKeys):
        number = {"keynumidx": 0, "firstkey": 1, "keystep": row.find_keys.step}
        return [*places, (_index(row.find_keys.place), {"type": "keynum", "spec": number})]
    if isinstance(row.find_keys, StreamKeys):
        begin = {"type": "keyword", "spec": {"keyword": "STREAMS", "startfrom": row.find_keys.first}}
        return [_range(begin, -1, 1, limit=2)]
    return places


def _index(at: int) -> dict[str, Any]:
    return {"type": "index", "spec": {"index": at}}


def _range(begin: dict[str, Any], last: int, step: int, limit: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    return begin, {"type": "range", "spec": {"lastkey": last, "keystep": step, "limit": limit}}


def arguments_of(row: Command) -> list[dict[str, Any]]:
    """The arguments of a command, as far as its row tells."""
    if row.subcommands:
        return []
    kinds = len(key_specifications(row))
    arguments: list[dict[str, Any]] = []
    for parameter in row.parameters[:-1] if row.repeats else row.told_parameters:
        keys = sum(argument["type"] == "key" for argument in arguments)
        arguments.append(_argument_of(row, parameter, min(keys, kinds - 1)))
    if row.repeats:
        arguments[-1]["flags"] = ["multiple"]
    return arguments


def _argument_of(row: Command, parameter: Parameter, key_spec: int) -> dict[str, Any]:
    name, argument, optional, variadic = parameter
    told: dict[str, Any] = {
        "name": shown_name(singular(name) if variadic else name),
        "type": _DOC_TYPES.get(argument.kind, argument.kind),
    }
    if variadic and row.options:
        told["display_text"] = row.options
    if argument.kind == "key":
        told["key_spec_index"] = key_spec
    flags = [flag for flag, holds in (("optional", optional or variadic), ("multiple", variadic)) if holds]
    return told | {"flags": flags} if flags else told
