"""Blocks: some hundreds of elements, packed, for types whose values hold many.

A block is a pair: the lengths of its elements, and their bytes, joined. That is 4 bytes for an element of 3, where an
object of its own takes 56. A block is never changed, only replaced by others, so whoever notes some has noted what they
hold. Blocks are cut, joined and searched without a look at each element; `struct` takes them apart at C speed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, compress
from typing import TypeAlias

from kvstore.base.limits import KIB

#: Most bytes of elements in a block, unless it is one longer element. Redis: list-max-listpack-size -2, 8 KiB.
_BLOCK_BYTES = 8 * KIB
#: Most elements of a block: to take one apart costs some 20 us then.
_BLOCK_ELEMENTS = 512
#: Elements that are cut out of a block's bytes one by one; more are found faster when it is taken apart.
_FEW = 16

#: `struct`'s code for an element of each length below 256.
_CODES = [f"{length}s" for length in range(256)]

#: The lengths of one element of each length below 256.
_ONE = [bytes((length,)) for length in range(256)]

#: Of the elements in a block; bytes if all are below 256.
Lengths: TypeAlias = bytes | tuple[int, ...]
#: The lengths of some elements, at least one, and their bytes, joined.
Block: TypeAlias = tuple[Lengths, bytes]


def _lengths(elements: Sequence[bytes]) -> Lengths:
    try:
        return bytes(map(len, elements))
    except ValueError:
        return tuple(map(len, elements))


def pack(elements: Sequence[bytes]) -> list[Block]:
    """As few blocks as hold the elements, in order."""
    if len(elements) == 1:
        length = len(elements[0])
        return [(_ONE[length] if length < len(_ONE) else (length,), elements[0])]
    lengths = _lengths(elements)
    if len(lengths) <= _BLOCK_ELEMENTS and sum(lengths) <= _BLOCK_BYTES:
        return [(lengths, b"".join(elements))]
    ends = list(accumulate(lengths, initial=0))
    blocks: list[Block] = []
    start = 0
    while start < len(elements):
        stop = min(bisect_right(ends, ends[start] + _BLOCK_BYTES) - 1, start + _BLOCK_ELEMENTS)
        some = elements[start : max(stop, start + 1)]
        blocks.append((_lengths(some), b"".join(some)))
        start += len(some)
    return blocks


def packed(elements: Sequence[bytes]) -> Block:
    """The elements, at least one, in one block, however many they are."""
    return _lengths(elements), b"".join(elements)


def _offset(block: Block, index: int) -> int:
    """Where in a block's bytes its element `index` begins; the end for one past the last."""
    lengths, body = block
    return sum(lengths[:index]) if 2 * index <= len(lengths) else len(body) - sum(lengths[index:])


def element_at(block: Block, index: int) -> bytes:
    """One element of a block."""
    start = _offset(block, index)
    return block[1][start : start + block[0][index]]


def unpack(block: Block, start: int = 0, stop: int | None = None) -> tuple[bytes, ...]:
    """Elements of a block, from `start` to before `stop`, at least one."""
    if len(block[0]) == 1:  # maybe a long one, not to be copied
        return (block[1],)
    lengths = block[0][start:stop]
    if lengths.count(lengths[0]) == len(lengths):
        codes = f"{lengths[0]}s" * len(lengths)
    elif lengths.__class__ is bytes:
        codes = "".join(map(_CODES.__getitem__, lengths))
    else:
        codes = "".join([f"{length}s" for length in lengths])
    return struct.unpack_from(codes, block[1], _offset(block, start))


def cut(block: Block, start: int, stop: int) -> Block:
    """The elements of a block from `start` to before `stop`, at least one."""
    return block[0][start:stop], block[1][_offset(block, start) : _offset(block, stop)]


def join(one: Block, other: Block) -> Block:
    """The elements of one block, then those of the other."""
    lengths, others = one[0], other[0]
    if lengths.__class__ is not others.__class__:
        lengths, others = tuple(lengths), tuple(others)
    return lengths + others, one[1] + other[1]  # type: ignore[operator]


def fit(one: Block, other: Block, share: int = 1) -> bool:
    """Whether two blocks together are at most one, or one `share`th of one."""
    return (
        share * (len(one[0]) + len(other[0])) <= _BLOCK_ELEMENTS
        and share * (len(one[1]) + len(other[1])) <= _BLOCK_BYTES
    )


def splice(block: Block, start: int, stop: int, element: bytes) -> list[Block]:
    """A block with `element` in place of those from `start` to before `stop`; more blocks than one if it is long."""
    spliced: Block = pack((element,))[0]
    if start:
        spliced = join(cut(block, 0, start), spliced)
    if stop < len(block[0]):
        spliced = join(spliced, cut(block, stop, len(block[0])))
    size = len(spliced[0])
    if size == 1 or (size <= _BLOCK_ELEMENTS and len(spliced[1]) <= _BLOCK_BYTES):
        return [spliced]
    # In halves, so that the next one beside it finds room: else each would open a block of its own.
    return pack(unpack(spliced, 0, size // 2)) + pack(unpack(spliced, size // 2))


def without(block: Block, places: list[int]) -> list[Block]:
    """A block without its elements at some places; no block if none is left."""
    if len(places) == len(block[0]):
        return []
    stays = bytearray(b"\1") * len(block[0])
    for place in places:
        stays[place] = 0
    return pack(tuple(compress(unpack(block), stays)))


def gather(blocks: Iterable[Block]) -> list[Block]:
    """The same elements, with small neighbours made one: so what is removed here and there leaves no crumbs."""
    gathered: list[Block] = []
    for block in blocks:
        if gathered and fit(gathered[-1], block, 2):
            gathered[-1] = join(gathered[-1], block)
        else:
            gathered.append(block)
    return gathered


def places_of(block: Block, element: bytes) -> list[int]:
    """Which elements of a block equal `element`, in order."""
    lengths, body = block
    hits, length = body.count(element), len(element)
    if not hits:
        return []
    if hits > _FEW or not length or lengths.count(length) < len(lengths):
        return [index for index, each in enumerate(unpack(block)) if each == element]
    places: list[int] = []
    at = body.find(element)
    while at >= 0:  # all are as long: it is one if it begins where one does
        place, within = divmod(at, length)
        if not within:
            places.append(place)
        at = body.find(element, (place + 1) * length)
    return places
