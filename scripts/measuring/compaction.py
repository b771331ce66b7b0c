"""What a compaction costs: the clients that are served meanwhile, memory, processors.

It is asked for with BGREWRITEAOF, and lasts from then until INFO says that it is over. Every few milliseconds the
memory of the server and of its child is read in /proc. Valkey is watched the same way; its child is a fork, which
shares its memory with the server.

Under load, clients go on before, during and after: what they noticed is compared with a stretch that follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from scripts.measuring.generator import Generator, Running
from scripts.measuring.load import WrongReply
from scripts.measuring.metering import ENDED_NS, Measures, latencies
from scripts.measuring.processes import children, command_line, resident_bytes, running_ns
from scripts.measuring.servers import MeasuredServer

#: A compaction that takes longer, in seconds, has gone wrong.
_LONGEST_SECONDS = 300.0

#: How often it is looked at, in seconds.
_STEP_SECONDS = 0.005

#: What follows at once, files being removed, say, is no stretch to compare with; the one that is lasts about as long as
#: the compaction, in seconds.
_PAUSE_SECONDS = 0.2
_SHORTEST_AFTER_SECONDS, _LONGEST_AFTER_SECONDS = 0.5, 1.5


class NoCompaction(Exception):
    """The server did not compact, or not as it should."""


class Busy(NamedTuple):
    """Nanoseconds that were used so far, at one time (of perf_counter)."""

    at_ns: int
    server: int
    child: int
    generator: int


class Watch:
    """One compaction of a server, made by `run`. `server_grown_bytes`: at the worst moment, over what it had before;
    `child_bytes`: of its child at most.
    """

    def __init__(self, server: MeasuredServer) -> None:
        self._server = server
        self._before_bytes = server.resident_bytes()
        self._child_ns: dict[int, int] = {}
        self.asked_ns = self.ended_ns = 0
        self.server_grown_bytes = self.child_bytes = 0

    @property
    def child_ns(self) -> int:
        """Nanoseconds of a processor that its children used."""
        return sum(self._child_ns.values())

    def run(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Ask for it, and wait until it is over; `meanwhile` is called again and again. Raises NoCompaction."""
        before, _ = self._counted()
        self.asked_ns = time.perf_counter_ns()
        reply = self._server.ask("BGREWRITEAOF")
        if not str(reply).startswith("+"):
            raise NoCompaction(f"{self._server.name} answered BGREWRITEAOF with {reply!r}")
        while not self._is_over(before):
            if time.perf_counter_ns() - self.asked_ns > _LONGEST_SECONDS * 1e9:
                raise NoCompaction(f"{self._server.name} has not compacted after {_LONGEST_SECONDS:.0f} s")
            meanwhile()
            time.sleep(_STEP_SECONDS)
        self.ended_ns = time.perf_counter_ns()

    def _is_over(self, before: int) -> bool:
        """INFO, which the server has to answer, is asked for only while there is no child."""
        working = children(self._server.pid)
        self._weigh(working)
        if working:
            return False
        done, under_way = self._counted()
        return done > before and not under_way

    def _counted(self) -> tuple[int, bool]:
        """How many compactions there were (Valkey: have begun), and whether there is one. Raises NoCompaction if the
        last one failed.
        """
        info = self._server.info()
        error = info.get("last_compaction_error", "none")
        if error != "none" or info["aof_last_bgrewrite_status"] != "ok":
            raise NoCompaction(f"{self._server.name}: the compaction failed: {error}")
        return int(info.get("compactions") or info["aof_rewrites"]), info["aof_rewrite_in_progress"] != "0"

    def _weigh(self, working: list[int]) -> None:
        """Until a child has become another program it runs in its parent's memory (vfork(2))."""
        words = command_line(self._server.pid)
        for child in working:  # one that is gone by now has used what was seen of it before
            self._child_ns[child] = max(self._child_ns.get(child, 0), running_ns(child))
        child = sum(resident_bytes(pid) for pid in working if command_line(pid) != words)
        grown = self._server.resident_bytes() - self._before_bytes
        self.server_grown_bytes = max(self.server_grown_bytes, grown)
        self.child_bytes = max(self.child_bytes, child)


class Compaction(NamedTuple):
    """One compaction under load. `trace`: as `generator.Found`'s, with a column `phase`: before, during (on the way at
    any time of the compaction), settling or after. `busy`: when the load began, the compaction was asked for, it was
    over, and the load was stopped.
    """

    trace: pl.DataFrame
    watch: Watch
    busy: list[Busy]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.watch.ended_ns - self.watch.asked_ns) / 1e9

    def measures(self) -> Measures:
        """Latencies meanwhile, and after it (`normal.`). `added_ms`: to the slowest request. Raises WrongReply."""
        during, after = self._latencies("during"), self._latencies("after")
        found = {"compaction_seconds": self.seconds, **during, **{f"normal.{n}": v for n, v in after.items()}}
        found["added_ms"] = during["slowest_ms"] - after["slowest_ms"]
        return found | {"server_grown_bytes": self.watch.server_grown_bytes, "child_bytes": self.watch.child_bytes}

    def _latencies(self, phase: str) -> Measures:
        part = self.trace.filter(pl.col("phase") == phase)
        if part.is_empty():
            raise WrongReply(f"no request was measured {phase} the compaction: use more keys")
        ends = part.select(ENDED_NS.max() - pl.col("began_ns").min())
        return latencies(part, ends.item() / 1e9)


def under_load(
    server: MeasuredServer, generator: Generator, before_seconds: float = 0.3, after_seconds: float = 0.0
) -> Compaction:
    """A compaction while the generator asks. `before_seconds`: load before it. `after_seconds`: and after it; about as
    long as it took if 0. Raises NoCompaction, WrongReply.
    """
    watch = Watch(server)
    running = generator.start(server.port)
    try:
        busy = [_busy(watch, server, running)]
        time.sleep(before_seconds)
        busy.append(_busy(watch, server, running))
        watch.run(running.check)
        busy.append(_busy(watch, server, running))
        took = (watch.ended_ns - watch.asked_ns) / 1e9
        normal = max(_SHORTEST_AFTER_SECONDS, min(took, _LONGEST_AFTER_SECONDS))
        time.sleep(after_seconds or _PAUSE_SECONDS + normal)
        busy.append(_busy(watch, server, running))
        found = running.stop()
    finally:
        running.kill()
    return Compaction(_with_phases(found.trace, watch), watch, busy)


def _busy(watch: Watch, server: MeasuredServer, running: Running) -> Busy:
    return Busy(time.perf_counter_ns(), running_ns(server.pid), watch.child_ns, running_ns(running.pid))


def _with_phases(trace: pl.DataFrame, watch: Watch) -> pl.DataFrame:
    began = pl.col("began_ns")
    phase = (
        pl.when(ENDED_NS.lt(watch.asked_ns)).then(pl.lit("before"))
        .when(began <= watch.ended_ns).then(pl.lit("during"))
        .when(began <= watch.ended_ns + int(_PAUSE_SECONDS * 1e9)).then(pl.lit("settling"))
        .otherwise(pl.lit("after"))
    )  # fmt: skip
    return trace.with_columns(phase.alias("phase"))
