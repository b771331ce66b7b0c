"""Numbers counted by powers of two."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.doubling import at_most, quantile, zeros


def counted(*numbers: int) -> list[int]:
    """The counts of these."""
    counts = zeros()
    for number in numbers:
        counts[number.bit_length()] += 1
    return counts


class DoublingTests(SynchronousTestCase):
    """What counts tell."""

    def test_at_most(self) -> None:
        """A number counts for each bound that it does not pass; below the first all are told with it."""
        self.assertEqual(list(at_most(counted(0, 1, 3, 4, 1000), 1, 4)), [(1, 2), (3, 3), (7, 4), (15, 4)])
        self.assertEqual(list(at_most(counted(0, 2**64 - 1), 63, 64)), [(2**63 - 1, 1), (2**64 - 1, 2)])

    def test_quantiles(self) -> None:
        """Spread evenly within their bucket; nothing counted is nothing."""
        self.assertEqual([quantile(counted(64, 80, 100, 127), share) for share in (0.25, 0.5, 1)], [80, 96, 128])
        self.assertEqual(quantile(counted(1, 64, 64, 64), 0.125), 1.5)
        self.assertEqual(quantile(zeros(), 0.5), 0)
