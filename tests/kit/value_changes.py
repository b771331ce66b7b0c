"""Changes of values of any type, drawn by hypothesis: of single values and of stores, and what is seen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kvstore.base.value_type import OF_PROCESS, Places, Types, Undo, ValueType, Words
from kvstore.store.state import State
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.store_files import Clock
from tests.kit.value_strategies import deadlines_ms, edits, words_of

#: Draws from a strategy.
Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
_DATABASES = 3
_KINDS = ["edit"] * 5 + ["write", "many", "delete", "deadline", "copy", "move", "flush", "swap", "library"]

_keys = st.sampled_from([b"", b"a", b"b", b"c\r\n"])


def check(examples: int, proof: Callable[..., None], *arguments: Any, shrink: bool = True) -> None:
    """Try `proof(draw, *arguments)` on so many examples."""

    @settings(
        max_examples=examples, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )  # fmt: skip
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        proof(data.draw, *arguments)

    tried()


def content(row: ValueType, value: Any) -> object:
    """All that can be seen of a value, its elements in their order."""
    return words_of(list(row.whole(value))), len(value), row.inner and row.inner.next_ms(value)


def apply(row: ValueType, value: Any, name: bytes, words: Words) -> Undo:
    """Do an edit."""
    return next(edit for edit in row.edits if edit.name == name).apply(value, words)


def grown(draw: Draw, row: ValueType, places: Places = OF_PROCESS) -> Any:
    """A value after some edits."""
    value = row.empty(places)
    for _ in range(draw(st.integers(0, 8))):
        apply(row, value, *draw(edits(row, value)))
    return value


def seen(state: State) -> dict[bytes, object]:
    """All that can be seen of a database."""
    assert state.deadlines.keys() <= state.values.keys() and state.inner.keys() <= state.values.keys()
    found: dict[bytes, object] = {}
    for key, value in state.values.items():
        row = state.types.by_class.get(value.__class__)
        inner = row.inner.next_ms(value) if row is not None and row.inner is not None else None
        assert state.inner.get(key) == inner, key
        found[key] = (value if row is None else content(row, value)), state.deadlines.get(key)
    return found


def all_seen(states: Iterable[tuple[int, State]]) -> dict[int, object]:
    """The same of all databases with any keys."""
    return {number: seen(state) for number, state in states if state.values}


def live(store: Store) -> dict[int, object]:
    """The same of a running store."""
    return all_seen((table.number, table) for table in store.tables)


def new_store(types: Types) -> tuple[SimulatedDisk, Store]:
    """A store on an empty disk."""
    disk, clock = SimulatedDisk(record=False), Clock("values")
    return disk, Store(disk, types, clock.now_us, clock.random_bytes, databases=_DATABASES)


def change(draw: Draw, store: Store) -> None:
    """A change of any kind, of any database, or of the libraries of functions."""
    table: Table = store.databases[draw(st.integers(0, _DATABASES - 1))]
    other: Table = store.databases[draw(st.integers(0, _DATABASES - 1))]
    key, other_key = draw(_keys), draw(_keys)
    kind = draw(st.sampled_from(_KINDS))
    value = table.values.get(key)
    if kind == "edit":
        row = table.types.by_class.get(value.__class__)
        if row is None:
            row = draw(st.sampled_from(table.types.others))
            table.delete(key)
            value = row.empty(table.types.places)
        table.edit(key, *draw(edits(row, value)))
    elif kind == "write":
        table.write(key, draw(st.binary(max_size=3)), draw(st.none() | deadlines_ms))
    elif kind == "many":
        keys = [b"key%02d" % number for number in range(draw(st.integers(0, 9)), 30)]
        for each in keys:
            table.write(each, b"v%d" % len(keys))
    elif kind == "delete":
        table.delete(draw(st.sampled_from([key, b"key12"])))
    elif kind == "deadline":
        table.exists(key) and table.set_deadline(key, draw(st.none() | deadlines_ms))
    elif kind == "copy" and value is not None:
        other.put(other_key, table.copy_of(value), table.deadline_ms(key))
    elif kind == "move" and value is not None:
        taken, deadline_ms = table.take(key)
        other.put(other_key, taken, deadline_ms)
    elif kind == "flush":
        store.flush_all() if draw(st.booleans()) else table.flush()
    elif kind == "swap" and table is not other:
        store.swap(table, other)
    elif kind == "library":
        change_libraries(store.libraries, draw(st.sampled_from([b"a", b"b"])), draw(st.sampled_from("-abc")))


def change_libraries(table: Table, name: bytes, change: str) -> None:
    """Remove all libraries (`-`), or give this one a source; remove it if it has just this one."""
    source = b"#!lua name=%b\n%b" % (name, change.encode())
    if change == "-":
        table.flush()
    elif table.values.get(name) == source:
        table.delete(name)
    else:
        table.write(name, source)


def changes(draw: Draw, store: Store, most: int = 4) -> None:
    """A request that does several things, and is done."""
    for _ in range(draw(st.integers(1, most))):
        change(draw, store)
    store.pending.undo.clear()
