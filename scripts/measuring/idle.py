"""Connections that do nothing: what they cost in memory, and what the clients beside them notice.

An idle connection is one that has sent a PING and had its answer, as a connection in a client's pool has: what a server
sets up at the first request is counted.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator

from kvstore.client.raw import resp_request
from scripts.measuring.generator import Generator
from scripts.measuring.load import WrongReply
from scripts.measuring.metering import Measures
from scripts.measuring.servers import MeasuredServer

#: Closing with a reset instead of a farewell leaves no port in TIME_WAIT: rounds of 5,000 would use them all up.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

#: Connections opened between two waits for their replies: a server's queue of new ones is finite.
_BATCH = 50

#: A server that has not noticed after so many seconds that clients are gone never will.
_PATIENCE_SECONDS = 30.0


def beside_idle(server: MeasuredServer, generator: Generator, seconds: float, count: int) -> Callable[[], Measures]:
    """What takes a turn: the generator's without (`without.p50_ms`), then with so many idle connections (`p50_ms`).

    Memory of each (`bytes_each`) is measured now: later the process has some left over from earlier connections.
    """
    before = server.resident_bytes()
    with idle_connections(server, count):
        bytes_each = (server.resident_bytes() - before) / count
    generator.run(server.port, seconds / 3)

    def take_turn() -> Measures:
        without = generator.take_turn(server, seconds, seconds / 10)
        with idle_connections(server, count):
            beside = generator.take_turn(server, seconds, seconds / 10)
        return {"bytes_each": bytes_each, **beside, **{f"without.{name}": value for name, value in without.items()}}

    return take_turn


@contextlib.contextmanager
def idle_connections(server: MeasuredServer, count: int) -> Iterator[None]:
    """So many connections that have sent one request each, and send no more. Raises OSError if this process may
    not have so many; WrongReply if the server drops any.
    """
    _allow_files(count + 256)
    others = int(server.info()["connected_clients"])
    with contextlib.ExitStack() as opened:
        for first in range(0, count, _BATCH):
            batch = [opened.enter_context(_connect(server)) for _ in range(min(_BATCH, count - first))]
            for connection in batch:
                if (reply := connection.recv(64)) != b"+PONG\r\n":
                    raise WrongReply(f"PING was answered {reply!r}")
        yield
        there = int(server.info()["connected_clients"])
        if there != others + count:
            raise WrongReply(f"{server.name} has {there} clients, not {others + count}: it dropped idle connections")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while int(server.info()["connected_clients"]) > others:
        if time.monotonic() > deadline:
            raise WrongReply(f"{server.name} still counts clients that are gone")
        time.sleep(0.02)


def _connect(server: MeasuredServer) -> socket.socket:
    connection = socket.create_connection(server.address, 10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.sendall(resp_request("PING"))
    return connection


def _allow_files(count: int) -> None:
    """Let this process have so many files open. Raises OSError if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count) if hard >= 0 else hard))
        except ValueError as error:
            raise OSError(f"{count:,} open files are not allowed (see ulimit -n): {error}") from error
