"""How the times of calls are counted, and what is read from that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.commands.histogram import Histogram


class HistogramTests(SynchronousTestCase):
    """Valkey's rule: two significant digits."""

    def test_bounds(self) -> None:
        """They are those that Valkey documents, in whole microseconds, and each holds what is at most so long."""
        histogram = Histogram()
        for took_ns in (1, 1031, 1032, 16_383, 32_768, 33_023, 33_024, 600_000_000, 5_000_000_000):
            histogram.add(took_ns)
        self.assertEqual(
            [(bound_ns // 1000, count) for bound_ns, count in histogram.below()][:11],
            [(1, 2), (2, 3), (4, 3), (8, 3), (16, 4), (33, 6), (66, 7), (132, 7), (264, 7), (528, 7), (1056, 7)],
        )
        self.assertEqual(list(histogram.below())[-1][1], histogram.count)
        self.assertEqual(list(Histogram().below()), [])

    def test_percentiles(self) -> None:
        """As HdrHistogram gives them: the longest that cannot be told from the one at that place."""
        histogram = Histogram()
        histogram.add(1000, 98)
        histogram.add(2000, 2)
        self.assertEqual(histogram.percentiles_ns([0, 50, 98, 99, 100]), [1000, 1003, 1003, 2007, 2007])
        self.assertEqual(Histogram().percentiles_ns([50]), [0])

    def test_at_most(self) -> None:
        """For any bounds that rise."""
        histogram = Histogram()
        histogram.add(1000, 98)
        histogram.add(2000, 2)
        self.assertEqual(histogram.at_most([1, 1000, 1999, 2000, 10**9]), [0, 98, 98, 100, 100])

    def test_what_has_come_since(self) -> None:
        """Of some together, and of these what is new; what was set back is no less than nothing."""
        before, now, other = Histogram(), Histogram(), Histogram()
        before.add(1000, 5)
        before.add(9000, 1)
        now.add(1000, 6)
        other.add(2000, 2)
        now.add_all(other)
        since = now.since(before)
        self.assertEqual((now.count, now.total_ns), (8, 10_000))
        self.assertEqual((since.count, since.percentiles_ns([0, 100])), (3, [1000, 2007]))

    def test_mean(self) -> None:
        """The sum is exact."""
        histogram = Histogram()
        histogram.add(1001, 3)
        histogram.add(1001, -1)
        self.assertEqual((histogram.count, histogram.total_ns), (2, 2002))

    @given(st.lists(st.integers(0, 2**40), min_size=1), st.floats(0, 100))
    def test_any_times(self, times: list[int], percent: float) -> None:
        """A percentile is at most 1 % above the time at its place, and never below; a bound counts what is below it."""
        histogram = Histogram()
        for took_ns in times:
            histogram.add(took_ns)
        (found,) = histogram.percentiles_ns([percent])
        exact = sorted(times)[max(1, int(percent / 100 * len(times) + 0.5)) - 1]
        self.assertTrue(exact * 0.99 <= found <= exact * 1.01, (exact, found))
        for bound_ns, count in histogram.below():
            self.assertEqual(count, sum(took_ns <= bound_ns for took_ns in times))
