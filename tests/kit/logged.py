"""What a server has written to its log and its archive, read as docs/FORMAT.md says: for those who hold it against what
clients were told. Nothing here is the server's own code.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.kit.format_reader import Corruption, read_block, read_frame, read_operations

_NAME = re.compile(r"table\.txn(?:\.[0-9a-f]{16}(?:-([0-9a-f]{16})-[0-9a-f]{16})?)?")
#: A segment moves to the archive, and the log's name to another file, while a server runs: how often to look again.
_LOOKS = 20
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


def commits_after(sequence: int, data: str | os.PathLike[str], archive: str | os.PathLike[str]) -> list[Commit]:
    """The commits with greater numbers than that, in order, of a data directory and the archive of its log. If a server
    runs, all that it has acknowledged. Raises Corruption: some are missing.
    """
    for _ in range(_LOOKS):
        found = {commit.sequence: commit for place in (data, archive) for commit in _commits(Path(place), sequence)}
        if len(found) == max(found, default=sequence) - sequence:
            return [found[number] for number in sorted(found)]
    raise Corruption(f"of the commits after {sequence} not all are in {data} or {archive}")


def _commits(directory: Path, after: int) -> Iterator[Commit]:
    for path in directory.iterdir() if directory.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name is not None and (name[1] is None or int(name[1], 16) > after):
            with contextlib.suppress(FileNotFoundError):  # it is in the archive now
                yield from _read(path.read_bytes(), after)


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
