"""redis-benchmark: one turn of it against a server, and what it prints read back.

Its long output is read, not --csv, because only that says more than p99. Latency is listed there at ever finer steps
(50, 75, 87.5, ... %): p99.9 is that of the first step at or above it, 99.902 %. The other figures are in its summary.

How many requests a turn makes is taken from the rate seen before, so that turns last equally long; the first turn of
each server, short, only serves that, and to warm up.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from scripts.measuring.results import median
from scripts.measuring.servers import MeasuredServer, keep_to
from scripts.measuring.turn import Latency, Processors, Shape, Turn

#: The first turn, which only finds out how fast the server is: requests for each connection and place in the pipeline.
_FIRST_REQUESTS = 60
_FEWEST_FIRST_REQUESTS = 500

#: More than any turn takes.
_TIMEOUT_SECONDS = 300

_RATE = re.compile(r"throughput summary: ([0-9.]+) requests per second")
_SUMMARY = re.compile(r"latency summary \(msec\):\n\s+avg\s+min\s+p50\s+p95\s+p99\s+max\n((?:\s+[0-9.]+){6})")
_STEP = re.compile(r"^([0-9.]+)% <= ([0-9.]+) milliseconds \(cumulative count [0-9]+\)$", re.MULTILINE)


class UnreadableOutput(Exception):
    """redis-benchmark printed something that it is not known to print."""


class Load(NamedTuple):
    """What is asked for. `test`: a name of redis-benchmark's -t. Keys are drawn from the first `keys`."""

    test: str
    shape: Shape
    value_bytes: int
    keys: int


def require() -> None:
    """Raises FileNotFoundError without redis-benchmark."""
    if shutil.which("redis-benchmark") is None:
        raise FileNotFoundError("redis-benchmark is not installed (Debian: redis-tools)")


def command(port: int, load: Load, requests: int) -> list[str]:
    """The command line of one turn."""
    options = {"-p": port, "-c": load.shape.clients, "-P": load.shape.pipeline, "-n": requests, "-r": load.keys}
    options["-d"] = load.value_bytes
    words = [word for option, value in options.items() for word in (option, str(value))]
    return ["redis-benchmark", *words, "-t", load.test]


def parse(text: str) -> Latency:
    """What the output of one run says. Raises UnreadableOutput."""
    rate, summary = _RATE.search(text), _SUMMARY.search(text)
    distribution = text.partition("Latency by percentile distribution:")[2].partition("Cumulative distribution")[0]
    steps = [(float(percent), float(ms)) for percent, ms in _STEP.findall(distribution)]
    p999 = next((ms for percent, ms in steps if percent >= 99.9), None)
    if rate is None or summary is None or p999 is None:
        raise UnreadableOutput(f"redis-benchmark printed {text[-500:]!r}")
    _, _, p50, _, p99, slowest = map(float, summary[1].split())
    return Latency(float(rate[1]), p50, p99, p999, slowest)


def measure(server: MeasuredServer, load: Load, requests: int, cpus: Iterable[int] = ()) -> Turn:
    """Run redis-benchmark once, on the processors named. It ends by itself at the first reply that is an error; then
    CalledProcessError.
    """
    chosen = frozenset(cpus)
    with Processors(server) as processors:
        done = subprocess.run(
            command(server.port, load, requests), capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS,
            preexec_fn=lambda: keep_to(chosen),
        )  # fmt: skip
    return processors.turn(parse(done.stdout))


class Series:
    """The turns of one server under one load."""

    def __init__(self, server: MeasuredServer, load: Load, cpus: Iterable[int] = ()) -> None:
        self.server = server
        self.load = load
        self._cpus = frozenset(cpus)
        first = _FIRST_REQUESTS * load.shape.clients * load.shape.pipeline
        self._requests = max(_FEWEST_FIRST_REQUESTS, first)
        self.turns: list[Turn] = []

    def find_pace(self, seconds: float) -> None:
        """The first turn: afterwards a turn takes so many seconds."""
        turn = measure(self.server, self.load, self._requests, self._cpus)
        self._requests = max(self.load.shape.clients * self.load.shape.pipeline, int(turn.per_second * seconds))

    def take_turn(self) -> Turn:
        """One turn."""
        self.turns.append(measure(self.server, self.load, self._requests, self._cpus))
        return self.turns[-1]

    def median(self, name: str) -> float:
        """The median over the turns of one field of Turn."""
        return median(getattr(turn, name) for turn in self.turns)
