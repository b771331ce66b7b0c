"""A few names with a value each in one bytes object: what a small hash is, and a bucket of a large one.

    \\xff name \\xfe value \\xff name \\xfe value \\xff

None at all are `\\xff` alone. The three highest bytes mean something here, so they are written as two where a name or
a value has them (`escape`). No UTF-8 has them, hence nearly no name has; and so a name stands just where `bytes.find`
finds it between its two marks, at C speed, and all are taken apart by one `split`. What is looked for or put here is
escaped already.

It takes 2 bytes for each name besides its own and its value's, where a dict of bytes takes 120. An entry is found in
0.3 µs among 5, in some 4 µs among 512 (a dict: 0.05 µs), and a change copies all.

Rejected: lengths instead of marks, as in Valkey's listpack (Python would walk from name to name, 0.3 µs each);
marshal or pickle (each look-up takes all apart, and 5 bytes for each length).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller

EMPTY = b"\xff"
#: What `escape` makes begins with it in place of each byte that is a mark. Followed by anything but the digits 0, 1 and
#: 2 it is no escaped byte: whoever uses this may give such pairs a meaning.
ESCAPE = b"\xfd"
_BETWEEN, _END = b"\xfe", b"\xff"


def escape(data: bytes) -> bytes:
    """`data` without a byte that is a mark."""
    if data.isascii():
        return data
    return data.replace(b"\xfd", b"\xfd0").replace(b"\xfe", b"\xfd1").replace(b"\xff", b"\xfd2")


def escape_all(words: Sequence[bytes]) -> Sequence[bytes]:
    """The same of each of many."""
    return words if b"".join(words).isascii() else list(map(escape, words))


def unescape(escaped: bytes) -> bytes:
    """What `escape` was given."""
    if b"\xfd" not in escaped:
        return escaped
    return escaped.replace(b"\xfd2", b"\xff").replace(b"\xfd1", b"\xfe").replace(b"\xfd0", b"\xfd")


def unescape_all(packed: bytes, words: list[bytes]) -> list[bytes]:
    """The same of each of the words, which were taken from `packed`."""
    return words if ESCAPE not in packed else list(map(unescape, words))


def find(packed: bytes, name: bytes) -> int:
    """Where the value of `name` begins; -1 if it is not there."""
    at = packed.find(b"\xff%b\xfe" % name)
    return at if at < 0 else at + len(name) + 2


def get(packed: bytes, name: bytes) -> bytes | None:
    """The value of `name`, None if it is not there."""
    at = packed.find(b"\xff%b\xfe" % name)
    if at < 0:
        return None
    at += len(name) + 2
    return packed[at : packed.index(b"\xff", at)]


def get_each(buckets: list[bytes], numbers: Sequence[int], names: Sequence[bytes]) -> list[bytes | None]:
    """The value of each name, in the bucket of that number: what `get` does, written out for speed."""
    values: list[bytes | None] = []
    for number, name in zip(numbers, names, strict=True):
        bucket = buckets[number]
        at = bucket.find(b"\xff%b\xfe" % name)
        if at < 0:
            values.append(None)
        else:
            at += len(name) + 2
            values.append(bucket[at : bucket.index(b"\xff", at)])
    return values


def with_value_at(packed: bytes, at: int, value: bytes) -> bytes:
    """The same with `value` in place of the one that begins there."""
    return b"%b%b%b" % (packed[:at], value, packed[packed.index(_END, at) :])


def with_entry(packed: bytes, name: bytes, value: bytes) -> bytes:
    """The same with a name that is not there, at the end."""
    return b"%b%b\xfe%b\xff" % (packed, name, value)


def built(names_and_values: Sequence[bytes]) -> bytes:
    """Each name with the value that follows it; escaped here, at least one, and no name twice."""
    return EMPTY + b"%b\xfe%b\xff" * (len(names_and_values) // 2) % tuple(escape_all(names_and_values))


def put_each(
    buckets: list[bytes], numbers: Sequence[int], names: Sequence[bytes], values: Sequence[bytes]
) -> tuple[list[int], int]:
    """Give each name the value at its place, in the bucket of that number: what `find`, `with_value_at` and
    `with_entry` do, written out for speed.

    Returns for each name 1 if it was not there, else 0; and by how many bytes the buckets have grown.
    """
    new: list[int] = []
    grown = 0
    for number, name, value in zip(numbers, names, values, strict=True):
        bucket = buckets[number]
        at = bucket.find(b"\xff%b\xfe" % name)
        if at < 0:
            buckets[number] = b"%b%b\xfe%b\xff" % (bucket, name, value)
            new.append(1)
            grown += len(name) + len(value) + 2
        else:
            at += len(name) + 2
            new.append(0)
            if not bucket.startswith(b"%b\xff" % value, at):
                buckets[number] = after = with_value_at(bucket, at, value)
                grown += len(after) - len(bucket)
    return new, grown


def without_entry_at(packed: bytes, at: int, name: bytes) -> bytes:
    """The same without `name`, whose value begins there."""
    return packed[: at - len(name) - 2] + packed[packed.index(_END, at) :]


def take_out_each(buckets: list[bytes], numbers: Sequence[int], names: Sequence[bytes]) -> tuple[list[bool], int]:
    """Remove each name from the bucket of that number: what `find` and `without_entry_at` do, written out for speed.

    Returns of each name whether it was there; and by how many bytes the buckets have shrunk.
    """
    there: list[bool] = []
    shrunk = 0
    for number, name in zip(numbers, names, strict=True):
        bucket = buckets[number]
        at = bucket.find(b"\xff%b\xfe" % name)
        there.append(at >= 0)
        if at >= 0:
            end = bucket.index(b"\xff", at + 1)
            buckets[number] = bucket[:at] + bucket[end:]
            shrunk += end - at
    return there, shrunk


def without_all(packed: bytes, names: Sequence[bytes]) -> bytes:
    """The same without these names, escaped here; some may not be there."""
    for name in map(escape, names):
        at = find(packed, name)
        if at >= 0:
            packed = without_entry_at(packed, at, name)
    return packed


def split(packed: bytes) -> list[bytes]:
    """Each name with its value, as it stands there, in order."""
    return packed[1:-1].split(_END) if len(packed) > 1 else []


def entry_at(packed: bytes, place: int) -> tuple[bytes, bytes]:
    """The name at that place, counted from 0, with its value."""
    name, _, value = split(packed)[place].partition(_BETWEEN)
    return name, value


def names_in(entries: list[bytes]) -> list[bytes]:
    """The names in what `split` gave."""
    return [entry[: entry.index(_BETWEEN)] for entry in entries]


def parted(entries: list[bytes], goes: Iterator[object]) -> tuple[bytes, bytes]:
    """What `split` gave, again: those that do not go, and those that do, each in order.

    `goes`: whether each of them does; no more are taken.
    """
    stay: list[bytes] = []
    go: list[bytes] = []
    for entry, mark in zip(entries, goes, strict=False):
        (go if mark else stay).append(entry)
    return joined(stay), joined(go)


def joined(entries: list[bytes]) -> bytes:
    """What `split` gave, or others like that, as one again."""
    return b"\xff%b\xff" % _END.join(entries) if entries else EMPTY


def concatenated(some: Sequence[bytes]) -> bytes:
    """All names with their values, in order, of some that have no name together."""
    return EMPTY + b"".join([each[1:] for each in some])


#: How many names there are.
count: Callable[[bytes], int] = methodcaller("count", _BETWEEN)


def flat(packed: bytes) -> list[bytes]:
    """Each name and its value, one behind the other, in order."""
    return packed[1:-1].replace(_BETWEEN, _END).split(_END) if len(packed) > 1 else []


def entries(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each name with its value, in order."""
    words = iter(flat(packed))
    return zip(words, words, strict=True)
