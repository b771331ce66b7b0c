"""WATCH: which clients watch which keys, and what they are told when one changes.

An observer of the table, registered only while something is watched, so that writes pay nothing for it otherwise. A
client notes for each key whether it existed when it was watched; since the client is flagged at the first change,
that note is true of the key until then. It decides two cases that are no change to the client: the removal of a key
that had expired before the WATCH, and a flush of a key that was not there.

A change that is undone (the disk was full) flags the watchers all the same: the block is refused needlessly, never
wrongly run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvstore.commands.context import Client
    from kvstore.store.table import Table


class Watches:
    """The watched keys of all clients. `table`: where they are watched."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._clients: dict[bytes, set[Client]] = {}

    def watch(self, client: Client, key: bytes) -> None:
        """Flag `client` (`watched_changed`) when `key` changes from now on."""
        if key in client.watched:
            return
        client.watched[key] = self._table.exists(key)
        if not self._clients:
            self._table.observe(self)
        self._clients.setdefault(key, set()).add(client)

    def unwatch(self, client: Client) -> None:
        """Watch nothing for `client` any more, and take its flag down. To be called, too, when it disconnects."""
        for key in client.watched:
            clients = self._clients[key]
            clients.discard(client)
            if not clients:
                del self._clients[key]
        client.watched.clear()
        client.watched_changed = False
        if not self._clients:
            self._table.forget(self)

    def is_changed(self, client: Client) -> bool:
        """Whether a key that `client` watches changed, or expired, since it was watched."""
        return client.watched_changed or any(
            existed and not self._table.exists(key) for key, existed in client.watched.items()
        )

    def count(self) -> int:
        """How many keys are watched."""
        return len(self._clients)

    def changed(self, key: bytes, before: Any, after: Any) -> None:
        """See `Observer`."""
        for client in self._clients.get(key, ()):
            if after is not None or client.watched[key]:
                client.watched_changed = True

    def flushed(self) -> None:
        """See `Observer`."""
        for key, clients in self._clients.items():
            for client in clients:
                if client.watched[key]:
                    client.watched_changed = True
