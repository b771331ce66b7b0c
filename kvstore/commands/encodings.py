"""What OBJECT ENCODING tells: how Redis would hold a value, under the thresholds that CONFIG SET can change.

As long as these are what they are at the start, a value tells itself: it knows, as in Redis, whether it was larger
once.
How it really is held depends on no setting; so where a threshold was changed, what the value holds now decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from kvstore.base.limits import KIB
from kvstore.commands.arguments import is_integer
from kvstore.commands.configuration import Configuration
from kvstore.commands.setting_table import SETTINGS
from kvstore.store.table import Table
from kvstore.values.hashes import Hash
from kvstore.values.lists import List
from kvstore.values.sets import Set
from kvstore.values.sorted_sets import SortedSet

#: Strings lie beside their head if they and their key have so many bytes at most; less what a deadline and the head of
#: a key that is not short take. Valkey: shouldEmbedStringObject, for two cache lines.
_EMBEDDED_BYTES, _DEADLINE_BYTES = 113, 8
_SHORT_KEY_BYTES, _HEAD_BYTES = 31, 2
#: What `list-max-listpack-size` means if it is negative, by its amount; and the most bytes if it counts elements.
_LIST_BYTES = {1: 4 * KIB, 2: 8 * KIB, 3: 16 * KIB, 4: 32 * KIB, 5: 64 * KIB}
_SAFE_LIST_BYTES = 8 * KIB


def encoding_of(table: Table, key: bytes, configuration: Configuration) -> str | None:
    """The name of the encoding of what is at a key, None if there is nothing."""
    value = table.look_up(key, is_heard=False)
    if value is None:
        return None
    if value.__class__ is bytes:
        return _of_string(key, value, table.deadline_ms(key) is not None)
    settings, tell = _BY_CONTENT.get(value.__class__, ((), None))
    limits = [configuration.number(name) for name in settings]
    if tell is None or limits == [int(SETTINGS[name].default) for name in settings]:
        return str(value.encoding())
    return tell(value, limits, table.now_ms())


def _of_string(key: bytes, value: bytes, expires: bool) -> str:
    if len(value) <= 20 and is_integer(value):
        return "int"
    heads = _DEADLINE_BYTES * expires + _HEAD_BYTES * (len(key) > _SHORT_KEY_BYTES)
    return "embstr" if len(key) + len(value) + heads <= _EMBEDDED_BYTES else "raw"


def _of_list(value: List, limits: list[int], now_ms: int) -> str:
    (limit,) = limits
    fits = value.listpack_bytes() <= (_LIST_BYTES[min(-limit, 5)] if limit < 0 else _SAFE_LIST_BYTES)
    return "listpack" if fits and (limit < 0 or len(value) <= max(limit, 1)) else "quicklist"


def _of_hash(value: Hash, limits: list[int], now_ms: int) -> str:
    entries, most_bytes = limits
    if len(value) > entries or value.next_ms() is not None:
        return "hashtable"
    words = chain.from_iterable(chain.from_iterable(value.entries(now_ms)))
    return "listpack" if _are_short(words, most_bytes) else "hashtable"


def _of_set(value: Set, limits: list[int], now_ms: int) -> str:
    numbers, entries, most_bytes = limits
    if value.encoding() != "listpack" and len(value) <= numbers and all(map(is_integer, value)):
        return "intset"
    return "listpack" if len(value) <= entries and _are_short(value, most_bytes) else "hashtable"


def _of_sorted_set(value: SortedSet, limits: list[int], now_ms: int) -> str:
    entries, most_bytes = limits
    is_small = len(value) <= entries and _are_short(value.members(0, len(value)), most_bytes)
    return "listpack" if is_small else "skiplist"


def _are_short(words: Iterable[bytes], most_bytes: int) -> bool:
    return all(len(word) <= most_bytes for word in words)


_Tell = Callable[[Any, list[int], int], str]

#: By class: the settings that matter, and what tells by them.
_BY_CONTENT: dict[type, tuple[tuple[str, ...], _Tell]] = {
    List: (("list-max-listpack-size",), _of_list),
    Hash: (("hash-max-listpack-entries", "hash-max-listpack-value"), _of_hash),
    Set: (("set-max-intset-entries", "set-max-listpack-entries", "set-max-listpack-value"), _of_set),
    SortedSet: (("zset-max-listpack-entries", "zset-max-listpack-value"), _of_sorted_set),
}
