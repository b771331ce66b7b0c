"""Cases on a large table: what a compaction does to the clients, how long a start takes, memory; and idle connections.

A compaction needs a processor beside the server's, so nothing is pinned here. Each turn sets every key again, so that
there is as much to merge as the default policy lets grow. (The first compaction of a table, and one of a short log, are
`scripts/growth`'s.) A start lasts until the server says that it listens (Valkey: until it answers PING), interpreter
and imports included; the files are in the page cache.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial

from kvstore.client.raw import resp_request
from scripts.measuring.bench import Bench, Case
from scripts.measuring.compaction import Watch, under_load
from scripts.measuring.generator import Generator, Group
from scripts.measuring.idle import beside_idle
from scripts.measuring.load import WrongReply, load, load_keys, strings
from scripts.measuring.metering import Measures
from scripts.measuring.servers import ANYWHERE, MeasuredServer

VALUE_BYTES = 100
CLIENTS = 16
_IDLE_KEYS = 10_000

GROUP_TITLES = {"large": "A large table of values of 100 bytes, or of small values of one type; idle connections"}

#: By type: the command that fills a value, and the words of an element, by its number.
OF_TYPE: dict[str, tuple[str, Callable[[int], tuple[str, ...]]]] = {
    "hash": ("HSET", lambda number: (f"field:{number}", f"value:{number}")),
    "set": ("SADD", lambda number: (f"member:{number}",)),
    "sorted-set": ("ZADD", lambda number: (f"{number}", f"member:{number}")),
    "list": ("RPUSH", lambda number: (f"element:{number}",)),
}
_ELEMENTS_OF_SMALL = 5
_ADDED_AT_ONCE = 100

#: What is told of each case: measure to label, in the order of the report.
LABELS = {
    "compaction": {
        "compaction_seconds": "duration",
        "GET.p999_ms": "p99.9 of GET meanwhile",
        "normal.GET.p999_ms": "p99.9 of GET normally",
        "SET.p999_ms": "p99.9 of SET meanwhile",
        "normal.SET.p999_ms": "p99.9 of SET normally",
        "slowest_ms": "slowest request meanwhile",
        "normal.slowest_ms": "slowest request normally",
        "per_second": "requests meanwhile",
        "normal.per_second": "requests normally",
        "server_grown_bytes": "memory, growth of the server",
        "child_bytes": "memory, its child at most",
    },
    "recovery": {
        "log_seconds": "start, everything in the log",
        "checkpoint_seconds": "start, everything in a checkpoint",
        "empty_seconds": "start of an empty server",
        "loaded_bytes": "resident memory, loaded",
        "recovered_bytes": "resident memory, recovered from the log",
        "checkpoint_bytes": "resident memory, recovered from a checkpoint",
        "bytes_each": "memory of a key, over an empty server",
    },
    "idle": {
        "bytes_each": "memory of one",
        "p50_ms": f"p50 of {CLIENTS} clients beside them",
        "without.p50_ms": f"p50 of {CLIENTS} clients without them",
        "p99_ms": "p99 beside them",
        "without.p99_ms": "p99 without them",
    },
    **{
        f"{name}-memory": {
            "small_bytes": f"memory, as many of {_ELEMENTS_OF_SMALL} elements",
            "large_bytes": "memory, one of as many elements",
            "log_seconds": "start with the small ones in the log",
        }
        for name in OF_TYPE
    },
}


def halves(clients: int, keys: int) -> list[Group]:
    """Clients of which half GET and half SET, any of so many keys."""
    return [Group(clients // 2, 1, strings(kind, keys, VALUE_BYTES, count=100_000)) for kind in ("GET", "SET")]


def _compaction(bench: Bench, side: str) -> Callable[[], Measures]:
    """One server, compacted under load in each turn."""
    server, keys = bench.start(side, surroundings=ANYWHERE), bench.effort.keys
    generator = Generator(bench.directory, halves(CLIENTS, keys))
    load_keys(server.port, keys, VALUE_BYTES)
    Watch(server).run()  # in the turns there is a checkpoint

    def take_turn() -> Measures:
        load_keys(server.port, keys, VALUE_BYTES)
        return under_load(server, generator).measures()

    return take_turn


def _recovery(bench: Bench, side: str) -> Callable[[], Measures]:
    """Two directories, one with everything in the log and one with everything in a checkpoint; a start from each, and
    on none.
    """
    keys = bench.effort.keys

    def start(what: str) -> MeasuredServer:
        return bench.start(side, name=f"{side}-{what}", surroundings=ANYWHERE)

    server = start("log")
    load_keys(server.port, keys, VALUE_BYTES)
    loaded = server.resident_bytes()
    server.kill()
    shutil.copytree(bench.directory / f"{side}-log", bench.directory / f"{side}-checkpoint")
    server = start("checkpoint")
    Watch(server).run()
    server.kill()

    def take_turn() -> Measures:
        empty = start_once(lambda: start("empty"), 0)
        log = start_once(lambda: start("log"), keys)
        checkpoint = start_once(lambda: start("checkpoint"), keys)
        found = {f"{n}_seconds": s for n, (s, _) in (("empty", empty), ("log", log), ("checkpoint", checkpoint))}
        found["bytes_each"] = (loaded - empty[1]) / keys
        return found | {"loaded_bytes": loaded, "recovered_bytes": log[1], "checkpoint_bytes": checkpoint[1]}

    return take_turn


def _of_type(name: str, bench: Bench, side: str) -> Callable[[], Measures]:
    """Many small values, and a start on them; and one large value."""
    command, words = OF_TYPE[name]
    count = bench.effort.keys

    def fill(what: str, requests: Iterable[bytes]) -> int:
        server = bench.start(side, name=f"{side}-{what}", surroundings=ANYWHERE)
        empty = server.resident_bytes()
        load(server.port, requests)
        grown = server.resident_bytes() - empty
        server.kill()
        return grown

    def elements(key: str, first: int, many: int) -> bytes:
        return resp_request(command, key, *(word for n in range(first, first + many) for word in words(n)))

    def take_turn() -> Measures:
        small = fill("small", (elements(f"{name}:{n}", n, _ELEMENTS_OF_SMALL) for n in range(count)))
        large = fill("large", (elements(name, n, _ADDED_AT_ONCE) for n in range(0, count, _ADDED_AT_ONCE)))
        seconds, _ = start_once(lambda: bench.start(side, name=f"{side}-small", surroundings=ANYWHERE), count)
        return {"small_bytes": small, "large_bytes": large, "log_seconds": seconds}

    return take_turn


def start_once(start: Callable[[], MeasuredServer], keys: int) -> tuple[float, int]:
    """Start, weigh, count the keys, kill. Returns seconds and bytes. Raises WrongReply if it does not have them all."""
    server = start()
    resident, found = server.resident_bytes(), server.ask("DBSIZE")
    server.kill()
    if found != keys:
        raise WrongReply(f"{server.name} has {found!r} keys after its start, not {keys}")
    return server.start_seconds, resident


def idle(bench: Bench, side: str, count: int, *options: str) -> Callable[[], Measures]:
    """So many idle connections, and CLIENTS busy ones beside them."""
    server = bench.start(side, *options)
    load_keys(server.port, _IDLE_KEYS, VALUE_BYTES)
    generator = Generator(bench.directory, halves(CLIENTS, _IDLE_KEYS), bench.setting.generator_cpus)
    return beside_idle(server, generator, bench.effort.seconds, count)


def cases() -> list[Case]:
    """All of them."""
    return [
        Case("compaction", "large", "compaction", _compaction, most_rounds=3, weight=9),
        Case("recovery", "large", "recovery", _recovery, weight=6),
        *(Case(f"{name}-memory", "large", f"{name}-memory", partial(_of_type, name), most_rounds=1, weight=5)
          for name in OF_TYPE),
        Case("idle", "large", "idle", lambda bench, side: idle(bench, side, bench.effort.idle), weight=3),
    ]  # fmt: skip
