"""Clients that cost little: closed loops over many connections in one process, and bulk loading.

A closed loop has one request outstanding on each connection and sends the next when the reply has come, as a blocking
client does. One process serves all its connections with epoll, requests are made without encoding anything, and a reply
is known by its length: some 10 microseconds a request, a tenth of what the Python client takes. On a machine with two
processors the generator has one, the server the other.

Latency is from just before a request is handed to the kernel to just after its last byte was read. When several replies
are there at once, the later ones wait for the generator; that is counted too. The garbage collector is off meanwhile.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kvstore.client.raw import resp_request

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000 * MILLISECOND_NS

#: A reply that takes longer, in seconds, is taken for lost.
_SILENCE_SECONDS = 30.0

#: How often the function that a loop calls meanwhile is called, in seconds.
HOOK_SECONDS = 0.005

#: Requests sent at once when loading in bulk.
_BATCH = 1000


class WrongReply(Exception):
    """A server answered what it should not, or not at all: the measurement is worth nothing."""


class Request(NamedTuple):
    """One request; its reply begins with `begins` and is `length` bytes long."""

    data: bytes
    begins: bytes
    length: int


class Source(NamedTuple):
    """What one connection asks for. `kind`: a name under which its latencies are reported, such as "GET"."""

    kind: str
    requests: Iterator[Request]


class Latencies:
    """When requests began and how long they took, in nanoseconds of time.perf_counter_ns."""

    def __init__(self) -> None:
        self.began = array("q")
        self.took = array("q")

    def __len__(self) -> int:
        return len(self.took)

    def extend(self, other: Latencies) -> None:
        """Add the requests of another."""
        self.began.extend(other.began)
        self.took.extend(other.took)

    def quantiles_ms(self, *fractions: float) -> list[float]:
        """Latencies in milliseconds: of all, that fraction was as fast or faster (nearest rank); 1 is the slowest."""
        ordered = sorted(self.took)
        if not ordered:
            raise ValueError("no request was measured: measure for longer")
        return [ordered[max(0, math.ceil(f * len(ordered)) - 1)] / MILLISECOND_NS for f in fractions]


class _Connection:
    """One connection of a closed loop."""

    def __init__(self, port: int, source: Source) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = source.requests
        self.kind = source.kind
        self.request = Request(b"", b"", 0)
        self.received = b""
        self.began = 0


class ClosedLoop:
    """Clients in a closed loop, one for each of `sources`, connected to a server until `close`.

    `latencies`: by kind, of the last `run`. `cpu_seconds`: processor time that it took.
    """

    def __init__(self, port: int, sources: list[Source]) -> None:
        self._connections = [_Connection(port, source) for source in sources]
        self._poll = select.epoll()
        self._by_descriptor = {}
        for connection in self._connections:
            self._by_descriptor[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)
        self.latencies: dict[str, Latencies] = {}
        self.cpu_seconds = 0.0
        self.seconds = 0.0

    def run_for(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.perf_counter_ns() + int(seconds * SECOND_NS)
        self.run(lambda: time.perf_counter_ns() < end)

    def run(self, go_on: Callable[[], bool]) -> None:
        """Go on until `go_on`, which is asked every HOOK_SECONDS, says no; then wait for the replies still to come."""
        self.latencies = {connection.kind: Latencies() for connection in self._connections}
        cpu, began = time.process_time(), time.perf_counter()
        gc.collect()
        gc.disable()
        try:
            self._run(go_on)
        finally:
            gc.enable()
        self.cpu_seconds = time.process_time() - cpu
        self.seconds = time.perf_counter() - began

    def _run(self, go_on: Callable[[], bool]) -> None:
        clock, by_descriptor = time.perf_counter_ns, self._by_descriptor
        outstanding, going, hook_at, heard_at = 0, True, 0, clock()
        for connection in self._connections:
            _send(connection, clock)
            outstanding += 1
        while outstanding:
            events = self._poll.poll(HOOK_SECONDS)
            now = clock()
            if going and now >= hook_at:
                hook_at = now + int(HOOK_SECONDS * SECOND_NS)
                going = go_on()
            if events:
                heard_at = now
            elif now - heard_at > _SILENCE_SECONDS * SECOND_NS:
                raise WrongReply(f"no reply for {_SILENCE_SECONDS:g} s to {self._unanswered()!r}")
            for descriptor, _ in events:
                connection = by_descriptor[descriptor]
                if self._receive(connection, clock):
                    if going:
                        _send(connection, clock)
                    else:
                        outstanding -= 1

    def _receive(self, connection: _Connection, clock: Callable[[], int]) -> bool:
        """Read what is there; returns whether the reply is whole, and notes how long it took."""
        data = connection.socket.recv(65536)
        ended = clock()
        request = connection.request
        connection.received = received = connection.received + data if connection.received else data
        if not data or not received.startswith(request.begins[: len(received)]) or len(received) > request.length:
            raise WrongReply(f"{request.data[:200]!r} was answered {received[:200]!r}")
        if len(received) < request.length:
            return False
        latencies = self.latencies[connection.kind]
        latencies.began.append(connection.began)
        latencies.took.append(ended - connection.began)
        return True

    def _unanswered(self) -> bytes:
        return next(c.request.data[:200] for c in self._connections if len(c.received) < c.request.length)

    def total(self) -> Latencies:
        """The latencies of all kinds together."""
        total = Latencies()
        for latencies in self.latencies.values():
            total.extend(latencies)
        return total

    def per_second(self) -> float:
        """Requests per second of the last run."""
        return sum(map(len, self.latencies.values())) / self.seconds

    def close(self) -> None:
        """Disconnect all."""
        self._poll.close()
        for connection in self._connections:
            connection.socket.close()


def _send(connection: _Connection, clock: Callable[[], int]) -> None:
    connection.request = request = next(connection.requests)
    connection.received = b""
    connection.began = clock()
    connection.socket.sendall(request.data)


# Requests

#: Values differ, and do not compress: a server that compresses would have an advantage that real data do not give it.
_VALUES_COUNT = 64


def key(number: int) -> bytes:
    """The key of a number, 16 bytes, as redis-benchmark writes it."""
    return b"key:%012d" % number


def values(length: int) -> list[bytes]:
    """Some values of `length` bytes each."""
    random_bytes = random.Random(length).randbytes
    return [random_bytes(length) for _ in range(_VALUES_COUNT)]


def sets(keys: int, value_bytes: int, seed: int) -> Source:
    """SET of keys drawn from the first `keys`."""
    draw, pool = random.Random(seed).random, values(value_bytes)

    def requests() -> Iterator[Request]:
        head, middle = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:", b"\r\n$%d\r\n" % value_bytes
        tails = [middle + value + b"\r\n" for value in pool]
        while True:
            number = int(draw() * keys)
            yield Request(b"%b%012d%b" % (head, number, tails[number % _VALUES_COUNT]), b"+OK\r\n", 5)

    return Source("SET", requests())


def gets(keys: int, value_bytes: int, seed: int) -> Source:
    """GET of keys drawn from the first `keys`, which all have values of `value_bytes`."""
    draw = random.Random(seed).random

    def requests() -> Iterator[Request]:
        begins = b"$%d\r\n" % value_bytes
        length = len(begins) + value_bytes + 2
        while True:
            yield Request(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n" % int(draw() * keys), begins, length)

    return Source("GET", requests())


def half_gets_half_sets(clients: int, keys: int, value_bytes: int) -> list[Source]:
    """Sources for so many clients, every other one reading, the others writing."""
    return [(sets if i % 2 else gets)(keys, value_bytes, i) for i in range(clients)]


def inserts(client: int) -> Source:
    """Inserts as scripts/TestPerf.py makes them: JSON lines, documents of some 100 bytes, keys of their own."""
    padding = "x" * 40

    def requests() -> Iterator[Request]:
        number = 0
        while True:
            text = (
                f'{{"id":{number},"method":"insert","key":"loop-{client}-{number}","value":'
                f'{{"group":"loop-{client}-{number // 10}","number":{number},"text":"{padding}"}}}}\n'
            )
            answer = b'{"result":"success","id":%d}\r\n' % number
            yield Request(text.encode(), answer, len(answer))
            number += 1

    return Source("insert", requests())


# Bulk loading


def load_keys(port: int, keys: int, value_bytes: int, numbers: Iterator[int] | None = None) -> None:
    """Set the first `keys` keys, or as many of those in `numbers`, over one connection, pipelined."""
    pool = values(value_bytes)
    order = numbers if numbers is not None else iter(range(keys))
    load(port, (resp_request("SET", key(n), pool[n % _VALUES_COUNT]) for n in itertools.islice(order, keys)))


def load(port: int, requests: Iterable[bytes]) -> None:
    """Send requests that are answered OK over one connection, a batch on the way while the next is made."""
    awaited, received, batches = 0, b"", iter(requests)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        while batch := list(itertools.islice(batches, _BATCH)):
            connection.sendall(b"".join(batch))
            received = _take(connection, received, awaited)
            awaited = len(batch)
        _take(connection, received, awaited)


def _take(connection: socket.socket, received: bytes, count: int) -> bytes:
    """Read so many replies; returns what was received beyond them."""
    expected = b"+OK\r\n" * count
    while len(received) < len(expected):
        data = connection.recv(1 << 20)
        if not data:
            raise WrongReply("the server closed the connection while keys were loaded")
        received += data
    if not received.startswith(expected):
        raise WrongReply(f"loading keys was answered {received.replace(b'+OK', b'').strip()[:200]!r}")
    return received[len(expected) :]
