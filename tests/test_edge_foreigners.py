"""The log's line for clients that speak HTTP."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import ForeignProtocol
from kvstore.edge.foreigners import Foreigners


class ForeignersTests(SynchronousTestCase):
    """One line a minute."""

    def setUp(self) -> None:
        """A clock, and the lines that are logged."""
        self.clock = Clock()
        self.lines: list[str] = []
        observer = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.foreigners = Foreigners(self.clock.seconds)

    def test_what_it_says(self) -> None:
        """Who sent what, as much as a log may show of it."""
        self.foreigners.note("10.0.0.1:5", ForeignProtocol("HTTP", b"POST /\x1b[0m" + b"x" * 200_000))
        (line,) = self.lines
        self.assertIn("client 10.0.0.1:5 sent HTTP ('POST /\\x1b[0mxxx", line)
        self.assertLess(len(line), 450)
        self.assertIn("0 more since", line)

    def test_once_a_minute(self) -> None:
        """The others are counted, and told with the next line."""
        error = ForeignProtocol("HTTP", b"POST /")
        for _ in range(5):
            self.foreigners.note("10.0.0.1:5", error)
            self.clock.advance(14)
        self.assertEqual(len(self.lines), 1)
        self.foreigners.note("10.0.0.1:5", error)
        self.assertIn("4 more since", self.lines[1])
        self.clock.advance(60)
        self.foreigners.note("10.0.0.1:5", error)
        self.assertIn("0 more since", self.lines[2])
