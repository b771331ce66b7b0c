"""How far followers are behind: a writer at the leader, and who hears of each key from both followers.

A follower's client is told of a key (keyspace events) when the follower has applied it: from then on it reads it.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import hiredis

from kvstore.wire.resp import pack
from scripts.measuring.results import Table
from tests.suites.group_figures.figures import MOST, Figure, Part, quantile
from tests.suites.group_figures.sides import Standing

RATE = 200
ASKED_MS = 100.0
QUANTILES = (0.5, 0.99, 0.999, 1.0)
_PATIENCE_S = 10.0


class _Peer:
    """A connection. `replies`: what has come, with the time."""

    def __init__(self, port: int, held: ExitStack) -> None:
        self.socket = held.enter_context(socket.create_connection(("127.0.0.1", port), _PATIENCE_S))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies: list[tuple[float, Any]] = []
        self._reader = hiredis.Reader()

    def send(self, *words: str) -> None:
        """A request."""
        self.socket.sendall(pack(*(word.encode() for word in words)))

    def ask(self, *words: str) -> None:
        """Send, and wait for one reply, which is no error."""
        self.send(*words)
        while not self.replies:
            self.receive()
        _, reply = self.replies.pop(0)
        if isinstance(reply, hiredis.ReplyError):
            raise reply

    def receive(self) -> None:
        """Take what is there, waiting for it."""
        data = self.socket.recv(65_536)
        now_s = time.perf_counter()
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.replies.append((now_s, reply))


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> Part:
    """So many writes as fit into all rounds."""
    say(f"{RATE} writes a second")
    with ExitStack() as held:
        standing = Standing(held)
        leader = standing.wait_for_all()
        writer = _Peer(leader.port, held)
        listening = [_Peer(server.port, held) for server in standing.group.followers()]
        for peer in listening:
            peer.ask("CONFIG", "SET", "notify-keyspace-events", "E$")
            peer.ask("READONLY")
            peer.ask("SUBSCRIBE", "__keyevent@0__:set")
        _write(writer, listening, round(RATE * rounds * seconds), held)
    acknowledged = [at_s for at_s, _ in writer.replies]
    return part_of([_lags_ms(acknowledged, peer) for peer in listening])


def _write(writer: _Peer, listening: Sequence[_Peer], count: int, held: ExitStack) -> None:
    """Write so many keys, each when it is due, and wait until all have heard of all."""
    selector = held.enter_context(selectors.DefaultSelector())
    for peer in (writer, *listening):
        selector.register(peer.socket, selectors.EVENT_READ, peer)
    began_s, sent = time.perf_counter(), 0
    while min(len(peer.replies) for peer in (writer, *listening)) < count:
        due_s = began_s + sent / RATE - time.perf_counter() if sent < count else _PATIENCE_S
        if due_s <= 0:
            writer.send("SET", f"lag:{sent}", "x" * 100)
            sent += 1
            continue
        ready = selector.select(due_s)
        if not ready and sent == count:
            raise TimeoutError("a follower does not hear of what was written")
        for chosen, _ in ready:
            chosen.data.receive()


def _lags_ms(acknowledged: Sequence[float], peer: _Peer) -> list[float]:
    """From each acknowledgement to when the follower had it; below 0 if it had it before."""
    lags = []
    for at_s, (_, _, key) in peer.replies:
        lags.append(1e3 * (at_s - acknowledged[int(key.partition(b":")[2])]))
    return lags


def part_of(lags: Sequence[Sequence[float]]) -> Part:
    """Of each follower's, in milliseconds."""
    found = [[quantile(of_one, q) for q in QUANTILES] for of_one in lags]
    part = Part("How far followers are behind", raw={"quantiles": QUANTILES, "lags_ms": found})
    part.figures = [
        Figure("follower's lag, p50, of each follower", [p50 for p50, *_ in found], "ms", by=MOST),
        Figure("follower's lag, p99, of each follower", [p99 for _, p99, *_ in found], "ms", ASKED_MS, by=MOST),
    ]
    rows = [
        [f"follower {number}", str(len(of_one)), *(f"{quantile(of_one, q):.2f} ms" for q in QUANTILES)]
        for number, of_one in enumerate(lags, 1)
    ]
    columns = ["", "writes", "p50", "p99", "p99.9", "most"]
    part.tables = [Table(f"{RATE} writes a second: from the acknowledgement to when a follower has it", columns, rows)]
    part.said = [
        "A follower has it when its client, who subscribes to keyspace events, is told of it; below zero is before the "
        "writer was."
    ]
    return part
