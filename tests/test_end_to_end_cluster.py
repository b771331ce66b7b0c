"""Groups over a real etcd that split the keys, as clients of Redis Cluster see them when a leader is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.retry import Retry
from twisted.trial.unittest import SkipTest, TestCase

from kvstore.base.slots import slot_of
from kvstore.testing.server_process import PATIENCE_S
from tests.kit.etcd import MISSING, Etcd
from tests.kit.group_processes import GroupServer, RealGroup
from tests.kit.server_process import eventually
from tests.suites.clients.installed import CannotInstall, default_cache, install
from tests.suites.clients.program import all_programs

#: What redis-py raises of a request of which nobody knows whether it was done, or that nobody takes just now.
NOT_NOW = redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError

#: How many answers show that a client goes on.
_MORE = 100


def new_etcd(cleanup: Callable[..., object]) -> Etcd:
    """One of a test's own: all groups with slots in it are one cluster."""
    etcd = Etcd()
    cleanup(etcd.close)
    return etcd


@pytest.mark.long
class ClusterTests(TestCase):
    """Groups of one server each."""

    skip = MISSING

    def test_a_leader_is_killed(self) -> None:
        """redis-py finds each key, and goes on when the server of one group was killed and started again."""
        parts = ("0-5460", "5461-10922", "10923-16383")
        etcd = new_etcd(self.addCleanup)
        groups = [RealGroup(etcd, self.addCleanup, "--slots", part, servers=1) for part in parts]
        servers = [group.servers[0] for group in groups]
        for server in servers:
            with server.client() as client:
                eventually(lambda client=client: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        nodes = [ClusterNode("127.0.0.1", server.port) for server in servers]
        with RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=PATIENCE_S) as client:
            for number in range(50):
                client.set(f"key{number}", number)
            for server in servers:
                with server.client() as one:
                    self.assertGreater(one.dbsize(), 5)
            servers[0].kill()
            servers[0].start()
            eventually(lambda: servers[0].leads)
            self.assertEqual([client.incr(f"key{number}") for number in range(50)], list(range(1, 51)))


class Pushing(threading.Thread):
    """Pushes one value after the other to a list, each once, whatever comes of it, until it is stopped.

    `acknowledged`: the values that were.
    """

    def __init__(self, client: RedisCluster, key: str, name: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.stops = False
        self._client, self._key, self._name = client, key, name
        self.start()

    def count(self) -> int:
        """How many they are."""
        return len(self.acknowledged)

    def run(self) -> None:
        """See Thread."""
        for number in itertools.count():
            if self.stops:
                return
            value = f"{self._key}:{self._name}:{number}"
            with contextlib.suppress(*NOT_NOW):
                self._client.rpush(self._key, value)
                self.acknowledged.append(value)


class Reading(threading.Thread):
    """Reads the newest value of a list, until it is stopped. `seen`: what it saw."""

    def __init__(self, client: RedisCluster, key: str) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.stops = False
        self._client, self._key = client, key
        self.start()

    def count(self) -> int:
        """How many they are."""
        return len(self.seen)

    def run(self) -> None:
        """See Thread."""
        while not self.stops:
            with contextlib.suppress(*NOT_NOW):
                newest = self._client.lindex(self._key, -1)
                if newest is not None:
                    self.seen.add(str(newest))


@pytest.mark.long
class FailoverTests(TestCase):
    """Two groups of three servers each; one's leader is killed under load."""

    skip = MISSING

    def setUp(self) -> None:
        """Start them, until each server knows all."""
        etcd = new_etcd(self.addCleanup)
        self.groups = [RealGroup(etcd, self.addCleanup, "--slots", part) for part in ("0-8191", "8192-16383")]
        self.servers = [server for group in self.groups for server in group.servers]
        for server in self.servers:
            eventually(partial(_followers_known, server), lambda known: known == [2, 2])
        self.nodes = [ClusterNode("127.0.0.1", server.port) for server in self.servers]
        names = [f"list{number}" for number in range(100)]
        self.keys = [next(name for name in names if slot_of(name.encode()) // 8192 == part) for part in (0, 1)]

    def client(self, **options: Any) -> RedisCluster:
        """redis-py's; it repeats nothing by itself."""
        client = RedisCluster(
            startup_nodes=self.nodes, decode_responses=True, socket_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0),
            **options,
        )  # fmt: skip
        self.addCleanup(client.close)
        return client

    def kill_a_leader(self) -> None:
        """kill -9 of the first group's, which its parent process starts again."""
        leader = self.groups[0].leader()
        os.kill(leader.pid, signal.SIGKILL)

    def check(self, acknowledged: list[str], seen: Set[str] = frozenset()) -> dict[str, int]:
        """What was acknowledged, or seen, is in the lists, in each writer's order. Returns how often each value is."""
        client, counts = self.client(), Counter[str]()
        for key in self.keys:
            values: list[Any] = client.lrange(key, 0, -1)
            counts.update(values)
            of_writers: dict[str, list[int]] = {}
            for value in values:
                _, writer, number = value.split(":")
                of_writers.setdefault(writer, []).append(int(number))
            self.assertEqual([each for each in of_writers.values() if each != sorted(each)], [])
        self.assertEqual([value for value in (*acknowledged, *seen) if value not in counts], [])
        return counts

    def test_redis_py(self) -> None:
        """Writers at the leaders and readers at the followers go on by themselves; nothing that was acknowledged, and
        nothing that a follower showed, is lost.
        """
        writers = self.client()
        readers = self.client(load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN_REPLICAS)
        pushing = [Pushing(writers, key, name) for key in self.keys for name in "ab"]
        reading = [Reading(readers, key) for key in self.keys]
        everybody: list[Pushing | Reading] = [*pushing, *reading]
        self.addCleanup(_stop, everybody)
        _go_on([each.count for each in everybody])
        self.kill_a_leader()
        _go_on([each.count for each in everybody])
        _stop(everybody)
        acknowledged = [value for each in pushing for value in each.acknowledged]
        counts = self.check(acknowledged, set().union(*(each.seen for each in reading)))
        self.assertEqual(set(counts.values()), {1})
        followers = [server for group in self.groups for server in group.followers()]
        self.assertGreater(sum(map(_reads, followers)), _MORE)

    def test_ioredis(self) -> None:
        """The same of ioredis's Cluster: its writers go on. What lost its connection it repeats by itself."""
        process = self.start_ioredis()
        assert process.stdin is not None and process.stdout is not None
        acknowledged: list[str] = []
        gathering = threading.Thread(target=_gather, args=(process.stdout, acknowledged), daemon=True)
        gathering.start()
        counts = [partial(_count, acknowledged, f"{key}:") for key in self.keys]
        _go_on(counts)
        self.kill_a_leader()
        _go_on(counts)
        process.stdin.close()
        self.assertEqual(process.wait(PATIENCE_S), 0)
        gathering.join()
        self.check(acknowledged)

    def start_ioredis(self) -> subprocess.Popen[str]:
        """The program that writes with it. Raises SkipTest where it cannot be had."""
        installed = next(each for each in all_programs() if each.name == "ioredis_client")
        try:
            _, variables = install(installed, default_cache())
        except CannotInstall as error:
            raise SkipTest(str(error)) from None
        variables |= {"PORTS": " ".join(str(server.port) for server in self.servers), "KEYS": " ".join(self.keys)}
        process = subprocess.Popen(
            ["node", str(Path(__file__).parent / "kit" / "cluster_writer.js")], env=os.environ | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


def _followers_known(server: GroupServer) -> list[int]:
    """How many followers it knows of each group."""
    try:
        with server.client() as client:
            parts = client.execute_command("CLUSTER SLOTS")
    except redis.RedisError:
        return []
    return [len(part) - 3 for part in parts]


def _reads(server: GroupServer) -> int:
    """How many LINDEX it has answered."""
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_lindex", {}).get("calls", 0))


def _gather(lines: Iterable[str], texts: list[str]) -> None:
    texts.extend(line.rstrip("\n") for line in lines)


def _count(texts: list[str], prefix: str) -> int:
    return sum(text.startswith(prefix) for text in texts)


def _go_on(counts: Sequence[Callable[[], int]]) -> None:
    """Return when each is higher than now by a good deal."""
    wanted = [count() + _MORE for count in counts]
    eventually(lambda: all(count() >= enough for count, enough in zip(counts, wanted, strict=True)))


def _stop(threads: Sequence[Pushing | Reading]) -> None:
    for each in threads:
        each.stops = True
    for each in threads:
        each.join()
