"""Consumers of a group, and what is given to them: what the commands on groups have in common."""

from __future__ import annotations

from collections.abc import Mapping

from kvstore.base.errors import Failure, shorten
from kvstore.store.table import Table
from kvstore.values.groups import Consumer, Group, claim_edit
from kvstore.values.streams import Stream


def found_group(value: Stream | None, key: bytes, name: bytes, where: str = "") -> Group:
    """The group. Raises Failure if it, or the stream, is not there. `where`: what the error says at its end."""
    group = None if value is None else value.groups.get(name)
    if group is None:
        raise Failure(f"No such key '{shorten(key)}' or consumer group '{shorten(name)}'{where}", "NOGROUP")
    return group


def existing_group(value: Stream, key: bytes, name: bytes) -> Group:
    """The group, for XGROUP and XINFO, which word the error in another way. Raises Failure if it is not there."""
    group = value.groups.get(name)
    if group is None:
        raise Failure(f"No such consumer group '{shorten(name)}' for key name '{shorten(key)}'", "NOGROUP")
    return group


def consumer_of(table: Table, key: bytes, group: bytes, name: bytes) -> Consumer:
    """A consumer of a group that is there, which is made if it is not; it was heard of now."""
    found: Group = table.values[key].groups[group]
    if name not in found.consumers:
        table.edit(key, b"XGROUP|CREATECONSUMER", (group, name))
    consumer = found.consumers[name]
    consumer.seen_ms = table.now_ms()
    return consumer


def claim(table: Table, key: bytes, group: bytes, consumer: bytes, given: Mapping[int, tuple[int, int]]) -> None:
    """Ids are pending for a consumer: each was given to it at a time (ms since the epoch), so often."""
    alike: dict[tuple[int, int], list[int]] = {}
    for entry_id, how in given.items():
        alike.setdefault(how, []).append(entry_id)
    for (delivered_ms, times), ids in alike.items():
        table.edit(key, *claim_edit(group, consumer, ids, delivered_ms, times))
