"""What connections cost that do nothing: memory, and the latency of the clients beside them.

An idle connection is one that has sent a PING and had its answer, as a connection in a client's pool has: what a server
sets up at the first request is counted. Latency is measured in turns, without them and with them; they are opened anew
in each round. Memory is taken from the first round, while the process has none left over from earlier connections.
Valkey is measured beside it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from kvstore.base.limits import KIB
from kvstore.client.raw import resp_request
from scripts.measuring.bench import NEVER_COMPACT, VALKEY_NEVER_COMPACT, Bench, allow_files, in_turns, share
from scripts.measuring.load import ClosedLoop, WrongReply, half_gets_half_sets, load_keys
from scripts.measuring.results import Check, Result, Table, median
from scripts.measuring.servers import MeasuredServer

CLIENTS = 16
KEYS = 10_000
VALUE_BYTES = 100
TARGET_BYTES = 20 * KIB

#: "Unchanged": the median of the latencies' medians is at most so many times that without idle connections.
TARGET_RATIO = 1.1

#: Closing with a reset instead of a farewell leaves no port in TIME_WAIT: rounds of 5,000 would use them all up.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

#: Connections opened between two waits for their replies: a server's queue of new ones is finite.
_BATCH = 50


class Turn(NamedTuple):
    """The latencies of one turn in milliseconds, and how many requests there were a second."""

    per_second: float
    get_p50_ms: float
    set_p50_ms: float
    p99_ms: float
    slowest_ms: float
    server_share: float
    generator_share: float


class Side:
    """One server and its busy clients.

    `with_idle`, `without`: its turns. `bytes_each`: memory of an idle connection.
    """

    def __init__(self, server: MeasuredServer) -> None:
        self.server = server
        load_keys(server.port, KEYS, VALUE_BYTES)
        self.loop = ClosedLoop(server.port, half_gets_half_sets(CLIENTS, KEYS, VALUE_BYTES))
        self.with_idle: list[Turn] = []
        self.without: list[Turn] = []
        self.bytes_each = 0.0

    def take_turn(self, seconds: float) -> Turn:
        """Read and write for so long."""
        before = self.server.cpu_seconds()
        self.loop.run_for(seconds)
        loop = self.loop
        p99, slowest = loop.total().quantiles_ms(0.99, 1)
        return Turn(
            loop.per_second(), loop.latencies["GET"].quantiles_ms(0.5)[0], loop.latencies["SET"].quantiles_ms(0.5)[0],
            p99, slowest, (self.server.cpu_seconds() - before) / loop.seconds, loop.cpu_seconds / loop.seconds,
        )  # fmt: skip

    def take_turn_beside_idle(self, seconds: float, idle: int) -> Turn:
        """The same, with so many idle connections beside them."""
        before = self.server.resident_bytes()
        with idle_connections(self.server, idle):
            if not self.bytes_each:
                self.bytes_each = (self.server.resident_bytes() - before) / idle
            return self.take_turn(seconds)


@contextlib.contextmanager
def idle_connections(server: MeasuredServer, count: int) -> Iterator[None]:
    """So many connections that have sent one request each, and send no more."""
    allow_files(count + 256)
    others = int(server.info()["connected_clients"])
    with contextlib.ExitStack() as opened:
        for first in range(0, count, _BATCH):
            batch = [opened.enter_context(_connect(server)) for _ in range(min(_BATCH, count - first))]
            for connection in batch:
                _expect_pong(connection)
        yield
        there = int(server.info()["connected_clients"])
        if there != others + count:
            raise WrongReply(f"{server.name} has {there} clients, not {others + count}: it dropped idle connections")
    _wait_until_gone(server, others)


def _connect(server: MeasuredServer) -> socket.socket:
    connection = socket.create_connection(server.address, 10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.sendall(resp_request("PING"))
    return connection


def _expect_pong(connection: socket.socket) -> None:
    reply = connection.recv(64)
    if reply != b"+PONG\r\n":
        raise WrongReply(f"PING was answered {reply!r}")


def _wait_until_gone(server: MeasuredServer, clients: int) -> None:
    """Wait until the server has noticed that the connections are closed. Raises WrongReply if it does not."""
    deadline = time.monotonic() + 30
    while int(server.info()["connected_clients"]) > clients:
        if time.monotonic() > deadline:
            raise WrongReply(f"{server.name} still counts clients that are gone")
        time.sleep(0.02)


def run(bench: Bench) -> Result:
    """Measure kvstore and Valkey, each without and with idle connections, in turns."""
    effort = bench.effort
    sides = [Side(bench.kvstore("kvstore", *NEVER_COMPACT)), Side(bench.valkey("valkey", *VALKEY_NEVER_COMPACT))]
    for side in sides:
        side.take_turn(effort.seconds / 4)
    for number in range(effort.rounds):
        bench.progress.show(number / effort.rounds)
        for side in in_turns(sides, number):
            for beside_idle in in_turns([False, True], number // 2):
                if beside_idle:
                    side.with_idle.append(side.take_turn_beside_idle(effort.seconds, effort.idle))
                else:
                    side.without.append(side.take_turn(effort.seconds))
    return _result(bench, sides)


def _result(bench: Bench, sides: list[Side]) -> Result:
    ours, idle = sides[0], bench.effort.idle
    checks = [
        Check(f"memory of an idle connection, of {idle:,}", f"{ours.bytes_each / KIB:.1f} KiB",
              f"at most {TARGET_BYTES // KIB} KiB", ours.bytes_each <= TARGET_BYTES)
    ]  # fmt: skip
    for name in ("get_p50_ms", "set_p50_ms"):
        ratio = _ratio(ours, name)
        checks.append(
            Check(f"{name[:3].upper()}, median latency: times that without idle connections", f"{ratio:.2f}",
                  f"at most {TARGET_RATIO}", ratio <= TARGET_RATIO)
        )  # fmt: skip
    method = (
        f"{bench.effort.rounds} rounds of {bench.effort.seconds:g} s each, without and with {idle:,} idle connections"
        f" in turns; {CLIENTS} clients in a closed loop, half GET and half SET, in one Python process. Each idle"
        " connection has had one PING answered. Memory: growth of the server's resident memory while they were opened,"
        " in the first round."
    )
    rows = [
        _row(f"{side.server.name}, {what}", turns, side.bytes_each if what != "none" else None)
        for side in sides
        for what, turns in (("none", side.without), (f"{idle:,} idle", side.with_idle))
    ]
    raw: dict[str, Any] = {
        side.server.name: {
            "bytes_each": side.bytes_each,
            "without": [turn._asdict() for turn in side.without],
            "with_idle": [turn._asdict() for turn in side.with_idle],
        }
        for side in sides
    }
    table = Table("Latency beside idle connections: medians of the rounds", _COLUMNS, rows)
    return Result(f"{idle:,} idle connections", method, [table], checks, raw)


def _ratio(side: Side, name: str) -> float:
    return median(getattr(turn, name) for turn in side.with_idle) / median(getattr(turn, name) for turn in side.without)


_COLUMNS = ["", "KiB each", "requests/s", "GET p50 ms", "SET p50 ms", "p99 ms", "slowest ms", "server", "generator"]


def _row(name: str, turns: list[Turn], bytes_each: float | None) -> list[str]:
    def of(field: str) -> float:
        return median(getattr(turn, field) for turn in turns)

    return [
        name,
        "-" if bytes_each is None else f"{bytes_each / KIB:.1f}",
        f"{of('per_second'):.0f}",
        f"{of('get_p50_ms'):.3f}",
        f"{of('set_p50_ms'):.3f}",
        f"{of('p99_ms'):.2f}",
        f"{of('slowest_ms'):.1f}",
        share(of("server_share"), 1),
        share(of("generator_share"), 1),
    ]
