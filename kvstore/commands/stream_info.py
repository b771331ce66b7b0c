"""What there is to know of a stream, its groups and their consumers: XINFO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from kvstore.base.errors import NO_SUCH_KEY, Failure, WrongSubcommand
from kvstore.base.reply import Reply
from kvstore.commands.context import Call
from kvstore.commands.registry import READ, Key, command, container, to_integer
from kvstore.commands.stream_arguments import shown
from kvstore.commands.stream_consumers import existing_group
from kvstore.values.groups import UNKNOWN, Consumer, Group
from kvstore.values.stream_blocks import MAX_ID, text_of
from kvstore.values.streams import Stream

#: Entries, and what is pending, that FULL shows unless COUNT says otherwise.
_SHOWN = 10

container("XINFO", "Tell of a stream, its groups and their consumers.", group="stream")


@command("XINFO|STREAM", READ, group="stream", options="[FULL [COUNT count]]")
def xinfo_stream(call: Call, key: Key, *options: bytes) -> Reply:
    """Tell how long a stream is, what it counts, and its ends; or, with FULL, some of all that it holds.

    Unlike Valkey, the radix tree is one of blocks of up to a hundred entries: `radix-tree-nodes` is one more than
    `radix-tree-keys`.
    """
    value = _stream(call, key)
    count = _full_count(options)
    about = {
        "length": len(value),
        "radix-tree-keys": len(value.blocks),
        "radix-tree-nodes": len(value.blocks) + 1,
        "last-generated-id": text_of(value.last_id),
        "max-deleted-entry-id": text_of(value.max_deleted),
        "entries-added": value.entries_added,
        "recorded-first-entry-id": text_of(value.first),
    }
    if count is None:
        return about | {
            "groups": len(value.groups),
            "first-entry": value.get(value.first),
            "last-entry": value.get(value.last),
        }
    return about | {
        "entries": [entry for some in shown(value.pieces(0, MAX_ID), count) for entry in some],
        "groups": [_full_group(call, value, name, count) for name in sorted(value.groups)],
    }


def _stream(call: Call, key: bytes) -> Stream:
    value = call.table.look_up_typed(key, Stream)
    if value is None:
        raise Failure(NO_SUCH_KEY)
    return value


def _full_count(options: Sequence[bytes]) -> int | None:
    """COUNT of an XINFO STREAM FULL, 0 for all; None without FULL. Raises InvalidRequest."""
    if not options:
        return None
    wrong = len(options) not in (1, 3) or options[0].upper() != b"FULL"
    if wrong or (len(options) == 3 and options[1].upper() != b"COUNT"):
        raise WrongSubcommand("XINFO", "STREAM")
    count = to_integer(options[2]) if len(options) == 3 else _SHOWN
    return count if count >= 0 else _SHOWN


def _full_group(call: Call, value: Stream, name: bytes, count: int) -> Reply:
    group = value.groups[name]
    return {
        "name": name,
        "last-delivered-id": text_of(group.last_id),
        "entries-read": _known(group.entries_read),
        "lag": _lag(value, group),
        "pel-count": len(group.pending),
        "pending": [
            [text_of(entry_id), held.consumer.name, held.delivered_ms, held.times]
            for entry_id in _some(group.pending.ids(), count)
            for held in (group.pending[entry_id],)
        ],
        "consumers": [_full_consumer(call, group, each, count) for each in sorted(group.consumers)],
    }


def _full_consumer(call: Call, group: Group, name: bytes, count: int) -> Reply:
    consumer = group.consumers[name]
    return {
        "name": name,
        "seen-time": _seen_ms(call, consumer),
        "active-time": UNKNOWN if consumer.active_ms is None else consumer.active_ms,
        "pel-count": len(consumer.ids),
        "pending": [
            [text_of(entry_id), held.delivered_ms, held.times]
            for entry_id in _some(consumer.ids.ids(), count)
            for held in (group.pending[entry_id],)
        ],
    }


def _some(ids: Iterator[int], count: int) -> Iterable[int]:
    return islice(ids, count or None)


def _seen_ms(call: Call, consumer: Consumer) -> int:
    """When a consumer was last heard of; no earlier than the server's start, which forgot it."""
    return call.server.started_ms if consumer.seen_ms is None else consumer.seen_ms


def _known(number: int) -> int | None:
    return None if number == UNKNOWN else number


def _lag(value: Stream, group: Group) -> int | None:
    """How many entries a group has still to read, by what it says it has read; None if none knows."""
    if not value.entries_added:
        return 0
    if group.entries_read != UNKNOWN and not value.has_gaps_after(group.last_id):
        return value.entries_added - group.entries_read
    read = value.added_up_to(group.last_id)
    return None if read == UNKNOWN else value.entries_added - read


@command("XINFO|GROUPS", READ, group="stream")
def xinfo_groups(call: Call, key: Key) -> Reply:
    """Tell of each group of a stream how far it has read, and how much is pending."""
    value = _stream(call, key)
    return [
        {
            "name": name,
            "consumers": len(group.consumers),
            "pending": len(group.pending),
            "last-delivered-id": text_of(group.last_id),
            "entries-read": _known(group.entries_read),
            "lag": _lag(value, group),
        }
        for name, group in sorted(value.groups.items())
    ]


@command("XINFO|CONSUMERS", READ, group="stream")
def xinfo_consumers(call: Call, key: Key, group: bytes) -> Reply:
    """Tell of each consumer of a group how much is pending for it, and when it was last heard of.

    Unlike Valkey, `idle` and `inactive` of a consumer that was not heard of since the server's start count from
    there, or are unknown; Valkey does so with its log.
    """
    found = existing_group(_stream(call, key), key, group)
    now_ms = call.table.now_ms()
    return [
        {
            "name": name,
            "pending": len(consumer.ids),
            "idle": max(now_ms - _seen_ms(call, consumer), 0),
            "inactive": UNKNOWN if consumer.active_ms is None else now_ms - consumer.active_ms,
        }
        for name, consumer in sorted(found.consumers.items())
    ]
