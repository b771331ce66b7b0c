"""Make a new data directory from what `export` writes, read from standard input or a file.

That is JSON lines or, with --resp, commands in RESP: `SET key value`, `SET key value PXAT ms`, and those that `export
--resp` writes for databases and values of other types. A key that comes twice has its last value. Nothing is made if a
line or command is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from kvstore.base.errors import KVStoreError
from kvstore.base.limits import MIB
from kvstore.client.progress import Progress
from kvstore.scripting.shebang import parse_library
from kvstore.store.operations import DELETE, EXPIRE, LIBRARY_DATABASE, SELECT
from kvstore.store.state import Databases, State
from kvstore.tools.directory import check_new, new_directory, write_state
from kvstore.tools.export import LOAD_LIBRARY
from kvstore.tools.streams import binary_input, say
from kvstore.tools.words import from_json
from kvstore.values import TYPES

_LARGEST_MS = 2**63 - 1
_LARGEST_DATABASE = 2**31 - 1
_ARRAY, _BULK = re.compile(rb"\*([1-9][0-9]{0,6})"), re.compile(rb"\$([0-9]+)")
_LONGEST_LENGTH = 20
_DIGITS = re.compile(rb"[0-9]{1,19}")
#: What operations that are none raise when they are applied.
_WRONG = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, KVStoreError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("out", metavar="OUT", help="the data directory to make; it must not exist, or be empty")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="what to read (default: standard input)")
    parser.add_argument("--resp", action="store_true", help="commands in RESP, as `export --resp` writes them")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    check_new(arguments.out)
    databases = Databases(TYPES)
    with binary_input() if arguments.file == "-" else open(arguments.file, "rb") as file:
        (_read_commands if arguments.resp else _read_lines)(file, databases)
    with new_directory(arguments.out) as out:
        write_state(out, databases, 0)
    say(f"{arguments.out}: {databases.count()} keys; start a server with --data on it")
    return 0


# JSON lines


def _read_lines(file: BinaryIO, databases: Databases) -> None:
    """Take in JSON lines. Raises ValueError."""
    progress = _Reading(file)
    for number, line in enumerate(file, 1):
        progress.add(len(line))
        if not line.strip():
            continue
        try:
            _take(json.loads(line), databases)
        except _WRONG as error:
            raise ValueError(
                f'line {number} is none that `export` writes, {{"key": ..., "value": ...}}: {error}'
            ) from None
    progress.clear()


def _take(entry: dict[str, Any], databases: Databases) -> None:
    """Take in what one line says."""
    if "library" in entry:
        databases.at(LIBRARY_DATABASE).values[from_json(entry["library"])] = from_json(entry["code"])
        return
    state = databases.at(_database(entry.get("db", 0)))
    key, deadline_ms = from_json(entry["key"]), _deadline(entry.get("deadline_ms"))
    state.apply([DELETE, key])
    if "operations" not in entry:
        state.values[key] = from_json(entry["value"])
    else:
        for name, *words in entry["operations"]:
            _edit(state, [from_json(name), key, *map(from_json, words)])
        if (found := state.types.name_of(state.values[key])) != entry["type"]:
            raise ValueError(f"these operations make a {found}")
    if deadline_ms is not None:
        state.deadlines[key] = deadline_ms


def _database(number: object) -> int:
    if not (type(number) is int and 0 <= number <= _LARGEST_DATABASE):
        raise ValueError("db is the number of a database")
    return number


def _deadline(number: object) -> int | None:
    if number is not None and not (type(number) is int and 0 <= number <= _LARGEST_MS):
        raise ValueError("deadline_ms is a whole number of milliseconds since 1970")
    return number


def _edit(state: State, operation: list[bytes]) -> None:
    """Apply an operation of a type other than string. Raises ValueError, and others, for what is none."""
    if operation[0] not in state.types.by_edit:
        raise ValueError(f"{operation!r:.60}")
    state.apply(operation)


# Commands


def _read_commands(file: BinaryIO, databases: Databases) -> None:
    """Take in commands. Raises ValueError."""
    number, state = 1, databases.at(0)
    try:
        for words in _commands(file):
            words[0] = words[0].upper()
            if len(words) > 2 and (subcommand := b"%b|%b" % (words[0], words[1].upper())) in TYPES.by_edit:
                words[:2] = [subcommand]
            if words[0] == SELECT:
                state = databases.at(_database(_number(words, 1, 2)))
            elif len(words) == 4 and tuple(word.upper() for word in words[:3]) == LOAD_LIBRARY:
                databases.at(LIBRARY_DATABASE).values[parse_library(words[3]).name] = words[3]
            else:
                _execute(words, state)
            number += 1
    except _WRONG as error:
        raise ValueError(f"command {number} is none that `export --resp` writes: {error}") from None


def _execute(words: list[bytes], state: State) -> None:
    """Do what a command says. Raises ValueError, and others, for one that `export` does not write."""
    kind, key = words[0], words[1]
    if kind == state.types.plain.operation:
        if len(words) > 3:
            _deadline(_number(words, 4, 5))
            if words[3].upper() != b"PXAT":
                raise ValueError(f"{words!r:.60}")
        state.apply(words)
    elif kind == EXPIRE:
        state.values[key]  # raises KeyError: there must be such a key
        state.deadlines[key] = _number(words, 2, 3)
    elif kind == DELETE and len(words) == 2:
        state.apply(words)
    else:
        _edit(state, words)


def _number(words: Sequence[bytes], at: int, count: int) -> int:
    """The number at a place of `count` words. Raises ValueError."""
    if len(words) != count or _DIGITS.fullmatch(words[at]) is None:
        raise ValueError(f"{words!r:.60}")
    return int(words[at])


def _commands(file: BinaryIO) -> Iterator[list[bytes]]:
    """The words of each command. Raises ValueError."""
    progress = _Reading(file)
    unread = bytearray()
    while piece := file.read(MIB):
        progress.add(len(piece))
        unread += piece
        at = _skip_blank_lines(unread, 0)
        while (found := _words(unread, at)) is not None:
            words, at = found
            at = _skip_blank_lines(unread, at)
            yield words
        del unread[:at]
    if unread:
        raise ValueError("it is not complete")
    progress.clear()


def _skip_blank_lines(data: bytearray, at: int) -> int:
    while data[at : at + 1].isspace():
        at += 1
    return at


def _words(data: bytearray, at: int) -> tuple[list[bytes], int] | None:
    """The words of the command at byte `at`, and where it ends; None if more is needed. Raises ValueError.

    hiredis, which reads the store's own files, would take a length from a file of anybody's at its word.
    """
    words: list[bytes] = []
    count = 1
    kind = _ARRAY
    while len(words) < count:
        end = data.find(b"\r\n", at, at + _LONGEST_LENGTH)
        if end < 0 and len(data) - at < _LONGEST_LENGTH:
            return None
        if (match := kind.fullmatch(data, at, max(end, 0))) is None:
            raise ValueError(f"{bytes(data[at : at + 30])!r}")
        at, length = end + 2, int(match[1])
        if kind is _ARRAY:
            count, kind = length, _BULK
        elif len(data) < at + length + 2:
            return None
        else:
            words.append(bytes(data[at : at + length]))
            at += length + 2
    return words, at


class _Reading:
    """A bar for a file that is read, if its size is known."""

    def __init__(self, file: BinaryIO) -> None:
        self._progress = Progress("reading")
        self._total = os.fstat(file.fileno()).st_size
        self._read = 0

    def add(self, size: int) -> None:
        """So many bytes more."""
        self._read += size
        if self._total:
            self._progress.show(self._read / self._total)

    def clear(self) -> None:
        """Take the bar away."""
        self._progress.clear()
