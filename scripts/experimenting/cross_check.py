"""The same load from redis-benchmark, a program in C: `insert` and `lookup` as RESP commands, one request at a time on
each connection.

The keys are drawn from ten thousand that are there already. How many requests it is to make is taken from what the
swarm has reached with as many connections.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence

from kvstore.client.raw import RawConnection, resp_request
from scripts.experimenting.places import Loopback
from scripts.experimenting.processors import Snapshot, usage
from scripts.experimenting.readings import read_counters
from scripts.experimenting.rows import ServerRow
from scripts.experimenting.runs import RunFailed, serving
from scripts.experimenting.setup import Setup
from scripts.experimenting.swarm import VALUE_BYTES
from scripts.measuring.bench import NEVER_COMPACT
from scripts.measuring.servers import MeasuredServer

PROGRAM = "redis-benchmark"
KEYS = 10_000
_KEY = "key:__rand_int__"
_HEAD = '{"group":"__rand_int__","text":"'
_DOCUMENT = _HEAD + "x" * (VALUE_BYTES - len(_HEAD) - 2) + '"}'
_BATCH = 1000
_TIMEOUT_SECONDS = 120

#: The figures that --csv prints behind the command: requests per second, then latencies in milliseconds.
_COLUMNS = ("per_second", "mean", "min", "p50", "p95", "p99", "max")


def command(port: int, operation: str, clients: int, requests: int) -> list[str]:
    """What a person would type."""
    words = {"insert": ["insert", _KEY, _DOCUMENT], "lookup": ["lookup", _KEY]}[operation]
    numbers = {"-p": port, "-c": clients, "-n": requests, "-r": KEYS}
    return [PROGRAM, *(str(word) for pair in numbers.items() for word in pair), "--csv", *words]


def measure(setup: Setup, clients: int, rows: Sequence[ServerRow]) -> list[ServerRow]:
    """One run of each operation. `rows`: what the swarm has reached. Raises RunFailed, DidNotStart, OSError."""
    found = []
    number = setup.next_number()
    with serving(Loopback(), setup.directory, "--sync", "always", *NEVER_COMPACT) as server:
        _load(server)
        for operation in ("insert", "lookup"):
            reached = [r.per_second for r in rows if r.operation == operation and r.depth == 1 and r.sync == "always"
                       and not r.group_limit and r.clients <= clients]  # fmt: skip
            requests = int(max(reached, default=1000.0) * setup.effort.swarm_pace.seconds) + clients
            found.append(_measure(server, operation, clients, requests, number))
    return found


def _load(server: MeasuredServer) -> None:
    document = _DOCUMENT.replace("__rand_int__", "0" * 12)
    with RawConnection(server.address) as connection:
        for first in range(0, KEYS, _BATCH):
            batch = range(first, first + _BATCH)
            connection.send(b"".join(resp_request("insert", f"key:{n:012d}", document) for n in batch))
            if {connection.resp() for _ in batch} != {"+OK"}:
                raise RunFailed("loading keys for redis-benchmark was refused")


def _measure(server: MeasuredServer, operation: str, clients: int, requests: int, number: int) -> ServerRow:
    with RawConnection(server.address) as connection:
        before, cpu_before = read_counters(connection), _children_cpu_seconds()
        snapshot = Snapshot.take({"server": [server.pid]})
        words = command(server.port, operation, clients, requests)
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        used = usage(snapshot, Snapshot.take({"server": [server.pid]}))
        cpu = (_children_cpu_seconds() - cpu_before) / used.seconds
        commits, committed, microseconds = (b - a for a, b in zip(before, read_counters(connection), strict=True))
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    figures = parse(done.stdout)
    return ServerRow(
        run=number, generator=PROGRAM, sync="always", group_limit=0, depth=1, link="loopback", delay_ms=0.0,
        round_trip_ms=0.0, clients=clients, operation=operation, window_seconds=round(used.seconds, 4),
        requests=requests, per_second=figures["per_second"], mean_ms=figures["mean"], p50_ms=figures["p50"],
        p99_ms=figures["p99"], slowest_ms=figures["max"], server_cpu=round(used.of["server"], 4),
        clients_cpu=round(cpu, 4), link_cpu=0.0, other_cpu=round(max(0.0, used.other - cpu), 4),
        disk_wait_cpu=round(used.disk_wait, 4), idle_cpu=round(used.idle, 4), commit_seconds=round(used.seconds, 4),
        commits=int(commits), committed_requests=int(committed),
        commit_us=round(microseconds / commits, 2) if commits else 0.0,
    )  # fmt: skip


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parse(output: str) -> dict[str, float]:
    """The figures of its last line; the command before them may have quotes and commas of its own. Raises RunFailed."""
    fields = [field.strip('"') for field in output.strip().splitlines()[-1].rsplit(",", len(_COLUMNS))[1:]]
    try:
        return dict(zip(_COLUMNS, map(float, fields), strict=True))
    except ValueError as error:
        raise RunFailed(f"{PROGRAM} printed something else than its figures: {output[-200:]!r}") from error
