"""One run: a fresh server, some clients, all stages; what the clients report, and who was busy meanwhile.

    run = Run(1, Load("swarm", clients=16), place, pace)
    rows = run.measure(ServerRow, directory)

Every run has a server and a data directory of its own: no run inherits an index, a log or a cache from the one before.
Compaction is switched off (it is measured by itself). The clients are started and told when to begin; while they run,
processors and the server's INFO are read several times a second, and afterwards the readings at both ends of each
stage's window are taken.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.testing.server_process import ROOT, environment
from scripts.experimenting import stages
from scripts.experimenting.places import Place
from scripts.experimenting.processors import Snapshot, usage
from scripts.experimenting.readings import NotRead, Reading, between, read_counters
from scripts.experimenting.rows import ClientRow, SumRow
from scripts.experimenting.stages import Stage, Window
from scripts.experimenting.swarm import OPERATIONS
from scripts.measuring.bench import NEVER_COMPACT
from scripts.measuring.servers import MeasuredServer, die_with_parent, start_kvstore

#: Time for a server to start, in seconds.
_START_SECONDS = 30.0

#: scripts/TestPerf.py's pause between stages, in seconds; the swarm's is given to it.
_PERF_GAP_SECONDS = 1.0
_SWARM_GAP_SECONDS = 0.4

#: Until the first stage begins: for the programs to start, in seconds, and so much more for each.
_LEAD_SECONDS = 1.0
_LEAD_SECONDS_EACH = 0.15

#: The swarm makes its connections one after the other; each takes a round trip, and something.
_CONNECTING = 1.5

#: How often processors and INFO are read in one stage.
_READINGS = 10

#: A window that is shorter than this part of what was asked for is worth nothing.
_LEAST_WINDOW = 0.25

#: A run that is worth nothing (on a busy machine clients start late) is made again, so often in all.
_TRIES = 3

#: For the clients to end after the last stage (TestPerf removes what it has left), in seconds.
_ENDING_SECONDS = 60.0

_PINGS = 50
_CONNECT_AGAIN_SECONDS = 0.01

SumKind = TypeVar("SumKind", bound=SumRow)


class RunFailed(Exception):
    """A run is worth nothing; the text says why."""


class Pace(NamedTuple):
    """How long each stage runs before it is measured, and how long it is; in seconds."""

    warm_up: float
    seconds: float


class Load(NamedTuple):
    """What is asked of the server. The fields are those of `rows.SumRow`."""

    generator: str
    clients: int
    sync: str = "always"
    group_limit: int = 0
    depth: int = 1
    operations: Sequence[str] = OPERATIONS


@contextmanager
def serving(place: Place, directory: Path, *options: str) -> Iterator[MeasuredServer]:
    """A server on a new data directory, which goes with it. Raises DidNotStart."""
    data = Path(tempfile.mkdtemp(prefix="kvstore-experiment-", dir=directory))
    try:
        with place.at_server():
            server = start_kvstore(data / "data", *options, *place.server_options, seconds=_START_SECONDS)
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)


@dataclass
class Run:
    """One run. `number`: by which its rows are known. After `measure`, `client_rows` has a row for each program."""

    number: int
    load: Load
    place: Place
    pace: Pace

    @property
    def period(self) -> float:
        """Seconds from the begin of a stage to the begin of the next."""
        gap = _PERF_GAP_SECONDS if self.load.generator == "TestPerf" else _SWARM_GAP_SECONDS
        return self.pace.warm_up + self.pace.seconds + gap

    def measure(self, kind: type[SumKind], directory: Path) -> list[SumKind]:
        """Do it, once more if it is worth nothing; returns a row for each operation.

        `directory`: on the disk that is to be measured. Raises RunFailed, NotRead, NoWindow, DidNotStart, OSError.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._measure(kind, directory)
            except (RunFailed, NotRead, stages.NoWindow) as error:
                print(f"once more: {error}", file=sys.stderr, flush=True)
        return self._measure(kind, directory)

    def _measure(self, kind: type[SumKind], directory: Path) -> list[SumKind]:
        load = self.load
        options = ["--sync", load.sync, *NEVER_COMPACT]
        if load.group_limit:
            options += ["--group-limit", str(load.group_limit)]
        with serving(self.place, directory, *options) as server:
            round_trip_ms = self._round_trip_ms(server)
            reports, readings = self._run_clients(server, round_trip_ms)
        self.client_rows: list[ClientRow] = []
        rows = []
        for number, operation in enumerate(load.operations):
            parts = [Stage.from_json(report["stages"][number]) for report in reports]
            window = self._window(operation, parts)
            self._add_client_rows(operation, parts, window)
            rows.append(kind(**self._sum(operation, parts, window, readings), round_trip_ms=round_trip_ms))
        return rows

    def _round_trip_ms(self, server: MeasuredServer) -> float:
        """The median of some PINGs from the clients' host, while nothing else is going on."""
        took = []
        with self.place.at_clients():
            opened = _connect(self.place.target(server))
        with opened as connection:
            for _ in range(_PINGS):
                began = time.perf_counter()
                connection.send(resp_request("PING"))
                connection.resp()
                took.append(time.perf_counter() - began)
        return median(took) * 1e3

    # The clients

    def _command(self, target: Address, start_at: float) -> list[str]:
        pace = self.pace
        times = ["--start-at", str(start_at), "--warm-up", str(pace.warm_up), "--duration", str(pace.seconds)]
        if self.load.generator == "TestPerf":
            return [sys.executable, str(Path(ROOT, "scripts", "TestPerf.py")), str(target), "--json", *times]
        many = ["--connections", str(self.load.clients), "--depth", str(self.load.depth)]
        which = ["--gap", str(_SWARM_GAP_SECONDS), "--operations", ",".join(self.load.operations)]
        return [sys.executable, "-m", "scripts.experimenting.swarm", str(target), *many, *times, *which]

    def _run_clients(self, server: MeasuredServer, round_trip_ms: float) -> tuple[list[dict[str, Any]], list[Reading]]:
        """Run them all; returns what each printed, and the readings."""
        count = self.load.clients if self.load.generator == "TestPerf" else 1
        connecting_seconds = _CONNECTING * self.load.clients * round_trip_ms / 1000
        start_at = time.time() + _LEAD_SECONDS + count * _LEAD_SECONDS_EACH + connecting_seconds
        words = self._command(self.place.target(server), start_at)
        clients = []
        try:
            for _ in range(count):
                with self.place.at_clients():
                    clients.append(_start(words))
            groups = {"server": [server.pid], "clients": [c.pid for c in clients], "link": self.place.link_pids}
            readings = self._watch(server, groups, start_at)
            return [_finish(client) for client in clients], readings
        finally:
            for client in clients:
                client.kill()
                client.communicate()

    def _watch(self, server: MeasuredServer, groups: dict[str, Sequence[int]], start_at: float) -> list[Reading]:
        """Read processors and INFO until the last stage is over."""
        readings = []
        end = start_at + len(self.load.operations) * self.period
        pause = self.pace.seconds / _READINGS
        with self.place.at_server():
            connection = RawConnection(server.address)
        with connection:
            time.sleep(max(0.0, start_at - time.time()))
            while time.time() < end:
                counters = read_counters(connection)
                readings.append(Reading(time.time(), Snapshot.take(groups), counters))
                time.sleep(pause)
        return readings

    # Their rows

    def _window(self, operation: str, parts: Sequence[Stage]) -> Window:
        window = stages.common_window(parts)
        if window.end - window.start < _LEAST_WINDOW * self.pace.seconds:
            raise RunFailed(f"{operation}: all {len(parts)} clients ran for {window.end - window.start:.2f} s only")
        return window

    def _add_client_rows(self, operation: str, parts: Sequence[Stage], window: Window) -> None:
        load = self.load
        for client, part in enumerate(parts):
            requests, seconds = stages.completed_in(part, window)
            self.client_rows.append(
                ClientRow(self.number, load.sync, load.clients, client, operation, _short(seconds), requests,
                          _short(requests / seconds), _short(part.mean_ms), _short(part.p50_ms), _short(part.p99_ms),
                          _short(part.slowest_ms))
            )  # fmt: skip

    def _sum(
        self, operation: str, parts: Sequence[Stage], window: Window, readings: Sequence[Reading]
    ) -> dict[str, Any]:
        """The columns of rows.SumRow but `round_trip_ms`."""
        load, place = self.load, self.place
        histogram = stages.merged_histogram(parts)
        first, last = between(readings, window)
        used = usage(first.processors, last.processors)
        commits, requests, microseconds = (b - a for a, b in zip(first.counters, last.counters, strict=True))
        figures = {
            "window_seconds": window.end - window.start,
            "per_second": sum(stages.per_second_in(part, window) for part in parts),
            "mean_ms": stages.mean_ms(parts),
            "p50_ms": stages.quantile_ms(histogram, 0.5),
            "p99_ms": stages.quantile_ms(histogram, 0.99),
            "slowest_ms": max(part.slowest_ms for part in parts),
            "server_cpu": used.of["server"],
            "clients_cpu": used.of["clients"],
            "link_cpu": used.of["link"],
            "other_cpu": used.other,
            "disk_wait_cpu": used.disk_wait,
            "idle_cpu": used.idle,
            "commit_seconds": last.at - first.at,
            "commit_us": microseconds / commits if commits else 0.0,
        }
        return {
            "run": self.number, "generator": load.generator, "sync": load.sync, "group_limit": load.group_limit,
            "depth": load.depth, "link": place.link, "delay_ms": place.delay_ms, "clients": load.clients,
            "operation": operation, "requests": sum(stages.completed_in(part, window)[0] for part in parts),
            "commits": int(commits), "committed_requests": int(requests),
            **{name: _short(figure) for name, figure in figures.items()},
        }  # fmt: skip


def _connect(address: Address) -> RawConnection:
    """Connect to a server that listens already, though perhaps not yet on this one of its addresses. Raises OSError."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return RawConnection(address)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_CONNECT_AGAIN_SECONDS)


def _short(number: float) -> float:
    """Six significant digits: more are noise, and make the files long."""
    return float(f"{number:.6g}")


def _start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=environment(), preexec_fn=die_with_parent,
    )  # fmt: skip


def _finish(client: subprocess.Popen[str]) -> dict[str, Any]:
    """What a client printed, once it has ended. Raises RunFailed."""
    try:
        out, err = client.communicate(timeout=_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"a client has not ended {_ENDING_SECONDS:g} s after its last stage") from None
    if client.returncode != 0:
        raise RunFailed(f"a client ended with status {client.returncode}: {err.strip()}")
    report: dict[str, Any] = json.loads(out)
    return report
