"""Who subscribes to what: channels, patterns of channels, and shard channels.

A message is for everybody who subscribes at that moment. Nothing of this is on disk, or survives a connection.

Each kind keeps both directions, name to clients and client to names, so that a message, and a client that goes, find
what is theirs at once. A pattern is compiled when its first subscriber comes, and a message is matched against it once,
however many those are. What a client's subscriptions take in memory is counted (`Client.subscription_bytes`): the more
it has, the sooner it is the client that the server can do without (see `edge.unfinished`), and past a limit it may have
no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

from kvstore.base.errors import Failure
from kvstore.base.limits import COMPILED_BYTES, SUBSCRIPTION_BYTES
from kvstore.base.reply import Push
from kvstore.commands.client import Client
from kvstore.commands.glob import matcher

#: The names that a client has of each kind.
Held: TypeAlias = "list[list[bytes]]"


class Subscriptions:
    """Subscriptions of one kind. `subscribers`: of each name that has any, in the order in which they came."""

    #: What each byte of a name takes.
    bytes_each = 1

    def __init__(self) -> None:
        self.subscribers: dict[bytes, dict[Client, None]] = {}
        self._names: dict[Client, dict[bytes, None]] = {}
        #: The kinds that are one number when a client is told how many subscriptions it has.
        self.counted: tuple[Subscriptions, ...] = (self,)

    def names_of(self, client: Client) -> Collection[bytes]:
        """What a client subscribes to, in the order in which it did."""
        return self._names.get(client, ())

    def count(self, client: Client) -> int:
        """How many subscriptions a client is told that it has."""
        return sum(len(kind.names_of(client)) for kind in self.counted)

    def clients(self) -> Collection[Client]:
        """Who subscribes to anything."""
        return self._names.keys()

    def check_room(self, client: Client, names: Iterable[bytes], most_bytes: int) -> None:
        """Raise Failure if a client may not subscribe to so many more names: all take `most_bytes` at most."""
        more = set(names).difference(self.names_of(client))
        if client.subscription_bytes + sum(map(self._bytes, more)) > most_bytes:
            raise Failure(
                f"the subscriptions of this client would take more than {most_bytes} bytes, so none was"
                " added; use several clients, or patterns"
            )

    def add(self, client: Client, name: bytes) -> None:
        """A client subscribes to a name, if it does not yet."""
        names = self._names.setdefault(client, {})
        if name not in names:
            names[name] = None
            self.subscribers.setdefault(name, {})[client] = None
            client.subscription_bytes += self._bytes(name)

    def remove(self, client: Client, name: bytes) -> None:
        """It does not subscribe to that name any more, if it did."""
        names = self._names.get(client)
        if names is None or name not in names:
            return
        del names[name]
        if not names:
            del self._names[client]
        client.subscription_bytes -= self._bytes(name)
        subscribers = self.subscribers[name]
        del subscribers[client]
        if not subscribers:
            self._forget(name)

    def _bytes(self, name: bytes) -> int:
        return SUBSCRIPTION_BYTES + self.bytes_each * len(name)

    def _forget(self, name: bytes) -> None:
        """Nobody subscribes to it any more."""
        del self.subscribers[name]


class Patterns(Subscriptions):
    """Subscriptions to patterns. `matchers`: what tells for each whether a channel matches it."""

    bytes_each = COMPILED_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.matchers: dict[bytes, Callable[[bytes], object]] = {}

    def add(self, client: Client, name: bytes) -> None:
        """See `Subscriptions`. Raises InvalidRequest for a pattern that `matcher` does not take."""
        if name not in self.matchers:
            self.matchers[name] = matcher(name)
        super().add(client, name)

    def _forget(self, name: bytes) -> None:
        super()._forget(name)
        del self.matchers[name]


class Channels:
    """All subscriptions of a server."""

    def __init__(self) -> None:
        self.channels = Subscriptions()
        self.patterns = Patterns()
        self.channels.counted = self.patterns.counted = (self.channels, self.patterns)
        self.shard_channels = Subscriptions()
        self._kinds = (self.channels, self.patterns, self.shard_channels)

    def messages(self, channel: bytes, text: bytes) -> Iterator[tuple[Collection[Client], Push]]:
        """What is to be sent, and to whom, if `text` is published on `channel`."""
        if subscribers := self.channels.subscribers.get(channel):
            yield subscribers, Push((b"message", channel, text))
        for pattern, matches in self.patterns.matchers.items():
            if matches(channel) and (subscribers := self.patterns.subscribers.get(pattern)):
                yield subscribers, Push((b"pmessage", pattern, channel, text))

    def clients(self) -> int:
        """How many clients subscribe to anything."""
        return len(set().union(*(kind.clients() for kind in self._kinds)))

    def names_of(self, client: Client) -> Iterator[tuple[bytes, bool]]:
        """Each name that a client subscribes to, and whether it is a pattern."""
        return ((name, kind is self.patterns) for kind in self._kinds for name in kind.names_of(client))

    def of(self, client: Client) -> Held:
        """What a client subscribes to, for `restore`."""
        return [list(kind.names_of(client)) for kind in self._kinds] if client.subscription_bytes else []

    def restore(self, client: Client, held: Held) -> None:
        """A client subscribes to what it did, and to nothing else."""
        if self.of(client) != held:
            self.leave_all(client)
            for kind, names in zip(self._kinds, held, strict=False):
                for name in names:
                    kind.add(client, name)

    def leave_all(self, client: Client) -> None:
        """A client subscribes to nothing any more."""
        if client.subscription_bytes:
            for kind in self._kinds:
                for name in tuple(kind.names_of(client)):
                    kind.remove(client, name)
