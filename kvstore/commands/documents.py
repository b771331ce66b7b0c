"""The document verbs: insert, lookup, remove, size, query; and help.

A document is a value that holds JSON text, in the one table that all commands share: `insert` stores the text, GET
shows it, and `lookup` of a value that is no JSON says so. No verb returns an old value, so that a client that missed
the reply may repeat any request.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from kvstore.base.errors import NO_SUCH_KEY, Failure, InvalidRequest, shorten
from kvstore.base.jsontext import check_depth, dumps, dumps_to_keep, loads
from kvstore.base.limits import MAX_JSON_DEPTH
from kvstore.base.reply import OK, Help, JSONText, Reply
from kvstore.base.slices import Slices, Slicing
from kvstore.commands.context import Call
from kvstore.commands.help_text import alike, of_command, overview
from kvstore.commands.registry import FAST, READ, VERB, WHOLE, WRITE, Command, Json, Key, command, table
from kvstore.store.index import Found, atom_of


@command("INSERT", WRITE | FAST | VERB, group="document")
def insert(call: Call, key: Key, value: Json) -> Reply:
    """Store a JSON value at a key, in place of what was there."""
    depth = call.server.max_json_depth
    if depth < MAX_JSON_DEPTH:  # else it was looked at when it was read
        try:
            check_depth(value, depth)
        except ValueError as error:
            raise InvalidRequest(f"the value is {error}") from None
    call.table.write(key, dumps_to_keep(value))
    return OK


@command("LOOKUP", READ | FAST | VERB, group="document")
def lookup(call: Call, key: Key) -> Reply:
    """Get the JSON value at a key."""
    text = call.table.look_up_typed(key, bytes)
    if text is None:
        raise Failure(NO_SUCH_KEY)
    try:
        return JSONText(dumps(loads(text)))
    except ValueError as error:
        raise Failure(f"the value at this key is not JSON ({error}); read it with GET") from None


@command("REMOVE", WRITE | FAST | VERB, group="document")
def remove(call: Call, key: Key) -> Reply:
    """Remove a key and its value."""
    if not call.table.delete(key):
        raise Failure(NO_SUCH_KEY)
    return OK


@command("SIZE", READ | FAST | WHOLE | VERB, group="document")
def size(call: Call) -> Reply:
    """Count the keys."""
    return call.table.count()


@command("QUERY", READ | WHOLE | VERB, group="document")
def query(call: Call, subkey: bytes, subvalue: Json) -> Reply:
    """List the [key, value] pairs whose value is an object that has subkey equal to subvalue."""
    try:
        name = subkey.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"subkey is not UTF-8 at byte {error.start}") from None
    atom = atom_of(subvalue)
    if atom is None:
        raise InvalidRequest("only an atomic value (string, number, true, false or null) can be asked for")
    return _pairs(call.table.indexes.find(name, atom), call.table.slicing)


def _pairs(search: Generator[Any, None, list[Found]], slicing: Slicing) -> Slices:
    """What a search finds, as `query` shows it."""
    found = yield from search
    pairs: list[list[Any]] = []
    yield from slicing.go_through(map(pairs.append, ([key, _on_one_line(text)] for key, text in found)))
    return pairs


def _on_one_line(text: bytes) -> JSONText:
    """The text of a document. In JSON a line end is never part of a string, so a text without one can go as it is."""
    return JSONText(dumps(loads(text)) if b"\n" in text or b"\r" in text else text)


@command("HELP", FAST | VERB, group="document")
def help_(call: Call, verb: bytes = b"", subcommand: bytes = b"") -> Reply:
    """Tell how the verbs are used, or how one command is."""
    if not verb:
        return Help({row.name.lower(): row.usage() for row in table.rows() if row.flags & VERB}, overview(table))
    row = _row_named(verb, subcommand)
    subcommands = table.subcommands(row)
    shown: dict[str, Any] = {"usage": row.usage(), "summary": row.summary}
    if subcommands:
        shown["subcommands"] = {sub.name.lower(): sub.usage() for sub in subcommands}
    return Help(shown, of_command(row, subcommands))


def _row_named(verb: bytes, subcommand: bytes) -> Command:
    """The command that somebody asks about: `client`, `client list` or `client|list`. Raises Failure."""
    name, bar, rest = verb.partition(b"|")
    row = table.by_name.get(name.upper())
    if row is not None and (bar or subcommand):
        row = row.subcommands.get((rest or subcommand).upper())
    if row is not None:
        return row
    asked = shorten(b"%b %b" % (verb, subcommand) if subcommand else verb)
    meant = alike(table, asked)
    raise Failure(f"no such command '{asked}'" + (f"; did you mean {', '.join(meant)}?" if meant else ""))
