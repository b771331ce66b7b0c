"""Lines over time: where the points are, gaps, and rows that are longer than a chart has points."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.page.charts import POINTS, chart


class ChartTests(SynchronousTestCase):
    """What becomes of rows of values."""

    def test_newest_right(self) -> None:
        """The newest value is at the right edge, the highest at the top; a row that is short leaves the left free."""
        line = chart("t", "count", {"a": [5, 10]}, 3, max).lines[0]
        self.assertEqual(line.path, "M300 60L600 0")
        self.assertEqual((line.now, line.median, line.most), (10, 7.5, 10))

    def test_one_scale(self) -> None:
        """Lines of a chart share their scale."""
        drawn = chart("t", "count", {"a": [20], "b": [5]}, 2, max)
        self.assertEqual((drawn.top, drawn.lines[1].path), (20, "M600 90"))

    def test_gap(self) -> None:
        """Where nothing is known the line is broken; a row of which nothing is known has none."""
        drawn = chart("t", "count", {"a": [1, None, 1], "b": [None]}, 3, max)
        self.assertEqual(drawn.lines[0].path, "M0 0M600 0")
        self.assertEqual(drawn.lines[1][1:], ("", None, None, None))

    def test_zeros(self) -> None:
        """A row of zeros lies at the bottom."""
        self.assertEqual(chart("t", "count", {"a": [0, 0]}, 2, max).lines[0].path, "M0 120L600 120")

    def test_long_rows(self) -> None:
        """Neighbours are put together, the newest group whole; what is said in numbers is exact."""
        row = [0.0] * (POINTS * 4 - 1) + [8]
        for together, top in ((max, 8), (min, 0)):
            drawn = chart("t", "count", {"a": [None, *row]}, POINTS * 4, together)
            path = drawn.lines[0].path
            self.assertEqual((path.count("L"), drawn.lines[0].most), (POINTS - 1, 8))
            self.assertTrue(path.endswith("L600 0" if top else "L600 120"), path[-20:])
