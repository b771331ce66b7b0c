"""Streams: entries in order of their ids, and groups of consumers that read them.

| operation | effect |
|---|---|
| `XADD key id field value ...` | a new entry; its id is larger than any that there was |
| `XDEL key id ...` | of these entries those that are there are gone |
| `XTRIM key MAXLEN n` | only the last `n` entries, which are there, stay |
| `XSETID key id ENTRIESADDED n MAXDELETEDID id` | last id; how many were added; the largest that `XDEL` removed |

and those of `groups`. Ids are whole, times absolute. A stream without entries stays, as in Redis.

Entries lie in `stream_blocks`, which are never changed, only replaced by others: so an edit's undo puts the old ones
back, and a long XRANGE notes a list of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import lt
from typing import Any

from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.values.groups import UNKNOWN, ById, Group, Pending, claim_of
from kvstore.values.stream_blocks import (
    MAX_ID,
    Block,
    Entry,
    block_of,
    blocks_of,
    first_of,
    id_of,
    ids_of,
    text_of,
)

#: About what an entry, and something pending, takes in a file besides the bytes of its words.
_ENTRY_BYTES, _PENDING_BYTES = 50, 25
#: Entries that are added at once are packed at once if they are so many.
_MANY = 8
#: An entry that is added and removed makes a stream that has none.
_FIRST_ID = 1


class Stream:
    """A stream. `last_id`: no new entry's id is smaller, or this; `max_deleted`: the largest that was removed one by
    one, 0 for none; `entries_added`: how many were added ever.
    """

    __slots__ = ("_body_bytes", "_count", "blocks", "entries_added", "groups", "last_id", "max_deleted")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.groups: dict[bytes, Group] = {}
        self.last_id = self.max_deleted = self.entries_added = 0
        self._count = self._body_bytes = 0

    def __len__(self) -> int:
        return self._count

    def size_bytes(self) -> int:
        """About how many bytes its operations take in a file."""
        pending = sum(len(group.pending) for group in self.groups.values())
        return self._body_bytes + _ENTRY_BYTES * self._count + _PENDING_BYTES * pending

    def parts(self) -> tuple[list[Block] | dict[bytes, Group] | ById[Pending], ...]:
        """What it is made of, to be freed."""
        return (self.blocks, *(group.pending for group in self.groups.values()), self.groups)

    def encoding(self) -> str:
        """How Redis would hold it."""
        return "stream"

    def copy(self) -> Stream:
        """A stream of its own with the same content."""
        other = Stream()
        other.blocks, other.groups = self.blocks[:], {name: group.copy() for name, group in self.groups.items()}
        other.last_id, other.max_deleted, other.entries_added = self.last_id, self.max_deleted, self.entries_added
        other._count, other._body_bytes = self._count, self._body_bytes
        return other

    # Reading

    @property
    def first(self) -> int:
        """The first entry's id, 0 if there is none."""
        return self.blocks[0].first if self.blocks else 0

    @property
    def last(self) -> int:
        """The last entry's id, 0 if there is none."""
        return self.blocks[-1].last if self.blocks else 0

    def pieces(self, start: int, stop: int, *, backwards: bool = False) -> Iterator[tuple[Block, int, int]]:
        """The entries with ids from `start` to `stop`, that one too: blocks, the last one first if `backwards`, each
        with the places from where to before where. Nothing may change meanwhile.
        """
        first, end = self.span(start, stop)
        for number in reversed(range(first, end)) if backwards else range(first, end):
            block = self.blocks[number]
            begin = block.place(start) if number == first else 0
            before = block.place(stop + 1) if number == end - 1 else block.size
            if begin < before:
                yield block, begin, before

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """From which block to before which one the entries with ids from `start` to `stop` are."""
        return self._number(start), bisect_right(self.blocks, stop, key=first_of)

    def noted(self) -> Stream:
        """The entries that are there now, whatever happens to this one; nothing else of it."""
        other = Stream()
        other.blocks = self.blocks[:]
        return other

    def get(self, entry_id: int) -> list[object] | None:
        """The entry with that id as replies show it, None if it is not there."""
        for block, begin, end in self.pieces(entry_id, entry_id):
            return block.shown(begin, end)[0]
        return None

    def holds(self, entry_id: int) -> bool:
        """Whether there is an entry with that id."""
        return any(True for _ in self.pieces(entry_id, entry_id))

    def _number(self, entry_id: int) -> int:
        """The block in which an entry with that id would be, the first one for those before it."""
        return max(bisect_right(self.blocks, entry_id, key=first_of) - 1, 0)

    def before(self, entry_id: int) -> int:
        """How many entries have smaller ids."""
        number = self._number(entry_id)
        whole = sum([block.size for block in self.blocks[:number]])
        return whole + (self.blocks[number].place(entry_id) if self.blocks else 0)

    def has_gaps_after(self, entry_id: int) -> bool:
        """Whether some entry after that was removed, not with all before it."""
        return bool(self._count and self.max_deleted) and entry_id <= self.max_deleted

    def added_up_to(self, entry_id: int) -> int:
        """How many entries were added up to that one, as far as can be told without counting; UNKNOWN if it cannot.

        Source: streamEstimateDistanceFromFirstEverEntry, t_stream.c of Redis.
        """
        if not self.entries_added:
            return 0
        if (not self._count and entry_id <= self.last_id) or entry_id == self.last_id:
            return self.entries_added
        if (entry_id and entry_id < self.max_deleted) or entry_id > min(self.first, self.last_id):
            return UNKNOWN
        if self.max_deleted and self.max_deleted >= self.first:
            return UNKNOWN
        return self.entries_added - self._count + (entry_id == self.first)

    # Changing

    def add(self, entry_id: int, words: Sequence[bytes]) -> Undo:
        """Put an entry, of at least one field with its value, at the end. Raises ValueError if it may not be there."""
        self._check(entry_id, words)
        blocks, before, size_bytes = self.blocks, self.last_id, sum(map(len, words))
        old = blocks[-1] if blocks else None
        if old is not None and old.has_room(size_bytes):
            blocks[-1] = old.plus(entry_id, words)
        else:
            old = None
            blocks.append(block_of([(entry_id, words)]))
        self.last_id = entry_id
        self._count += 1
        self._body_bytes += size_bytes
        self.entries_added += 1

        def undo() -> None:
            if old is None:
                blocks.pop()
            else:
                blocks[-1] = old
            self.last_id = before
            self._count -= 1
            self._body_bytes -= size_bytes
            self.entries_added -= 1

        return undo

    def _check(self, entry_id: int, words: Sequence[bytes]) -> None:
        if not self.last_id < entry_id <= MAX_ID or not words or len(words) % 2:
            raise ValueError("no entry that could come here")

    def add_all(self, entries: Sequence[Entry]) -> None:
        """The same of many, for good. Raises ValueError, maybe in the middle."""
        if len(entries) < _MANY:
            for entry_id, words in entries:
                self.add(entry_id, words)
            return
        ids = [entry_id for entry_id, _ in entries]
        counts = {len(words) for _, words in entries}
        if not all(map(lt, [self.last_id, *ids], ids)) or ids[-1] > MAX_ID or any(n % 2 or not n for n in counts):
            raise ValueError("no entries that could come here")
        self.last_id = ids[-1]
        self.entries_added += len(entries)
        self._replace(len(self.blocks), len(self.blocks), blocks_of(entries))

    def remove(self, ids: Sequence[int]) -> Undo:
        """Remove entries; some may not be there."""
        there = sorted(entry_id for entry_id in set(ids) if self.holds(entry_id))
        undos: list[Undo] = []
        for number, some in reversed([(number, list(some)) for number, some in groupby(there, self._number)]):
            block = self.blocks[number]
            undos.append(self._replace(number, number + 1, block.without(list(map(block.place, some)))))
        before = self.max_deleted
        self.max_deleted = max([before, *there])

        def undo() -> None:
            for each in reversed(undos):
                each()
            self.max_deleted = before

        return undo

    def keep_last(self, count: int) -> Undo:
        """Remove all but the last `count` entries, which are there."""
        gone, number = self._count - count, 0
        while number < len(self.blocks) and gone >= self.blocks[number].size:
            gone -= self.blocks[number].size
            number += 1
        if not gone:
            return self._replace(0, number, [])
        block = self.blocks[number]
        return self._replace(0, number + 1, [block.part(gone, block.size)])

    def set_ids(self, last_id: int, entries_added: int, max_deleted: int) -> Undo:
        """See `XSETID`."""
        before = self.last_id, self.entries_added, self.max_deleted
        self.last_id, self.entries_added, self.max_deleted = last_id, entries_added, max_deleted

        def undo() -> None:
            self.last_id, self.entries_added, self.max_deleted = before

        return undo

    def _replace(self, start: int, stop: int, new: list[Block]) -> Undo:
        """Put `new` in place of the blocks from `start` to before `stop`."""
        blocks, count, body_bytes = self.blocks, self._count, self._body_bytes
        old = blocks[start:stop]
        blocks[start:stop] = new
        self._count += sum([block.size for block in new]) - sum([block.size for block in old])
        self._body_bytes += sum([block.body_bytes() for block in new]) - sum([block.body_bytes() for block in old])

        def undo() -> None:
            blocks[start : start + len(new)] = old
            self._count, self._body_bytes = count, body_bytes

        return undo

    def group(self, name: bytes) -> Group:
        """That group. Raises ValueError if there is none."""
        group = self.groups.get(name)
        if group is None:
            raise ValueError("no such group")
        return group

    def create_group(self, name: bytes, last_id: int, entries_read: int) -> Undo:
        """A new group. Raises ValueError if there is one of that name."""
        if name in self.groups:
            raise ValueError("there is such a group")
        self.groups[name] = Group(last_id, entries_read)
        return lambda: self.groups.__delitem__(name)

    def destroy_group(self, name: bytes) -> Undo:
        """A group is gone. Raises ValueError if there is none."""
        group = self.group(name)
        del self.groups[name]
        return lambda: self.groups.__setitem__(name, group)


# The operations


def _xadd(value: Stream, words: Words) -> Undo:
    return value.add(id_of(words[0]), words[1:])


def _xadd_each(value: Stream, words: Sequence[Words]) -> list[int]:
    ids = ids_of([each[0] for each in words])
    value.add_all([(entry_id, each[1:]) for entry_id, each in zip(ids, words, strict=True)])
    return [1] * len(words)


def _xdel(value: Stream, words: Words) -> Undo:
    return value.remove(_ids(words))


def _xtrim(value: Stream, words: Words) -> Undo:
    name, count = words
    if name != b"MAXLEN" or not 0 <= int(count) <= len(value):
        raise ValueError("not the length that is left")
    return value.keep_last(int(count))


def _xsetid(value: Stream, words: Words) -> Undo:
    last_id, entries_added, count, max_deleted, deleted_id = words
    if (entries_added, max_deleted) != (b"ENTRIESADDED", b"MAXDELETEDID") or id_of(last_id) < value.last:
        raise ValueError("not what a stream counts")
    return value.set_ids(id_of(last_id), int(count), id_of(deleted_id))


def _create(value: Stream, words: Words) -> Undo:
    name, last_id, entries_read, count = words
    if entries_read != b"ENTRIESREAD":
        raise ValueError("not what a group has read")
    return value.create_group(name, id_of(last_id), int(count))


def _setid(value: Stream, words: Words) -> Undo:
    name, last_id, entries_read, count = words
    if entries_read != b"ENTRIESREAD":
        raise ValueError("not what a group has read")
    return value.group(name).set_read(id_of(last_id), int(count))


def _destroy(value: Stream, words: Words) -> Undo:
    (name,) = words
    return value.destroy_group(name)


def _create_consumer(value: Stream, words: Words) -> Undo:
    name, consumer = words
    return value.group(name).add_consumer(consumer)


def _delete_consumer(value: Stream, words: Words) -> Undo:
    name, consumer = words
    return value.group(name).remove_consumer(consumer)


def _xclaim(value: Stream, words: Words) -> Undo:
    return value.group(words[0]).claim(*claim_of(words[1:]))


def _xack(value: Stream, words: Words) -> Undo:
    return value.group(words[0]).acknowledge(_ids(words[1:]))


def _ids(words: Words) -> list[int]:
    if not words:
        raise ValueError("no id")
    return list(map(id_of, words))


def _whole(value: Stream) -> Iterator[tuple[bytes, Words]]:
    for block in value.blocks:
        for entry_id, words in block.entries(0, block.size):
            yield b"XADD", [text_of(entry_id), *words]
    if not value.blocks:
        yield b"XADD", [text_of(_FIRST_ID), b"", b""]
        yield b"XTRIM", [b"MAXLEN", b"0"]
    yield b"XSETID", setting(value.last_id, value.entries_added, value.max_deleted)
    for name in sorted(value.groups):
        yield from value.groups[name].whole(name)


def setting(last_id: int, entries_added: int, max_deleted: int) -> list[bytes]:
    """The words of an XSETID."""
    return [text_of(last_id), b"ENTRIESADDED", b"%d" % entries_added, b"MAXDELETEDID", text_of(max_deleted)]


_ENTRY_EDITS = (
    Edit(b"XADD", _xadd, _xadd_each),
    Edit(b"XDEL", _xdel, wakes=False),
    Edit(b"XTRIM", _xtrim, wakes=False),
    Edit(b"XGROUP|DESTROY", _destroy, modifies=False),  # who waits in it gets an error
)
_EDITS: dict[bytes, Callable[[Any, Words], Undo]] = {
    b"XSETID": _xsetid, b"XGROUP|CREATE": _create, b"XGROUP|SETID": _setid,
    b"XGROUP|CREATECONSUMER": _create_consumer,
    b"XGROUP|DELCONSUMER": _delete_consumer, b"XCLAIM": _xclaim, b"XACK": _xack,
}  # fmt: skip

STREAMS = ValueType(
    "stream",
    Stream,
    (*_ENTRY_EDITS, *(Edit(name, apply, wakes=False, modifies=False) for name, apply in _EDITS.items())),
    Stream.copy,
    _whole,
    keeps_empty=True,
)
