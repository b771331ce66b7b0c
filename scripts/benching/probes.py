"""What disk and load generators can do: the limits that no server beside them passes.

The disk: 4 KiB written, then fdatasync, at the end of a file and into zeros written ahead, as kvstore does. The
generators: how many requests they make of a server that does nothing (`scripts/measuring/responder.c`), where the
kernel's loopback is in it too.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from kvstore.base.limits import KIB, MIB
from scripts.measuring import generator
from scripts.measuring.bench import Bench, Case
from scripts.measuring.generator import Generator, Group, compile_c
from scripts.measuring.load import strings
from scripts.measuring.metering import Measures, Shape, latencies
from scripts.measuring.redis_benchmark import Load, Series
from scripts.measuring.servers import MeasuredServer

_SYNCS = 100
_WRITTEN_BYTES = 4 * KIB
_FILE_BYTES = 4 * MIB

SHAPES = (Shape(1), Shape(16), Shape(50), Shape(200), Shape(50, 16), Shape(50, 64))
GENERATORS = ("redis-benchmark", "own generator")

_RESPONDER = Path(generator.__file__).with_name("responder.c")

GROUP_TITLES = {
    "disk": f"What the disk can do: {_WRITTEN_BYTES // KIB} KiB written, then fdatasync, one after another",
    "generators": "What the load generators can do: requests a second to a server that does nothing",
}


def _disk(name: str, title: str, is_filled: bool) -> Case:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        data, file = bytes(_WRITTEN_BYTES), os.open(bench.directory / "file", os.O_RDWR | os.O_CREAT)
        bench.callback(os.close, file)
        os.pwrite(file, bytes(_FILE_BYTES if is_filled else 0), 0)
        os.fsync(file)
        offsets = itertools.count(0, _WRITTEN_BYTES)

        def take_turn() -> Measures:
            times = [time.perf_counter_ns()]
            for at in itertools.islice(offsets, _SYNCS):
                os.pwrite(file, data, at % _FILE_BYTES if is_filled else at)
                os.fdatasync(file)
                times.append(time.perf_counter_ns())
            took = pl.DataFrame({"kind": "sync", "took_ns": pl.Series(times).diff().drop_nulls()})
            return latencies(took, (times[-1] - times[0]) / 1e9)

        return take_turn

    return Case(f"disk-{name}", "disk", title, set_up, sides=("disk",), weight=0.1)


def _responder(bench: Bench, side: str) -> MeasuredServer:
    """The server that does nothing, where the servers run."""
    program = compile_c(_RESPONDER, bench.directory / f"responder-{side.replace(' ', '-')}")
    enter = bench.setting.surroundings.enter
    process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True, preexec_fn=enter)
    bench.callback(process.wait)
    bench.callback(process.kill)
    assert process.stdout is not None
    return MeasuredServer("responder", process, int(process.stdout.readline()))


def _generators(shape: Shape) -> Case:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        server, seconds, cpus = _responder(bench, side), bench.effort.seconds, bench.setting.generator_cpus
        if side == GENERATORS[0]:
            return Series(server, Load(("-t", "get"), shape, 3, 10_000), seconds, cpus).take_turn
        own = Generator(bench.directory, [Group(*shape, strings("GET", 10_000, 3))], cpus)
        return lambda: own.take_turn(server, seconds, 0.05)

    return Case(f"generators-{shape.name}", "generators", f"GET {shape}", set_up, sides=GENERATORS, most_rounds=3)


def cases() -> list[Case]:
    """All of them."""
    disk = [_disk("append", "append", False), _disk("zeros", "into zeros written ahead", True)]
    return [*disk, *map(_generators, SHAPES)]
