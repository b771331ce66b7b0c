"""What nobody needs any more, let go by and by.

To free a table of a million keys takes Python 50 to 100 ms, and whoever drops the last reference to it waits so long. A
large container, or a large string, is put here instead, and is freed some pieces at a time between requests.

What is put here may come back before the request that put it has ended (it is undone); nothing is freed before.

Rejected: a thread that frees (it holds the interpreter's lock meanwhile); a list of keys to delete (as much to free).
"""

from __future__ import annotations

from typing import Any

from kvstore.base.limits import MIB

#: Containers of fewer elements, and strings of fewer bytes, are freed at once: in some 0.1 ms.
_SMALL_ELEMENTS = 1000
_SMALL_BYTES = 1 * MIB
#: Elements freed in one step.
_AT_ONCE = 16


class Garbage:
    """See the module. Whoever puts a container here must not use it any more."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def __len__(self) -> int:
        """How many containers wait."""
        return len(self._kept)

    def put(self, thing: dict[Any, Any] | list[Any] | bytes) -> None:
        """Keep `thing` until its turn to be freed has come, if it is large."""
        if len(thing) >= (_SMALL_BYTES if thing.__class__ is bytes else _SMALL_ELEMENTS):
            self._kept.append(thing)

    def give_back(self, thing: dict[Any, Any] | list[Any] | bytes) -> None:
        """`thing` is needed again."""
        self._kept = [kept for kept in self._kept if kept is not thing]

    def free_some(self) -> bool:
        """Free a few elements; returns whether anything is left."""
        if not self._kept:
            return False
        thing = self._kept.pop()
        if thing.__class__ is not bytes:
            inner = _take_some(thing)
            if thing:
                self._kept.append(thing)
            for each in inner:
                if each.__class__ is bytes or each.__class__ is dict or each.__class__ is list:
                    self.put(each)
                elif hasattr(each, "parts"):
                    for part in each.parts():
                        self.put(part)
        return bool(self._kept)


def _take_some(thing: dict[Any, Any] | list[Any]) -> list[Any]:
    if isinstance(thing, dict):
        return [thing.popitem()[1] for _ in range(min(_AT_ONCE, len(thing)))]
    taken = thing[-_AT_ONCE:]
    del thing[-_AT_ONCE:]
    return taken
