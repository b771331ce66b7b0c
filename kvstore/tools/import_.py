"""Make a new data directory from the JSON lines that `export` writes, read from standard input or a file.

A key that comes twice has its last value. Nothing is made if a line is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from kvstore.tools.directory import new_directory, write_state
from kvstore.tools.words import from_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("out", metavar="OUT", help="the data directory to make; it must not exist, or be empty")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="JSON lines (default: standard input)")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    if arguments.file == "-":
        values, deadlines = _read(sys.stdin.buffer)
    else:
        with open(arguments.file, "rb") as lines:
            values, deadlines = _read(lines)
    write_state(new_directory(arguments.out), values, deadlines, 0)
    print(f"{arguments.out}: {len(values)} keys; start a server with --data on it")
    return 0


def _read(lines: Iterable[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
    values: dict[bytes, bytes] = {}
    deadlines: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            key, values_key = from_json(entry["key"]), from_json(entry["value"])
            deadline = entry.get("deadline_ms")
            if deadline is not None and type(deadline) is not int:
                raise ValueError("deadline_ms is a whole number of milliseconds")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'line {number} is not {{"key": ..., "value": ...}}: {error}') from None
        values[key] = values_key
        deadlines.pop(key, None)
        if deadline is not None:
            deadlines[key] = deadline
    return values, deadlines
