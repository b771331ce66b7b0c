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

from scripts.measuring.load import WrongReply
from scripts.measuring.servers import MeasuredServer, die_with_parent, keep_to
from scripts.measuring.turn import Latency, Processors, Turn

_SOURCE = Path(__file__).with_name("generator.c")
_NS_PER_MS = 1_000_000

#: More than any turn takes beyond its length, in seconds.
_PATIENCE_SECONDS = 90.0

_KIND_BITS, _TOOK_BITS = 4, 60


class NoCompiler(Exception):
    """There is no C compiler, or it does not compile what it is given."""


def compile_c(source: Path, product: Path, *options: str) -> Path:
    """Compile a C program, or with -shared a library. Returns `product`. Raises NoCompiler."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise NoCompiler(f"{compiler} is not installed (Debian: gcc), or set CC")
    words = [compiler, "-O2", *options, "-o", str(product), str(source), "-lm", "-ldl", "-lpthread"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompiler(f"{' '.join(words)}: {done.stderr}")
    return product


class Group(NamedTuple):
    """Clients that ask for the same: `requests` one after another, each with its kind, over and over."""

    clients: int
    pipeline: int
    requests: Sequence[tuple[str, bytes]]


class Found(NamedTuple):
    """What one run found. `seconds`: how long requests were counted. `cpu_seconds`: what the generator used."""

    by_kind: dict[str, Latency]
    total: Latency
    requests: int
    seconds: float
    cpu_seconds: float


class Trace(NamedTuple):
    """When requests began and how long they took, in nanoseconds of time.perf_counter_ns; `kinds`: which they were."""

    began: array[int]
    took: array[int]
    kinds: list[str]


class Generator:
    """The compiled generator with its requests, in `directory`. `cpus`: the processors it may use, none for any."""

    def __init__(self, directory: Path, groups: Sequence[Group], cpus: Iterable[int] = ()) -> None:
        program = directory / "generator"
        self._program = program if program.exists() else compile_c(_SOURCE, program)
        self._cpus = frozenset(cpus)
        self._kinds = list(dict.fromkeys(kind for group in groups for kind, _ in group.requests))
        self._trace = directory / f"trace-{id(self)}"
        self._groups = []
        for number, group in enumerate(groups):
            path = directory / f"requests-{id(self)}-{number}"
            path.write_bytes(b"".join(self._record(*request) for request in group.requests))
            self._groups.append(f"{group.clients}:{group.pipeline}:{path}")

    def _record(self, kind: str, data: bytes) -> bytes:
        return struct.pack("=BI", self._kinds.index(kind), len(data)) + data

    def _command(self, port: int, seconds: float, skip_seconds: float, trace: str) -> list[str]:
        return [str(self._program), str(port), f"{seconds:f}", f"{skip_seconds:f}", trace, *self._groups]

    def run(self, port: int, seconds: float, skip_seconds: float = 0.0) -> Found:
        """Ask for so long, from `skip_seconds` on counted. Raises WrongReply."""
        command = self._command(port, skip_seconds + seconds, skip_seconds, "-")
        patience = skip_seconds + seconds + _PATIENCE_SECONDS
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience, preexec_fn=self._enter
        )
        if done.returncode:
            raise WrongReply(f"the generator ended: {done.stderr.strip()}")
        return self._read(done.stdout)

    def take_turn(self, server: MeasuredServer, seconds: float, skip_seconds: float = 0.0) -> tuple[Turn, Found]:
        """The same, with the shares of the processors that were used."""
        with Processors(server) as processors:
            found = self.run(server.port, seconds, skip_seconds)
        return processors.turn(found.total), found

    def start(self, port: int) -> Running:
        """Ask until it is told to stop, and keep every request."""
        process = subprocess.Popen(
            self._command(port, 0, 0, str(self._trace)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=self._enter,
        )  # fmt: skip
        return Running(self, process)

    def _enter(self) -> None:
        die_with_parent()
        keep_to(self._cpus)

    def _read(self, output: str) -> Found:
        *lines, last = output.splitlines()
        _, seconds, _, cpu_seconds = last.split()
        latencies, counts = {}, {}
        for line in lines:
            kind, count, *nanoseconds = line.split()
            name = kind if kind == "all" else self._kinds[int(kind)]
            counts[name] = int(count)
            milliseconds = [int(number) / _NS_PER_MS for number in nanoseconds]
            latencies[name] = Latency(int(count) / float(seconds), *milliseconds)
        if "all" not in latencies:
            raise WrongReply("no request was measured: measure for longer")
        total = latencies.pop("all")
        return Found(latencies, total, counts["all"], float(seconds), float(cpu_seconds))

    def _read_trace(self) -> Trace:
        words = array("Q", self._trace.read_bytes())
        began, took = words[::2], words[1::2]
        self._trace.unlink()
        mask = (1 << _TOOK_BITS) - 1
        return Trace(began, array("Q", [word & mask for word in took]), [self._kinds[w >> _TOOK_BITS] for w in took])


class Running:
    """A generator that asks until `stop`."""

    def __init__(self, generator: Generator, process: subprocess.Popen[str]) -> None:
        self._generator = generator
        self._process = process

    def check(self) -> None:
        """Raises WrongReply if it has ended by itself."""
        if self._process.poll() is not None:
            raise WrongReply(f"the generator ended: {self._process.communicate()[1].strip()}")

    def stop(self) -> tuple[Found, Trace]:
        """Let it wait for the replies still to come. Returns what it found. Raises WrongReply."""
        self.check()
        self._process.send_signal(signal.SIGTERM)
        output, errors = self._process.communicate(timeout=_PATIENCE_SECONDS)
        if self._process.returncode:
            raise WrongReply(f"the generator ended: {errors.strip()}")
        return self._generator._read(output), self._generator._read_trace()

    def kill(self) -> None:
        """End it at once; more than once is allowed."""
        self._process.kill()
        self._process.communicate()
