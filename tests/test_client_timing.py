"""How long requests took, on a simulated clock; and the progress bar, on a simulated terminal."""

from __future__ import annotations

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client.progress import Progress
from kvstore.client.timing import MILLISECOND_NS, Timings

MICROSECOND_NS = 1000


def timed(*latencies_ns: int) -> Timings:
    """A stage from second 1000 on, whose requests took so long, one directly after the other."""
    timings = Timings("insert", lambda: 0, lambda: 1000.0)
    now = 0
    for latency in latencies_ns:
        timings.add(now, now + latency)
        now += latency
    return timings


class TimingsTests(SynchronousTestCase):
    """`Timings`."""

    def test_figures(self) -> None:
        """Count, span, throughput and mean are those of the requests."""
        timings = timed(100 * MILLISECOND_NS, 300 * MILLISECOND_NS)
        self.assertEqual((timings.count, timings.seconds, timings.per_second()), (2, 0.4, 5.0))
        self.assertEqual(timings.mean_ms(), 200.0)

    def test_quantiles_by_nearest_rank(self) -> None:
        """Of 100 latencies of 1 to 100 ms, the p-th percentile is p ms; 0 and 1 are the fastest and slowest."""
        timings = timed(*(i * MILLISECOND_NS for i in range(100, 0, -1)))
        self.assertEqual(timings.quantiles_ms(0, 0.01, 0.5, 0.99, 1), [1, 1, 50, 99, 100])

    def test_quantiles_of_one(self) -> None:
        """Every quantile of one request is that request."""
        self.assertEqual(timed(7 * MILLISECOND_NS).quantiles_ms(0, 0.5, 0.99, 1), [7, 7, 7, 7])

    def test_stage_without_requests(self) -> None:
        """A stage that did nothing has figures of 0."""
        timings = timed()
        self.assertEqual((timings.count, timings.per_second(), timings.mean_ms()), (0, 0, 0))
        self.assertEqual((timings.quantiles_ms(0.5, 1), timings.histogram_us(), timings.slowest(3)), ([0, 0], [], []))

    def test_slowest(self) -> None:
        """The slowest come with their numbers, the slowest first."""
        timings = timed(1 * MILLISECOND_NS, 9 * MILLISECOND_NS, 5 * MILLISECOND_NS)
        self.assertEqual(timings.slowest(2), [(9, 1), (5, 2)])

    def test_completed_per_interval(self) -> None:
        """A request counts in the tenth of a second in which it got its answer."""
        timings = timed(99 * MILLISECOND_NS, 1 * MILLISECOND_NS, 350 * MILLISECOND_NS)
        self.assertEqual(timings.as_json()["completed_per_interval"], [1, 1, 0, 0, 1])

    def test_json(self) -> None:
        """The object for programs has the wall times and the figures."""
        shown = timed(100 * MILLISECOND_NS, 300 * MILLISECOND_NS).as_json()
        self.assertEqual((shown["name"], shown["count"], shown["start"], shown["end"]), ("insert", 2, 1000.0, 1000.4))
        self.assertEqual((shown["p50_ms"], shown["slowest_ms"], shown["mean_ms"]), (100, 300, 200))

    @given(latencies_us=st.lists(st.integers(0, 10**7), min_size=1))
    def test_histogram(self, latencies_us: list[int]) -> None:
        """Every latency is in the histogram once, in a bucket whose upper end is at most 1/16 above it."""
        histogram = timed(*(us * MICROSECOND_NS for us in latencies_us)).histogram_us()
        ends = [end for end, _ in histogram]
        self.assertEqual(sum(count for _, count in histogram), len(latencies_us))
        self.assertTrue(all(low < high for low, high in pairwise(ends)))
        for us in latencies_us:
            end = min(end for end in ends if end >= us)
            self.assertLessEqual(end, us * 17 / 16)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class ProgressTests(SynchronousTestCase):
    """`Progress`."""

    def setUp(self) -> None:
        """A clock that stands until it is set."""
        self.now = 100.0

    def test_on_a_terminal(self) -> None:
        """The bar grows on one line, and is gone at the end."""
        terminal = Terminal()
        progress = Progress("insert", terminal, lambda: self.now)
        progress.show(0)
        self.now += 1
        progress.show(0.5)
        progress.clear()
        first, second, last = terminal.getvalue().split("\r")[1:]
        self.assertEqual(first, f"insert [{' ' * 40}]   0%")
        self.assertEqual(second, f"insert [{'#' * 20}{' ' * 20}]  50%")
        self.assertEqual(last, "\x1b[K")

    def test_not_too_often(self) -> None:
        """It is drawn ten times a second at most."""
        terminal = Terminal()
        progress = Progress("insert", terminal, lambda: self.now)
        for _ in range(100):
            progress.show(0)
            self.now += 0.01
        self.assertEqual(terminal.getvalue().count("\r"), 10)

    def test_more_than_all(self) -> None:
        """Past its end it stays full."""
        terminal = Terminal()
        Progress("insert", terminal, lambda: self.now).show(1.7)
        self.assertIn(f"[{'#' * 40}] 100%", terminal.getvalue())

    def test_elsewhere(self) -> None:
        """Into a file or a pipe nothing is drawn."""
        stream = io.StringIO()
        progress = Progress("insert", stream, lambda: self.now)
        progress.show(0.5)
        progress.clear()
        self.assertEqual(stream.getvalue(), "")
