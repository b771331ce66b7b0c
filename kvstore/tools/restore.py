"""Make a new data directory with the state at a commit or a time, as far back as the files reach.

Checkpoint and logs of DIR are read and, with --archive, the segments that a server with `--keep-log` put there. DIR is
not changed. Without --to-sequence or --to-time: the last commit that can be read. Deadlines are kept: a key whose time
has passed meanwhile is gone once a server starts on OUT.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from kvstore.base.errors import KVStoreError
from kvstore.tools.directory import ReadDisk, check_new, existing, identities, new_directory, read_unlocked, write_state
from kvstore.tools.timeline import FOREVER, Past, read_past


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("out", metavar="OUT", help="the data directory to make; it must not exist, or be empty")
    parser.add_argument("--archive", metavar="DIR", action="append", default=[], help="where --keep-log put segments")
    moment = parser.add_mutually_exclusive_group()
    moment.add_argument("--to-sequence", type=_commit, metavar="N", default=FOREVER, help="the state after commit N")
    moment.add_argument("--to-time", type=_microseconds, metavar="T", default=FOREVER,
                        help="after the last commit up to T: 2026-01-31T12:00:00+00:00, or seconds since 1970; local "
                        "time without an offset")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    check_new(arguments.out)
    disks = [existing(path) for path in [arguments.directory, *arguments.archive]]
    past = read_unlocked(disks, lambda: _state(disks, arguments.to_sequence, arguments.to_time))
    write_state(new_directory(arguments.out), past.values, past.deadlines, past.sequence)
    time = datetime.fromtimestamp(past.time_us / 1e6, UTC).isoformat(" ", "milliseconds")
    of = f", of {time}" if past.sequence else ""
    print(
        f"{arguments.out}: {len(past.values)} keys as of commit {past.sequence}{of}; start a server with --data on it"
    )
    return 0


def _state(disks: Sequence[ReadDisk], sequence: int, time_us: int) -> Past:
    """The wanted state. Raises KVStoreError if the files do not reach it, OSError."""
    before = identities(disks)
    past = read_past(disks, sequence, time_us)
    if identities(disks) != before:
        raise KVStoreError("a running server replaced files while they were read, time after time; "
                           "make a `backup` first and restore from that")  # fmt: skip
    if past.sequence < sequence < FOREVER:
        raise KVStoreError(f"the files reach commit {past.sequence}, not {sequence}: {past.stopped}")
    if past.stopped and past.last_seen > past.sequence != sequence:
        raise KVStoreError(f"commits {past.sequence + 1} to {past.last_seen} cannot be read: {past.stopped}; "
                           f"for the state before them give --to-sequence {past.sequence}")  # fmt: skip
    return past


def _commit(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a commit")
    return int(text)


def _microseconds(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    try:
        if math.isnan(seconds):
            seconds = datetime.fromisoformat(text).timestamp()
        return round(seconds * 1e6)
    except (ValueError, OverflowError, OSError):
        reason = f"{text!r} is neither a time such as 2026-01-31T12:00:00+00:00 nor a number of seconds since 1970"
        raise argparse.ArgumentTypeError(reason) from None
