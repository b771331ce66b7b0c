"""What COMMAND INFO and COMMAND DOCS say of commands, Valkey's or ours, in one form that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kit.valkey import Valkey

#: The fields of COMMAND INFO behind the name; then come the subcommands.
_FIELDS = ("arity", "flags", "first", "last", "step", "categories", "tips", "key_specs")


def of_valkey(valkey: Valkey) -> dict[str, dict[str, Any]]:
    """Of all commands of a running Valkey, see `descriptions`."""
    connection = valkey.connect()
    try:
        connection.ask([b"HELLO", b"3"])
        return descriptions(connection.ask([b"COMMAND"])[1], connection.ask([b"COMMAND", b"DOCS"])[1])
    finally:
        connection.close()


def descriptions(info: list[Any], docs: dict[bytes, Any]) -> dict[str, dict[str, Any]]:
    """All commands and subcommands by name, each with the fields of both replies.

    `info`, `docs`: the replies in RESP3, as hiredis reads them.
    """
    by_name = dict(_each_docs(_text(docs)))
    return {name: fields | by_name[name] for name, fields in _each_info(_text(info))}


def _each_info(info: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, *fields, subcommands in info:
        yield name, dict(zip(_FIELDS, fields, strict=True)) | {"subcommands": sorted(sub[0] for sub in subcommands)}
        yield from _each_info(subcommands)


def _each_docs(docs: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, told in docs.items():
        subcommands = told.pop("subcommands", {})
        yield name, told
        yield from _each_docs(subcommands)


def _text(reply: Any) -> Any:
    """The same with text for bytes."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, dict):
        return {_text(name): _text(told) for name, told in reply.items()}
    return list(map(_text, reply)) if isinstance(reply, (list, tuple, set)) else reply
