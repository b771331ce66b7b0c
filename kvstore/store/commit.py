"""The open commit: what this turn of the event loop has changed so far, and how to take the last request's part of it
back.

Every mutator of the table records here, before it changes anything: the encoded operation, which becomes part of the
next frame of the log; the key, so that reads of it wait for that frame; and the state before, so that a request that
fails half-way (the disk is full, a bug) is undone whole. `room` is how many bytes of operations the log has space
reserved for; past it the log is asked for more first, and may refuse with StorageFull.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.store.log import Purpose

#: State of one key before a change: key, value or None, deadline or None.
Before = tuple[bytes, bytes | None, int | None]


class OpenCommit:
    """Operations recorded since the last frame was closed.

    `sequence`: the number this commit will have. `reserve`: asked for room, with the total bytes of operations and what
    for; returns the room now there; raises StorageFull (nothing recorded) or StorageFault.
    """

    __slots__ = (
        "count", "everything", "keys", "operations", "requests", "reserve", "room", "sequence", "size_bytes", "undo",
    )  # fmt: skip

    def __init__(self, sequence: int, reserve: Callable[[int, Purpose], int]) -> None:
        self.sequence = sequence
        self.reserve = reserve
        self.room = 0
        #: Encoded operations, one or more in each item; `count`: how many there are, `size_bytes`: of all.
        self.operations: list[bytes] = []
        self.count = 0
        self.size_bytes = 0
        self.requests = 0
        #: Keys changed; a superset after an undo, which only makes a reader wait longer.
        self.keys: set[bytes] = set()
        self.everything = False
        #: One entry for each operation of the request that is executing.
        self.undo: list[Before | tuple[None, dict[bytes, bytes], dict[bytes, int]]] = []

    def record(
        self,
        key: bytes,
        operation: bytes,
        value: bytes | None,
        deadline_ms: int | None,
        purpose: Purpose = Purpose.GROW,
    ) -> None:
        """Record one operation on `key`, whose state before was `value` and `deadline_ms`. Raises StorageFull."""
        size = self.size_bytes + len(operation)
        if size > self.room:
            self.room = self.reserve(size, purpose)
        self.size_bytes = size
        self.operations.append(operation)
        self.count += 1
        self.keys.add(key)
        self.undo.append((key, value, deadline_ms))

    def has_room(self, size_bytes: int) -> bool:
        """Whether operations of so many bytes can be recorded without asking for more room."""
        return self.size_bytes + size_bytes <= self.room

    def record_whole(self, keys: list[bytes], operations: bytes) -> None:
        """Record one operation on each of `keys`, encoded one behind the other, that will not be undone.

        There must be room for them.
        """
        self.size_bytes += len(operations)
        self.operations.append(operations)
        self.count += len(keys)
        self.keys.update(keys)

    def record_flush(self, operation: bytes, values: dict[bytes, bytes], deadlines: dict[bytes, int]) -> None:
        """Record that everything goes; `values` and `deadlines` are kept for the undo, not copied.

        Raises StorageFull.
        """
        size = self.size_bytes + len(operation)
        if size > self.room:
            self.room = self.reserve(size, Purpose.FLUSH)
        self.size_bytes = size
        self.operations.append(operation)
        self.count += 1
        self.everything = True
        self.undo.append((None, values, deadlines))

    def touches(self, key: bytes) -> bool:
        """Whether a read of `key` sees something of this commit."""
        return key in self.keys or (self.everything and bool(self.operations))

    def drop_last(self) -> None:
        """Forget the newest operation (its change was undone)."""
        self.size_bytes -= len(self.operations.pop())
        self.count -= 1
        if not self.operations:
            self.keys.clear()
            self.everything = False
