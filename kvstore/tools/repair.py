"""Give up what is damaged: keep the longest unbroken run of commits that can be read, and say what is lost.

Without --yes nothing is changed; it says what would be given up. With it, the directory is locked, all its files are
copied to OUT-OF-THE-WAY (a new directory beside it) and synced, and only then replaced. A damaged checkpoint cannot be
repaired: put back a backup, or restore from an archive.
"""

from __future__ import annotations

import argparse
import os

from kvstore.base.disk import RealDisk
from kvstore.base.errors import DamagedStore, KVStoreError
from kvstore.base.files import copy_file
from kvstore.store.examine import examine, segments_of
from kvstore.tools.directory import ReadDisk, existing, new_directory, write_state
from kvstore.tools.streams import say
from kvstore.tools.timeline import Past, read_past
from kvstore.values import TYPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--yes", action="store_true", help="do it")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    disk = existing(arguments.directory)
    disk.lock()
    try:
        return _repair(disk, arguments.yes)
    finally:
        disk.unlock()


def _repair(disk: ReadDisk, yes: bool) -> int:
    try:
        found = examine(disk, TYPES)
        disk.clear()
        count = found.databases.count()
        say(f"nothing to repair: a server would start with {count} keys as of commit {found.sequence}")
        return 0
    except DamagedStore as damage:
        disk.clear()
        say(f"{damage.file}, byte {damage.offset}: {damage.reason}")
    past = read_past([disk])
    disk.clear()
    say(_given_up(past))
    if not yes:
        say("nothing was changed; run again with --yes to give that up")
        return 1
    aside = _copy_aside(disk)
    disk.clear()
    say(f"all files as they were are in {aside.path}")
    write_state(disk, past.databases, past.sequence, past.lineage, past.store)
    for name in segments_of(disk.names()):
        disk.remove(name)
    disk.sync_directory()
    found = examine(disk, TYPES)
    disk.clear()
    say(f"repaired: {found.databases.count()} keys as of commit {found.sequence}")
    return 0


def _given_up(past: Past) -> str:
    kept = f"kept: commits up to {past.sequence}, {past.databases.count()} keys"
    if past.last_seen <= past.sequence:
        return f"{kept}; given up: whatever came after commit {past.sequence}; no file tells how much that was"
    return f"{kept}; given up: commits {past.sequence + 1} to {past.last_seen} at least ({past.stopped})"


def _copy_aside(disk: RealDisk) -> RealDisk:
    for number in range(1, 1000):
        path = f"{disk.path}.damaged-{number}"
        if not os.path.lexists(path):
            with new_directory(path) as aside:
                for name in disk.names():
                    copy_file(disk, name, aside)
                aside.sync_directory()
            return aside
    raise KVStoreError(f"there are a thousand copies {disk.path}.damaged-N; remove some")
