"""The end of a turn: what is done in which order, on a reactor that tells it and on one that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.turn import STEP_NS, Turn
from tests.kit.edge import TellingReactor


class Reply:
    """Something gathered. `also`: done when it is flushed."""

    def __init__(self, done: list[str], name: str, also: Callable[[], None] = lambda: None) -> None:
        self._done = done
        self._name = name
        self._also = also

    def flush(self) -> None:
        """Note it."""
        self._done.append(self._name)
        self._also()


class Parts:
    """What a turn drives: `commit` and `arrivals` in one. Each may be replaced by a test."""

    overlaps = pauses = False

    def __init__(self, done: list[str]) -> None:
        self.commit_now: Callable[[], object] = lambda: done.append("commit")
        self.execute: Callable[[], object] = lambda: None
        self.wants_more: Callable[[], bool] = lambda: False


class Slow:
    """Somebody whose requests wait for time: each go takes `ms` of the clock `now`, until `goes` are done."""

    def __init__(self, case: WaitingTests, name: str, goes: int, ms: int) -> None:
        self._case = case
        self._name = name
        self._goes = goes
        self._ms = ms

    def go_on(self, until_ns: int) -> None:
        """See `Waiting`."""
        while self._goes:
            self._goes -= 1
            self._case.done.append(self._name)
            self._case.now_ns += self._ms * 1_000_000
            if self._goes and self._case.now_ns >= until_ns:
                self._case.turn.wait(self)
                return


class TurnTests(SynchronousTestCase):
    """One turn after the other."""

    def setUp(self) -> None:
        """A reactor that tells. `done`: what happened."""
        self.reactor = TellingReactor()
        self.turn = Turn(self.reactor)
        self.done: list[str] = []
        self.parts: Any = Parts(self.done)
        self.turn.drive(self.parts, self.parts)

    def ends(self) -> list[str]:
        """The turn ends; what happened."""
        self.done.clear()
        self.reactor.end_turn()
        return list(self.done)

    def test_nothing_asked(self) -> None:
        """Then nothing happens."""
        self.assertEqual(self.ends(), [])

    def test_asked_often(self) -> None:
        """There is one commit a turn, however many ask."""
        for _ in range(3):
            self.turn.ask_for_commit()
        self.assertEqual((self.ends(), self.ends()), (["commit"], []))

    def test_a_writer_that_waits(self) -> None:
        """Replies that wait for nothing leave before the commit, those that it sets free after it."""
        self.parts.commit_now = lambda: (self.done.append("commit"), self.turn.gather(Reply(self.done, "released")))[0]
        self.turn.ask_for_commit()
        self.turn.gather(Reply(self.done, "read"))
        self.assertEqual(self.ends(), ["read", "commit", "released"])
        self.assertEqual(self.ends(), [])

    def test_a_writer_that_overlaps(self) -> None:
        """The commit is on its way first; without one, replies leave all the same."""
        self.parts.overlaps = True
        self.turn.ask_for_commit()
        self.turn.gather(Reply(self.done, "read"))
        self.assertEqual(self.ends(), ["commit", "read"])
        self.turn.gather(Reply(self.done, "read"))
        self.assertEqual(self.ends(), ["read"])

    def test_asking_at_the_end(self) -> None:
        """What is asked for at the end of a turn is done at the end of the next."""
        self.parts.commit_now = lambda: (self.done.append("commit"), len(self.done) < 2 and self.turn.ask_for_commit())[
            0
        ]
        self.turn.ask_for_commit()
        self.assertEqual((self.ends(), self.ends()), (["commit"], ["commit"]))

    def test_a_bug_in_one(self) -> None:
        """The others' replies leave all the same, and the bug is logged."""
        self.turn.gather(Reply(self.done, "one", lambda: self.fail("planted by a test")))
        self.turn.gather(Reply(self.done, "two"))
        self.assertEqual(self.ends(), ["one", "two"])
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)

    def test_looking_again(self) -> None:
        """Before the end, as long as that is wanted and brings something; then what arrived is executed, once."""
        wanted = [True, True, True, False]
        self.parts.wants_more = lambda: wanted.pop(0)
        self.parts.execute = lambda: self.done.append("execute")
        self.reactor.coming = [lambda: self.done.append("came"), lambda: self.turn.ask_for_commit()]
        self.turn.schedule()
        self.assertEqual((self.ends(), self.reactor.looks, wanted), (["came", "execute", "commit"], 3, [False]))
        wanted = [False]
        self.turn.schedule()
        self.assertEqual((self.ends(), self.reactor.looks), (["execute"], 3))

    def test_a_commit_that_pauses(self) -> None:
        """Replies leave; the commit is asked for in each turn until it does not."""
        self.parts.pauses = True
        self.turn.ask_for_commit()
        self.turn.gather(Reply(self.done, "a"))
        self.assertEqual((self.ends(), self.ends()), (["a"], []))
        self.parts.pauses = False
        self.assertEqual((self.ends(), self.ends()), (["commit"], []))

    def test_a_bug_before_the_end(self) -> None:
        """What was executed by then is committed, and its replies leave; the next turn ends as ever."""
        self.parts.execute = lambda: self.fail("planted by a test")
        self.turn.ask_for_commit()
        self.assertEqual(self.ends(), ["commit"])
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
        self.parts.execute = lambda: None
        self.turn.ask_for_commit()
        self.assertEqual(self.ends(), ["commit"])

    def test_a_reactor_that_does_not_tell(self) -> None:
        """The commit comes with callLater(0), and replies are not to be gathered."""
        clock = Clock()
        turn = Turn(clock)
        turn.drive(self.parts)
        self.assertEqual((turn.gathers, self.turn.gathers), (False, True))
        turn.ask_for_commit()
        turn.ask_for_commit()
        self.assertEqual((self.done, len(clock.getDelayedCalls())), ([], 1))
        clock.advance(0)
        self.assertEqual(self.done, ["commit"])


class WaitingTests(SynchronousTestCase):
    """Those whose requests wait for time. `now_ns`: the clock; the share is 5 ms. `done`: who went on."""

    def setUp(self) -> None:
        """A reactor that tells."""
        self.reactor = TellingReactor()
        self.now_ns = 0
        self.turn = self.make(self.reactor)
        self.done: list[str] = []

    def make(self, reactor: Any) -> Turn:
        """A turn with that clock and share."""
        return Turn(reactor, 5_000_000, lambda: self.now_ns)

    def ends(self) -> list[str]:
        """The turn ends; what happened."""
        self.done.clear()
        self.reactor.end_turn()
        return list(self.done)

    def test_after_everything_else(self) -> None:
        """Replies leave and the commit is on its way before anybody goes on."""
        self.turn.drive(Parts(self.done))  # type: ignore[arg-type]
        self.turn.wait(Slow(self, "slow", 1, 1))
        self.turn.gather(Reply(self.done, "reply"))
        self.turn.ask_for_commit()
        self.assertEqual((self.ends(), self.ends()), (["reply", "commit", "slow"], []))

    def test_one_share_for_all(self) -> None:
        """However many there are; the next turn begins with who is next, and nobody goes twice before all others."""
        for name in ("a", "b", "c"):
            self.turn.wait(Slow(self, name, 4, 3))
        turns = [self.ends() for _ in range(8)]
        self.assertEqual(turns[:4], [["a", "b"], ["c", "a"], ["b", "c"], ["a", "b"]])
        self.assertEqual(turns[4:], [["c", "a"], ["b", "c"], [], []])

    def test_steps(self) -> None:
        """Each goes on for a step at most; the turn ends behind the one after which a socket is ready."""
        steps: list[int] = []
        ready = [False, False, True]

        def go_on(until_ns: int) -> None:
            steps.append(until_ns - self.now_ns)
            self.turn.wait(waiting)

        waiting = mock.Mock(go_on=go_on)
        self.turn = self.make(mock.Mock(wraps=self.reactor, somebody_is_ready=lambda: ready.pop(0)))
        self.turn.wait(waiting)
        self.ends()
        self.assertEqual((steps, ready), ([STEP_NS] * 3, []))

    def test_those_who_need_little(self) -> None:
        """Several go on in one turn."""
        for name in ("a", "b", "c"):
            self.turn.wait(Slow(self, name, 1, 2))
        self.assertEqual((self.ends(), self.ends()), (["a", "b", "c"], []))

    def test_a_reactor_that_does_not_tell(self) -> None:
        """They go on with callLater(0)."""
        clock = Clock()
        self.turn = self.make(clock)
        self.turn.wait(Slow(self, "a", 3, 5))
        clock.pump([0] * 3)
        self.assertEqual(self.done, ["a"] * 3)
