"""One run: a fresh server, so many clients, each operation for its time; what came of it, as rows.

Every run has a server and a data directory of its own: no run inherits an index, a log or a cache from the one before.
Compaction is switched off; it is measured by itself. Every request is kept until its quantiles are known. While clients
run, processors and INFO are read several times a second, and the readings at both ends of the time that counts are
compared. A loopback connection has a hazard for the reader: the kernel's work to receive a packet is done in, and
charged to, the process that sends it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import polars as pl

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.testing.server_process import ROOT, environment
from scripts.experimenting import requests
from scripts.experimenting.network import Place, place
from scripts.experimenting.plan import OPERATIONS, Effort, Run
from scripts.experimenting.store import Row
from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import WrongReply
from scripts.measuring.metering import ENDED_NS, TOOK_MS
from scripts.measuring.processes import children, die_with_parent, machine_ns, running_ns
from scripts.measuring.servers import MeasuredServer, commits_of, parse_info, start_server

_READING_SECONDS = 0.04

#: A run that is worth nothing (on a busy machine clients begin late) is made again, so often in all.
_TRIES = 3

#: The generator's connections are made one after the other; each takes a round trip, and something.
_CONNECTING = 1.3

#: What is removed is gone: a stage of removes is so much shorter than others.
_REMOVE_PART = 0.6

#: For TestPerf beyond its stages: to start, and to remove what they left.
_ENDING_SECONDS = 120.0


class RunFailed(Exception):
    """A run is worth nothing; the text says why."""


class Reading(NamedTuple):
    """Counters at one time of the monotonic clock. All but the last three are nanoseconds; the last are INFO's."""

    at: int
    server: int
    clients: int
    link: int
    idle: int
    stolen: int
    commits: int
    committed: int
    committing_us: float


def read(connection: RawConnection, server: int, clients: Sequence[int], link: Sequence[int]) -> Reading:
    """Read everything now. `connection`: to the server; the others are numbers of processes. Raises OSError."""
    connection.send(resp_request("INFO", "group_commit"))  # Valkey has no such section, and says nothing
    committed = commits_of(parse_info(connection.resp()))
    used = (running_ns(server), sum(map(running_ns, clients)), sum(map(running_ns, link)))
    return Reading(time.monotonic_ns(), *used, *machine_ns(), *committed)


def between(readings: Sequence[Reading], start_ns: int, end_ns: int) -> Row:
    """The columns of a row that come from the readings in a stretch of time. Raises RunFailed if there are not two."""
    inside = [reading for reading in readings if start_ns <= reading.at <= end_ns]
    if len(inside) < 2:
        raise RunFailed(f"only {len(inside)} readings in {(end_ns - start_ns) / 1e9:.2f} s")
    at, *ns, commits, committed, committing_us = (b - a for a, b in zip(inside[0], inside[-1], strict=True))
    names = ("server_cpu", "clients_cpu", "link_cpu", "idle_cpu", "stolen_cpu")
    cpu: Row = {name: used / at for name, used in zip(names, ns, strict=True)}
    return cpu | {"commits": commits, "committed": committed, "commit_us": committing_us / commits if commits else 0.0}


@contextmanager
def serving(run: Run, place: Place, directory: Path) -> Iterator[MeasuredServer]:
    """The server of a run, on a new data directory in `directory`. Raises StartFailed."""
    with place.at_server():
        server = start_server(run.variant.server, directory / "data", *place.server_options, *run.variant.options)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def directory_in(parent: Path | None) -> Iterator[Path]:
    """A new directory, which goes with all that is in it. `parent`: None for that of temporary files."""
    with TemporaryDirectory(prefix="kvstore-experiment-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for what the clients need: in memory if there is such a place, away from the disk to be measured."""
    memory = Path("/dev/shm")
    with directory_in(memory if os.access(memory, os.W_OK) else None) as directory:
        yield directory


def measure(run: Run, effort: Effort, parent: Path) -> list[Row]:
    """The rows of a run, one for each operation. `parent`: where data directories are made, on the disk to be measured.

    Raises RunFailed, StartFailed, NoCompiler, NoNetwork, OSError.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _measure(run, effort, parent)
        except (RunFailed, WrongReply) as error:
            if not left:
                raise RunFailed(str(error)) from error
            print(f"once more: {error}", file=sys.stderr)
    raise AssertionError


def _measure(run: Run, effort: Effort, parent: Path) -> list[Row]:
    with (
        scratch() as files, directory_in(parent) as directory,
        place(run.variant.delay_ms, files) as where, serving(run, where, directory) as server,
    ):  # fmt: skip
        with where.at_server():
            connection = RawConnection(server.address)
        with connection:
            site = Site(run, effort, where, files, server, connection)
            rows = testperf_rows(site) if run.variant.testperf else generator_rows(site)
    about = {"round": run.round, "variant": run.variant.name, "clients": run.clients}
    return [about | row for row in rows]


class Site(NamedTuple):
    """A run under way. `files`: a directory. `connection`: to the server, for INFO."""

    run: Run
    effort: Effort
    place: Place
    files: Path
    server: MeasuredServer
    connection: RawConnection

    @property
    def target(self) -> Address:
        """Where the clients find the server."""
        return self.place.address or self.server.address

    def watch(self, clients: Callable[[], Sequence[int]], going_on: Callable[[], bool]) -> list[Reading]:
        """Read who is busy until it is over. `clients`: the numbers of their processes."""
        readings = []
        while going_on():
            readings.append(read(self.connection, self.server.pid, clients(), self.place.link_pids))
            time.sleep(_READING_SECONDS)
        return readings


def testperf_rows(site: Site) -> list[Row]:
    """The rows of scripts/TestPerf.py: what counts is the time in which all clients were running. Raises RunFailed."""
    raw, effort = site.files / "raw.csv", site.effort
    words = [sys.executable, str(Path(ROOT, "scripts", "TestPerf.py")), str(site.target), "--raw", str(raw)]
    words += ["--clients", str(site.run.clients)]
    words += ["--duration", str(effort.seconds), "--warm-up", str(effort.warm_up)]
    deadline = time.monotonic() + effort.run_seconds(site.run) + _ENDING_SECONDS
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(), preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        readings = site.watch(
            lambda: children(process.pid), lambda: process.poll() is None and time.monotonic() < deadline
        )
    finally:
        process.kill()
        said, _ = process.communicate()
    if process.returncode:
        raise RunFailed(f"TestPerf ended with status {process.returncode}: {said[-500:]}")
    stages = pl.read_csv(raw).partition_by("stage", as_dict=True)
    return [summed(operation, stages[operation,], readings, effort) for operation in OPERATIONS]


def summed(operation: str, trace: pl.DataFrame, readings: Sequence[Reading], effort: Effort) -> Row:
    """The row of one operation. `trace`: client, began_ns, took_ns of each request. Raises RunFailed."""
    spans = trace.group_by("client").agg(pl.col("began_ns").min(), ENDED_NS.max().alias("ended_ns"))
    start, end = spans.select(pl.col("began_ns").max(), pl.col("ended_ns").min()).row(0)
    if end - start < 0.25e9 * effort.seconds:
        raise RunFailed(f"{operation}: all {spans.height} clients ran for {(end - start) / 1e9:.2f} s only")
    return row_of(operation, trace, readings, start, end)


def row_of(operation: str, trace: pl.DataFrame, readings: Sequence[Reading], start: int, end: int) -> Row:
    """The same, for a given stretch of time on the monotonic clock, in nanoseconds. Raises RunFailed."""
    inside = trace.filter(ENDED_NS.is_between(start, end))
    if inside.is_empty():
        raise RunFailed(f"{operation}: no request in {(end - start) / 1e9:.2f} s")
    return {"operation": operation} | figures_of(inside, (end - start) / 1e9) | between(readings, start, end)


def figures_of(trace: pl.DataFrame, seconds: float) -> Row:
    """The columns that come from the requests of a stretch of time."""
    row: Row = {"seconds": seconds, "requests": trace.height, "per_second": trace.height / seconds}
    quantiles = {"p50_ms": 0.5, "p99_ms": 0.99, "slowest_ms": 1.0}
    found = [TOOK_MS.quantile(part, "nearest").alias(name) for name, part in quantiles.items()]
    return row | trace.select(TOOK_MS.mean().alias("mean_ms"), *found).row(0, named=True)


def generator_rows(site: Site) -> list[Row]:
    """The rows of the generator in C, for one operation after the other. Before the second all is written that requests
    are about, before queries their index is made. Raises RunFailed, WrongReply, NoCompiler.
    """
    rows = []
    for number, operation in enumerate(site.run.variant.operations):
        with site.place.at_server():
            if number == 1:
                requests.load_all(site.server.port, site.run.variant.operations[0])
            if operation == "query":
                site.server.ask("query", "group", "1")
        rows.append(_generator_row(site, operation))
    return rows


def _generator_row(site: Site, operation: str) -> Row:
    warm_up, seconds, delay_ms = site.effort.warm_up, site.effort.seconds, site.run.variant.delay_ms or 0.0
    if operation == "remove":
        seconds *= _REMOVE_PART
    warm_up += 20 * delay_ms / 1000
    connecting = _CONNECTING * (0.1 + site.run.clients * 2 * delay_ms / 1000)
    generator = Generator(site.files, [Group(site.run.clients, site.run.variant.pipeline, requests.pool(operation))])
    with site.place.at_clients():
        running = generator.start(site.target)
    try:
        until = time.monotonic() + connecting + warm_up + seconds
        readings = site.watch(lambda: [running.pid], lambda: time.monotonic() < until)
        trace = running.stop().trace
    finally:
        running.kill()
    if trace.is_empty():
        raise RunFailed(f"{operation}: no request")
    start = int(trace["began_ns"].min()) + int(warm_up * 1e9)  # type: ignore[arg-type]  # of integers
    return row_of(operation, trace, readings, start, readings[-1].at)
