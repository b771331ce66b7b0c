"""Check every byte of a data directory, change nothing, and say what a server would recover.

Takes no lock, so a running server may hold the directory; then the answer is about a moment of the run. Exit status 0
if a server would start, 1 if it would refuse, with the reason; 3 to 6 if there is no state that it could verify,
see DURABILITY.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator

from kvstore.base import directory_lock
from kvstore.base.disk import RealDisk
from kvstore.base.errors import DamagedStore
from kvstore.store.examine import Examined
from kvstore.store.history import NO_HISTORY
from kvstore.store.operations import LIBRARY_DATABASE
from kvstore.store.state import Databases
from kvstore.tools.directory import existing, look
from kvstore.tools.streams import say
from kvstore.tools.words import moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    disk = existing(arguments.directory, "verifying")
    held = _is_held(disk)
    try:
        found = look(disk)
    except DamagedStore as damage:
        say(f"DAMAGED: {damage}")
        return 1
    assert found.live is not None  # `look` makes sure of it
    last = f"{found.sequence}, {moment(found.time_us)}" if found.sequence else "none yet"
    lines = [
        ("verdict", "sound" if found.tail is None else "sound, but for a torn tail that was never promised"),
        ("in use", "by a running server: what follows is about one moment of it" if held else "no"),
        ("last commit", last),
        ("history", found.history if found.history != NO_HISTORY else "none was noted yet"),
        *_entry(found),
        ("promised up to", f"{found.durable}"),
        *_keys(found.databases),
        ("torn tail", f"at byte {found.tail.offset} of the live log: {found.tail.reason}" if found.tail else "none"),
        ("checkpoint", f"{found.checkpoint_bytes} bytes"),
        ("sealed segments", f"{len(found.segments)}, {found.segment_bytes} bytes"),
        ("live log", f"commits from {found.live.first}, {found.entries} operations, frames end at {found.live_end}"),
        ("left by a crash", ", ".join(found.leftovers) or "nothing"),
    ]
    for name, text in lines:
        say(f"{name + ':':17}{text}")
    return 0


def _entry(found: Examined) -> Iterator[tuple[str, str]]:
    """What the directory has of a group's log, if it is of a group."""
    standing = found.lineage.standing(found.sequence)
    if found.lineage.entry and standing is not None:
        yield "group's log", f"up to entry {standing.position}, of epoch {standing.epoch}, checksum {standing.checksum}"


def _keys(databases: Databases) -> Iterator[tuple[str, str]]:
    """Of each database that has any keys, and of 0: what to call them, and how many keys there are."""
    for number, state in sorted(databases.by_number.items()):
        if number == LIBRARY_DATABASE:
            yield "libraries", f"{len(state.values)}"
        elif state.values or number == 0:
            text = f"{len(state.values)}, of which {len(state.deadlines)} with a deadline"
            yield f"keys in db {number}" if number else "keys", text


def _is_held(disk: RealDisk) -> bool:
    """Whether a process holds the lock, as /proc/locks tells: trying the lock could refuse a server that starts now."""
    own = disk.status(".")
    # With its device, since the top directories of all file systems have the same number.
    held = [f" {os.major(own.st_dev):02x}:{os.minor(own.st_dev):02x}:{own.st_ino} "]
    with contextlib.suppress(OSError):  # an older server holds the file alone
        held.append(f":{disk.status(directory_lock.NAME).st_ino} ")
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            return any("FLOCK" in line and any(file in line for file in held) for line in locks)
    except OSError:
        return False
