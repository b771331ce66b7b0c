"""What every type of values must do, found by its table row: undo, be built again, survive any split between checkpoint
and segments. A new type has these tests once its strategy stands in `tests.kit.value_strategies`.

`BrokenTests` shows that they find what they are there for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, MIB
from kvstore.base.value_type import Types, Undo, ValueType, Words
from kvstore.store import delta
from kvstore.store.examine import examine
from kvstore.store.merge import merge
from kvstore.store.operations import BadOperation
from kvstore.values import TYPES
from tests.kit import value_changes
from tests.kit.store_files import commit
from tests.kit.value_changes import Draw, all_seen, apply, change, changes, check, content, grown, live, new_store
from tests.kit.value_strategies import (
    BAG,
    STRATEGIES,
    TYPES_AND_BAG,
    Bag,
    edits,
    put,
    remembered,
    whole,
)
from tests.suites.crashes.run import small_files

_LARGEST_EDIT_BYTES = 64 * KIB


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
            check(20, undo_is_the_identity, row)

    def test_whole(self) -> None:
        """See `whole_is_all`."""
        for row in TYPES_AND_BAG.others:
            check(20, whole_is_all, row)

    def test_many_at_once(self) -> None:
        """See `many_are_one_by_one`."""
        for row in TYPES.others:
            check(15, many_are_one_by_one, row)

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
        self.enterContext(small_files())

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

        def counts_and_deadlines(row: ValueType, bag: Bag) -> object:
            return bag.counts, bag.deadlines

        for wrong in (lambda bag: list(whole(bag))[:1], lambda bag: (e for e in whole(bag) if e[0] == b"BAGPUT")):
            row = BAG._replace(whole=wrong)
            with (
                mock.patch(f"{__name__}.content", counts_and_deadlines),
                mock.patch.object(value_changes, "content", counts_and_deadlines),
            ):
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
