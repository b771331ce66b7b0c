"""Show each commit of a log, segment or checkpoint: number, time, operations. Ends with the verdict on the file.

A line for each commit, then one for each operation; with --json one JSON object a commit, words as in `export`. Exit
status 1 if the file ends in anything but a clean end.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from kvstore.base.disk import RealDisk
from kvstore.base.errors import DamagedStore
from kvstore.base.frame import Frame, FrameReader
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.log import FRAMES_AT, read_log_header
from kvstore.store.operations import decode
from kvstore.tools.directory import existing
from kvstore.tools.words import readable, to_json

_MOST_SHOWN_BYTES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="JSON lines, nothing shortened")


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    folder, name = os.path.split(os.path.abspath(arguments.file))
    disk = existing(folder)
    try:
        for frame in _frames(disk, name):
            _show(frame, arguments.json)
    except DamagedStore as damage:
        verdict = {"verdict": damage.reason, "offset": damage.offset}
        print(json.dumps(verdict) if arguments.json else f"stops at byte {damage.offset}: {damage.reason}")
        return 1
    print(json.dumps({"verdict": "clean end"}) if arguments.json else "clean end")
    return 0


def _frames(disk: RealDisk, name: str) -> Iterator[Frame]:
    """The frames of any file of the store. Raises DamagedStore at the first thing that is none."""
    file = RealDisk.open_read(disk, name)  # without a bar: the commits themselves are the progress
    if file.read_at(0, 9).startswith(b"+KVCKPT1"):
        yield from CheckpointReader(file, name).frames()
        return
    reader = FrameReader(file, FRAMES_AT, read_log_header(file, name).salt)
    yield from reader
    if reader.reason is not None:
        raise DamagedStore(name, reader.stopped_at, reader.reason, "")


def _show(frame: Frame, as_json: bool) -> None:
    operations = decode(frame.body)
    time = datetime.fromtimestamp(frame.time_us / 1e6, UTC).isoformat(" ", "microseconds")
    if as_json:
        words = [[to_json(word) for word in operation] for operation in operations]
        print(json.dumps({"commit": frame.sequence, "time_us": frame.time_us, "offset": frame.offset,
                          "operations": words}))  # fmt: skip
        return
    print(f"commit {frame.sequence}  {time}  bytes {frame.offset} to {frame.end}  {len(operations)} operations")
    for operation in operations:
        print("  " + " ".join(readable(word, _MOST_SHOWN_BYTES) for word in operation))
