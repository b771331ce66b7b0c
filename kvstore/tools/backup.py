"""Save the state of a data directory, of a running server too, as a new data directory that a server can start on.

The files are read as they are at some moment of the run, as `verify` does: a seal or a merge in the middle makes it
read again, until checkpoint, segments and log fit together. What is saved holds every commit promised before the backup
began. It is written as one fresh checkpoint, and read again to check it before this says that it is done.
"""

from __future__ import annotations

import argparse

from kvstore.base.errors import KVStoreError
from kvstore.tools.directory import check_new, equal, existing, look, new_directory, write_state
from kvstore.tools.streams import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("out", metavar="OUT", help="the directory to make; it must not exist, or be empty")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    check_new(arguments.out)
    found = look(existing(arguments.directory))
    assert found.live is not None  # `look` makes sure of it
    with new_directory(arguments.out) as out:
        write_state(out, found.databases, found.sequence, found.lineage, found.live.store)
        copy = look(existing(out.path, "checking"))
    if copy.sequence != found.sequence or not equal(copy.databases, found.databases):
        raise KVStoreError(f"{arguments.out}: what was written is not what is read; do not rely on this backup")
    say(f"{arguments.out}: {copy.databases.count()} keys as of commit {copy.sequence}, read again and equal")
    return 0
