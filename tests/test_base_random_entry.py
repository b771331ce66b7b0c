"""Any key of a dict."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.random_entry import RandomEntry


class RandomEntryTests(SynchronousTestCase):
    """Each key has a chance."""

    def setUp(self) -> None:
        """The same chance each time."""
        self.entry, self.chance = RandomEntry(), Random(1)

    def drawn(self, some: dict[int, int], number: int) -> list[int]:
        """So many draws."""
        return [self.entry.key_of(some, self.chance) for _ in range(number)]

    def test_each_has_a_chance(self) -> None:
        """All keys of a small dict come, and of a large one as many of each tenth, more or less."""
        self.assertEqual(set(self.drawn(dict.fromkeys(range(20), 0), 500)), set(range(20)))
        drawn = self.drawn(dict.fromkeys(range(10_000), 0), 2000)
        for tenth in range(10):
            self.assertTrue(130 < sum(key // 1000 == tenth for key in drawn) < 270)

    def test_a_single_key(self) -> None:
        """It is found, also where thousands were before it."""
        some = dict.fromkeys(range(5000), 0)
        for key in range(4999):
            del some[key]
        self.assertEqual(set(self.drawn(some, 10)), {4999})

    def test_behind_a_gap(self) -> None:
        """A key behind a long gap has no more chance than others, once the gap is known; nor when it has grown."""
        some = dict.fromkeys(range(20_000), 0)
        for end in (8000, 12_000):
            for key in range(end):
                some.pop(key, None)
            self.drawn(some, 100)
            self.assertLess(self.drawn(some, 1000).count(end), 10)

    def test_another_dict(self) -> None:
        """What is known of one is not taken for known of another."""
        some = dict.fromkeys(range(5000), 0)
        for key in range(4000):
            del some[key]
        self.drawn(some, 100)
        self.assertIn(0, self.drawn({0: 0}, 1))
        self.assertLess(min(self.drawn(dict.fromkeys(range(5000), 0), 200)), 500)
