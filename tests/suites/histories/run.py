"""Histories of the real server for the checker in `tests.suites.histories.checker`: clients, kills, and what they saw.

Several clients (`client`), a thread each, work on the same few keys, one request at a time, and note when they called,
when the answer came and what it was. In the middle the server is killed with kill -9 and started again; what was not
answered then is noted as unknown, and the clients go on. At the end every key is read. The keys are new in each
history; what is asked about them is a `Workload`. Each start of the server has another `--overlap` than the one before.

With little memory keys are evicted. That is in the log, and becomes an operation of the history, `EVICT key`, with its
time: after the commit before the one that it is in, and before that. So a key may be gone only when that explains it,
and is gone from then on.

Used by tests/test_linearizability.py for a few histories, and by scripts/linearizability for many.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvstore.edge.settings import OverlapPolicy
from kvstore.testing.server_process import ServerProcess
from tests.kit.logged import commits_after
from tests.kit.server_process import Wire
from tests.suites.histories.checker import REFUSED, UNKNOWN, Operation, check
from tests.suites.histories.client import Client
from tests.suites.histories.workloads import HASH_FIELDS, WORKLOADS
from tests.suites.kills.run import OVERLAPS, POLICIES, startup_bytes

#: What `--max-memory` leaves for keys; by how much the clocks may differ that clients and logs have their times from.
_ROOM_BYTES, _CLOCKS_S = 2 * 2**20, 0.003


@dataclass
class Counts:
    """What happened so far. `by_command`: answered operations; a CAS that was refused is `CAS refused`, a SET of a
    pipeline `SET pipelined`. `by_overlap`: answered operations under each policy. `together`: requests that the servers
    executed together, as far as these could still be asked. `evicted`: keys of histories.
    """

    histories: int = 0
    kills: int = 0
    operations: int = 0
    unknown: int = 0
    refused: int = 0
    groups: int = 0
    together: int = 0
    evicted: int = 0
    check_seconds: float = 0.0
    by_command: Counter[str] = field(default_factory=Counter)
    by_overlap: Counter[str] = field(default_factory=Counter)


class ConcurrentRun:
    """Histories on one data directory, one after the other. Ends with `stop`.

    `data`: the directory. `seed`: of what the clients ask and when the server is killed. `options`: of the server;
    `overlaps`: for its `--overlap`, one start after the other.
    `ending`: the signal that ends it in the middle of each history, after `longest_s` seconds of load at most.
    `padding_bytes`: how much longer each value is than it need be. `clients`: how many there are. `workload`: one of
    WORKLOADS. `evicts`: whether the server has so little memory that keys are evicted; clients must remove none, then.
    """

    def __init__(
        self, data: Path, seed: int, options: Sequence[str] = (), ending: signal.Signals = signal.SIGKILL,
        longest_s: float = 0.25, padding_bytes: int = 0, overlaps: Sequence[OverlapPolicy] = OVERLAPS,
        clients: int = 6, workload: str = "keys", evicts: bool = False,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.ending = ending
        self._longest_s = longest_s
        self._clients = clients
        self._workload = WORKLOADS[workload]
        self._padding_bytes = padding_bytes
        self.counts = Counts()
        self._random = random.Random(seed)
        self._values = itertools.count(1)
        self._options = tuple(options)
        self._data, self._archive = data, data.with_name(data.name + "-archive")
        self._logged = 0
        self._evicts = evicts
        self._policies = itertools.cycle(POLICIES["allkeys"] if evicts else ())
        if evicts:
            most_bytes = startup_bytes(data.with_name(data.name + "-empty")) + _ROOM_BYTES
            self._options += ("--max-memory", str(most_bytes), "--keep-log", str(self._archive))
        self._overlaps = itertools.cycle(overlaps)
        self.server = ServerProcess(*self._next_options(), data=data)

    def _next_options(self) -> tuple[str, ...]:
        self._overlap = next(self._overlaps)
        policy = ("--max-memory-policy", next(self._policies)) if self._evicts else ()
        return (*self._options, "--overlap", self._overlap, *policy)

    def stop(self) -> None:
        """Kill the server, if it runs."""
        self.server.kill()

    def check_one(self) -> None:
        """Record one history, with a kill and a start in the middle, and check it. Raises NotLinearizable."""
        history = self.record()
        began = time.monotonic()
        self._workload.check(history)
        self.counts.groups += check(history)
        self.counts.check_seconds += time.monotonic() - began
        self.counts.histories += 1

    def record(self) -> list[Operation]:
        """One history."""
        prefix = b"h%d" % self.counts.histories
        killer = threading.Timer(self._random.uniform(0, self._longest_s), self.server.signal, [self.ending])
        history = self._phase("before", prefix, killer)
        killer.join()
        status = self.server.wait()
        assert status in (-self.ending, 0), f"the server ended with status {status}: {self.server.log[-5:]}"
        self.counts.kills += 1
        self.server.options = self._next_options()
        self.server.start()
        history += self._phase("after", prefix, None)
        last = Client("reader", self.server.port, prefix, self._random, self._values)
        with last.connection:
            self._workload.read_all(last)
        history += last.history
        with Wire(self.server.port) as wire:
            self.counts.together += int(wire.info("group_commit")["requests_together"])
        for operation in history:
            self._count(operation)
        return [*history, *self._evictions(prefix)] if self._evicts else history

    def _evictions(self, prefix: bytes) -> list[Operation]:
        """What has become of this history's keys, as the log says, by the clients' clock."""
        found, after_us = [], 0
        ahead_s = time.time() - time.monotonic()
        for commit in commits_after(self._logged, self._data, self._archive):
            for database, (name, key, *_) in commit.operations:
                if name == b"DEL" and key.startswith(prefix + b":"):
                    between = after_us / 1e6 - ahead_s - _CLOCKS_S, commit.time_us / 1e6 - ahead_s + _CLOCKS_S
                    registers = [b"%b.%b" % (key, field) for field in HASH_FIELDS] if database else [key]
                    found += [Operation("eviction", *between, (b"EVICT", each), None) for each in registers]
                    self.counts.evicted += 1
            self._logged, after_us = commit.sequence, commit.time_us
        return found

    def _phase(self, name: str, prefix: bytes, killer: threading.Timer | None) -> list[Operation]:
        clients = [
            Client(
                f"{name}{number}",
                self.server.port,
                prefix,
                random.Random(self._random.random()),
                self._values,
                self._padding_bytes,
                killer is not None,
                self._workload.kinds,
            )
            for number in range(self._clients)
        ]
        for client in clients:
            client.start()
        if killer is not None:
            killer.start()
        for client in clients:
            client.join()
        history = [operation for client in clients for operation in client.history]
        self.counts.by_overlap[self._overlap] += sum(operation.result is not UNKNOWN for operation in history)
        return history

    def _count(self, operation: Operation) -> None:
        counts = self.counts
        counts.operations += 1
        if operation.result is UNKNOWN:
            counts.unknown += 1
            return
        if operation.result is REFUSED or (isinstance(operation.result, list) and REFUSED in operation.result):
            counts.refused += 1
            return
        name = operation.words[0].decode()
        if b":pipelined:" in operation.words[1]:
            name += " pipelined"
        if operation.words[3:] == (b"NX",):
            name += " NX"
        counts.by_command[name + (" refused" if name in ("CAS", "SET NX") and operation.result is None else "")] += 1
