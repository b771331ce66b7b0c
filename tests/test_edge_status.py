"""INFO and CLIENT LIST on the real server: the fields that Redis's programs read, with values that are true."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from unittest import SkipTest

import redis
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MIB
from kvstore.base.sizes import human
from kvstore.edge.status import Pace
from kvstore.testing.server_process import PATIENCE_S
from tests.kit.server_process import Serving, eventually

#: What redis_exporter and redis-cli --stat look for in INFO, of what has a meaning here.
_READ_BY_MONITORS = {
    "server": ["uptime_in_seconds", "process_id", "redis_version", "redis_mode", "os", "tcp_port", "run_id"],
    "clients": ["connected_clients", "blocked_clients", "maxclients", "watching_clients", "total_watched_keys"],
    "memory": ["used_memory", "used_memory_human", "used_memory_rss", "used_memory_peak", "maxmemory"],
    "persistence": [
        "loading", "rdb_changes_since_last_save", "rdb_bgsave_in_progress", "rdb_last_save_time",
        "rdb_last_bgsave_status", "rdb_last_bgsave_time_sec", "aof_enabled", "aof_rewrite_in_progress",
        "aof_last_rewrite_time_sec", "aof_last_bgrewrite_status", "aof_last_write_status", "aof_current_size",
    ],
    "stats": [
        "total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec", "total_net_input_bytes",
        "total_net_output_bytes", "rejected_connections", "expired_keys", "evicted_keys", "keyspace_hits",
        "keyspace_misses",
    ],
    "cpu": ["used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"],
}  # fmt: skip


class PaceTests(SynchronousTestCase):
    """Requests a second."""

    def test_from_one_sample_to_the_next(self) -> None:
        """The count that was added, by the time that passed; never less than nothing."""
        clock, counts = Clock(), iter([100, 600, 50])
        pace = Pace(clock.seconds, lambda: next(counts))
        self.assertEqual(pace.per_second, 0)
        clock.advance(2)
        pace.sample()
        self.assertEqual(pace.per_second, 250)
        clock.advance(1)
        pace.sample()  # CONFIG RESETSTAT was in between
        self.assertEqual(pace.per_second, 0)

    def test_no_time_has_passed(self) -> None:
        """What was said before stands."""
        counts = iter([0, 5])
        pace = Pace(Clock().seconds, lambda: next(counts))
        pace.sample()
        self.assertEqual(pace.per_second, 0)


class HumanTests(SynchronousTestCase):
    """Bytes for people."""

    def test_units(self) -> None:
        """As Redis rounds and names them."""
        counts = (0, 1023, 1024, 1536, MIB, 3 * 1024 * MIB)
        self.assertEqual([human(count) for count in counts], ["0B", "1023B", "1.00K", "1.50K", "1.00M", "3.00G"])


class ServerTests(Serving, SynchronousTestCase):
    """What Redis's clients and monitors make of a real server."""

    def setUp(self) -> None:
        """A client of it."""
        self.client = redis.Redis(port=self.server.port)
        self.addCleanup(self.client.close)

    def test_the_secret_of_the_directory_stays_there(self) -> None:
        """SCAN's order and the merge's shares hang on the files' `store`, so nobody is told it who sends requests."""
        header = pathlib.Path(self.server.data, "table.txn").read_bytes()[:4096]
        secret = header.split(b" store=")[1][:32]
        for request in ("INFO everything", "CONFIG GET *", "CLIENT LIST", "CLIENT INFO", "HELLO 3"):
            self.assertNotIn(secret, repr(self.client.execute_command(*request.split())).encode(), request)

    def test_the_fields_of_monitors(self) -> None:
        """Each is there, in its section."""
        for section, fields in _READ_BY_MONITORS.items():
            told = self.client.info(section)
            self.assertEqual([field for field in fields if field not in told], [], section)

    def test_bytes_count(self) -> None:
        """Of all clients, those that are gone included; as many as were sent and received."""
        before = self.client.info("stats")
        with redis.Redis(port=self.server.port) as other:
            other.set("a", b"x" * 100_000)
            other.get("a")
        told = eventually(lambda: self.client.info("stats"), lambda _: len(self.client.client_list()) == 1)
        for field in ("total_net_input_bytes", "total_net_output_bytes"):
            self.assertGreater(told[field], before[field] + 100_000)
            self.assertLess(told[field], before[field] + 200_000)

    def test_events_of_latency(self) -> None:
        """A request that takes long is one, and so is the turn of the loop that it made long."""
        self.client.config_set("latency-monitor-threshold", 1)
        self.addCleanup(self.client.config_set, "latency-monitor-threshold", 0)
        self.client.eval("for _ = 1, 1000000 do end", 0)
        found = eventually(self.client.latency_latest, lambda events: len(events) > 1)
        self.assertLessEqual({b"command", b"eventloop"}, {event[0] for event in found})

    def test_a_client_in_a_list(self) -> None:
        """Its socket, what it sent and what it was sent; redis-py finds each number that it reads."""
        before = self.client.client_info()
        self.client.set("a", b"x" * 1000)
        after = self.client.client_info()
        self.assertGreater(int(after["tot-net-in"]), int(before["tot-net-in"]) + 1000)
        self.assertGreater(int(after["tot-net-out"]), int(before["tot-net-out"]))
        self.assertEqual(int(after["tot-cmds"]), int(before["tot-cmds"]) + 2)
        self.assertGreater(int(after["fd"]), 2)
        self.assertEqual((after["events"], after["oll"], after["redir"]), ("r", 0, "-1"))
        self.assertTrue(os.path.exists(f"/proc/{self.server.pid}/fd/{after['fd']}"))

    def test_redis_cli_stat(self) -> None:
        """A line of true numbers: keys, memory, clients, blocked, requests, connections."""
        if shutil.which("redis-cli") is None:
            raise SkipTest("redis-cli is not installed: on Debian, apt-get install redis-tools")
        self.client.mset({"a": 1, "b": 2})
        words = ["redis-cli", "-p", str(self.server.port), "--stat", "-i", "0.01"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = [process.stdout.readline() for _ in range(3)][2].split()
            process.kill()
            process.wait(PATIENCE_S)
        self.assertEqual((line[0], line[2], line[3]), ("2", "2", "0"), line)
        self.assertTrue(line[1].endswith("M"), line)
        self.assertNotIn("-", "".join(line))
