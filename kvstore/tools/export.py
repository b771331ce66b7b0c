"""Write all keys of a data directory to standard output, as JSON lines or, with --resp, for `redis-cli --pipe`.

A line is {"key": ..., "value": ..., "deadline_ms": N}: bytes that are UTF-8 as a string, others as {"base64": "..."};
the deadline, in milliseconds since 1970, only if there is one. A key of another database than 0 has "db": N as well. A
value of another type than string is told as what makes it: {"key": ..., "type": "hash", "operations": [["HSET",
"field", "value"], ...]}. In RESP such a key is deleted first. A library of functions is {"library": ..., "code": ...};
or FUNCTION LOAD REPLACE. A running server may hold the directory.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator

from kvstore.client.progress import Progress
from kvstore.store.operations import LIBRARY_DATABASE, encode, encode_delete, encode_select
from kvstore.store.state import Databases, State
from kvstore.tools.directory import existing, look
from kvstore.tools.streams import output
from kvstore.tools.words import to_json

#: The words before a library's source.
LOAD_LIBRARY = (b"FUNCTION", b"LOAD", b"REPLACE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--resp", action="store_true", help="commands in RESP")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    out = output().buffer
    databases = look(existing(arguments.directory)).databases
    out.writelines(_commands(databases) if arguments.resp else _lines(databases))
    out.flush()
    return 0


def _commands(databases: Databases) -> Iterator[bytes]:
    selected = 0
    for number, state, key in _keys(databases):
        if number == LIBRARY_DATABASE:
            yield encode(*LOAD_LIBRARY, state.values[key])
            continue
        if number != selected:
            yield encode_select(number)
            selected = number
        if state.values[key].__class__ is not bytes:
            yield encode_delete(key)
        yield from map(_as_command, state.whole(key))


#: An operation whose name is that of a subcommand: `XGROUP|CREATE key ...`.
_SUBCOMMAND = re.compile(rb"\*([0-9]+)\r\n\$[0-9]+\r\n([A-Z]+)\|([A-Z]+)\r\n").match


def _as_command(operation: bytes) -> bytes:
    """An operation as the command that does the same."""
    found = _SUBCOMMAND(operation)
    if found is None:
        return operation
    head = b"*%d\r\n" % (int(found[1]) + 1)
    return (
        head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in found.group(2, 3)) + operation[found.end() :]
    )


def _lines(databases: Databases) -> Iterator[bytes]:
    for number, state, key in _keys(databases):
        yield json.dumps(_entry(number, state, key)).encode("ascii") + b"\n"


def _entry(number: int, state: State, key: bytes) -> dict[str, object]:
    """What a line says of a key, or a library."""
    if number == LIBRARY_DATABASE:
        return {"library": to_json(key), "code": to_json(state.values[key])}
    value, deadline_ms = state.values[key], state.deadlines.get(key)
    entry: dict[str, object] = {"db": number} if number else {}
    entry["key"] = to_json(key)
    if value.__class__ is bytes:
        entry["value"] = to_json(value)
    else:
        row = state.types.by_class[value.__class__]
        entry["type"] = row.name
        entry["operations"] = [[to_json(word) for word in (name, *words)] for name, words in row.whole(value)]
    return entry if deadline_ms is None else entry | {"deadline_ms": deadline_ms}


def _keys(databases: Databases) -> Iterator[tuple[int, State, bytes]]:
    """Each key with its database, which has that number, database by database; with a bar."""
    progress = Progress("exporting")
    total, done = databases.count(), 0
    for number, state in sorted(databases.by_number.items()):
        for key in state.values:
            yield number, state, key
            done += 1
            progress.show(done / total)
    progress.clear()
