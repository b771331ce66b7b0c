"""Any key of a dict, with about the same chance for each, in a microsecond or two: what Python itself cannot do
without a walk through it.

A dict has its entries one behind the other, in the order in which they came, with gaps where some were removed, and C
can ask for the first one from a place on (`PyDict_Next`). So a place is drawn. Behind a gap a key has more chance than
others; a long gap, as it is left where the oldest keys were removed, is noted, and not drawn from again.

Elsewhere than in CPython it is the walk.

Rejected: a list of all keys (8 bytes each, and each key that comes and goes would pay for it); the buckets of SCAN (60
bytes a key, and writes by columns would end).
"""

from __future__ import annotations

import ctypes
import sys
from itertools import islice
from typing import Any

from kvstore.base.chance import Chance

#: A dict has at least so many bytes for each entry that has room in it.
_ENTRY_BYTES = 24
#: A place is drawn so often at most before the walk.
_DRAWS = 64
#: A gap of so many entries takes a microsecond.
_LONG_GAP = 256


class RandomEntry:
    """Draws keys of one dict after the other; best of the same, whose longest gap it knows."""

    def __init__(self) -> None:
        self._dict: dict[Any, Any] = {}
        self._size = 0
        self._gap = range(0)
        self._place = ctypes.c_ssize_t()
        self._key = ctypes.py_object()
        self._places = ctypes.byref(self._place), ctypes.byref(self._key)
        self._next = ctypes.pythonapi.PyDict_Next if sys.implementation.name == "cpython" else None

    def key_of(self, some: dict[Any, Any], chance: Chance) -> Any:
        """Any key of a dict, which is not empty."""
        size = sys.getsizeof(some)
        if some is not self._dict or size != self._size:  # another one, or its entries were put together anew
            self._dict, self._size, self._gap = some, size, range(0)
        if self._next is not None:
            for _ in range(_DRAWS):
                place = int(chance.random() * (size // _ENTRY_BYTES - len(self._gap)))
                if self._found_from(place if place < self._gap.start else place + len(self._gap)):
                    return self._key.value
        return next(islice(some, chance.randrange(len(some)), None))

    def _found_from(self, place: int) -> bool:
        """Whether there is an entry there or behind; its key is noted."""
        end = self._entry_from(place)
        if end - place > _LONG_GAP:
            self._note_gap(place, end)
            end = self._entry_from(end)
        return end >= 0

    def _entry_from(self, place: int) -> int:
        """The place of the first entry from there on, whose key is noted; -1 if there is none."""
        assert self._next is not None
        self._place.value = place
        found = self._next(ctypes.py_object(self._dict), *self._places, None)
        return self._place.value - 1 if found else -1

    def _note_gap(self, begin: int, end: int) -> None:
        """There is none from `begin` to `end`: that, or what has become of the gap known, whichever is longer."""
        known = self._gap
        if begin > known.stop:
            known = range(known.start, self._entry_from(known.stop))
        elif end >= known.start:
            known = range(min(begin, known.start), max(end, known.stop))
        self._gap = max(known, range(begin, end), key=len)
