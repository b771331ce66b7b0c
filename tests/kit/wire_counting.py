"""A bytearray that counts the bytes it touches, put in place of the wire room's buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from kvstore.wire import multibulk, parser


class CountingBytearray(bytearray):
    """A bytearray whose appends, searches and copies are counted, in bytes, in `counter`."""

    counter: Work

    def __iadd__(self, other: Any) -> Any:
        self.counter.touched_bytes += len(other)
        return super().__iadd__(other)

    def __bytes__(self) -> bytes:
        self.counter.touched_bytes += len(self)
        return b"".join([memoryview(self)])

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.counter.touched_bytes += len(found) if isinstance(place, slice) else 1
        return found

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        """Count what a search may look at, then search."""
        self.counter.touched_bytes += max(0, len(self) - start)
        return super().find(sub, start, len(self) if end is None else end)


class Work:
    """What was counted. `touched_bytes`: bytes appended, searched and copied."""

    def __init__(self) -> None:
        self.touched_bytes = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count the work of all buffers that the wire room makes meanwhile."""
    CountingBytearray.counter = work = Work()
    with (
        mock.patch.object(parser, "bytearray", CountingBytearray, create=True),
        mock.patch.object(multibulk, "bytearray", CountingBytearray, create=True),
    ):
        yield work
