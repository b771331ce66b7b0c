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

#: What a connection takes that holds nothing (docs/PERFORMANCE.md), in bytes.
CONNECTION_BYTES = 5000


class Holder(Protocol):
    """The connection of a client."""

    client: Client

    def evict(self, held_bytes: int, all_bytes: int) -> None:
        """This client holds most of what all clients hold, and that is too much."""


class ClientMemory:
    """See the module. `is_on`: whether there is a limit. `evicted`: called for each client that has to go.

    `begins`: called when there is a limit from now on, to have what each holds noted.
    """

    def __init__(self, configuration: Configuration, evicted: Callable[[], None], begins: Callable[[], None]) -> None:
        self._configuration = configuration
        self._evicted = evicted
        self._begins = begins
        self._held: dict[Holder, int] = {}
        self._limit_bytes = self._total_bytes = 0
        configuration.obey("maxmemory-clients", self._limit)
        configuration.obey("maxmemory", self._limit)

    def _limit(self, _: str) -> None:
        """The limit, or what it may be a share of, is another one now."""
        was_on = self.is_on
        text, memory_bytes = self._configuration.text("maxmemory-clients"), self._configuration.number("maxmemory")
        self._limit_bytes = bytes_of_share(text, memory_bytes)
        if not self.is_on:
            self._held.clear()
            self._total_bytes = 0
        elif not was_on:
            self._begins()
        self._evict()

    @property
    def is_on(self) -> bool:
        """See the class."""
        return self._limit_bytes > 0

    def note(self, holder: Holder, held_bytes: int) -> None:
        """`holder` holds so much now. Disconnects those that hold most while it is too much."""
        self.forget(holder)
        if "e" not in holder.client.switches:
            self._held[holder] = CONNECTION_BYTES + held_bytes
            self._total_bytes += CONNECTION_BYTES + held_bytes
            self._evict()

    def _evict(self) -> None:
        while self._total_bytes > self._limit_bytes > 0:
            largest = max(self._held, key=self._held.__getitem__)
            held, total = self._held[largest], self._total_bytes
            self.forget(largest)
            self._evicted()
            largest.evict(held, total)

    def forget(self, holder: Holder) -> None:
        """`holder` holds nothing, or is gone."""
        self._total_bytes -= self._held.pop(holder, 0)
