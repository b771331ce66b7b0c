"""`maxmemory`: who is refused, and which keys go."""

from __future__ import annotations

import itertools
from unittest import mock

from kvstore.commands.eviction import size_bytes
from kvstore.commands.facts import facts_of
from kvstore.commands.memory_limit import GROW
from kvstore.commands.registry import table as commands
from kvstore.commands.used_memory import NoAllocators
from kvstore.testing.fates import AllLost
from kvstore.wire.resp import pack
from tests.kit.serving import OK, Serving, SessionTestCase

REFUSED = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


class _Counted(NoAllocators):
    """What is allocated is what the keys of all databases take, what they have left in the tables, and the log."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def allocated_bytes(self) -> int:
        """See `Allocators`."""
        used = self._serving.server.memory.used
        keys = sum(size_bytes(*pair) for table in self._serving.store.databases for pair in table.values.items())
        return keys + used.left_bytes() + used.not_counted_bytes()


class _TestCase(SessionTestCase):
    """A server whose memory is what its keys take."""

    def setUp(self) -> None:
        """See the class."""
        super().setUp()
        self.measured(self.serving)

    @staticmethod
    def measured(serving: Serving) -> None:
        """What is allocated is what the keys of all databases take, and what is on its way to the log."""
        memory = serving.server.memory
        serving.server.random.seed(1)
        memory.steady_ns = lambda: 0  # there is time for everything
        memory.measure_by(_Counted(serving), 0)

    def configure(self, **settings: str) -> None:
        """CONFIG SET."""
        for name, value in settings.items():
            self.assertEqual(self.one.told(f"CONFIG SET {name.replace('_', '-')} {value}"), OK)

    def evicted(self) -> int:
        """How many keys had to go."""
        return self.serving.server.memory.eviction.evicted


class RefusalTests(_TestCase):
    """Without a policy."""

    def setUp(self) -> None:
        """There is one key, and no memory for more."""
        super().setUp()
        self.one.told("SET large " + 5000 * "x")
        self.configure(maxmemory="1000")

    def test_which_commands(self) -> None:
        """What would grow something is refused, and counted as that; anything else is served, and ends it."""
        self.assertEqual(self.one.told("SET a 1"), REFUSED)
        self.assertEqual(self.one.told("MSETNX a 1"), REFUSED)
        self.assertEqual(self.one.told("GET a", "STRLEN large", "TTL large"), b"$-1\r\n:5000\r\n:-1\r\n")
        self.assertIn(
            "rejected_calls=1,failed_calls=0", self.serving.server.statistics[commands.by_name[b"SET"]].shown()
        )
        self.assertEqual(self.one.told("DEL large", "SET a 1"), b":1\r\n" + OK)

    def test_without_time(self) -> None:
        """However little there is: it is refused if none may go, and if one may, that goes before. What waits to be
        freed is freed before any goes.
        """
        clock = itertools.count(0, 1_000_000_000)
        self.serving.server.memory.steady_ns = lambda: next(clock)
        garbage = self.serving.store.garbage
        with mock.patch.object(type(garbage), "__len__", return_value=1):
            self.assertEqual(self.one.told("SET a 1"), REFUSED)
            self.configure(maxmemory_policy="allkeys-random")
            self.assertEqual(self.one.told("SET a 1", "EXISTS large", "DEL a"), OK + b":1\r\n:1\r\n")
            self.configure(maxmemory_policy="noeviction")
        for _ in range(3):
            self.assertEqual(self.one.told("SET a 1"), REFUSED)
        self.configure(maxmemory_policy="allkeys-random")
        self.assertEqual(self.one.told("SET a 1", "EXISTS large"), OK + b":0\r\n")

    def test_json(self) -> None:
        """A JSON line is told so as well."""
        answer = self.one.told('{"method":"insert","key":"a","value":1}')
        self.assertIn(b'"result":"failure"', answer)
        self.assertIn(b"maxmemory", answer)

    def test_pipelines(self) -> None:
        """Each request of a pipeline is refused, though it goes by columns else."""
        self.assertEqual(self.one.told(*(f"SET k{i} 1" for i in range(20))), 20 * REFUSED)

    def test_blocks(self) -> None:
        """It is refused to be queued, and if memory has become short since, to be executed."""
        discarded = b"-EXECABORT Transaction discarded because of"
        answer = self.one.told("MULTI", "SET a 1", "EXEC")
        self.assertEqual(answer, OK + REFUSED + discarded + b" previous errors.\r\n")
        self.configure(maxmemory="0")
        self.one.told("MULTI", "GET a", "SET a 1")
        self.two.told("CONFIG SET maxmemory 1000")
        self.assertEqual(self.one.told("EXEC"), discarded + b": " + REFUSED[1:])
        self.assertEqual(self.one.told("MULTI", "GET a", "EXEC"), OK + b"+QUEUED\r\n*1\r\n$-1\r\n")

    def test_scripts(self) -> None:
        """What may grow something is refused, unless the script says it may, or has changed something before."""

        def run(flags: str, source: str) -> bytes:
            return self.one.told(pack(b"EVAL", (flags + source).encode(), b"0"))

        grows = "return redis.call('SET', 'a', 1)"
        told = b"-OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'\r\n"
        self.assertIn(REFUSED[1:30], run("", grows))
        self.assertIn("rejected_calls=1,", self.serving.server.statistics[commands.by_name[b"SET"]].shown())
        self.assertEqual(run("#!lua\n", grows), told)
        self.assertEqual(run("#!lua flags=no-writes\n", "return 1"), b":1\r\n")
        self.assertEqual(run("#!lua flags=allow-oom\n", grows), OK)
        self.assertEqual(run("", "redis.call('DEL', 'a') " + grows), OK)

    def test_for_how_long(self) -> None:
        """INFO tells for how long memory has been short, since the last CONFIG RESETSTAT."""
        memory = self.serving.server.memory
        later_ns = memory.steady_ns() + 5_000_000_000
        memory.steady_ns = lambda: later_ns
        self.assertEqual([ms // 1000 for ms in memory.exceeded_ms()], [5, 5])
        self.one.told("CONFIG RESETSTAT")
        self.assertEqual(memory.exceeded_ms(), (0, 0))

    def test_it_costs_nothing_without(self) -> None:
        """Plain requests have their quick way while there is memory, and while there is no limit."""
        plain = self.serving.server.statistics.plain
        self.assertNotIn(b"SET", plain)
        self.assertIn(b"GET", plain)
        self.configure(maxmemory="0")
        self.assertIn(b"SET", plain)


class EvictionTests(_TestCase):
    """With a policy."""

    def fill(self, number: int = 300, options: str = "") -> None:
        """So many keys, some 1.3 kB each, in a pipeline of ten each time."""
        for begin in range(0, number, 10):
            some = (f"SET key:{i:05d} {1200 * 'x'}{options}" for i in range(begin, begin + 10))
            self.assertEqual(self.one.told(*some), 10 * OK)

    def test_any(self) -> None:
        """Some of all keys are there afterwards, as many as there is room for; the same after a restart."""
        self.configure(maxmemory="100kb", maxmemory_policy="allkeys-random")
        self.fill()
        keys = len(self.serving.table.values)
        self.assertTrue(60 < keys < 100, keys)
        self.assertEqual(self.evicted() + keys, 300)
        recovered = Serving(self.serving.disk.kill())
        self.assertEqual(recovered.table.values, self.serving.table.values)

    def test_those_with_deadlines(self) -> None:
        """Others stay; when none of these is left, writes are refused."""
        self.one.told("SET stays 1", "SET soon 1 EX 10")
        self.configure(maxmemory="100kb", maxmemory_policy="volatile-random")
        self.fill(options=" EX 1000")
        self.assertGreater(self.evicted(), 0)
        self.assertIn(b"stays", self.serving.table.values)
        self.configure(maxmemory="10")
        self.assertEqual(self.one.told("SET a 1"), REFUSED)
        self.assertEqual(list(self.serving.table.values), [b"stays"])

    def best_of_all(self, policy: str) -> None:
        """Under this policy, looking at many keys each time."""
        self.configure(maxmemory_policy=policy, maxmemory_samples="64")

    def test_not_asked_for(self) -> None:
        """What was asked for last stays, under LRU."""
        self.best_of_all("allkeys-lru")
        self.fill(60)
        self.serving.now_ms += 1000
        for i in range(0, 60, 2):
            self.one.told(f"GET key:{i:05d}")
        self.serving.now_ms += 1000
        self.configure(maxmemory="60kb")
        self.one.told("SET a 1")
        self.assertGreater(self.evicted(), 5)
        self.assertEqual([f"key:{i:05d}".encode() in self.serving.table.values for i in range(0, 60, 2)], 30 * [True])

    def test_seldom_asked_for(self) -> None:
        """What was asked for often stays, under LFU."""
        self.best_of_all("volatile-lfu")
        self.fill(60, " EX 1000")
        for i in range(0, 60, 2):
            self.one.told(*20 * [f"GET key:{i:05d}"])
        self.configure(maxmemory="60kb")
        self.one.told("SET a 1")
        self.assertGreater(self.evicted(), 5)
        self.assertEqual([f"key:{i:05d}".encode() in self.serving.table.values for i in range(0, 60, 2)], 30 * [True])

    def test_soon_gone(self) -> None:
        """What expires next goes first, under TTL."""
        self.best_of_all("volatile-ttl")
        self.fill(60)
        for i in range(60):
            self.one.told(f"EXPIRE key:{i:05d} {1000 - i}")
        self.configure(maxmemory="60kb")
        self.one.told("SET a 1")
        self.assertEqual(
            [int(key[4:]) for key in list(self.serving.table.values)[:-1]], list(range(60 - self.evicted()))
        )

    def test_all_databases(self) -> None:
        """Keys go in other databases than the client's, too."""
        self.two.told("SELECT 3", "SET there " + 5000 * "x")
        self.configure(maxmemory="2000", maxmemory_policy="allkeys-random")
        self.assertEqual(self.one.told("SET a 1"), OK)
        self.assertEqual(self.two.told("DBSIZE"), b":0\r\n")

    def test_who_is_told(self) -> None:
        """There is an event `evicted`, and none of a removal; who watches has lost."""
        self.one.told("SET a " + 5000 * "x")
        self.configure(notify_keyspace_events="KEA", maxmemory_policy="allkeys-lru")
        self.one.told("WATCH a", "MULTI", "GET a")
        self.two.told("PSUBSCRIBE __key*")
        third = self.serving.connect()
        third.told("CONFIG SET maxmemory 1000", "SET b 1")
        heard = self.two.released()
        self.assertIn(pack(b"pmessage", b"__key*", b"__keyevent@0__:evicted", b"a"), heard)
        self.assertLess(heard.index(b"evicted"), heard.index(b":set"))
        self.assertNotIn(b":del", heard)
        self.assertEqual(self.one.told("EXEC"), b"*-1\r\n")

    def test_an_error_changes_nothing_else(self) -> None:
        """An eviction is a request of its own: it stands when the request before which it came fails."""
        self.one.told("SET a " + 5000 * "x", "HSET h f 1")
        self.configure(maxmemory_policy="allkeys-lru")
        self.serving.now_ms += 1000
        self.one.told("HGET h f", "CONFIG SET maxmemory 1000")
        self.assertIn(b"-WRONGTYPE", self.one.told("APPEND h 1"))
        self.assertEqual(self.evicted(), 1)
        self.assertNotIn(b"a", Serving(self.serving.disk.kill()).table.values)

    def test_between_requests(self) -> None:
        """The server sees to it by itself, in slices, when nobody asks for anything."""
        self.fill(100)
        self.configure(maxmemory_policy="allkeys-random")
        self.one.told("CONFIG SET maxmemory 20kb")
        while self.serving.server.memory.see_to_it():
            pass
        self.assertLess(len(self.serving.table.values), 20)
        self.assertFalse(self.serving.server.memory.is_over)

    def test_a_look_that_takes_long(self) -> None:
        """It is not taken again soon; meanwhile memory grows as the process does."""
        memory = self.serving.server.memory
        self.patch(_Counted, "took_ns", 10**9)
        self.one.told("SET a " + 3000 * "x")
        used = memory.used.now_bytes()
        self.one.told("SET b " + 3000 * "x")
        self.assertEqual(memory.used.now_bytes(), used)
        with mock.patch.object(_Counted, "resident_bytes", lambda self: 3000):
            self.assertEqual(memory.used.now_bytes(), used + 3000)

    def test_after_a_power_cut(self) -> None:
        """What was evicted and is not on disk yet is there again, as are all other changes of that time."""
        self.configure(maxmemory="30kb", maxmemory_policy="allkeys-random")
        self.fill(50)
        settled = dict(self.serving.table.values)
        for i in range(50):
            self.one.ask(f"SET other:{i} {1000 * 'y'}")
        self.assertNotEqual(self.serving.table.values, settled)
        self.assertEqual(Serving(self.serving.disk.crash(AllLost())).table.values, settled)

    def test_none_during_a_pause(self) -> None:
        """While writes are paused nothing goes."""
        self.fill(100)
        self.configure(maxmemory_policy="allkeys-random")
        self.one.told("CLIENT PAUSE 100000 WRITE", "CONFIG SET maxmemory 20kb")
        self.serving.server.memory.see_to_it()
        self.assertEqual(self.evicted(), 0)


class FlagTests(_TestCase):
    """Which commands are asked."""

    def test_as_valkey(self) -> None:
        """Those that Valkey flags `denyoom`, and a verb of our own."""
        names = {row.name for row in commands.all_rows() if "denyoom" in facts_of(row.name.lower()).get("flags", [])}
        self.assertEqual(names | {"INSERT"}, GROW & {row.name for row in commands.all_rows()})
