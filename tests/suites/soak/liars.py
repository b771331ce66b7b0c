"""Clients who stall, lie and vanish. Each way is a function that is given a connection, and what may go on meanwhile.

What they are answered is not looked at: that the others are served as ever is the point. Requests that execute touch
only keys that begin with `soak:liar:`.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable, Sequence

from kvstore.client.raw import resp_request
from tests.suites.soak.companions import Companion
from tests.suites.soak.sockets import DATABASE, Server

#: Most connections that are held open, silent, at once.
_MOST_HELD = 60
_LONGEST_S = 20.0

Way = Callable[[socket.socket, random.Random], float]


def half_a_request(connection: socket.socket, chance: random.Random) -> float:
    """The beginning of one, and silence."""
    data = resp_request("SET", "soak:liar:half", "x" * chance.randrange(1000))
    connection.sendall(data[: chance.randrange(1, len(data))])
    return chance.uniform(0, _LONGEST_S)


def drip(connection: socket.socket, chance: random.Random) -> float:
    """A header byte by byte, with pauses, never ended."""
    for byte in b"*3\r\n$3\r\nSET\r\n$1000000\r\n":
        connection.sendall(bytes([byte]))
        time.sleep(0.001)
    return chance.uniform(0, _LONGEST_S)


def slow_reader(connection: socket.socket, chance: random.Random) -> float:
    """Much is asked for, and nothing read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(resp_request("GET", "soak:large:0:string") * chance.randrange(1, 40))
    return chance.uniform(1, _LONGEST_S)


def slow_subscriber(connection: socket.socket, chance: random.Random) -> float:
    """It subscribes to all that is published and all that changes, and reads nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(resp_request("PSUBSCRIBE", "*"))
    return chance.uniform(1, _LONGEST_S)


def slow_monitor(connection: socket.socket, chance: random.Random) -> float:
    """It asks to see all requests, and reads nothing for a moment."""
    connection.sendall(resp_request("MONITOR"))
    return chance.uniform(0, 2)


def garbage(connection: socket.socket, chance: random.Random) -> float:
    """Anything."""
    connection.sendall(chance.randbytes(chance.randrange(1, 4000)))
    return chance.uniform(0, 2)


_PROBES: Sequence[bytes] = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"*-1\r\n", b"*99999999999\r\n", b"*1\r\n$-5\r\n", b"*1\r\n$99999999999\r\n", b"$3\r\nabc\r\n", b"{\"method\":",
    b"{" * 5000 + b"\n", b"\x00" * 100, b"A" * 100_000, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n:5\r\n", b"\xff\xfb\x01" * 100,
)  # fmt: skip


def probe(connection: socket.socket, chance: random.Random) -> float:
    """What a scanner of ports says, and lengths that lie."""
    connection.sendall(chance.choice(_PROBES))
    return chance.uniform(0, 5)


def in_a_block(connection: socket.socket, chance: random.Random) -> float:
    """A block that never ends, with keys watched."""
    connection.sendall(resp_request("WATCH", "soak:liar:a") + resp_request("MULTI"))
    connection.sendall(resp_request("SET", "soak:liar:a", "x" * 100) * chance.randrange(1, 200))
    return chance.uniform(0, _LONGEST_S)


def while_it_waits(connection: socket.socket, chance: random.Random) -> float:
    """It waits for what never comes."""
    connection.sendall(resp_request("BLPOP", *(f"soak:liar:none:{i}" for i in range(20)), "0"))
    return chance.uniform(0, _LONGEST_S)


def tracks_and_is_silent(connection: socket.socket, chance: random.Random) -> float:
    """It wants to be told of every change, and reads nothing."""
    connection.sendall(resp_request("HELLO", "3") + resp_request("CLIENT", "TRACKING", "ON", "BCAST"))
    return chance.uniform(0, _LONGEST_S)


def bad_scripts(connection: socket.socket, chance: random.Random) -> float:
    """Scripts, each with a text of its own, some of which raise."""
    for _ in range(10):
        text = f"redis.call('SET', KEYS[1], '{chance.random()}') error('no')"
        connection.sendall(resp_request("EVAL", text, "1", "soak:liar:script"))
    return chance.uniform(0, 1)


def pipeline_and_gone(connection: socket.socket, chance: random.Random) -> float:
    """Many requests at once, and nobody hears the replies."""
    connection.sendall(b"".join(resp_request("INCR", f"soak:liar:{chance.randrange(50)}") for _ in range(200)))
    return 0.0


WAYS: Sequence[Way] = (
    half_a_request, drip, slow_reader, slow_subscriber, slow_monitor, garbage, probe, probe, in_a_block, while_it_waits,
    tracks_and_is_silent, bad_scripts, pipeline_and_gone,
)  # fmt: skip


class Liar(Companion):
    """One thread of them: each step begins one, and ends those whose time is over, by a close or by a reset."""

    def __init__(self, server: Server, period_s: float, seed: int) -> None:
        super().__init__(server, period_s, seed)
        self._held: list[tuple[float, socket.socket]] = []

    def connect(self) -> None:
        """Each has its own connection."""

    def disconnect(self) -> None:
        """All that are held."""
        for _, connection in self._held:
            connection.close()
        self._held.clear()

    def step(self, number: int) -> None:
        """One more; now and then many who come and go at once."""
        if number % 100 == 99:
            self._crowd()
        way = self.chance.choice(WAYS)
        connection = self._connected()
        self.counts[way.__name__] += 1
        try:
            hold_s = way(connection, self.chance)
        except OSError:  # it was thrown out already
            hold_s = 0.0
        self._held.append((time.monotonic() + hold_s, connection))
        self._end_some()

    def _connected(self) -> socket.socket:
        """A connection; some say nothing of who they are."""
        if self.chance.random() < 0.8:
            return self.server.known(5.0).socket
        connection = self.server.plain(5.0)
        connection.sendall(resp_request("SELECT", str(DATABASE)))
        return connection

    def _crowd(self) -> None:
        crowd = [self.server.plain() for _ in range(100)]
        self.counts["crowds"] += 1
        for connection in crowd:
            connection.close()

    def _end_some(self) -> None:
        """Those whose time is over, and the oldest of too many."""
        self._held.sort(key=lambda held: held[0])
        while self._held and (self._held[0][0] < time.monotonic() or len(self._held) > _MOST_HELD):
            _, connection = self._held.pop(0)
            if self.chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
