"""Searches for documents while the table changes: each answers as of the moment when it began."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import slices
from kvstore.base.limits import MAX_SLICED_REQUESTS
from kvstore.base.reply import NOT_NOW, finish
from kvstore.store import index
from kvstore.store.index import DocumentIndexes, Found, atom_of, members_of
from tests.kit.harness import a_table

_SUBKEYS = ["a", "b"]
_members = st.sampled_from([1, 1.0, 2, True, "x", None, [1]])
_documents = st.dictionaries(st.sampled_from(_SUBKEYS), _members)
_steps = st.one_of(
    st.tuples(st.just("search"), st.sampled_from(_SUBKEYS), st.sampled_from([1, 2, True, "x", None])),
    st.tuples(st.just("go on"), st.integers(0, 5), st.integers(1, 6)),
    st.tuples(st.just("go on"), st.integers(0, 5), st.integers(1, 6)),
    st.tuples(st.just("leave"), st.integers(0, 5), st.none()),
    st.tuples(st.just("write"), st.integers(0, 19), _documents),
    st.tuples(st.just("write"), st.integers(0, 19), _documents),
    st.tuples(st.just("text"), st.integers(0, 19), st.none()),
    st.tuples(st.just("hash"), st.integers(0, 19), st.none()),
    st.tuples(st.just("delete"), st.integers(0, 19), st.none()),
    st.tuples(st.just("deadline"), st.integers(0, 19), st.integers(1, 3)),
    st.tuples(st.just("undone"), st.integers(0, 19), _documents),
    st.tuples(st.just("flush"), st.integers(0, 7), st.none()),
    st.tuples(st.just("time"), st.none(), st.none()),
    st.tuples(st.just("tidy"), st.none(), st.none()),
)


class Searches:
    """A table of documents, and searches under way. `going`: each with what it must find."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.now_ms = 1000
        self.table = a_table(lambda: self.now_ms)
        self.going: list[tuple[Generator[Any, None, list[Found]], set[Found]]] = []
        self.ended = self.waiting = 0
        for number, document in enumerate(documents):
            self.write(number, document)

    def write(self, number: int, document: dict[str, Any]) -> None:
        """Store a document."""
        self.table.write(b"k%d" % number, json.dumps(document).encode())

    def full_search(self, subkey: str, value: Any) -> set[Found]:
        """What a look at every document finds."""
        table, atom = self.table, atom_of(value)
        return {
            (key, text)
            for key, text in table.values.items()
            if table.exists(key) and subkey in members_of(text) and atom_of(members_of(text)[subkey]) == atom
        }

    def begin(self, subkey: str, value: Any) -> None:
        """Begin a search, if there is room for one more; its first slice is done at once, as for any request."""
        expected = self.full_search(subkey, value)
        self.going.append((self.table.indexes.find(subkey, atom_of(value) or ""), expected))
        self.go_on(len(self.going) - 1)

    def go_on(self, which: int) -> None:
        """One more slice of a search; if it ends it has found just what was there when it began."""
        search, expected = self.going[which]
        try:
            if next(search) is NOT_NOW:
                del self.going[which]
                self.waiting += 1
        except StopIteration as end:
            found = end.value
            assert len(found) == len(set(found)) and set(found) == expected, (found, expected)
            del self.going[which]
            self.ended += 1

    def step(self, what: str, which: Any, detail: Any) -> None:
        """One step of the table, or of a search."""
        table, key = self.table, b"k%d" % which if isinstance(which, int) else b""
        if what == "search":
            self.begin(which, detail)
        elif what == "go on":
            for _ in range(detail):
                if which < len(self.going):
                    self.go_on(which)
        elif what == "leave" and which < len(self.going):
            self.going.pop(which)[0].close()
        elif what == "write":
            self.write(which, detail)
        elif what == "text":
            table.write(key, b'"a": 1')
        elif what == "hash":
            table.delete(key)
            table.edit(key, b"HSET", [b"a", b"1"])
        elif what == "delete":
            table.delete(key)
        elif what == "deadline" and table.exists(key):
            table.set_deadline(key, self.now_ms + detail)
        elif what == "undone":
            table.pending.undo.clear()
            self.write(which, detail)
            table.delete(b"k1")
            if which < 3:
                table.flush()
            table.pending.take_back()
        elif what == "flush" and which == 0:
            table.flush()
        elif what == "time":
            self.now_ms += 1
        elif what == "tidy":
            table.tidy()
        table.pending.undo.clear()


class SearchTests(SynchronousTestCase):
    """One document, and one look, in each slice."""

    def setUp(self) -> None:
        """Small slices."""
        self.patch(slices, "SLICE_NS", 0)
        self.patch(index, "_AT_ONCE", 1)

    @given(st.lists(_documents, max_size=12), st.lists(_steps, max_size=60))
    def test_as_at_once(self, documents: list[dict[str, Any]], steps: list[tuple[str, Any, Any]]) -> None:
        """Whatever changes between its slices, a search finds what it would have found at once; indexes stay true."""
        searches = Searches(documents)
        for step in steps:
            searches.step(*step)
        while searches.going:
            searches.go_on(len(steps) % len(searches.going))
        for subkey in _SUBKEYS:
            for value in (1, 2, True, "x", None):
                found = finish(searches.table.indexes.find(subkey, atom_of(value) or ""))
                self.assertEqual(set(found), searches.full_search(subkey, value))

    def test_in_slices(self) -> None:
        """A first search lets others go on between its slices; one that follows it does not need to."""
        searches = Searches([{"a": number % 2} for number in range(40)])
        searches.begin("a", 1)
        rounds = 0
        while searches.going:
            searches.write(100 + rounds, {"a": 1})
            searches.go_on(0)
            rounds += 1
        self.assertGreaterEqual(rounds, 39)
        searches.begin("a", 1)
        self.assertEqual((searches.going, searches.ended), ([], 2))

    def test_two_share_a_pass(self) -> None:
        """A search that comes while the index is being built goes on with it, and ends with the first."""
        searches = Searches([{"a": 1}] * 40)
        searches.begin("a", 1)
        for _ in range(30):
            searches.go_on(0)
        searches.begin("a", 1)
        for _ in range(10):
            searches.go_on(1) if len(searches.going) > 1 else None
        self.assertEqual(searches.ended, 1)
        searches.go_on(0)
        self.assertEqual(searches.ended, 2)

    def test_what_changed_before_a_search_began(self) -> None:
        """A search that joins a pass does not take what was noted of a key that has changed by then."""
        searches = Searches([{"a": 1}] * 40)
        searches.begin("a", 1)
        searches.write(39, {"a": 2})
        searches.begin("a", 1)
        searches.begin("a", 2)
        searches.write(38, {"a": 2})
        while searches.going:
            searches.go_on(0)
        self.assertEqual(searches.ended, 3)

    def test_what_has_expired(self) -> None:
        """A key that has expired when the search begins is not found; one that expires later is."""
        searches = Searches([{"a": 1}] * 40)
        for number, deadline_ms in ((37, 1001), (38, 1002)):
            searches.table.set_deadline(b"k%d" % number, deadline_ms)
        searches.now_ms = 1001
        searches.begin("a", 1)
        searches.now_ms = 1002
        while searches.going:
            searches.go_on(0)
        self.assertEqual(searches.ended, 1)

    def test_nobody_waits(self) -> None:
        """When all who searched are gone the pass ends, and writes pay for nothing."""
        searches = Searches([{"a": 1}] * 40)
        searches.begin("a", 1)
        searches.begin("a", 2)
        searches.step("leave", 0, None)
        self.assertEqual(len(searches.table._observers), 1)
        searches.step("leave", 0, None)
        self.assertEqual(searches.table._observers, [])
        self.assertEqual(searches.table.indexes._building, {})

    def test_too_many_at_once(self) -> None:
        """Past the limit a search notes nothing and asks to wait, so that what is noted for all of them is bounded."""
        searches = Searches([{"a": 1}] * 40)
        for number in range(MAX_SLICED_REQUESTS + 1):
            searches.begin(f"s{number}", 1)
        self.assertEqual((len(searches.going), searches.waiting), (MAX_SLICED_REQUESTS, 1))
        self.assertEqual(len(searches.table.indexes._building), MAX_SLICED_REQUESTS)
        searches.step("leave", 0, None)
        searches.begin("a", 1)
        self.assertEqual((len(searches.going), searches.waiting), (MAX_SLICED_REQUESTS, 1))
        self.assertEqual(len(finish(searches.table.indexes.find("b", "x"))), 0)
        while searches.going:
            searches.go_on(0)
        self.assertEqual(searches.table.slicing.under_way, 0)

    def test_a_large_document(self) -> None:
        """It has a step for itself."""
        self.patch(index, "_AT_ONCE", 16)
        searches = Searches([{"a": 1, "b": "x" * 10_000}] * 20)
        searches.begin("a", 1)
        rounds = 0
        while searches.going:
            searches.go_on(0)
            rounds += 1
        self.assertGreaterEqual(rounds, 19)


class HashTests(SynchronousTestCase):
    """Nobody can choose what collides."""

    def test_indexes_hold_text(self) -> None:
        """Documents of numbers that Python gives one hash: as many different hashes in the index."""
        table = a_table()
        numbers = [number * (2**61 - 1) for number in range(1000)]
        for number in numbers:
            table.write(b"%d" % number, b'{"n":%d}' % number)
        self.assertEqual(len(set(map(hash, numbers))), 1)
        found: DocumentIndexes = table.indexes
        self.assertEqual(
            finish(found.find("n", atom_of(numbers[5]) or "")), [(b"%d" % numbers[5], b'{"n":%d}' % numbers[5])]
        )
        self.assertGreater(len(set(map(hash, found._by_subkey["n"]))), 990)
