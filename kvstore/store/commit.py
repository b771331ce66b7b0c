"""The open commit: what this turn of the event loop has changed so far, in all databases, and how to take the last
request's part of it back.

Every mutator of a table records here, before it changes anything: the encoded operation, which becomes part of the
next frame of the log; the key, so that reads of it wait for that frame; and how to undo it, so that a request that
fails half-way (the disk is full, a bug) is undone whole. `room` is how many bytes of operations the log has space
reserved for; past it the log is asked for more first, and may refuse with StorageFull.

Which database an operation is about is noted where it changes from one operation to the next, and becomes a `SELECT`
in the frame only when that is made: so what is undone leaves none behind. Each frame begins in database 0.

There is one such object for good: when its frame is made, the next commit begins in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from kvstore.base.errors import StorageFull
from kvstore.base.value_type import Undo, Value
from kvstore.store.log import Purpose
from kvstore.store.operations import encode_select

#: The `room` of an open commit where the log is to be asked, whatever is to be recorded next.
NO_ROOM_AT_ALL = -1
#: At least what one SELECT takes.
_SELECT_BYTES = 40


class Changing(Protocol):
    """A database that operations are recorded of. `number`: its own.

    `open_keys`: keys that the open commit has changed, a superset after an undo, which only makes a reader wait longer;
    `open_whole`: whether it changed all of it.
    """

    number: int
    open_keys: set[bytes]
    open_whole: bool

    def take_off(self) -> None:
        """The open commit is closed: it is the one in flight now."""

    def settled(self) -> None:
        """The commit in flight is done."""

    def put_back(self, key: bytes, value: Value | None, deadline_ms: int | None, undo: Undo | None = None) -> None:
        """Undo a change of `key`: inside of its value, if there is an `undo` of that; then it is as it was."""


class Undoable(Protocol):
    """A change of whole databases."""

    def put_back(self) -> None:
        """Undo it."""


class OpenCommit:
    """Operations recorded since the last frame was made.

    `sequence`: the number this commit will have. `reserve`: asked for room, with the total bytes
    of operations and what for; returns the room now there; raises StorageFull (nothing recorded) or StorageFault.
    """

    __slots__ = (
        "_first", "_selected", "_selects", "changed", "count", "operations", "requests", "reserve", "room",
        "sequence", "size_bytes", "undo",
    )  # fmt: skip

    def __init__(self, sequence: int, reserve: Callable[[int, Purpose], int]) -> None:
        self.reserve = reserve
        self._first: Changing | None = None
        self.begin(sequence)

    def begin(self, sequence: int) -> None:
        """Nothing is recorded yet, and there is no room."""
        self.sequence = sequence
        self.room = 0
        #: Encoded operations, one or more in each item; `count`: how many there are, `size_bytes`: of all, at most.
        self.operations: list[bytes] = []
        self.count = 0
        self.size_bytes = 0
        self.requests = 0
        #: How to undo each operation of the request that is executing: whose `put_back`, and with what; None where the
        #: operation belongs to the one before.
        self.undo: list[tuple[Any, ...] | None] = []
        #: The databases that were changed; database 0 is there always.
        self.changed: list[Changing] = [] if self._first is None else [self._first]
        self._selected = self._first
        #: From which item on operations are about another database than before, and which.
        self._selects: list[tuple[int, Changing]] = []

    def begin_in(self, first: Changing) -> None:
        """Operations are about `first`, unless others are recorded before."""
        self._first = self._selected = first
        self.changed = [first]

    def record(
        self,
        table: Changing,
        key: bytes,
        operation: bytes,
        value: Value | None,
        deadline_ms: int | None,
        purpose: Purpose = Purpose.GROW,
    ) -> None:
        """Record one operation on `key`, whose state before was `value` and `deadline_ms`. Raises StorageFull."""
        if table is not self._selected:
            self._select(table)
        size = self.size_bytes + len(operation)  # from here on `_append`, opened out for speed
        if size > self.room:
            self.room = self.reserve(size, purpose)
        self.size_bytes = size
        self.operations.append(operation)
        self.count += 1
        table.open_keys.add(key)
        self.undo.append((table, key, value, deadline_ms))

    def record_further(self, operation: bytes) -> None:
        """Record one more operation that belongs to the last, and is undone with it. Raises StorageFull."""
        self._append(operation, Purpose.GROW)
        self.undo.append(None)

    def _append(self, operation: bytes, purpose: Purpose) -> None:
        size = self.size_bytes + len(operation)
        if size > self.room:
            self.room = self.reserve(size, purpose)
        self.size_bytes = size
        self.operations.append(operation)
        self.count += 1

    def note_undo(self, undo: Undo) -> None:
        """The change of the value that was just recorded is made, and is undone like this."""
        last = self.undo[-1]
        assert last is not None
        self.undo[-1] = (*last, undo)

    def forget_last(self) -> None:
        """The operation just recorded is not to be done after all."""
        self.undo.pop()
        self._drop_last()

    def make_room(self, size_bytes: int) -> bool:
        """Whether operations of so many bytes can be recorded whole; the log is asked for more room if need be.

        Not while writes are refused: then each has to ask for itself.
        """
        size = self.size_bytes + size_bytes + _SELECT_BYTES
        if size > self.room != NO_ROOM_AT_ALL:
            with contextlib.suppress(StorageFull):
                self.room = self.reserve(size, Purpose.GROW)
        return size <= self.room

    def record_whole(self, table: Changing, keys: list[bytes], operations: bytes) -> None:
        """Record one operation on each of `keys`, encoded one behind the other, that will not be undone.

        There must be room for them.
        """
        if table is not self._selected:
            self._select(table)
        self.size_bytes += len(operations)
        self.operations.append(operations)
        self.count += len(keys)
        table.open_keys.update(keys)

    def record_everything(self, tables: list[Changing], operation: bytes, undoable: Undoable) -> None:
        """Record an operation on all that is in `tables`; on one alone, or on more than the selected. Raises
        StorageFull.
        """
        if len(tables) == 1 and tables[0] is not self._selected:
            self._select(tables[0])
        self._append(operation, Purpose.FLUSH)
        for table in tables:
            table.open_whole = True
        self.changed += [table for table in tables if table not in self.changed]
        self.undo.append((undoable,))

    def take_back(self, mark: int = 0) -> None:
        """Undo what the request that is executing has changed, in all databases and here.

        `mark`: keep that many of its first changes (`len(undo)` at some moment); for a command inside EXEC.
        """
        undo = self.undo
        while len(undo) > mark:
            change = undo.pop()
            self._drop_last()
            if change is not None:
                change[0].put_back(*change[1:])

    def _drop_last(self) -> None:
        """Forget the newest operation (its change is undone)."""
        self.size_bytes -= len(self.operations.pop())
        self.count -= 1
        if self._selects and self._selects[-1][0] > len(self.operations):
            self._unselect()
        if not self.operations:
            for table in self.changed:
                table.open_keys.clear()
                table.open_whole = False

    def _select(self, table: Changing) -> None:
        """The operations from here on are about `table`."""
        if self._selects and self._selects[-1][0] == len(self.operations):
            self._unselect()
            if table is self._selected:
                return
        self._selects.append((len(self.operations), table))
        self._selected = table
        self.size_bytes += _SELECT_BYTES
        if table not in self.changed:
            self.changed.append(table)

    def _unselect(self) -> None:
        self._selects.pop()
        self._selected = self._selects[-1][1] if self._selects else self._first
        self.size_bytes -= _SELECT_BYTES

    def body(self) -> bytes:
        """All operations, as they stand in the frame."""
        if not self._selects:
            return b"".join(self.operations)
        pieces: list[bytes] = []
        begun = 0
        for place, table in self._selects:
            pieces += self.operations[begun:place]
            if place < len(self.operations):
                pieces.append(encode_select(table.number))
            begun = place
        return b"".join(pieces + self.operations[begun:])

    def switches(self) -> int:
        """How many SELECTs are in `body`."""
        return sum(place < len(self.operations) for place, _ in self._selects)
