"""What a type of values is to the store: a table row. The rows stand in `kvstore.values`; the store is handed them.

A value of any type but strings is an object that its operations change in place. Each operation is defined once, as an
`Edit`, and used in four places: live (with its undo), at replay, in the merge, and by tools. In the files it is a RESP
array, `NAME key word ...`, itself a valid Redis command, with absolute values, so that it replays without a clock.

Strings are the one plain type: immutable bytes, written whole by one operation, which also gives or takes a deadline.
Most tables are full of them, so they have ways of their own, by columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

#: A value of any type; strings are bytes.
Value: TypeAlias = Any
#: Takes one edit back: the value is then what it was before, down to the order of its elements.
Undo: TypeAlias = Callable[[], None]
#: The words of an operation behind its key.
Words: TypeAlias = Sequence[bytes]


class Places(Protocol):
    """Tells 64 bits of each element, by which a value of many may find it: see `kvstore.base.keyed_hash`."""

    def place(self, element: bytes) -> int:
        """Of one."""

    def places(self, elements: Sequence[bytes]) -> Sequence[int]:
        """Of each of many, in order."""


class OfProcess:
    """Python's own hash, for values that belong to no directory: no client can foresee that either."""

    def place(self, element: bytes) -> int:
        """See `Places`."""
        return hash(element)

    def places(self, elements: Sequence[bytes]) -> Sequence[int]:
        """See `Places`."""
        return list(map(hash, elements))


OF_PROCESS = OfProcess()


class TypedValue(Protocol):
    """What every value that is not bytes can do. All of it O(1)."""

    def __len__(self) -> int:
        """How many elements there are; without any the key is gone, unless its type keeps empty values."""

    def size_bytes(self) -> int:
        """About how many bytes its operations take in a file."""

    def encoding(self) -> str:
        """What OBJECT ENCODING tells: how Redis would hold it."""

    def parts(self) -> tuple[dict[Any, Any] | list[Any] | bytes, ...]:
        """The containers that it is made of, to be freed piece by piece; it is not used any more."""


class Edit(NamedTuple):
    """One operation of a type.

    `name`: upper case. `apply(value, words)`: changes the value in place and returns the undo of that. Raises
    ValueError, having changed nothing, if the words are no such operation; never for words that a command made.

    `at_once(value, words of each)`: `apply_each`, where that can be done better than one by one.

    `wakes`: whether it may bring what somebody waits for. `modifies`: whether it changes the value for those who watch
    the key; what the groups of a stream have read does not.
    """

    name: bytes
    apply: Callable[[Any, Words], Undo]
    at_once: Callable[[Any, Sequence[Words]], list[int]] | None = None
    wakes: bool = True
    modifies: bool = True

    def apply_each(self, value: Value, words: Sequence[Words]) -> list[int]:
        """What as many `apply`s do, at least one, for good; returns by how many elements each made the value longer.

        Raises ValueError, maybe in the middle.
        """
        if self.at_once is not None:
            return self.at_once(value, words)
        longer = []
        for each in words:
            before = len(value)
            self.apply(value, each)
            longer.append(len(value) - before)
        return longer


class Inner(NamedTuple):
    """Deadlines inside a value, of its elements, in milliseconds since the epoch.

    `next_ms(value)`: the earliest, None for none; O(1), and it may be too early, not too late. `expired(value, now_ms,
    limit)`: the edit (its name and words) that removes up to `limit` elements whose deadlines have passed, None if
    there is none.
    """

    next_ms: Callable[[Any], int | None]
    expired: Callable[[Any, int, int], tuple[bytes, Words] | None]


class ValueType(NamedTuple):
    """One type.

    `name`: as TYPE tells it. `holds`: the class of its values, a TypedValue; called without arguments it makes an empty
    one. `edits`: its operations. `copy(value)`: a value of its own with the same content. `whole(value)`: the edits
    (name, words) that build it from an empty one, in order, each of at most about 64 KiB unless one element is longer;
    the first one makes it exist. `keeps_empty`: whether a value without elements stays. `keyed`: whether
    `holds` can be given the directory's `Places`, and is, where there is a directory.
    """

    name: str
    holds: type
    edits: tuple[Edit, ...]
    copy: Callable[[Any], Any]
    whole: Callable[[Any], Iterator[tuple[bytes, Words]]]
    keeps_empty: bool = False
    inner: Inner | None = None
    keyed: bool = False

    def empty(self, places: Places) -> Value:
        """A value without elements."""
        return self.holds(places) if self.keyed else self.holds()


class Alike(NamedTuple):
    """Operations of the plain type without deadlines, whose keys are of one length, and whose values are.

    `number` pairs of key and value, in order. `size`: bytes of each operation.
    """

    number: int
    size: int
    pairs: Iterator[tuple[bytes, bytes]]


class PlainType(NamedTuple):
    """The type whose values are bytes.

    `operation`: its one operation, `SET key value` or, with a deadline, `SET key value PXAT ms`: the key holds just
    that, whatever was there. `encode(key, value, deadline_ms)`: that operation in RESP. `alike(body)`: whether many
    such operations of one size are all that there is in a body; `encode_alike(keys, values)`: the same back.
    """

    name: str
    operation: bytes
    encode: Callable[[bytes, bytes, int | None], bytes]
    alike: Callable[[bytes], Alike | None]
    encode_alike: Callable[[Sequence[bytes], Sequence[bytes]], bytes]


class Types:
    """All types of values that a store knows. `plain`: of strings; `others`: the rows of the others.

    `places`: of the directory.
    """

    def __init__(self, plain: PlainType, others: Sequence[ValueType], places: Places = OF_PROCESS) -> None:
        self.places = places
        self.plain = plain
        self.others = tuple(others)
        #: By the class of its values.
        self.by_class: dict[type, ValueType] = {row.holds: row for row in others}
        #: The edit of that name, and the type it is of.
        self.by_edit: dict[bytes, tuple[Edit, ValueType]] = {
            edit.name: (edit, row) for row in others for edit in row.edits
        }
        names: list[object] = [plain.name, plain.operation]
        for row in others:
            names += [row.name, *(edit.name for edit in row.edits)]
        if len(set(names)) != len(names):
            raise ValueError(f"two types, or two operations, have one name: {names}")

    def of_directory(self, places: Places) -> Types:
        """The same, for values that find their elements by the directory's hash."""
        return Types(self.plain, self.others, places)

    def name_of(self, value: Value) -> str:
        """The name of the type of a value."""
        return self.plain.name if value.__class__ is bytes else self.by_class[value.__class__].name
