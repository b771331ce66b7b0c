"""Indexes of documents by a member: they appear when asked for.

The first `query` on a subkey builds the index of that subkey (one pass over the table, during which nothing else is
done: some 1.7 s for a million documents that have the subkey, half a second if none has); from then on every write
maintains the indexes that exist, and no others. An index maps each atomic JSON value to the keys of the documents
that have the subkey equal to it. Equality is JSON's: `true` is not 1, and 1 equals 1.0. At most MAX_INDEXES exist;
the one least recently asked for goes first.

An atom is text, never a number: Python hashes n to n mod 2**61 - 1, so that a client could store thousands of numbers
of one hash, and each step on the index would compare with all of them. Text is hashed with a key that no client knows.

A document is a value whose text is a JSON object; any other value has no members and is in no index.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from kvstore.base.jsontext import atoms_named, loads
from kvstore.base.limits import MAX_INDEXES

if TYPE_CHECKING:
    from kvstore.store.table import Table

#: An atomic JSON value as text; two have the same if and only if they are equal in JSON.
Atom = str


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


class DocumentIndexes:
    """The indexes of one table. An observer of it while there are any."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._by_subkey: OrderedDict[str, dict[Atom, dict[bytes, None]]] = OrderedDict()

    def find(self, subkey: str, value: Any) -> list[bytes]:
        """The keys of the documents whose member `subkey` equals the atomic JSON `value`.

        Keys past their deadline may be among them. Raises ValueError if `value` is an array or object.
        """
        atom = atom_of(value)
        if atom is None:
            raise ValueError("only an atomic value (string, number, true, false or null) can be asked for")
        index = self._by_subkey.get(subkey)
        if index is None:
            index = self._build(subkey)
        self._by_subkey.move_to_end(subkey)
        return list(index.get(atom, ()))

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """See `Observer`."""
        if before is after:
            return
        old, new = members_of(before), members_of(after)
        for subkey, index in self._by_subkey.items():
            if subkey in old:
                _remove(index, atom_of(old[subkey]), key)
            if subkey in new:
                _add(index, atom_of(new[subkey]), key)

    def flushed(self) -> None:
        """See `Observer`."""
        self._by_subkey.clear()
        self._table.forget(self)

    def _build(self, subkey: str) -> dict[Atom, dict[bytes, None]]:
        index: dict[Atom, dict[bytes, None]] = {}
        for key, value in atoms_named(subkey, self._table.values.items()):
            _add(index, atom_of(value), key)
        while len(self._by_subkey) >= MAX_INDEXES:
            self._by_subkey.popitem(last=False)
        self._by_subkey[subkey] = index
        self._table.observe(self)
        return index


def _add(index: dict[Atom, dict[bytes, None]], atom: Atom | None, key: bytes) -> None:
    if atom is not None:
        keys = index.get(atom)
        if keys is None:
            index[atom] = {key: None}
        else:
            keys[key] = None


def _remove(index: dict[Atom, dict[bytes, None]], atom: Atom | None, key: bytes) -> None:
    keys = index.get(atom) if atom is not None else None
    if atom is not None and keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[atom]
