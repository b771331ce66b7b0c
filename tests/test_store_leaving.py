"""A server by itself opens no directory of a group; one that has left its group is a server's own for good."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from kvstore import embedded
from kvstore.base.disk import RealDisk
from kvstore.base.errors import StartRefused
from kvstore.store.examine import examine
from kvstore.store.group_store import GroupStore
from kvstore.store.joining import Incoming, read_piece
from kvstore.store.store import Store
from kvstore.values import TYPES
from tests.kit.group_stores import IDENTITY, lead_alone
from tests.kit.store_files import commit
from tests.kit.tools import read_files, run_tool


class LeavingTests(SynchronousTestCase):
    """A directory of a group, with one key."""

    def setUp(self) -> None:
        """See the class."""
        self.path = self.mktemp()
        self.write(b"key")

    def open(self, path: str) -> GroupStore:
        """As a server of the group."""
        random_bytes = random.Random(1).randbytes
        return GroupStore(RealDisk(path), TYPES, lambda: 1_700_000_000_000_000, random_bytes, identity=IDENTITY)

    def write(self, *keys: bytes, path: str = "", compact: bool = False) -> int:
        """Set some keys, in a group of that server alone; returns the last entry."""
        store = self.open(path or self.path)
        lead_alone(store)
        for key in keys:
            store.table.write(key, b"value", None)
            commit(store)
        store.sync()
        store.close()
        store._disk.unlock()
        return store.written_sequence()

    def keys(self) -> set[bytes]:
        """What a server by itself has, which writes nothing."""
        disk = RealDisk(self.path)
        try:
            store = Store(disk, TYPES, lambda: 1_700_000_000_000_000, random.Random(1).randbytes)
        finally:
            disk.unlock()
        store.close()
        return set(store.table.values)

    def test_a_server_by_itself_refuses_it(self) -> None:
        """So does a program that has it embedded; nothing was changed, and it is told what to do."""
        before = read_files(self.path)
        for start in (self.keys, lambda: embedded.open(self.path)):
            refused = self.assertRaises(StartRefused, start)
            self.assertIn("up to entry 2", str(refused))
            self.assertIn("--group", str(refused))
            self.assertIn("kvstore group leave DIR", str(refused))
        self.assertEqual(read_files(self.path), before)
        self.assertEqual(run_tool("verify", self.path)[0], 0)
        self.assertIn('"key"', run_tool("export", self.path)[1])

    def test_it_leaves(self) -> None:
        """With what it had; the group has it no more."""
        status, said = run_tool("group", "leave", self.path)
        self.assertEqual(status, 0, said)
        self.assertIn("up to entry 2", said)
        self.assertEqual(self.keys(), {b"key"})
        with embedded.open(self.path) as store:
            store("SET", "own", "1")
        found = examine(RealDisk(self.path), TYPES)
        self.assertEqual((found.sequence, found.lineage.entry), (4, ""))
        store = self.open(self.path)
        self.assertIsNone(store.standing)
        store.close()

    def fetch(self, path: str) -> int:
        """Fetch the checkpoint of another server, with the key `new` too, to begin with; returns the last entry."""
        other = self.mktemp()
        last = self.write(b"key", b"new", path=other)
        backup = self.mktemp()
        self.assertEqual(run_tool("backup", other, backup)[0], 0)
        incoming = Incoming(RealDisk(path), IDENTITY)
        incoming.add(read_piece(RealDisk(backup), 0).data)
        incoming.check(1)
        incoming.keep()
        return last

    def test_what_was_fetched_to_join_with(self) -> None:
        """Is what it goes on with, and takes the place of nothing later."""
        last = self.fetch(self.path)
        self.assertIn(f"up to entry {last}", run_tool("group", "leave", self.path)[1])
        self.assertEqual(self.keys(), {b"key", b"new"})

    def test_a_new_directory_that_has_fetched(self) -> None:
        """It is the group's, though it has no entry yet: what a server by itself would write there, the next start in
        the group would replace.
        """
        self.path = self.mktemp()
        new = self.open(self.path)
        new.close()
        new._disk.unlock()
        last = self.fetch(self.path)
        before = read_files(self.path)
        refused = self.assertRaises(StartRefused, self.keys)
        self.assertIn("joined.ckpt", str(refused))
        self.assertIn("kvstore group leave DIR", str(refused))
        self.assertEqual(read_files(self.path), before)
        self.assertIn(f"up to entry {last}", run_tool("group", "leave", self.path)[1])
        self.assertEqual(self.keys(), {b"key", b"new"})

    def test_a_refused_start_gives_the_directory_back(self) -> None:
        """To others in the same program."""
        self.assertRaises(StartRefused, embedded.open, self.path)
        disk = RealDisk(self.path)
        disk.lock()
        disk.unlock()

    def test_who_is_in_none_leaves_none(self) -> None:
        """A directory of a server by itself, also one that has left."""
        own = self.mktemp()
        with embedded.open(own) as store:
            store("SET", "own", "1")
        run_tool("group", "leave", self.path)
        for path in (own, self.path):
            before = examine(RealDisk(path), TYPES).sequence
            status, said = run_tool("group", "leave", path)
            self.assertEqual(status, 1)
            self.assertIn("of no group", said)
            self.assertEqual(examine(RealDisk(path), TYPES).sequence, before)

    def test_while_a_server_has_it(self) -> None:
        """Nobody leaves."""
        store = self.open(self.path)
        status, said = run_tool("group", "leave", self.path)
        self.assertEqual(status, 1)
        self.assertIn("in use", said)
        store.close()
