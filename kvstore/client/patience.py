"""How long a client waits for the other side: not for silence, nor for a trickle, nor past the caller's deadline.

Waiting is paid from an allowance of some seconds. Bytes that move, in either direction, buy time at a fixed rate (each
1 / LEAST_BYTES_PER_SECOND of a second), but never more than the allowance was at first. So a transfer takes as long as
it needs while it moves, silence ends after the allowance, and one byte now and then, which would hold a plain time-out
off for ever, ends hardly later. What a peer can keep us waiting for in all is then bounded by how much we read of it.

Rejected: a time for the whole of a reply (what is enough for the largest is far too long for silence), and silence
alone (what it was: a byte each 0.3 s never ended).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kvstore.base.limits import LEAST_BYTES_PER_SECOND


class Patience:
    """`seconds`: the allowance. `clock`: tells the time, in seconds. `deadline`: on the clock; the end in any case."""

    def __init__(self, seconds: float, clock: Callable[[], float], deadline: float = math.inf) -> None:
        self._seconds = seconds
        self._clock = clock
        self._deadline = deadline
        self.renew()

    def renew(self) -> None:
        """Begin with the whole allowance again: something was done, and the next thing begins."""
        self._moved = False
        self._until = min(self._clock() + self._seconds, self._deadline)

    def moved(self, length: int) -> None:
        """Take note that so many bytes went in or out."""
        self._moved = True
        bought = self._until + length / LEAST_BYTES_PER_SECOND
        self._until = min(bought, self._clock() + self._seconds, self._deadline)

    def left(self) -> float:
        """Seconds to wait now, more than 0. Raises TimeoutError if there are none."""
        left = self._until - self._clock()
        if left <= 0:
            raise self.exhausted()
        return left

    def exhausted(self) -> TimeoutError:
        """What to raise, or to say, when the time is over."""
        if self._moved:
            return TimeoutError(f"fewer than {LEAST_BYTES_PER_SECOND} bytes a second moved in {self._seconds:g} s")
        return TimeoutError(f"no answer in {self._seconds:g} s")
