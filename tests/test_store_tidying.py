"""What the table does between requests: keys that have expired go, a few at a time; so does what nobody needs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import deadline_order as deadlines
from kvstore.base.errors import StorageFull
from kvstore.base.limits import MIB
from kvstore.store import garbage, read_table
from kvstore.store.garbage import Garbage
from kvstore.store.log import Purpose
from kvstore.store.table import Table
from tests.kit.harness import a_table, replay

#: A step as (what, number of a key, a time in milliseconds).
_steps = st.tuples(
    st.sampled_from(
        ["deadline", "deadline", "later", "sooner", "write", "delete", "persist", "flush", "undone", "time", "tidy"]
    ),
    st.integers(0, 12),
    st.integers(1, 60),
)


def tidy(found: Table) -> bool:
    """Do a little of what is left to be done; returns whether there is more."""
    more = found.tidy()
    return found.garbage.free_some() or more


class Clock:
    """A clock, and the room of a log. `room_bytes`: how much there is."""

    def __init__(self) -> None:
        self.now_ms = 1000
        self.room_bytes = 2**62
        self.table = a_table(lambda: self.now_ms, self.reserve)

    def reserve(self, size_bytes: int, purpose: Purpose) -> int:
        """See OpenCommit."""
        if size_bytes > self.room_bytes:
            raise StorageFull("no space left on device")
        return size_bytes

    def step(self, what: str, number: int, time_ms: int) -> None:
        """Do one step."""
        key, found = b"k%d" % number, self.table
        if what == "deadline":
            found.write(key, b"v", self.now_ms + time_ms)
        elif what in ("later", "sooner") and key in found.deadlines:
            found.set_deadline(key, found.deadlines[key] + (time_ms if what == "later" else -time_ms))
        elif what == "write":
            found.write(key, b"v")
        elif what == "delete":
            found.delete(key)
        elif what == "persist" and key in found.deadlines:
            found.set_deadline(key, None)
        elif what == "flush" and time_ms < 10:
            found.flush()
        elif what == "undone":
            found.pending.undo.clear()
            found.write(key, b"w", self.now_ms + 1)
            found.delete(b"k%d" % time_ms)
            if number < 6:
                found.flush()
                found.write(b"k%d" % (number + 1), b"v", self.now_ms + 1)
            found.pending.take_back()
        elif what == "time":
            self.now_ms += time_ms
        elif what == "tidy":
            tidy(found)
        found.pending.undo.clear()

    def living(self) -> set[bytes]:
        """The keys that a reader finds now."""
        return set(filter(self.table.exists, self.table.values))


class ExpiryTests(SynchronousTestCase):
    """Whatever became of the deadlines."""

    @given(st.lists(_steps, max_size=80), st.sampled_from([0, 3, 1024]), st.integers(1, 20))
    def test_as_a_full_search(self, steps: list[tuple[str, int, int]], few: int, counted: int) -> None:
        """Keys that have expired are counted right while they are few, noted right always, and all removed at last."""
        with (
            mock.patch.multiple(deadlines, _FEW=few, _AT_ONCE=few),
            mock.patch.object(read_table, "_EXPIRED_COUNTED", counted),
        ):
            clock = Clock()
            found = clock.table
            told: list[tuple[Any, set[bytes], set[bytes]]] = []
            for step in steps:
                clock.step(*step)
                living, there = clock.living(), set(found.values)
                self.assertLessEqual(len(living), found.count())
                self.assertLessEqual(found.count(), len(there))
                told.append((found.living(), there, living))
            for lives, there, living in told:
                self.assertEqual(set(filter(lives, there)), living)
            while tidy(found):
                pass
            self.assertEqual(found.count(), len(clock.living()))
            self.assertEqual(set(found.values), clock.living())
            values, left = {}, {}  # type: dict[bytes, bytes], dict[bytes, int]
            replay(found.pending.body(), values, left)
            self.assertEqual((values, left), (found.values, found.deadlines))

    def test_count_is_exact_while_few_have_expired(self) -> None:
        """Up to the limit; past it they are counted, until they are removed."""
        limit = read_table._EXPIRED_COUNTED
        for expired in (limit - 1, limit, limit + 1):
            clock = Clock()
            for number in range(expired + 5):
                clock.table.write(b"%d" % number, b"v", 1001 if number < expired else 2000)
            clock.now_ms += 1
            self.assertEqual(clock.table.count(), 5 if expired <= limit else expired + 5)
            while tidy(clock.table):
                pass
            self.assertEqual(clock.table.count(), 5)

    def test_entries_are_bounded(self) -> None:
        """However often deadlines come and go, or are moved, there are not many more entries than deadlines."""
        clock = Clock()
        found = clock.table
        for number in range(20_000):
            found.write(b"%d" % (number % 7), b"v", 10**12 - number)  # sooner each time
            found.write(b"a", b"v", 10**12)
            found.write(b"a", b"v")
            found.write(b"b", b"v", 10**12 + number)  # later each time
            found.pending.undo.clear()
        self.assertLess(len(found._order._heap), 2 * deadlines._FEW + 100)

    def test_one_at_a_time_while_somebody_observes(self) -> None:
        """Who is told of each key may take long over it."""
        for observed, least in ((False, 16), (True, 1)):
            clock = Clock()
            for number in range(40):
                clock.table.write(b"%d" % number, b"v", 1001)
            clock.now_ms += 1
            if observed:
                clock.table.scan_order.scan(0, 1)
            tidy(clock.table)
            self.assertEqual(len(clock.table.values), 40 - least)

    def test_put_off(self) -> None:
        """A key whose deadline was moved to a later time lives until then, and is removed then."""
        clock = Clock()
        found = clock.table
        found.write(b"a", b"v", 1010)
        found.set_deadline(b"a", 1050)
        clock.now_ms = 1010
        self.assertFalse(tidy(found))
        self.assertEqual((found.count(), found.read(b"a")), (1, b"v"))
        clock.now_ms = 1050
        tidy(found)
        self.assertEqual(found.values, {})

    def test_keys_without_an_entry_yet(self) -> None:
        """While a fresh heap is filled by and by, readers and KEYS see who has expired; then the count does, too."""
        self.patch(deadlines, "_FEW", 10)
        self.patch(deadlines, "_AT_ONCE", 10)
        clock = Clock()
        found = clock.table
        for number in range(100):
            found.write(b"%d" % number, b"v", 1005)
        for number in range(200):
            found.write(b"x", b"v", 10**6 - number)
        self.assertTrue(found._order._noted)
        clock.now_ms = 1005
        self.assertEqual(list(filter(found.living(), found.values)), [b"x"])
        self.assertEqual(found.count(), 101)
        while found._order.enter_some(16):
            pass
        found.remove_expired(50)
        self.assertEqual(found.count(), 1)

    def test_a_full_disk_in_the_middle(self) -> None:
        """It stops there, without a hurry and without losing count; with room it goes on."""
        clock = Clock()
        found = clock.table
        for number in range(10):
            found.write(b"%d" % number, b"v", 1001)
        clock.now_ms += 1
        found.pending.begin(2)
        clock.room_bytes = 60
        self.assertFalse(tidy(found))
        self.assertTrue(0 < len(found.values) < 10)
        self.assertEqual((found.count(), found.expired_count), (0, 10 - len(found.values)))
        self.assertFalse(tidy(found))
        clock.room_bytes = 2**62
        self.assertFalse(tidy(found))
        self.assertEqual((found.values, found.expired_count), ({}, 10))


class GarbageTests(SynchronousTestCase):
    """Freed by and by."""

    def test_a_few_at_a_time(self) -> None:
        """A large container loses some of its elements in each step, until nothing is left."""
        kept = Garbage()
        values = dict.fromkeys(range(2000), b"v")
        numbers = list(range(3000))
        kept.put(values)
        kept.put(numbers)
        sizes = [5000]
        while kept.free_some():
            sizes.append(len(values) + len(numbers))
        self.assertEqual((values, numbers), ({}, []))
        self.assertLessEqual(max(before - after for before, after in pairwise(sizes)), 16)

    def test_what_is_small(self) -> None:
        """It is not kept."""
        kept = Garbage()
        for small in ({1: 1}, [1], bytes(MIB - 1)):
            kept.put(small)  # type: ignore[arg-type]
        self.assertFalse(kept.free_some())

    def test_what_is_in_it(self) -> None:
        """Large things inside one are freed by and by, too, one large string at a time."""
        kept = Garbage()
        inner = dict.fromkeys(range(5000))
        outer: dict[int, Any] = dict.fromkeys(range(1000))
        outer[1000] = inner
        outer[1001] = bytes(MIB)
        kept.put(outer)
        del outer
        rounds = 0
        while kept.free_some():
            rounds += 1
        self.assertEqual(inner, {})
        self.assertGreater(rounds, 6000 // 16)

    def test_a_flush(self) -> None:
        """What a flush removes is freed between requests; one that is undone loses nothing."""
        self.patch(garbage, "_SMALL_ELEMENTS", 10)
        clock = Clock()
        found = clock.table
        for number in range(100):
            found.write(b"%d" % number, b"v", 2000)
        found.pending.undo.clear()
        values, left = found.values, found.deadlines
        found.flush()
        found.write(b"a", b"v")
        found.pending.take_back()
        self.assertIs(found.values, values)
        while tidy(found):
            pass
        self.assertEqual((len(found.values), len(found.deadlines)), (100, 100))
        found.flush()
        found.pending.undo.clear()
        self.assertEqual((found.values, found.count(), len(values)), ({}, 0, 100))
        while tidy(found):
            pass
        self.assertEqual((values, left), ({}, {}))
        clock.now_ms = 3000
        self.assertFalse(tidy(found))
