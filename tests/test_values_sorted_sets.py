"""Sorted sets: what their operations do, and undo; how they are built again, and how Valkey would hold them; scans."""

from __future__ import annotations

import math
from random import Random
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.value_type import Words
from kvstore.values import ranked
from kvstore.values.ranked import Ranked, Sizes
from kvstore.values.scan_order import ScanOrder
from kvstore.values.sorted_sets import MAX_SMALL_BYTES, MAX_SMALL_MEMBERS, SORTED_SETS, SortedSet

_EDITS = {edit.name: edit.apply for edit in SORTED_SETS.edits}
_HASHED = KeyedHash(bytes(16))

_members = st.one_of(
    st.integers(0, 300).map(b"%d".__mod__),
    st.sampled_from([b"", b"\xff", b"\xfe", b"\xfd", b"\xfd0", b"\xff\xfe\xfd2", b"y" * 64, b"z" * 65, b"w" * 2000]),
)
_scores = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False), st.sampled_from([math.inf, -math.inf]))


def _of(scores: dict[bytes, float]) -> SortedSet:
    value = SortedSet(_HASHED)
    value.put(scores)
    return value


def _numbered(count: int) -> dict[bytes, float]:
    """So many members, of which three have one score."""
    return {b"m%d" % number: float(number // 3) for number in range(count)}


def _edited(value: SortedSet, name: bytes, *words: bytes) -> SortedSet:
    _EDITS[name](value, words)
    return value


def _in_order(scores: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))


class ModelTests(SynchronousTestCase):
    """A sorted set is a dictionary in order."""

    def check(self, value: SortedSet, scores: dict[bytes, float]) -> None:
        """All that can be read of it, and of what is built again, is what the dictionary says."""
        expected = _in_order(scores)
        names = [member for member, _ in expected]
        count = len(expected)
        self.assertEqual((len(value), bool(value)), (count, count > 0))
        self.assertEqual(value.pairs(0, count), expected)
        again = SortedSet()
        for name, words in value.whole():
            _edited(again, name, *words)
        self.assertEqual(again.pairs(0, count), expected)
        for rank in {0, count // 3, count // 2, count - 1} - {-1} if count else ():
            member, score = expected[rank]
            self.assertEqual((value.score(member), value.rank(member)), (score, rank))
            self.assertEqual(value.pairs(rank, count), expected[rank:])
            self.assertEqual(value.members(0, rank + 1), names[: rank + 1])
            for inclusive in (False, True):
                below = sum(each < score or (inclusive and each == score) for each in scores.values())
                self.assertEqual(value.below(score, inclusive=inclusive), below)
        self.assertEqual((value.score(b"no"), value.rank(b"no")), (None, None))

    @settings(max_examples=40, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_edits(self, data: st.DataObject) -> None:
        """Any edits, in blocks of few members, leave what they should; those that are undone leave nothing."""
        with mock.patch.multiple(ranked, _MOST=8, _FEW=3):
            value, scores = SortedSet(_HASHED), dict[bytes, float]()
            for _ in range(data.draw(st.integers(1, 8))):
                kind = data.draw(st.sampled_from(["put", "put", "for good", "remove", "range", "rank"]))
                before = value.pairs(0, len(value))
                if kind in ("put", "for good"):
                    given_ = data.draw(st.dictionaries(_members, _scores, min_size=1, max_size=90))
                    given_ = {member: score + 0.0 for member, score in given_.items()}
                    if kind == "for good":
                        value.put_for_good(given_)
                    else:
                        value.put(given_)()
                        self.assertEqual(value.pairs(0, len(value)), before)
                        value.put(given_)
                    scores |= given_
                elif kind == "remove":
                    gone = data.draw(st.lists(_members, min_size=1, max_size=60))
                    value.remove(gone)()
                    self.assertEqual(value.pairs(0, len(value)), before)
                    value.remove(gone)
                    scores = {member: score for member, score in scores.items() if member not in gone}
                elif kind == "range":
                    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(value)), st.integers(0, len(value)))))
                    value.remove_range(start, stop)()
                    self.assertEqual(value.pairs(0, len(value)), before)
                    value.remove_range(start, stop)
                    scores = dict(before[:start] + before[stop:])
                else:  # so that sums of sizes are there when the next edit comes
                    for member, _ in before[len(before) // 3 :: 7]:
                        value.rank(member)
                self.check(value, scores)

    def test_members_in_a_range(self) -> None:
        """Where all have one score, members are counted by their bytes, in a small one and in a large one."""
        for count in (MAX_SMALL_MEMBERS, 1500):
            names = sorted(b"%d" % number for number in range(count))
            value = _of(dict.fromkeys(names, 0.0))
            for wanted in (b"", b"5", b"50", b"5x", b"99999"):
                expected = sum(name < wanted for name in names)
                self.assertEqual(value.before(wanted, inclusive=False), expected)
                self.assertEqual(value.before(wanted, inclusive=True), expected + (wanted in names))


class EncodingTests(SynchronousTestCase):
    """How Valkey would hold it."""

    def test_thresholds(self) -> None:
        """A member more than a small one takes, or a longer one, makes it large; and it stays so."""
        self.assertEqual(_of(_numbered(MAX_SMALL_MEMBERS)).encoding(), "listpack")
        self.assertEqual(_of({b"x" * MAX_SMALL_BYTES: 1.0}).encoding(), "listpack")
        self.assertEqual(_of({b"x" * (MAX_SMALL_BYTES + 1): 1.0}).encoding(), "skiplist")
        value = _of(_numbered(MAX_SMALL_MEMBERS + 1))
        self.assertEqual(value.encoding(), "skiplist")
        value.remove_range(1, len(value))
        self.assertEqual((value.encoding(), value.copy().encoding()), ("skiplist", "skiplist"))
        undo = _of(_numbered(MAX_SMALL_MEMBERS))
        undo.put({b"one": 1.0})()
        self.assertEqual((undo.encoding(), len(undo)), ("listpack", MAX_SMALL_MEMBERS))

    def test_numbers(self) -> None:
        """Every score is read back as it was, but for the sign of 0."""
        for text in (b"-0", b"5e-324", b"1.7976931348623157e+308", b"-inf", b"0.1", b"123456789012345680"):
            for others in (0, 200):
                value = _edited(_of(_numbered(others)) if others else SortedSet(), b"ZADD", text, b"x")
                self.assertEqual(value.score(b"x"), float(text))
                self.assertFalse(value.score(b"x") == 0 and math.copysign(1, value.score(b"x") or 0) < 0)


class OperationTests(SynchronousTestCase):
    """The words of operations."""

    def test_words_that_are_none(self) -> None:
        """Words that no command made are refused, and nothing is changed."""
        bad: dict[bytes, list[Words]] = {
            b"ZADD": [[], [b"1"], [b"x", b"a"], [b"nan", b"a"], [b"1", b"a", b"2"], [b"1", b"a", b"", b"b"]],
            b"ZREMRANGEBYRANK": [[], [b"0"], [b"0", b"3"], [b"-1", b"0"], [b"2", b"1"], [b"x", b"1"]],
        }
        for scores in (_numbered(3), {b"x" * 65: 1.0, b"y": 2.0, b"z": 3.0}):
            for name, each in bad.items():
                for words in each:
                    value = _of(scores)
                    self.assertRaises(ValueError, _EDITS[name], value, words)
                    self.assertEqual(value.pairs(0, 3), _in_order(scores))

    def test_last_counts(self) -> None:
        """Of a member that one operation names twice the last score counts."""
        self.assertEqual(_edited(SortedSet(), b"ZADD", b"1", b"a", b"2", b"a").pairs(0, 1), [(b"a", 2.0)])

    def test_whole_is_in_pieces(self) -> None:
        """What builds a large one again is many operations of at most 64 KiB."""
        value = _of({b"%d" % number * 20: 1.0 for number in range(4000)})
        sizes = [sum(map(len, words)) for _, words in value.whole()]
        self.assertGreater(len(sizes), 3)
        self.assertLess(max(sizes), 64 * 1024)


class ScanTests(SynchronousTestCase):
    """Scans of large ones."""

    def scanned(self, value: SortedSet, change: Any = None) -> list[bytes]:
        """What a scan gives; `change` is called after each step."""
        found: list[bytes] = []
        cursor, begun = 0, False
        while cursor or not begun:
            order = value.scan_order()
            assert order is not None
            if not begun:
                order.begin()
            begun = True
            for _ in order.sort():
                pass
            cursor, some = order.scan(cursor)
            found += [member for member in some if value.score(member) is not None]
            if change is not None:
                change()
        value.scan_is_done(order)
        return found

    def test_all_of_them(self) -> None:
        """A scan gives every member once; of a small one there is no order."""
        value = _of(_numbered(3000))
        self.assertEqual(sorted(self.scanned(value)), sorted(_numbered(3000)))
        self.assertIsNone(_of(_numbered(5)).scan_order())

    def test_changes(self) -> None:
        """Members that are there from beginning to end are given, whatever comes, goes or moves; one that is gone is
        not.
        """
        value, pick, coming = _of(_numbered(2000)), Random(3), iter(range(10**6))

        def change() -> None:
            value.put({b"new%d" % next(coming): 1.0, b"m%d" % pick.randrange(1000): float(pick.randrange(9))})
            value.remove([b"m%d" % (1000 + pick.randrange(1000))])
            if pick.random() < 0.02:  # another server, or the order was dropped
                value.scan_is_done(value.scan_order())  # type: ignore[arg-type]

        found = self.scanned(value, change)
        self.assertLessEqual({b"m%d" % number for number in range(1000)}, set(found))
        self.assertLessEqual(set(found), set(value.members(0, len(value))) | set(_numbered(2000)))
        self.assertEqual(sorted(set(self.scanned(value))), sorted(value.members(0, len(value))))

    def test_the_order_is_dropped(self) -> None:
        """It is kept while a scan goes on; not when as many members have come or gone as there are."""
        value = _of(_numbered(1000))
        first = value.scan_order()
        self.assertIs(value.scan_order(), first)
        value.put({b"new%d" % number: 1.0 for number in range(900)})
        self.assertIs(value.scan_order(), first)
        value.remove_range(0, 1000)
        self.assertIsNot(value.scan_order(), first)

    def test_cursors_outlive_the_order(self) -> None:
        """A cursor means the same to an order of more buckets, and of fewer."""
        names = [b"%d" % number for number in range(1000)]
        for other in (names + [b"x%d" % number for number in range(9000)], names[:300]):
            one, two = ScanOrder(_HASHED, names[:]), ScanOrder(_HASHED, other[:])
            for order in (one, two):
                for _ in order.sort():
                    pass
            cursor, found = 0, []
            for _ in range(40):
                cursor, some = one.scan(cursor)
                found += some
            while cursor:
                cursor, some = two.scan(cursor)
                found += some
            self.assertLessEqual(set(names) & set(other), set(found))


class SizesTests(SynchronousTestCase):
    """Sums of sizes."""

    def test_sums(self) -> None:
        """What is before a block, and where a rank is, before and after changes."""
        sizes = [5, 1, 3, 8, 2, 7, 1]
        tree = Sizes(sizes)
        for number in range(len(sizes)):
            tree.add(number, number)
            sizes[number] += number
            places = [(block, at) for block, size in enumerate(sizes) for at in range(size)]
            self.assertEqual([tree.find(rank) for rank in range(sum(sizes))], places)
            self.assertEqual([tree.before(block) for block in range(8)], [sum(sizes[:block]) for block in range(8)])

    def test_blocks_are_joined(self) -> None:
        """What is removed here and there leaves no crumbs."""
        large = Ranked()
        large.put_sorted([(b"%06d" % number, 0.0) for number in range(50_000)])
        for number in range(50_000):
            if number % 50:
                large.take(b"%06d" % number)
        self.assertEqual(len(large), 1000)
        self.assertLess(len(large.parts()[1]), 40)


class ReplayTests(SynchronousTestCase):
    """What is built again from one operation is what it says, however its words stand there."""

    def test_one_operation(self) -> None:
        """In order or not, with scores of any form, named twice, empty members, many: as it is live."""
        add_each = next(edit.apply_each for edit in SORTED_SETS.edits if edit.name == b"ZADD")
        many = tuple(word for number in range(MAX_SMALL_MEMBERS + 1) for word in (b"%d" % number, b"m%d" % number))
        for words in (
            (b"1", b"a", b"2", b"b"),
            (b"2", b"a", b"1", b"b"),
            (b"1", b"b", b"1", b"a"),
            (b"1", b"a", b"2", b"a"),
            (b"01", b"a", b"2", b"b"),
            (b"0", b"", b"10", b"\xff\xfe"),
            (b"1.50", b"a", b"inf", b"b"),
            (b"9007199254740993", b"a"),
            (b"999999999999999", b"a"),
            (b"-1", b"a", b"-0", b"b"),
            (b"1", b"y" * (MAX_SMALL_BYTES + 1)),
            many,
            many[2:],
        ):
            with self.subTest(words=words[:4]):
                replayed, live = SortedSet(_HASHED), _edited(SortedSet(_HASHED), b"ZADD", *words)
                self.assertEqual(add_each(replayed, [list(words)]), [len(live)])
                self.assertEqual(replayed.pairs(0, len(live)), live.pairs(0, len(live)))
                self.assertEqual(list(replayed.whole()), list(live.whole()))
                self.assertEqual(replayed.encoding(), live.encoding())

    def test_no_operation(self) -> None:
        """Words that are no scores and members are refused, and nothing is there."""
        add_each = next(edit.apply_each for edit in SORTED_SETS.edits if edit.name == b"ZADD")
        for words in ((), (b"1",), (b"1", b"a", b"2"), (b"x", b"a"), (b"nan", b"a"), (b"", b"a")):
            with self.subTest(words=words):
                value = SortedSet(_HASHED)
                self.assertRaises(ValueError, add_each, value, [list(words)])
                self.assertFalse(value)
