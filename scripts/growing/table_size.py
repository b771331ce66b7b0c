"""kvstore with so many keys: what an operation, a start, a compaction, a query, KEYS and SCAN cost.

The keys hold documents of some 100 bytes, ten of which share what `query` asks for. One server goes through all of it:

1. it is loaded, over one pipelined connection; what that adds to its memory is the memory of a key;
2. it is killed and started: a start from the log;
3. GET and SET of keys drawn from all, 50 connections with 16 requests on the way on each;
4. the first `query` (which makes the index), and later ones;
5. KEYS *, and a full SCAN by 1,000;
6. a compaction under load, of everything there is, from the log; then others, each of what was written since the one
   before; beside each a stretch without one;
7. it is killed and started: a start from the checkpoint.

Up to 5 the server has a processor to itself; a compaction needs one beside the server's, so from then on nothing is
kept anywhere. What a start takes for each key is told of tables that take longer than the start of an empty server
varies.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from statistics import median

import hiredis

from kvstore.client.raw import resp_request
from scripts.benching.large import start_once
from scripts.measuring.bench import KVSTORE, Bench
from scripts.measuring.compaction import under_load
from scripts.measuring.generator import Generator, Group
from scripts.measuring.load import GROUP_SIZE, Asked, WrongReply, document, documents, key, load, query_line
from scripts.measuring.metering import Measures, Shape
from scripts.measuring.servers import ANYWHERE, MeasuredServer

SHAPE = Shape(50, 16)
QUERIES = 200
SCAN_COUNT = 1_000
EMPTY_STARTS = 3

#: Fewer keys than this are not what a start's time comes from.
LEAST_TO_DIVIDE = 100_000
#: With more keys than this, compactions take too long to be repeated.
LARGEST_FOR_ROUNDS = 1_000_000

#: Requests in a generator's file: enough that most of a large table's keys are far apart.
_ASKED = 200_000
#: A prime: neighbours in the order that it makes are far apart in the table.
_STEP = 7_919

_US = 1e6
_SILENCE_SECONDS = 300.0


def measure(bench: Bench, keys: int) -> Measures:
    """All of it. Raises what servers and generators raise."""

    def start(name: str, there: int) -> MeasuredServer:
        server = bench.start(KVSTORE, name=name, surroundings=ANYWHERE)
        if (found := server.ask("DBSIZE")) != there:
            raise WrongReply(f"kvstore has {found!r} keys after its start, not {there}")
        return server

    measures: Measures = {
        "empty_seconds": median(start_once(lambda: start("empty", 0), 0)[0] for _ in range(EMPTY_STARTS))
    }
    server = start("table", 0)
    empty_bytes, began = server.resident_bytes(), time.perf_counter()
    load(server.port, documents(keys))
    measures["load_seconds"] = time.perf_counter() - began
    measures["bytes_each"] = (server.resident_bytes() - empty_bytes) / keys
    server.kill()
    server = start("table", keys)
    measures["log_seconds"] = server.start_seconds
    bench.progress.show(0.2)
    with apart(server):
        measures |= measure_served(bench, server, keys)
    bench.progress.show(0.4)
    measures |= _compactions(bench, server, keys)
    bench.progress.show(0.9)
    server.kill()
    server = start("table", keys)
    measures["checkpoint_seconds"] = server.start_seconds
    measures["recovered_bytes_each"] = (server.resident_bytes() - empty_bytes) / keys
    if keys >= LEAST_TO_DIVIDE:
        for name in ("log", "checkpoint"):
            measures[f"{name}_us_each"] = (measures[f"{name}_seconds"] - measures["empty_seconds"]) / keys * _US
        measures["first.us_each"] = measures["first.compaction_seconds"] / keys * _US
    return measures


@contextlib.contextmanager
def apart(server: MeasuredServer) -> Iterator[None]:
    """While this lasts the server has the first processor that we may use, this process and its children the others;
    with one processor nothing is done. Left to the scheduler they meet on one now and then, and a request waits.
    """
    every = os.sched_getaffinity(0)
    first = {min(every)}
    if every == first:
        yield
        return
    os.sched_setaffinity(server.pid, first)
    os.sched_setaffinity(0, every - first)
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(server.pid, every)


def _compactions(bench: Bench, server: MeasuredServer, keys: int) -> Measures:
    """The first, of everything; and the medians of those after it."""
    generator = Generator(bench.directory, [Group(8, 1, _drawn(kind, keys)) for kind in ("GET", "SET")])
    first = under_load(server, generator).measures()
    rounds = bench.effort.rounds if keys <= LARGEST_FOR_ROUNDS else 1
    later = [under_load(server, generator).measures() for _ in range(rounds)]
    medians = {name: median(found[name] for found in later) for name in later[0]}
    return {f"first.{name}": value for name, value in first.items()} | medians


def measure_served(bench: Bench, server: MeasuredServer, keys: int) -> Measures:
    """What a server that has the keys is asked: single requests, queries, KEYS and SCAN."""
    return _operations(bench, server, keys) | _queries(server, keys) | _keys_and_scan(server, keys)


def _drawn(kind: str, keys: int) -> list[Asked]:
    """GET or SET of keys spread evenly over all, in an order that jumps about; documents stay as they are."""
    numbers = (i * _STEP * max(1, keys // _ASKED) % keys for i in range(min(_ASKED, 10 * keys)))
    if kind == "GET":
        return [(kind, resp_request("GET", key(n))) for n in numbers]
    return [(kind, resp_request("SET", key(n), document(n))) for n in numbers]


def _operations(bench: Bench, server: MeasuredServer, keys: int) -> Measures:
    """GET and SET: microseconds a request, and of the server's processor."""
    measures: Measures = {}
    for kind in ("GET", "SET"):
        generator = Generator(bench.directory, [Group(*SHAPE, _drawn(kind, keys))])
        generator.run(server.port, bench.effort.seconds / 3)
        turns = [generator.take_turn(server, bench.effort.seconds, 0.05) for _ in range(bench.effort.rounds)]
        name = kind.lower()
        measures[f"{name}_us"] = median(_US / turn["per_second"] for turn in turns)
        measures[f"{name}_server_us"] = median(turn["server_us"] for turn in turns)
        measures[f"{name}_p999_ms"] = median(turn["p999_ms"] for turn in turns)
    return measures


# One client, one request at a time


def _queries(server: MeasuredServer, keys: int) -> Measures:
    """The first query on a member, and the median of later ones; the reply is checked."""
    took = []
    with _connect(server) as connection, connection.makefile("rb") as replies:
        for i in range(QUERIES + 1):
            began = time.perf_counter()
            connection.sendall(query_line(i * _STEP % keys))
            reply = replies.readline()
            took.append(time.perf_counter() - began)
        if len(json.loads(reply)["value"]) != GROUP_SIZE:
            raise WrongReply(f"a query was answered {reply[:200]!r}")
    return {"first_query_ms": took[0] * 1e3, "query_us": median(took[1:]) * _US}


def _keys_and_scan(server: MeasuredServer, keys: int) -> Measures:
    """KEYS *, until its last byte was read; and a SCAN of everything, each request of it timed."""
    with _connect(server) as connection:
        measures = {"keys_ms": _time_of_keys(connection, keys) * 1e3}
        took: list[float] = []
        found, cursor, reader = 0, b"0", hiredis.Reader()
        while not took or cursor != b"0":
            began = time.perf_counter()
            connection.sendall(resp_request("SCAN", cursor, "COUNT", str(SCAN_COUNT)))
            while (reply := reader.gets()) is False:
                reader.feed(connection.recv(1 << 20))
            took.append((time.perf_counter() - began) * 1e3)
            cursor, names = reply
            found += len(names)
    if found != keys:
        raise WrongReply(f"SCAN told {found} keys, not {keys}")
    measures |= {"first_scan_ms": took[0], "slowest_scan_ms": max(took), "full_scan_ms": sum(took)}
    return measures | {"scan_ms": median(took[1:] or took)}


def _time_of_keys(connection: socket.socket, keys: int) -> float:
    """Seconds; the reply is counted and not parsed, which would take longer than it."""
    left = len(b"*%d\r\n" % keys) + keys * len(b"$16\r\n" + key(0) + b"\r\n")
    began, buffer = time.perf_counter(), bytearray(1 << 20)
    connection.sendall(resp_request("KEYS", "*"))
    while left > 0 and (count := connection.recv_into(buffer)):
        left -= count
    if left:
        raise WrongReply(f"the reply to KEYS is {left} bytes too short")
    return time.perf_counter() - began


def _connect(server: MeasuredServer) -> socket.socket:
    return socket.create_connection(server.address, _SILENCE_SECONDS)
