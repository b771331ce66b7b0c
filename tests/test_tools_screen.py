"""What `kvstore top` draws, without a terminal."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.tools import screen
from kvstore.tools.figures import Sample, compare
from kvstore.tools.screen import VIEWS, Style, summary, table, warnings


def figures(**changes: Any) -> dict[str, Any]:
    """Of a server that does nothing, but for these."""
    return compare(None, Sample(1, {"info": b""}, {})) | changes


class TextTests(SynchronousTestCase):
    """Figures as text."""

    def test_numbers(self) -> None:
        """Short, and none is what is not known."""
        self.assertEqual([screen.count(number) for number in (None, 0, 0.25, 9.96, 12.3, 9999, 12_345, 1_234_567, 2e9)],
                         ["-", "0", "0.2", "10.0", "12", "9999", "12.35k", "1.235M", "2G"])  # fmt: skip
        self.assertEqual([screen.duration(time_s) for time_s in (None, 0, 2.5e-5, 0.0012, 1.5, 100)],
                         ["-", "0 us", "25 us", "1.2 ms", "1.5 s", "100 s"])  # fmt: skip
        self.assertEqual([screen.age(time_s) for time_s in (None, 59, 60, 3_661, 90_000)],
                         ["0s", "59s", "1m00s", "1h01m", "1d01h"])  # fmt: skip
        self.assertEqual([screen.percent(None), screen.percent(0.123)], ["-", "12.3%"])
        self.assertEqual([screen.size(None), screen.size(1536)], ["-", "1.50K"])

    def test_curves(self) -> None:
        """The newest, by the greatest of them; nothing is nothing."""
        self.assertEqual(screen.curve([99, 0, 5, 10], 15, " .#"), " .# 10")
        self.assertEqual(screen.curve([0, 0], 80, " #"), "   0")
        self.assertEqual(screen.curve([], 80), " 0")
        self.assertEqual(screen.curve([1], 3), " 0")


class TableTests(SynchronousTestCase):
    """A table."""

    def rows(self, sort: str, *, falling: bool = True, most: int = 9, width: int = 79) -> list[str]:
        """Of commands, of which one was not called of late."""
        command = {"calls": 1, "busy_share": 0.0, "seconds_each": 1e-6, "p99_s": 1e-6, "failures_per_second": 0.0}
        rates = {"get": 5.0, "set": 7.0, "del": None}
        commands = [{"name": name, "per_second": rate, **command} for name, rate in rates.items()]
        lines = table(figures(commands=commands), VIEWS[0], sort, falling, most, width)
        self.assertLessEqual(max(len(line.text) for line in lines), width)
        return [line.text.split()[0] for line in lines[1:]]

    def test_order(self) -> None:
        """By any column, both ways; what is not known is least. Not more rows than there is room for."""
        self.assertEqual(self.rows("per_second"), ["set", "get", "del"])
        self.assertEqual(self.rows("per_second", falling=False), ["del", "get", "set"])
        self.assertEqual(self.rows("name", falling=False), ["del", "get", "set"])
        self.assertEqual(self.rows("per_second", most=1, width=10), ["set"])

    def test_nothing_to_show(self) -> None:
        """That is said, and why."""
        for view in VIEWS:
            self.assertIn("no ", table(figures(), view, view.sort, True, 9, 79)[-1].text)
            refused = figures(refused={view.rows: "NOPERM"})
            self.assertEqual([line.style for line in table(refused, view, view.sort, True, 9, 79)], [Style.WARNING])


class SummaryTests(SynchronousTestCase):
    """The lines on top."""

    def test_all_is_well(self) -> None:
        """Seven lines, and no warning."""
        lines = summary(figures(), "db:6380")
        self.assertEqual([line.style for line in lines], [Style.TITLE] + [Style.PLAIN] * 6)
        self.assertIn("db:6380", lines[0].text)

    def test_warnings(self) -> None:
        """A full disk, and a failed compaction."""
        troubled = figures()
        troubled["files"] |= {"full": True, "last_compaction_error": "no room"}
        self.assertEqual(len(list(warnings(troubled))), 2)
        self.assertEqual([line.style for line in summary(troubled, "")][-2:], [Style.WARNING] * 2)
