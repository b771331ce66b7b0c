"""Keyspace events: what happens to keys, told to whoever subscribes to `__keyspace@N__:KEY` or `__keyevent@N__:EVENT`.

A command says what it did where it changes the table (`Table.edit` and its kin), by the name of the event; an observer
of each database makes messages of that, as PUBLISH does: so an event leaves with the commit that it tells of, and of
what is undone nobody hears. Which classes of events are told is the setting `notify-keyspace-events`. While it names
none nobody observes, and events cost nothing.

Some events follow from others: `new`, before the event of a change that made the key; `del`, after the event of one
that took its last element; `expired`, of a key whose deadline has passed, before the event of what takes its place.

A key that has expired is removed, and told, when a request that reads does not find it, or a little later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from kvstore.base.errors import StorageFull
from kvstore.base.reply import Reply
from kvstore.base.value_type import Value
from kvstore.commands.channels import Channels
from kvstore.commands.client import Client
from kvstore.commands.event_classes import CLASSES, classes_of
from kvstore.store.observing import DELETED, EVICTED, EXPIRED, Observer
from kvstore.store.table import Table

NEW, MISSED = b"new", b"keymiss"


class Events:
    """See the module. `tell`: sends a message to some clients when the request that executes is whole."""

    def __init__(
        self,
        tables: Sequence[Table],
        channels: Channels,
        tell: Callable[[Collection[Client], Reply], None],
    ) -> None:
        self._tables = tables
        self._channels = channels
        self._tell = tell
        self._observers = [_OfDatabase(self, table) for table in tables]
        self._classes: set[str] = set()

    def choose(self, text: str) -> None:
        """Tell the events of these classes from now on: what the setting was set to."""
        self._classes = classes_of(text)
        tells = bool(self._classes & {"K", "E"}) and bool(self._classes - {"K", "E"})
        for observer in self._observers:
            observer.begin_or_end(tells)

    def is_heard(self) -> bool:
        """Whether anybody subscribes to anything."""
        return bool(self._channels.channels.subscribers or self._channels.patterns.subscribers)

    def tell(self, number: int, key: bytes, event: bytes) -> None:
        """Something happened to a key of the database of that number."""
        if CLASSES.get(event) not in self._classes or not self.is_heard():
            return
        if "K" in self._classes:
            self._publish(b"__keyspace@%d__:%b" % (number, key), event)
        if "E" in self._classes:
            self._publish(b"__keyevent@%d__:%b" % (number, event), key)

    def _publish(self, channel: bytes, text: bytes) -> None:
        for clients, message in self._channels.messages(channel, text):
            self._tell(clients, message)


class _OfDatabase(Observer):
    """Hears of what happens in one database."""

    takes_many = True

    def __init__(self, events: Events, table: Table) -> None:
        self._events = events
        self._table = table

    def begin_or_end(self, tells: bool) -> None:
        """Listen, or do not."""
        if tells:
            self._table.observe(self)
        else:
            self._table.forget(self)
        self._table.missed = self._missed if tells else None

    def changed(self, key: bytes, before: Value | None, after: Value | None, event: bytes | None) -> None:
        """See `Observer`."""
        if not event:
            return
        if before is None and after is not None:
            self.said(key, NEW)
        if event != NEW:
            self.said(key, event)
        if after is None and before is not None and event not in (DELETED, EXPIRED, EVICTED):
            self.said(key, DELETED)

    def writes_strings(self, keys: Sequence[bytes], values: Mapping[bytes, Value], event: bytes) -> None:
        """See `Observer`."""
        if self._events.is_heard():
            new = set(keys).difference(values)
            for key in keys:
                if key in new:
                    new.discard(key)
                    self.said(key, NEW)
                self.said(key, event)

    def said(self, key: bytes, event: bytes) -> None:
        """See `Observer`."""
        self._events.tell(self._table.number, key, event)

    def flushed(self) -> None:
        """See `Observer`. There is no event for that."""

    def _missed(self, key: bytes, is_heard: bool) -> None:
        """A request that reads does not find a key. If it has expired, it is gone for good before the request goes on.

        On a full disk it is left for later.
        """
        with suppress(StorageFull):
            self._table.remove_if_expired(key, self._table.now_ms())
        if is_heard:
            self.said(key, MISSED)
