"""The reactor's timers go by a clock that nobody sets. On the real server: tests/test_end_to_end_faults.py."""

from __future__ import annotations

import time
from unittest import mock

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.steady import use_steady_clock


class Idle(ReactorBase):
    """A reactor that watches nothing."""

    def installWaker(self) -> None:
        """See ReactorBase."""


class SteadyTests(SynchronousTestCase):
    """`use_steady_clock`."""

    def test_time_by_the_steady_clock(self) -> None:
        """A call that is made afterwards comes in its time, wherever the wall clock is set meanwhile."""
        reactor = Idle()
        use_steady_clock(reactor)
        called: list[int] = []
        reactor.callLater(0, called.append, 1)
        with mock.patch("time.time", lambda: 0.0):
            reactor.runUntilCurrent()
        self.assertEqual(called, [1])
        self.assertLess(abs(reactor.seconds() - time.monotonic()), 60)

    def test_calls_that_wait(self) -> None:
        """They keep the time that they have still to wait, put off or not, and so does a second change of clocks."""
        reactor = Idle()
        call, other = reactor.callLater(1000, lambda: None), reactor.callLater(1, lambda: None)
        use_steady_clock(reactor)
        use_steady_clock(reactor)
        other.reset(2000)
        for waiting, seconds in ((call, 1000), (other, 2000)):
            self.assertLess(abs(waiting.getTime() - time.monotonic() - seconds), 60)

    def test_other_clocks_are_left_alone(self) -> None:
        """A test's clock goes on being the test's."""
        clock = Clock()
        clock.advance(7)
        use_steady_clock(clock)
        self.assertEqual(clock.seconds(), 7)
