"""What one turn of one server comes to: how many requests a second, how long they took, and who was busy meanwhile."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from scripts.measuring.servers import MeasuredServer


class Shape(NamedTuple):
    """One way to ask: so many connections, so many requests on the way on each."""

    clients: int
    pipeline: int = 1

    def __str__(self) -> str:
        return f"{self.clients}, -P {self.pipeline}" if self.pipeline > 1 else str(self.clients)


class Latency(NamedTuple):
    """Requests of one kind: how many a second, and how long they took, in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    slowest_ms: float


class Turn(NamedTuple):
    """Rate and latency of a turn; shares of one processor that the server and the generator used, from 0 to 1.

    `stolen_share`: of all processors, what a virtual machine's host gave to others meanwhile.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    slowest_ms: float
    server_share: float
    generator_share: float
    stolen_share: float


class Processors:
    """Processor time of a server and of the children that end meanwhile, hence of a load generator; servers go on.

    A context manager; afterwards the shares are as in Turn.
    """

    def __init__(self, server: MeasuredServer) -> None:
        self._server = server
        self.server_share = self.generator_share = self.stolen_share = 0.0

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            elapsed, server, children, stolen = (
                now - then for now, then in zip(self._read(), self._before, strict=True)
            )
            self.server_share, self.generator_share = server / elapsed, children / elapsed
            self.stolen_share = stolen / elapsed / (os.cpu_count() or 1)

    def turn(self, latency: Latency) -> Turn:
        """A turn with that latency."""
        return Turn(*latency, self.server_share, self.generator_share, self.stolen_share)

    def _read(self) -> tuple[float, float, float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), self._server.cpu_seconds(), used.ru_utime + used.ru_stime, stolen_seconds()


def stolen_seconds() -> float:
    """Processor time, summed over all processors, that a virtual machine wanted and did not get (proc(5), steal)."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=10)
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")
