"""A node's own clock, on Twisted's: it runs at its own rate, and is the reactor of a process that can be held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from zope.interface import implementer


class NodeClock:
    """See the module. `rate`: of its seconds in a second; `offset_s`: what it shows at the beginning."""

    def __init__(self, clock: Clock, rate: float, offset_s: float) -> None:
        self._clock = clock
        self.rate = rate
        self._offset_s = offset_s
        self._held: list[NodeCall] | None = None
        self._run = 0

    def seconds(self) -> float:
        """See IReactorTime; also while the process is held."""
        return self._offset_s + self.rate * self._clock.seconds()

    def callLater(self, delay_s: float, call: Callable[..., object], *words: Any, **named: Any) -> NodeCall:
        """See IReactorTime."""
        run = self._run
        made = NodeCall(self, self.seconds() + delay_s, lambda: call(*words, **named) if run == self._run else None)
        self._clock.callLater(delay_s / self.rate, self._due, made)
        return made

    def _due(self, call: NodeCall) -> None:
        if self._held is None:
            call.happen()
        else:
            self._held.append(call)

    def end_run(self) -> None:
        """The process is killed: nothing of it is called any more."""
        self._run += 1
        self._held = None

    def hold(self) -> None:
        """The process stands still, as after SIGSTOP."""
        if self._held is None:
            self._held = []

    def go_on(self) -> None:
        """All that was due meanwhile happens."""
        held, self._held = self._held or [], None
        for call in held:
            self._clock.callLater(0, self._due, call)


@implementer(IDelayedCall)
class NodeCall:
    """One call to come. `due_s`: by the node's clock."""

    def __init__(self, clock: NodeClock, due_s: float, call: Callable[[], object]) -> None:
        self._clock = clock
        self._due_s = due_s
        self._call: Callable[[], object] | None = call

    def active(self) -> bool:
        """See IDelayedCall."""
        return self._call is not None

    def getTime(self) -> float:
        """See IDelayedCall."""
        return self._due_s

    def cancel(self) -> None:
        """See IDelayedCall."""
        assert self._call is not None
        self._call = None

    def happen(self) -> None:
        """It is due."""
        call, self._call = self._call, None
        if call is not None:
            call()

    def delay(self, seconds: float) -> None:
        """See IDelayedCall."""
        self.reset(self._due_s - self._clock.seconds() + seconds)

    def reset(self, seconds: float) -> None:
        """See IDelayedCall."""
        call = self._call
        assert call is not None
        self.cancel()
        again = self._clock.callLater(seconds, call)
        self._call, self._due_s = again.happen, again.getTime()
