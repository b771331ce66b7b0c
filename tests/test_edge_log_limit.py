"""Lines that clients can cause: so many a minute of each kind, and the others counted."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import LOG_LINES_A_PERIOD, LOG_PERIOD_S
from kvstore.edge import log_limit
from kvstore.edge.log_limit import LogLimit


class LogLimitTests(SynchronousTestCase):
    """The limit by itself, on a clock."""

    def setUp(self) -> None:
        """A limit, and a log that a list observes."""
        self.clock = Clock()
        self.limit = LogLimit(self.clock.seconds)
        self.events: list[LogEvent] = []
        self.log = Logger(observer=self.events.append)
        self.patch(log_limit, "_log", self.log)

    def lines(self) -> list[str]:
        """The lines since the last time."""
        lines = [formatEvent(event) for event in self.events]
        self.events.clear()
        return lines

    def test_at_the_limit(self) -> None:
        """As many as it says; the next one is left out, and told when the minute is over."""
        for number in range(LOG_LINES_A_PERIOD + 1):
            self.limit(self.log.warn, "line {number}", number=number)
        self.assertEqual(self.lines(), [f"line {number}" for number in range(LOG_LINES_A_PERIOD)])
        self.clock.advance(LOG_PERIOD_S - 1)
        self.limit.tell()
        self.assertEqual(self.lines(), [])
        self.clock.advance(1)
        self.limit.tell()
        self.limit.tell()
        told = f"1 more lines of this kind are left out, past {LOG_LINES_A_PERIOD} in a minute: line {{number}}"
        self.assertEqual(self.lines(), [told])

    def test_below_the_limit(self) -> None:
        """Nothing is left out, and nothing is told."""
        self.limit(self.log.warn, "one")
        self.clock.advance(LOG_PERIOD_S)
        self.limit.tell()
        self.assertEqual(self.lines(), ["one"])

    def test_told_before_the_next_line(self) -> None:
        """Who is not asked to tell does it when there is another line."""
        for _ in range(3):
            self.limit(self.log.warn, "a", 1)
        self.clock.advance(LOG_PERIOD_S)
        self.limit(self.log.warn, "a", 1)
        self.assertEqual(self.lines(), ["a", "2 more lines of this kind are left out, past 1 in a minute: a", "a"])

    def test_kinds(self) -> None:
        """Each format, and each level, has a limit of its own."""
        for _ in range(2):
            self.limit(self.log.warn, "a {x}", 1, x=1)
            self.limit(self.log.info, "a {x}", 1, x=2)
            self.limit(self.log.warn, "b", 1)
        self.assertEqual(self.lines(), ["a 1", "a 2", "b"])
