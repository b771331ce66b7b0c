"""Streams in the model of the crash tests (see `model`): a plain value of one, and its changes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from kvstore.values.streams import Stream

#: An id: milliseconds and a sequence number.
Id: TypeAlias = tuple[int, int]
_ZERO = (0, 0)


class StreamGroup(NamedTuple):
    """A group: what it has read up to, and how many that is; its consumers; of each pending id whose it is, since when,
    and how often it was given out.
    """

    last_id: Id
    entries_read: int
    consumers: frozenset[bytes]
    pending: Mapping[Id, tuple[bytes, int, int]]


class PlainStream(NamedTuple):
    """A stream: entries in order, each an id and words; what it counts; its groups."""

    entries: tuple[tuple[Id, tuple[bytes, ...]], ...] = ()
    last_id: Id = _ZERO
    added: int = 0
    deleted_id: Id = _ZERO
    groups: Mapping[bytes, StreamGroup] = {}


def _parts(entry_id: int) -> Id:
    return entry_id >> 64, entry_id & 2**64 - 1


def plain_stream(value: Stream) -> PlainStream:
    """What a stream holds. Raises AssertionError if it contradicts itself."""
    entries = [entry for block in value.blocks for entry in block.entries(0, block.size)]
    assert len(entries) == len(value), "the number of entries"
    groups = {}
    for name, group in value.groups.items():
        pending = {
            _parts(each): (group.pending[each].consumer.name, *group.pending[each][1:]) for each in group.pending.ids()
        }
        assert list(pending) == sorted(pending) and len(pending) == len(group.pending), "the order of what is pending"
        for consumer in group.consumers.values():
            of_consumer = [each for each in pending if pending[each][0] == consumer.name]
            assert of_consumer == list(map(_parts, consumer.ids.ids())), f"what is pending for {consumer.name!r}"
        read = _parts(group.last_id), group.entries_read
        groups[name] = StreamGroup(*read, frozenset(group.consumers), pending)
    shown = tuple((_parts(entry_id), tuple(words)) for entry_id, words in entries)
    assert [entry_id for entry_id, _ in shown] == sorted({entry_id for entry_id, _ in shown}), "the order of entries"
    return PlainStream(shown, _parts(value.last_id), value.entries_added, _parts(value.max_deleted), groups)


#: The words of an operation, and the value after it.
_Drawn: TypeAlias = tuple[list[bytes], PlainStream]


def stream_change(pick: random.Random, before: PlainStream) -> tuple[bytes, list[bytes], PlainStream]:
    """Some edit of a stream, which may be empty: its name, its words, and what it makes."""
    names = _STREAM_EDITS + (_GROUP_EDITS if before.groups else ())
    if len(before.groups) < len(_GROUPS):
        names += ("XGROUP|CREATE",)
    if any(group.consumers for group in before.groups.values()):
        names += ("XGROUP|DELCONSUMER",)
    name = pick.choice(names)
    words, after = _CHANGES[name](pick, before)
    return name.encode(), words, after


def _text(entry_id: Id) -> bytes:
    return b"%d-%d" % entry_id


def _ids(pick: random.Random, before: PlainStream) -> list[Id]:
    """Some ids, most of entries that are there."""
    known = [entry_id for entry_id, _ in before.entries] + [before.last_id, (5, 5)]
    return [pick.choice(known) for _ in range(pick.choice((1, 1, 2, 5)))]


def _add(pick: random.Random, before: PlainStream) -> _Drawn:
    ms, sequence = before.last_id
    new = pick.choice(((ms, sequence + 1), (ms, sequence + 1), (ms + 1, 0), (ms + 70_000, 3), (ms + 2**40, 2**33)))
    if ms > 2**62:
        new = ms, sequence + 1
    fields = pick.choice(((b"f",), (b"f",), (b"f", b"g"), (b"", b"\xff")))
    inside = [pick.choice((b"", b"1", b"\r\n", b"v" * 30, b"w" * 700)) for _ in fields]
    words = tuple(word for pair in zip(fields, inside, strict=True) for word in pair)
    after = before._replace(entries=(*before.entries, (new, words)), last_id=new, added=before.added + 1)
    return [_text(new), *words], after


def _delete(pick: random.Random, before: PlainStream) -> _Drawn:
    ids = _ids(pick, before)
    gone = [entry_id for entry_id, _ in before.entries if entry_id in ids]
    left = tuple(entry for entry in before.entries if entry[0] not in gone)
    return list(map(_text, ids)), before._replace(entries=left, deleted_id=max([before.deleted_id, *gone]))


def _trim(pick: random.Random, before: PlainStream) -> _Drawn:
    gone = pick.randint(0, len(before.entries))
    return [b"MAXLEN", b"%d" % (len(before.entries) - gone)], before._replace(entries=before.entries[gone:])


def _set_ids(pick: random.Random, before: PlainStream) -> _Drawn:
    last_id = before.last_id[0] + pick.choice((0, 9)), before.last_id[1]
    added, deleted_id = pick.randrange(1000), pick.choice((_ZERO, before.last_id))
    words = [_text(last_id), b"ENTRIESADDED", b"%d" % added, b"MAXDELETEDID", _text(deleted_id)]
    return words, before._replace(last_id=last_id, added=added, deleted_id=deleted_id)


def _with_group(before: PlainStream, name: bytes, group: StreamGroup | None) -> PlainStream:
    groups = dict(before.groups)
    groups.pop(name, None)
    return before._replace(groups=groups if group is None else {**groups, name: group})


def _create(pick: random.Random, before: PlainStream) -> _Drawn:
    name = pick.choice([each for each in _GROUPS if each not in before.groups])
    last_id, read = pick.choice((_ZERO, before.last_id)), pick.choice((-1, 0, 7))
    words = [name, _text(last_id), b"ENTRIESREAD", b"%d" % read]
    return words, _with_group(before, name, StreamGroup(last_id, read, frozenset(), {}))


def _group(pick: random.Random, before: PlainStream) -> tuple[bytes, StreamGroup]:
    name = pick.choice(sorted(before.groups))
    return name, before.groups[name]


def _set_read(pick: random.Random, before: PlainStream) -> _Drawn:
    name, group = _group(pick, before)
    last_id, read = pick.choice(_ids(pick, before)), pick.choice((-1, 3))
    words = [name, _text(last_id), b"ENTRIESREAD", b"%d" % read]
    return words, _with_group(before, name, group._replace(last_id=last_id, entries_read=read))


def _destroy(pick: random.Random, before: PlainStream) -> _Drawn:
    name, _ = _group(pick, before)
    return [name], _with_group(before, name, None)


def _create_consumer(pick: random.Random, before: PlainStream) -> _Drawn:
    name, group = _group(pick, before)
    consumer = pick.choice(_CONSUMERS)
    return [name, consumer], _with_group(before, name, group._replace(consumers=group.consumers | {consumer}))


def _delete_consumer(pick: random.Random, before: PlainStream) -> _Drawn:
    name = next(name for name in sorted(before.groups) if before.groups[name].consumers)
    group = before.groups[name]
    consumer = pick.choice(sorted(group.consumers))
    left = {entry_id: held for entry_id, held in group.pending.items() if held[0] != consumer}
    after = group._replace(consumers=group.consumers - {consumer}, pending=left)
    return [name, consumer], _with_group(before, name, after)


def _claim(pick: random.Random, before: PlainStream) -> _Drawn:
    name, group = _group(pick, before)
    consumer, ms, times, ids = pick.choice(_CONSUMERS), pick.randrange(9), pick.randrange(3), _ids(pick, before)
    pending = {**group.pending, **dict.fromkeys(ids, (consumer, ms, times))}
    tail = [b"TIME", b"%d" % ms, b"RETRYCOUNT", b"%d" % times, b"FORCE", b"JUSTID"]
    after = group._replace(consumers=group.consumers | {consumer}, pending=pending)
    return [name, consumer, b"0", *map(_text, ids), *tail], _with_group(before, name, after)


def _acknowledge(pick: random.Random, before: PlainStream) -> _Drawn:
    name, group = _group(pick, before)
    ids = _ids(pick, before)
    left = {entry_id: held for entry_id, held in group.pending.items() if entry_id not in ids}
    return [name, *map(_text, ids)], _with_group(before, name, group._replace(pending=left))


_CHANGES: dict[str, Callable[[random.Random, PlainStream], _Drawn]] = {
    "XADD": _add, "XDEL": _delete, "XTRIM": _trim, "XSETID": _set_ids, "XGROUP|CREATE": _create,
    "XGROUP|SETID": _set_read, "XGROUP|DESTROY": _destroy, "XGROUP|CREATECONSUMER": _create_consumer,
    "XGROUP|DELCONSUMER": _delete_consumer, "XCLAIM": _claim, "XACK": _acknowledge,
}  # fmt: skip
_STREAM_EDITS: tuple[str, ...] = ("XADD", "XADD", "XADD", "XADD", "XADD", "XDEL", "XTRIM", "XSETID")
_GROUP_EDITS: tuple[str, ...] = (
    "XGROUP|SETID", "XGROUP|DESTROY", "XGROUP|CREATECONSUMER", "XCLAIM", "XCLAIM", "XCLAIM", "XACK",
)  # fmt: skip
_GROUPS = (b"g", b"\xffh")
_CONSUMERS = (b"c", b"d", b"")
