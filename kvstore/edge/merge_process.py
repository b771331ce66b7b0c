"""The merge as a program of its own; see `kvstore.store.merge` for what it does, `compactor` for who runs it.

`python -P -m kvstore.edge.merge_process [--keep-log=DIR] DIR OUTPUT SALT COVERS SEGMENT...` (with the option it copies
the segments to an archive, see `kvstore.store.archive`, when the merge is done). A DIR is `NUMBER:PATH`, the number of
a descriptor that it inherits and what to call it: by its path it could find another directory than the server has open.

It prints one JSON line, then waits for the end of its standard input: it keeps the old files open until the server has
removed their names, so that the freeing of their blocks does not fall to the server, and frees them piece by piece.

It stands at the edge as what puts the parts together: the disk, the clock, the types of values. It imports no Twisted,
so that it starts in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from kvstore.base.disk import File, RealDisk
from kvstore.base.errors import KVStoreError
from kvstore.base.limits import MIB
from kvstore.store import checkpoint
from kvstore.store.archive import keep
from kvstore.store.merge import PASS_BYTES, MergeJob, free, merge
from kvstore.values import TYPES

_KEEP_LOG = "--keep-log="

#: The program merges more in one pass on a machine with more memory: a sixty-fourth of it, up to this.
_LARGEST_PASS_BYTES = 256 * MIB
_PASSES_IN_MEMORY = 64

_FREEING_PAUSE_S = 0.005


def command(disk: RealDisk, job: MergeJob, archive: RealDisk | None) -> tuple[list[str], tuple[int, ...]]:
    """How to run the program: its words, and the descriptors that it is to inherit.

    -P: it imports nothing from where it runs, such as a file json.py beside the data.
    """
    option = [] if archive is None else [_KEEP_LOG + _word(archive)]
    words = [sys.executable, "-P", "-m", "kvstore.edge.merge_process", *option, _word(disk), job.output, str(job.salt)]
    descriptors = tuple(place.descriptor for place in (disk, archive) if place is not None)
    return [*words, str(job.covers), *job.segments], descriptors


def _word(disk: RealDisk) -> str:
    return f"{disk.descriptor}:{disk.path}"


def _inherited(word: str) -> RealDisk:
    number, path = word.split(":", 1)
    return RealDisk(path, int(number))


def main(arguments: list[str]) -> int:
    """The program; see the module's docstring. Returns the exit status."""
    archive = _inherited(arguments.pop(0).removeprefix(_KEEP_LOG)) if arguments[0].startswith(_KEEP_LOG) else None
    directory, output, salt, covers, *segments = arguments
    with contextlib.suppress(OSError):
        os.nice(10)
    disk = _inherited(directory)
    job = MergeJob(segments, output, int(covers), int(salt))
    with contextlib.ExitStack() as files:
        old: list[File] = []
        try:
            for name in [*segments, checkpoint.NAME]:
                with contextlib.suppress(FileNotFoundError):
                    old.append(disk.open(name))
                    files.callback(old[-1].close)
            started = time.monotonic()
            size = merge(disk, TYPES, job, time.time_ns() // 1000, _pass_bytes())
            if archive is not None:
                archive.check()
                with archive.alone():
                    keep(disk, segments, archive)
                archive.check()
            report = {"bytes": size, "seconds": round(time.monotonic() - started, 3)}
        except (KVStoreError, OSError) as error:
            report = {"error": str(error)}  # type: ignore[dict-item]
        print(json.dumps(report), flush=True)
        sys.stdin.buffer.read()
        for _ in free(disk, old):
            time.sleep(_FREEING_PAUSE_S)
    return 1 if "error" in report else 0


def _pass_bytes() -> int:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(max(PASS_BYTES, memory_bytes // _PASSES_IN_MEMORY), _LARGEST_PASS_BYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
