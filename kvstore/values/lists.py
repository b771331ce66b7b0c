"""Lists: elements in order, quick at both ends.

| operation | effect |
|---|---|
| `RPUSH key element ...` | the elements come behind the last one, in this order |
| `LPUSH key element ...` | the elements come before the first one, each before the one named before it |
| `LPOP key count`, `RPOP key count` | so many elements, which are there, go from the front, or the end |
| `LSET key index element` | the element at `index`, counted from 0, is another |
| `LINSERT key BEFORE\\|AFTER pivot element` | a new element beside the first one that equals `pivot` |
| `LREM key count element` | what equals `element` goes: all if `count` is 0, else so many, from the end if below 0 |
| `LTRIM key start stop` | only the elements from `start` to `stop`, counted from 0, stay |

A list is a Python list of packed `blocks`, which are never changed, only replaced by others. So every edit comes to one
step, `List._replace`, whose undo puts the old blocks back; and a copy, or what a long LRANGE notes, is a list of the
same blocks.

Rejected: a deque of bytes objects (14 times the memory for short elements); elements in RESP, which would be replies
as they are (twice the memory for short elements, and as long to take apart); ends kept unpacked (twice the code; to
copy a block of 8 KiB for each push takes 0.3 us).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

from kvstore.base.limits import KIB
from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.values.blocks import Block, cut, element_at, fit, gather, join, pack, places_of, splice, unpack, without

#: Blocks at an end that are walked through before the numbers of elements of all are added up.
_NEAR = 16
#: Redis: list-max-listpack-size -2, and LP_HDR_SIZE.
_LISTPACK_BYTES, _LISTPACK_HEAD_BYTES = 8 * KIB, 7
#: Of one operation that builds a list.
_WHOLE_BYTES, _WHOLE_ELEMENTS = 32 * KIB, 1024
#: About what an element takes in an operation besides its own bytes.
_HEAD_BYTES = 8


class List:
    """A list. Indices count from 0 at the first element, and are not negative."""

    __slots__ = ("_body_bytes", "_count", "_ends", "blocks")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._count = 0
        self._body_bytes = 0
        #: How many elements there are up to the end of each block; None while nobody needs it.
        self._ends: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def size_bytes(self) -> int:
        """About how many bytes its operations take in a file."""
        return self._body_bytes + _HEAD_BYTES * self._count

    def parts(self) -> tuple[list[Block]]:
        """What it is made of, to be freed."""
        return (self.blocks,)

    def encoding(self) -> str:
        """How Redis would hold it: in one listpack while it has room there."""
        return "quicklist" if self.listpack_bytes() > _LISTPACK_BYTES else "listpack"

    def listpack_bytes(self) -> int:
        """About how many bytes Redis's listpack of the elements would have."""
        return self._body_bytes + 2 * self._count + _LISTPACK_HEAD_BYTES

    def copy(self) -> List:
        """A list of its own with the same elements. Some 10 us for each megabyte."""
        other = List()
        other.blocks, other._count, other._body_bytes = self.blocks[:], self._count, self._body_bytes
        return other

    # Reading

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            yield from unpack(block)

    def at(self, index: int) -> bytes:
        """The element at `index`, which is there."""
        number, within = self._find(index)
        return element_at(self.blocks[number], within)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[bytes, ...]]:
        """The elements from `start` to before `stop`, which are there, some hundreds at a time.

        They are those of the moment when the first piece is asked for.
        """
        if start >= stop:
            return
        first, within = self._find(start)
        last, end = self._find(stop - 1)
        if first == last:
            yield unpack(self.blocks[first], within, end + 1)
            return
        blocks = self.blocks[first : last + 1]
        yield unpack(blocks[0], within)
        yield from map(unpack, blocks[1:-1])
        yield unpack(blocks[-1], 0, end + 1)

    def range(self, start: int, stop: int) -> Sequence[bytes]:
        """The elements from `start` to before `stop`, which are there."""
        pieces = list(self.pieces(start, stop))
        return pieces[0] if len(pieces) == 1 else list(chain.from_iterable(pieces))

    def holds(self, element: bytes) -> bool:
        """Whether any element equals `element`."""
        return any(places_of(block, element) for block in self.blocks)

    def indices(self, element: bytes, limit: int | None = None) -> Iterator[list[int]]:
        """Where elements are that equal `element`, from the first on; of each block, so that one can stop in between.

        Of the first `limit` elements, unless it is None.
        """
        start, limit = 0, self._count if limit is None else limit
        for block in self.blocks:
            if start >= limit:
                break
            yield [index for place in places_of(block, element) if (index := start + place) < limit]
            start += len(block[0])

    def indices_backwards(self, element: bytes, limit: int | None = None) -> Iterator[list[int]]:
        """As `indices`, from the last on; of the last `limit` elements."""
        stop, first = self._count, 0 if limit is None else self._count - limit
        for block in reversed(self.blocks):
            if stop <= first:
                break
            stop -= len(block[0])
            yield [index for place in reversed(places_of(block, element)) if (index := stop + place) >= first]

    def _find(self, index: int) -> tuple[int, int]:
        """In which block the element at `index` is, and the how manieth of it."""
        blocks = self.blocks
        if index < len(blocks[0][0]):
            return 0, index
        within, behind = index, self._count - index
        for number in range(min(_NEAR, len(blocks))):
            size = len(blocks[number][0])
            if within < size:
                return number, within
            within -= size
            size = len(blocks[-1 - number][0])
            if behind <= size:
                return len(blocks) - 1 - number, size - behind
            behind -= size
        if self._ends is None:
            self._ends = list(accumulate([len(lengths) for lengths, _ in blocks]))
        number = bisect_right(self._ends, index)
        return number, index - self._ends[number - 1]

    # Changing

    def push_right(self, elements: Sequence[bytes]) -> Undo:
        """Put elements, at least one, behind the last."""
        new, number = pack(elements), len(self.blocks)
        if number and fit(self.blocks[-1], new[0]):
            new[0] = join(self.blocks[-1], new[0])
            return self._replace(number - 1, number, new)
        return self._replace(number, number, new)

    def push_left(self, elements: Sequence[bytes]) -> Undo:
        """Put elements, at least one, before the first, in the order in which they are then."""
        new = pack(elements)
        if self.blocks and fit(self.blocks[0], new[-1]):
            new[-1] = join(new[-1], self.blocks[0])
            return self._replace(0, 1, new)
        return self._replace(0, 0, new)

    def drop_left(self, count: int) -> Undo:
        """Remove the first `count` elements, which are there."""
        if count == self._count:
            return self._replace(0, len(self.blocks), [])
        number, within = self._find(count)
        block = self.blocks[number]
        return self._replace(0, number + 1, [cut(block, within, len(block[0]))])

    def drop_right(self, count: int) -> Undo:
        """Remove the last `count` elements, which are there."""
        if count == self._count:
            return self._replace(0, len(self.blocks), [])
        number, within = self._find(self._count - count - 1)
        return self._replace(number, len(self.blocks), [cut(self.blocks[number], 0, within + 1)])

    def set(self, index: int, element: bytes) -> Undo:
        """Put another element in place of the one at `index`, which is there."""
        number, within = self._find(index)
        return self._replace(number, number + 1, splice(self.blocks[number], within, within + 1, element))

    def insert(self, *, behind: bool, pivot: bytes, element: bytes) -> Undo:
        """Put an element before, or behind, the first one that equals `pivot`. Raises ValueError if none does."""
        for number, block in enumerate(self.blocks):
            if places := places_of(block, pivot):
                at = places[0] + behind
                return self._replace(number, number + 1, splice(block, at, at, element))
        raise ValueError("no such pivot")

    def remove(self, count: int, element: bytes) -> Undo:
        """Remove elements that equal `element`: the first `count`; the last, if it is below 0; all, if it is 0."""
        blocks, left = self.blocks, abs(count) or self._count
        changed: dict[int, list[Block]] = {}
        for number in range(len(blocks)) if count >= 0 else reversed(range(len(blocks))):
            if places := places_of(blocks[number], element):
                places = places[:left] if count >= 0 else places[-left:]
                changed[number] = without(blocks[number], places)
                left -= len(places)
                if not left:
                    break
        if not changed:
            return _nothing
        start, stop = max(min(changed) - 1, 0), max(changed) + 2  # with their neighbours
        rest = [changed.get(number, [block]) for number, block in enumerate(blocks[start:stop], start)]
        return self._replace(start, stop, gather(chain.from_iterable(rest)))

    def _replace(self, start: int, stop: int, new: list[Block]) -> Undo:
        """Put `new` in place of the blocks from `start` to before `stop`: the one way in which a list changes."""
        if len(new) == 1 == stop - start:
            return self._put(start, new[0])
        blocks, count, body_bytes, ends = self.blocks, self._count, self._body_bytes, self._ends
        old = blocks[start:stop]
        blocks[start:stop] = new
        for lengths, body in old:
            self._count -= len(lengths)
            self._body_bytes -= len(body)
        for lengths, body in new:
            self._count += len(lengths)
            self._body_bytes += len(body)
        self._ends = None

        def undo() -> None:
            blocks[start : start + len(new)] = old
            self._count, self._body_bytes, self._ends = count, body_bytes, ends

        return undo

    def _put(self, number: int, new: Block) -> Undo:
        """The same for one block: nearly every edit."""
        blocks, count, body_bytes, ends = self.blocks, self._count, self._body_bytes, self._ends
        old = blocks[number]
        blocks[number] = new
        self._count = count + len(new[0]) - len(old[0])
        self._body_bytes = body_bytes + len(new[1]) - len(old[1])
        if self._count != count:  # not for LSET
            self._ends = None

        def undo() -> None:
            blocks[number] = old
            self._count, self._body_bytes, self._ends = count, body_bytes, ends

        return undo


def _nothing() -> None:
    """The undo of an edit that changed nothing."""


# The operations


def _rpush(value: List, elements: Words) -> Undo:
    return value.push_right(_some(elements))


def _lpush(value: List, elements: Words) -> Undo:
    return value.push_left(_some(elements)[::-1])


def _lpop(value: List, words: Words) -> Undo:
    (count,) = words
    return value.drop_left(_up_to(len(value), count))


def _rpop(value: List, words: Words) -> Undo:
    (count,) = words
    return value.drop_right(_up_to(len(value), count))


def _lset(value: List, words: Words) -> Undo:
    index, element = words
    return value.set(_up_to(len(value) - 1, index), element)


def _linsert(value: List, words: Words) -> Undo:
    where, pivot, element = words
    if where not in (b"BEFORE", b"AFTER"):
        raise ValueError("neither BEFORE nor AFTER")
    return value.insert(behind=where == b"AFTER", pivot=pivot, element=element)


def _lrem(value: List, words: Words) -> Undo:
    count, element = words
    return value.remove(int(count), element)


def _ltrim(value: List, words: Words) -> Undo:
    start, stop = words
    last = _up_to(len(value) - 1, stop)
    first = _up_to(last, start)
    undo_right = value.drop_right(len(value) - last - 1)
    undo_left = value.drop_left(first)

    def undo() -> None:
        undo_left()
        undo_right()

    return undo


def _rpush_each(value: List, words: Sequence[Words]) -> list[int]:
    value.push_right(_chained(words))
    return list(map(len, words))


def _lpush_each(value: List, words: Sequence[Words]) -> list[int]:
    value.push_left(_chained(words)[::-1])
    return list(map(len, words))


def _lpop_each(value: List, words: Sequence[Words]) -> list[int]:
    counts = _counts(value, words)
    value.drop_left(sum(counts))
    return [-count for count in counts]


def _rpop_each(value: List, words: Sequence[Words]) -> list[int]:
    counts = _counts(value, words)
    value.drop_right(sum(counts))
    return [-count for count in counts]


def _chained(words: Sequence[Words]) -> Words:
    """The elements of many pushes."""
    if not all(words):
        raise ValueError("no element")
    return list(chain.from_iterable(words))


def _counts(value: List, words: Sequence[Words]) -> list[int]:
    """Of many pops of one end."""
    left = len(value)
    counts = []
    for (count,) in words:
        counts.append(_up_to(left, count))
        left -= counts[-1]
    return counts


def _some(elements: Words) -> Words:
    if not elements:
        raise ValueError("no element")
    return elements


def _up_to(most: int, digits: bytes) -> int:
    """A number from 0 to `most`. Raises ValueError for any other."""
    number = int(digits)
    if not 0 <= number <= most:
        raise ValueError(f"{number} is not from 0 to {most}")
    return number


def _whole(value: List) -> Iterator[tuple[bytes, Words]]:
    """The same operations for the same elements, in whatever blocks they are."""
    held: list[bytes] = []
    for block in value.blocks:
        held += unpack(block)
        while (stop := _end_of_operation(held)) < len(held):
            yield b"RPUSH", held[:stop]
            del held[:stop]
    if held:
        yield b"RPUSH", held


def _end_of_operation(elements: list[bytes]) -> int:
    """How many of the elements, at least one, one operation has that builds a list."""
    sizes = map(_HEAD_BYTES.__add__, map(len, elements[:_WHOLE_ELEMENTS]))
    return max(1, bisect_right(list(accumulate(sizes)), _WHOLE_BYTES))


LISTS = ValueType(
    "list",
    List,
    (
        Edit(b"RPUSH", _rpush, _rpush_each),
        Edit(b"LPUSH", _lpush, _lpush_each),
        Edit(b"LPOP", _lpop, _lpop_each),
        Edit(b"RPOP", _rpop, _rpop_each),
        Edit(b"LSET", _lset),
        Edit(b"LINSERT", _linsert),
        Edit(b"LREM", _lrem),
        Edit(b"LTRIM", _ltrim),
    ),
    List.copy,
    _whole,
)
