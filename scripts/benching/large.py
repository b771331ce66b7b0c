"""Cases on a large table: what a compaction does to the clients, how long a start takes, and memory.

A compaction needs a processor beside the server's, so nothing is pinned here. Each turn sets every key again, so that
there is as much to merge as the default policy lets grow, and then asks for a compaction (BGREWRITEAOF, in both
servers) under load. Requests that were on the way in the meantime are told apart by the times they began. "Normal" is a
stretch soon after it, at most as long.

A start lasts until the server says that it listens (Valkey: until it answers PING), interpreter and imports included.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable

from scripts.benching.case import Case, Measures, start
from scripts.benching.requests import resp
from scripts.benching.targets import COMPACTION, RECOVERY
from scripts.measuring.bench import Bench
from scripts.measuring.compaction import Watch, check_it_worked
from scripts.measuring.generator import Generator, Group, Running, Trace
from scripts.measuring.load import HOOK_SECONDS, WrongReply, load_keys
from scripts.measuring.recovery import compact, start_once
from scripts.measuring.servers import ANYWHERE, MeasuredServer

VALUE_BYTES = 100
CLIENTS = 16

#: The stretch without a compaction begins so long after one, and lasts so long, in seconds.
_PAUSE_SECONDS = 0.2
_SHORTEST_NORMAL_SECONDS = 0.5
_LONGEST_NORMAL_SECONDS = 1.5

LARGE = "large"
GROUP_TITLES = {LARGE: "A large table of values of 100 bytes"}

#: What is told of these cases: name to label, in the order of the report.
LABELS = {
    "compaction_seconds": "duration",
    "GET.p999_ms": "p99.9 of GET meanwhile",
    "normal.GET.p999_ms": "p99.9 of GET normally",
    "SET.p999_ms": "p99.9 of SET meanwhile",
    "normal.SET.p999_ms": "p99.9 of SET normally",
    "slowest_ms": "slowest request meanwhile",
    "normal.slowest_ms": "slowest request normally",
    "per_second": "requests a second meanwhile",
    "normal.per_second": "requests a second normally",
    "server_growth_bytes": "memory, growth of the server",
    "child_peak_bytes": "memory, its child at most",
    "empty_seconds": "start of an empty server",
    "log_seconds": "start, everything in the log",
    "checkpoint_seconds": "start, everything in a checkpoint",
    "loaded_bytes": "resident memory, loaded",
    "recovered_bytes": "resident memory, recovered from the log",
    "checkpoint_bytes": "resident memory, recovered from a checkpoint",
}


class CompactionStation:
    """One server with a large table, compacted under load in each turn."""

    def __init__(self, bench: Bench, side: str) -> None:
        self._server = start(bench, side, surroundings=ANYWHERE)
        self._keys = bench.effort.keys
        groups = [
            Group(CLIENTS // 2, 1, resp(kind, self._keys, VALUE_BYTES, count=100_000, seed=seed))
            for seed, kind in enumerate(("GET", "SET"))
        ]
        self._generator = Generator(bench.directory, groups)

    def warm_up(self) -> None:
        """Load it, and compact once: in the turns there is a checkpoint."""
        load_keys(self._server.port, self._keys, VALUE_BYTES)
        compact(self._server)

    def take_turn(self) -> Measures:
        """One compaction, and a stretch without."""
        load_keys(self._server.port, self._keys, VALUE_BYTES)
        return compact_under_load(self._server, self._generator)


def compact_under_load(server: MeasuredServer, generator: Generator) -> Measures:
    """A compaction while the generator asks, and a stretch without one. Raises NoCompaction, WrongReply."""
    running = generator.start(server.port)
    try:
        watch = _compact(server, running)
        seconds = (watch.ended_ns - watch.asked_ns) / 1e9
        time.sleep(_PAUSE_SECONDS + max(_SHORTEST_NORMAL_SECONDS, min(seconds, _LONGEST_NORMAL_SECONDS)))
        _, trace = running.stop()
    finally:
        running.kill()
    during = part_of(trace, lambda began, ended: ended >= watch.asked_ns and began <= watch.ended_ns)
    normal = part_of(trace, lambda began, ended: began > watch.ended_ns + int(_PAUSE_SECONDS * 1e9))
    measures = {"compaction_seconds": seconds, **latencies(during)}
    measures |= {f"normal.{name}": value for name, value in latencies(normal).items()}
    return measures | {
        "server_growth_bytes": float(watch.server_peak - watch.before),
        "child_peak_bytes": float(watch.child_peak),
    }


def _compact(server: MeasuredServer, running: Running) -> Watch:
    """Ask for a compaction and wait until it has ended."""
    watch = Watch(server)
    while watch():
        running.check()
        time.sleep(HOOK_SECONDS)
    check_it_worked(server)
    return watch


def part_of(trace: Trace, is_part: Callable[[int, int], bool]) -> list[tuple[str, int, int]]:
    """The requests of a stretch: kind, beginning and end, in nanoseconds."""
    every = zip(trace.kinds, trace.began, trace.took, strict=True)
    return [(kind, began, began + took) for kind, began, took in every if is_part(began, began + took)]


def latencies(requests: Iterable[tuple[str, int, int]]) -> Measures:
    """Rate, p99.9 of each kind, and the slowest of all."""
    found = list(requests)
    if not found:
        raise WrongReply("no request was measured in a stretch: use more keys")
    seconds = (max(ended for _, _, ended in found) - min(began for _, began, _ in found)) / 1e9
    measures: Measures = {"per_second": len(found) / seconds}
    for kind in sorted({kind for kind, _, _ in found}):
        took = sorted(ended - began for k, began, ended in found if k == kind)
        measures[f"{kind}.p999_ms"] = took[int(0.999 * (len(took) - 1))] / 1e6
    measures["slowest_ms"] = max(ended - began for _, began, ended in found) / 1e6
    return measures


class RecoveryStation:
    """One kind of server, started again and again on what another left."""

    def __init__(self, bench: Bench, side: str) -> None:
        self._bench = bench
        self._side = side
        self._keys = bench.effort.keys
        self._loaded_bytes = 0

    def _start(self, name: str) -> MeasuredServer:
        return start(self._bench, self._side, directory=f"{self._side}-{name}", surroundings=ANYWHERE)

    def warm_up(self) -> None:
        """Make two directories: one with everything in the log, one with everything in a checkpoint."""
        server = self._start("log")
        load_keys(server.port, self._keys, VALUE_BYTES)
        self._loaded_bytes = server.resident_bytes()
        server.kill()
        directory = self._bench.directory
        shutil.copytree(directory / f"{self._side}-log", directory / f"{self._side}-checkpoint")
        server = self._start("checkpoint")
        compact(server)
        server.kill()

    def take_turn(self) -> Measures:
        """A start from each state."""
        empty = start_once(self._start, "empty", 0)
        log = start_once(self._start, "log", self._keys)
        checkpoint = start_once(self._start, "checkpoint", self._keys)
        return {
            "empty_seconds": empty.seconds,
            "log_seconds": log.seconds,
            "checkpoint_seconds": checkpoint.seconds,
            "loaded_bytes": float(self._loaded_bytes),
            "recovered_bytes": float(log.resident_bytes),
            "checkpoint_bytes": float(checkpoint.resident_bytes),
        }


def cases() -> list[Case]:
    """Both."""
    return [
        Case(COMPACTION, LARGE, "compaction", CompactionStation),
        Case(RECOVERY, LARGE, "recovery", RecoveryStation),
    ]
