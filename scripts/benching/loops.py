"""Cases that the project's own generator asks: several kinds of requests at once, JSON lines, a slow disk.

The slow disk: a library loaded before libc (`scripts/measuring/slow_sync.c`) delays each sync of either server. One
that waits for its sync in its event loop answers nobody meanwhile, so its readers are as slow as its disk; one that
does not goes on. A server whose syncs the library does not reach would look fast: a SET must take as long as the delay,
or the case fails. Rejected: a device with a delay (dm-delay is not in every kernel, and takes root), a simulated disk
(not for Valkey).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from scripts.measuring import generator, load
from scripts.measuring.bench import KVSTORE, VALKEY, Bench, Case, SetUp
from scripts.measuring.generator import Generator, Group, compile_c
from scripts.measuring.load import WrongReply, strings
from scripts.measuring.metering import Measures, Shape
from scripts.measuring.servers import MeasuredServer, Surroundings

KEYS = 10_000
VALUE_BYTES = 100

#: As redis-benchmark's.
_SHORT_BYTES = 3

#: The first part of a turn, which is not counted, in seconds.
SKIP_SECONDS = 0.05

DELAY_MS = 5.0
_SLOW_SYNC = Path(generator.__file__).with_name("slow_sync.c")

GROUP_TITLES = {
    "own-generator": "SET and GET of 3 bytes again, by a generator that costs half of redis-benchmark",
    "mixed": "Several commands on the same connections, values of 100 bytes",
    "documents": "The JSON-line verbs, documents of some 100 bytes; beside them SET and GET of what has no such verbs",
    "beside-writes": "GET on some connections while others SET durably",
    "slow-disk": f"A disk whose syncs take {DELAY_MS:g} ms longer",
}

#: Fills a server, and says what is asked of it.
Ask = Callable[[MeasuredServer], list[Group]]


def _set_up(ask: Ask, is_slow: bool = False) -> SetUp:
    def set_up(bench: Bench, side: str) -> Callable[[], Measures]:
        server = bench.start(side, surroundings=slowed(bench) if is_slow else None)
        asking = Generator(bench.directory, ask(server), bench.setting.generator_cpus)
        seconds = bench.effort.seconds * (2 if is_slow else 1)  # a sync is a large part of a short turn
        first = asking.run(server.port, seconds / 3).measures()
        if is_slow and "SET" in asking.kinds and first.get("SET.p50_ms", first["p50_ms"]) < DELAY_MS:
            raise WrongReply(
                f"{server.name}: a SET is faster than the sync it should wait for: its syncs are not delayed"
            )
        return lambda: asking.take_turn(server, seconds, SKIP_SECONDS)

    return set_up


def slowed(bench: Bench) -> Surroundings:
    """The setting's surroundings with slow syncs in them."""
    library = bench.directory / "slow_sync.so"
    if not library.exists():
        compile_c(_SLOW_SYNC, library, "-shared", "-fPIC")
    variables = (("LD_PRELOAD", str(library)), ("SLOW_SYNC_US", f"{DELAY_MS * 1000:.0f}"))
    return dataclasses.replace(bench.setting.surroundings, variables=variables)


def _on_strings(groups: Callable[[], list[Group]], value_bytes: int = VALUE_BYTES) -> Ask:
    """With KEYS strings in the table."""

    def ask(server: MeasuredServer) -> list[Group]:
        load.load_keys(server.port, KEYS, value_bytes)
        return groups()

    return ask


def _same(kind: str, shape: Shape) -> Case:
    """One command; what redis-benchmark asks too."""
    ask = _on_strings(lambda: [Group(*shape, strings(kind, KEYS, _SHORT_BYTES))], _SHORT_BYTES)
    return Case(f"own-{kind.lower()}-{shape.name}", "own-generator", f"{kind} {shape}", _set_up(ask))


def _mixed(shape: Shape) -> Case:
    ask = _on_strings(lambda: [Group(*shape, load.mixed(0.8, KEYS, VALUE_BYTES))])
    return Case(f"mixed-{shape.name}", "mixed", f"80 % GET, 20 % SET {shape}", _set_up(ask))


def _varied(shape: Shape) -> Case:
    def ask(server: MeasuredServer) -> list[Group]:
        load.load(server.port, load.filled_for_varied(KEYS, VALUE_BYTES))
        return [Group(*shape, load.varied(KEYS, VALUE_BYTES))]

    return Case(f"varied-{shape.name}", "mixed", f"seven commands {shape}", _set_up(ask))


def _verb(verb: str, line: Callable[[int], bytes], command: str) -> Case:
    """One verb; `command`: what Valkey has instead, none if empty."""

    def ask(server: MeasuredServer) -> list[Group]:
        is_ours = server.name == KVSTORE
        load.load(server.port, load.documents(KEYS) if is_ours else load.sets(range(KEYS), VALUE_BYTES))
        return [Group(50, 1, load.lines(verb, line, KEYS) if is_ours else strings(command, KEYS, VALUE_BYTES))]

    title = f"{verb} 50" + (f", or {command}" if command else "")
    return Case(f"{verb}-50", "documents", title, _set_up(ask), (KVSTORE, VALKEY) if command else (KVSTORE,))


def _apart(name: str, readers: int, writers: int, is_slow: bool = False) -> Case:
    """So many clients that only GET, and so many that only SET."""
    clients = {"GET": readers, "SET": writers}
    ask = _on_strings(lambda: [Group(n, 1, strings(kind, KEYS, VALUE_BYTES)) for kind, n in clients.items() if n])
    title = " beside ".join(f"{n} {kind}" for kind, n in clients.items() if n)
    group = "slow-disk" if is_slow else "beside-writes"
    return Case(name, group, title, _set_up(ask, is_slow), weight=2 if is_slow else 1)


def cases() -> list[Case]:
    """All of them, table by table."""
    shapes = (Shape(50), Shape(200), Shape(50, 16))
    return [
        *(_same(kind, shape) for kind in ("SET", "GET") for shape in shapes),
        _mixed(Shape(50)),
        _mixed(Shape(50, 16)),
        _varied(Shape(50, 16)),
        _verb("insert", load.insert_line, "SET"),
        _verb("lookup", load.lookup_line, "GET"),
        _verb("query", load.query_line, ""),
        _apart("gets-beside-16-writers", 16, 16),
        _apart("gets-beside-5-writers", 50, 5),
        _apart("slow-disk-gets", 50, 0, is_slow=True),
        _apart("slow-disk-gets-beside-5-writers", 50, 5, is_slow=True),
        _apart("slow-disk-set-50", 0, 50, is_slow=True),
    ]
