"""SET and GET of redis-benchmark, kvstore and Valkey in turns, with a sync of the disk before every reply to a SET.

Both servers run all the time; only one of them is asked at a time. Keys are drawn from those that are there already:
GET always finds a value. How many requests a turn makes is taken from the rate seen before, so that turns last equally
long; the first turn of each, short, only serves that, and to warm up.
"""

from __future__ import annotations

import csv
import resource
import shutil
import subprocess
import time
from typing import NamedTuple

from scripts.measuring.bench import Bench, in_turns, share
from scripts.measuring.load import load_keys
from scripts.measuring.results import Check, Result, Table, median, spread, thousands
from scripts.measuring.servers import MeasuredServer

#: Keys in the table, and drawn from.
KEYS = 10_000

#: The first turn, which only finds out how fast the server is: requests for each connection and place in the pipeline.
_FIRST_REQUESTS = 60

#: More than any turn takes.
_TIMEOUT_SECONDS = 300


class Shape(NamedTuple):
    """One way to ask: so many connections, so many requests on the way on each. The targets are ratios to Valkey."""

    clients: int
    pipeline: int
    set_target: float = 0.7
    get_target: float = 0.6

    def __str__(self) -> str:
        return f"{self.clients}, -P {self.pipeline}" if self.pipeline > 1 else str(self.clients)


SHAPES = [Shape(1, 1), Shape(16, 1), Shape(50, 1), Shape(200, 1), Shape(50, 16, get_target=0.45)]


class Turn(NamedTuple):
    """What one run of redis-benchmark found. Latency of a request in milliseconds; processor shares from 0 to 1."""

    per_second: float
    p50_ms: float
    p99_ms: float
    server_share: float
    generator_share: float


def command(port: int, operation: str, shape: Shape, value_bytes: int, requests: int) -> list[str]:
    """The command line of one turn."""
    options = {"-p": port, "-c": shape.clients, "-P": shape.pipeline, "-n": requests, "-r": KEYS, "-d": value_bytes}
    words = [word for option, value in options.items() for word in (option, str(value))]
    return ["redis-benchmark", *words, "-t", operation.lower(), "--csv"]


def measure(server: MeasuredServer, operation: str, shape: Shape, value_bytes: int, requests: int) -> Turn:
    """Run redis-benchmark once. It ends by itself at the first reply that is an error; then CalledProcessError."""
    server_before, generator_before, began = server.cpu_seconds(), _children_cpu_seconds(), time.perf_counter()
    done = subprocess.run(
        command(server.port, operation, shape, value_bytes, requests),
        capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    elapsed = time.perf_counter() - began
    row = list(csv.DictReader(done.stdout.splitlines()))[-1]
    return Turn(
        float(row["rps"]),
        float(row["p50_latency_ms"]),
        float(row["p99_latency_ms"]),
        (server.cpu_seconds() - server_before) / elapsed,
        (_children_cpu_seconds() - generator_before) / elapsed,
    )


def _children_cpu_seconds() -> float:
    """Processor time of the children that have ended, hence of redis-benchmark: servers go on."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Series:
    """The turns of one server in one cell of the table."""

    def __init__(self, server: MeasuredServer, operation: str, shape: Shape, value_bytes: int) -> None:
        self.server = server
        self._cell = (operation, shape, value_bytes)
        self._requests = _FIRST_REQUESTS * shape.clients * shape.pipeline
        self.turns: list[Turn] = []

    def find_pace(self, seconds: float) -> None:
        """The first turn: afterwards a turn takes so many seconds."""
        turn = measure(self.server, *self._cell, requests=self._requests)
        self._requests = max(self._requests, int(turn.per_second * seconds))

    def take_turn(self) -> None:
        """One turn."""
        self.turns.append(measure(self.server, *self._cell, requests=self._requests))

    def median(self, name: str) -> float:
        """The median over the turns of one field of Turn."""
        return median(getattr(turn, name) for turn in self.turns)


def run(bench: Bench) -> Result:
    """Measure all cells, in turns. Raises FileNotFoundError without redis-benchmark."""
    if shutil.which("redis-benchmark") is None:
        raise FileNotFoundError("redis-benchmark is not installed (Debian: redis-tools)")
    effort = bench.effort
    cells = [(op, shape, size) for size in effort.value_bytes for op in ("SET", "GET") for shape in SHAPES]
    pairs: list[list[Series]] = []
    steps = len(cells) * (effort.rounds + 1)
    for size in effort.value_bytes:
        servers = [bench.kvstore(f"kvstore-{size}", "--sync", "always"), bench.valkey(f"valkey-{size}")]
        for server in servers:
            load_keys(server.port, KEYS, size)
        of_this_size = [[Series(server, *cell) for server in servers] for cell in cells if cell[2] == size]
        for number in range(-1, effort.rounds):
            for pair in of_this_size:
                bench.progress.show((len(pairs) * (effort.rounds + 1) + (number + 1) * len(of_this_size)) / steps)
                for series in in_turns(pair, number + 1):
                    series.find_pace(effort.seconds) if number < 0 else series.take_turn()
        for server in servers:
            server.kill()
        pairs += of_this_size
    return _result(bench, cells, pairs)


def _result(bench: Bench, cells: list[tuple[str, Shape, int]], pairs: list[list[Series]]) -> Result:
    tables, checks, raw = [], [], []
    for size in bench.effort.value_bytes:
        rows = []
        for (operation, shape, cell_size), (ours, theirs) in zip(cells, pairs, strict=True):
            if cell_size != size:
                continue
            rows.append(_row(operation, shape, ours, theirs))
            checks.append(_check(operation, shape, size, ours, theirs))
            raw.append(
                {"operation": operation, "clients": shape.clients, "pipeline": shape.pipeline, "value_bytes": size,
                 "kvstore": [turn._asdict() for turn in ours.turns], "valkey": [t._asdict() for t in theirs.turns]}
            )  # fmt: skip
        tables.append(
            Table(f"Requests a second, values of {size} bytes: median and range of the rounds", _COLUMNS, rows)
        )
    example = " ".join(command(6380, "SET", SHAPES[2], bench.effort.value_bytes[0], 100_000))
    method = (
        f"{bench.effort.rounds} rounds of {bench.effort.seconds:g} s each, kvstore `--sync always` and Valkey"
        f" `appendonly yes, appendfsync always, save ''` in turns, {KEYS} keys that exist; the load is redis-benchmark,"
        f" one thread in C, as in `{example}`. The processor columns say who was busy during kvstore's and Valkey's"
        " turns: server / redis-benchmark. Ratio: of the medians."
    )
    return Result("redis-benchmark, kvstore against Valkey", method, tables, checks, {"cells": raw})


_COLUMNS = ["", "kvstore", "range", "Valkey", "range", "ratio", "p99 ms", "Valkey's", "processor", "Valkey's"]


def _row(operation: str, shape: Shape, ours: Series, theirs: Series) -> list[str]:
    cells = [f"{operation} {shape}"]
    for series in (ours, theirs):
        rates = [turn.per_second for turn in series.turns]
        cells += [thousands(median(rates)), spread(rates, 1000, 1)]
    cells.append(f"{ours.median('per_second') / theirs.median('per_second'):.2f}")
    cells += [f"{series.median('p99_ms'):.2f}" for series in (ours, theirs)]
    return cells + [
        f"{share(series.median('server_share'), 1)} / {share(series.median('generator_share'), 1)}"
        for series in (ours, theirs)
    ]


def _check(operation: str, shape: Shape, size: int, ours: Series, theirs: Series) -> Check:
    target = shape.set_target if operation == "SET" else shape.get_target
    ratio = ours.median("per_second") / theirs.median("per_second")
    clients = f"{shape.clients} connection{'s' if shape.clients > 1 else ''}"
    pipelined = f" with -P {shape.pipeline}" if shape.pipeline > 1 else ""
    what = f"{operation}, {clients}{pipelined}, {size} bytes: of Valkey's rate"
    return Check(what, f"{ratio:.2f}", f"at least {target}", ratio >= target)
