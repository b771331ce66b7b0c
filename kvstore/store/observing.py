"""Who must know of changes of a database, and what they see of it: indexes, the scan order, WATCH."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvstore.base.slices import Slicing
from kvstore.base.value_type import Value
from kvstore.store.garbage import Garbage


class Observer(Protocol):
    """Told of every change, after it was recorded and made."""

    def changed(self, key: bytes, before: Value | None, after: Value | None) -> None:
        """`key` went from `before` to `after`; None stands for no such key.

        The same object twice when only its deadline, or its inside, changed.
        """

    def flushed(self) -> None:
        """Every key is gone, or everything changed: start afresh."""


class Observed(Protocol):
    """What an observer sees of a database. `values`: all there are, by key; another dictionary after a flush.

    `garbage`: where to put what takes long to free. `slicing`: for requests that take long.
    """

    values: dict[bytes, Value]
    deadlines: dict[bytes, int]
    garbage: Garbage
    slicing: Slicing

    def exists(self, key: bytes) -> bool:
        """Whether there is such a key now."""

    def living(self) -> Callable[[bytes], bool]:
        """A function that tells, now and later, whether a key that is there now has not expired now."""

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every change from now on."""

    def forget(self, observer: Observer) -> None:
        """Tell `observer` no more."""
