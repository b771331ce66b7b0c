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
from collections.abc import Callable, Iterable
from typing import NamedTuple

from scripts.measuring.metering import Measures, Shape, metered, turn
from scripts.measuring.processes import die_with_parent, keep_to
from scripts.measuring.servers import MeasuredServer

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
    """What is asked for. `words`: ends its command line, "-t set" or a command of one's own, in which `__rand_int__` is
    a number below `keys` and `__data__` a value.
    """

    words: tuple[str, ...]
    shape: Shape
    value_bytes: int
    keys: int


def command(port: int, load: Load, requests: int) -> list[str]:
    """The command line of one turn."""
    options = {"-p": port, "-c": load.shape.clients, "-P": load.shape.pipeline, "-n": requests, "-r": load.keys}
    options["-d"] = load.value_bytes
    return ["redis-benchmark", *(word for option in options.items() for word in map(str, option)), *load.words]


def parse(text: str) -> Measures:
    """What the output of one run says. Raises UnreadableOutput."""
    rate, summary = _RATE.search(text), _SUMMARY.search(text)
    distribution = text.partition("Latency by percentile distribution:")[2].partition("Cumulative distribution")[0]
    steps = [(float(percent), float(ms)) for percent, ms in _STEP.findall(distribution)]
    p999 = next((ms for percent, ms in steps if percent >= 99.9), None)
    if rate is None or summary is None or p999 is None:
        raise UnreadableOutput(f"redis-benchmark printed {text[-500:]!r}")
    _, _, p50, _, p99, slowest = map(float, summary[1].split())
    return {"per_second": float(rate[1]), "p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "slowest_ms": slowest}


class Series:
    """The turns of one server under one load; the first, of another length, has been taken. `seconds`: of a turn.
    `cpus`: where redis-benchmark runs, anywhere if there are none. `prepare`: called before each turn with the
    number of its requests.

    Raises FileNotFoundError without redis-benchmark; as a turn does, CalledProcessError at a reply that is an error.
    """

    def __init__(
        self, server: MeasuredServer, load: Load, seconds: float, cpus: Iterable[int] = (),
        prepare: Callable[[int], object] = lambda requests: None,
    ) -> None:  # fmt: skip
        if shutil.which("redis-benchmark") is None:
            raise FileNotFoundError("redis-benchmark is not installed (Debian: redis-tools)")
        self._server = server
        self._load = load
        self._cpus = frozenset(cpus)
        self._prepare = prepare
        at_once = load.shape.clients * load.shape.pipeline
        self._requests = max(_FEWEST_FIRST_REQUESTS, _FIRST_REQUESTS * at_once)
        self._requests = max(at_once, int(self.take_turn()["per_second"] * seconds))

    def take_turn(self) -> Measures:
        """One run of redis-benchmark."""
        self._prepare(self._requests)
        words = command(self._server.port, self._load, self._requests)
        with metered(self._server) as used:
            done = subprocess.run(
                words, capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS, preexec_fn=self._enter
            )
        return turn(parse(done.stdout), used)

    def _enter(self) -> None:
        die_with_parent()
        keep_to(self._cpus)
