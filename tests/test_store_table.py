"""Many strings written at once: in the table, the open commit and the log just what as many writes make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StorageFull
from kvstore.store.commit import _SELECT_BYTES, NO_ROOM_AT_ALL
from kvstore.store.log import Purpose
from kvstore.store.observing import Observer
from kvstore.store.operations import decode
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.kit.harness import a_table

_strings = st.sampled_from([b"a", b"b", b"", b"key:1", b"key:2", b"\r\n", b"x" * 300, b"*3\r\n$3\r\nSET\r\n"])
pairs = st.lists(st.tuples(_strings, _strings), min_size=1, max_size=12)


#: Deadlines for as many pairs; or none have any.
ends = st.one_of(st.none(), st.lists(st.integers(1001, 1010), min_size=12, max_size=12))


def encoded(made: list[tuple[bytes, bytes]], ends: Sequence[int | None] = (None,) * 12) -> bytes:
    """The operations, one behind the other."""
    return b"".join(encode_set(key, value, end) for (key, value), end in zip(made, ends, strict=False))


def write_together(table: Table, made: list[tuple[bytes, bytes]], ends: list[int] | None = None) -> bool:
    """Write all pairs at once, if the table can."""
    operations = encoded(made) if ends is None else encoded(made, ends)
    return table.write_strings([key for key, _ in made], [value for _, value in made], operations, deadlines_ms=ends)


class Log:
    """Room for operations. `limit_bytes`: how much there is; `asked`: for how much it was asked."""

    def __init__(self, limit_bytes: int = 2**40, unit_bytes: int = 100) -> None:
        self._limit_bytes = limit_bytes
        self._unit_bytes = unit_bytes
        self.asked: list[int] = []

    def reserve(self, size_bytes: int, purpose: Purpose = Purpose.GROW) -> int:
        """See OpenCommit."""
        self.asked.append(size_bytes)
        room = -(-size_bytes // self._unit_bytes) * self._unit_bytes
        if room > self._limit_bytes:
            raise StorageFull("no space left on device")
        return room


class Change(Observer):
    """An observer that notes."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def changed(self, key: bytes, before: bytes | None, after: bytes | None, event: bytes | None) -> None:
        """Note the key."""
        self.seen.append(key)

    def flushed(self) -> None:
        """Note nothing."""


class WriteStringsTests(SynchronousTestCase):
    """`Table.write_strings`, beside as many times `Table.write`."""

    def table(self, log: Log | None = None) -> Table:
        """An empty one, at time 1000."""
        table = a_table(lambda: 1000, (log or Log()).reserve)
        table.pending.room = 2**40 if log is None else 0
        return table

    def seen(self, table: Table) -> Any:
        """All that can be compared. The order of the values is that of KEYS."""
        pending = table.pending
        return (
            list(table.values.items()), dict(table.deadlines), b"".join(pending.operations), pending.count,
            pending.size_bytes, pending.room, set(table.open_keys), table.open_whole,
        )  # fmt: skip

    @given(pairs, pairs, ends)
    def test_as_one_by_one(
        self, before: list[tuple[bytes, bytes]], made: list[tuple[bytes, bytes]], ends: list[int] | None
    ) -> None:
        """The same state, operations, count, room and keys, whatever was there before; also with deadlines."""
        one, many = self.table(), self.table()
        for table in (one, many):
            for number, (key, value) in enumerate(before):
                table.write(key, value, ends[-number] if ends and number % 2 else None)
            table.pending.undo.clear()
        for number, (key, value) in enumerate(made):
            one.write(key, value, ends[number] if ends else None)
        self.assertTrue(write_together(many, made, ends[: len(made)] if ends else None))
        self.assertEqual([one.remove_expired(99), many.remove_expired(99)], [0, 0])
        self.assertEqual(self.seen(one), self.seen(many))
        self.assertEqual(many.pending.undo, [])
        self.assertEqual(many.pending.count, len(decode(b"".join(many.pending.operations))))

    def test_room(self) -> None:
        """With a byte too little the log is asked for all of it at once, and they are written together all the same."""
        made = [(b"a", b"1"), (b"b", b"2")]
        size = len(encoded(made))
        for short, times in ((1, 1), (0, 0), (-1, 0)):
            table, log = self.with_one_write()
            needed = table.pending.size_bytes + size + _SELECT_BYTES
            table.pending.room = needed - short
            self.assertTrue(write_together(table, made))
            self.assertEqual((log.asked, dict(table.values)), ([needed] * times, dict(made)))

    def test_no_room(self) -> None:
        """Where it is refused nothing is done: each asks for itself, and some may be small enough. While writes are
        refused the log is not asked for all of them.
        """
        for room, times in ((0, 1), (NO_ROOM_AT_ALL, 0)):
            table, log = self.with_one_write(limit_bytes=100)
            table.pending.room = room
            before = self.seen(table)
            self.assertFalse(write_together(table, [(b"a", b"1"), (b"b", bytes(100))]))
            self.assertEqual((self.seen(table), len(log.asked)), (before, times))

    def with_one_write(self, limit_bytes: int = 2**40) -> tuple[Table, Log]:
        """A table with an open commit, and its log, which was not asked for anything since."""
        log = Log(limit_bytes)
        table = self.table(log)
        table.write(b"a", b"0")
        table.pending.undo.clear()
        log.asked.clear()
        return table, log

    def test_refused_while_somebody_observes(self) -> None:
        """Nothing is done then; whoever asked has to write one by one, and the observer hears of each."""
        table, change = self.table(), Change()
        table.observe(change)
        before = self.seen(table)
        self.assertFalse(write_together(table, [(b"a", b"1")]))
        self.assertEqual((self.seen(table), change.seen), (before, []))
        table.forget(change)
        self.assertTrue(write_together(table, [(b"a", b"1")]))

    def test_refused_for_a_deadline(self) -> None:
        """One of the keys has a deadline, passed or not: it has to be taken away. Others' are no matter."""
        for deadline in (999, 1001):
            table = self.table()
            table.write(b"b", b"0", deadline)
            before = self.seen(table)
            self.assertFalse(write_together(table, [(b"a", b"1"), (b"b", b"2")]))
            self.assertEqual(self.seen(table), before)
            self.assertTrue(write_together(table, [(b"a", b"1"), (b"c", b"2")]))
            self.assertEqual(table.deadlines, {b"b": deadline})

    def test_undoing_what_comes_after(self) -> None:
        """A request that fails behind it takes back its own changes and no more; the count is right."""
        table = self.table()
        made = [(b"a", b"1"), (b"b", b"2")]
        write_together(table, made)
        before = self.seen(table)
        table.write(b"a", b"3")
        table.delete(b"b")
        self.assertEqual(table.pending.count, 4)
        table.pending.take_back()
        self.assertEqual(self.seen(table), before)


class LookUpEachTests(SynchronousTestCase):
    """`Table.look_up_each`, beside as many times `Table.look_up_typed`."""

    def table(self, count: int) -> Table:
        """So many strings, at time 1000."""
        table = a_table(lambda: 1000, Log().reserve)
        for number in range(count):
            table.write(b"%d" % number, b"v%d" % number)
        return table

    def assert_as_one_by_one(self, table: Table, keys: list[bytes]) -> None:
        """The same strings, and as many hits and misses."""
        before = table.hits, table.misses
        each = [table.look_up_typed(key, bytes) for key in keys]
        counted = table.hits - before[0], table.misses - before[1]
        before = table.hits, table.misses
        together = table.look_up_each(keys, bytes)
        assert together is not None
        self.assertEqual(list(together), each)
        self.assertEqual((table.hits - before[0], table.misses - before[1]), counted)

    def test_as_one_by_one(self) -> None:
        """Few and many, all there or some, named twice, one of them expired, one of another type beside them."""
        table = self.table(20)
        names = [b"%d" % number for number in range(20)]
        for few in ([b"3"], names[:7], names[:8], names, names * 2, [*names, b"none"], [b"none"] * 9):
            self.assert_as_one_by_one(table, few)
        table.write(b"3", b"gone", 999)
        self.assert_as_one_by_one(table, names)
        table.edit(b"list", b"RPUSH", (b"element",))
        self.assert_as_one_by_one(table, names)

    def test_another_type(self) -> None:
        """None, nothing counted, however it came there: edited, or taken from another table."""
        for move in (False, True):
            table, source = self.table(20), self.table(0)
            (source if move else table).edit(b"list", b"RPUSH", (b"element",))
            if move:
                table.put(b"list", *source.take(b"list"))
            before = table.hits, table.misses
            self.assertIsNone(table.look_up_each([*(b"%d" % number for number in range(20)), b"list"], bytes))
            self.assertEqual((table.hits, table.misses), before)

    def test_written_over(self) -> None:
        """A value that was taken from another table is not written over with others: it has to be let go of."""
        table, source = self.table(0), self.table(0)
        source.edit(b"list", b"RPUSH", (b"element",))
        table.put(b"list", *source.take(b"list"))
        table.pending.room = 2**40
        self.assertFalse(write_together(table, [(b"list", b"1")]))


class RecoveryTests(SynchronousTestCase):
    """What was logged in one piece is recovered as if in many."""

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.booleans(), pairs), min_size=1, max_size=5))
    def test_recovered(self, made: list[tuple[bool, list[tuple[bytes, bytes]]]]) -> None:
        """Killed after any commits: the same values, and as many entries as there were writes."""
        disk = SimulatedDisk(record=False)
        store = Store(disk, TYPES, lambda: 0, lambda length: bytes(length))
        count = 0
        for together, written in made:
            count += len(written)
            if together:
                self.assertTrue(write_together(store.table, written))
            else:
                for key, value in written:
                    store.table.write(key, value)
            store.pending.undo.clear()
            commit = store.close_commit()
            assert commit is not None
            self.assertEqual((commit.operations, store.table.flight_keys), (len(written), {key for key, _ in written}))
            store.write(commit)
            store.sync()
            store.settle(commit, durable=True)
        again = Store(disk.kill(), TYPES, lambda: 0, lambda length: bytes(length))
        self.assertEqual(list(again.table.values.items()), list(store.table.values.items()))
        self.assertEqual((store.log.entries, again.log.entries), (count, count))
