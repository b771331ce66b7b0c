"""The state: keys, values and deadlines, and what an operation does to them. Recovery, the merge, the tools and the
live table share it.

`State` is one database, `Databases` are all of them as the files tell. Which types of values there are is a table that
is handed in (`kvstore.base.value_type`): no type is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kvstore.base.value_type import Edit, Types, Undo, Value, ValueType, Words
from kvstore.store.operations import (
    ABOUT_DATABASES,
    DELETE,
    EXPIRE,
    FLUSH_DATABASE,
    LIBRARIES,
    LIBRARY_DATABASE,
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

#: Edits that are done at once: so many that each costs little, so few that what is decoded is small.
_MOST_AT_ONCE = 4096


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
            self._edit_each(key, kind, [operation[2:]])

    def apply_some(self, operations: Iterable[Operation]) -> Operation | None:
        """`apply` each operation, up to the first that is about databases, which is returned; None at the end.

        Edits of one kind of one key that stand together are done at once. Raises as `apply`, maybe in the middle.
        """
        plain, edits, values = self.types.plain.operation, self.types.by_edit, self.values
        head: Operation = []
        run: list[Words] = []
        for operation in operations:
            if run:
                if operation[:2] == head and len(run) < _MOST_AT_ONCE:
                    run.append(operation[2:])
                    continue
                self._edit_each(head[1], head[0], run)
                run = []
            kind = operation[0]
            if kind == plain and len(operation) == 3 and not (self.deadlines or self.inner):
                values[operation[1]] = operation[2]  # what `apply` does, for the bulk of most logs
            elif kind in edits and len(operation) > 1:
                head, run = operation[:2], [operation[2:]]
            elif kind in ABOUT_DATABASES:
                return operation
            else:
                self.apply(operation)
        if run:
            self._edit_each(head[1], head[0], run)
        return None

    def _drop(self, key: bytes) -> None:
        """`key` is gone."""
        self.values.pop(key, None)
        self.deadlines.pop(key, None)
        self.inner.pop(key, None)

    def _edit(self, key: bytes, name: bytes, words: Words) -> Undo:
        """Apply an edit to the value at `key`, a new one if there is none; what became empty is gone.

        Returns what takes back the change of the value; what was at the key is for the caller to put there again.
        """
        edit, row = self._find(name)
        value = self._value_for(key, name, row)
        undo = edit.apply(value, words)
        self._edited(key, value, row)
        return undo

    def _edit_each(self, key: bytes, name: bytes, words: Sequence[Words]) -> None:
        """What as many `_edit`s do, for good."""
        edit, row = self._find(name)
        value = self._value_for(key, name, row)
        edit.apply_each(value, words)
        self._edited(key, value, row)

    def _find(self, name: bytes) -> tuple[Edit, ValueType]:
        """The edit of that name, and the type it is of."""
        found = self.types.by_edit.get(name)
        if found is None:
            raise UnknownOperation(name)
        return found

    def _value_for(self, key: bytes, name: bytes, row: ValueType) -> Value:
        """The value at `key` for an edit of that type, a new one if there is none."""
        value = self.values.get(key)
        if value is None:
            return row.empty(self.types.places)
        if value.__class__ is not row.holds:
            raise BadOperation(f"{name!r} of a key that holds a {self.types.name_of(value)}")
        return value

    def _edited(self, key: bytes, value: Value, row: ValueType) -> None:
        """The value at `key` was edited."""
        if not value and not row.keeps_empty:
            self._drop(key)
            return
        if key not in self.values:
            self.values[key] = value
            self.has_typed = True
        if row.inner is not None and ((deadline_ms := row.inner.next_ms(value)) is not None or key in self.inner):
            self._note_inner(key, deadline_ms)

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
    """The databases that the files hold, by their numbers: those that were ever written to, and 0.

    The libraries of functions are one of them, `LIBRARY_DATABASE`.
    """

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
        """How many keys there are, the names of libraries too."""
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
        """Apply the operations of one frame. Raises as `State.apply`, maybe in the middle."""
        remaining = iter(operations)
        number = 0
        while (operation := self.at(number).apply_some(remaining)) is not None:
            kind = operation[0]
            if kind == SELECT:
                number = int(operation[1])
            elif kind == LIBRARIES:
                number = LIBRARY_DATABASE
            elif kind == SWAP:
                self.swap(int(operation[1]), int(operation[2]))
            elif kind == FLUSH_DATABASE:
                self.at(number).clear()
            else:
                for each, state in self.by_number.items():
                    if each != LIBRARY_DATABASE:
                        state.clear()

    def swap(self, one: int, other: int) -> None:
        """Each of the two databases has what the other had."""
        self.by_number[one], self.by_number[other] = self.at(other), self.at(one)
