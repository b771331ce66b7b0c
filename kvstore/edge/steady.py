"""Timers by a steady clock.

Twisted's reactors measure time with the wall clock (`time.time`). When that is set back by an hour, by a person or by
NTP at boot, each timer that waits stands still for an hour more: no sync under `--sync everysec`, no mark, no look
whether the log is still there, no removal of expired keys. So the server's reactor gets the steady clock, that nobody
sets; only what is *meant* to be the time of day (deadlines, the times of commits) asks the wall clock.

Rejected: a scheduler of our own beside the reactor's; to notice jumps and start the timers again (each timer would have
to be known, those of Twisted's own services too).
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import DelayedCall, ReactorBase


def use_steady_clock(reactor: Any) -> None:
    """Let a reactor measure time with `time.monotonic`. Calls that wait keep the time they have still to wait.

    Anything but a real reactor (a test's Clock) has its own time and is left alone.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    difference = time.monotonic() - reactor.seconds()
    calls: list[DelayedCall] = reactor.getDelayedCalls()  # type: ignore[assignment]
    for call in calls:
        call.time += difference
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
