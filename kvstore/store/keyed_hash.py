"""A hash of keys that no client can foresee, and that is the same whenever the directory is used, by whatever process.

What outlives the process (a SCAN cursor), or is computed in two (the shares of a merge), may not hang on Python's own
hash of bytes, which differs in each process; and of a function that a client knows (CRC-32, say) it can pick keys that
all have one value. So it is BLAKE2b of a secret and the key. The secret is in the directory already: the `store` in the
header of every log and checkpoint, 128 bits drawn at the first start, which nobody is told who can only send requests.

The secret goes in front of the key. BLAKE2 allows that (no more can be appended to a digest, as it can to SHA-2's), and
it saves the block that `key=` takes for itself: 0.7 µs for a short key instead of 1.2.

Rejected: a secret of its own (one more file, or a field that older files do not have); Python's SipHash (its key is the
process's own); a shorter digest (no faster).
"""

from __future__ import annotations

from hashlib import blake2b

#: Of the hash: more than there will be keys.
PLACE_BITS = 64


class KeyedHash:
    """The hash with one secret. `secret`: of a fixed length, or two secrets could have one hash."""

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes) -> None:
        self._begun = blake2b(secret, digest_size=PLACE_BITS // 8)

    def place(self, key: bytes) -> int:
        """The hash of `key`: a number of PLACE_BITS bits."""
        hashed = self._begun.copy()
        hashed.update(key)
        return int.from_bytes(hashed.digest(), "little")


def of_store(store: str) -> KeyedHash:
    """The hash of the directory whose files name that `store`."""
    return KeyedHash(bytes.fromhex(store))
