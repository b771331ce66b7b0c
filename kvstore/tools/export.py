"""Write all keys of a data directory to standard output, as JSON lines or, with --resp, for `redis-cli --pipe`.

A line is {"key": ..., "value": ..., "deadline_ms": N}: bytes that are UTF-8 as a string, others as {"base64": "..."};
the deadline, in milliseconds since 1970, only if there is one. A running server may hold the directory.
"""

from __future__ import annotations

import argparse
import json

from kvstore.client.progress import Progress
from kvstore.store.operations import encode_set
from kvstore.tools.directory import existing, look
from kvstore.tools.streams import output
from kvstore.tools.words import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--resp", action="store_true", help="SET commands in RESP")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    out = output().buffer
    found = look(existing(arguments.directory))
    progress = Progress("exporting")
    for number, (key, value) in enumerate(found.values.items()):
        deadline = found.deadlines.get(key)
        if arguments.resp:
            out.write(encode_set(key, value, deadline))
        else:
            entry = {"key": to_json(key), "value": to_json(value)}
            line = entry if deadline is None else entry | {"deadline_ms": deadline}
            out.write(json.dumps(line).encode("ascii") + b"\n")
        progress.show(number / len(found.values))
    progress.clear()
    out.flush()
    return 0
