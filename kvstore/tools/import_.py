"""Make a new data directory from what `export` writes, read from standard input or a file.

That is JSON lines or, with --resp, commands `SET key value` and `SET key value PXAT ms` in RESP. A key that comes twice
has its last value. Nothing is made if a line or command is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from kvstore.base.limits import MIB
from kvstore.client.progress import Progress
from kvstore.store.archive import NO_HISTORY, Position
from kvstore.tools.directory import check_new, new_directory, write_state
from kvstore.tools.streams import binary_input, say
from kvstore.tools.words import from_json

#: A key, its value and its deadline in ms since the epoch, or None.
Entry = tuple[bytes, bytes, int | None]

_LARGEST_MS = 2**63 - 1
_ARRAY, _BULK = re.compile(rb"\*([35])"), re.compile(rb"\$([0-9]+)")
_LONGEST_LENGTH = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("out", metavar="OUT", help="the data directory to make; it must not exist, or be empty")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="what to read (default: standard input)")
    parser.add_argument("--resp", action="store_true", help="SET commands in RESP, as `export --resp` writes them")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    check_new(arguments.out)
    read = _commands if arguments.resp else _lines
    values: dict[bytes, bytes] = {}
    deadlines: dict[bytes, int] = {}
    with binary_input() if arguments.file == "-" else open(arguments.file, "rb") as file:
        for key, value, deadline_ms in read(file):
            values[key] = value
            deadlines.pop(key, None)
            if deadline_ms is not None:
                deadlines[key] = deadline_ms
    with new_directory(arguments.out) as out:
        write_state(out, values, deadlines, Position(0, NO_HISTORY))
    say(f"{arguments.out}: {len(values)} keys; start a server with --data on it")
    return 0


def _lines(file: BinaryIO) -> Iterator[Entry]:
    """The entries of JSON lines. Raises ValueError."""
    progress = _Reading(file)
    for number, line in enumerate(file, 1):
        progress.add(len(line))
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield from_json(entry["key"]), from_json(entry["value"]), _deadline(entry.get("deadline_ms"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f'line {number} is not {{"key": ..., "value": ...}}: {error}') from None
    progress.clear()


def _deadline(number: object) -> int | None:
    if number is not None and not (type(number) is int and 0 <= number <= _LARGEST_MS):
        raise ValueError("deadline_ms is a whole number of milliseconds since 1970")
    return number


def _commands(file: BinaryIO) -> Iterator[Entry]:
    """The entries of SET commands. Raises ValueError."""
    progress = _Reading(file)
    unread = bytearray()
    number = 1
    try:
        while piece := file.read(MIB):
            progress.add(len(piece))
            unread += piece
            at = _skip_blank_lines(unread, 0)
            while (found := _words(unread, at)) is not None:
                words, at = found
                at = _skip_blank_lines(unread, at)
                yield _entry(words)
                number += 1
            del unread[:at]
        if unread:
            raise ValueError("it is not complete")
    except ValueError as error:
        raise ValueError(f"command {number} is not SET key value [PXAT ms] in RESP: {error}") from None
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


def _entry(words: list[bytes]) -> Entry:
    if words[0].upper() == b"SET" and len(words) == 3:
        return words[1], words[2], None
    if words[0].upper() == b"SET" and words[3].upper() == b"PXAT" and words[4].isdigit():
        return words[1], words[2], _deadline(int(words[4]))
    raise ValueError(f"{words!r:.60}")


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
