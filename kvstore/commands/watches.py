"""WATCH: which clients watch which keys of a database, and what they are told when one changes.

An observer of the table, registered only while something is watched, so that writes pay nothing for it otherwise. A
client notes for each key whether it existed when it was watched; since the client is flagged at the first change,
that note is true of the key until then. It decides two cases that are no change to the client: the removal of a key
that had expired before the WATCH, and a flush of a key that was not there.

A WATCH of many keys is taken in slices. Keys that change before their turn has come are noted, so that it is as if all
had been watched at once.

A change that is undone (the disk was full) flags the watchers all the same, as does a flush, or the removal of a key
that had expired, while a WATCH is under way: the block is refused needlessly, never wrongly run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kvstore.base.slices import Slices
from kvstore.commands.client import Client
from kvstore.store.observing import Observer
from kvstore.store.table import Table

#: Keys of a WATCH that are taken in one step: some 0.2 ms.
_AT_ONCE = 200


class Watches(Observer):
    """The watched keys of all clients in one database. `table`: that."""

    def __init__(self, table: Table) -> None:
        self._table = table
        #: Who watches a key: one client, as nearly always, or a set of several.
        self._by_key: dict[bytes, Client | set[Client]] = {}
        #: What a client watches: each key with whether it existed then.
        self._watched: dict[Client, dict[bytes, bool]] = {}
        #: Clients whose WATCH is under way, and the keys that changed since it came.
        self._arriving: dict[Client, set[bytes]] = {}

    def watch(self, client: Client, keys: Sequence[bytes]) -> Slices:
        """Flag `client` (`watched_changed`) when one of `keys` changes from now on."""
        if len(keys) > _AT_ONCE:
            yield from self._table.slicing.room()
        self._arriving[client] = set()
        self._table.observe(self)
        try:
            yield from self._table.slicing.go_through(self._watch(client, keys, self._table.living()))
        finally:
            del self._arriving[client]
            self._forget_if_unused()

    def _watch(self, client: Client, keys: Sequence[bytes], lives: Callable[[bytes], bool]) -> Iterator[None]:
        """Watch some keys in each step, as they were when the request came. `lives`: see `Table.living`."""
        changed, table = self._arriving[client], self._table
        watched = self._watched.setdefault(client, {})
        if self not in client.watching:
            client.watching.append(self)
        for i in range(0, len(keys), _AT_ONCE):
            part = keys[i : i + _AT_ONCE]
            client.watched_changed |= not changed.isdisjoint(part)
            fresh = {key: key in table.values and lives(key) for key in part if key not in watched}
            watched.update(fresh)
            for key in fresh.keys() & self._by_key.keys():
                self._share(key, client)
                del fresh[key]
            self._by_key.update(dict.fromkeys(fresh, client))
            yield

    def _share(self, key: bytes, client: Client) -> None:
        """`client` watches a key that others watch."""
        others = self._by_key[key]
        if isinstance(others, set):
            others.add(client)
        else:
            self._by_key[key] = {others, client}

    def unwatch(self, client: Client) -> None:
        """Watch nothing here for `client` any more; its flag is its own to take down."""
        watched = self._watched.pop(client)
        for key in watched:
            others = self._by_key[key]
            if isinstance(others, set) and len(others) > 1:
                others.discard(client)
            else:
                del self._by_key[key]
        self._table.garbage.put(watched)
        self._forget_if_unused()

    def _forget_if_unused(self) -> None:
        if not self._watched and not self._arriving:
            self._table.forget(self)

    def has_expired(self, client: Client) -> bool:
        """Whether a key that `client` watches here has expired since."""
        watched = self._watched[client]
        return any(
            watched[key] and not self._table.exists(key) for key in watched.keys() & self._table.deadlines.keys()
        )

    def count_of(self, client: Client) -> int:
        """How many keys `client` watches here."""
        return len(self._watched[client])

    def count(self) -> int:
        """How many keys are watched."""
        return len(self._by_key)

    def changed(self, key: bytes, before: Any, after: Any, event: bytes | None) -> None:
        """See `Observer`."""
        for changed in self._arriving.values():
            changed.add(key)
        clients = self._by_key.get(key)
        if clients is not None:
            for client in clients if isinstance(clients, set) else (clients,):
                if after is not None or self._watched[client][key]:
                    client.watched_changed = True

    def flushed(self) -> None:
        """See `Observer`."""
        for client in self._arriving:
            client.watched_changed = True
        table = self._table
        for client, watched in self._watched.items():
            if any(watched.values()) or any(map(table.exists, table.values.keys() & watched.keys())):
                client.watched_changed = True


def unwatch(client: Client) -> None:
    """Watch nothing for `client` any more, and take its flag down. To be called, too, when it disconnects."""
    client.watched_changed = False
    watching, client.watching = client.watching, []
    for watches in watching:
        watches.unwatch(client)


def is_changed(client: Client) -> bool:
    """Whether a key that `client` watches changed, or expired, since it was watched."""
    return client.watched_changed or any(watches.has_expired(client) for watches in client.watching)
