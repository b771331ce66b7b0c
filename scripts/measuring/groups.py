"""What group commit brings: inserts of 16 clients that wait for each reply, against one sync for each request.

The clients are like scripts/TestPerf.py in what they send and in that each waits for its reply; they are one process
(see `load`), because 16 Python programs on the same processors would be what is measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scripts.measuring.bench import NEVER_COMPACT, Bench, in_turns, share
from scripts.measuring.load import ClosedLoop, inserts
from scripts.measuring.results import Check, Result, Table, median, spread
from scripts.measuring.servers import MeasuredServer

CLIENTS = 16
TARGET = 8.0


class Turn(NamedTuple):
    """What one turn found; `group` is requests in a commit, `commit_us` what writing and syncing one took."""

    per_second: float
    p50_ms: float
    p99_ms: float
    group: float
    commits_per_second: float
    commit_us: float
    server_share: float
    generator_share: float


class Side:
    """One server and its clients."""

    def __init__(self, name: str, server: MeasuredServer, clients: int) -> None:
        self.name = name
        self.server = server
        self.loop = ClosedLoop(server.port, [inserts(i) for i in range(clients)])
        self.turns: list[Turn] = []

    def take_turn(self, seconds: float) -> Turn:
        """Insert for so long."""
        before, cpu_before = self._counters(), self.server.cpu_seconds()
        self.loop.run_for(seconds)
        cpu = self.server.cpu_seconds() - cpu_before
        commits, requests, microseconds = (now - then for now, then in zip(self._counters(), before, strict=True))
        elapsed = self.loop.seconds
        p50, p99 = self.loop.total().quantiles_ms(0.5, 0.99)
        return Turn(
            self.loop.per_second(), p50, p99, requests / commits, commits / elapsed, microseconds / commits,
            cpu / elapsed, self.loop.cpu_seconds / elapsed,
        )  # fmt: skip

    def _counters(self) -> tuple[float, float, float]:
        """Commits, requests in them, and microseconds spent writing and syncing, since the server started."""
        info = self.server.info()
        commits = int(info["commits"])
        return commits, int(info["committed_requests"]), commits * float(info["microseconds_per_commit"])


def run(bench: Bench) -> Result:
    """Measure both sides in turns."""
    sides = [
        Side("group commit", bench.kvstore("grouped", *NEVER_COMPACT), CLIENTS),
        Side("one sync per request", bench.kvstore("single", "--group-limit", "1", *NEVER_COMPACT), CLIENTS),
    ]
    for side in sides:
        side.take_turn(bench.effort.seconds / 4)
    for number in range(bench.effort.rounds):
        bench.progress.show(number / bench.effort.rounds)
        for side in in_turns(sides, number):
            side.turns.append(side.take_turn(bench.effort.seconds))
    return _result(bench, sides)


def _result(bench: Bench, sides: list[Side]) -> Result:
    rates = [median(turn.per_second for turn in side.turns) for side in sides]
    gain = rates[0] / rates[1]
    check = Check(f"inserts of {CLIENTS} clients: times those of one sync per request", f"{gain:.1f}",
                  f"at least {TARGET:g}", gain >= TARGET)  # fmt: skip
    method = (
        f"{bench.effort.rounds} rounds of {bench.effort.seconds:g} s each, in turns: one server as it is, one with"
        f" `--group-limit 1`. {CLIENTS} connections, each sending the next insert (a JSON line, a document of some 100"
        " bytes, a new key) when it has the reply to the one before; all in one Python process, whose processor share"
        " is in the last column. Group size and the time of a commit (write and fdatasync) are the differences of INFO"
        " group_commit."
    )
    raw: dict[str, Any] = {side.name: [turn._asdict() for turn in side.turns] for side in sides}
    table = Table(
        f"Inserts a second, sum of {CLIENTS} clients: medians of the rounds", _COLUMNS, list(map(_row, sides))
    )
    return Result("Group commit against one sync per request", method, [table], [check], raw)


_COLUMNS = ["", "inserts/s", "range", "p50 ms", "p99 ms", "requests a commit", "commits/s", "µs a commit", "server",
            "generator"]  # fmt: skip


def _row(side: Side) -> list[str]:
    def of(name: str) -> float:
        return median(getattr(turn, name) for turn in side.turns)

    return [
        side.name,
        f"{of('per_second'):.0f}",
        spread([turn.per_second for turn in side.turns]),
        f"{of('p50_ms'):.2f}",
        f"{of('p99_ms'):.2f}",
        f"{of('group'):.2f}",
        f"{of('commits_per_second'):.0f}",
        f"{of('commit_us'):.0f}",
        share(of("server_share"), 1),
        share(of("generator_share"), 1),
    ]
