"""Make a new data directory with the state at a commit or a time, as far back as the files reach.

Checkpoint and logs of DIR are read and, with --archive, the segments that a server with `--keep-log` put there. DIR is
not changed. Without --to-sequence or --to-time: the last commit that can be read. Deadlines are kept: a key whose time
has passed meanwhile is gone once a server starts on OUT.
"""

from __future__ import annotations

import argparse
from datetime import datetime

from kvstore.base.errors import KVStoreError
from kvstore.tools.directory import existing, new_directory, write_state
from kvstore.tools.timeline import FOREVER, read_past


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("out", metavar="OUT", help="the data directory to make; it must not exist, or be empty")
    parser.add_argument("--archive", metavar="DIR", action="append", default=[], help="where --keep-log put segments")
    moment = parser.add_mutually_exclusive_group()
    moment.add_argument("--to-sequence", type=int, metavar="N", help="the state after commit N")
    moment.add_argument("--to-time", metavar="T", help="after the last commit up to T: 2026-01-31T12:00:00+00:00, or "
                        "seconds since 1970; local time without an offset")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    time_us = FOREVER if arguments.to_time is None else _microseconds(arguments.to_time)
    sequence = FOREVER if arguments.to_sequence is None else arguments.to_sequence
    disks = [existing(path) for path in [arguments.directory, *arguments.archive]]
    past = read_past(disks, sequence, time_us)
    for disk in disks:
        disk.clear()
    if past.sequence < sequence < FOREVER:
        raise KVStoreError(f"the files reach commit {past.sequence}, not {sequence}: {past.stopped}")
    if past.stopped and past.last_seen > past.sequence != sequence:
        raise KVStoreError(f"commits {past.sequence + 1} to {past.last_seen} cannot be read: {past.stopped}; "
                           f"for the state before them give --to-sequence {past.sequence}")  # fmt: skip
    write_state(new_directory(arguments.out), past.values, past.deadlines, past.sequence)
    print(f"{arguments.out}: {len(past.values)} keys as of commit {past.sequence}; start a server with --data on it")
    return 0


def _microseconds(text: str) -> int:
    try:
        return round(float(text) * 1e6)
    except ValueError:
        return round(datetime.fromisoformat(text).timestamp() * 1e6)
