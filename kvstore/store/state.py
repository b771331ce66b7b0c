"""The state: keys, values and deadlines, and what an operation does to them. Recovery, the merge, the tools and the
live table share it.

`State` is one database, `Databases` are all of them as the files tell. Which types of values there are is a table that
is handed in (`kvstore.base.value_type`): no type is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvstore.base.value_type import Types, Undo, Value, Words
from kvstore.store.operations import (
    DELETE,
    EXPIRE,
    FLUSH_ALL,
    FLUSH_DATABASE,
    PERSIST,
    SELECT,
    SWAP,
    BadOperation,
    Operation,
    UnknownOperation,
    decode,
    encode,
    encode_deadline,
    split_select,
)


class State:
    """One database. `values`; `deadlines` of keys, `inner` of their elements: the earliest one of each key that has
    any.

    Deadlines are in milliseconds since the epoch. A key past its own stays until an operation removes it.
    """

    def __init__(self, types: Types) -> None:
        self.types = types
        self.values: dict[bytes, Value] = {}
        self.deadlines: dict[bytes, int] = {}
        self.inner: dict[bytes, int] = {}
        #: Whether there may be values of other types than strings.
        self.has_typed = False

    def apply(self, operation: Operation) -> None:
        """Do what an operation about a key says, for good. Raises BadOperation, or ValueError, IndexError, TypeError
        for words that are no such operation; then nothing changed.
        """
        if len(operation) == 1:
            raise UnknownOperation(operation[0])
        kind, key = operation[0], operation[1]
        if kind == self.types.plain.operation:
            self.values[key] = operation[2]
            self.inner.pop(key, None)
            if len(operation) == 5:
                self.deadlines[key] = int(operation[4])
            elif self.deadlines:
                self.deadlines.pop(key, None)
        elif kind == DELETE:
            self._drop(key)
        elif kind == EXPIRE:
            self.deadlines[key] = int(operation[2])
        elif kind == PERSIST:
            self.deadlines.pop(key, None)
        else:
            self._edit(key, kind, operation[2:])

    def _drop(self, key: bytes) -> None:
        """`key` is gone."""
        self.values.pop(key, None)
        self.deadlines.pop(key, None)
        self.inner.pop(key, None)

    def _edit(self, key: bytes, name: bytes, words: Words) -> Undo:
        """Apply an edit to the value at `key`, a new one if there is none; what became empty is gone.

        Returns what takes back the change of the value; what was at the key is for the caller to put there again.
        """
        found = self.types.by_edit.get(name)
        if found is None:
            raise UnknownOperation(name)
        edit, row = found
        value: Value = self.values.get(key)
        if value is None:
            value = row.empty(self.types.place)
            undo = edit.apply(value, words)
            self.values[key] = value
            self.has_typed = True
        elif value.__class__ is row.holds:
            undo = edit.apply(value, words)
        else:
            raise BadOperation(f"{name!r} of a key that holds a {self.types.name_of(value)}")
        if not len(value) and not row.keeps_empty:
            self._drop(key)
        elif row.inner is not None:
            self._note_inner(key, row.inner.next_ms(value))
        return undo

    def _note_inner(self, key: bytes, deadline_ms: int | None) -> None:
        """The earliest deadline of an element of the value at `key` is this now."""
        if deadline_ms is None:
            self.inner.pop(key, None)
        else:
            self.inner[key] = deadline_ms

    def whole(self, key: bytes) -> Iterator[bytes]:
        """The encoded operations that make a key that is not there what it is here; it is one that exists."""
        value, deadline_ms = self.values[key], self.deadlines.get(key)
        if value.__class__ is bytes:
            yield self.types.plain.encode(key, value, deadline_ms)
            return
        for name, words in self.types.by_class[value.__class__].whole(value):
            yield encode(name, key, *words)
        if deadline_ms is not None:
            yield encode_deadline(key, deadline_ms)

    def clear(self) -> None:
        """Every key is gone."""
        self.has_typed = False
        self.values.clear()
        self.deadlines.clear()
        self.inner.clear()


class Databases:
    """The databases that the files hold, by their numbers: those that were ever written to, and 0."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.by_number = {0: State(types)}

    def at(self, number: int) -> State:
        """That database."""
        state = self.by_number.get(number)
        if state is None:
            state = self.by_number[number] = State(self.types)
        return state

    def count(self) -> int:
        """How many keys there are."""
        return sum(len(state.values) for state in self.by_number.values())

    def replay(self, body: bytes) -> int:
        """Apply the operations of a frame, whose checksum was verified; returns how many there are.

        `body`: as `split_history` leaves it. Raises BadOperation.
        """
        number, rest = split_select(body)
        state = self.at(number)
        alike = None if state.deadlines or state.inner else self.types.plain.alike(rest)
        if alike is not None:
            state.values.update(alike.pairs)
            return alike.number + (rest is not body)
        operations = decode(body)
        try:
            self.apply(operations)
        except (ValueError, IndexError, TypeError) as error:
            raise BadOperation(f"not an operation: {error}") from error
        return len(operations)

    def apply(self, operations: Iterable[Operation]) -> None:
        """Apply the operations of one frame. Raises as `State.apply`."""
        plain = self.types.plain.operation
        number = 0
        state = self.at(number)
        for operation in operations:
            kind = operation[0]
            if kind == plain and len(operation) == 3 and not (state.deadlines or state.inner):
                state.values[operation[1]] = operation[2]  # what State.apply does, for the bulk of most logs
            elif kind == SELECT:
                number = int(operation[1])
                state = self.at(number)
            elif kind == SWAP:
                self.swap(int(operation[1]), int(operation[2]))
                state = self.at(number)
            elif kind == FLUSH_DATABASE:
                state.clear()
            elif kind == FLUSH_ALL:
                for each in self.by_number.values():
                    each.clear()
            else:
                state.apply(operation)

    def swap(self, one: int, other: int) -> None:
        """Each of the two databases has what the other had."""
        self.by_number[one], self.by_number[other] = self.at(other), self.at(one)
