"""Strings: bytes at a key, written whole. The plain type.

| operation | effect |
|---|---|
| `SET key value` | the key holds the string `value`, without a deadline |
| `SET key value PXAT ms` | the same, gone at `ms` milliseconds since the epoch |

`SET`s of one size, which is what a table of keys and values of fixed lengths comes to, are written and read as columns:
at C speed over all keys and all values, with no look at each.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import chain

from kvstore.base.value_type import Alike, PlainType

_SET_HEAD = re.compile(rb"\*3\r\n\$3\r\nSET\r\n\$(0|[1-9][0-9]{0,8})\r\n").match
_VALUE_HEAD = re.compile(rb"\r\n\$(0|[1-9][0-9]{0,8})\r\n").match
#: Fewer operations than this are decoded one by one: as fast, then.
_MANY = 16


def encode_set(key: bytes, value: bytes, deadline_ms: int | None = None) -> bytes:
    """The operation that gives `key` a string value and, unless it is None, a deadline in ms since the epoch."""
    if deadline_ms is None:
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
    digits = b"%d" % deadline_ms
    return b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$4\r\nPXAT\r\n$%d\r\n%b\r\n" % (
        len(key), key, len(value), value, len(digits), digits,
    )  # fmt: skip


def encode_alike_sets(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """What `encode_set` makes of each key and its value, joined; at C speed.

    All keys must be of one length, and all values; at least one.
    """
    each = b"*3\r\n$3\r\nSET\r\n$%d\r\n%%b\r\n$%d\r\n%%b\r\n" % (len(keys[0]), len(values[0]))
    return each * len(keys) % tuple(chain.from_iterable(zip(keys, values, strict=True)))


def alike_sets(body: bytes) -> Alike | None:
    """The operations in a body that is nothing but many `SET`s of one size without deadlines; None if it is not.

    That is what a table of keys and values of fixed lengths comes to, in a checkpoint and in the log of pipelines. No
    operation is decoded: what surrounds keys and values is compared, place by place, in all of them at once, and when
    every place has the byte that it has in the first operation, keys and values are cut out at C speed. Takes a third
    of what `decode` and `apply` take.
    """
    head = _SET_HEAD(body)
    if head is None:
        return None
    key_at, key_end = head.end(), head.end() + int(head[1])
    middle = _VALUE_HEAD(body, key_end)
    if middle is None:
        return None
    value_at, value_end = middle.end(), middle.end() + int(middle[1])
    size = value_end + 2
    count, rest = divmod(len(body), size)
    if rest or count < _MANY or body[value_end:size] != b"\r\n":
        return None
    for places in (range(key_at), range(key_end, value_at), range(value_end, size)):
        for place in places:
            if body[place::size] != body[place : place + 1] * count:
                return None
    shape = f"{key_at}x{key_end - key_at}s{value_at - key_end}x{value_end - value_at}s2x"
    return Alike(count, size, struct.iter_unpack(shape, body))


STRINGS = PlainType("string", b"SET", encode_set, alike_sets, encode_alike_sets)
