"""The slowest request beside what removes or joins values of a million elements: 16 clients, half GET and half SET of
short values, go on meanwhile. What is asked for beside them is a request each, on a connection of its own.

The values are made once, and copied for each request that removes them, while nobody is measured. Nothing is pinned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from kvstore.client.raw import resp_request
from scripts.benching.large import CLIENTS, OF_TYPE, VALUE_BYTES, halves
from scripts.measuring.bench import Bench, Case
from scripts.measuring.generator import Generator
from scripts.measuring.load import WrongReply, load, load_keys
from scripts.measuring.metering import Measures
from scripts.measuring.servers import ANYWHERE, MeasuredServer

_KEYS = 10_000
_ADDED_AT_ONCE = 100
_BEFORE_SECONDS, _AFTER_SECONDS = 0.2, 0.8
_EXPIRES_MS = 300
_PATIENCE_SECONDS = 60

LABELS = {
    "beside-large": {
        "nothing_ms": "slowest request beside nothing",
        **{f"del_{name}_ms": f"beside DEL of a {name}" for name in OF_TYPE},
        "unlink_ms": "beside UNLINK of the four",
        "expiry_ms": "while the four expire",
        "flushall_ms": "beside FLUSHALL of eight",
        "sinterstore_ms": "beside SINTERSTORE of two sets",
    }
}


def _fill(server: MeasuredServer, count: int) -> None:
    """A value of so many elements of each type, another set; and short values."""
    load_keys(server.port, _KEYS, VALUE_BYTES)
    load(server.port, _requests(count))


def _requests(count: int) -> Iterator[bytes]:
    for key, name in [*((name, name) for name in OF_TYPE), ("set2", "set")]:
        command, words = OF_TYPE[name]
        for first in range(0, count, _ADDED_AT_ONCE):
            elements = range(first, first + _ADDED_AT_ONCE)
            yield resp_request(command, key, *(word for number in elements for word in words(number)))


def _beside(bench: Bench, side: str) -> Callable[[], Measures]:
    server = bench.start(side, surroundings=ANYWHERE)
    generator = Generator(bench.directory, halves(CLIENTS, _KEYS))
    writers = Generator(bench.directory, halves(CLIENTS, _KEYS)[1:])  # FLUSHALL leaves nothing to be read

    ask = partial(server.ask, patience_seconds=_PATIENCE_SECONDS)

    def copies() -> list[str]:
        return [f"{name}-copy" for name in OF_TYPE if ask("COPY", name, f"{name}-copy") == 1]

    def slowest(*requests: tuple[str, ...], wait_seconds: float = 0.0, load: Generator = generator) -> float:
        running = load.start(server.port)
        try:
            time.sleep(_BEFORE_SECONDS)
            replies = [ask(*request) for request in requests]
            time.sleep(_AFTER_SECONDS + wait_seconds)
            measures = running.stop().measures()
        finally:
            running.kill()
        if 0 in replies:
            raise WrongReply(f"{server.name} had nothing to do: {requests!r}")
        return measures["slowest_ms"]

    def take_turn() -> Measures:
        _fill(server, bench.effort.keys)
        found = {"nothing_ms": slowest()}
        for key, name in zip(copies(), OF_TYPE, strict=True):
            found[f"del_{name}_ms"] = slowest(("DEL", key))
        found["unlink_ms"] = slowest(("UNLINK", *copies()))
        expiring = [("PEXPIRE", key, str(_EXPIRES_MS)) for key in copies()]
        found["expiry_ms"] = slowest(*expiring, wait_seconds=1.0)
        found["sinterstore_ms"] = slowest(("SINTERSTORE", "both", "set", "set2"), wait_seconds=2.0)
        copies()
        found["flushall_ms"] = slowest(("FLUSHALL",), load=writers)
        return found

    return take_turn


def cases() -> list[Case]:
    """The one."""
    return [Case("beside-large", "large", "beside-large", _beside, most_rounds=2, weight=9)]
