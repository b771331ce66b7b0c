"""What a compaction costs the clients that are served meanwhile, and in memory.

Three compactions of the same table, told apart by what there is to merge:

| case | checkpoint | log |
|---|---|---|
| first | none | every key, set once |
| by size | every key | as large as the checkpoint: keys drawn at random were set again. What the default policy does |
| short log | every key | what the clients below wrote |

Clients in a closed loop, half of them reading and half writing, go on before, during and after. The compaction is
asked for with BGREWRITEAOF, and lasts from then until the server has no child process any more. The slowest request
of that stretch is compared with the slowest of a stretch as long right after it. Every few milliseconds the memory of
the server and of its child is read in /proc.

Valkey is measured the same way. Its child is a fork that shares its memory with the server, so the sum of the two would
count that twice: no memory is given for it.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kvstore.base.limits import MIB
from kvstore.client.raw import resp_request
from scripts.measuring.bench import NEVER_COMPACT, VALKEY_NEVER_COMPACT, Bench, share
from scripts.measuring.load import ClosedLoop, half_gets_half_sets, load_keys
from scripts.measuring.results import Check, Result, Table, median
from scripts.measuring.servers import MeasuredServer, command_line, resident_bytes

CLIENTS = 16
VALUE_BYTES = 100
KEY_BYTES = 16

#: Most that a compaction may add to the slowest request, in milliseconds.
TARGET_MS = 20.0

#: Load before the compaction is asked for, in seconds.
_LEAD_SECONDS = 0.3

#: A compaction that takes longer, in seconds, has gone wrong; one that has no process by then has not begun.
_LONGEST_SECONDS = 300.0
_BEGIN_SECONDS = 10.0

CASES = ("first", "by size", "short log")


class NoCompaction(Exception):
    """The server did not compact, or not as it should."""


class Turn(NamedTuple):
    """One compaction. Latencies in milliseconds, `seconds` it took, memory in bytes: growth at the worst moment."""

    seconds: float
    slowest_ms: float
    slowest_without_ms: float
    p99_ms: float
    p99_without_ms: float
    requests: int
    server_growth: int
    child_peak: int
    total_growth: int
    generator_share: float


class Watch:
    """Asks a server to compact while it is under load, watches until it has, and weighs it meanwhile.

    Called every few milliseconds; says whether to go on.
    """

    def __init__(self, server: MeasuredServer) -> None:
        self._server = server
        self._start = time.monotonic()
        self._connection: socket.socket | None = None
        self._has_begun = False
        self.before = server.resident_bytes()
        self.asked_ns = self.ended_ns = 0
        self.server_peak = self.child_peak = self.total_peak = 0

    def __call__(self) -> bool:
        """See the class. Raises NoCompaction if it takes too long."""
        elapsed = time.monotonic() - self._start
        if elapsed < _LEAD_SECONDS:
            return True
        if elapsed > (_LONGEST_SECONDS if self._has_begun else _BEGIN_SECONDS):
            raise NoCompaction(
                f"{self._server.name}: after {elapsed:.0f} s the compaction has not "
                + ("ended" if self._has_begun else "begun, or was over before its process could be seen: use more keys")
            )
        if self._connection is None:
            self._ask()
            return True
        children = self._server.children()
        self._weigh(children)
        self._has_begun = self._has_begun or bool(children)
        if children or not self._has_begun:
            return True
        self.ended_ns = time.perf_counter_ns()
        self._connection.close()
        return False

    def _ask(self) -> None:
        """Send the request and do not wait for the reply: the loop must go on."""
        self._connection = socket.create_connection(self._server.address)
        self.before = self._server.resident_bytes()
        self.asked_ns = time.perf_counter_ns()
        self._connection.sendall(resp_request("BGREWRITEAOF"))

    def _weigh(self, children: list[int]) -> None:
        """Note the most memory at any moment. Until a child has become another program it runs in its parent's memory
        (vfork(2)), which is not to be counted twice.
        """
        words = command_line(self._server.pid)
        others = [child for child in children if command_line(child) != words]
        server, child = self._server.resident_bytes(), sum(map(resident_bytes, others))
        self.server_peak = max(self.server_peak, server)
        self.child_peak = max(self.child_peak, child)
        self.total_peak = max(self.total_peak, server + child)


def compact_under_load(server: MeasuredServer, loop: ClosedLoop) -> Turn:
    """One compaction, and a stretch without one of the same length. Raises NoCompaction if it failed."""
    watch = Watch(server)
    loop.run(watch)
    during, cpu = loop.total(), loop.cpu_seconds / loop.seconds
    check_it_worked(server)
    seconds = (watch.ended_ns - watch.asked_ns) / 1e9
    loop.run_for(seconds)
    inside = [took for began, took in zip(during.began, during.took, strict=True) if began + took >= watch.asked_ns]
    p99, p99_without = _p99_ms(inside), loop.total().quantiles_ms(0.99)[0]
    return Turn(
        seconds, max(inside) / 1e6, max(loop.total().took) / 1e6, p99, p99_without, len(inside),
        watch.server_peak - watch.before, watch.child_peak, watch.total_peak - watch.before, cpu,
    )  # fmt: skip


def _p99_ms(took_ns: list[int]) -> float:
    return sorted(took_ns)[int(0.99 * (len(took_ns) - 1))] / 1e6


def check_it_worked(server: MeasuredServer) -> None:
    """Raises NoCompaction if the last one failed."""
    info = server.info()
    error = info.get("last_compaction_error", "none")
    if error != "none" or info.get("aof_last_bgrewrite_status", "ok") != "ok" or info.get("compactions") == "0":
        raise NoCompaction(f"{server.name}: the compaction failed: {error}")


def run(bench: Bench) -> Result:
    """Measure all cases for both servers, one server after the other: each needs the machine for itself."""
    turns: dict[str, dict[str, list[Turn]]] = {}
    servers: list[tuple[str, Callable[[str], MeasuredServer]]] = [
        ("kvstore", lambda name: bench.kvstore(name, *NEVER_COMPACT)),
        ("Valkey", lambda name: bench.valkey(name, *VALKEY_NEVER_COMPACT)),
    ]
    rounds = (bench.effort.rounds + 1) // 2  # each takes long, and has the stretch it is compared with beside it
    resident: dict[str, list[int]] = {name: [] for name, _ in servers}
    for done, (name, start) in enumerate(servers):
        turns[name] = {case: [] for case in CASES}
        for number in range(rounds):
            bench.progress.show((done * rounds + number) / (len(servers) * rounds))
            server = start(f"{name}-{number}")
            resident[name].append(measure_cases(bench, server, turns[name]))
            server.kill()
    return _result(bench, turns, rounds, int(median(resident["kvstore"])))


def measure_cases(bench: Bench, server: MeasuredServer, turns: dict[str, list[Turn]]) -> int:
    """The three cases in their order, each making what the next one needs. Returns the bytes that the loaded keys take
    in the server's memory.
    """
    keys, empty = bench.effort.keys, server.resident_bytes()
    load_keys(server.port, keys, VALUE_BYTES)
    loaded = server.resident_bytes() - empty
    loop = ClosedLoop(server.port, half_gets_half_sets(CLIENTS, keys, VALUE_BYTES))
    try:
        turns["first"].append(compact_under_load(server, loop))
        draw = random.Random(0).randrange
        load_keys(server.port, keys, VALUE_BYTES, (draw(keys) for _ in range(keys)))
        turns["by size"].append(compact_under_load(server, loop))
        turns["short log"].append(compact_under_load(server, loop))
    finally:
        loop.close()
    return loaded


def _result(bench: Bench, turns: dict[str, dict[str, list[Turn]]], rounds: int, loaded_bytes: int) -> Result:
    data_bytes = bench.effort.keys * (KEY_BYTES + VALUE_BYTES)
    checks = []
    for case, ours in turns["kvstore"].items():
        more_ms = max(turn.slowest_ms - turn.slowest_without_ms for turn in ours)
        checks.append(
            Check(f"{case}: slowest request, over the slowest without a compaction (worst round)", f"{more_ms:.1f} ms",
                  f"at most {TARGET_MS:g} ms", more_ms <= TARGET_MS)
        )  # fmt: skip
        growth = max(turn.total_growth for turn in ours)
        checks.append(
            Check(f"{case}: memory of server and child, growth (worst round)", f"{growth / MIB:.0f} MiB",
                  f"less than keys and values, {data_bytes / MIB:.0f} MiB", growth < data_bytes)
        )  # fmt: skip
    rows = [_row(f"{name}, {case}", turns[name][case]) for name in turns for case in turns[name]]
    caption = f"A compaction of {bench.effort.keys:,} keys of {VALUE_BYTES} bytes: medians, rounds: {rounds}"
    method = (
        f"{CLIENTS} clients in a closed loop, half GET and half SET of random keys, in one Python process. 'without':"
        " an equally long stretch right after. Memory: the most at any moment over what the server had before; the"
        f" data are {data_bytes / MIB:.0f} MiB of keys and values, which take {loaded_bytes / MIB:.0f} MiB of kvstore's"
        " memory. The cases: first, no checkpoint, all keys in the log;"
        " by size, the log as long as the checkpoint, as the default policy lets it grow; short log, only what the"
        " clients wrote."
    )
    raw: dict[str, Any] = {n: {case: [t._asdict() for t in ts] for case, ts in by.items()} for n, by in turns.items()}
    raw["loaded_bytes"] = loaded_bytes
    return Result("A compaction under load", method, [Table(caption, _COLUMNS, rows)], checks, raw)


_COLUMNS = ["", "seconds", "requests", "slowest ms", "without", "p99 ms", "without", "server MiB", "child MiB",
            "both MiB", "generator"]  # fmt: skip


def _row(name: str, turns: list[Turn]) -> list[str]:
    def of(field: str) -> float:
        return median(getattr(turn, field) for turn in turns)

    memory = [f"+{of('server_growth') / MIB:.0f}", f"{of('child_peak') / MIB:.0f}", f"+{of('total_growth') / MIB:.0f}"]
    return [
        name,
        f"{of('seconds'):.2f}",
        f"{of('requests'):.0f}",
        f"{of('slowest_ms'):.1f}",
        f"{of('slowest_without_ms'):.1f}",
        f"{of('p99_ms'):.2f}",
        f"{of('p99_without_ms'):.2f}",
        *(memory if name.startswith("kvstore") else ["-"] * 3),
        share(of("generator_share"), 1),
    ]
