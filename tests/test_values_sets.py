"""Sets: what their operations do, and undo; how they are built again, and how Valkey would hold them; scans, chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.value_type import Words
from kvstore.values.combining import difference, intersection, union
from kvstore.values.sets import MAX_SMALL_BYTES, MAX_SMALL_MEMBERS, MAX_SMALL_NUMBERS, SETS, Set

_EDITS = {edit.name: edit.apply for edit in SETS.edits}

_members = st.one_of(
    st.integers(-20, 300).map(b"%d".__mod__),
    st.sampled_from(
        [b"", b"x", b"\xff", b"\xfe", b"\xfd", b"\xfd0", b"\xff\xfe\xfd2", b"y" * 64, b"z" * 65, b"w" * 2000]
    ),
    st.sampled_from([b"-9223372036854775808", b"9223372036854775807", b"9223372036854775808", b"-0", b"01", b"+1"]),
)
_edits = st.lists(
    st.tuples(st.sampled_from([b"SADD", b"SADD", b"SREM"]), st.lists(_members, min_size=1, max_size=90)), max_size=8
)


def _content(value: Set) -> object:
    """All that can be seen of a set, in its order."""
    return value.encoding(), len(value), value.size_bytes(), list(value), value.scan(0)


def _of(members: Words, value: Set | None = None) -> Set:
    value = Set() if value is None else value
    value.add(members)
    return value


def _numbers(count: int, form: bytes = b"%d") -> list[bytes]:
    return [form % number for number in range(count)]


def _rebuilt(value: Set) -> Set:
    copy = Set(value._places)
    for name, words in SETS.whole(value):
        _EDITS[name](copy, words)
    return copy


class ModelTests(SynchronousTestCase):
    """Against Python's sets."""

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(_edits)
    def test_edits(self, edits: list[tuple[bytes, list[bytes]]]) -> None:
        """Every operation does what it does to a set, is undone exactly, and what is left can be built again."""
        value, model = Set(), set[bytes]()
        for name, words in edits:
            before = _content(value)
            _EDITS[name](value, words)()
            self.assertEqual(_content(value), before)
            _EDITS[name](value, words)
            model = model.union(words) if name == b"SADD" else model.difference(words)
            self.assertEqual(set(value), model)
            self.assertEqual((len(value), bool(value)), (len(model), bool(model)))
            asked = [*model, b"nosuch", b"n" * 2000]
            self.assertEqual(value.contains_each(asked), [member in model for member in asked])
            self.assertEqual([member in value for member in asked], [member in model for member in asked])
            if not model:  # it is not kept
                return
            self.assertEqual(_content(_rebuilt(value)), _content(value))
            self.assertEqual(_content(value.copy()), _content(value))

    def test_growing_and_shrinking(self) -> None:
        """Thousands of members that come one by one, and go: nothing is lost, and each order can be built again."""
        value, steps = Set(), []
        for member in _numbers(3000):
            steps.append(value.add([member]))
        full = _content(value)
        self.assertEqual(_content(_rebuilt(value)), full)
        for member in _numbers(3000)[::2]:
            steps.append(value.remove([member]))
        self.assertEqual(set(value), set(_numbers(3000)[1::2]))
        self.assertEqual(_content(_rebuilt(value)), _content(value))
        while len(steps) > 3000:
            steps.pop()()
        self.assertEqual(_content(value), full)
        while steps:
            steps.pop()()
        self.assertEqual(_content(value), _content(Set()))

    def test_many_at_once(self) -> None:
        """SADDs done at once leave the order that they leave one by one, even if they name the same members."""
        many = [_numbers(600), _numbers(600), [b"0", b"0"], _numbers(700)]
        one_by_one, at_once = Set(), Set()
        for members in many:
            one_by_one.add(members)
        self.assertEqual(at_once.add_each(many), [600, 0, 0, 100])
        self.assertEqual(_content(at_once), _content(one_by_one))

    def test_whole_in_pieces(self) -> None:
        """No operation that builds it is much longer than 64 KiB, unless one member is."""
        value = _of([*_numbers(8_000, b"member %d"), b"x" * 100_000])
        sizes = [sum(map(len, words)) for _, words in SETS.whole(value)]
        self.assertEqual(len([size for size in sizes if size > 65536]), 1)
        self.assertEqual(_content(_rebuilt(value)), _content(value))

    def test_bad_words(self) -> None:
        """SADD of nothing is no operation."""
        self.assertRaises(ValueError, _EDITS[b"SADD"], Set(), [])

    def test_changes_while_reading(self) -> None:
        """What is read in slices is what was there at first."""
        value = _of([*_numbers(2000), b"x" * 5000])
        before = list(value)
        taken = value.members()
        value.remove([*_numbers(1000), b"x" * 5000])
        value.add([b"new"])
        self.assertEqual([member for some in taken for member in some], before)


class EncodingTests(SynchronousTestCase):
    """How Valkey would hold them: see also the comparison with Valkey."""

    def held(self, encoding: str, *steps: tuple[bytes, Words]) -> None:
        """After these steps it would be held so; and when it is built again, too."""
        value = Set()
        for name, words in steps:
            _EDITS[name](value, words)
        self.assertEqual((value.encoding(), _rebuilt(value).encoding()), (encoding, encoding))

    def test_thresholds(self) -> None:
        """They are Valkey's; what is named twice counts for them, in one SADD."""
        add, most, small = b"SADD", MAX_SMALL_NUMBERS, MAX_SMALL_MEMBERS
        self.held("intset", (add, _numbers(most)))
        self.held("hashtable", (add, _numbers(most + 1)))
        self.held("intset", (add, _numbers(most)), (add, [b"7"]))
        self.held("hashtable", (add, _numbers(most)), (add, [b"-7"]))
        self.held("listpack", (add, _numbers(small, b"m%d")))
        self.held("hashtable", (add, _numbers(small + 1, b"m%d")))
        self.held("listpack", (add, _numbers(small - 1)), (add, [b"x"]))
        self.held("hashtable", (add, _numbers(small)), (add, [b"x"]))
        self.held("hashtable", (add, [b"x"] * (small + 1)))
        self.held("intset", (add, [b"1"] * most))
        self.held("hashtable", (add, [b"1"] * (most + 1)))
        self.held("listpack", (add, [b"m" * MAX_SMALL_BYTES]))
        self.held("hashtable", (add, [b"m" * (MAX_SMALL_BYTES + 1)]))

    def test_what_it_was(self) -> None:
        """A set that was a listpack, or a hash table, stays one."""
        self.held("listpack", (b"SADD", [b"1", b"x", b"2"]), (b"SREM", [b"x"]))
        self.held("listpack", (b"SADD", [b"1", b"x", b"2"]), (b"SREM", [b"x"]), (b"SADD", [b"3"]), (b"SREM", [b"1"]))
        self.held("listpack", (b"SADD", [b"1", b"x"]), (b"SREM", [b"x"]), (b"SADD", _numbers(MAX_SMALL_MEMBERS)))
        self.held("hashtable", (b"SADD", [b"1", b"x"]), (b"SREM", [b"x"]), (b"SADD", _numbers(MAX_SMALL_MEMBERS + 1)))
        self.held("hashtable", (b"SADD", [b"1", b"x" * 65]), (b"SREM", [b"x" * 65]))
        self.held("hashtable", (b"SADD", _numbers(600)), (b"SREM", _numbers(599)))

    def test_numbers(self) -> None:
        """Only what Redis takes for a whole number of 64 bits is one."""
        for member in (b"0", b"-1", b"9223372036854775807", b"-9223372036854775808", b"1234567890123456789"):
            self.held("intset", (b"SADD", [member]))
        for member in (b"", b"-", b"-0", b"01", b"+1", b" 1", b"1\n", b"1.0", b"9223372036854775808", b"1" * 20):
            self.held("listpack", (b"SADD", [b"1", member]))


class CombinationTests(SynchronousTestCase):
    """What sets have in common, and so on."""

    def test_all_sizes(self) -> None:
        """Small and large ones, near in size and far, with long members: as Python's sets have it, each member once."""
        chance, pool = Random(7), [*_numbers(6000), b"x" * 2000, b"\xff", b""]
        for places in (KeyedHash(b"s" * 16), None):
            for _ in range(40):
                plain = [
                    set(chance.sample(pool, chance.choice((1, 5, 130, 700, 5000)))) for _ in range(chance.randint(1, 4))
                ]
                sets = [_of(list(each), Set(places) if places else Set()) for each in plain]
                first, *others = plain
                self.are(union(sets), first.union(*others))
                self.are(intersection(sets), first.intersection(*others))
                self.are(difference(sets[0], sets[1:]), first.difference(*others))

    def are(self, found: Iterator[list[bytes]], expected: set[bytes]) -> None:
        """Those are found, each once."""
        members = [member for some in found for member in some]
        self.assertEqual((set(members), len(members)), (expected, len(expected)))

    def test_one_set_often(self) -> None:
        """A set has all with itself, and nothing else than itself."""
        for count in (3, 700):
            value = _of(_numbers(count))
            self.are(intersection([value, value]), set(value))
            self.are(union([value, value]), set(value))
            self.are(difference(value, [value]), set())


class ScanAndPickTests(SynchronousTestCase):
    """SSCAN's cursors and SRANDMEMBER's chance; what is below them has its tests with hashes."""

    def test_scan(self) -> None:
        """Each member of a set that nobody changes is given once."""
        for count in (5, 3000):
            value, cursor, seen = _of(_numbers(count)), 0, list[bytes]()
            while True:
                cursor, some = value.scan(cursor)
                seen += some
                if not cursor:
                    break
            self.assertEqual(sorted(seen), sorted(_numbers(count)))

    def test_uniform(self) -> None:
        """Each member is picked as often."""
        for count in (10, 700):
            counts = Counter(islice(_of(_numbers(count)).picks(Random(3)), 50 * count))
            self.assertEqual(len(counts), count)
            squares = sum((number - 50) ** 2 / 50 for number in counts.values())
            self.assertLess(squares, count + 5 * (2 * count) ** 0.5)
