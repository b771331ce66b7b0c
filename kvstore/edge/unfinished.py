"""What clients began and did not end, requests, MULTI blocks and subscriptions, has a limit over all of them: past it
the one that holds most is dropped. (Redis's maxmemory-clients decides alike.)
"""

from __future__ import annotations

from typing import Protocol

from kvstore.base.limits import MAX_INPUT_BYTES, UNCOUNTED_INPUT_BYTES
from kvstore.edge.holdings import Holdings


class Holder(Protocol):
    """The connection of a client."""

    def drop_unfinished(self, held_bytes: int, all_bytes: int) -> None:
        """This client began most of what all clients did not end, and that is too much."""


class Unfinished(Holdings[Holder]):
    """See the module. In bytes of memory; small amounts are left out. `limit_bytes`: of all together."""

    def __init__(self, limit_bytes: int = MAX_INPUT_BYTES) -> None:
        super().__init__(limit_bytes, lambda holder, held, total: holder.drop_unfinished(held, total))

    def limit_to(self, text: str) -> None:
        """The setting `max-input-bytes` is this now; what is held already counts when more is."""
        self.limit_bytes = int(text)

    def note(self, holder: Holder, held_bytes: int) -> None:
        """See `Holdings`."""
        if held_bytes > UNCOUNTED_INPUT_BYTES:
            super().note(holder, held_bytes)
        else:
            self.forget(holder)
