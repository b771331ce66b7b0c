"""A time limit that costs next to nothing to set and to lift, as is done for every request."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timeout:
    """Calls `expired` when a time limit has passed. `clock`: the reactor's.

    A limit that is lifted leaves the reactor's timer where it is, for the next one: so most limits cost a look at the
    clock.
    """

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._until: float | None = None
        self._timer: IDelayedCall | None = None

    def begin(self, seconds: float) -> None:
        """The limit is so far from now, instead of any that was set before."""
        self._until = self._clock.seconds() + seconds
        if self._timer is not None and self._timer.getTime() > self._until:
            self._timer.reset(seconds)
        elif self._timer is None:
            self._timer = self._clock.callLater(seconds, self._look)

    def lift(self) -> None:
        """There is no limit."""
        self._until = None

    def stop(self) -> None:
        """There is no limit, nor a timer."""
        self._until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The timer has fired: for the limit, for one that was lifted, or too early."""
        self._timer = None
        if self._until is None:
            return
        left = self._until - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._until = None
            self._expired()
