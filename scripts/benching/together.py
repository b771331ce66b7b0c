"""Cases in which clients meet: locks and limits by scripts, messages to many, elements handed from one to another."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from hashlib import sha1

import polars as pl
from redis.lock import Lock

from kvstore.client.raw import resp_request
from scripts.measuring.bench import Bench, Case
from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import WrongReply, load
from scripts.measuring.metering import ENDED_NS, Measures, latencies, metered, turn
from scripts.measuring.servers import MeasuredServer

GROUP_TITLES = {"together": "Scripts, messages and elements that clients hand to each other"}

CLIENTS = 50
SUBSCRIBERS = 100
PUBLISHERS = 4
_MESSAGE = b"x" * 100
#: A subscriber that has not got its messages after so many seconds never will.
_PATIENCE_SECONDS = 30.0

#: As redis-py's Lock.release sends it.
_RELEASE = Lock.LUA_RELEASE_SCRIPT.encode()

#: As `limits`, which Flask-Limiter stands on, counts a request in a fixed window.
_FIXED_WINDOW = b"""
local current
local amount = tonumber(ARGV[2])
current = redis.call("incrby", KEYS[1], amount)

if tonumber(current) == amount then
    redis.call("expire", KEYS[1], ARGV[1])
end

return current
"""


def _release(number: int) -> list[tuple[str, bytes]]:
    """A lock that nobody else wants is taken and given back."""
    key, token = f"lock:{number}", f"token:{number}"
    return [("SET", resp_request("SET", key, token, "PX", "10000")),
            ("EVALSHA", resp_request("EVALSHA", sha1(_RELEASE).hexdigest(), "1", key, token))]  # fmt: skip


def _count(number: int) -> list[tuple[str, bytes]]:
    """A request of somebody whose requests are limited."""
    asked = resp_request("EVALSHA", sha1(_FIXED_WINDOW).hexdigest(), "1", f"LIMITER/{number}", "60", "1")
    return [("EVALSHA", asked)]


def _script(name: str, title: str, script: bytes, of_one: Callable[[int], list[tuple[str, bytes]]]) -> Case:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        server = bench.start(side)
        load(server.port, [resp_request("SCRIPT", "LOAD", script)])
        groups = [Group(1, 1, of_one(number)) for number in range(CLIENTS)]
        return _turns(bench, server, groups)

    return Case(name, "together", title, set_up)


def _hand_over(bench: Bench, side: str) -> Callable[[], Measures]:
    """Pairs: one gives and waits for what comes back, the other waits and gives back; so BLPOP always waits."""
    groups = []
    for number in range(CLIENTS):
        there, back = f"there:{number}", f"back:{number}"
        give, take = resp_request("RPUSH", there, _MESSAGE), resp_request("BLPOP", back, "1")
        groups.append(Group(1, 1, [("RPUSH", give), ("BLPOP", take)]))
        take, give = resp_request("BLPOP", there, "1"), resp_request("RPUSH", back, _MESSAGE)
        groups.append(Group(1, 1, [("BLPOP", take), ("RPUSH", give)]))
    server, seconds = bench.start(side), bench.effort.seconds
    generator = Generator(bench.directory, groups, bench.setting.generator_cpus)

    def take_turn() -> Measures:
        with metered(server) as used:
            trace = generator.run(server.port, seconds).trace
        ends = pl.col("began_ns").min() + int(seconds * 1e9)  # who waits then, waits in vain for a second
        return turn(latencies(trace.filter(ends >= ENDED_NS), seconds), used)

    take_turn()
    return take_turn


def _turns(bench: Bench, server: MeasuredServer, groups: list[Group]) -> Callable[[], Measures]:
    generator = Generator(bench.directory, groups, bench.setting.generator_cpus)
    generator.run(server.port, bench.effort.seconds / 3)
    return lambda: generator.take_turn(server, bench.effort.seconds)


class Subscribers:
    """Connections that listen to one channel, and count the bytes they get, in a thread. Ends with `close`."""

    def __init__(self, server: MeasuredServer, count: int) -> None:
        self.received_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._sockets = [socket.create_connection(server.address, 10) for _ in range(count)]
        for each in self._sockets:
            each.sendall(resp_request("SUBSCRIBE", "news"))
            each.recv(1024)
            self._selector.register(each, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.05):
                self.received_bytes += len(key.fileobj.recv(1 << 18))  # type: ignore[union-attr]

    def wait(self, bytes_in_all: int) -> None:
        """Wait until they have got so many. Raises WrongReply."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.received_bytes < bytes_in_all:
            if time.monotonic() > deadline:
                raise WrongReply(f"subscribers have got {self.received_bytes:,} bytes of {bytes_in_all:,}")
            time.sleep(0.0005)

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        self._thread.join()
        for each in self._sockets:
            each.close()


def _publish(bench: Bench, side: str) -> Callable[[], Measures]:
    """A turn lasts until every subscriber has every message: the rate is of messages published."""
    server = bench.start(side)
    subscribers = Subscribers(server, SUBSCRIBERS)
    bench.callback(subscribers.close)
    publish = resp_request("PUBLISH", "news", _MESSAGE)
    generator = Generator(bench.directory, [Group(PUBLISHERS, 1, [("PUBLISH", publish)])], bench.setting.generator_cpus)
    each_bytes = SUBSCRIBERS * len(resp_request("message", "news", _MESSAGE))

    def take_turn() -> Measures:
        had, began = subscribers.received_bytes, time.perf_counter()
        with metered(server) as used:
            trace = generator.run(server.port, bench.effort.seconds).trace
            subscribers.wait(had + len(trace) * each_bytes)
        return turn(latencies(trace, time.perf_counter() - began), used)

    take_turn()
    return take_turn


def cases() -> list[Case]:
    """All of them."""
    return [
        _script("release-50", f"a lock taken, and released by redis-py's script, {CLIENTS}", _RELEASE, _release),
        _script("limiter-50", f"Flask-Limiter's script for a fixed window, {CLIENTS}", _FIXED_WINDOW, _count),
        Case("hand-over-50", "together", f"RPUSH to a client that waits in BLPOP, {CLIENTS} pairs", _hand_over),
        Case("publish-100", "together", f"PUBLISH to {SUBSCRIBERS} subscribers", _publish),
    ]
