"""What one turn of one server comes to: numbers by name, the unit at the end of the name (`p99_ms`, `log_seconds`).

Whatever is measured, by whatever generator, has this form, so that report, plot and targets need to know no more.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import polars as pl

from scripts.measuring.processes import machine_ns
from scripts.measuring.servers import KVSTORE, MeasuredServer, commits_of

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


#: Of a request in a trace (`generator.Found`).
TOOK_MS = pl.col("took_ns") / 1e6
ENDED_NS = pl.col("began_ns") + pl.col("took_ns")

#: Of a trace: how many requests, and their percentiles (nearest rank).
QUANTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "slowest_ms": 1.0}
_FACTS = [pl.len().alias("per_second"), *(TOOK_MS.quantile(q, "nearest").alias(n) for n, q in QUANTILES.items())]


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


@contextmanager
def metered(server: MeasuredServer) -> Iterator[Measures]:
    """Who is busy meanwhile, and how kvstore groups its writes. Afterwards what it yields has

    - `server_share`, `generator_share`: of one processor, from 0 to 1, what the server used, and the children of this
      process that ended, hence a load generator (servers go on);
    - `stolen_share`: of all processors, what a virtual machine's host gave to others;
    - `commits`, `requests_per_commit`, `commit_us` (writing and syncing): where INFO tells them, and there were any.
    """
    found: Measures = {}
    committed, used = _commits(server), _processors(server)
    yield found
    elapsed, busy, children, stolen = (now - then for now, then in zip(_processors(server), used, strict=True))
    found |= {"server_share": busy / elapsed, "generator_share": children / elapsed}
    found["stolen_share"] = stolen / elapsed / (os.cpu_count() or 1)
    commits, requests, us = (now - then for now, then in zip(_commits(server), committed, strict=True))
    if commits:
        found |= {"commits": commits, "requests_per_commit": requests / commits, "commit_us": us / commits}


def turn(requests: Measures, used: Measures) -> Measures:
    """What a turn comes to, of its requests and of what was `metered`. `server_us`: of a processor, a request."""
    return requests | used | {"server_us": 1e6 * used["server_share"] / requests["per_second"]}


def _processors(server: MeasuredServer) -> tuple[float, float, float, float]:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), server.cpu_seconds(), used.ru_utime + used.ru_stime, machine_ns()[1] / 1e9


def _commits(server: MeasuredServer) -> tuple[int, int, float]:
    """See `commits_of`. Only kvstore is asked: what does nothing has no INFO."""
    return commits_of(server.info() if server.name == KVSTORE else {})
