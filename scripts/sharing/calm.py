"""Calm clients: each asks for a key, or sets one, now and then, and waits for the reply.

When each asks next was drawn before, whether or not the server keeps up (an open loop): one that answers late does not
thereby have less to answer. Latency is from when the request was due to when its reply was read.
"""

from __future__ import annotations

import random
import select
import socket
import time
from typing import NamedTuple

import polars as pl

from kvstore.client.raw import resp_request
from scripts.measuring.load import WrongReply, key, values

CLIENTS = 20
#: Each asks so often, on the average.
PERIOD_SECONDS = 0.02
_KEYS = 1_000


class _Asked(NamedTuple):
    kind: str
    due_ns: int


class Calm:
    """So many clients, of whom half read and half write. `port`: of a server on this machine."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
        self._by_descriptor = {each.fileno(): each for each in self._sockets}
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._values = values(100)
        self._random = random.Random(1)

    def ask(self, seconds: float) -> pl.DataFrame:
        """Ask for so long; returns a row for each request: `kind`, `began_ns`, `took_ns`. Raises WrongReply."""
        began_ns = time.perf_counter_ns()
        draw = self._random.uniform
        due = sorted(
            (began_ns + int((number + draw(0, 1)) * PERIOD_SECONDS * 1e9), which)
            for which in range(CLIENTS)
            for number in range(int(seconds / PERIOD_SECONDS))
        )
        asked: dict[int, list[_Asked]] = {each.fileno(): [] for each in self._sockets}
        rows: list[tuple[str, int, int]] = []
        while len(rows) < len(due):
            sent = len(rows) + sum(map(len, asked.values()))
            wait_s = (due[sent][0] - time.perf_counter_ns()) / 1e9 if sent < len(due) else 60.0
            if wait_s <= 0:
                self._send(*due[sent], asked)
                continue
            readable, _, _ = select.select(self._by_descriptor, [], [], wait_s)  # epoll_wait(2) counts milliseconds
            now_ns = time.perf_counter_ns()
            if not readable and sent == len(due):
                raise WrongReply("a calm client was not answered for a minute")
            for descriptor in readable:
                for _ in range(self._replies(descriptor)):
                    kind, due_ns = asked[descriptor].pop(0)
                    rows.append((kind, due_ns, now_ns - due_ns))
        return pl.DataFrame(rows, schema=["kind", "began_ns", "took_ns"], orient="row")

    def _send(self, due_ns: int, which: int, asked: dict[int, list[_Asked]]) -> None:
        number = self._random.randrange(_KEYS)
        is_set = which % 2 == 0
        word = self._values[number % len(self._values)]
        request = resp_request("SET", key(number), word) if is_set else resp_request("GETRANGE", key(number), "0", "0")
        asked[self._sockets[which].fileno()].append(_Asked("SET" if is_set else "GET", due_ns))
        self._sockets[which].sendall(request)

    def _replies(self, descriptor: int) -> int:
        """How many have come: each is short, and comes whole."""
        data = self._by_descriptor[descriptor].recv(65_536)
        if not data or data.startswith(b"-"):
            raise WrongReply(f"a calm client got {data[:80]!r}")
        return data.count(b"+OK\r\n") + data.count(b"$1\r\n") + data.count(b"$0\r\n")

    def close(self) -> None:
        """End all connections."""
        for each in self._sockets:
            each.close()
