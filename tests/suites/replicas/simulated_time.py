"""Time that passes when a test says so, and what is to happen in it: Twisted's Clock, for very many calls."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class SimulatedTime:
    """Seconds from 0 on. Calls of one moment are made in the order in which they were asked for."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._asked = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def seconds(self) -> float:
        """How much has passed."""
        return self._now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something then."""
        self._asked += 1
        heappush(self._due, (self._now_s + delay_s, self._asked, call))

    def advance(self, seconds: float, after_each: Callable[[], None] = lambda: None) -> None:
        """Let time pass, and all happen that is due meanwhile."""
        ends_s = self._now_s + seconds
        while self._due and self._due[0][0] <= ends_s:
            self._now_s, _, call = heappop(self._due)
            call()
            after_each()
        self._now_s = ends_s
