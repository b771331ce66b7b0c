"""DEBUG DIGEST: 40 hexadecimal digits that are the same for equal values, in whatever encoding and order.

They are Valkey's: two servers with the same keys, of which one is a Valkey, have the same. What a field of a hash has
for a deadline, and groups of a stream, are no part of them, and of a key's deadline only whether there is one.

Two operations make them: to `xor` a SHA-1 into what is there (elements in any order), and to `mix` one, which hashes
what comes of that (elements in order).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from kvstore.base.doubles import double_text
from kvstore.store.read_table import ReadTable
from kvstore.values.hashes import Hash
from kvstore.values.lists import List
from kvstore.values.sets import Set
from kvstore.values.sorted_sets import SortedSet
from kvstore.values.streams import STREAMS, Stream

_NONE = 0
_DIGEST_BYTES = 20


def digest_of_all(tables: Iterable[ReadTable]) -> str:
    """Of all keys of all databases."""
    digest = _NONE
    for table in tables:
        keys = [key for key in table.values if table.exists(key)]
        if keys:
            digest = _mix(digest, _number(table.number))
        for key in keys:
            digest = _xor(digest, _bytes(_value_digest(table, key, _mix(_NONE, key))))
    return f"{digest:040x}"


def digest_of_value(table: ReadTable, key: bytes) -> str:
    """Of the value at a key, all zeros if there is none."""
    return f"{_value_digest(table, key, _NONE) if table.exists(key) else _NONE:040x}"


def _value_digest(table: ReadTable, key: bytes, digest: int) -> int:
    value = table.values[key]
    type_number, add = _TYPES[value.__class__]
    digest = add(value, _mix(digest, _number(type_number)), table.now_ms())
    return digest if table.deadline_ms(key) is None else _xor(digest, b"!!expire!!")


def _mix_all(words: Iterable[bytes], digest: int = _NONE) -> int:
    for word in words:
        digest = _mix(digest, word)
    return digest


def _xor_pairs(pairs: Iterable[tuple[bytes, bytes]], digest: int) -> int:
    for pair in pairs:
        digest = _xor(digest, _bytes(_mix_all(pair)))
    return digest


def _of_string(value: bytes, digest: int, now_ms: int) -> int:
    return _mix(digest, value)


def _of_list(value: List, digest: int, now_ms: int) -> int:
    return _mix_all(value, digest)


def _of_set(value: Set, digest: int, now_ms: int) -> int:
    for member in value:
        digest = _xor(digest, member)
    return digest


def _of_sorted_set(value: SortedSet, digest: int, now_ms: int) -> int:
    return _xor_pairs(((member, double_text(score)) for member, score in value.pairs(0, len(value))), digest)


def _of_hash(value: Hash, digest: int, now_ms: int) -> int:
    return _xor_pairs((entry for entries in value.entries(now_ms) for entry in entries), digest)


def _of_stream(value: Stream, digest: int, now_ms: int) -> int:
    for name, words in STREAMS.whole(value) if len(value) else ():
        if name == b"XADD":
            digest = _mix_all((words[0].replace(b"-", b"."), *words[1:]), digest)
    return digest


#: Valkey's numbers of the types, and how a value is added to a digest.
_TYPES: dict[type, tuple[int, Callable[[Any, int, int], int]]] = {
    bytes: (0, _of_string), List: (1, _of_list), Set: (2, _of_set), SortedSet: (3, _of_sorted_set), Hash: (4, _of_hash),
    Stream: (6, _of_stream),
}  # fmt: skip


def _xor(digest: int, data: bytes) -> int:
    return digest ^ int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest(), "big")


def _mix(digest: int, data: bytes) -> int:
    mixed = hashlib.sha1(_bytes(_xor(digest, data)), usedforsecurity=False)
    return int.from_bytes(mixed.digest(), "big")


def _bytes(digest: int) -> bytes:
    return digest.to_bytes(_DIGEST_BYTES, "big")


def _number(number: int) -> bytes:
    return number.to_bytes(4, "big")
