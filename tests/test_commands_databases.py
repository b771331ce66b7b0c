"""Databases, as clients see them: SELECT, MOVE, SWAPDB, COPY to another one, FLUSHDB and FLUSHALL, WATCH in several."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.store.store import Store
from kvstore.values import TYPES
from tests.kit.harness import CommandTestCase
from tests.kit.serving import Serving


class DatabaseTests(CommandTestCase):
    """One client."""

    def test_each_has_its_keys(self) -> None:
        """Those of the one that was chosen last."""
        self.script("""
            SET a 0 -> OK
            SELECT 1 -> OK
            GET a -> None
            SET a 1 -> OK
            DBSIZE -> 1
            SELECT 0 -> OK
            GET a -> b'0'
            FLUSHDB -> OK
            DBSIZE -> 0
            SELECT 1 -> OK
            GET a -> b'1'
            FLUSHALL -> OK
            GET a -> None
        """)

    def test_move_and_copy(self) -> None:
        """A key goes with its deadline, unless there is one of its name."""
        self.do("SET", "a", "x", "PX", 5000)
        self.script("""
            MOVE a 0 -> !ERR source and destination objects are the same
            MOVE a 16 -> !ERR DB index is out of range
            MOVE a x -> !ERR value is not an integer or out of range
            COPY a a DB 2 -> 1
            COPY a a DB 2 -> 0
            MOVE a 1 -> 1
            MOVE a 1 -> 0
            SELECT 1 -> OK
            PTTL a -> 5000
            SELECT 2 -> OK
            PTTL a -> 5000
            SET a y -> OK
            MOVE a 1 -> 0
        """)

    def test_swap(self) -> None:
        """Clients that have chosen one of them see what was in the other; twice is as before."""
        other = self.rig.connect()
        self.do("SET", "a", "x", "PX", 5000)
        self.do("SELECT", 1, by=other)
        self.do("SET", "b", "y", by=other)
        self.assertEqual(str(self.do("SWAPDB", 0, 1).text), "OK")
        self.assertEqual((self.do("GET", "b"), self.do("GET", "a", by=other)), (b"y", b"x"))
        self.assertEqual(self.do("PTTL", "a", by=other), 5000)
        self.rig.now_ms += 5000
        self.assertEqual(self.do("GET", "a", by=other), None)
        self.do("SWAPDB", 0, 1)
        self.assertEqual((self.do("GET", "a"), self.do("GET", "b", by=other)), (None, b"y"))

    def test_a_block_that_is_undone(self) -> None:
        """The client speaks of the database that it spoke of before."""
        self.do("MULTI")
        self.do("SELECT", 3)
        self.do("SET", "a", "x" * 1000)
        self.rig.room_bytes = 100
        self.rig.store.pending.begin(2)
        self.assertIn("MISCONF", str(self.do("EXEC")))
        self.assertEqual(self.rig.call.client.database, 0)
        self.assertIs(self.rig.call.table, self.rig.table)

    def test_watching_in_several(self) -> None:
        """A change of the key of that name in another database is none; flushes and swaps are."""
        other = self.rig.connect()
        for change, refused in (
            ([("SET", "a", 1)], False),
            ([("SELECT", 1), ("SET", "a", 1)], True),
            ([("SELECT", 1), ("FLUSHDB",)], True),
            ([("SWAPDB", 1, 5)], True),
            ([("SWAPDB", 4, 5)], False),
            ([("FLUSHALL",)], True),
        ):
            self.do("SELECT", 1)
            self.do("SET", "a", 0)
            self.do("WATCH", "a")
            self.do("SELECT", 0, by=other)
            for request in change:
                self.do(*request, by=other)
            self.do("MULTI")
            self.assertEqual(self.do("EXEC") != [], refused, change)

    def test_a_swap_brings_a_watched_key(self) -> None:
        """One that was not there when it was watched."""
        other = self.rig.connect()
        self.do("SELECT", 5, by=other)
        self.do("SET", "a", 0, by=other)
        self.do("WATCH", "a")
        self.do("SWAPDB", 0, 5, by=other)
        self.do("MULTI")
        self.assertNotEqual(self.do("EXEC"), [])

    def test_a_swap_brings_an_expired_key(self) -> None:
        """Which is none: whoever watched none, or one that had expired too, is told nothing."""
        other = self.rig.connect()
        for number in (5, 0):
            self.do("SELECT", 5, by=other)
            self.do("SET", "a", 0, "PX", 1, by=other)
            self.do("SET", "a", 0, "PX", 1, by=other if number else self.rig.call)
            self.rig.now_ms += 1
            self.do("WATCH", "a")
            self.do("SWAPDB", 0, 5, by=other)
            self.do("MULTI")
            self.assertEqual(self.do("EXEC"), [])

    def test_info_and_client_list(self) -> None:
        """Say which database has keys, and which one a client has chosen; RESET chooses the first."""
        self.do("SELECT", 9)
        self.do("SET", "a", 1, "PX", 100)
        self.assertIn("db9:keys=1,expires=1", self.do("INFO", "keyspace"))
        self.assertNotIn("db0", self.do("INFO", "keyspace"))
        self.assertIn(" db=9 ", str(self.do("CLIENT", "LIST")))
        self.do("RESET")
        self.assertEqual(self.do("GET", "a"), None)


class TogetherTests(SynchronousTestCase):
    """Many clients in several databases."""

    def test_one_turn(self) -> None:
        """Pipelines and single requests of clients in different databases are one commit, which recovery reads."""
        serving = Serving()
        clients = [serving.connect() for _ in range(6)]
        for number, client in enumerate(clients):
            client.ask(b"SELECT %d" % (number % 3))
        for number, client in enumerate(clients):
            client.ask(b"".join(_set(b"k%d" % key, b"%d" % number) for key in range(number, number + 10)))
            client.ask(b"INCR n")
        serving.close()
        serving.settle()
        expected: list[Any] = [table.values for table in serving.store.databases]
        self.assertEqual([values[b"n"] for values in expected[:3]], [b"2", b"2", b"2"])
        self.assertEqual(expected[2][b"k5"], b"5")
        again = Store(serving.disk.kill(), TYPES, lambda: 0, bytes)
        self.assertEqual([table.values for table in again.databases], expected)


def _set(key: bytes, value: bytes) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
