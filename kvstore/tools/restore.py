"""Make a new data directory with the state at a commit or a time, as far back as the files reach.

Checkpoint and logs of DIR are read and, with --archive, the segments that a server with `--keep-log` put there; DIR may
be such an archive itself. DIR is not changed. Without --to-sequence or --to-time: the last commit that can be read.
Deadlines are kept: a key whose time has passed meanwhile is gone once a server starts on OUT.

If DIR or the archive was copied, put back and gone on with, the files hold several histories. The one that leads to the
last commit of DIR is followed, and the others are named; --history follows another. They are never mixed.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from kvstore.base.errors import KVStoreError
from kvstore.store import checkpoint
from kvstore.store.examine import LIVE
from kvstore.tools.directory import ReadDisk, check_new, existing, identities, new_directory, read_unlocked, write_state
from kvstore.tools.streams import complain, say
from kvstore.tools.timeline import FOREVER, Past, read_past
from kvstore.tools.words import moment

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?")
_SECONDS = re.compile(r"@(\d+)(\.\d{1,6})?")
_TIME_FORMS = "2026-01-31T12:00:00+00:00, 2026-01-31T12:00 (local time) or @1767225600 (seconds since 1970)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("out", metavar="OUT", help="the directory to make; it must not exist, or be empty")
    parser.add_argument("--archive", metavar="DIR", action="append", default=[], help="where --keep-log put segments")
    parser.add_argument("--history", metavar="ID", type=_history, help="follow this history to its end, not DIR's own")
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--to-sequence", type=_commit, metavar="N", default=FOREVER, help="the state after commit N")
    wanted.add_argument("--to-time", type=_microseconds, metavar="T", default=FOREVER,
                        help=f"after the last commit up to T: {_TIME_FORMS}")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    check_new(arguments.out)
    archives = [existing(path, may_be_empty=True) for path in arguments.archive]
    disks = [existing(arguments.directory), *archives]
    past = read_unlocked(disks, lambda: _state(disks, arguments.to_sequence, arguments.to_time, arguments.history))
    with new_directory(arguments.out) as out:
        write_state(out, past.databases, past.sequence, past.lineage, past.store)
    of = f" of history {past.history}, of {moment(past.time_us)}" if past.sequence else ""
    held = f"{past.databases.count()} keys as of commit {past.sequence}{of}"
    say(f"{arguments.out}: {held}; start a server with --data on it")
    for note in [*_notes(past, arguments.to_time), *_missing(disks[0]), *_of_a_group(past)]:
        complain(f"note: {note}")
    return 0


def _state(disks: Sequence[ReadDisk], sequence: int, time_us: int, history: str | None) -> Past:
    """The wanted state. Raises KVStoreError if the files do not reach it, OSError."""
    before = identities(disks)
    past = read_past(disks, sequence, time_us, history)
    if identities(disks) != before:
        raise KVStoreError("a running server replaced files while they were read, time after time; "
                           "make a `backup` first and restore from that")  # fmt: skip
    if past.sequence < sequence < FOREVER:
        raise KVStoreError(f"the files reach commit {past.sequence}, not {sequence}: {past.stopped}{_elsewhere(past)}")
    if past.stopped and past.last_seen > past.sequence != sequence:
        raise KVStoreError(f"commits {past.sequence + 1} to {past.last_seen} cannot be read: {past.stopped}; "
                           f"for the state before them give --to-sequence {past.sequence}")  # fmt: skip
    if past.stopped and past.lost and past.sequence != sequence and history is None:
        raise KVStoreError(f"what came after commit {past.sequence} cannot be read: {past.lost}; "
                           f"for the state before it give --to-sequence {past.sequence}{_elsewhere(past)}")  # fmt: skip
    if past.sequence == 0 and not past.databases.count():
        first = f"; the first commit is of {moment(past.next_us)}" if past.next_us is not None else ""
        raise KVStoreError(f"no commit is that early, so there is nothing to restore{first}{_elsewhere(past)}")
    if past.next_us is None and max(past.time_us, time.time_ns() // 1000) < time_us < FOREVER:
        raise KVStoreError(f"{moment(time_us)} is in the future; the last commit, {past.sequence}, "
                           f"is of {moment(past.time_us)}")  # fmt: skip
    return past


def _elsewhere(past: Past) -> str:
    return "".join(f"; there is also {one}, see --history" for one in past.beside)


def _notes(past: Past, time_us: int) -> list[str]:
    """What the user must know of a state that was restored."""
    notes = [f"the files also hold {one}, which is not part of this state; --history {one.identity} follows it"
             for one in past.beside]  # fmt: skip
    if time_us < FOREVER and past.next_us is None:
        notes.append(
            f"no later commit is there; what a server did after {moment(past.time_us)}, if it did, is not in it"
        )
    return notes


def _of_a_group(past: Past) -> list[str]:
    what = "it is of a group: a server needs --group, or `kvstore group leave OUT` first"
    return [what] if past.lineage.entry else []


def _missing(disk: ReadDisk) -> list[str]:
    names = disk.names()
    if LIVE in names or checkpoint.NAME not in names:
        return []
    return [f"{disk.path} has no {LIVE}: unless it is an archive, what that held is missing here"]


def _history(text: str) -> str:
    if re.fullmatch("[0-9a-f]{16}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not the identity of a history, 16 hexadecimal digits")
    return text


def _commit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a commit; the first is 1")
    return int(text)


def _microseconds(text: str) -> int:
    """A moment that the text says without a doubt. Raises ArgumentTypeError."""
    try:
        if (seconds := _SECONDS.fullmatch(text)) is not None:
            time_us = int(seconds[1]) * 1_000_000 + round(float(seconds[2] or 0) * 1e6)
            datetime.fromtimestamp(time_us / 1e6, UTC)  # raises if that is in no year a date can have
            return time_us
        if _TIME.fullmatch(text) is None:
            raise ValueError
        time = datetime.fromisoformat(text)
        if time.timestamp() != time.replace(fold=1).timestamp():
            raise argparse.ArgumentTypeError(f"{text!r} is there twice, or never, when clocks are changed; "
                                             "give its offset, such as +00:00")  # fmt: skip
        return round(time.timestamp() * 1e6)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give one as {_TIME_FORMS}") from None
