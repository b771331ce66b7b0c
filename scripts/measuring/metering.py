"""What one turn of one server comes to: numbers by name, the unit at the end of the name (`p99_ms`, `log_seconds`).

Whatever is measured, by whatever generator, has this form, so that report, plot and targets need to know no more.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import polars as pl

from scripts.measuring.servers import MeasuredServer

#: Numbers by name.
Measures = dict[str, float]


class Shape(NamedTuple):
    """One way to ask: so many connections, so many requests on the way on each."""

    clients: int
    pipeline: int = 1

    def __str__(self) -> str:
        return f"{self.clients}, -P {self.pipeline}" if self.pipeline > 1 else str(self.clients)

    @property
    def name(self) -> str:
        """As part of the name of a case."""
        return f"{self.clients}-p{self.pipeline}" if self.pipeline > 1 else str(self.clients)


_TOOK_MS = pl.col("took_ns") / 1e6

#: Of a trace: how many requests, and their percentiles (nearest rank).
QUANTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "slowest_ms": 1.0}
_FACTS = [pl.len().alias("per_second"), *(_TOOK_MS.quantile(q, "nearest").alias(n) for n, q in QUANTILES.items())]


def latencies(trace: pl.DataFrame, seconds: float) -> Measures:
    """Rate and latencies of the requests of a trace (`generator.Found`), which is not empty, made in so many seconds:
    of all (`p99_ms`) and, where there are several kinds, of each (`GET.p99_ms`).
    """
    [total] = trace.select(_FACTS).to_dicts()
    kinds = trace.group_by("kind", maintain_order=True).agg(_FACTS).to_dicts()
    found: Measures = total
    for of_kind in kinds if len(kinds) > 1 else []:
        kind = of_kind.pop("kind")
        found |= {f"{kind}.{name}": value for name, value in of_kind.items()}
    return {name: value / seconds if name.endswith("per_second") else value for name, value in found.items()}


class Meter:
    """Who was busy meanwhile, and how kvstore grouped its writes; a context manager, of which afterwards `measures` has

    - `server_share`, `generator_share`: of one processor, from 0 to 1, what the server used, and the children of this
      process that ended, hence a load generator (servers go on);
    - `stolen_share`: of all processors, what a virtual machine's host gave to others;
    - `commits`, `requests_per_commit`, `commit_us` (writing and syncing): where INFO tells them, and there were any.
    """

    def __init__(self, server: MeasuredServer) -> None:
        self._server = server
        self.measures: Measures = {}

    def __enter__(self) -> Self:
        self._committed = self._commits()
        self._used = self._processors()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            elapsed, server, children, stolen = (
                now - then for now, then in zip(self._processors(), self._used, strict=True)
            )
            self.measures = {"server_share": server / elapsed, "generator_share": children / elapsed}
            self.measures["stolen_share"] = stolen / elapsed / (os.cpu_count() or 1)
            commits, requests, us = (now - then for now, then in zip(self._commits(), self._committed, strict=True))
            if commits:
                self.measures |= {"commits": commits, "requests_per_commit": requests / commits}
                self.measures["commit_us"] = us / commits

    def about(self, requests: Measures) -> Measures:
        """Those of the requests made meanwhile, and these; `server_us`: of a processor, a request."""
        return requests | self.measures | {"server_us": 1e6 * self.measures["server_share"] / requests["per_second"]}

    def _processors(self) -> tuple[float, float, float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), self._server.cpu_seconds(), used.ru_utime + used.ru_stime, stolen_seconds()

    def _commits(self) -> tuple[float, float, float]:
        """Commits, requests in them, and microseconds that they took, so far: Valkey does not tell."""
        info = self._server.info() if self._server.name == "kvstore" else {}
        names = ("commits", "committed_requests", "microseconds_per_commit")
        commits, requests, us_each = (float(info.get(name, 0)) for name in names)
        return commits, requests, commits * us_each


def stolen_seconds() -> float:
    """Processor time, summed over all processors, that a virtual machine wanted and did not get (proc(5), steal)."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=10)
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")
