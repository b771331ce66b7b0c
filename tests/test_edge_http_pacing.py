"""Answers by HTTP take a part of the loop's time."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.http.pacing import REST, Pacing


class PacingTests(SynchronousTestCase):
    """One after the other, with rests."""

    def setUp(self) -> None:
        """Works that take a millisecond each."""
        self.clock, self.now_ns, self.done = Clock(), 0, ""
        self.pacing = Pacing(self.clock.callLater, lambda: self.now_ns)

    def work(self, name: str) -> None:
        """Do it, or have it wait."""

        def do() -> None:
            self.now_ns += 1_000_000
            self.done += name

        self.pacing.do(do)

    def test_who_comes_seldom_does_not_wait(self) -> None:
        """After the rest it is as at first."""
        for name in "abc":
            self.work(name)
            self.assertEqual(self.done[-1], name)
            self.clock.advance(REST / 1000)

    def test_rests(self) -> None:
        """After each, by how long it took; in the order in which they came."""
        for name in "abc":
            self.work(name)
        self.assertEqual(self.done, "a")
        self.clock.advance(0.9 * REST / 1000)
        self.assertEqual(self.done, "a")
        self.clock.advance(0.1 * REST / 1000)
        self.assertEqual(self.done, "ab")
        self.clock.advance(REST / 1000)
        self.assertEqual(self.done, "abc")

    def test_a_bug_stops_nobody(self) -> None:
        """What is next has its turn."""
        self.assertRaises(ZeroDivisionError, self.pacing.do, lambda: 1 // 0)
        self.work("a")
        self.clock.advance(0)
        self.assertEqual(self.done, "a")
