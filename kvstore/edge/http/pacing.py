"""How much of the loop's time goes to who watches: a fifth at most, whatever they ask for and however many they are.

Requests are answered one after the other, and so are pages that are looked at told what is new; after each there is a
rest that is four times as long as it took. Who watches with care never notices; who asks without end waits in a line of
other such, and the clients of the server do not wait for more than one answer.

Rejected: to let them wait with the clients whose share of a turn is over (`Turn.wait`): that bounds one turn, and
then there is the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

#: How long it rests, by how long it worked.
REST = 4
_NS = 1_000_000_000


class Pacing:
    """See the module. `call_later`: the reactor's. `steady_ns`: a steady clock."""

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], Any], steady_ns: Callable[[], int] = perf_counter_ns
    ) -> None:
        self._call_later = call_later
        self._steady_ns = steady_ns
        self._waiting: deque[Callable[[], None]] = deque()
        self._rests = False

    def do(self, work: Callable[[], None]) -> None:
        """Do this, which raises nothing: now, or when its turn has come."""
        self._waiting.append(work)
        if not self._rests:
            self._next()

    def _next(self) -> None:
        self._rests = bool(self._waiting)
        if not self._waiting:
            return
        began_ns = self._steady_ns()
        try:
            self._waiting.popleft()()
        finally:
            self._call_later(REST * (self._steady_ns() - began_ns) / _NS, self._next)
