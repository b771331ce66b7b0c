"""Show each commit of a log or segment: number, history, time, operations. Ends with the verdict on the file.

A line for each commit, then one for each operation; with --json one JSON object a commit, words as in `export`. A
checkpoint is shown by its frames, some hundred keys each. Exit status 1 if the file ends in anything but a clean end.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from kvstore.base.disk import RealDisk, refuse_dangling
from kvstore.base.errors import DamagedStore, NothingThere
from kvstore.base.frame import Frame
from kvstore.store import checkpoint
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.examine import LIVE
from kvstore.store.log import read_log_header
from kvstore.store.log_reader import LogReader
from kvstore.store.operations import decode
from kvstore.tools.streams import output
from kvstore.tools.words import readable, to_json

_MOST_SHOWN_BYTES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="JSON lines, nothing shortened")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    output()
    folder, name = os.path.split(os.path.abspath(arguments.file))
    if not os.path.isfile(arguments.file):
        refuse_dangling(os.path.join(folder, name))
        raise NothingThere(f"{arguments.file} is no file; give a log, a segment or a checkpoint of a data directory")
    disk = RealDisk(folder)
    try:
        for what, history, frame in _frames(disk, name):
            _show(what, history, frame, arguments.json)
    except DamagedStore as damage:
        verdict = {"verdict": damage.reason, "offset": damage.offset}
        print(json.dumps(verdict) if arguments.json else f"stops at byte {damage.offset}: {damage.reason}")
        return 1
    print(json.dumps({"verdict": "clean end"}) if arguments.json else "clean end")
    return 0


def _frames(disk: RealDisk, name: str) -> Iterator[tuple[str, str, Frame]]:
    """The frames of any file of the store, each with what it is, and of which history. Raises DamagedStore at the first
    thing that is none.

    What is in a checkpoint are no commits: its frames have numbers of their own.
    """
    file = disk.open_read(name)
    start = file.read_at(0, 9)
    if start.startswith(b"+KVCKPT"):
        reader = CheckpointReader(file, name)
        for frame in reader.frames():
            yield "frame", reader.header.history, frame
        return
    if not start.startswith(b"+KVLOG"):
        if name.startswith((LIVE, checkpoint.NAME)):
            raise DamagedStore(name, 0, "the first bytes are not those of a log, segment or checkpoint", "")
        raise NothingThere(f"{disk.describe(name)}: this is no log, segment or checkpoint of kvstore")
    commits = LogReader(file, read_log_header(file, name))
    for frame, _, _ in commits:
        yield "commit", commits.history, frame
    if commits.reason is not None:
        raise DamagedStore(name, commits.stopped_at, commits.reason, "")


def _show(what: str, history: str, frame: Frame, as_json: bool) -> None:
    operations = decode(frame.body)
    time = datetime.fromtimestamp(frame.time_us / 1e6, UTC).isoformat(" ", "microseconds")
    if as_json:
        words = [[to_json(word) for word in operation] for operation in operations]
        print(json.dumps({what: frame.sequence, "history": history, "time_us": frame.time_us, "offset": frame.offset,
                          "operations": words}))  # fmt: skip
        return
    of = f" of a checkpoint as of commit {frame.durable}" if what == "frame" else ""
    plural = "s" if len(operations) != 1 else ""
    print(f"{what} {frame.sequence} {of} of history {history}, {time}  bytes {frame.offset} to {frame.end}  "
          f"{len(operations)} operation{plural}")  # fmt: skip
    for operation in operations:
        print("  " + " ".join(readable(word, _MOST_SHOWN_BYTES) for word in operation))
