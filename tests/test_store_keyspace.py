"""Databases, live: what several of them record together, and what is undone of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StartRefused, StorageFull
from kvstore.store.keyspace import Keyspace
from kvstore.store.log import Purpose
from kvstore.store.operations import decode
from kvstore.store.state import Databases
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.kit.harness import content

_KEYS = [b"a", b"b", b"c"]
_key = st.sampled_from(_KEYS)
_changes = st.one_of(
    st.tuples(st.just("write"), _key, st.none() | st.integers(1, 9)),
    st.tuples(st.just("write"), _key, st.none()),
    st.tuples(st.just("columns"), st.lists(_key, min_size=1, max_size=3), st.none()),
    st.tuples(st.just("delete"), _key, st.none()),
    st.tuples(st.just("deadline"), _key, st.none() | st.integers(1, 9)),
    st.tuples(st.just("move"), _key, st.integers(0, 3)),
    st.tuples(st.just("swap"), st.just(b""), st.integers(0, 3)),
    st.tuples(st.just("flush"), st.just(b""), st.none()),
    st.tuples(st.just("flush all"), st.just(b""), st.none()),
)
#: Requests: each of some changes, each in one of four databases; and whether it is undone in the end.
_requests = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(0, 3), _changes), min_size=1, max_size=4), st.booleans()), max_size=8
)


def state(keyspace: Keyspace) -> dict[int, Any]:
    """What is in the databases that are not empty."""
    return {table.number: content(table) for table in keyspace.databases if table.values}


def replayed(body: bytes) -> dict[int, Any]:
    """What recovery makes of the operations of one frame."""
    found = Databases(TYPES)
    found.replay(body)
    return {number: content(each) for number, each in found.by_number.items() if each.values}


def change(keyspace: Keyspace, number: int, what: str, key: Any, argument: Any, text: bytes) -> None:
    """Make one change, if it makes sense."""
    table = keyspace.databases[number]
    if what == "write":
        table.write(key, text, argument)
    elif what == "delete":
        table.delete(key)
    elif what == "deadline" and key in table.values:
        table.set_deadline(key, argument)
    elif what == "move" and key in table.values and argument != number:
        keyspace.databases[argument].put(key, *table.take(key))
    elif what == "swap" and argument != number:
        keyspace.swap(table, keyspace.databases[argument])
    elif what == "flush":
        table.flush()
    elif what == "flush all":
        keyspace.flush_all()


class Room:
    """A log with as much room as `left_bytes`."""

    def __init__(self) -> None:
        self.left_bytes = 1 << 40

    def reserve(self, size_bytes: int, purpose: Purpose) -> int:
        """See `OpenCommit`."""
        if size_bytes > self.left_bytes:
            raise StorageFull("no space left on device")
        return size_bytes


class RecordedTests(SynchronousTestCase):
    """What several databases record in one commit."""

    @given(_requests)
    def test_the_frame_says_what_was_done(self, requests: list[tuple[list[tuple[int, Any]], bool]]) -> None:
        """Replayed it makes the same state, undone requests left no trace, and every operation is counted."""
        keyspace = Keyspace(TYPES, lambda: 0, Room().reserve, 4)
        pending = keyspace.pending
        for count, (changes, undone) in enumerate(requests):
            before, body = state(keyspace), pending.body()
            for number, (what, key, argument) in changes:
                if what == "columns":
                    self.columns(keyspace, number, key, b"%d" % count, undone=undone)
                else:
                    change(keyspace, number, what, key, argument, b"%d" % count)
            if undone:
                pending.take_back()
                self.assertEqual((state(keyspace), pending.body()), (before, body))
            pending.undo.clear()
        self.assertEqual(replayed(pending.body()), state(keyspace))
        self.assertEqual(len(decode(pending.body())), pending.count + pending.switches())
        self.assertLessEqual(len(pending.body()), pending.size_bytes)

    def columns(self, keyspace: Keyspace, number: int, keys: list[bytes], text: bytes, *, undone: bool) -> None:
        """Write many keys at once, which is a request of its own; not in one that is to be undone."""
        if undone or keyspace.pending.undo:
            return
        operations = b"".join(encode_set(key, text) for key in keys)
        table = keyspace.databases[number]
        keyspace.pending.room = keyspace.pending.size_bytes + 1000
        if not table.write_strings(keys, [text] * len(keys), operations):
            for key in keys:
                table.write(key, text)
            keyspace.pending.undo.clear()

    def test_a_refused_change_in_another_database(self) -> None:
        """Leaves no SELECT behind, neither for what comes next there nor for what comes next in the first one."""
        room = Room()
        keyspace = Keyspace(TYPES, lambda: 0, room.reserve, 4)
        first, third = keyspace.databases[0], keyspace.databases[3]
        first.write(b"a", b"1")
        body, room.left_bytes = keyspace.pending.body(), 10
        self.assertRaises(StorageFull, third.write, b"a", b"3")
        self.assertEqual(keyspace.pending.body(), body)
        room.left_bytes = 1000
        first.write(b"b", b"1")
        self.assertNotIn(b"SELECT", keyspace.pending.body())
        third.write(b"a", b"3")
        self.assertEqual(replayed(keyspace.pending.body()), state(keyspace))

    def test_each_database_has_its_changed_keys(self) -> None:
        """A reader waits for a change of its own database only; also while the commit is in flight."""
        store = Store(SimulatedDisk(record=False), TYPES, lambda: 0, bytes)
        first, other = store.databases[0], store.databases[1]
        other.write(b"k", b"v")
        store.pending.undo.clear()
        self.assertEqual((first.commit_for_key(b"k"), other.commit_for_key(b"k")), (0, 1))
        commit = store.close_commit()
        assert commit is not None
        self.assertEqual((first.commit_for_keys([b"k"]), other.commit_for_keys([b"k"])), (0, 1))
        store.write(commit)
        store.settle(commit, durable=True)
        self.assertEqual((first.commit_for_key(b"k"), other.commit_for_key(b"k")), (0, 0))
        store.flush_all()
        self.assertEqual((first.commit_for_key(b"k"), other.commit_for_keys([b"x"])), (2, 2))


class NumberTests(SynchronousTestCase):
    """How many databases there are."""

    def test_keys_past_them(self) -> None:
        """The server does not start, hides nothing, and says with what it does."""
        disk = SimulatedDisk(record=False)
        store = Store(disk, TYPES, lambda: 0, bytes)
        store.databases[7].write(b"k", b"v")
        commit = store.close_commit()
        assert commit is not None
        store.write(commit)
        store.sync()
        disk = disk.kill()
        refusal = self.assertRaises(StartRefused, Store, disk, TYPES, lambda: 0, bytes, None, 7)
        self.assertIn("keys in database 7, but --databases is 7; start with --databases 8", str(refusal))
        self.assertEqual(Store(disk.kill(), TYPES, lambda: 0, bytes, None, 8).databases[7].values, {b"k": b"v"})
        self.assertEqual(Store(disk.kill(), TYPES, lambda: 0, bytes).databases[7].values, {b"k": b"v"})
