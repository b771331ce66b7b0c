"""Lists against a plain Python list, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from random import Random

from twisted.trial.unittest import TestCase

from kvstore.values.lists import LISTS, List

EDITS = {edit.name: edit.apply for edit in LISTS.edits}


def build(elements: Iterable[bytes]) -> List:
    """A list of these elements."""
    value = List()
    value.push_right(list(elements))
    return value


def expected(model: list[bytes], name: bytes, words: list[bytes]) -> list[bytes]:
    """What an operation makes of a plain list."""
    after = list(model)
    if name == b"RPUSH":
        after += words
    elif name == b"LPUSH":
        after[:0] = words[::-1]
    elif name == b"LPOP":
        del after[: int(words[0])]
    elif name == b"RPOP":
        del after[len(after) - int(words[0]) :]
    elif name == b"LSET":
        after[int(words[0])] = words[1]
    elif name == b"LINSERT":
        after.insert(after.index(words[1]) + (words[0] == b"AFTER"), words[2])
    elif name == b"LTRIM":
        after = after[int(words[0]) : int(words[1]) + 1]
    else:
        indices = [index for index, element in enumerate(after) if element == words[1]]
        count = int(words[0])
        for index in reversed(indices[:count] if count > 0 else indices[count:]):
            del after[index]
    return after


class Chance:
    """Random edits. Of elements: many alike, numbers, empty ones, some of any bytes, a few longer than a block."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.undoes = False

    def element(self) -> bytes:
        """Some element."""
        kind = self._random.random()
        if kind < 0.3:
            return b"abc"
        if kind < 0.6:
            return b"%d" % self._random.randrange(20)
        if kind < 0.8:
            return b""
        return self._random.randbytes(self._random.randrange(300 if kind < 0.97 else 20_000))

    def edit(self, model: list[bytes]) -> tuple[bytes, list[bytes]]:
        """An operation that can be done to a list like `model`, of which most stays."""
        random, count = self._random, len(model)
        self.undoes = random.random() < 0.3
        name = random.choice(list(EDITS)) if count else b"LPUSH"
        if name in (b"RPUSH", b"LPUSH"):
            return name, [self.element() for _ in range(random.choice([1, 2, 5, 100, 700]))]
        if name in (b"LPOP", b"RPOP"):
            return name, [b"%d" % random.choice([1, min(count, 3), random.randint(1, count) // 2])]
        if name == b"LSET":
            return name, [b"%d" % random.randrange(count), self.element()]
        if name == b"LINSERT":
            return name, [random.choice([b"BEFORE", b"AFTER"]), random.choice(model), self.element()]
        if name == b"LREM":
            return name, [b"%d" % random.randint(-5, 5), random.choice(model)]
        start = random.randrange(min(count, 10))
        return name, [b"%d" % start, b"%d" % max(start, count - 1 - random.randrange(10))]


class EditTests(TestCase):
    """Each edit does what it says, and its undo puts everything back, the blocks included."""

    def test_random_edits(self) -> None:
        """Of elements of all sizes; some edits are undone."""
        for seed in range(8):
            chance, value, model = Chance(seed), List(), list[bytes]()
            for _ in range(80):
                name, words = chance.edit(model)
                before = value.blocks[:], len(value), value.size_bytes()
                undo, after = EDITS[name](value, words), expected(model, name, words)
                self._check(value, after)
                if chance.undoes:
                    undo()
                    self.assertEqual((value.blocks, len(value), value.size_bytes()), before)
                else:
                    model = after
            self._check_reading(value, model, Random(seed))

    def _check(self, value: List, model: list[bytes]) -> None:
        self.assertEqual(list(value), model)
        self.assertEqual(len(value), len(model))
        self.assertEqual(value.size_bytes(), sum(map(len, model)) + 8 * len(model))
        for lengths, body in value.blocks:
            self.assertTrue(lengths)
            self.assertTrue(len(lengths) == 1 or (len(lengths) <= 512 and len(body) <= 8192))

    def _check_reading(self, value: List, model: list[bytes], random: Random) -> None:
        for _ in range(30 if model else 0):
            index = random.randrange(len(model))
            self.assertEqual(value.at(index), model[index])
            start, stop = sorted((index, random.randrange(len(model) + 1)))
            self.assertEqual(list(value.range(start, stop)), model[start:stop])
            element = model[index]
            indices = [index for index, each in enumerate(model) if each == element]
            self.assertEqual(list(chain(*value.indices(element))), indices)
            limit = random.randrange(len(model) + 2)
            self.assertEqual(list(chain(*value.indices(element, limit))), [i for i in indices if i < limit])
            self.assertTrue(value.holds(element))
            self.assertEqual(list(chain(*value.indices_backwards(element))), indices[::-1])
            last = [i for i in indices[::-1] if i >= len(model) - limit]
            self.assertEqual(list(chain(*value.indices_backwards(element, limit))), last)

    def test_whole_builds_it_again(self) -> None:
        """In operations of at most 64 KiB, which do not tell in what blocks it was."""
        elements = [b"x" * (number % 400) for number in range(3000)]
        other = List()
        for element in reversed(elements):
            other.push_left([element])
        operations = list(LISTS.whole(other))
        self.assertEqual(operations, list(LISTS.whole(build(elements))))
        again = List()
        for name, words in operations:
            self.assertLess(sum(map(len, words)) + 8 * len(words), 65_536)
            EDITS[name](again, words)
        self._check(again, elements)

    def test_a_copy_is_its_own(self) -> None:
        """What is done to one is not done to the other."""
        value = build([b"a", b"b"])
        copy = LISTS.copy(value)
        value.push_right([b"c"])
        copy.set(0, b"z")
        self.assertEqual((list(value), list(copy)), ([b"a", b"b", b"c"], [b"z", b"b"]))

    def test_pieces_are_of_the_moment_of_the_first(self) -> None:
        """A long LRANGE tells of its place in the order, whatever comes after it."""
        value = build([b"%d" % number for number in range(2000)])
        pieces = value.pieces(100, 1900)
        read = list(next(pieces))
        value.drop_left(1999)
        for piece in pieces:
            read += piece
        self.assertEqual(read, [b"%d" % number for number in range(100, 1900)])


class RefusalTests(TestCase):
    """Words that are no such operation change nothing."""

    def test_refused(self) -> None:
        """Neither by too few words, nor by numbers past what is there."""
        for name, *words in (
            (b"RPUSH",), (b"LPUSH",), (b"LPOP", b"3"), (b"RPOP", b"-1"), (b"LPOP", b"x"), (b"LPOP",),
            (b"LSET", b"2", b"z"), (b"LSET", b"-1", b"z"), (b"LSET", b"0"),
            (b"LINSERT", b"BESIDE", b"a", b"z"), (b"LINSERT", b"BEFORE", b"c", b"z"), (b"LINSERT", b"BEFORE", b"a"),
            (b"LREM", b"x", b"a"), (b"LREM", b"1"),
            (b"LTRIM", b"0", b"2"), (b"LTRIM", b"1", b"0"), (b"LTRIM", b"-1", b"1"), (b"LTRIM", b"0"),
        ):  # fmt: skip
            value = build([b"a", b"b"])
            with self.assertRaises(ValueError, msg=f"{name!r} {words}"):
                EDITS[name](value, words)
            self.assertEqual(list(value), [b"a", b"b"])


class BlocksOfListTests(TestCase):
    """Long lists stay in few blocks, whatever is done to them."""

    def test_few_bytes_for_short_elements(self) -> None:
        """Pushed one by one, or together."""
        for elements in ([b"%03d" % (number % 1000) for number in range(10_000)], [b"%0100d" % 7] * 10_000):
            one_by_one = List()
            for element in elements:
                one_by_one.push_right([element])
            for value in (one_by_one, build(elements)):
                payload = sum(map(len, elements))
                held = sum(len(lengths) + len(body) + 150 for lengths, body in value.blocks)
                self.assertLess(held, 1.5 * payload)

    def test_inserting_at_one_place_fills_blocks(self) -> None:
        """A block that is full is halved."""
        value = build([b"%03d" % number for number in range(512)])
        for _ in range(2000):
            value.insert(behind=False, pivot=b"511", element=b"new")
        self.assertLess(len(value.blocks), 12)

    def test_removing_here_and_there_leaves_no_crumbs(self) -> None:
        """Small neighbours are made one."""
        value = build([b"%05d" % number for number in range(4_000)])
        for number in range(4_000):
            if number % 100:
                value.remove(1, b"%05d" % number)
        self.assertEqual(list(value), [b"%05d" % number for number in range(0, 4_000, 100)])
        self.assertLess(len(value.blocks), 4)
