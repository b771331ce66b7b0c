"""`maxmemory-clients`: what all clients hold together, of requests and replies, has a limit; past it the one that holds
most is disconnected, and then the next, as in Redis. CLIENT NO-EVICT ON exempts a client, and what it holds.

What a client holds is what it began and did not end, what it wants to be told, and replies that it has not taken; each
connection takes something besides. Nothing is counted while there is no such limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.setting_kinds import bytes_of_share
from kvstore.edge.holdings import Holdings

#: What a connection takes that holds nothing (docs/PERFORMANCE.md), in bytes.
CONNECTION_BYTES = 5000


class Holder(Protocol):
    """The connection of a client."""

    client: Client

    def evict(self, held_bytes: int, all_bytes: int) -> None:
        """This client holds most of what all clients hold, and that is too much."""


class ClientMemory(Holdings[Holder]):
    """See the module. `evicted`: called for each client that has to go.

    `begins`: called when there is a limit from now on, to have what each holds noted.
    """

    def __init__(self, configuration: Configuration, evicted: Callable[[], None], begins: Callable[[], None]) -> None:
        super().__init__(None, self._evict)
        self._configuration = configuration
        self._evicted = evicted
        self._begins = begins
        configuration.obey("maxmemory-clients", self._limit)
        configuration.obey("maxmemory", self._limit)

    def _limit(self, _: str) -> None:
        """The limit, or what it may be a share of, is another one now."""
        was_on = self.is_on
        text, memory_bytes = self._configuration.text("maxmemory-clients"), self._configuration.number("maxmemory")
        self.limit_bytes = bytes_of_share(text, memory_bytes) or None
        if not self.is_on:
            self.forget_all()
        elif not was_on:
            self._begins()
        self.see_to_limit()

    @property
    def is_on(self) -> bool:
        """Whether there is a limit."""
        return self.limit_bytes is not None

    def note(self, holder: Holder, held_bytes: int) -> None:
        """See `Holdings`. `held_bytes`: besides what each connection takes."""
        if "e" not in holder.client.switches:
            super().note(holder, CONNECTION_BYTES + held_bytes)
        else:
            self.forget(holder)

    def _evict(self, holder: Holder, held_bytes: int, all_bytes: int) -> None:
        self._evicted()
        holder.evict(held_bytes, all_bytes)
