"""Consumer groups of a stream: how far each has read, and what it was given and has not acknowledged yet.

| operation | effect |
|---|---|
| `XGROUP\\|CREATE key group id ENTRIESREAD n` | there is this group; it has read up to `id`, `n` entries, or -1 |
| `XGROUP\\|SETID key group id ENTRIESREAD n` | the group has read so far |
| `XGROUP\\|DESTROY key group` | the group is gone |
| `XGROUP\\|CREATECONSUMER key group consumer` | there is this consumer |
| `XGROUP\\|DELCONSUMER key group consumer` | the consumer is gone, and what it was given is pending no more |
| `XCLAIM key group consumer 0 id ... TIME ms RETRYCOUNT n FORCE JUSTID` | these are pending, given to it at `ms` |
| `XACK key group id ...` | of these, those that are pending are so no more |

A name with a `|` is a subcommand: the command is `XGROUP CREATE key ...`. So every operation has its key in one place.
`XCLAIM` makes the consumer, if there is none; `n` is how often they were given out.

What is pending is kept by its id, once for the group and once for its consumer (`ById`).
When a consumer was last heard of (`seen_ms`), and last given something (`active_ms`), is no part of the value: no
operation says it, so that a consumer that asks in vain writes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from kvstore.base.value_type import Undo, Words
from kvstore.values.stream_blocks import id_of, text_of

#: `entries_read` of a group that is not known to have read any number.
UNKNOWN = -1
#: Of one operation that `whole` gives, some 32 KiB.
_IDS_AT_ONCE = 1024
#: More ids than this that are gone are forgotten when they are more than those that are there.
_FORGOTTEN = 64
_CLAIM_TAIL = (b"FORCE", b"JUSTID")

_Held = TypeVar("_Held")


class ById(dict[int, _Held]):
    """What is held by ids, in their order.

    The order is a sorted list in which an id stays when it is gone, until half of them are: most come at the end, and
    go at the beginning.
    """

    __slots__ = ("_begin", "_order")

    def __init__(self) -> None:
        super().__init__()
        self._order: list[int] = []
        #: What stands before is gone.
        self._begin = 0

    def put(self, entry_id: int, held: _Held) -> None:
        """Hold that."""
        order = self._order
        if entry_id not in self:
            if not order or entry_id > order[-1]:
                order.append(entry_id)
            else:
                place = bisect_left(order, entry_id)
                if order[place] != entry_id:
                    insort(order, entry_id)
                self._begin = min(self._begin, place)
        self[entry_id] = held

    def drop(self, entry_id: int) -> _Held:
        """Hold it, which is there, no more; returns what was held."""
        held = self.pop(entry_id)
        order = self._order
        while self._begin < len(order) and order[self._begin] not in self:
            self._begin += 1
        if len(order) > 2 * len(self) + _FORGOTTEN:
            self._order = [each for each in order[self._begin :] if each in self]
            self._begin = 0
        return held

    def ids(self, start: int = 0) -> Iterator[int]:
        """The ids from `start` on, in order. Nothing may change meanwhile."""
        order = self._order
        for place in range(max(self._begin, bisect_left(order, start)), len(order)):
            if order[place] in self:
                yield order[place]

    def last(self) -> int:
        """The largest id; there is one."""
        return next(entry_id for entry_id in reversed(self._order) if entry_id in self)

    def copied(self) -> ById[_Held]:
        """Another one with the same content."""
        other: ById[_Held] = ById()
        other.update(self)
        other._order, other._begin = self._order[:], self._begin
        return other


class Consumer:
    """Who a group gives entries to. `ids`: those it has not acknowledged.

    `seen_ms`, `active_ms`: milliseconds since the epoch; None if there is nothing known of that. See the module.
    """

    __slots__ = ("active_ms", "ids", "name", "seen_ms")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.ids: ById[None] = ById()
        self.seen_ms: int | None = None
        self.active_ms: int | None = None

    def parts(self) -> tuple[ById[None]]:
        """What it is made of, to be freed."""
        return (self.ids,)


class Pending(NamedTuple):
    """An entry that was given out and is not acknowledged: to whom, when (ms since the epoch), how often."""

    consumer: Consumer
    delivered_ms: int
    times: int


class Group:
    """A group. `last_id`: what it has read up to; `entries_read`: how many entries that is, UNKNOWN if none knows."""

    __slots__ = ("consumers", "entries_read", "last_id", "pending")

    def __init__(self, last_id: int, entries_read: int) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.consumers: dict[bytes, Consumer] = {}
        self.pending: ById[Pending] = ById()

    def parts(self) -> tuple[ById[Pending], dict[bytes, Consumer]]:
        """What it is made of, to be freed."""
        return self.pending, self.consumers

    def copy(self) -> Group:
        """Another one with the same content."""
        other = Group(self.last_id, self.entries_read)
        for name, consumer in self.consumers.items():
            other.consumers[name] = copied = Consumer(name)
            copied.ids = consumer.ids.copied()
            copied.seen_ms, copied.active_ms = consumer.seen_ms, consumer.active_ms
        other.pending = self.pending.copied()
        for entry_id, held in self.pending.items():
            other.pending[entry_id] = held._replace(consumer=other.consumers[held.consumer.name])
        return other

    def set_read(self, last_id: int, entries_read: int) -> Undo:
        """It has read so far."""
        before = self.last_id, self.entries_read
        self.last_id, self.entries_read = last_id, entries_read

        def undo() -> None:
            self.last_id, self.entries_read = before

        return undo

    def add_consumer(self, name: bytes) -> Undo:
        """There is that consumer, if it is not there yet."""
        if name in self.consumers:
            return _nothing
        self.consumers[name] = Consumer(name)
        return lambda: self.consumers.__delitem__(name)

    def remove_consumer(self, name: bytes) -> Undo:
        """That consumer is gone, with all that it was given. Raises ValueError if there is none."""
        if name not in self.consumers:
            raise ValueError("no such consumer")
        consumer = self.consumers[name]
        gone = [(entry_id, self.pending.drop(entry_id)) for entry_id in consumer.ids]
        del self.consumers[name]

        def undo() -> None:
            self.consumers[name] = consumer
            for entry_id, held in gone:
                self.pending.put(entry_id, held)

        return undo

    def claim(self, name: bytes, ids: Sequence[int], delivered_ms: int, count: int) -> Undo:
        """These are pending now, given to that consumer, which comes to be there, at that time, so often."""
        undo_consumer = self.add_consumer(name)
        held = Pending(self.consumers[name], delivered_ms, count)
        before = [(entry_id, self._put(entry_id, held)) for entry_id in ids]

        def undo() -> None:
            for entry_id, was in reversed(before):
                if was is None:
                    self._drop(entry_id)
                else:
                    self._put(entry_id, was)
            undo_consumer()

        return undo

    def acknowledge(self, ids: Sequence[int]) -> Undo:
        """Of these, those that are pending are so no more."""
        gone = [(entry_id, self._drop(entry_id)) for entry_id in dict.fromkeys(ids) if entry_id in self.pending]

        def undo() -> None:
            for entry_id, held in gone:
                self._put(entry_id, held)

        return undo

    def _put(self, entry_id: int, held: Pending) -> Pending | None:
        """That is pending; returns how it was before."""
        before = self.pending.get(entry_id)
        if before is None or before.consumer is not held.consumer:
            if before is not None:
                before.consumer.ids.drop(entry_id)
            held.consumer.ids.put(entry_id, None)
        self.pending.put(entry_id, held)
        return before

    def _drop(self, entry_id: int) -> Pending:
        """That, which is pending, is so no more; returns how it was."""
        held = self.pending.drop(entry_id)
        held.consumer.ids.drop(entry_id)
        return held

    def whole(self, name: bytes) -> Iterator[tuple[bytes, Words]]:
        """The edits that build it in a stream where it is not."""
        yield b"XGROUP|CREATE", [name, text_of(self.last_id), b"ENTRIESREAD", b"%d" % self.entries_read]
        for consumer in sorted(self.consumers):
            yield b"XGROUP|CREATECONSUMER", [name, consumer]
        run: list[int] = []
        held: Pending | None = None
        for entry_id in self.pending.ids():
            if run and (self.pending[entry_id] != held or len(run) == _IDS_AT_ONCE):
                yield claiming(name, run, held)
                run = []
            held = self.pending[entry_id]
            run.append(entry_id)
        if run:
            yield claiming(name, run, held)


def claiming(group: bytes, ids: Sequence[int], held: Pending | None) -> tuple[bytes, Words]:
    """The edit by which these ids are pending so."""
    assert held is not None
    return claim_edit(group, held.consumer.name, ids, held.delivered_ms, held.times)


def claim_edit(
    group: bytes, consumer: bytes, ids: Sequence[int], delivered_ms: int, count: int
) -> tuple[bytes, list[bytes]]:
    """The edit by which these ids are pending, given to a consumer at that time, so often."""
    tail = [b"TIME", b"%d" % delivered_ms, b"RETRYCOUNT", b"%d" % count, *_CLAIM_TAIL]
    return b"XCLAIM", [group, consumer, b"0", *map(text_of, ids), *tail]


def claim_of(words: Words) -> tuple[bytes, list[int], int, int]:
    """Consumer, ids, time and count of `claim_edit`'s words behind the group. Raises ValueError for others."""
    consumer, zero, *ids = words[:-6]
    time, delivered_ms, retrycount, count, *tail = words[-6:]
    if (zero, time, retrycount, *tail) != (b"0", b"TIME", b"RETRYCOUNT", *_CLAIM_TAIL) or not ids:
        raise ValueError("no such claim")
    return consumer, list(map(id_of, ids)), int(delivered_ms), int(count)


def _nothing() -> None:
    """The undo of an edit that changed nothing."""
