"""What clients began and did not end, requests, MULTI blocks and subscriptions, has a limit over all of them: past it
the one that holds most is dropped. Rejected: to drop the one whose bytes are the last straw, for a few clients that
hold much and wait could then keep everybody else from writing anything long. (Redis's maxmemory-clients decides alike.)
"""

from __future__ import annotations

from typing import Protocol

from kvstore.base.limits import MAX_INPUT_BYTES, UNCOUNTED_INPUT_BYTES


class Holder(Protocol):
    """The connection of a client."""

    def drop_unfinished(self, held_bytes: int, all_bytes: int) -> None:
        """This client began most of what all clients did not end, and that is too much."""


class Unfinished:
    """What clients began and did not end: who holds how much, in bytes of memory. Small amounts are left out.

    `limit_bytes`: of all together.
    """

    def __init__(self, limit_bytes: int = MAX_INPUT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._held: dict[Holder, int] = {}
        self.total_bytes = 0

    def limit_to(self, text: str) -> None:
        """The setting `max-input-bytes` is this now; what is held already counts when more is."""
        self.limit_bytes = int(text)

    def note(self, holder: Holder, held_bytes: int) -> None:
        """`holder` holds so much now. Drops the one that holds most while it is too much."""
        self.forget(holder)
        if held_bytes <= UNCOUNTED_INPUT_BYTES:
            return
        self._held[holder] = held_bytes
        self.total_bytes += held_bytes
        while self.total_bytes > self.limit_bytes:
            largest = max(self._held, key=self._held.__getitem__)
            most, total = self._held[largest], self.total_bytes
            self.forget(largest)
            largest.drop_unfinished(most, total)

    def forget(self, holder: Holder) -> None:
        """`holder` holds nothing, or is gone."""
        self.total_bytes -= self._held.pop(holder, 0)
