"""The operations: the small closed set of effects that the log and the checkpoint are made of.

Each is one RESP array, with absolute values and absolute deadlines, about a single key; so replay is deterministic,
two states of one key merge without history, and every file of the store is a stream that any RESP parser reads. They
are also valid Redis commands, but for the last, so that a person knows them and `redis-cli --pipe` takes them:

| operation | effect |
|---|---|
| `SET key value` | the key holds the string `value`, without a deadline |
| `SET key value PXAT ms` | the same, gone at `ms` milliseconds since the epoch |
| `DEL key` | the key is gone |
| `PEXPIREAT key ms` | the key, which exists, gets a deadline |
| `PERSIST key` | the key, which exists, has no deadline |
| `FLUSHALL` | all keys are gone: the one operation about every key |
| `HISTORY identity parent fork` | none on any key: a history begins (see `history`); the first of its frame, if any |

No command is named here, and no operation depends on the time it is replayed at: a key past its deadline stays in the
files until a `DEL` says that the server removed it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import hiredis

from kvstore.base.errors import KVStoreError
from kvstore.base.limits import MAX_LOGGED_BYTES
from kvstore.store.history import History

FLUSH = b"*1\r\n$8\r\nFLUSHALL\r\n"

#: One operation, decoded: its words.
Operation = list[bytes]

_SET_HEAD = re.compile(rb"\*3\r\n\$3\r\nSET\r\n\$(0|[1-9][0-9]{0,8})\r\n").match
_HISTORY = re.compile(
    rb"\*4\r\n\$7\r\nHISTORY\r\n\$16\r\n([0-9a-f]{16})\r\n\$16\r\n([0-9a-f]{16})\r\n\$[0-9]+\r\n([0-9]+)\r\n"
).match
_VALUE_HEAD = re.compile(rb"\r\n\$(0|[1-9][0-9]{0,8})\r\n").match
#: Fewer operations than this are decoded one by one: as fast, then.
_MANY = 16


class BadOperation(KVStoreError):
    """Bytes under a valid checksum that are no operation."""


class UnknownOperation(BadOperation):
    """An operation whose name this version does not know: a newer one has more of them."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"unknown operation {name[:MAX_LOGGED_BYTES]!r}")


def encode_set(key: bytes, value: bytes, deadline_ms: int | None = None) -> bytes:
    """The operation that gives `key` a string value and, unless it is None, a deadline in ms since the epoch."""
    if deadline_ms is None:
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
    return b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$4\r\nPXAT\r\n%b" % (
        len(key), key, len(value), value, _number(deadline_ms),
    )  # fmt: skip


def encode_alike_sets(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """What `encode_set` makes of each key and its value, joined; at C speed.

    All keys must be of one length, and all values; at least one.
    """
    each = b"*3\r\n$3\r\nSET\r\n$%d\r\n%%b\r\n$%d\r\n%%b\r\n" % (len(keys[0]), len(values[0]))
    return each * len(keys) % tuple(chain.from_iterable(zip(keys, values, strict=True)))


def encode_delete(key: bytes) -> bytes:
    """The operation that removes `key`."""
    return b"*2\r\n$3\r\nDEL\r\n$%d\r\n%b\r\n" % (len(key), key)


def encode_deadline(key: bytes, deadline_ms: int | None) -> bytes:
    """The operation that sets the deadline of an existing key, or takes it away (None)."""
    if deadline_ms is None:
        return b"*2\r\n$7\r\nPERSIST\r\n$%d\r\n%b\r\n" % (len(key), key)
    return b"*3\r\n$9\r\nPEXPIREAT\r\n$%d\r\n%b\r\n%b" % (len(key), key, _number(deadline_ms))


def encode_history(history: History) -> bytes:
    """The operation that begins a history; nothing but the first operation of a frame."""
    identity, parent, fork = history
    head = b"*4\r\n$7\r\nHISTORY\r\n$16\r\n%b\r\n$16\r\n%b\r\n" % (identity.encode(), parent.encode())
    return head + _number(fork)


def split_history(body: bytes) -> tuple[History | None, bytes]:
    """The history that begins with a frame, None if none does, and the operations on keys in the frame's body."""
    found = _HISTORY(body) if body.startswith(b"*4\r\n$7\r\nHISTORY") else None  # of a frame in thousands
    if found is None:
        return None, body
    return History(found[1].decode(), found[2].decode(), int(found[3])), body[found.end() :]


def _number(value: int) -> bytes:
    digits = b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(digits), digits)


def decode(body: bytes) -> list[Operation]:
    """The operations in the body of a frame, whose checksum was verified. Raises BadOperation if they are not whole."""
    reader = hiredis.Reader()
    reader.feed(body)
    operations: list[Operation] = []
    take = reader.gets
    try:
        while (operation := take()) is not False:
            operations.append(operation)
    except hiredis.HiredisError as error:
        raise BadOperation(f"not RESP: {error}") from error
    if reader.has_data():
        raise BadOperation("the last operation is incomplete")
    return operations


class AlikeSets(NamedTuple):
    """`SET`s whose keys are of one length, and whose values are: `number` pairs of key and value, in order.

    `size`: bytes of each operation.
    """

    number: int
    size: int
    pairs: Iterator[tuple[bytes, bytes]]


def alike_sets(body: bytes) -> AlikeSets | None:
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
    return AlikeSets(count, size, struct.iter_unpack(shape, body))


def replay(body: bytes, values: dict[bytes, bytes], deadlines: dict[bytes, int]) -> int:
    """Apply the operations on keys in a frame, whose checksum was verified, to a state; returns how many there are.

    `body`: as `split_history` leaves it. `values`, `deadlines`: as for `apply`. Raises BadOperation.
    """
    alike = None if deadlines else alike_sets(body)
    if alike is not None:
        values.update(alike.pairs)
        return alike.number
    operations = decode(body)
    apply(operations, values, deadlines)
    return len(operations)


def apply(operations: Iterable[Operation], values: dict[bytes, bytes], deadlines: dict[bytes, int]) -> None:
    """Replay operations on a state.

    `values`, `deadlines` (ms since the epoch): changed in place. Raises BadOperation.
    """
    try:
        _apply(operations, values, deadlines)
    except (ValueError, IndexError, TypeError) as error:
        raise BadOperation(f"not an operation: {error}") from error


def _apply(operations: Iterable[Operation], values: dict[bytes, bytes], deadlines: dict[bytes, int]) -> None:
    for operation in operations:
        kind = operation[0]
        if kind == b"SET":
            key = operation[1]
            values[key] = operation[2]
            if len(operation) == 5:
                deadlines[key] = int(operation[4])
            elif deadlines:
                deadlines.pop(key, None)
        elif kind == b"DEL":
            values.pop(operation[1], None)
            deadlines.pop(operation[1], None)
        elif kind == b"PEXPIREAT":
            deadlines[operation[1]] = int(operation[2])
        elif kind == b"PERSIST":
            deadlines.pop(operation[1], None)
        elif kind == b"FLUSHALL":
            values.clear()
            deadlines.clear()
        else:
            raise UnknownOperation(kind)
