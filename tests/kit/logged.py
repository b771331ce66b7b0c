"""What a server has written to its log and its archive, read as docs/FORMAT.md says: for those who hold it against what
clients were told. Nothing here is the server's own code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.kit.format_reader import Corruption, read_block, read_frame, read_operations

_NAME = re.compile(r"table\.txn(\.[0-9a-f]{16}(-[0-9a-f]{16}-[0-9a-f]{16})?)?")
_HEADER_BYTES, _FRAME_HEADER_BYTES, _FRAMES_AT = 4096, 84, 3 * 4096
#: Where a frame has its time.
_TIME = slice(39, 55)


class Commit(NamedTuple):
    """`sequence`: its number. `time_us`: when it was made, in microseconds since the epoch. `operations`: the database
    of each, and its words.
    """

    sequence: int
    time_us: int
    operations: list[tuple[int, list[bytes]]]


def commits_after(sequence: int, *directories: str | os.PathLike[str]) -> list[Commit]:
    """The commits with greater numbers than that, in order, of the logs and segments in some directories of one server
    that does not run. A log that holds some of them twice is no matter.
    """
    found: dict[int, Commit] = {}
    for directory in map(Path, directories):
        for path in directory.iterdir() if directory.is_dir() else ():
            if _NAME.fullmatch(path.name):
                found.update((commit.sequence, commit) for commit in _read(path.read_bytes(), sequence))
    return [found[number] for number in sorted(found)]


def _read(data: bytes, after: int) -> Iterator[Commit]:
    try:
        header = read_block(data[:_HEADER_BYTES], 0, "KVLOG1", 0)
    except (Corruption, IndexError):  # a log that was being made
        return
    at, number = _FRAMES_AT, int(header["first"], 16)
    while (frame := read_frame(data, at, int(header["salt"], 16))) and frame[0] == number:
        if number > after:
            yield Commit(number, int(data[at : at + _FRAME_HEADER_BYTES][_TIME], 16), list(_of_databases(frame[2])))
        at += _FRAME_HEADER_BYTES + len(frame[2])
        number += 1


def _of_databases(body: bytes) -> Iterator[tuple[int, list[bytes]]]:
    database = 0
    for words in read_operations(body):
        if words[0] == b"SELECT":
            database = int(words[1])
        elif words[0] == b"LIBRARIES":
            database = -1
        else:
            yield database, words
