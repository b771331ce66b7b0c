"""A process of an operating system, as far as a server in it can tell: a reactor whose calls wait while it stands
still, and are never made once it is dead; and a disk that ends it in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from kvstore.testing.simulated_disk import SimulatedDisk
from tests.suites.replicas.simulated_time import SimulatedTime

#: How long the reactor takes from one turn to the next, at least: what is due at once is not due at the same moment.
_TURN_S = 50e-6


class Killed(BaseException):
    """The process has ended, in the middle of what it did; no `except Exception` in it can have noticed."""


class Call:
    """See IDelayedCall. `time`: when it is due, by the reactor's clock."""

    def __init__(self, process: Process, time: float, function: Callable[[], object]) -> None:
        self._process = process
        self.time = time
        self.function = function
        self._is_active = True

    def active(self) -> bool:
        """See IDelayedCall."""
        return self._is_active

    def cancel(self) -> None:
        """See IDelayedCall."""
        self._is_active = False

    def getTime(self) -> float:
        """See IDelayedCall."""
        return self.time

    def reset(self, seconds: float) -> None:
        """See IDelayedCall."""
        self.time = self._process.seconds() + seconds
        self._process.arm(self)

    def make(self) -> None:
        """Call what is to be called."""
        if self._is_active:
            self._is_active = False
            self.function()


class Process:
    """See the module: one run of a server. `rate`: of its clock against the world's time."""

    def __init__(self, time: SimulatedTime, rate: float) -> None:
        self._time = time
        self._rate = rate
        self._held: list[Call] = []
        self._readings = 0
        self.is_dead = self.is_paused = False

    # What a server asks of its reactor

    def seconds(self) -> float:
        """See IReactorTime: a clock that cannot be set."""
        return self._time.seconds() * self._rate

    def steady_ns(self) -> int:
        """The same, in nanoseconds; each reading takes a microsecond."""
        self._readings += 1
        return int(self.seconds() * 1_000_000_000) + self._readings * 1000

    def callLater(self, delay: float, function: Callable[..., object], *arguments: Any, **named: Any) -> Call:
        """See IReactorTime."""
        if arguments or named:
            function = partial(function, *arguments, **named)
        call = Call(self, self.seconds() + delay, function)
        self.arm(call)
        return call

    def getThreadPool(self) -> Any:
        """No thread can be started: the loop syncs."""
        raise RuntimeError("there are no threads here")

    def arm(self, call: Call) -> None:
        """Have a call made in its time."""
        due_s = call.time
        self._time.call_later(max(_TURN_S, due_s / self._rate - self._time.seconds()), lambda: self._due(call, due_s))

    def _due(self, call: Call, time: float) -> None:
        if self.is_dead or call.time != time:
            return
        if self.is_paused:
            self._held.append(call)
        else:
            call.make()

    # What befalls it

    def pause(self) -> None:
        """It stands still; its clock does not."""
        self.is_paused = True

    def resume(self) -> None:
        """It goes on with all that is overdue, in order."""
        self.is_paused = False
        held, self._held = self._held, []
        for call in held:
            self._time.call_later(0, partial(self._due, call, call.time))


class Outgoing(Protocol):
    """A connection of `protocol`, of this process, to another one: the process hears of it by its own reactor, so not
    while it stands still, nor once it is dead. And if that ends it, the other one goes on.
    """

    def __init__(self, process: Process, protocol: Protocol) -> None:
        self._process = process
        self._protocol = protocol

    def connectionMade(self) -> None:
        """See Protocol."""
        self._protocol.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self._process.callLater(0, self._protocol.dataReceived, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self._process.callLater(0, self._protocol.connectionLost, reason)


class FatalDisk(SimulatedDisk):
    """A disk whose process ends with a change of it. `changes_left`: so many happen before; None: any number.

    `fatal`: called then; raises Killed.
    """

    changes_left: int | None = None

    def fatal(self) -> None:
        """See the class; to be replaced."""

    def _happen(self, function: Callable[..., None], *arguments: Any) -> None:
        if self.changes_left is not None:
            self.changes_left -= 1
            if self.changes_left < 0:
                self.fatal()
        super()._happen(function, *arguments)
