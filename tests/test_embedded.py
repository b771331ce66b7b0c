"""The store within a program: batches, errors, who may use it, what calls do by the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore import embedded
from kvstore.base.limits import DATABASES
from kvstore.base.reply import NULL_ARRAY, BigNumber, Pairs, Status
from kvstore.embedded import database
from kvstore.embedded.words import to_plain, to_word
from kvstore.testing.fates import AllLost
from kvstore.testing.simulated_disk import SimulatedDisk


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the run of the tests."""


class EmbeddedTestCase(SynchronousTestCase):
    """A store on a simulated disk."""

    def setUp(self) -> None:
        """Open it."""
        self.disk = SimulatedDisk(record=False)
        self.db = self.open(self.disk)

    def open(self, disk: Any, **options: Any) -> embedded.EmbeddedStore:
        """Open what is on a disk."""
        given = {"sync": True, "databases": DATABASES, "compact_after_entries": None} | options
        return embedded.EmbeddedStore(disk, **given)

    def after_power_cut(self) -> embedded.EmbeddedStore:
        """What is left when all that was not synced is lost."""
        return self.open(self.disk.crash(AllLost()))

    @contextmanager
    def time_passes(self, seconds: float) -> Iterator[None]:
        """The clock by which calls look after things has gone on by so much."""
        self.db._tidied_s -= seconds
        self.db._looked_s -= seconds
        yield


class DurabilityTests(EmbeddedTestCase):
    """What is on disk, and when."""

    def test_a_call_is_on_disk_when_it_returns(self) -> None:
        """A power cut right behind it loses nothing."""
        self.db("SET", "a", 1)
        self.assertEqual(self.after_power_cut()("GET", "a"), b"1")

    def test_a_batch_is_one_commit(self) -> None:
        """All of it goes on disk when it ends, nothing before."""
        before = self.db._store.durable_sequence
        with self.db.batch() as db:
            db("SET", "a", 1)
            with db.batch():
                db("SELECT", 3)
                db("SET", "b", 2)
            self.assertEqual(self.db._store.durable_sequence, before)
        self.assertEqual(self.db._store.durable_sequence, before + 1)
        found = self.after_power_cut()
        self.assertEqual((found("GET", "a"), found("SELECT", 3), found("GET", "b")), (b"1", "OK", b"2"))

    def test_what_leaves_a_batch_undoes_it(self) -> None:
        """In memory and on disk, the database that was chosen too; an error that is caught within undoes its call."""
        self.db("RPUSH", "l", "x")
        with self.assertRaises(ZeroDivisionError), self.db.batch() as db:
            db("SELECT", 1)
            db("SET", "other", 1)
            db("SELECT", 0)
            db("RPUSH", "l", "y")
            self.assertRaises(embedded.RequestError, db, "INCR", "l")
            raise ZeroDivisionError
        for each in (self.db, self.after_power_cut()):
            self.assertEqual(each("LRANGE", "l", 0, -1), [b"x"])
            self.assertEqual(each("INFO", "keyspace").count("db"), 1)

    def test_an_error_within_a_batch_undoes_its_call_alone(self) -> None:
        """The rest is committed."""
        with self.db.batch() as db:
            db("SET", "a", "x")
            self.assertRaises(embedded.RequestError, db, "INCR", "a")
        self.assertEqual(self.after_power_cut()("GET", "a"), b"x")

    def test_without_sync(self) -> None:
        """It is on disk after a second of calls, and when it is closed."""
        self.db = self.open(SimulatedDisk(record=False), sync=False)
        self.db("SET", "a", 1)
        self.assertLess(self.db._store.durable_sequence, self.db._store.settled_sequence())
        with self.time_passes(2):
            self.db("PING")
        self.assertEqual(self.db._store.durable_sequence, self.db._store.settled_sequence())
        self.db("SET", "a", 2)
        self.db.close()
        self.assertEqual(self.db._store.durable_sequence, self.db._store.settled_sequence())

    def test_after_a_failed_sync_nothing_more(self) -> None:
        """Memory knows what the disk may not: every call says so, until it is opened again."""
        self.db("SET", "a", 1)
        self.disk.fail("sync", errno.EIO)
        self.assertRaises(embedded.StorageFault, self.db, "SET", "a", 2)
        self.assertRaises(embedded.StorageFault, self.db, "GET", "a")
        self.db.close()

    def test_an_interrupt_in_the_middle_of_a_change(self) -> None:
        """Nobody knows what it left: the store has failed."""

        def interrupted(*_: object) -> None:
            raise Interrupted

        self.patch(database.dispatch, "run_inside", interrupted)
        self.assertRaises(Interrupted, self.db, "SET", "a", 1)
        self.assertRaises(embedded.StorageFault, self.db, "GET", "a")


class ByTheWayTests(EmbeddedTestCase):
    """What a server does by its timers, calls do."""

    def test_expired_keys_are_removed(self) -> None:
        """Not only when they are asked for."""
        self.db("SET", "a", 1, "PXAT", 1)
        self.db("SET", "b", 1, "PX", 1)
        self.patch(database.time, "time_ns", lambda: 4_000_000_000 * 10**9)
        with self.time_passes(1):
            self.db("PING")
        self.assertEqual(self.db("DBSIZE"), 0)

    def test_a_compaction_that_is_due(self) -> None:
        """The call that finds it due makes it; what was there is there."""
        self.db = self.open(SimulatedDisk(record=False), compact_after_entries=10)
        for number in range(25):
            self.db("SET", f"k{number}", number)
        self.assertEqual(self.db._store.compactions, 2)
        self.db("BGSAVE")
        self.assertEqual(self.db._store.compactions, 3)
        self.db.close()
        self.assertEqual(self.open(self.db._disk)("DBSIZE"), 25)

    def test_compact_says_why_it_cannot(self) -> None:
        """Nothing is changed, and the store goes on."""
        self.db("SET", "a", 1)
        self.patch(database, "merge", self.no_merge)
        self.assertRaisesRegex(embedded.RequestError, "the compaction failed: no room", self.db.compact)
        self.assertEqual(self.db("GET", "a"), b"1")

    def no_merge(self, *_: object) -> int:
        """Fails."""
        raise OSError("no room")


class UseTests(SynchronousTestCase):
    """Who may use it, and when."""

    def setUp(self) -> None:
        """A directory."""
        self.path = Path(self.mktemp()).absolute()
        self.db = embedded.open(self.path)
        self.addCleanup(self.db.close)

    def test_one_at_a_time(self) -> None:
        """A second opening is refused, another process's too; after the first is closed it is not."""
        self.assertRaisesRegex(embedded.DirectoryInUse, "in use", embedded.open, self.path)
        self.db.close()
        self.db.close()
        self.assertRaisesRegex(embedded.MisuseError, "closed", self.db, "PING")
        with embedded.open(self.path) as db:
            self.assertEqual(db("PING"), "PONG")

    def test_threads_take_turns(self) -> None:
        """No increment is lost, and no batch sees half of another."""

        def increment() -> None:
            for _ in range(20):
                with self.db.batch():
                    seen.append(self.db("INCR", "a") == self.db("INCR", "b"))

        seen: list[bool] = []
        threads = [threading.Thread(target=increment) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((self.db("GET", "a"), set(seen)), (b"80", {True}))

    def test_a_forked_process_is_refused(self) -> None:
        """It has its parent's log and lock; to close it there closes nothing."""
        self.patch(database.os, "getpid", lambda: 1)
        self.assertRaisesRegex(embedded.MisuseError, "forked", self.db, "PING")
        self.db.close()
        self.patch(database.os, "getpid", lambda: self.db._process)
        self.assertEqual(self.db("PING"), "PONG")

    def test_not_within_a_batch(self) -> None:
        """Its commit is not closed yet."""
        with self.db.batch():
            self.assertRaises(embedded.MisuseError, self.db.close)
            self.assertRaises(embedded.MisuseError, self.db.compact)

    def test_commands_for_clients(self) -> None:
        """They are refused; what would wait does not."""
        for words in ("SUBSCRIBE c", "MULTI", "EXEC", "WATCH a", "MONITOR", "SHUTDOWN", "SAVE", "RESET"):
            self.assertRaisesRegex(embedded.RequestError, "EMBEDDING", self.db, *words.split())
        self.assertRaisesRegex(embedded.RequestError, "wrong number", self.db, "GET")
        self.assertEqual(self.db("BLPOP", "a", 0), None)
        self.assertEqual(self.db("PUBLISH", "c", "m"), 0)

    def test_documents(self) -> None:
        """As a client of a server has them."""
        db = self.db
        db.insert("zebra", {"weight": 100, "tags": [1, None]})
        db.insert("zebra2", {"weight": 100.0})
        db("SET", "word", "no JSON")
        self.assertEqual((db.lookup("zebra"), db.size()), ({"weight": 100, "tags": [1, None]}, 3))
        self.assertEqual(sorted(key for key, _ in db.query("weight", 100)), ["zebra", "zebra2"])
        db.remove("zebra2")
        for verb in (db.remove, db.lookup):
            self.assertRaises(KeyError, verb, "zebra2")
        self.assertRaisesRegex(embedded.RequestError, "not JSON", db.lookup, "word")
        self.assertRaises(TypeError, db.insert, "a", object())
        self.assertRaises(embedded.RequestError, db.query, "weight", [1])

    def test_it_imports_no_twisted(self) -> None:
        """A plain script stays one."""
        script = "import sys; from kvstore import embedded; print([n for n in sys.modules if 'twisted' in n])"
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        self.assertEqual(done.stdout, "[]\n", done.stderr)


class WordTests(SynchronousTestCase):
    """Words and replies as plain values."""

    def test_words(self) -> None:
        """Text, bytes and numbers; nothing else."""
        given = ["é", b"\xff", 12, 1.5, 1e21, bytearray(b"x")]
        self.assertEqual([to_word(each) for each in given], [b"\xc3\xa9", b"\xff", b"12", b"1.5", b"1e+21", b"x"])
        for bad in (True, None, ["x"]):
            self.assertRaises(TypeError, to_word, bad)

    def test_replies(self) -> None:
        """At any depth; what is no reply is a bug."""
        self.assertEqual(to_plain([Status("OK"), (BigNumber("1"), NULL_ARRAY)]), ["OK", [1, None]])
        self.assertEqual(to_plain(Pairs([(b"a", [b"b"])])), [(b"a", [b"b"])])
        self.assertRaises(TypeError, to_plain, object())
