"""The operations: the small closed set of effects that the log and the checkpoint are made of.

Each is one RESP array, with absolute values and absolute deadlines, about a single key or about databases; so replay is
deterministic, and every file of the store is a stream that any RESP parser reads. They are also valid Redis commands,
but for the last two, so that a person knows them and `redis-cli --pipe` takes them. Those that no type defines (see
`kvstore.values` for the others):

| operation | effect |
|---|---|
| `DEL key` | the key is gone |
| `PEXPIREAT key ms` | the key, which exists, gets a deadline |
| `PERSIST key` | the key, which exists, has no deadline |
| `SELECT number` | the operations behind it, to the end of the frame, are about that database; before it, about 0 |
| `FLUSHDB` | all keys of the database are gone |
| `FLUSHALL` | all keys of all databases are gone |
| `SWAPDB number number` | each of two databases has what the other had |
| `LIBRARIES` | the operations behind it, to the end of the frame, are about libraries of functions, by their names |
| `HISTORY identity parent fork` | none on any key: a history begins (see `history`); the first of its frame, if any |

No command is named here, and no operation depends on the time it is replayed at: a key past its deadline stays in the
files until a `DEL` says that the server removed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

import hiredis

from kvstore.base.errors import KVStoreError
from kvstore.base.limits import KIB, MAX_LOGGED_BYTES
from kvstore.store.history import History

#: First words of the operations that no type of values defines.
DELETE, EXPIRE, PERSIST = b"DEL", b"PEXPIREAT", b"PERSIST"
SELECT, SWAP, FLUSH_DATABASE, FLUSH_ALL = b"SELECT", b"SWAPDB", b"FLUSHDB", b"FLUSHALL"
LIBRARIES = b"LIBRARIES"
ABOUT_DATABASES = frozenset([SELECT, LIBRARIES, SWAP, FLUSH_DATABASE, FLUSH_ALL])

#: The libraries of functions, their sources by their names, are one more database that has this for its number, and
#: that nobody can choose, swap, or flush with all others.
LIBRARY_DATABASE = -1

#: What the parser is given at once: each kilobyte that it has used up it takes off the front of all that it was given.
_FED_BYTES = 16 * KIB

#: More words are written by their headers, which are in a table if they are short: in less than half the time.
_MANY = 16
_HEADERS = [b"$%d" % length for length in range(KIB)]

#: One operation, decoded: its words.
Operation = list[bytes]

_HISTORY = re.compile(
    rb"\*4\r\n\$7\r\nHISTORY\r\n\$16\r\n([0-9a-f]{16})\r\n\$16\r\n([0-9a-f]{16})\r\n\$[0-9]+\r\n([0-9]+)\r\n"
).match

_SELECT_LIBRARIES = b"*1\r\n$9\r\nLIBRARIES\r\n"
_SELECT = re.compile(rb"\*2\r\n\$6\r\nSELECT\r\n\$[0-9]+\r\n([0-9]+)\r\n").match


class BadOperation(KVStoreError):
    """Bytes under a valid checksum that are no operation."""


class UnknownOperation(BadOperation):
    """An operation whose name this version does not know: a newer one has more of them."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"unknown operation {name[:MAX_LOGGED_BYTES]!r}")


def encode(*words: bytes) -> bytes:
    """An operation of any words."""
    if len(words) == 3:  # most are
        name, key, word = words
        return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(name), name, len(key), key, len(word), word,
        )  # fmt: skip
    if len(words) == 4:  # HSET of one field
        name, key, word, last = words
        return b"*4\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(name), name, len(key), key, len(word), word, len(last), last,
        )  # fmt: skip
    if len(words) > _MANY and max(map(len, words)) < len(_HEADERS):
        pieces: list[bytes] = [b""] * (2 * len(words))
        pieces[::2] = map(_HEADERS.__getitem__, map(len, words))
        pieces[1::2] = words
        return b"*%d\r\n%b\r\n" % (len(words), b"\r\n".join(pieces))
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def encode_each(name: bytes, columns: Sequence[Sequence[bytes]]) -> bytes:
    """What `encode` makes of a name and the words in each row of these columns, joined; at least one."""
    head = b"*%d\r\n$%d\r\n%b\r\n" % (len(columns) + 1, len(name), name)
    sizes = [set(map(len, column)) for column in columns]
    if all(len(size) == 1 for size in sizes):  # at C speed
        each = head.replace(b"%", b"%%") + b"".join([b"$%d\r\n%%b\r\n" % size.pop() for size in sizes])
        return each * len(columns[0]) % tuple(chain.from_iterable(zip(*columns, strict=True)))
    words = [list(map(b"$%d\r\n%b\r\n".__mod__, zip(map(len, column), column, strict=True))) for column in columns]
    return b"".join(chain.from_iterable(zip(repeat(head), *words)))


def encode_select(number: int) -> bytes:
    """The operation that says of which database those behind it speak."""
    return _SELECT_LIBRARIES if number == LIBRARY_DATABASE else encode(SELECT, b"%d" % number)


def encode_swap(one: int, other: int) -> bytes:
    """The operation that swaps two databases."""
    return encode(SWAP, b"%d" % one, b"%d" % other)


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


def split_select(body: bytes) -> tuple[int, bytes]:
    """The number of the database that a body begins with, 0 if it selects none there, and what is behind that."""
    if body.startswith(_SELECT_LIBRARIES):
        return LIBRARY_DATABASE, body[len(_SELECT_LIBRARIES) :]
    found = _SELECT(body) if body.startswith(b"*2\r\n$6\r\nSELECT") else None
    return (0, body) if found is None else (int(found[1]), body[found.end() :])


def _number(value: int) -> bytes:
    digits = b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(digits), digits)


def decode(body: bytes) -> list[Operation]:
    """The operations in the body of a frame, whose checksum was verified. Raises BadOperation if they are not whole."""
    return list(decode_each(body))


def decode_each(encoded: bytes) -> Iterator[Operation]:
    """The operations that were encoded one behind the other, each made when it is asked for. Raises BadOperation."""
    reader = hiredis.Reader()
    take = reader.gets
    try:
        for at in range(0, len(encoded), _FED_BYTES):
            reader.feed(encoded[at : at + _FED_BYTES])
            while (operation := take()) is not False:
                yield operation
    except hiredis.HiredisError as error:
        raise BadOperation(f"not RESP: {error}") from error
    if reader.has_data():
        raise BadOperation("the last operation is incomplete")
