"""What sealed segments say, reduced: the merge's side of the new. See `merge` for what becomes of it.

A key is **whole** in the segments if they alone say what it is: it was written as a string or deleted in them, or its
database was flushed. An operation on such a key is applied to a state at once. Any other is about what the checkpoint
may hold, which is not known here: it is kept, encoded, as a **patch**, for when the checkpoint streams that key past. A
new deadline is a patch like any other. A patch of a key that the checkpoint does not have begins with nothing.

Databases may be flushed and swapped: so each remembers which one of the checkpoint's its content comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress, repeat
from operator import or_
from typing import Any, NamedTuple

from kvstore.base.value_type import Types
from kvstore.store.beginning import NO_LINEAGE, Lineage
from kvstore.store.keyed_hash import KeyedHash
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
    decode_each,
    encode,
    encode_deadline,
    split_select,
)
from kvstore.store.state import State

Pairs = Iterable[tuple[bytes, bytes]]

_DEADLINES = frozenset([EXPIRE, PERSIST])


class Share(NamedTuple):
    """The keys that one pass is about: number `number` of `of` equal shares, by a hash that no client can foresee."""

    number: int
    of: int
    hashed: KeyedHash

    def holds(self, key: bytes) -> bool:
        """Whether the key is one of them."""
        return self.of == 1 or self.hashed.place(key) % self.of == self.number

    def marks(self, keys: Sequence[bytes]) -> Iterable[bool]:
        """For each of the keys whether it is one of them."""
        number, of, hashed = self
        return repeat(True) if of == 1 else [place % of == number for place in hashed.places(keys)]

    def part(self, operations: Sequence[Operation]) -> Iterable[Operation]:
        """Those of the operations that this pass is about: on its keys, and on databases."""
        if self.of == 1:
            return operations
        about_all = [len(each) == 1 or each[0] in ABOUT_DATABASES for each in operations]
        keys = [b"" if about else each[1] for each, about in zip(operations, about_all, strict=True)]
        return compress(operations, map(or_, about_all, self.marks(keys)))

    def part_of_pairs(self, pairs: Pairs) -> Pairs:
        """Those of the pairs of key and value whose keys this pass is about."""
        if self.of == 1:
            return pairs
        pairs = list(pairs)
        return compress(pairs, self.marks([key for key, _ in pairs]))


class Database(State):
    """What the segments say of one database: `values` are those of keys that are whole in them.

    `origin`: the number of the checkpoint's database that all else comes from, None if it was flushed. `gone`: keys
    that were deleted: of the checkpoint's content nothing stays of them. `patches`: encoded operations, by key; where
    they do no more than to set the deadline, or to take it away (None), that is in `new_deadlines` instead.
    """

    def __init__(self, types: Types, origin: int | None) -> None:
        super().__init__(types)
        self.origin = origin
        self.gone: set[bytes] = set()
        self.patches: dict[bytes, bytearray] = {}
        self.new_deadlines: dict[bytes, int | None] = {}

    def is_whole(self, key: bytes) -> bool:
        """Whether nothing of what the checkpoint holds at the key matters."""
        return key in self.values or key in self.gone or self.origin is None

    def changes_none(self, keys: Sequence[bytes]) -> bool:
        """Whether the segments say nothing of these keys."""
        return (
            self.values.keys().isdisjoint(keys)
            and self.gone.isdisjoint(keys)
            and (not self.patches or self.patches.keys().isdisjoint(keys))
            and (not self.new_deadlines or self.new_deadlines.keys().isdisjoint(keys))
        )

    def is_simple(self) -> bool:
        """Whether a string without a deadline is taken in by giving its key that value."""
        return not (self.deadlines or self.inner or self.patches or self.new_deadlines)

    def take(self, operation: Operation) -> None:
        """Take in an operation about a key. Raises as `State.apply`."""
        if len(operation) == 1:
            raise UnknownOperation(operation[0])
        kind, key = operation[0], operation[1]
        if kind == DELETE:
            self._drop(key)
            self.gone.add(key)
            self._forget_patches(key)
        elif kind == self.types.plain.operation:
            self.apply(operation)
            self._forget_patches(key)
        elif kind not in self.types.by_edit and kind not in _DEADLINES:
            raise UnknownOperation(kind)
        elif not self.is_whole(key):
            self._keep(key, operation)
        elif key in self.values or kind not in _DEADLINES:
            self.apply(operation)
            if key not in self.values:  # that left no element
                self.gone.add(key)

    def _keep(self, key: bytes, operation: Operation) -> None:
        """Keep a patch."""
        if operation[0] in _DEADLINES and key not in self.patches:
            self.new_deadlines[key] = int(operation[2]) if operation[0] == EXPIRE else None
            return
        self.keep_deadline_as_patch(key)
        self.patches.setdefault(key, bytearray()).extend(encode(*operation))

    def keep_deadline_as_patch(self, key: bytes) -> None:
        """If there is a new deadline for `key`, it is a patch like any other."""
        if key in self.new_deadlines:
            self.patches[key] = bytearray(encode_deadline(key, self.new_deadlines.pop(key)))

    def _forget_patches(self, key: bytes) -> None:
        if self.patches or self.new_deadlines:
            self.patches.pop(key, None)
            self.new_deadlines.pop(key, None)

    def take_pairs(self, pairs: Pairs) -> None:
        """Take in strings without deadlines, in order: what `take` does of each, at C speed."""
        if self.is_simple():
            self.values.update(pairs)
            return
        pairs = list(pairs)
        self.values.update(pairs)
        more: dict[bytes, Any]
        for more in (self.deadlines, self.inner, self.patches, self.new_deadlines):
            for key in more.keys() & [key for key, _ in pairs] if more else ():
                del more[key]

    def patch(self, key: bytes, state: State) -> None:
        """Apply the patches of `key`, to be forgotten, to what a state holds there. Raises BadOperation."""
        try:
            state.apply_some(decode_each(bytes(self.patches.pop(key))))
        except (ValueError, IndexError, TypeError) as error:
            raise BadOperation(f"not an operation: {error}") from error


class Delta:
    """The segments, reduced: of each database what they say of the keys of `share`.

    `time_us`, `lineage`: of their last commit.
    """

    def __init__(self, types: Types, share: Share, lineage: Lineage = NO_LINEAGE) -> None:
        self.types = types
        self.share = share
        self.lineage = lineage
        self.time_us = 0
        self.by_number: dict[int, Database] = {}
        self._flushed = False

    def at(self, number: int) -> Database:
        """That database."""
        found = self.by_number.get(number)
        if found is None:
            is_flushed = self._flushed and number != LIBRARY_DATABASE
            found = self.by_number[number] = Database(self.types, None if is_flushed else number)
        return found

    def of_origin(self, number: int) -> tuple[int, Database | None]:
        """Which database has the content of the checkpoint's one of that number now, and its number; None if it was
        flushed.
        """
        self.at(number)
        return next(((now, one) for now, one in self.by_number.items() if one.origin == number), (number, None))

    def add(self, body: bytes) -> None:
        """Take in the operations of one commit, as `LoggedCommit.body` has them. Raises BadOperation."""
        number, rest = split_select(body)
        alike = self.types.plain.alike(rest)
        if alike is not None:
            self.at(number).take_pairs(self.share.part_of_pairs(alike.pairs))
            return
        try:
            self.add_each(self.share.part(decode(body)))
        except (ValueError, IndexError, TypeError) as error:
            raise BadOperation(f"not an operation: {error}") from error

    def add_each(self, operations: Iterable[Operation]) -> None:
        """Take in the operations of a frame, of any kind. Raises as `State.apply`."""
        plain = self.types.plain.operation
        number = 0
        database = self.at(number)
        for operation in operations:
            kind = operation[0]
            if kind == plain and len(operation) == 3 and database.is_simple():
                database.values[operation[1]] = operation[2]  # what `take` does, for the bulk of most logs
                continue
            if kind not in ABOUT_DATABASES:
                database.take(operation)
                continue
            if kind == SELECT:
                number = int(operation[1])
            elif kind == LIBRARIES:
                number = LIBRARY_DATABASE
            elif kind == SWAP:
                one, other = int(operation[1]), int(operation[2])
                self.by_number[one], self.by_number[other] = self.at(other), self.at(one)
            elif kind == FLUSH_DATABASE:
                self.by_number[number] = Database(self.types, None)
            else:
                self._flushed = True
                self.by_number = {LIBRARY_DATABASE: self.at(LIBRARY_DATABASE)}
            database = self.at(number)
