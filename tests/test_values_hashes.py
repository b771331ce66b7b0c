"""Hashes: what their operations do, and undo; how they are built again; scans, chance, deadlines inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.value_type import Words
from kvstore.values import packed
from kvstore.values.buckets import LONG_BYTES
from kvstore.values.hashes import HASHES, MAX_SMALL_BYTES, MAX_SMALL_FIELDS, Hash

_EDITS = {edit.name: edit.apply for edit in HASHES.edits}
_NOW = 1000

_fields = st.one_of(
    st.integers(0, 40).map(b"%d".__mod__),
    st.sampled_from([b"", b"\xff", b"\xfe", b"\xfd", b"\xfd0", b"\xfda", b"\xff\xfe\xfd2", b"x" * 65, b"y" * 2000]),
)
_values = st.sampled_from([b"", b"1", b"\xfda", b"\xff\xfe", b"v" * 64, b"v" * 65, b"v" * (LONG_BYTES + 1)])
_ms = st.sampled_from([b"1", b"999", b"1000", b"1001", b"2000"])


def _with_count(fields: list[bytes]) -> tuple[bytes, ...]:
    return (b"FIELDS", b"%d" % len(fields), *fields)


_some_fields = st.lists(_fields, min_size=1, max_size=4)
_one_edit = st.one_of(
    st.lists(st.tuples(_fields, _values), min_size=1, max_size=30).map(
        lambda pairs: (b"HSET", [word for pair in pairs for word in pair])
    ),
    st.lists(_fields, min_size=1, max_size=25).map(lambda fields: (b"HDEL", fields)),
    st.tuples(_ms, _some_fields).map(lambda drawn: (b"HPEXPIREAT", (drawn[0], *_with_count(drawn[1])))),
    _some_fields.map(lambda fields: (b"HPERSIST", _with_count(fields))),
)
_edits = st.lists(_one_edit, max_size=8)


def _entries(value: Hash, now_ms: int = 0) -> list[tuple[bytes, bytes]]:
    return [entry for some in value.entries(now_ms) for entry in some]


def _content(value: Hash) -> object:
    """All that can be seen of a hash, in its order."""
    entries = _entries(value)
    deadlines = [value.deadline_ms(field) for field, _ in entries]
    return value.encoding(), len(value), value.size_bytes(), entries, deadlines, value.scan(0, 0)


def _filled(number: int, value: Hash | None = None) -> Hash:
    value = Hash() if value is None else value
    value.set([word for i in range(number) for word in (b"f%d" % i, b"v%d" % i)])
    return value


def _rebuilt(value: Hash) -> Hash:
    copy = Hash(value._places)
    for name, words in HASHES.whole(value):
        _EDITS[name](copy, words)
    return copy


class ModelTests(SynchronousTestCase):
    """Against dicts."""

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(_edits)
    def test_edits(self, edits: list[tuple[bytes, Words]]) -> None:
        """Every operation does what it does to a dict, is undone exactly, and what is left can be built again."""
        value, model, deadlines = Hash(), dict[bytes, bytes](), dict[bytes, int]()
        for name, words in edits:
            before = _content(value)
            _EDITS[name](value, words)()
            self.assertEqual(_content(value), before)
            _EDITS[name](value, words)
            _apply_to_model(model, deadlines, name, words)
            self.assertEqual(dict(_entries(value)), model)
            self.assertEqual(len(value), len(model))
            if model:  # without fields it is not kept
                self.assertEqual(_content(_rebuilt(value)), _content(value))
            self.assertEqual(_content(value.copy()), _content(value))
            asked = [*model, b"nosuch", b"z" * 2000]
            self.assertEqual(value.get_each(asked, _NOW), [value.get(field, _NOW) for field in asked])
            for field in asked:
                live = field in model and deadlines.get(field, _NOW + 1) > _NOW
                self.assertEqual(value.get(field, _NOW), model[field] if live else None)
                self.assertEqual(value.deadline_ms(field), deadlines.get(field))
            earliest = value.next_ms()
            self.assertEqual(earliest is None, not deadlines)
            self.assertTrue(earliest is None or earliest <= min(deadlines.values()))

    def test_order_of_small(self) -> None:
        """The fields of a small hash stand as they came; one that is set again keeps its place."""
        value = Hash()
        value.set([b"b", b"1", b"a", b"2", b"c", b"3", b"b", b"4"])
        value.remove([b"a"])
        value.set([b"a", b"5"])
        self.assertEqual(_entries(value), [(b"b", b"4"), (b"c", b"3"), (b"a", b"5")])

    def test_thresholds(self) -> None:
        """A hash becomes large at Valkey's thresholds, and stays large."""
        self.assertEqual(_filled(MAX_SMALL_FIELDS).encoding(), "listpack")
        value = _filled(MAX_SMALL_FIELDS + 1)
        self.assertEqual(value.encoding(), "hashtable")
        value.remove([b"f%d" % i for i in range(1, MAX_SMALL_FIELDS + 1)])
        self.assertTrue(value.encoding() == _rebuilt(value).encoding() == "hashtable")
        for length, large in ((MAX_SMALL_BYTES, False), (MAX_SMALL_BYTES + 1, True)):
            for words in ([b"f", b"v" * length], [b"f" * length, b"v"]):
                value = Hash()
                value.set(words)
                self.assertEqual(value.encoding() == "hashtable", large)

    def test_growing_and_shrinking(self) -> None:
        """Thousands of fields that come one by one, and go: nothing is lost, and each order can be built again."""
        value, steps = Hash(), []
        for i in range(3000):
            steps.append(value.set([b"f%d" % i, b"v%d" % i]))
        full = _content(value)
        self.assertEqual(_content(_rebuilt(value)), full)
        for i in range(0, 3000, 2):
            steps.append(value.remove([b"f%d" % i]))
        self.assertEqual(sorted(_entries(value)), sorted((b"f%d" % i, b"v%d" % i) for i in range(1, 3000, 2)))
        self.assertEqual(_content(_rebuilt(value)), _content(value))
        while len(steps) > 3000:
            steps.pop()()
        self.assertEqual(_content(value), full)
        while steps:
            steps.pop()()
        self.assertEqual(_content(value), _content(Hash()))

    def test_whole_in_pieces(self) -> None:
        """No operation that builds it is much longer than 64 KiB, unless one field is."""
        value = _filled(8_000)
        value.set([b"long", b"x" * 100_000])
        value.set_deadline([b"f%d" % i for i in range(8_000)], 5)
        sizes = [sum(map(len, words)) for _, words in HASHES.whole(value)]
        self.assertEqual(len([size for size in sizes if size > 65536]), 1)
        self.assertEqual(_content(_rebuilt(value)), _content(value))

    def test_bad_words(self) -> None:
        """Words that are no operation change nothing."""
        for name, words in (
            (b"HSET", []), (b"HSET", [b"a"]), (b"HPERSIST", []), (b"HPERSIST", [b"FIELDS", b"2", b"a"]),
            (b"HPEXPIREAT", []), (b"HPEXPIREAT", [b"x", b"FIELDS", b"1", b"f1"]),
            (b"HPEXPIREAT", [b"1", b"FIELD", b"1", b"f1"]), (b"HPEXPIREAT", [b"1", b"FIELDS", b"x", b"f1"]),
        ):  # fmt: skip
            value = _filled(3)
            before = _content(value)
            self.assertRaises(ValueError, _EDITS[name], value, words)
            self.assertEqual(_content(value), before)


def _apply_to_model(model: dict[bytes, bytes], deadlines: dict[bytes, int], name: bytes, words: Words) -> None:
    if name == b"HSET":
        for field, value in zip(words[::2], words[1::2], strict=True):
            model[field] = value
            deadlines.pop(field, None)
    elif name == b"HDEL":
        for field in words:
            model.pop(field, None)
            deadlines.pop(field, None)
    elif name == b"HPEXPIREAT":
        deadlines.update((field, int(words[0])) for field in words[3:] if field in model)
    else:
        for field in words[2:]:
            deadlines.pop(field, None)


def _scan(value: Hash, cursor: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    while True:
        cursor, some = value.scan(cursor, 0)
        yield cursor, [field for field, _ in some]
        if not cursor:
            return


class ScanTests(SynchronousTestCase):
    """HSCAN's cursors."""

    def test_changes_while_scanning(self) -> None:
        """However a hash grows and shrinks meanwhile, each field that stays is given."""
        chance = Random(1)
        for _ in range(6):
            value = _filled(600)
            others = [b"o%d" % i for i in range(chance.randrange(2500))]
            value.set([word for field in others for word in (field, b"")])
            seen: set[bytes] = set()
            for _, some in _scan(value):
                seen.update(some)
                number = chance.randrange(100)
                if chance.random() < 0.5:
                    value.remove(others[:number])
                    del others[:number]
                else:
                    fresh = [b"n%d" % chance.getrandbits(60) for _ in range(number)]
                    others += fresh
                    value.set([word for field in (*fresh, b"f0") for word in (field, b"v0")])
            self.assertEqual({b"f%d" % i for i in range(600)} - seen, set())

    def test_nothing_twice(self) -> None:
        """Of a hash that nobody changes each field is given once."""
        value = _filled(5000)
        self.assertEqual(max(Counter(field for _, some in _scan(value) for field in some).values()), 1)

    def test_after_a_restart(self) -> None:
        """A hash that is built again goes on at the same cursor, in another process too: its order is the secret's."""
        places = KeyedHash(b"s" * 16)
        value = _filled(1000, Hash(places))
        parts = list(_scan(value))
        cursor = parts[20][0]
        rest = [some for _, some in parts[21:]]
        self.assertEqual([some for _, some in _scan(_rebuilt(value), cursor)], rest)
        self.assertEqual(cursor, 168)
        self.assertNotEqual([some for _, some in _scan(_filled(1000), cursor)], rest)

    def test_any_cursor(self) -> None:
        """A cursor that nobody gave out is no harm."""
        for number in (1, 600, 5000):
            for cursor in (1, 7, 2**40 + 5, 2**64 - 1):
                self.assertLess(sum(len(some) for _, some in _scan(_filled(number), cursor)), number + 1)


class PickTests(SynchronousTestCase):
    """HRANDFIELD's chance."""

    def test_no_bucket_is_fuller_than_said(self) -> None:
        """However the fields came: else some would be picked too seldom."""
        for count in (1, 50, 3000):
            value = Hash(KeyedHash(b"s" * 16))
            for start in range(0, 6000, count):
                value.set_each([(b"f%d" % i, b"v") for i in range(start, start + count)])
            large: Any = value._held
            self.assertEqual(len(value), 6000)
            self.assertIn(large._fullest - max(map(packed.count, large._buckets)), range(8))

    def test_uniform(self) -> None:
        """Each field of a large hash is picked as often, whichever bucket it is in."""
        value, chance = _filled(700), Random(3)
        counts = Counter(islice(value.picks(chance, 0), 35_000))
        self.assertEqual(len(counts), 700)
        # 50 each on average
        self.assertLess(sum((number - 50) ** 2 / 50 for number in counts.values()), 700 + 5 * (2 * 700) ** 0.5)

    def test_expired(self) -> None:
        """What has expired is not picked, however much there is of it."""
        value = _filled(1000)
        value.set_deadline([b"f%d" % i for i in range(1, 1000)], _NOW)
        self.assertEqual(set(islice(value.picks(Random(5), _NOW), 200)), {(b"f0", b"v0")})
        value.set_deadline([b"f0"], _NOW)
        self.assertEqual(list(value.picks(Random(), _NOW)), [])
        self.assertEqual(list(Hash().picks(Random(), _NOW)), [])


class DeadlineTests(SynchronousTestCase):
    """Fields that expire."""

    def test_removal(self) -> None:
        """Those that have expired are removed, as many at once as are asked for, and no others."""
        value = _filled(5000)
        value.set_deadline([b"f%d" % i for i in range(4000)], _NOW)
        value.set_deadline([b"f%d" % i for i in range(3000, 4500)], _NOW + 1)
        self.assertEqual(value.count(_NOW - 1), 5000)
        while (value.next_ms() or 0) <= _NOW:
            found = value.expired(_NOW, 16)
            if found is not None:
                self.assertTrue(found[0] == b"HDEL" and len(found[1]) <= 16)
                value.remove(found[1])
        self.assertEqual(len(value), 2000)
        self.assertEqual(value.next_ms(), _NOW + 1)
        self.assertIsNone(value.expired(_NOW, 16))

    def test_undone_removal(self) -> None:
        """A removal that is undone is asked for again."""
        value = _filled(3)
        value.set_deadline([b"f1"], _NOW)
        for _ in range(3):
            found = value.expired(_NOW, 5)
            self.assertEqual(found, (b"HDEL", (b"f1",)))
            value.remove([b"f1"])()

    def test_readers(self) -> None:
        """A field past its deadline is not counted, listed or scanned, though it is still there."""
        value = _filled(600)
        value.set_deadline([b"f7"], _NOW)
        self.assertEqual((value.count(_NOW - 1), value.count(_NOW), len(value)), (600, 599, 600))
        self.assertNotIn(b"f7", dict(_entries(value, _NOW)))
        cursor, seen = 0, []
        while True:
            cursor, some = value.scan(cursor, _NOW)
            seen += some
            if not cursor:
                break
        self.assertEqual(len(seen), 599)


class SnapshotTests(SynchronousTestCase):
    """Reading a large hash by and by."""

    def test_changes_meanwhile(self) -> None:
        """What is read in slices is what was there at first."""
        value = _filled(2000)
        value.set([b"long", b"x" * 5000])
        value.set_deadline([b"f1"], 5)
        before = _entries(value)
        taken = value.entries(0)
        value.set([b"long", b"y", b"f0", b"changed"])
        value.remove([b"f%d" % i for i in range(2000)])
        self.assertEqual([entry for some in taken for entry in some], before)
