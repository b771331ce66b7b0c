"""Packed blocks: what is put in comes out, whatever its length."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.values.blocks import cut, join, pack, places_of, splice, unpack


class BlockTests(SynchronousTestCase):
    """Blocks of elements of one length, of some, of hundreds of bytes, and of none."""

    def setUp(self) -> None:
        """Make the elements."""
        random = Random(7)
        mixed = [random.randbytes(random.choice([0, 1, 3, 60])) for _ in range(100)]
        long = [b"x" * random.choice([3, 255, 256]) for _ in range(20)]
        self.samples = ([b"abc"] * 100, [b""] * 9, mixed, long, [b"one"])

    def test_taken_apart(self) -> None:
        """Whole and in part; cut and joined again."""
        for elements in self.samples:
            (block,) = pack(elements)
            self.assertEqual(unpack(block), tuple(elements))
            for at in range(1, len(elements)):
                self.assertEqual(unpack(block, at), tuple(elements[at:]))
                joined = join(cut(block, 0, at), cut(block, at, len(elements)))
                self.assertEqual((*joined[0],), (*block[0],))
                self.assertEqual(joined[1], block[1])

    def test_searched(self) -> None:
        """An element is found where it begins, not where its bytes stand across two others."""
        for elements in (
            *self.samples,
            [b"aab", b"aba", b"baa", b"aba"],
            [b"aa"] * 40 + [b"ab"] * 3,
            [b"a", b"aa", b"a"],
        ):
            for element in {*elements, b"aba", b"a", b"none"}:
                places = [place for place, each in enumerate(elements) if each == element]
                self.assertEqual(places_of(pack(elements)[0], element), places)

    def test_spliced(self) -> None:
        """One element in place of some; in two blocks if there is no room in one."""
        for elements in self.samples:
            (block,) = pack(elements)
            for element in (b"new", b"n" * 300):
                (spliced,) = splice(block, 0, 1, element)
                self.assertEqual(unpack(spliced), (element, *elements[1:]))
            halves = splice(block, len(elements), len(elements), b"n" * 8192)
            self.assertEqual([each for half in halves for each in unpack(half)], [*elements, b"n" * 8192])
            self.assertTrue(all(len(lengths) == 1 or len(body) <= 8192 for lengths, body in halves))

    def test_one_long_element_is_not_copied(self) -> None:
        """It is its own block."""
        element = bytes(100_000)
        self.assertIs(pack([element])[0][1], element)
        self.assertIs(unpack(pack([element])[0])[0], element)
