"""Who holds how much of what has a limit for all together: past it the one that holds most has to go, then the next.

Rejected: to let the one go whose bytes are the last straw. A few that hold much and wait could then keep everybody else
from holding anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class Holdings(Generic[Holder]):
    """See the module. `limit_bytes`: of all together; None: there is no limit. `too_much`: called with who has to go,
    what it holds, and what all do; it is forgotten already.
    """

    def __init__(self, limit_bytes: int | None, too_much: Callable[[Holder, int, int], None]) -> None:
        self.limit_bytes = limit_bytes
        self._too_much = too_much
        self._held: dict[Holder, int] = {}
        self.total_bytes = 0

    def note(self, holder: Holder, held_bytes: int) -> None:
        """`holder` holds so much now. Sees to the limit."""
        self.forget(holder)
        self._held[holder] = held_bytes
        self.total_bytes += held_bytes
        self.see_to_limit()

    def see_to_limit(self) -> None:
        """While it is too much, who holds most goes."""
        while self.limit_bytes is not None and self.total_bytes > self.limit_bytes:
            largest = max(self._held, key=self._held.__getitem__)
            held_bytes, all_bytes = self._held[largest], self.total_bytes
            self.forget(largest)
            self._too_much(largest, held_bytes, all_bytes)

    def forget(self, holder: Holder) -> None:
        """`holder` holds nothing, or is gone."""
        self.total_bytes -= self._held.pop(holder, 0)

    def forget_all(self) -> None:
        """Nobody holds anything that would be counted."""
        self._held.clear()
        self.total_bytes = 0
