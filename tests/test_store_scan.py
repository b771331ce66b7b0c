"""The scan order of a large table: sorted by and by, and complete."""

from __future__ import annotations

from random import Random
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.store import scan
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.harness import a_table

_STEPS = ["write", "delete", "scan", "flush", "tidy", "sample"]


def make_table(keys: int) -> Table:
    """A table with so many keys, from k0 on."""
    table = a_table()
    for number in range(keys):
        table.write(b"k%d" % number, b"v")
    return table


class ScanOrderTests(SynchronousTestCase):
    """With ten keys sorted at a time."""

    def setUp(self) -> None:
        """Small steps."""
        self.patch(scan, "_SORTED_AT_ONCE", 10)

    def rest(self, table: Table, cursor: int) -> list[bytes]:
        """Every key from `cursor` to the end of the scan."""
        found: list[bytes] = []
        while cursor:
            cursor, keys = table.scan_order.scan(cursor, 7)
            found += keys
        return found

    def test_it_comes_by_and_by(self) -> None:
        """Each scan sorts some keys and gives none, until all are sorted; then each key comes once."""
        table = make_table(100)
        cursor, empty = 0, 0
        while True:
            cursor, keys = table.scan_order.scan(cursor, 7)
            if keys:
                break
            empty += 1
        self.assertEqual(empty, 9)
        self.assertEqual(sorted(keys + self.rest(table, cursor)), sorted(table.values))

    def test_a_cursor_of_before(self) -> None:
        """A scan that comes back after the buckets were dropped goes on where it was."""
        table = make_table(100)
        self.rest(table, table.scan_order.scan(0, 1)[0])
        cursor, first = table.scan_order.scan(0, 20)
        table.scan_order.drop()
        self.assertEqual(table.scan_order.scan(cursor, 7), (cursor, []))
        self.assertEqual(sorted(first + self.rest(table, cursor)), sorted(table.values))

    def test_many_changes_meanwhile(self) -> None:
        """Nobody comes back: the rest is sorted all the same, between requests, and changes are noted no more."""
        table = make_table(100)
        table.scan_order.scan(0, 1)
        rounds = 0
        while table.tidy():
            table.delete(b"k%d" % rounds)
            rounds += 1
        self.assertEqual((table.scan_order._settled, table.scan_order._unsorted), (set(), []))
        cursor, keys = table.scan_order.scan(0, 7)
        self.assertEqual(sorted(keys + self.rest(table, cursor)), sorted(table.values))

    def test_sample(self) -> None:
        """Chance picks any key that is there, sorted or not yet."""
        table, chance = make_table(40), Random(1)
        for _ in range(3):
            seen = {key for _ in range(2000) for key in table.scan_order.sample(chance)}
            self.assertEqual(seen, set(table.values))
            table.scan_order.sort_some(20)

    @given(
        st.integers(0, 150),
        st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 200)), max_size=150),
    )
    def test_any_changes_meanwhile(self, keys: int, steps: list[tuple[str, int]]) -> None:
        """Whatever was changed while keys were sorted, a scan then gives each key that is there exactly once."""
        with mock.patch.object(scan, "_SORTED_AT_ONCE", 10):
            table = make_table(keys)
            table.scan_order.scan(0, 1)
            for step, number in steps:
                if step == "write":
                    table.write(b"k%d" % number, b"w")
                elif step == "delete":
                    table.delete(b"k%d" % number)
                elif step == "scan":
                    table.scan_order.scan(number, 1)
                elif step == "tidy":
                    table.tidy()
                elif step == "sample":
                    table.scan_order.sample(Random(number))
                elif number < 5:
                    table.flush()
            cursor, found = table.scan_order.scan(0, 7)
            self.assertEqual(sorted(found + self.rest(table, cursor)), sorted(table.values))


class RestartTests(SynchronousTestCase):
    """A cursor is good in the next run of the server, on the same directory."""

    def start(self, disk: SimulatedDisk, seed: int) -> Store:
        """A run of the server, with chance of its own."""
        return Store(disk, TYPES, lambda: 1_700_000_000_000_000, Random(seed).randbytes)

    def scan(self, table: Table, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """A SCAN, again while it only tells to come back."""
        table.scan_order.scan(cursor, 1)
        table.scan_order.sort_some(len(table.values))
        return table.scan_order.scan(cursor, count)

    def test_the_scan_goes_on(self) -> None:
        """Between two runs keys came and went: each that stayed is given, before or after."""
        disk = SimulatedDisk(record=False)
        store = self.start(disk, 1)
        stay = [b"stay%d" % number for number in range(300)]
        for key in stay:
            store.table.write(key, b"v")
        cursor, found = self.scan(store.table, 0, 120)
        self.assertGreater(cursor, 0)
        for number in range(700):
            store.table.write(b"new%d" % number, b"v")
        commit = store.close_commit()
        assert commit is not None
        store.write(commit)
        store.sync()
        again = self.start(disk.kill(), 2).table
        while cursor:
            cursor, keys = self.scan(again, cursor, 50)
            found += keys
        self.assertLessEqual(set(stay), set(found))
        self.assertLess(len(found), 1000)  # what was given is not given again

    def test_directories_differ(self) -> None:
        """Keys that lie together in one do not in another: nobody can choose them."""
        tables = [self.start(SimulatedDisk(record=False), seed).table for seed in (1, 2)]
        for table in tables:
            for number in range(300):
                table.write(b"k%d" % number, b"v")
        self.assertNotEqual(*(self.scan(table, 0, 20) for table in tables))
