"""Long work in slices: a little at a time, so that nobody waits for all of it.

A slice ends by a stopwatch, not after a number of steps: how long a step takes is often up to a client (a pattern, the
length of a key). Nothing but the end of a slice hangs on what the watch shows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from time import perf_counter_ns
from typing import Any, TypeAlias

from kvstore.base.limits import MAX_SLICED_REQUESTS
from kvstore.base.reply import NOT_NOW

#: What a command returns that may take long; see `kvstore.base.reply.finish`.
Slices: TypeAlias = Generator[Any, None, Any]

#: How long a slice lasts. Redis's cycle of expiry: 1 ms at most when it is in a hurry, 25 ms when not.
SLICE_NS = 1_000_000


def in_slices(steps: Iterable[object]) -> Generator[None, None, None]:
    """Take `steps`, one after the other, and yield each time that SLICE_NS are over.

    A step takes well under a millisecond.
    """
    end_ns = perf_counter_ns() + SLICE_NS
    for _ in steps:
        if perf_counter_ns() >= end_ns:
            yield
            end_ns = perf_counter_ns() + SLICE_NS


class Slicing:
    """Requests in slices: at most MAX_SLICED_REQUESTS at once, since what they have noted is kept while they last.

    One more waits, before it has noted anything (`room`). Where nobody can wait, in EXEC, it is executed at once.
    """

    def __init__(self) -> None:
        self.under_way = 0

    def room(self) -> Generator[Any, None, None]:
        """What a request begins with that is about to go through much: wait while too many are under way."""
        if self.under_way >= MAX_SLICED_REQUESTS:
            yield NOT_NOW

    def go_through(self, steps: Iterable[object]) -> Generator[None, None, None]:
        """As `in_slices`; at once if too many are under way all the same."""
        if self.under_way >= MAX_SLICED_REQUESTS:
            deque(steps, maxlen=0)
            return
        self.under_way += 1
        try:
            yield from in_slices(steps)
        finally:
            self.under_way -= 1


def one_slice(steps: Iterable[object]) -> bool:
    """Take `steps` for one slice; returns whether it ended before they did."""
    return any(True for _ in in_slices(steps))
