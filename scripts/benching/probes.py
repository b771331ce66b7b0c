"""What disk and load generators can do: the limits that no server beside them passes.

The disk: how long one sync lasts, of 4 KiB just written in different ways. The generators: how many requests they make
a second of a server that does nothing (`scripts/measuring/responder.c`), where the kernel's loopback is in it too.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvstore.base.limits import KIB, MIB
from scripts.benching.requests import resp
from scripts.measuring import generator, redis_benchmark
from scripts.measuring.bench import Bench, share
from scripts.measuring.generator import Generator, Group, compile_c
from scripts.measuring.redis_benchmark import Load, Series
from scripts.measuring.results import median
from scripts.measuring.servers import MeasuredServer
from scripts.measuring.turn import Shape

SYNCS = 400
_WRITTEN_BYTES = 4 * KIB
_FILE_BYTES = 4 * MIB

SHAPES = (Shape(1), Shape(16), Shape(50), Shape(200), Shape(50, 16), Shape(50, 64))

_RESPONDER = Path(generator.__file__).with_name("responder.c")


@dataclass(frozen=True)
class Probe:
    """One of them. `measure`: returns caption, columns and rows of a table, and the raw numbers."""

    name: str
    title: str
    measure: Callable[[Bench], dict[str, Any]]


# The disk

#: Writes _WRITTEN_BYTES at an offset and returns when they are on disk.
SyncedWrite = Callable[[int], object]


@contextmanager
def _opened(directory: Path, flags: int, size: int) -> Iterator[int]:
    """A file without a name, filled with so many zeros that are on disk."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())
        descriptor = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR | flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _synced_writes(directory: Path, opened: ExitStack) -> dict[str, SyncedWrite]:
    """The ways to have something on disk, by what they are called."""
    data = b"x" * _WRITTEN_BYTES
    growing = opened.enter_context(_opened(directory, 0, 0))
    filled = opened.enter_context(_opened(directory, 0, _FILE_BYTES))
    direct = opened.enter_context(_opened(directory, os.O_DIRECT | os.O_DSYNC, _FILE_BYTES))
    aligned = mmap.mmap(-1, _WRITTEN_BYTES)

    def then(descriptor: int, sync: Callable[[int], object]) -> SyncedWrite:
        return lambda at: (os.pwrite(descriptor, data, at), sync(descriptor))

    return {
        "append, then fdatasync": then(growing, os.fdatasync),
        "into zeros written ahead, then fdatasync": then(filled, os.fdatasync),
        "into zeros written ahead, write with RWF_DSYNC": lambda at: os.pwritev(filled, [data], at, os.RWF_DSYNC),
        "into zeros written ahead, O_DIRECT and O_DSYNC": lambda at: os.pwritev(direct, [aligned], at),
    }


def measure_disk(bench: Bench) -> dict[str, Any]:
    """All ways in turns, so that what changes meanwhile falls on all."""
    with ExitStack() as opened:
        ways = _synced_writes(bench.directory, opened)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(SYNCS):
            for name, write in ways.items():
                began = time.perf_counter()
                write(number * _WRITTEN_BYTES % _FILE_BYTES)
                took[name].append((time.perf_counter() - began) * 1e6)
    rows = [
        [name, f"{median(each):.0f}", f"{sorted(each)[int(0.99 * SYNCS)]:.0f}", f"{1e6 / median(each):,.0f}"]
        for name, each in took.items()
    ]
    caption = f"What the disk can do: {_WRITTEN_BYTES // KIB} KiB written and on disk, one after another"
    raw = {name: {"median_us": median(each), "slowest_us": max(each)} for name, each in took.items()}
    return {"caption": caption, "columns": ["", "median µs", "p99 µs", "a second"], "rows": rows, "raw": raw}


# The generators


@contextmanager
def _responder(bench: Bench) -> Iterator[MeasuredServer]:
    """The server that does nothing, where the servers run."""
    program = compile_c(_RESPONDER, bench.directory / "responder")
    process = subprocess.Popen(
        [program], stdout=subprocess.PIPE, text=True, preexec_fn=bench.setting.surroundings.enter
    )
    assert process.stdout is not None
    server = MeasuredServer("responder", [str(program)], process, bench.directory / "responder.log")
    try:
        server.port = int(process.stdout.readline())
        yield server
    finally:
        server.kill()


def measure_generators(bench: Bench) -> dict[str, Any]:
    """Both generators, one after the other, in the shapes of the cases."""
    redis_benchmark.require()
    rows, raw = [], []
    with _responder(bench) as server:
        for shape in SHAPES:
            series = Series(server, Load("get", shape, 3, 10_000), bench.setting.generator_cpus)
            series.find_pace(bench.effort.seconds)
            theirs = series.take_turn()
            own = Generator(bench.directory, [Group(*shape, resp("GET", 10_000, 3))], bench.setting.generator_cpus)
            ours, _ = own.take_turn(server, bench.effort.seconds, 0.05)
            rows.append([f"GET {shape}"])
            for turn in (theirs, ours):
                rows[-1] += [f"{turn.per_second:,.0f}", share(turn.generator_share, 1), share(turn.server_share, 1)]
            raw.append({"shape": list(shape), "redis-benchmark": theirs._asdict(), "own": ours._asdict()})
    columns = ["", "redis-benchmark/s", "its processor", "responder's", "own generator/s", "its processor",
               "responder's"]  # fmt: skip
    caption = "What the load generators can do: requests a second to a server that does nothing"
    return {"caption": caption, "columns": columns, "rows": rows, "raw": raw}


PROBES = [
    Probe("disk", "how long one sync lasts", measure_disk),
    Probe("generators", "what the load generators can do at most", measure_generators),
]
