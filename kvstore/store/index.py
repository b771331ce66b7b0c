"""Indexes of documents by a member: they appear when asked for.

The first `query` on a subkey builds the index of that subkey; from then on every write maintains the indexes that
exist, and no others. An index maps each atomic JSON value to the keys of the documents that have the subkey equal to
it. Equality is JSON's: `true` is not 1, and 1 equals 1.0. At most MAX_INDEXES exist; the one least recently asked for
goes first.

To build one takes a pass over the table (some 1.7 s for a million documents that have the subkey, half a second if none
has), in slices, between which others change the table. The pass goes over the keys and values as they were noted when
it began. What changes meanwhile is entered at once, and is settled: what was noted of it is no more of the index.

A search answers as of the moment when it began, also one that comes while the index is being built. Then it finds

- in the part of the index that is there: what the pass has reached, and what is settled, as it is at that moment;
- in the pass: all else, as it was noted, unless it was settled before the search began. (What is settled after that
  counts as it was noted.)

A flush ends all indexes; searches under way go on with what was noted.

An atom is text, never a number: Python hashes n to n mod 2**61 - 1, so that a client could store thousands of numbers
of one hash, and each step on the index would compare with all of them. Text is hashed with a key that no client knows.

A document is a value whose text is a JSON object; any other value has no members and is in no index.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

from kvstore.base.jsontext import atoms_named, loads
from kvstore.base.limits import KIB, MAX_INDEXES
from kvstore.store.garbage import Garbage
from kvstore.store.observing import Observed, Observer

#: An atomic JSON value as text; two have the same if and only if they are equal in JSON.
Atom = str
Index = dict[Atom, dict[bytes, None]]

#: Stands for a member that is not there.
ABSENT: Any = object()
#: Keys that the pass takes in one step; one, where a value is large.
_AT_ONCE = 16
_LARGE_BYTES = 4 * KIB


def atom_of(value: Any) -> Atom | None:
    """The atom of a JSON value, or None for an array or object. Takes time in proportion to the length of a number."""
    kind = value.__class__
    if kind is str:
        return f'"{value}'
    if kind is float and value.is_integer():
        value, kind = int(value), int
    if kind is int:
        return f"{value:x}"
    return repr(value) if kind is bool or kind is float or value is None else None


def members_of(value: bytes | None) -> dict[str, Any]:
    """The members of the document that a stored value holds; none if it is not a JSON object."""
    if value is None or value.__class__ is not bytes or value[:1] != b"{":
        return {}
    try:
        members: dict[str, Any] = loads(value)
    except ValueError:
        return {}
    return members


#: A document that was found: its key and its text.
Found = tuple[bytes, bytes]


class DocumentIndexes(Observer):
    """The indexes of one table. An observer of it while there are any."""

    def __init__(self, table: Observed) -> None:
        self._table = table
        self._by_subkey: OrderedDict[str, Index] = OrderedDict()
        self._building: dict[str, _Build] = {}

    def find(self, subkey: str, atom: Atom) -> Generator[Any, None, list[Found]]:
        """The documents that have `subkey` equal to `atom` now, in no order. In slices; see `kvstore.base.slices`."""
        if subkey not in self._by_subkey:
            yield from self._table.slicing.room()
        index = self._by_subkey.get(subkey)
        if index is not None:
            self._by_subkey.move_to_end(subkey)
            return list(self._entered(index, atom))
        build = self._building.get(subkey) or self._begin(subkey)
        search = build.begin_search(atom, self._entered(build.index, atom), self._table.living())
        try:
            yield from self._table.slicing.go_through(iter(build.step, False))
            self._end(build)
        finally:
            build.end_search(search)
            if not build.searches:
                self._abandon(build)
        return search.found

    def changed(self, key: bytes, before: bytes | None, after: bytes | None, event: bytes | None) -> None:
        """See `Observer`."""
        if before is after:
            return
        old, new = members_of(before), members_of(after)
        for subkey, index in self._by_subkey.items():
            _move(index, key, old.get(subkey, ABSENT), new.get(subkey, ABSENT))
        for subkey, build in self._building.items():
            _move(build.index, key, old.get(subkey, ABSENT), new.get(subkey, ABSENT))
            build.settle(key)

    def flushed(self) -> None:
        """See `Observer`."""
        for index in self._by_subkey.values():
            self._table.garbage.put(index)
        self._by_subkey.clear()
        self._building.clear()
        self._table.forget(self)

    def _entered(self, index: Index, atom: Atom) -> Iterator[Found]:
        table = self._table
        for key in filter(table.exists, index.get(atom, ())):
            yield key, table.values[key]

    def _begin(self, subkey: str) -> _Build:
        build = self._building[subkey] = _Build(subkey, self._table)
        self._table.observe(self)
        return build

    def _end(self, build: _Build) -> None:
        """The pass is through: its index is one like the others, unless it has become one, or there was a flush."""
        if self._building.get(build.subkey) is build:
            del self._building[build.subkey]
            while len(self._by_subkey) >= MAX_INDEXES:
                self._table.garbage.put(self._by_subkey.popitem(last=False)[1])
            self._by_subkey[build.subkey] = build.index

    def _abandon(self, build: _Build) -> None:
        """Nobody waits for it any more: if it is not through it ends here."""
        if self._building.get(build.subkey) is build:
            del self._building[build.subkey]
            self._table.garbage.put(build.index)
        build.let_go(self._table.garbage)
        if not self._building and not self._by_subkey:
            self._table.forget(self)


class _Search(NamedTuple):
    """A search that waits for a pass. `number`: how many began on this pass before it, and itself."""

    number: int
    atom: Atom
    lives: Callable[[bytes], bool]
    found: list[Found]


class _Build:
    """An index on its way: `index` is what is there of it. See the module."""

    def __init__(self, subkey: str, table: Observed) -> None:
        self.subkey = subkey
        self.index: Index = {}
        self.searches: dict[Atom, list[_Search]] = {}
        self._begun = 0
        #: Keys that the pass has still to reach, the next one last, and the value of each.
        self._keys = list(table.values)
        self._values = list(table.values.values())
        self._keys.reverse()
        self._values.reverse()
        #: Keys that changed since they were noted, with how many searches had begun by then.
        self._settled: dict[bytes, int] = {}

    def begin_search(self, atom: Atom, entered: Iterable[Found], lives: Callable[[bytes], bool]) -> _Search:
        """Have the pass look for `atom`, too. `entered`: what is found in the index now."""
        self._begun += 1
        search = _Search(self._begun, atom, lives, list(entered))
        self.searches.setdefault(atom, []).append(search)
        return search

    def end_search(self, search: _Search) -> None:
        """It has what it came for, or its client is gone."""
        self.searches[search.atom] = [other for other in self.searches[search.atom] if other is not search]
        if not self.searches[search.atom]:
            del self.searches[search.atom]

    def settle(self, key: bytes) -> None:
        """`key` has changed, and the index with it."""
        self._settled.setdefault(key, self._begun)

    def step(self) -> bool:
        """Enter a few of the keys that were noted; returns whether there are more."""
        few = 1 if max(map(len, self._values[-_AT_ONCE:]), default=0) > _LARGE_BYTES else _AT_ONCE
        pairs = zip(self._keys[: -few - 1 : -1], self._values[: -few - 1 : -1], strict=True)
        noted = {key: value for key, value in pairs if value.__class__ is bytes}
        del self._keys[-few:], self._values[-few:]
        for key, member in atoms_named(self.subkey, noted.items()):
            atom, settled = atom_of(member), self._settled.get(key)
            if settled is None:
                _add(self.index, atom, key)
            for search in self.searches.get(atom or "", ()):
                if (settled is None or settled >= search.number) and search.lives(key):
                    search.found.append((key, noted[key]))
        return bool(self._keys)

    def let_go(self, garbage: Garbage) -> None:
        """It is not needed any more."""
        garbage.put(self._keys)
        garbage.put(self._values)
        garbage.put(self._settled)


def _move(index: Index, key: bytes, before: Any, after: Any) -> None:
    """The member of the document at `key` was `before` and is `after`."""
    if before is not ABSENT:
        _remove(index, atom_of(before), key)
    if after is not ABSENT:
        _add(index, atom_of(after), key)


def _add(index: Index, atom: Atom | None, key: bytes) -> None:
    if atom is not None:
        keys = index.get(atom)
        if keys is None:
            index[atom] = {key: None}
        else:
            keys[key] = None


def _remove(index: Index, atom: Atom | None, key: bytes) -> None:
    keys = index.get(atom) if atom is not None else None
    if atom is not None and keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[atom]
