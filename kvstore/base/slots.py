"""Slots of keys: which of the 16384 parts of all keys a key is in, and which of them a group has.

A slot is CRC16 (XMODEM) of the key modulo 16384; of a key with a tag, `{user1000}.following`, that of what is between
the first `{` and the first `}` behind it, unless that is nothing. So clients choose which keys are together. Redis's
cluster specification has the same, and its clients count on it.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Iterable

#: How many there are.
SLOTS = 16384
#: Most runs of slots that a group has: they are in the header of each file.
MAX_RUNS = 32

_WILD = re.compile(rb"[*?\[\\]").search
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?").fullmatch


def slot_of(key: bytes) -> int:
    """The slot that a key is in."""
    begin = key.find(b"{")
    if begin >= 0 and (end := key.find(b"}", begin + 1)) > begin + 1:
        key = key[begin + 1 : end]
    return crc_hqx(key, 0) & (SLOTS - 1)


def slot_of_pattern(pattern: bytes) -> int | None:
    """The slot of all keys that match a glob pattern; None if they may be in several, as far as it is looked into."""
    begin = pattern.find(b"{")
    end = pattern.find(b"}", begin + 1) if begin >= 0 else -1
    looked_at = pattern[:end] if end > begin + 1 else pattern
    return None if _WILD(looked_at) else slot_of(pattern)


class Slots:
    """Some slots. `ranges`: the first and the last of each run of them, in order. Equal if they are the same ones."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        """Raises ValueError for one that there is not."""
        self.ranges: list[tuple[int, int]] = []
        self._has = bytearray(SLOTS)
        for slot in sorted(set(numbers)):
            if not 0 <= slot < SLOTS:
                raise ValueError(f"there are slots from 0 to {SLOTS - 1}")
            self._has[slot] = 1
            if self.ranges and self.ranges[-1][1] == slot - 1:
                self.ranges[-1] = (self.ranges[-1][0], slot)
            else:
                self.ranges.append((slot, slot))

    def __contains__(self, slot: object) -> bool:
        return isinstance(slot, int) and self._has[slot] == 1

    def __len__(self) -> int:
        return self._has.count(1)

    def has_all(self, keys: Iterable[bytes]) -> bool:
        """Whether the slots of all those keys are among them."""
        return all(map(self._has.__getitem__, map(slot_of, keys)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and other.ranges == self.ranges

    def __hash__(self) -> int:
        return hash(tuple(self.ranges))

    def __str__(self) -> str:
        """As `parse_slots` takes them; empty for none."""
        return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.ranges)

    def overlaps(self, other: Slots) -> bool:
        """Whether any is among the others, too."""
        return any(one and two for one, two in zip(self._has, other._has, strict=True))


def parse_slots(text: str) -> Slots:
    """Slots as people type them: `0-5460`, `0-99,200,300-399`. Raises ValueError for anything else, and for none."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found is not None else (1, 0)
        if first > last or last >= SLOTS:
            raise ValueError(f"give slots as 0-5460 or 0-99,200,300-399; there are {SLOTS}, from 0 to {SLOTS - 1}")
        numbers += range(first, last + 1)
    slots = Slots(numbers)
    if len(slots.ranges) > MAX_RUNS:
        raise ValueError(f"give at most {MAX_RUNS} runs of slots")
    return slots
