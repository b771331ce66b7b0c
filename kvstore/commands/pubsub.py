"""SUBSCRIBE and its kin, PUBLISH, PUBSUB: messages from clients to clients. Who subscribes to what: `channels`.

A message leaves with the reply to the request that publishes it (`peer`): with the commit of a block that writes, at
once where that waits for nothing; never of a block that is undone, whose subscriptions are taken back, too. It is one
value for all who get it, encoded once.

Shard channels are what they are in a server without a cluster: channels of a second kind, which patterns do not see.

What takes long and may is done in slices: to compile patterns, before any of them has a subscriber; to match a message,
before anybody is told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import compress

from kvstore.base.errors import InvalidRequest, ReplyTooLarge, wrong_subcommand
from kvstore.base.reply import Push, Replies, Reply
from kvstore.base.slices import Slices, in_slices
from kvstore.commands.channels import Subscriptions
from kvstore.commands.client import Client
from kvstore.commands.context import Call
from kvstore.commands.glob import matcher
from kvstore.commands.registry import FAST, command, container
from kvstore.commands.row import ALONE, NO_SCRIPT, NOT_KEYS, PUBSUB, SUBSCRIBED, TELLS

#: What the confirmation of a subscription takes besides its name, at most.
_CONFIRMATION_BYTES = 64


@command("SUBSCRIBE", PUBSUB | SUBSCRIBED | NO_SCRIPT, group="pubsub")
def subscribe(call: Call, channel: bytes, *channels: bytes) -> Reply:
    """Get the messages of some channels.

    Unlike Valkey, what a client subscribes to has a limit.
    """
    return _subscribe(call, call.server.channels.channels, b"subscribe", (channel, *channels))


@command("PSUBSCRIBE", PUBSUB | SUBSCRIBED | NO_SCRIPT, group="pubsub")
def psubscribe(call: Call, pattern: bytes, *patterns: bytes) -> Reply:
    """Get the messages of all channels whose names match a pattern.

    Unlike Valkey, what a client subscribes to has a limit, and so has a pattern. The pattern `*` matches the
    channel without a name, too.
    """
    return _psubscribe(call, (pattern, *patterns))


def _psubscribe(call: Call, names: tuple[bytes, ...]) -> Slices:
    patterns = call.server.channels.patterns
    _check(call, patterns, names)
    compiled: dict[bytes, Callable[[bytes], object]] = {}
    new = [name for name in dict.fromkeys(names) if name not in patterns.matchers]
    yield from in_slices(compiled.update({name: matcher(name)}) for name in new)
    patterns.matchers |= compiled
    return _subscribe(call, patterns, b"psubscribe", names)


@command("SSUBSCRIBE", PUBSUB | SUBSCRIBED | NOT_KEYS | ALONE | NO_SCRIPT, group="pubsub", keys=(1, -1, 1))
def ssubscribe(call: Call, shardchannel: bytes, *shardchannels: bytes) -> Reply:
    """Get the messages of some shard channels.

    Unlike Valkey, what a client subscribes to has a limit.
    """
    return _subscribe(call, call.server.channels.shard_channels, b"ssubscribe", (shardchannel, *shardchannels))


def _subscribe(call: Call, kind: Subscriptions, word: bytes, names: Sequence[bytes]) -> Replies:
    """A client subscribes to some names. Returns the confirmations, one for each. Raises Failure."""
    _check(call, kind, names)
    client, confirmations = call.client, Replies()
    for name in names:
        kind.add(client, name)
        confirmations.append(Push((word, name, kind.count(client))))
    return confirmations


def _check(call: Call, kind: Subscriptions, names: Sequence[bytes]) -> None:
    """Raise Failure if that is more than a client may subscribe to, or than one reply may confirm."""
    _check_reply(call, names)
    kind.check_room(call.client, names, call.server.max_subscription_bytes)


def _check_reply(call: Call, names: Collection[bytes]) -> None:
    """Raise ReplyTooLarge before anything is changed."""
    limit_bytes = call.server.max_reply_bytes
    if len(names) * _CONFIRMATION_BYTES + sum(map(len, names)) > limit_bytes:
        raise ReplyTooLarge(limit_bytes)


@command("UNSUBSCRIBE", PUBSUB | SUBSCRIBED | NO_SCRIPT, group="pubsub")
def unsubscribe(call: Call, *channels: bytes) -> Reply:
    """Get the messages of some channels, or all, no more.

    Unlike Valkey, a client that leaves all is told of them in the order in which it subscribed; there they are in
    none.
    """
    return _unsubscribe(call, call.server.channels.channels, b"unsubscribe", channels)


@command("PUNSUBSCRIBE", PUBSUB | SUBSCRIBED | NO_SCRIPT, group="pubsub")
def punsubscribe(call: Call, *patterns: bytes) -> Reply:
    """Get the messages that match some patterns, or all, no more.

    Unlike Valkey, a client that leaves all is told of them in the order in which it subscribed; there they are in
    none.
    """
    return _unsubscribe(call, call.server.channels.patterns, b"punsubscribe", patterns)


@command("SUNSUBSCRIBE", PUBSUB | SUBSCRIBED | NOT_KEYS | NO_SCRIPT, group="pubsub", keys=(1, -1, 1))
def sunsubscribe(call: Call, *shardchannels: bytes) -> Reply:
    """Get the messages of some shard channels, or all, no more."""
    return _unsubscribe(call, call.server.channels.shard_channels, b"sunsubscribe", shardchannels)


def _unsubscribe(call: Call, kind: Subscriptions, word: bytes, names: Sequence[bytes]) -> Replies:
    """A client does not subscribe any more, to some names or to any. Returns the confirmations, one at least."""
    client, confirmations = call.client, Replies()
    names = names or tuple(kind.names_of(client))
    _check_reply(call, names)
    for name in names:
        kind.remove(client, name)
        confirmations.append(Push((word, name, kind.count(client))))
    return confirmations or Replies([Push((word, None, kind.count(client)))])


@command("PUBLISH", PUBSUB | FAST | TELLS, group="pubsub")
def publish(call: Call, channel: bytes, message: bytes) -> Reply:
    """Send a message to those who subscribe to a channel, or to a pattern that it matches; returns to how many."""
    channels = call.server.channels
    if channels.patterns.matchers:
        return _publish(call, channel, message)
    return _tell(call, channels.channels.subscribers.get(channel), b"message", channel, message)


def _publish(call: Call, channel: bytes, message: bytes) -> Slices:
    channels = call.server.channels
    matchers, matched = dict(channels.patterns.matchers), list[object]()
    yield from in_slices(map(matched.append, (matches(channel) for matches in matchers.values())))
    told = _tell(call, channels.channels.subscribers.get(channel), b"message", channel, message)
    for pattern in compress(matchers, matched):
        told += _tell(call, channels.patterns.subscribers.get(pattern), b"pmessage", pattern, channel, message)
    return told


@command("SPUBLISH", PUBSUB | FAST | TELLS | NOT_KEYS, group="pubsub", keys=(1, 1, 1))
def spublish(call: Call, shardchannel: bytes, message: bytes) -> Reply:
    """Send a message to those who subscribe to a shard channel; returns to how many."""
    subscribers = call.server.channels.shard_channels.subscribers.get(shardchannel)
    return _tell(call, subscribers, b"smessage", shardchannel, message)


def _tell(call: Call, subscribers: Collection[Client] | None, *words: bytes) -> int:
    """Tell each of them the same. Returns how many they are."""
    if not subscribers:
        return 0
    call.tell_all(subscribers, Push(words))
    return len(subscribers)


container("PUBSUB", "Look at who subscribes to what.", group="pubsub")


@command("PUBSUB|CHANNELS", PUBSUB, group="pubsub", options="[pattern]")
def pubsub_channels(call: Call, *pattern: bytes) -> Reply:
    """List the channels that somebody subscribes to, all or those that match a pattern.

    Unlike Valkey, channels keep an order.
    """
    return _list(call.server.channels.channels, "CHANNELS", pattern)


@command("PUBSUB|SHARDCHANNELS", PUBSUB, group="pubsub", options="[pattern]")
def pubsub_shardchannels(call: Call, *pattern: bytes) -> Reply:
    """List the shard channels that somebody subscribes to, all or those that match a pattern."""
    return _list(call.server.channels.shard_channels, "SHARDCHANNELS", pattern)


def _list(kind: Subscriptions, subcommand: str, pattern: Sequence[bytes]) -> Reply:
    if len(pattern) > 1:
        raise InvalidRequest(wrong_subcommand("PUBSUB", subcommand))
    names = list(kind.subscribers)
    return _matching(names, pattern[0]) if pattern else names


def _matching(names: list[bytes], pattern: bytes) -> Slices:
    matches, matched = matcher(pattern), list[object]()
    yield from in_slices(map(matched.append, map(matches, names)))
    return list(compress(names, matched))


@command("PUBSUB|NUMSUB", PUBSUB, group="pubsub")
def pubsub_numsub(call: Call, *channels: bytes) -> Reply:
    """Count the subscribers of some channels, those of patterns left out."""
    return _count(call.server.channels.channels, channels)


@command("PUBSUB|SHARDNUMSUB", PUBSUB, group="pubsub")
def pubsub_shardnumsub(call: Call, *shardchannels: bytes) -> Reply:
    """Count the subscribers of some shard channels."""
    return _count(call.server.channels.shard_channels, shardchannels)


def _count(kind: Subscriptions, names: Iterable[bytes]) -> Reply:
    return [each for name in names for each in (name, len(kind.subscribers.get(name, ())))]


@command("PUBSUB|NUMPAT", PUBSUB, group="pubsub")
def pubsub_numpat(call: Call) -> Reply:
    """Count the patterns that somebody subscribes to."""
    return len(call.server.channels.patterns.subscribers)
