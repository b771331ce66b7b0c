"""Measure the log of a group in etcd, without a server: scripts/shared_log --appends 500 --elections 6

Three nodes of etcd, all on this machine. What is printed:

- appends of 1, 10 and 100 KB, one after the other: how many a second, processor time of this process for each, and
  latencies; beside them the same transaction by a bare socket that waits for its answer, to etcd's leader;
- how long after its append is acknowledged an entry is seen by two who watch, at twenty appends a second;
- for how long nothing can be appended, and nothing is seen, when etcd's leader is killed;
- how large etcd becomes when ten times its quota go through a log that is trimmed.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from kvstore.base.limits import KIB, MIB
from kvstore.base.shared_log import Appended
from kvstore.edge.etcd import gateway
from kvstore.edge.etcd.layout import Keys, number, value_of
from kvstore.edge.etcd.log import EtcdLog, open_log
from kvstore.edge.reactor import the_reactor
from tests.kit.etcd import Etcd
from tests.suites import program
from tests.suites.program import positive

_QUOTA_BYTES = 32 * MIB
_QUOTA_ENTRY_BYTES = 200 * KIB
_KEPT_ENTRIES = 10
_TRIM_EVERY = 40


def appended(log: EtcdLog, position: int, entry: bytes) -> Deferred[Appended]:
    """What becomes of an append."""
    outcome: Deferred[Appended] = Deferred()
    log.append(position, entry, outcome.callback)
    return outcome


def shown(latencies_s: Sequence[float]) -> str:
    """Percentiles, in milliseconds."""
    cuts = statistics.quantiles(latencies_s, n=100)
    return f"p50 {cuts[49] * 1e3:.2f}, p99 {cuts[98] * 1e3:.2f} ms"


class Measurement:
    """One etcd, and what is measured of logs in it."""

    def __init__(self, reactor: Any, appends: int, elections: int) -> None:
        self._reactor = reactor
        self._appends = appends
        self._elections = elections
        self._etcd = Etcd()

    async def run(self) -> None:
        """Measure and print all of it."""
        try:
            for length in (1000, 10_000, 100_000):
                self._bare(length)
                await self._one_by_one(length)
            await self._lag()
            await self._without_leader()
        finally:
            self._etcd.close()
        await self._through_quota()

    def _open(self, group: str) -> EtcdLog:
        return open_log(self._etcd.location, group, self._reactor)

    def _bare(self, length: int) -> None:
        """A socket that waits."""
        keys, latencies = Keys(f"bare{length}"), []
        with socket.create_connection(("127.0.0.1", self._etcd.leader.port)) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            for position in range(1, self._appends + 1):
                sent_s = time.perf_counter()
                wire.sendall(_request(keys, position, os.urandom(length)))
                answer = wire.recv(64 * KIB)
                assert b'"succeeded":true' in answer, answer
                latencies.append(time.perf_counter() - sent_s)
        self._print_appends("bare socket", length, time.perf_counter() - began_s, began_cpu_s, latencies)

    async def _one_by_one(self, length: int) -> None:
        """The log's own client."""
        log, latencies = self._open(f"log{length}"), []
        await appended(log, 1, b"it is connected")
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for position in range(2, self._appends + 2):
            sent_s = time.perf_counter()
            await appended(log, position, os.urandom(length))
            latencies.append(time.perf_counter() - sent_s)
        self._print_appends("the log", length, time.perf_counter() - began_s, began_cpu_s, latencies)
        log.stop()

    def _print_appends(self, what: str, length: int, took_s: float, cpu_s: float, latencies: Sequence[float]) -> None:
        cpu_ms = (time.process_time() - cpu_s) * 1e3 / self._appends
        rate = self._appends / took_s
        print(f"{what:12} {length:7,} bytes: {rate:4.0f} a second, {cpu_ms:.3f} ms of processor, {shown(latencies)}")

    async def _lag(self) -> None:
        """Between the acknowledgement and who watches; below nothing if the watch is first."""
        log, watching = self._open("lag"), [self._open("lag") for _ in range(2)]
        there: dict[int, float] = {}
        seen: list[tuple[int, float]] = []
        for each in watching:
            each.watch(1, lambda position, entry: seen.append((position, time.perf_counter())), print)
        for position in range(1, self._appends + 1):
            await appended(log, position, os.urandom(1000))
            there[position] = time.perf_counter()
            await deferLater(self._reactor, 0.05)
        lags = [seen_s - there[position] for position, seen_s in seen]
        print(f"seen {len(seen)} times; after the acknowledgement: {shown(lags)}, at most {max(lags) * 1e3:.2f} ms")
        for each in (log, *watching):
            each.stop()

    async def _without_leader(self) -> None:
        """Again and again its leader is killed; and started, when it was noticed how long that took."""
        appending, seeing = [], []
        for election in range(self._elections):
            self._etcd.heal()
            log, seen = self._open(f"election{election}"), [time.perf_counter()]
            log.watch(1, lambda position, entry, seen=seen: seen.append(time.perf_counter()), print)
            there, killed_s = [time.perf_counter()], 0.0
            while not killed_s or time.perf_counter() < killed_s + 4:
                if len(there) == 30:
                    self._etcd.leader.kill()
                    killed_s = time.perf_counter()
                await appended(log, len(there), b"entry")
                there.append(time.perf_counter())
            appending.append(_longest(there, killed_s))
            seeing.append(_longest(seen, killed_s))
            log.stop()
        for what, pauses in (("appended", appending), ("seen", seeing)):
            middle = statistics.median(pauses)
            print(f"nothing {what} when etcd's leader was killed: {middle:.2f} s, at most {max(pauses):.2f} s")

    async def _through_quota(self) -> None:
        """A small etcd of its own."""
        etcd = Etcd("--quota-backend-bytes", str(_QUOTA_BYTES))
        try:
            log, sizes = open_log(etcd.location, "quota", self._reactor), []
            count = 10 * _QUOTA_BYTES // _QUOTA_ENTRY_BYTES
            for position in range(1, count + 1):
                await appended(log, position, os.urandom(_QUOTA_ENTRY_BYTES))
                if position % _TRIM_EVERY == 0:
                    trimmed: Deferred[None] = Deferred()
                    log.trim(position - _KEPT_ENTRIES, lambda done=trimmed: done.callback(None))
                    await trimmed
                    said = [node.ask("/v3/maintenance/status") or {} for node in etcd.nodes]
                    sizes.append(max(int(each.get("dbSize", 0)) for each in said))
            log.stop()
        finally:
            etcd.close()
        largest, quota = max(sizes) / MIB, _QUOTA_BYTES // MIB
        print(f"{count} entries, 10 times the quota, trimmed: etcd had at most {largest:.0f} MiB of {quota}")


def _request(keys: Keys, position: int, entry: bytes) -> bytes:
    """What an append sends."""
    before = gateway.value_is(keys.head, b"EQUAL", number(position - 1)) if position > 1 else gateway.absent(keys.head)
    puts = [gateway.put(keys.entry(position), value_of(entry)), gateway.put(keys.head, number(position))]
    body = gateway.transaction([before], puts, [gateway.get(keys.head)])
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (gateway.TXN, len(body), body)


def _longest(moments: Sequence[float], since_s: float) -> float:
    """The longest time between two moments, since then."""
    return max(later - sooner for sooner, later in pairwise(moments) if later > since_s)


def main() -> int:
    """See the module."""
    parser = program.parser_of("shared_log", __doc__, seeded=False)
    parser.add_argument("--appends", type=positive, default=500, metavar="N", help="of each kind (default: 500)")
    parser.add_argument("--elections", type=positive, default=6, metavar="N", help="of etcd's leader (default: 6)")
    arguments = parser.parse_args()
    reactor = the_reactor()
    failures: list[Any] = []

    def begin() -> None:
        measuring: Coroutine[Any, Any, None] = Measurement(reactor, arguments.appends, arguments.elections).run()
        Deferred.fromCoroutine(measuring).addErrback(failures.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.printTraceback(sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    program.run(main)
