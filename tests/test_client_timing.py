"""How long requests took, by given times; and the progress bar, on a simulated terminal."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client.progress import Progress
from kvstore.client.timing import MILLISECOND_NS, Timings, together


def timed(*latencies_ns: int, start_ns: int = 0) -> Timings:
    """A stage whose requests took so long, one directly after the other."""
    timings = Timings("insert", start_ns)
    now = start_ns
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
        self.assertEqual((timings.quantiles_ms(0.5, 1), timings.slowest(3)), ([0, 0], []))

    def test_slowest(self) -> None:
        """The slowest come with their numbers, the slowest first."""
        timings = timed(1 * MILLISECOND_NS, 9 * MILLISECOND_NS, 5 * MILLISECOND_NS)
        self.assertEqual(timings.slowest(2), [(9, 1), (5, 2)])

    def test_together(self) -> None:
        """Of several, what ended between the latest start and the earliest end counts, both of them included."""
        early, late = timed(3, 3, 4, 6), timed(4, 4, 4, start_ns=4)  # end at 3, 6, 10, 16 and at 8, 12, 16
        found = together([early, late])
        self.assertEqual((found.name, found.start_ns, found.end_ns), ("insert", 4, 16))
        self.assertEqual(list(found.ended_ns), [6, 8, 10, 12, 16, 16])
        self.assertEqual(sorted(found.took_ns), [3, 4, 4, 4, 4, 6])

    def test_never_together(self) -> None:
        """One that ended before another began has nothing in common with it."""
        self.assertEqual(together([timed(1, 1), timed(5, start_ns=3)]).count, 0)

    @given(st.lists(st.lists(st.integers(1, 9), min_size=1), min_size=1, max_size=4))
    def test_together_is_what_the_definition_says(self, clients: list[list[int]]) -> None:
        """Begun at the same time, they lose what ended after the first of them had ended."""
        stages = [timed(*latencies) for latencies in clients]
        end = min(stage.end_ns for stage in stages)
        self.assertEqual(
            list(together(stages).ended_ns), sorted(t for stage in stages for t in stage.ended_ns if t <= end)
        )


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
