"""The keyed hash of a data directory: of keys, and of elements in values.

The secret is in the directory already: the `store` in the header of every log and checkpoint, 128 bits drawn at the
first start, which nobody is told who can only send requests.

Rejected: a secret of its own (one more file, or a field that older files do not have).
"""

from __future__ import annotations

from kvstore.base.keyed_hash import PLACE_BITS, KeyedHash

__all__ = ["PLACE_BITS", "KeyedHash", "of_store"]


def of_store(store: str) -> KeyedHash:
    """The hash of the directory whose files name that `store`."""
    return KeyedHash(bytes.fromhex(store))
