"""Who must know of changes of a database, and what they see of it: indexes, the scan order, WATCH, keyspace events,
caches of clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kvstore.base.slices import Slicing
from kvstore.base.value_type import Value
from kvstore.store.garbage import Garbage

#: Events (see `Observer.changed`): a key is gone, since it was to go, since its time has come, or since memory is
#: short; there is none.
DELETED, EXPIRED, EVICTED, NOTHING_SAID = b"del", b"expired", b"evicted", b""


class Observer:
    """Told of every change, after it was recorded and made; as it stands, it does nothing with that.

    `takes_many`: whether it may be told of many strings at once, and is done with a change at once, however large.
    """

    takes_many: bool = False

    def changed(self, key: bytes, before: Value | None, after: Value | None, event: bytes | None) -> None:
        """`key` went from `before` to `after`; None stands for no such key.

        The same object twice when only its deadline, or its inside, changed. `event`: what happened, by its name as
        Valkey has it; None if something is undone.
        """

    def writes_strings(self, keys: Sequence[bytes], values: Mapping[bytes, Value], event: bytes) -> None:
        """Each of `keys`, in this order, is about to get a string; for one who `takes_many`. `values`: those before."""

    def said(self, key: bytes, event: bytes) -> None:
        """Something else happened to `key`, by the change that was just told."""

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
