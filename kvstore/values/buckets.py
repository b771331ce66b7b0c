"""Many names with a value each, found by a keyed hash: what a large hash is made of; a set or a sorted set may be too.

Some four names with their values are one bytes object, a bucket (`packed`): 15 bytes for a name besides its own and
its value's, where Valkey takes some 45 and a dict of bytes 120. What it costs: a look-up takes 1.5 µs and a change 3,
where a dict takes 0.1. (With eight it would be 8 bytes, and twice as much to copy.)

**How many buckets there are** hangs on the number of names alone: one more bucket for each _FILL names (Litwin's linear
hashing). With one name too many, the names of one bucket are shared between it and a new one at the end; with one too
few, the last bucket is joined to the one that it came from. So no name added or removed holds anybody up, and what is
built anew from the names in their order has them in the same order: by bucket, in each bucket as they came.

**A scan** visits the buckets in the order of the reversed bits of their numbers (`bucket_after`): each name that stays
is given, however the buckets are split and joined meanwhile. The hash is keyed and the key is the directory's, so a
cursor outlives the process, and no client can fill one bucket. **A random name** is one of a random bucket, taken or
not in proportion to how full the bucket is: in the end all are equally likely.

**What is long** (more than LONG_BYTES) lies beside the buckets, by reference: a bucket is copied at each change, and a
reply is sent from where the value is.

**Changes note their steps**, so that they can be taken back exactly, order included (`take_back`). Many names that are
put for good (`put_all`) note none; they are hashed together, and then as many buckets split as are due: it takes less
than half of the time.

Rejected: a dict of name to value (120 bytes each; Valkey's own figure for 1 M short ones would be passed 3 times, and
it has no order for a cursor); an order for scans made when one comes, as keys have it (`kvstore.store.scan`: seconds
for 1 M, and 16 bytes for each); a list of buckets sorted by hash, split when they are full (no order of its own: it
would hang on what was there before).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, compress
from typing import Any, Self, TypeAlias

from kvstore.base.chance import Chance
from kvstore.base.keyed_hash import bucket_after
from kvstore.base.value_type import Places
from kvstore.values import packed

#: What takes back each step of a change, a function and its arguments, in the steps' order.
Steps: TypeAlias = list[tuple[Any, ...]]
Entry: TypeAlias = tuple[bytes, bytes]

#: Names in a bucket, on average.
_FILL = 4
#: Names that are put at once into however few buckets there are.
_AT_LEAST = 64
#: Buckets that are read as one where all are: some 64 names.
_TOGETHER = 16
#: Buckets that are drawn at once to pick a name of one, and at most of each of many; a fifth of them is taken.
_CANDIDATES, _MOST_CANDIDATES = 8, 256
#: A name or a value of more bytes lies beside the buckets.
LONG_BYTES = 1024
#: In a bucket: the value, and the name if that is long, lie beside it. A long name is known by its digest.
_ASIDE = packed.ESCAPE + b"a"
_DIGEST = packed.ESCAPE + b"d"


class Buckets:
    """See the module. `size_bytes`: of all names and values, more or less."""

    __slots__ = ("_aside", "_buckets", "_count", "_fullest", "_places", "_size_bytes")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._buckets = [packed.EMPTY]
        #: Long names and values, by the name as it is stored.
        self._aside: dict[bytes, Entry] = {}
        self._count = 0
        self._size_bytes = 0
        #: No bucket has more names.
        self._fullest = 1

    def __len__(self) -> int:
        return self._count

    def size_bytes(self) -> int:
        """Of all names and values, more or less."""
        return self._size_bytes

    def parts(self) -> tuple[dict[Any, Any] | list[Any], ...]:
        """See `TypedValue`."""
        return self._buckets, self._aside

    # Reading

    def get(self, name: bytes) -> bytes | None:
        """The value of `name`, or None if it is not there."""
        stored = name if len(name) <= LONG_BYTES and name.isascii() else _stored(name)
        return self._outside(stored, packed.get(self._buckets[self._number(self._places.place(stored))], stored))

    def get_all(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The value of each of the names, at least one, or None."""
        stored = self._all_stored(names)
        inside = packed.get_each(self._buckets, self._numbers(self._places.places(stored)), stored)
        if packed.ESCAPE in b"".join(filter(None, inside)):
            return list(map(self._outside, stored, inside))
        return inside

    def _all_stored(self, names: Sequence[bytes]) -> Sequence[bytes]:
        return packed.escape_all(names) if max(map(len, names)) <= LONG_BYTES else list(map(_stored, names))

    def _outside(self, stored: bytes, value: bytes | None) -> bytes | None:
        """The value that is `value` inside a bucket."""
        if value is None or packed.ESCAPE not in value:
            return value
        return self._aside[stored][1] if value == _ASIDE else packed.unescape(value)

    def snapshot(self) -> Iterator[list[Entry]]:
        """All names with their values, in order, as they are now: a few at a time, whenever they are taken."""
        aside, buckets = self._aside.copy(), self._buckets.copy()
        some = (buckets[place : place + _TOGETHER] for place in range(0, len(buckets), _TOGETHER))
        return (_entries(packed.concatenated(each), aside) for each in some)

    def region_bits(self) -> int:
        """By how many bits of their places, at most, the names can be told apart in `regions`: some 64 in each."""
        return max(0, (len(self._buckets) // _TOGETHER).bit_length() - 1)

    def regions(self, bits: int) -> Iterator[list[bytes]]:
        """All names, as they are now: for each number of so many bits those whose places end in it.

        `bits`: not more than `region_bits`. Those of the same number are found in any other that has the same `Places`.
        """
        aside, buckets = self._aside.copy(), self._buckets.copy()
        some = (packed.concatenated(buckets[number :: 1 << bits]) for number in range(1 << bits))
        return ([name for name, _ in _entries(each, aside)] for each in some)

    def scan(self, cursor: int) -> tuple[int, list[Entry]]:
        """The names of one bucket with their values, and the cursor of the next one; 0 begins and ends.

        A cursor may be any number.
        """
        total = len(self._buckets)
        bits = total.bit_length()
        number = self._number(cursor)
        if number | 1 << bits - 1 >= total:  # it was not split at the highest bit yet
            bits -= 1
        return bucket_after(number, bits), _entries(self._buckets[number], self._aside)

    def picks(self, chance: Chance) -> Iterator[Entry]:
        """Names with their values without end, each time any of them with the same chance. There must be one."""
        random, fullest, candidates = chance.random, self._fullest, _CANDIDATES
        while True:
            some = chance.choices(self._buckets, k=candidates)
            for bucket, count in zip(some, map(packed.count, some), strict=True):
                place = int(random() * fullest)
                if place < count:
                    yield _entry_at(bucket, place, self._aside)
            candidates = min(2 * candidates, _MOST_CANDIDATES)

    # Changing

    def put(self, name: bytes, value: bytes, steps: Steps) -> bool:
        """Give `name` that value; returns whether it was not there before."""
        stored = name if len(name) <= LONG_BYTES and name.isascii() else _stored(name)
        number = self._number(self._places.place(stored))
        before, count = self._buckets[number], self._count
        at = packed.find(before, stored)
        inside = self._inside(stored, name, value, steps)
        steps.append((self._set, number, before, count))
        if at >= 0:
            self._set(number, packed.with_value_at(before, at, inside), count)
            return False
        bucket = packed.with_entry(before, stored, inside)
        self._set(number, bucket, count + 1)
        self._fullest = max(self._fullest, packed.count(bucket))
        if count >= _FILL * len(self._buckets):
            self._split(steps)
        return True

    def put_all(self, names: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """What as many `put`s do, for good, in less time; returns for each of the names 1 if it was not there, else 0.

        What is long is put one by one.
        """
        if max(map(len, chain(names, values)), default=0) > LONG_BYTES:
            return [int(self.put(name, value, [])) for name, value in zip(names, values, strict=True)]
        if not self._count and len(names) > _AT_LEAST:
            self._spread(len(set(names)))  # some may be named twice
        new: list[int] = []
        while (start := len(new)) < len(names):  # not many more than are there: a bucket is copied for each
            stop = start + max(_AT_LEAST, self._count, _FILL * len(self._buckets) - self._count)
            new += self._put_some(names[start:stop], values[start:stop])
        return new

    def _spread(self, number: int) -> None:
        """Have as many buckets, with nothing in them, as so many names need."""
        self._buckets = [packed.EMPTY] * -(-number // _FILL)
        self._size_bytes = len(self._buckets) - 1

    def _put_some(self, names: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """The same into the buckets that there are; more of them only then."""
        stored, total = packed.escape_all(names), len(self._buckets)
        for name in self._aside.keys() & stored if self._aside else ():
            self._set_aside(name, None)
        numbers = self._numbers(self._places.places(stored))
        new, grown = packed.put_each(self._buckets, numbers, stored, packed.escape_all(values))
        self._size_bytes += grown
        if any(new):
            self._count += sum(new)
            self._grow()
            fuller = map(self._buckets.__getitem__, set(compress(numbers, new)))
            self._fullest = max(self._fullest, *map(packed.count, chain(fuller, self._buckets[total:])))
        return new

    def take_out(self, name: bytes, steps: Steps) -> bool:
        """Remove `name`; returns whether it was there."""
        stored = name if len(name) <= LONG_BYTES and name.isascii() else _stored(name)
        number = self._number(self._places.place(stored))
        before, count = self._buckets[number], self._count
        at = packed.find(before, stored)
        if at < 0:
            return False
        if stored in self._aside:
            self._put_aside(stored, None, steps)
        steps.append((self._set, number, before, count))
        self._set(number, packed.without_entry_at(before, at, stored), count - 1)
        if count - 1 <= _FILL * (len(self._buckets) - 1) and len(self._buckets) > 1:
            self._join(steps)
        return True

    def take_out_all(self, names: Sequence[bytes]) -> list[bool]:
        """What as many `take_out`s do, for good, in less time; returns of each of the names whether it was there."""
        stored = self._all_stored(names)
        for name in self._aside.keys() & stored if self._aside else ():
            self._set_aside(name, None)
        numbers = self._numbers(self._places.places(stored))
        there, shrunk = packed.take_out_each(self._buckets, numbers, stored)
        self._size_bytes -= shrunk
        self._count -= sum(there)
        self._shrink()
        return there

    def copy(self) -> Self:
        """Another one with the same content."""
        other = self.__class__(self._places)
        other._buckets, other._aside = self._buckets.copy(), self._aside.copy()
        other._count, other._size_bytes, other._fullest = self._count, self._size_bytes, self._fullest
        return other

    def _inside(self, stored: bytes, name: bytes, value: bytes, steps: Steps) -> bytes:
        """What stands in the bucket for `value`; what is long is put aside."""
        if len(value) > LONG_BYTES or len(name) > LONG_BYTES:
            self._put_aside(stored, (name, value), steps)
            return _ASIDE
        if self._aside and stored in self._aside:
            self._put_aside(stored, None, steps)
        return packed.escape(value)

    def _put_aside(self, stored: bytes, entry: Entry | None, steps: Steps) -> None:
        steps.append((self._set_aside, stored, self._aside.get(stored)))
        self._set_aside(stored, entry)

    def _set_aside(self, stored: bytes, entry: Entry | None) -> None:
        before = self._aside.pop(stored, None)
        if before is not None:
            self._size_bytes -= len(before[0]) + len(before[1])
        if entry is not None:
            self._size_bytes += len(entry[0]) + len(entry[1])
            self._aside[stored] = entry

    def _set(self, number: int, bucket: bytes, count: int) -> None:
        """The bucket is that now, and so many names are in all."""
        self._size_bytes += len(bucket) - len(self._buckets[number])
        self._buckets[number] = bucket
        self._count = count

    def _append(self, bucket: bytes) -> None:
        self._size_bytes += len(bucket)
        self._buckets.append(bucket)

    def _pop(self) -> bytes:
        bucket = self._buckets.pop()
        self._size_bytes -= len(bucket)
        return bucket

    # Where a name is

    def _number(self, place: int) -> int:
        """The number of the bucket that has the names of that place."""
        total = len(self._buckets)
        mask = (1 << total.bit_length()) - 1
        number = place & mask
        return number if number < total else number & mask >> 1

    def _numbers(self, places: Sequence[int]) -> list[int]:
        """The same of each of many."""
        total = len(self._buckets)
        mask = (1 << total.bit_length()) - 1
        rest = mask >> 1
        return [number if (number := place & mask) < total else number & rest for place in places]

    def _split(self, steps: Steps) -> None:
        """Add a bucket; it gets those names of the one that it is split from whose places have its highest bit."""
        total = len(self._buckets)
        bit = 1 << total.bit_length() - 1
        source = total - bit
        before = self._buckets[source]
        stay, go = self._parted([before], bit)[0]
        steps += [(self._set, source, before, self._count), (self._pop,)]
        self._set(source, stay, self._count)
        self._append(go)

    def _grow(self) -> None:
        """Add as many buckets as there should be, for good: what as many `_split`s do, in less time."""
        wanted = -(-self._count // _FILL)
        while (total := len(self._buckets)) < wanted:
            bit = 1 << total.bit_length() - 1
            sources = slice(total - bit, min(wanted, 2 * bit) - bit)
            parted = self._parted(self._buckets[sources], bit)
            self._buckets[sources] = [stay for stay, _ in parted]
            self._buckets += [go for _, go in parted]
            self._size_bytes += len(parted)  # the mark that begins each

    def _parted(self, buckets: list[bytes], bit: int) -> list[tuple[bytes, bytes]]:
        """Of each bucket the names, with their values, whose places do not have that bit, and those whose do."""
        entries = list(map(packed.split, buckets))
        names = packed.names_in(list(chain.from_iterable(entries)))
        goes = iter([place & bit for place in self._places.places(names)])
        return [packed.parted(each, goes) for each in entries]

    def _shrink(self) -> None:
        """Have no more buckets than there should be, for good."""
        while self._count <= _FILL * (len(self._buckets) - 1) and len(self._buckets) > 1:
            self._join([])

    def _join(self, steps: Steps) -> None:
        """Put the names of the last bucket behind those of the one that it was split from."""
        joined = self._pop()
        last = len(self._buckets)
        target = last - (1 << last.bit_length() - 1)
        before = self._buckets[target]
        steps += [(self._append, joined), (self._set, target, before, self._count)]
        self._set(target, before + joined[1:], self._count)
        self._fullest = max(self._fullest, packed.count(self._buckets[target]))


def take_back(steps: Steps) -> None:
    """Undo the steps: everything is as it was before the first of them."""
    for function, *arguments in reversed(steps):
        function(*arguments)


def _stored(name: bytes) -> bytes:
    """The name as it stands in a bucket: most names as they are."""
    if len(name) > LONG_BYTES:
        return _DIGEST + blake2b(name, digest_size=20).hexdigest().encode()
    return packed.escape(name)


def _entries(bucket: bytes, aside: dict[bytes, Entry]) -> list[Entry]:
    if packed.ESCAPE not in bucket:
        return list(packed.entries(bucket))
    return [
        aside[name] if value == _ASIDE else (packed.unescape(name), packed.unescape(value))
        for name, value in packed.entries(bucket)
    ]


def _entry_at(bucket: bytes, place: int, aside: dict[bytes, Entry]) -> Entry:
    if packed.ESCAPE not in bucket:
        return packed.entry_at(bucket, place)
    return _entries(bucket, aside)[place]
