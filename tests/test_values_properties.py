"""What every type of values must do, found by its table row: undo, be built again, survive any split between checkpoint
and segments. A new type has these tests once its strategy stands in `tests.kit.value_strategies`.

`BrokenTests` shows that they find what they are there for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, MIB
from kvstore.base.value_type import OF_PROCESS, Places, Types, Undo, ValueType, Words
from kvstore.store import delta
from kvstore.store.examine import examine
from kvstore.store.merge import merge
from kvstore.store.operations import BadOperation
from kvstore.store.state import State
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.value_strategies import (
    BAG,
    STRATEGIES,
    TYPES_AND_BAG,
    Bag,
    deadlines_ms,
    edits,
    put,
    remembered,
    whole,
    words_of,
)
from tests.suites.crashes.run import Clock, small_files

#: Draws from a strategy.
Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
_DATABASES = 3
_LARGEST_EDIT_BYTES = 64 * KIB
_KINDS = ["edit"] * 5 + ["write", "many", "delete", "deadline", "copy", "move", "flush", "swap"]

_keys = st.sampled_from([b"", b"a", b"b", b"c\r\n"])


def check(examples: int, proof: Callable[..., None], *arguments: Any, shrink: bool = True) -> None:
    """Try `proof(draw, *arguments)` on so many examples."""

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )  # fmt: skip
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        proof(data.draw, *arguments)

    tried()


def content(row: ValueType, value: Any) -> object:
    """All that can be seen of a value, its elements in their order."""
    return words_of(list(row.whole(value))), len(value), row.inner and row.inner.next_ms(value)


def apply(row: ValueType, value: Any, name: bytes, words: Words) -> Undo:
    """Do an edit."""
    return next(edit for edit in row.edits if edit.name == name).apply(value, words)


def grown(draw: Draw, row: ValueType, places: Places = OF_PROCESS) -> Any:
    """A value after some edits."""
    value = row.empty(places)
    for _ in range(draw(st.integers(0, 8))):
        apply(row, value, *draw(edits(row, value)))
    return value


def undo_is_the_identity(draw: Draw, row: ValueType) -> None:
    """One edit taken back, or several in turn: the value is what it was, its order too."""
    value = grown(draw, row)
    before: list[tuple[object, Undo]] = []
    for _ in range(draw(st.integers(1, 6))):
        name, words = draw(edits(row, value))
        now = content(row, value)
        apply(row, value, name, words)()
        assert content(row, value) == now, f"{name!r} {words} was undone"
        before.append((now, apply(row, value, name, words)))
    while before:
        now, undo = before.pop()
        undo()
        assert content(row, value) == now, "edits were undone"


def whole_is_all(draw: Draw, row: ValueType) -> None:
    """What `whole` and `copy` make is the same value; and another one."""
    value = grown(draw, row)
    again = row.holds()
    for name, words in row.whole(value):
        assert sum(map(len, words)) <= _LARGEST_EDIT_BYTES or len(words) <= 3
        apply(row, again, name, words)
    copied, now = row.copy(value), content(row, value)
    assert content(row, again) == now, "built again"
    assert content(row, copied) == now, "copied"
    apply(row, copied, *draw(edits(row, copied)))
    assert content(row, value) == now, "the copy was edited"


def many_are_one_by_one(draw: Draw, row: ValueType) -> None:
    """Edits of one name done at once make the value what they make it one by one, and longer by as much each time."""
    value = grown(draw, row)
    other = row.copy(value)
    for _ in range(draw(st.integers(1, 3))):
        name, words = draw(edits(row, value))
        at_once: list[Words] = []
        longer: list[int] = []
        again = name
        while again == name and (len(value) or not at_once) and len(at_once) < 4:
            at_once.append(words)
            before = len(value)
            apply(row, value, name, words)
            longer.append(len(value) - before)
            again, words = draw(edits(row, value))
        apply_each = next(edit for edit in row.edits if edit.name == name).apply_each
        assert apply_each(other, at_once) == longer
        assert (content(row, other), other.size_bytes()) == (content(row, value), value.size_bytes()), name


def refuses(function: Callable[..., object], *arguments: Any) -> bool:
    """Whether it raises what replay takes for a bad operation."""
    try:
        function(*arguments)
    except (ValueError, IndexError, TypeError):
        return True
    return False


def seen(state: State) -> dict[bytes, object]:
    """All that can be seen of a database."""
    assert state.deadlines.keys() <= state.values.keys() and state.inner.keys() <= state.values.keys()
    found: dict[bytes, object] = {}
    for key, value in state.values.items():
        row = state.types.by_class.get(value.__class__)
        inner = row.inner.next_ms(value) if row is not None and row.inner is not None else None
        assert state.inner.get(key) == inner, key
        found[key] = (value if row is None else content(row, value)), state.deadlines.get(key)
    return found


def all_seen(states: Iterable[tuple[int, State]]) -> dict[int, object]:
    """The same of all databases with any keys."""
    return {number: seen(state) for number, state in states if state.values}


def live(store: Store) -> dict[int, object]:
    """The same of a running store."""
    return all_seen(enumerate(store.databases))


def new_store(types: Types) -> tuple[SimulatedDisk, Store]:
    """A store on an empty disk."""
    disk, clock = SimulatedDisk(record=False), Clock("values")
    return disk, Store(disk, types, clock.now_us, clock.random_bytes, databases=_DATABASES)


def change(draw: Draw, store: Store) -> None:
    """A change of any kind, of any database."""
    table: Table = store.databases[draw(st.integers(0, _DATABASES - 1))]
    other: Table = store.databases[draw(st.integers(0, _DATABASES - 1))]
    key, other_key = draw(_keys), draw(_keys)
    kind = draw(st.sampled_from(_KINDS))
    value = table.values.get(key)
    if kind == "edit":
        row = table.types.by_class.get(value.__class__)
        if row is None:
            row = draw(st.sampled_from(table.types.others))
            table.delete(key)
            value = row.empty(table.types.places)
        table.edit(key, *draw(edits(row, value)))
    elif kind == "write":
        table.write(key, draw(st.binary(max_size=3)), draw(st.none() | deadlines_ms))
    elif kind == "many":
        keys = [b"key%02d" % number for number in range(draw(st.integers(0, 9)), 30)]
        for each in keys:
            table.write(each, b"v%d" % len(keys))
    elif kind == "delete":
        table.delete(draw(st.sampled_from([key, b"key12"])))
    elif kind == "deadline":
        table.exists(key) and table.set_deadline(key, draw(st.none() | deadlines_ms))
    elif kind == "copy" and value is not None:
        other.put(other_key, table.copy_of(value), table.deadline_ms(key))
    elif kind == "move" and value is not None:
        taken, deadline_ms = table.take(key)
        other.put(other_key, taken, deadline_ms)
    elif kind == "flush":
        store.flush_all() if draw(st.booleans()) else table.flush()
    elif kind == "swap" and table is not other:
        store.swap(table, other)


def changes(draw: Draw, store: Store, most: int = 4) -> None:
    """A request that does several things, and is done."""
    for _ in range(draw(st.integers(1, most))):
        change(draw, store)
    store.pending.undo.clear()


def commit(store: Store) -> None:
    """All changes so far are on disk."""
    closed = store.close_commit()
    if closed is not None:
        store.write(closed)
        store.sync()
        store.settle(closed, durable=True)


def requests_are_undone(draw: Draw, types: Types) -> None:
    """A request that is undone, whole or its end, leaves no trace in the tables or in the commit."""
    _, store = new_store(types)
    for _ in range(3):
        changes(draw, store)
    before, body = live(store), store.pending.body()
    change(draw, store)
    mark, between, between_body = len(store.pending.undo), live(store), store.pending.body()
    for _ in range(draw(st.integers(1, 4))):
        change(draw, store)
    store.pending.take_back(mark)
    assert live(store) == between, "to a mark"
    assert store.pending.body() == between_body
    store.pending.take_back()
    assert live(store) == before, "to the beginning"
    assert store.pending.body() == body


def merge_is_replay(draw: Draw, types: Types) -> None:
    """However the operations are split between checkpoint and segments, what is read is what was live."""
    disk, store = new_store(types)
    for _ in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            changes(draw, store)
            commit(store)
        assert all_seen(examine(disk, types).databases.by_number.items()) == live(store), "replayed"
        if store.can_compact():
            size = merge(disk, types, store.seal(), 0, draw(st.sampled_from([2 * KIB, 32 * MIB])))
            store.finish_compaction(size)
            assert all_seen(examine(disk, types).databases.by_number.items()) == live(store), "merged"


class RowTests(SynchronousTestCase):
    """Each type by itself."""

    def test_strategies(self) -> None:
        """Each type has one, and there are no others."""
        self.assertEqual({row.name for row in TYPES_AND_BAG.others}, set(STRATEGIES))

    def test_undo(self) -> None:
        """See `undo_is_the_identity`."""
        for row in TYPES_AND_BAG.others:
            check(40, undo_is_the_identity, row)

    def test_whole(self) -> None:
        """See `whole_is_all`."""
        for row in TYPES_AND_BAG.others:
            check(40, whole_is_all, row)

    def test_many_at_once(self) -> None:
        """See `many_are_one_by_one`."""
        for row in TYPES.others:
            check(25, many_are_one_by_one, row)

    def test_words_that_are_no_edit(self) -> None:
        """Raise what replay takes for a bad operation, and change nothing."""
        for row in TYPES_AND_BAG.others:
            for edit in row.edits:
                value = row.holds()
                now = content(row, value)
                for words in ([], [b"nonsense"], [b"1", b"nonsense", b"2"]):
                    with contextlib.suppress(ValueError, IndexError, TypeError):
                        edit.apply(value, words)()
                    self.assertEqual(content(row, value), now, (edit.name, words))
                    refused = refuses(edit.apply, row.holds(), words)
                    self.assertEqual(refuses(edit.apply_each, row.holds(), [words]), refused)

    def test_names(self) -> None:
        """No operation has two meanings."""
        names = [edit.name for row in TYPES.others for edit in row.edits]
        self.assertEqual(len({*names, TYPES.plain.operation}), len(names) + 1)


class StoreTests(SynchronousTestCase):
    """All types together, in several databases."""

    def setUp(self) -> None:
        """Small frames: keys and stretches run over several."""
        small = small_files()
        small.__enter__()
        self.addCleanup(small.__exit__, None, None, None)

    def test_undo(self) -> None:
        """See `requests_are_undone`."""
        check(50, requests_are_undone, TYPES_AND_BAG)

    def test_merge(self) -> None:
        """See `merge_is_replay`."""
        check(60, merge_is_replay, TYPES_AND_BAG)


@pytest.mark.long
class BrokenTests(SynchronousTestCase):
    """Each fault that a type, or the merge, could have is found."""

    setUp = StoreTests.setUp

    def found(self, proof: Callable[..., None], *arguments: Any, examples: int = 1000) -> None:
        """The proof fails."""
        try:
            check(examples, proof, *arguments, shrink=False)
        except (AssertionError, BadOperation):  # what was lost can leave operations that make no sense
            return
        self.fail("it was not found")

    def with_edit(self, name: bytes, function: Callable[[Any, Words], Undo]) -> ValueType:
        """The bag with one edit done otherwise."""
        return BAG._replace(edits=tuple(e._replace(apply=function) if e.name == name else e for e in BAG.edits))

    def test_an_undo_that_does_nothing(self) -> None:
        """Found in the type and in the table."""

        def wrong(bag: Bag, words: Words) -> Undo:
            put(bag, words)
            return lambda: None

        row = self.with_edit(b"BAGPUT", wrong)
        self.found(undo_is_the_identity, row)
        self.found(requests_are_undone, Types(TYPES.plain, (row,)))

    def test_an_undo_that_loses_the_order(self) -> None:
        """An element that comes back at the end is found."""

        def wrong(bag: Bag, words: Words) -> Undo:
            taken = {element: bag.counts.pop(element) for element in words if element in bag.counts}
            deadlines = {element: bag.deadlines.pop(element) for element in words if element in bag.deadlines}

            def undo() -> None:
                bag.counts.update(taken)
                bag.deadlines.update(deadlines)

            return undo

        self.found(undo_is_the_identity, self.with_edit(b"BAGTAKE", wrong))

    def test_an_undo_that_forgets_deadlines(self) -> None:
        """Found, too."""

        def wrong(bag: Bag, words: Words) -> Undo:
            remembered(bag)
            before = bag.deadlines.get(words[1])
            for element in words[1:]:
                bag.deadlines[element] = int(words[0])
            return lambda: bag.deadlines.pop(words[1]) if before is None else None  # type: ignore[return-value]

        self.found(undo_is_the_identity, self.with_edit(b"BAGEXPIREAT", wrong))

    def test_a_whole_that_is_not(self) -> None:
        """One that leaves out the fourth element, or deadlines."""
        for wrong in (lambda bag: list(whole(bag))[:1], lambda bag: (e for e in whole(bag) if e[0] == b"BAGPUT")):
            row = BAG._replace(whole=wrong)
            with mock.patch(f"{__name__}.content", lambda row, bag: (bag.counts, bag.deadlines)):
                self.found(whole_is_all, row)
                self.found(merge_is_replay, Types(TYPES.plain, (row,)))

    def test_a_dropped_patch(self) -> None:
        """A merge that leaves out the last patch of a key."""
        right = delta.decode_each
        with mock.patch.object(delta, "decode_each", lambda encoded: list(right(encoded))[:-1]):
            self.found(merge_is_replay, TYPES_AND_BAG)

    def test_a_swap_that_is_lost(self) -> None:
        """A merge that does not know what SWAPDB is about."""
        right = delta.Delta.add_each
        with mock.patch.object(
            delta.Delta, "add_each", lambda self, made: right(self, (each for each in made if each[0] != delta.SWAP))
        ):
            self.found(merge_is_replay, TYPES_AND_BAG)
