"""Who waits for keys: BLPOP and its kin. First come, first served, in the request that brings what they wait for.

A command that finds nothing to answer returns a `Wait` (`base.reply`). In a block or a script that means its
`otherwise`; else the client waits here, and its later requests wait behind it. It is told again

| when | what happens |
|---|---|
| a request (or block, or script) has changed one of the keys | `again` is called after it, before any other request |
| what is no change of a key may have come (SAVE, WAITAOF: `Line`) | `again` is called |
| its time is up | it gets `timed_out` |
| CLIENT UNBLOCK | it gets `timed_out`, or an error |
| it is gone | nothing: it takes nothing |

With `lost`, it is told, too, when a key holds another type, or nothing (XREADGROUP, which is an error then).

A change of an awaited key is noted by the table (`Table.awaited`, `Table.ready`): no observer, since those have a price
for every write. Those who wait for a key stand in one line for each class of value that they take, so that a change of
another type costs nothing, however many they are. What `again` changes may make other keys ready (BLMOVE): a chain of
moves settles in one go, in one commit.

For whoever writes such a command: look first, and return the reply if there is one; else

    return Wait(keys, List, until_ms, again, NULL_ARRAY)

having changed nothing that would have to be undone if the client were gone. `again` is a function inside the command's,
called when one of the keys holds a `List`: it looks at all keys in their order, changes what there is to change, and
returns the reply, or None to wait on; it may raise RequestError, which is the reply then, and changes nothing. To wait
for ever is an `until_ms` of None.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

from kvstore.base.errors import RequestError
from kvstore.base.reply import Wait
from kvstore.commands.client import Client
from kvstore.store.table import Table


class Waiter(Protocol):
    """The session of a client that waits."""

    def try_again(self) -> bool:
        """Try its request again, since a key was changed; returns whether it has its reply now, and waits no more."""

    def give_up(self, error: RequestError | None) -> None:
        """Answer with `error`, or with what the request answers when its time is up."""


class _Lost:
    """In place of a class of values: whatever a key holds that is not what somebody waits for."""


class _Place(NamedTuple):
    waiter: Waiter
    table: Table
    keys: Sequence[bytes]
    takes: Sequence[type]
    timer: Any


class WaitingRoom:
    """All clients that wait. `places`: theirs, empty while nobody waits. `is_serving`: `serve` is under way.

    `now_ms`: the wall clock. `call_later`: given seconds and a function; what it returns can be cancelled. Set by the
    edge.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.call_later: Callable[[float, Callable[[], object]], Any] = _no_timer
        self.places: dict[Client, _Place] = {}
        #: Tables with awaited keys.
        self._tables: dict[Table, None] = {}
        self.is_serving = False

    def enter(self, client: Client, waiter: Waiter, table: Table, wait: Wait) -> None:
        """Let a client wait, which does not yet."""
        timer = None
        if wait.until_ms is not None:
            left_s = max(0, wait.until_ms - self._now_ms()) / 1000
            timer = self.call_later(left_s, partial(self.unblock, client))
        keys = list(dict.fromkeys(wait.keys))
        takes = (wait.takes, _Lost) if wait.lost else (wait.takes,)
        self.places[client] = _Place(waiter, table, keys, takes, timer)
        self._tables[table] = None
        for key in keys:
            for kind in takes:
                table.awaited.setdefault(key, {}).setdefault(kind, OrderedDict())[client] = None
        client.is_blocked = True

    def leave(self, client: Client) -> Waiter | None:
        """The client waits no more: it is served, or gone. Returns who waited, None if it did not."""
        place = self.places.pop(client, None)
        if place is None:
            return None
        client.is_blocked = False
        awaited = place.table.awaited
        for key in place.keys:
            lines = awaited[key]
            for kind in place.takes:
                del lines[kind][client]
                if not lines[kind]:
                    del lines[kind]
            if not lines:
                del awaited[key]
        if not awaited:
            self._tables.pop(place.table, None)
        if place.timer is not None and place.timer.active():
            place.timer.cancel()
        return place.waiter

    def timed(self) -> int:
        """How many of those who wait do so until some time."""
        return sum(place.timer is not None for place in self.places.values())

    def keys(self) -> int:
        """How many keys are awaited."""
        return sum(len(table.awaited) for table in self._tables)

    def keys_not_to_lose(self) -> int:
        """Of these, how many are by somebody who is told when there is nothing any more (`Wait.lost`)."""
        return sum(_Lost in lines for table in self._tables for lines in table.awaited.values())

    def unblock(self, client: Client, error: RequestError | None = None) -> bool:
        """Let a client wait no more: it gets `error`, or what its request answers then.

        Returns whether it was waiting.
        """
        waiter = self.leave(client)
        if waiter is not None:
            waiter.give_up(error)
        return waiter is not None

    def serve(self) -> None:
        """A request is whole: serve those who wait for what it brought."""
        if self.is_serving:  # what this request has brought is looked at where that is done already
            return
        self.is_serving = True
        try:
            while (table := next((table for table in self._tables if table.ready), None)) is not None:
                ready, table.ready = table.ready, []
                for key in dict.fromkeys(ready):
                    for client in chain(_served(table, key), _losers(table, key)):
                        self.try_again(client)
        finally:
            self.is_serving = False

    def try_again(self, client: Client) -> None:
        """Try the request of a client that waits."""
        if self.places[client].waiter.try_again():
            self.leave(client)


class Line:
    """Clients that wait for something that is no change of a key, in `room` (SAVE, WAITAOF)."""

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self._clients: dict[Client, None] = {}

    def __len__(self) -> int:
        """How many are tried."""
        return len(self._clients)

    def add(self, client: Client) -> None:
        """The request of this client, which is about to wait, is to be tried again by `try_all`."""
        self._clients[client] = None

    def try_all(self) -> None:
        """It may have come; who does not find it waits on."""
        clients, self._clients = self._clients, {}
        for client in clients:
            if client.is_blocked:
                self._room.try_again(client)
            if client.is_blocked:
                self._clients[client] = None


def _served(table: Table, key: bytes) -> Iterator[Client]:
    """Who waits for what a key holds, one after the other, as long as there is any of it."""
    while line := _line(table, key):
        client = next(iter(line))
        yield client
        if client in line:  # it wants something else of that; so may others
            break
    for client in tuple(line)[1:]:
        if client in _line(table, key):
            yield client


def _losers(table: Table, key: bytes) -> Iterator[Client]:
    """Who waited for what the key held, and is to be told that it holds it no more."""
    lines: dict[type, OrderedDict[Client, None]] = table.awaited.get(key, {})
    held = table.read(key).__class__
    for client in tuple(lines.get(_Lost, ())):
        if client in lines.get(_Lost, ()) and client not in lines.get(held, ()):
            yield client


def _line(table: Table, key: bytes) -> Collection[Client]:
    """Who waits for values such as a key holds now. Ordered, so that the first is found at once, however many were
    before.
    """
    lines: dict[type, OrderedDict[Client, None]] = table.awaited.get(key, {})
    return lines.get(table.read(key).__class__, ())


def _no_timer(seconds: float, function: Callable[[], object]) -> None:
    """Nobody has said how time is to be measured."""
