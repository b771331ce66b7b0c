"""The log's line for clients that speak HTTP."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import ForeignProtocol
from kvstore.edge.foreigners import note_foreigner
from kvstore.edge.log_limit import LogLimit


class ForeignersTests(SynchronousTestCase):
    """One line a minute."""

    def test_what_it_says(self) -> None:
        """Who spoke what, and nothing of what was said: it may be a password; once a minute."""
        clock = Clock()
        limit = LogLimit(clock.seconds)
        with capturedLogs() as events:
            for _ in range(5):
                note_foreigner(limit, "10.0.0.1:5", ForeignProtocol("HTTP", b"POST /?password=secret"))
                clock.advance(14)
        (line,) = map(formatEvent, events)
        self.assertIn("client 10.0.0.1:5 sent HTTP and is disconnected", line)
        self.assertNotIn("secret", line)
