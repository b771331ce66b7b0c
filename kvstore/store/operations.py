"""The operations: the small closed set of effects that the log and the checkpoint are made of.

Each is one RESP array, with absolute values and absolute deadlines, about a single key; so replay is deterministic,
two states of one key merge without history, and every file of the store is a stream that any RESP parser reads. They
are also valid Redis commands, so that a person knows them and `redis-cli --pipe` takes them:

| operation | effect |
|---|---|
| `SET key value` | the key holds the string `value`, without a deadline |
| `SET key value PXAT ms` | the same, gone at `ms` milliseconds since the epoch |
| `DEL key` | the key is gone |
| `PEXPIREAT key ms` | the key, which exists, gets a deadline |
| `PERSIST key` | the key, which exists, has no deadline |
| `FLUSHALL` | all keys are gone: the one operation about every key |

No command is named here, and no operation depends on the time it is replayed at: a key past its deadline stays in the
files until a `DEL` says that the server removed it.
"""

from __future__ import annotations

from collections.abc import Iterable

import hiredis

from kvstore.base.errors import KVStoreError

FLUSH = b"*1\r\n$8\r\nFLUSHALL\r\n"

#: One operation, decoded: its words.
Operation = list[bytes]


class BadOperation(KVStoreError):
    """Bytes under a valid checksum that are no operation of this version: written by a newer version, or by a bug."""


def encode_set(key: bytes, value: bytes, deadline_ms: int | None = None) -> bytes:
    """The operation that gives `key` a string value and, unless it is None, a deadline in ms since the epoch."""
    if deadline_ms is None:
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
    return b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$4\r\nPXAT\r\n%b" % (
        len(key), key, len(value), value, _number(deadline_ms),
    )  # fmt: skip


def encode_delete(key: bytes) -> bytes:
    """The operation that removes `key`."""
    return b"*2\r\n$3\r\nDEL\r\n$%d\r\n%b\r\n" % (len(key), key)


def encode_deadline(key: bytes, deadline_ms: int | None) -> bytes:
    """The operation that sets the deadline of an existing key, or takes it away (None)."""
    if deadline_ms is None:
        return b"*2\r\n$7\r\nPERSIST\r\n$%d\r\n%b\r\n" % (len(key), key)
    return b"*3\r\n$9\r\nPEXPIREAT\r\n$%d\r\n%b\r\n%b" % (len(key), key, _number(deadline_ms))


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
            raise BadOperation(f"unknown operation {kind!r}; a newer version of kvstore may have written it")
