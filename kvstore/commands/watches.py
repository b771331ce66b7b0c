"""WATCH: which clients watch which keys, and what they are told when one changes.

An observer of the table, registered only while something is watched, so that writes pay nothing for it otherwise. A
client notes for each key whether it existed when it was watched; since the client is flagged at the first change,
that note is true of the key until then. It decides two cases that are no change to the client: the removal of a key
that had expired before the WATCH, and a flush of a key that was not there.

A change that is undone (the disk was full) flags the watchers all the same: the block is refused needlessly, never
wrongly run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvstore.commands.context import Client
    from kvstore.store.table import Table


class Watches:
    """The watched keys of all clients. `table`: where they are watched."""

    def __init__(self, table: Table) -> None:
        self._table = table
        #: Who watches a key: one client, as nearly always, or a set of several.
        self._by_key: dict[bytes, Client | set[Client]] = {}
        self._clients: set[Client] = set()

    def watch(self, client: Client, keys: Iterable[bytes]) -> None:
        """Flag `client` (`watched_changed`) when one of `keys` changes from now on. Takes some 0.3 us for each."""
        fresh = [key for key in dict.fromkeys(keys) if key not in client.watched]
        client.watched.update(zip(fresh, self._table.exist(fresh), strict=True))
        if not self._clients:
            self._table.observe(self)
        self._clients.add(client)
        if self._by_key.keys().isdisjoint(fresh):
            self._by_key.update(dict.fromkeys(fresh, client))
        else:
            for key in fresh:
                self._add(key, client)

    def _add(self, key: bytes, client: Client) -> None:
        others = self._by_key.get(key)
        if others is None:
            self._by_key[key] = client
        elif isinstance(others, set):
            others.add(client)
        else:
            self._by_key[key] = {others, client}

    def unwatch(self, client: Client) -> None:
        """Watch nothing for `client` any more, and take its flag down. To be called, too, when it disconnects."""
        client.watched_changed = False
        if client not in self._clients:
            return
        for key in client.watched:
            others = self._by_key[key]
            if isinstance(others, set) and len(others) > 1:
                others.discard(client)
            else:
                del self._by_key[key]
        self._table.garbage.put(client.watched)
        client.watched = {}
        self._clients.discard(client)
        if not self._clients:
            self._table.forget(self)

    def is_changed(self, client: Client) -> bool:
        """Whether a key that `client` watches changed, or expired, since it was watched."""
        watched = client.watched
        return client.watched_changed or any(
            watched[key] and not self._table.exists(key) for key in watched.keys() & self._table.deadlines.keys()
        )

    def count(self) -> int:
        """How many keys are watched."""
        return len(self._by_key)

    def changed(self, key: bytes, before: Any, after: Any) -> None:
        """See `Observer`."""
        clients = self._by_key.get(key)
        if clients is not None:
            for client in clients if isinstance(clients, set) else (clients,):
                if after is not None or client.watched[key]:
                    client.watched_changed = True

    def flushed(self) -> None:
        """See `Observer`."""
        for client in self._clients:
            if any(client.watched.values()):
                client.watched_changed = True
