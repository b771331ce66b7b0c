"""What values have in common that are one bytes object (`packed`) while they are small, and something else once they
are large: hashes, sets, sorted sets. When one becomes large is its type's; it never becomes small again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from kvstore.base.limits import KIB
from kvstore.base.value_type import OF_PROCESS, Places, Undo
from kvstore.values import packed
from kvstore.values.buckets import Steps, take_back

#: Of one of the operations that `ValueType.whole` gives.
WHOLE_BYTES = 48 * KIB


class Large(Protocol):
    """What a large one is held in."""

    def __len__(self) -> int: ...

    def size_bytes(self) -> int:
        """Of its elements, more or less."""

    def parts(self) -> tuple[dict[Any, Any] | list[Any], ...]:
        """See `TypedValue`."""

    def copy(self) -> Self:
        """Another one with the same content."""


L = TypeVar("L", bound=Large)


class TwoForms(Generic[L]):
    """A value in one of its forms, and without any elements at first.

    `places`: how a large one finds its elements; kept from the beginning.
    """

    __slots__ = ("_held", "_places")

    #: What an element takes in an operation besides its bytes.
    OVERHEAD_BYTES: ClassVar[int]

    def __init__(self, places: Places = OF_PROCESS) -> None:
        self._places = places
        self._held: bytes | L = packed.EMPTY

    def __len__(self) -> int:
        held = self._held
        return packed.count(held) if isinstance(held, bytes) else len(held)

    def __bool__(self) -> bool:
        """Whether there is any element: what `len` takes longer to tell."""
        held = self._held
        return len(held) > len(packed.EMPTY) if isinstance(held, bytes) else len(held) > 0

    def size_bytes(self) -> int:
        """See `TypedValue`."""
        held = self._held
        return self.OVERHEAD_BYTES * len(self) + (len(held) if isinstance(held, bytes) else held.size_bytes())

    def parts(self) -> tuple[dict[Any, Any] | list[Any] | bytes, ...]:
        """See `TypedValue`. A small one is freed at once."""
        held = self._held
        return () if isinstance(held, bytes) else held.parts()

    def copy(self) -> Self:
        """Another one with the same content. Some 0.5 ms for 1 M elements in buckets."""
        other = self.__class__(self._places)
        held = self._held
        other._held = held if isinstance(held, bytes) else held.copy()
        return other

    def _undo(self, before: bytes | L, steps: Steps) -> Undo:
        """What takes the steps back that were done since `before` was what is held: all of them, if it was small."""
        return partial(setattr, self, "_held", before) if isinstance(before, bytes) else partial(take_back, steps)

    def _batches(self, elements: Iterable[bytes]) -> Iterator[list[bytes]]:
        """The elements, as many at once as fit into one operation."""
        some: list[bytes] = []
        size_bytes = 0
        for element in elements:
            some.append(element)
            size_bytes += len(element) + self.OVERHEAD_BYTES
            if size_bytes > WHOLE_BYTES:
                yield some
                some, size_bytes = [], 0
        if some:
            yield some
