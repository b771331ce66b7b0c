"""kill -9 under load, over and over: what was acknowledged is there, what was in flight is there whole or not at all.

One process writes on many connections to the real server; at a random moment the server is killed; it is started again
on the same data, its whole table is read, and compared. Then the next round goes on from what was found, so that
recovered states are written to and recovered again. Now and then a start is killed too, or the child that compacts.

Each client (`Writer`) has keys of its own, so what they hold is known exactly: it is the state after the requests that
were acknowledged, and after the first j of those that were in flight (sent, not answered when the connection broke),
for some j from 0 on: a client's requests execute in their order. Any other state is a violation: something
acknowledged was lost, half a request was done, something was done twice or out of order, or a key came from nowhere.

Across clients: every MULTI block increments a counter of its client's and one that all share, in one transaction. So
the shared one is the sum of the others, after any crash; no two blocks are answered the same number; and once anybody
has read a number there, no crash leads back behind it.

Some more clients share queues, wait for elements, and may vanish meanwhile: `queues` tells what holds of those. With
little memory there are some whose keys may be evicted: `evictable`; if all keys may, there are no others.

What is sent is a mix of RESP and JSON lines on the same connection, a number of requests at a time, pipelines of SET
and of GET among them, on values of all types in several databases, scripts that write several at once, raise, or are
late, and one client's libraries of functions (`functions`); with every reply checked against the model. Each start has
another `--overlap` than the one before.
Rejected: a client library (its retries and its buffers would be tested too, and it sends one request at a time); keys
that clients share freely (then what was in flight may have been done in any order, and nearly every state found is
some possible one).

Used by tests/test_end_to_end_kill.py for a few rounds, and by scripts/kill_rounds for many.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection
from kvstore.edge.settings import OverlapPolicy
from kvstore.store import checkpoint
from kvstore.store.examine import segments_of
from kvstore.testing.server_process import ServerProcess, command, environment
from scripts.measuring.processes import children
from tests.kit.logged import commits_after
from tests.kit.server_process import Wire
from tests.suites.kills.evictable import EvictableClient
from tests.suites.kills.queues import QUEUES, STREAM, QueueClient, Queues
from tests.suites.kills.reading import ask, read_database, read_libraries
from tests.suites.kills.request import (
    DATABASES,
    Held,
    Unknown,
    Violation,
    as_text,
    library_place,
    place,
)
from tests.suites.kills.writer import SHARED, Writer

#: Log entries after which to compact, one drawn for each start: nearly always, now and then, by the default policy.
COMPACT_AFTER = (50, 300, 2000, None)

#: Requests that a client has on the way, one drawn for each round.
DEPTHS = (1, 1, 4, 16)

#: For `--overlap`, one start after the other.
OVERLAPS: tuple[OverlapPolicy, ...] = ("always", "auto", "never")

#: Clients that share the queues; those whose keys may be evicted.
_QUEUE_CLIENTS, _EVICTABLE_CLIENTS = 4, 3

#: For `--max-memory-policy`, one start after the other: by which keys may be evicted.
POLICIES = {
    "allkeys": ("allkeys-lru", "allkeys-lfu", "allkeys-random"),
    "volatile": ("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
}
#: What `--max-memory` leaves for the keys that may be evicted, and all else.
_ROOM_BYTES = 5 * 2**20

_PATIENCE_S = 60.0


@dataclass
class Counts:
    """What happened so far. `by_overlap`: requests acknowledged under each policy. Of the queues: elements that came
    out, those that were on their way to a client that died, and clients that vanished.
    """

    rounds: int = 0
    starts_killed: int = 0
    children_killed: int = 0
    acknowledged: int = 0
    blocks_acknowledged: int = 0
    in_flight: int = 0
    in_flight_done: int = 0
    checkpoints: int = 0
    killed_while_compacting: int = 0
    keys: int = 0
    taken: int = 0
    missing: int = 0
    vanished: int = 0
    evicted: int = 0
    missed: int = 0
    by_overlap: Counter[str] = field(default_factory=Counter)
    start_seconds: list[float] = field(default_factory=list)


class Line:
    """The connection of one writer in one round."""

    def __init__(self, writer: Writer | QueueClient | EvictableClient, address: Address, depth: int) -> None:
        self.writer = writer
        self.socket = socket.create_connection(address, _PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._depth = depth
        self._rest = b""

    def fill(self) -> None:
        """Send requests until as many are in flight as there may be. Whether they arrive is for the replies to tell."""
        data = b""
        while len(self.writer.in_flight) < self._depth:
            data += self.writer.next_request()
        if data:
            with contextlib.suppress(OSError):
                self.socket.sendall(data)

    def take(self) -> list[tuple[Unknown, int]] | None:
        """Read what is there; returns what could not be known before, None when the server is gone.

        Raises Violation.
        """
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        return [heard for line in lines if (heard := self.writer.hear(line)) is not None]


class KillRun:
    """A run over many rounds on one data directory.

    `data`: the directory. `clients`: how many write. `seed`: of all that is random here (the server's timing is not).
    `options`: of the server. `longest_seconds`: of load in one round, before the kill. `overlaps`: for `--overlap`, one
    start after the other. `evict`: give it so little memory that keys are evicted, by a row of `POLICIES`; with
    `allkeys` there are no `clients` but those that know it. Ends with `stop`.
    """

    def __init__(
        self,
        data: Path,
        clients: int,
        seed: int,
        options: Sequence[str] = (),
        longest_seconds: float = 1.0,
        overlaps: Sequence[OverlapPolicy] = OVERLAPS,
        evict: str | None = None,
    ) -> None:
        self.counts = Counts()
        self.data = data
        self._random = random.Random(seed)
        self._options = tuple(options)
        self._longest_seconds = longest_seconds
        self._overlaps = itertools.cycle(overlaps)
        self._overlap = ""
        self._policies = itertools.cycle(POLICIES.get(evict or "", ()))
        self._archive = data.with_name(data.name + "-archive")
        self._settled = 0  # the last commit that was held against what clients were told
        self._is_exact = evict != "allkeys"
        clients = clients if self._is_exact else 0
        self.writers = [Writer(f"c{i}", random.Random(f"{seed}/{i}"), has_functions=not i) for i in range(clients)]
        self.queues = Queues(_QUEUE_CLIENTS if self._is_exact else 0, seed)
        evictable = _EVICTABLE_CLIENTS if evict else 0
        self.evictable = [EvictableClient(i, random.Random(f"{seed}/e{i}")) for i in range(evictable)]
        self._numbers: set[int] = set()
        self._highest_read = 0
        self._checkpoint: tuple[int, int] | None = None
        self._startup_bytes = startup_bytes(data.with_name(data.name + "-empty")) if evict else 0
        self.server = self._start()
        with self.connect() as connection:
            if not self._is_exact:
                return
            ask(connection, ("SET", SHARED, "0", "NX"))  # so that it can be read from the beginning
            ask(connection, ("XGROUP", "CREATE", STREAM, "g", "0", "MKSTREAM"))

    def connect(self) -> RawConnection:
        """A connection to look at what there is."""
        return RawConnection(Address("127.0.0.1", self.server.port))

    def round(self) -> None:
        """Load, kill, start, compare. Raises Violation."""
        self._load_until_killed()
        self.counts.rounds += 1
        self._look_at_files()
        self._look_at_log()
        if self._random.random() < 0.2:
            self._kill_a_start()
        self.server = self._start()
        self.compare()

    def stop(self) -> None:
        """Kill the server, if it runs."""
        self.server.kill()

    def restart_in_order(self) -> None:
        """End the server with SIGTERM, start it again, and compare: nothing was in flight. Raises Violation."""
        status = self.server.stop()
        if status not in (0, -signal.SIGTERM):  # twistd ends in order, then by the signal that it was sent
            raise Violation(f"SIGTERM: the server ended with status {status}")
        self._look_at_log()
        self.server = self._start()
        self.compare()
        if self.evictable:  # what the start found is held against the log when there is a next one
            self._load_until_killed()
            self._look_at_log()

    # Starting

    def _start(self) -> ServerProcess:
        began = time.monotonic()
        server = ServerProcess(*self._draw_options(), data=self.data)
        self.counts.start_seconds.append(time.monotonic() - began)
        return server

    def _draw_options(self) -> list[str]:
        after = self._random.choice(COMPACT_AFTER)
        self._overlap = next(self._overlaps)
        options = [*self._options, *self._memory_options()]
        return [*options, "--overlap", self._overlap, *(["--compact-after", str(after)] if after else [])]

    def _memory_options(self) -> list[str]:
        if not self.evictable:
            return []
        most = ["--max-memory", str(self._startup_bytes + _ROOM_BYTES), "--max-memory-policy", next(self._policies)]
        return [*most, "--keep-log", os.fspath(self._archive)]

    def _kill_a_start(self) -> None:
        """Start, and kill at a moment when it may be importing, recovering, or listening."""
        words = command("--port", "0", "--data", os.fspath(self.data), *self._draw_options())
        silent = subprocess.DEVNULL
        with subprocess.Popen(words, stdin=silent, stdout=silent, stderr=silent, env=environment()) as process:
            time.sleep(self._random.uniform(0, 1.5) * min(self.counts.start_seconds))
            process.kill()
        self.counts.starts_killed += 1

    # Load

    def _load_until_killed(self) -> None:
        """Write on all connections until the killer, who comes when he likes, has ended them all. Raises Violation."""
        depth = self._random.choice(DEPTHS)
        address = Address("127.0.0.1", self.server.port)
        before = self._acknowledged()
        lines = [Line(each, address, depth) for each in (*self.writers, *self.queues.clients, *self.evictable)]
        kill_at = self._random.uniform(0, self._longest_seconds)
        plan = [(kill_at, lambda: self.server.signal(signal.SIGKILL))]
        if self._random.random() < 0.3:
            plan.append((self._random.uniform(0, kill_at), self._kill_child))
        killers = [threading.Timer(*entry) for entry in plan]
        for killer in killers:
            killer.start()
        try:
            self._serve(lines)
        finally:
            for killer in killers:
                killer.join()
            for line in lines:
                line.socket.close()
        status = self.server.wait()
        if status != -signal.SIGKILL:
            raise Violation(f"the server ended by itself, with status {status}: {self.server.log[-5:]}")
        acknowledged = self._acknowledged() - before
        self.counts.acknowledged += acknowledged
        self.counts.by_overlap[self._overlap] += acknowledged

    def _acknowledged(self) -> int:
        return sum(each.acknowledged for each in (*self.writers, *self.evictable))

    def _serve(self, lines: list[Line]) -> None:
        with selectors.DefaultSelector() as selector:
            for line in lines:
                selector.register(line.socket, selectors.EVENT_READ, line)
                line.fill()
            while selector.get_map():
                events = selector.select(_PATIENCE_S)
                if not events:
                    raise Violation(f"nothing was answered for {_PATIENCE_S:g} s")
                for key, _ in events:
                    self._exchange(selector, key.data)

    def _exchange(self, selector: selectors.BaseSelector, line: Line) -> None:
        """Read the replies that are there and send more requests; forget the connection when it is gone."""
        heard = line.take()
        vanishes = heard is not None and isinstance(line.writer, QueueClient) and line.writer.vanish()
        if heard is None or vanishes:
            selector.unregister(line.socket)
            line.socket.close()
            self.counts.vanished += vanishes
            return
        for what, number in heard:
            self._note(what, number)
        line.fill()

    def _note(self, what: Unknown, number: int) -> None:
        """A number of the shared counter was told, to a block that incremented it or to a reader."""
        if what is Unknown.READ:
            self._highest_read = max(self._highest_read, number)
        elif what is Unknown.BLOCK:
            self.counts.blocks_acknowledged += 1
            if number in self._numbers:
                raise Violation(f"two blocks were told that the shared counter is {number}")
            self._numbers.add(number)

    def _kill_child(self) -> None:
        """Kill the compaction process, if there is one."""
        with contextlib.suppress(OSError):  # the child was faster
            for child in children(self.server.pid):
                os.kill(child, signal.SIGKILL)
                self.counts.children_killed += 1

    # Looking at what is left

    def _look_at_files(self) -> None:
        """Count what the kill has hit: sealed segments or a half-written checkpoint mean that it compacted."""
        names = sorted(entry.name for entry in self.data.iterdir())
        if segments_of(names) or any(name.endswith(".tmp") for name in names):
            self.counts.killed_while_compacting += 1
        if checkpoint.NAME in names:
            status = (self.data / checkpoint.NAME).stat()
            identity = (status.st_ino, status.st_mtime_ns)
            self.counts.checkpoints += identity != self._checkpoint
            self._checkpoint = identity

    def _look_at_log(self) -> None:
        """Hold what clients whose keys may be evicted were told against the log. Raises Violation."""
        if not self.evictable:
            return
        commits = commits_after(self._settled, self.data, self._archive)
        self._settled = commits[-1].sequence if commits else self._settled
        for client in self.evictable:
            self.counts.in_flight += len(client.in_flight)
            self.counts.in_flight_done += client.settle(commits)
        self.counts.evicted = sum(client.evicted for client in self.evictable)
        self.counts.missed = sum(client.missed for client in self.evictable)
        shutil.rmtree(self._archive, ignore_errors=True)  # it has been read

    def compare(self) -> None:
        """Read the whole table and compare it with what every client knows. Raises Violation."""
        if not self._is_exact:
            return
        found = self._read_all()
        self.counts.keys = len(found)
        shared = int(found.pop(SHARED))  # type: ignore[arg-type]
        self.queues.settle({key: found.pop(key) for key in QUEUES if key in found})
        self.counts.taken, self.counts.missing = len(self.queues.taken), self.queues.missing
        by_client: dict[str, dict[bytes, Held]] = {writer.name: {} for writer in self.writers}
        for at, held in found.items():
            owner = at.rpartition(b"/")[2].partition(b":")[0].decode("utf-8", "replace")
            if owner not in by_client:
                raise Violation(f"the key {at!r} was never written")
            by_client[owner][at] = as_text(json.loads(held)) if b":document:" in at else held  # type: ignore[arg-type]
        for writer in self.writers:
            self.counts.in_flight += len(writer.in_flight)
            self.counts.in_flight_done += writer.settle(by_client[writer.name])
        blocks = sum(writer.blocks() for writer in self.writers)
        if shared != blocks:
            raise Violation(f"half a transaction: the shared counter is {shared}, the clients' blocks are {blocks}")
        if max(self._numbers, default=0) > shared:
            raise Violation(f"a block was told {max(self._numbers)}, and the shared counter is {shared}")
        if self._highest_read > shared:
            raise Violation(f"the shared counter was read as {self._highest_read}, and is {shared}")

    def _read_all(self) -> dict[bytes, Held]:
        """Every key (see `place`) and what it holds."""
        found: dict[bytes, Held] = {}
        with self.connect() as connection:
            for database in range(DATABASES):
                ask(connection, ("SELECT", b"%d" % database))
                found.update({place(database, key): held for key, held in read_database(connection)})
            found.update((library_place(name), source) for name, source in read_libraries(connection))
        return found


def startup_bytes(data: Path) -> int:
    """What a server takes that has nothing."""
    with ServerProcess(data=data) as server, Wire(server.port) as wire:
        return int(wire.info("memory")["used_memory_startup"])
