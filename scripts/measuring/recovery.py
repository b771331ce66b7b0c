"""How long a server takes to start with a million keys, and what they take in memory; Valkey's the same beside it.

The table is loaded into an empty server, which is killed (kill -9) and started again: it recovers from its log. Then it
compacts, is killed, and recovers from its checkpoint. A start lasts from when the process is made until it says
`Listening` (Valkey: until it answers PING), so it includes the start of the interpreter and the imports; what an empty
server takes is given too. The files are in the page cache: nothing is said of a cold disk.

Memory per key is the process's resident memory less that of an empty server, by the number of keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kvstore.base.limits import MIB
from scripts.measuring.bench import NEVER_COMPACT, START_SECONDS, VALKEY_NEVER_COMPACT, Bench
from scripts.measuring.load import WrongReply, load_keys
from scripts.measuring.results import Check, Result, Table, median, spread
from scripts.measuring.servers import MeasuredServer

VALUE_BYTES = 100
TARGET_SECONDS = 4.0
TARGET_BYTES_PER_KEY = 350


class Start(NamedTuple):
    """One start: `seconds` it took, and the memory that the server had then."""

    seconds: float
    resident_bytes: int


class Peer(NamedTuple):
    """What was found of one server: the starts of an empty one, from a log and from a checkpoint."""

    name: str
    empty: list[Start]
    from_log: list[Start]
    from_checkpoint: list[Start]
    loaded_bytes: int

    def bytes_per_key(self, resident_bytes: float, keys: int) -> float:
        """Memory for each key, over that of an empty server."""
        return (resident_bytes - median(start.resident_bytes for start in self.empty)) / keys


def measure(bench: Bench, name: str, start: Callable[[str], MeasuredServer]) -> Peer:
    """All starts of one server. `start`: makes one on the directory of that name."""
    keys, rounds = bench.effort.keys, bench.effort.rounds
    empty = [start_once(start, f"{name}-empty", 0) for _ in range(rounds)]
    server = start(f"{name}-full")
    load_keys(server.port, keys, VALUE_BYTES)
    loaded = server.resident_bytes()
    server.kill()
    from_log = [start_once(start, f"{name}-full", keys) for _ in range(rounds)]
    server = start(f"{name}-full")
    compact(server)
    server.kill()
    from_checkpoint = [start_once(start, f"{name}-full", keys) for _ in range(rounds)]
    return Peer(name, empty, from_log, from_checkpoint, loaded)


def start_once(start: Callable[[str], MeasuredServer], directory: str, keys: int) -> Start:
    """Start, weigh, count the keys, kill. Raises WrongReply if it does not have them all."""
    server = start(directory)
    resident = server.resident_bytes()
    found = server.ask("DBSIZE")
    server.kill()
    if found != keys:
        raise WrongReply(f"{server.name} has {found!r} keys after its start, not {keys}")
    return Start(server.start_seconds, resident)


def compact(server: MeasuredServer) -> None:
    """Merge the log into a checkpoint, and wait until that is done. Raises WrongReply."""
    reply = server.ask("BGREWRITEAOF")
    if not str(reply).startswith("+"):
        raise WrongReply(f"{server.name} answered BGREWRITEAOF with {reply!r}")
    deadline = time.monotonic() + START_SECONDS
    while not _has_compacted(server.info()):
        if time.monotonic() > deadline:
            raise WrongReply(f"{server.name} has not compacted after {START_SECONDS:g} s: {server.info()}")
        time.sleep(0.1)


def _has_compacted(info: dict[str, str]) -> bool:
    if "compactions" in info:
        return info["compactions"] != "0" and info["compaction_in_progress"] == "0"
    return info["aof_rewrite_in_progress"] == "0" and int(info["aof_base_size"]) > 0 and info["aof_rewrites"] != "0"


def run(bench: Bench) -> Result:
    """Measure both servers, one after the other: each needs the memory and both processors."""
    ours = measure(bench, "kvstore", lambda name: bench.kvstore(name, *NEVER_COMPACT))
    bench.progress.show(0.6)
    theirs = measure(bench, "Valkey", lambda name: bench.valkey(name, *VALKEY_NEVER_COMPACT))
    return _result(bench, ours, theirs)


def _result(bench: Bench, ours: Peer, theirs: Peer) -> Result:
    keys = bench.effort.keys
    checks = []
    for what, starts in (("log", ours.from_log), ("checkpoint", ours.from_checkpoint)):
        seconds = median(start.seconds for start in starts)
        checks.append(Check(f"start from the {what}, {keys:,} keys", f"{seconds:.2f} s", f"under {TARGET_SECONDS:g} s",
                            seconds < TARGET_SECONDS))  # fmt: skip
    for what, resident in _weights(ours):
        per_key = ours.bytes_per_key(resident, keys)
        checks.append(Check(f"resident memory, {what}", f"{per_key:.0f} bytes a key",
                            f"at most {TARGET_BYTES_PER_KEY} bytes", per_key <= TARGET_BYTES_PER_KEY))  # fmt: skip
    method = (
        f"{keys:,} keys of 16 bytes with values of {VALUE_BYTES}, loaded over one connection. Starts from each"
        f" state: {bench.effort.rounds}, each ended by kill -9; medians. From the start of the process to `Listening`"
        " (Valkey: to the first PONG); the files are in the page cache. There is no load."
    )
    raw: dict[str, Any] = {peer.name: peer._asdict() for peer in (ours, theirs)}
    tables = [_starts_table(keys, ours, theirs), _memory_table(keys, ours, theirs)]
    return Result("Recovery", method, tables, checks, raw)


def _weights(peer: Peer) -> list[tuple[str, float]]:
    """Resident bytes with all keys, at three moments."""
    return [
        ("after loading", peer.loaded_bytes),
        ("recovered from the log", median(start.resident_bytes for start in peer.from_log)),
        ("recovered from the checkpoint", median(start.resident_bytes for start in peer.from_checkpoint)),
    ]


def _starts_table(keys: int, *peers: Peer) -> Table:
    rows = []
    for peer in peers:
        for what in ("empty", "from_log", "from_checkpoint"):
            seconds = [start.seconds for start in getattr(peer, what)]
            rows.append([f"{peer.name}, {what.replace('_', ' ')}", f"{median(seconds):.2f}", spread(seconds, places=2)])
    return Table(f"Seconds to start with {keys:,} keys", ["", "seconds", "range"], rows)


def _memory_table(keys: int, *peers: Peer) -> Table:
    rows = []
    for peer in peers:
        empty = median(start.resident_bytes for start in peer.empty)
        rows.append([f"{peer.name}, empty", f"{empty / MIB:.0f}", "-"])
        for what, resident in _weights(peer):
            per_key = f"{peer.bytes_per_key(resident, keys):.0f}"
            rows.append([f"{peer.name}, {what}", f"{resident / MIB:.0f}", per_key])
    return Table(f"Resident memory with {keys:,} keys", ["", "MiB", "bytes a key"], rows)
