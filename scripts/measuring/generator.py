"""The project's own load generator: closed loops of any requests, in C, with every latency kept.

Where redis-benchmark will do, redis-benchmark is used: it is known, and not ours. This one is for what that cannot do:
requests of several kinds at once, each with its own percentiles; JSON lines; and a list of every request with the time
it began, to tell which of them fell into a compaction. It costs about a microsecond of a processor a request beyond the
system calls, so that on two processors it is seldom what limits.

`generator.c` is compiled when it is needed, by the C compiler that `CC` names, or cc. A closed loop has so many
requests outstanding on each connection and sends the next when all their replies have come, as redis-benchmark -P does.
Latency is from just before the requests are handed to the kernel to just after the last byte of a reply was read.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kvstore.base.address import Address
from scripts.measuring.load import WrongReply
from scripts.measuring.metering import Measures, latencies, metered, turn
from scripts.measuring.processes import die_with_parent, keep_to
from scripts.measuring.servers import MeasuredServer

_SOURCE = Path(__file__).with_name("generator.c")

#: More than any turn takes beyond its length, in seconds.
_PATIENCE_SECONDS = 90.0

#: In a record of the trace, above the nanoseconds a request took: its kind.
_KIND_UNIT = 1 << 60


class NoCompiler(Exception):
    """There is no C compiler, or it does not compile what it is given."""


def compile_c(source: Path, product: Path, *options: str) -> Path:
    """Compile a C program, or with -shared a library. Returns `product`. Raises NoCompiler."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise NoCompiler(f"{compiler} is not installed (Debian: gcc), or set CC")
    words = [compiler, "-O2", *options, "-o", str(product), str(source), "-ldl", "-lpthread"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompiler(f"{' '.join(words)}: {done.stderr}")
    return product


class Group(NamedTuple):
    """Clients that ask for the same: `requests` one after another, each with its kind, over and over. `rate`: requests
    a second of all of them together, each at its time (an open loop, latency from when it was due); 0: closed loops.
    """

    clients: int
    pipeline: int
    requests: Sequence[tuple[str, bytes]]
    rate: float = 0.0


class Found(NamedTuple):
    """What one run found. `trace`: a row for each request counted, in the order of their replies: `kind` (text),
    `began_ns` (of time.perf_counter_ns), `took_ns`. `seconds`: how long requests were counted. `cpu_seconds`: what the
    generator used.
    """

    trace: pl.DataFrame
    seconds: float
    cpu_seconds: float

    def measures(self) -> Measures:
        """Rate and latencies, of all requests and of each kind. Raises WrongReply if there are none."""
        if self.trace.is_empty():
            raise WrongReply("no request was measured: measure for longer")
        return latencies(self.trace, self.seconds)


class Generator:
    """Clients for servers on this machine. `directory`: where the program and the requests are put. `cpus`: where it
    runs, anywhere if there are none. Raises NoCompiler.
    """

    def __init__(self, directory: Path, groups: Sequence[Group], cpus: Iterable[int] = ()) -> None:
        self._program = directory / "generator"
        if not self._program.exists():
            compile_c(_SOURCE, self._program)
        self._cpus = frozenset(cpus)
        self.kinds = list(dict.fromkeys(kind for group in groups for kind, _ in group.requests))
        self._trace = directory / f"trace-{id(self)}"
        self._groups = []
        for i, group in enumerate(groups):
            path = directory / f"requests-{id(self)}-{i}"
            records = (struct.pack("=BI", self.kinds.index(k), len(data)) + data for k, data in group.requests)
            path.write_bytes(b"".join(records))
            paced = f"@{group.rate:f}" if group.rate else ""
            self._groups.append(f"{group.clients}{paced}:{group.pipeline}:{path}")

    def run(self, port: int, seconds: float, skip_seconds: float = 0.0) -> Found:
        """Ask for so long, from `skip_seconds` on counted. Raises WrongReply."""
        return self._begin(port, skip_seconds + seconds, skip_seconds).wait(skip_seconds + seconds)

    def take_turn(self, server: MeasuredServer, seconds: float, skip_seconds: float = 0.0) -> Measures:
        """The same, with the shares of the processors that were used."""
        with metered(server) as used:
            found = self.run(server.port, seconds, skip_seconds)
        return turn(found.measures(), used)

    def start(self, server: int | Address) -> Running:
        """Ask until it is told to stop. `server`: its port on this machine, or its address (IPv4)."""
        return self._begin(server, 0, 0)

    def _begin(self, server: int | Address, seconds: float, skip_seconds: float) -> Running:
        words = [str(self._program), str(server), f"{seconds:f}", f"{skip_seconds:f}", str(self._trace), *self._groups]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=self._enter
        )
        return Running(process, self._trace, self.kinds)

    def _enter(self) -> None:
        die_with_parent()
        keep_to(self._cpus)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the program is ready for it


class Running:
    """A generator that asks until its time is over, or until `stop`. `pid`: of its process."""

    def __init__(self, process: subprocess.Popen[str], trace: Path, kinds: list[str]) -> None:
        self._process = process
        self._trace = trace
        self._kinds = kinds
        self.pid = process.pid

    def check(self) -> None:
        """Raises WrongReply if it has ended by itself."""
        if self._process.poll() is not None:
            raise WrongReply(f"the generator ended: {self._process.communicate()[1].strip()}")

    def stop(self) -> Found:
        """Let it wait for the replies still to come. Returns what it found. Raises WrongReply."""
        self.check()
        self._process.send_signal(signal.SIGTERM)
        return self.wait(0)

    def wait(self, seconds: float) -> Found:
        """What it found, when its time, so many seconds, is over. Raises WrongReply."""
        try:
            output, errors = self._process.communicate(timeout=seconds + _PATIENCE_SECONDS)
        finally:
            self.kill()
        if self._process.returncode:
            raise WrongReply(f"the generator ended: {errors.strip()}")
        counted, cpu_seconds = map(float, output.split())
        return Found(self._read(), counted, cpu_seconds)

    def _read(self) -> pl.DataFrame:
        words = pl.Series(array("Q", self._trace.read_bytes()), dtype=pl.UInt64)
        self._trace.unlink()
        records = pl.DataFrame({"began_ns": words.gather_every(2), "word": words.gather_every(2, 1)})
        numbers = list(range(len(self._kinds)))
        kind = (pl.col("word") // _KIND_UNIT).replace_strict(numbers, self._kinds, return_dtype=pl.String)
        return records.select(kind.alias("kind"), "began_ns", (pl.col("word") % _KIND_UNIT).alias("took_ns"))

    def kill(self) -> None:
        """End it at once; more than once is allowed."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
