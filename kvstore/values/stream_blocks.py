"""Blocks of a stream: up to a hundred entries in order of their ids, packed.

An id is a number: the milliseconds of its time, shifted, and a sequence number (`id_of`, `text_of`). An entry is its id
and its words, fields and values by turns. As long as all entries of a block have the same fields these are there once,
and of each entry only its values; in a block that is mixed each entry has all its words.

A short entry takes 4 bytes besides its values, and 4 for its share of the block: of its id the time since the first
one's and the sequence number are in as few bytes as the largest needs, and of each value its length is in one (see
`blocks`). A block is never changed, only replaced by others: whoever notes some has noted what they hold.

Rejected: 16 bytes for an id, as they sort (four times the room); one length for all words of an entry (Python would
walk from word to word); a dict of ids (200 bytes for each entry).
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from operator import itemgetter, methodcaller
from typing import NamedTuple, TypeAlias

from kvstore.base.limits import KIB
from kvstore.values.blocks import Block as WordBlock
from kvstore.values.blocks import Lengths, cut, join, packed, unpack

#: Of one block. Valkey: stream-node-max-entries, stream-node-max-bytes.
MAX_ENTRIES, _MAX_BYTES = 100, 4 * KIB
#: About what Valkey has for an entry besides its words.
_ENTRY_BYTES = 10

_BITS = 64
_LARGEST = (1 << _BITS) - 1
#: No id is larger.
MAX_ID = (1 << 2 * _BITS) - 1

#: `struct`'s code for a number of so many bytes.
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}

_count_dashes = methodcaller("count", b"-")

#: An id, and the words of its entry.
Entry: TypeAlias = tuple[int, Sequence[bytes]]


def id_at(ms: int, sequence: int) -> int:
    """The id of a time and a sequence number, from 0 to 2^64 - 1 each."""
    return ms << _BITS | sequence


def parts_of(entry_id: int) -> tuple[int, int]:
    """The time in milliseconds, and the sequence number."""
    return entry_id >> _BITS, entry_id & _LARGEST


def id_of(text: bytes) -> int:
    """The id that `text_of` wrote. Raises ValueError for other text."""
    ms, sequence = map(int, text.split(b"-"))
    if not (0 <= ms <= _LARGEST and 0 <= sequence <= _LARGEST):
        raise ValueError("no id")
    return id_at(ms, sequence)


def ids_of(texts: Sequence[bytes]) -> list[int]:
    """What `id_of` gives of each of many, at least one, in less time. Raises ValueError."""
    numbers = list(map(int, b"-".join(texts).split(b"-")))
    if not {1}.issuperset(map(_count_dashes, texts)) or not 0 <= min(numbers) <= max(numbers) <= _LARGEST:
        raise ValueError("no id")
    each = iter(numbers)
    return [ms << _BITS | sequence for ms, sequence in zip(each, each, strict=True)]


def text_of(entry_id: int) -> bytes:
    """An id as clients and files have it: `1700000000000-0`."""
    return b"%d-%d" % (entry_id >> _BITS, entry_id & _LARGEST)


def texts_of(ids: Iterable[int]) -> list[bytes]:
    """The same of each of many."""
    return [b"%d-%d" % (entry_id >> _BITS, entry_id & _LARGEST) for entry_id in ids]


class _Numbers(NamedTuple):
    """Numbers of 64 bits, each in `width` bytes."""

    width: int
    packed: bytes

    def all(self) -> tuple[int, ...]:
        """All of them."""
        count = len(self.packed) // self.width
        return struct.unpack(f"<{count}{_CODES[self.width]}", self.packed)

    def at(self, place: int) -> int:
        """One of them."""
        return int.from_bytes(self.packed[place * self.width : (place + 1) * self.width], "little")

    def part(self, start: int, stop: int) -> _Numbers:
        """Those from `start` to before `stop`."""
        return _Numbers(self.width, self.packed[start * self.width : stop * self.width])

    def plus(self, number: int) -> _Numbers:
        """These, and another one."""
        width = self.width
        if number >> 8 * width:
            return _numbers([*self.all(), number])
        return tuple.__new__(_Numbers, (width, self.packed + number.to_bytes(width, "little")))  # 0.4 us less


def _numbers(numbers: Sequence[int]) -> _Numbers:
    """As few bytes as hold the numbers, at least one."""
    width = next(width for width in _CODES if not max(numbers) >> 8 * width)
    return _Numbers(width, struct.pack(f"<{len(numbers)}{_CODES[width]}", *numbers))


class Block(NamedTuple):
    """See the module. `first`: the first id. `times`: of each entry, since `base_ms`. `fields`: of all, None if it is
    mixed; `counts`: then how many words each entry has. `words`: of all entries, without the fields that are there.
    """

    first: int
    base_ms: int
    times: _Numbers
    sequences: _Numbers
    fields: tuple[bytes, ...] | None
    counts: Lengths
    words: WordBlock

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.times.packed) // self.times.width

    @property
    def last(self) -> int:
        """The last id."""
        return self.id_at(self.size - 1)

    def id_at(self, place: int) -> int:
        """The id of one entry."""
        return id_at(self.base_ms + self.times.at(place), self.sequences.at(place))

    def ids(self) -> list[int]:
        """All ids."""
        base = self.base_ms
        return [
            base + ms << _BITS | sequence
            for ms, sequence in zip(self.times.all(), self.sequences.all(), strict=True)
        ]  # fmt: skip

    def place(self, entry_id: int) -> int:
        """How many ids are below `entry_id`."""
        if entry_id <= self.first:
            return 0
        ms, sequence = parts_of(entry_id)
        times = self.times.all()
        start = bisect_left(times, ms - self.base_ms)
        stop = bisect_right(times, ms - self.base_ms, start)
        return bisect_left(self.sequences.all(), sequence, start, stop)

    def body_bytes(self) -> int:
        """Of all words of all entries."""
        shared = 0 if self.fields is None else sum(map(len, self.fields)) * self.size
        return len(self.words[1]) + shared

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more entry with so many bytes of words fits in, as Valkey reckons."""
        size = len(self.times.packed) // self.times.width
        return size < MAX_ENTRIES and len(self.words[1]) + _ENTRY_BYTES * size + size_bytes < _MAX_BYTES

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The entries from `start` to before `stop`."""
        return list(zip(self.ids()[start:stop], self._words(start, stop), strict=True))

    def shown(self, start: int, stop: int) -> list[list[object]]:
        """The same for replies: each its id as text, and a list of its words."""
        base = self.base_ms
        times, sequences = self.times.part(start, stop).all(), self.sequences.part(start, stop).all()
        return [
            [b"%d-%d" % (base + ms, sequence), words]
            for ms, sequence, words in zip(times, sequences, self._words(start, stop), strict=True)
        ]  # fmt: skip

    def _words(self, start: int, stop: int) -> Iterator[list[bytes]]:
        """The words of the entries from `start` to before `stop`."""
        if start >= stop:
            return
        first, end = self._span(start, stop)
        words = unpack(self.words, first, end)
        fields = self.fields
        if fields is None:
            at = 0
            for count in self.counts[start:stop]:
                yield list(words[at : at + count])
                at += count
        elif len(fields) == 1:
            for value in words:
                yield [fields[0], value]
        else:
            for at in range(0, len(words), len(fields)):
                entry = [b""] * (2 * len(fields))
                entry[::2], entry[1::2] = fields, words[at : at + len(fields)]
                yield entry

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Where the words of the entries from `start` to before `stop` begin and end."""
        if self.fields is not None:
            return start * len(self.fields), stop * len(self.fields)
        first = sum(self.counts[:start])
        return first, first + sum(self.counts[start:stop])

    def part(self, start: int, stop: int) -> Block:
        """The entries from `start` to before `stop`, at least one."""
        counts = self.counts if self.fields is not None else self.counts[start:stop]
        words = cut(self.words, *self._span(start, stop))
        times, sequences = self.times.part(start, stop), self.sequences.part(start, stop)
        return Block(self.id_at(start), self.base_ms, times, sequences, self.fields, counts, words)

    def plus(self, entry_id: int, words: Sequence[bytes]) -> Block:
        """These entries, and another one behind them."""
        fields = self.fields
        if fields is not None and tuple(words[::2]) != fields:
            return block_of([*self.entries(0, self.size), (entry_id, words)])
        times = self.times.plus((entry_id >> _BITS) - self.base_ms)
        sequences = self.sequences.plus(entry_id & _LARGEST)
        counts = self.counts
        if fields is None:
            counts = join((counts, b""), packed_counts([len(words)]))[0]
        added = join(self.words, packed(words if fields is None else words[1::2]))
        return tuple.__new__(Block, (self.first, self.base_ms, times, sequences, fields, counts, added))  # 0.9 us less

    def without(self, places: Sequence[int]) -> list[Block]:
        """The entries but those at some places: one block, or none."""
        gone = set(places)
        left = [entry for place, entry in enumerate(self.entries(0, self.size)) if place not in gone]
        return [block_of(left)] if left else []


def packed_counts(counts: Sequence[int]) -> WordBlock:
    """Numbers of words, as a block has them, of nothing."""
    return (bytes(counts) if max(counts) < 256 else tuple(counts)), b""


def block_of(entries: Sequence[Entry]) -> Block:
    """The entries, at least one, as a block."""
    ids = [entry_id for entry_id, _ in entries]
    base_ms = ids[0] >> _BITS
    times = _numbers([(entry_id >> _BITS) - base_ms for entry_id in ids])
    sequences = _numbers([entry_id & _LARGEST for entry_id in ids])
    each = [words for _, words in entries]
    lengths = list(map(len, each))
    if lengths.count(lengths[0]) == len(lengths):
        columns = list(zip(*each, strict=True))
        if all(column.count(column[0]) == len(column) for column in columns[::2]):
            fields = tuple(column[0] for column in columns[::2])
            values = list(chain.from_iterable(zip(*columns[1::2], strict=True)))
            return Block(ids[0], base_ms, times, sequences, fields, b"", packed(values))
    counts = packed_counts(lengths)[0]
    all_words = list(chain.from_iterable(each))
    return Block(ids[0], base_ms, times, sequences, None, counts, packed(all_words))


def blocks_of(entries: Sequence[Entry]) -> list[Block]:
    """The entries in as many blocks as they need."""
    sizes = [sum(map(len, words)) + _ENTRY_BYTES for _, words in entries]
    ends = list(accumulate(sizes, initial=0))
    blocks: list[Block] = []
    start = 0
    while start < len(entries):
        stop = min(bisect_right(ends, ends[start] + _MAX_BYTES) - 1, start + MAX_ENTRIES)
        stop = max(stop, start + 1)
        blocks.append(block_of(entries[start:stop]))
        start = stop
    return blocks


#: The first id of a block, for bisect.
first_of = itemgetter(0)
