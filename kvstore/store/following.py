"""A follower's side of a group: the operations of a frame that another server made, applied to the live databases.

Each is applied by the mutator of `Table` or `Keyspace` that records just that operation, so that whoever observes
(indexes, WATCH, the order of SCAN, keyspace events, caches of clients) and whoever waits for a key sees it as if the
change had been made here. What is recorded by that is the frame's own body again, which the store has; it also knows
from it how to undo: a frame that cannot be applied whole has changed nothing.

Time stands still meanwhile, long ago: no key has expired, until the log says that it is removed.

The log holds effects, not requests: so the event of a change is that of its operation. A key that INCR changed at the
leader was `set` here, a renamed one `del` and what builds its value; a key is `expired` if it is removed when its
deadline has passed, else it was `del`.

Rejected: to apply the operations to the state alone, as recovery does, and to tell observers that everything changed
(each WATCH would fail, each index be built again, with every frame); the names of events in the log (a third more
bytes for what nearly nobody listens to).
"""

from __future__ import annotations

from kvstore.store.commit import NO_ROOM_AT_ALL
from kvstore.store.keyspace import Keyspace
from kvstore.store.log import Purpose
from kvstore.store.observing import DELETED, EXPIRED
from kvstore.store.operations import (
    ABOUT_DATABASES,
    DELETE,
    EXPIRE,
    FLUSH_ALL,
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
    split_select,
)
from kvstore.store.table import Table

#: More than any frame takes: there is room for it already.
_ROOM = 1 << 62
#: Before any deadline.
_LONG_AGO_US = -(1 << 62)


def apply(keyspace: Keyspace, body: bytes, time_ms: int) -> int:
    """Apply the operations of a frame, written at that time, and record them; returns how many there are.

    Raises BadOperation; then nothing changed.
    """
    pending, clock = keyspace.pending, keyspace.clock
    pending.room = _ROOM
    clock.stand_at(_LONG_AGO_US)
    try:
        count = _apply_alike(keyspace, body)
        return _apply_each(keyspace, decode(body), time_ms) if count is None else count
    except (ValueError, LookupError, TypeError) as error:
        pending.take_back()
        raise BadOperation(f"not an operation: {error!r}") from error
    except BaseException:
        pending.take_back()
        raise
    finally:
        pending.undo.clear()
        pending.room = NO_ROOM_AT_ALL
        clock.go_on()


def purpose(body: bytes) -> Purpose:
    """What a frame needs its room for, as if its operations were recorded one by one. Raises BadOperation."""
    kinds = {operation[0] for operation in decode(body)} - {SELECT, LIBRARIES}
    if kinds <= {FLUSH_DATABASE, FLUSH_ALL, SWAP}:
        return Purpose.FLUSH if kinds else Purpose.REMOVE
    return Purpose.REMOVE if kinds <= {DELETE} else Purpose.GROW


def _apply_alike(keyspace: Keyspace, body: bytes) -> int | None:
    """Apply a body of strings alike, the bulk of most logs, at once. Returns how many operations there are; None,
    having done nothing, for any other.
    """
    number, rest = split_select(body)
    alike = keyspace.types.plain.alike(rest)
    if alike is None:
        return None
    keys, values = zip(*alike.pairs, strict=True)
    written = _table(keyspace, number).write_strings(list(keys), list(values), rest)
    return alike.number + (rest is not body) if written else None


def _apply_each(keyspace: Keyspace, operations: list[Operation], time_ms: int) -> int:
    table = keyspace.table
    for operation in operations:
        kind = operation[0]
        if kind == SELECT:
            table = _table(keyspace, int(operation[1]))
        elif kind == LIBRARIES:
            table = keyspace.libraries
        elif kind in ABOUT_DATABASES:
            keyspace.clock.go_on()  # to remove or swap whole databases asks for no time, but who is told of it may
            _apply_to_databases(keyspace, table, operation)
            keyspace.clock.stand_at(_LONG_AGO_US)
        elif len(operation) == 1:
            raise UnknownOperation(kind)
        else:
            _apply_to_key(table, operation, time_ms)
    return len(operations)


def _apply_to_databases(keyspace: Keyspace, table: Table, operation: Operation) -> None:
    if operation[0] == SWAP:
        one, other = operation[1:]
        keyspace.swap(_table(keyspace, int(one)), _table(keyspace, int(other)))
    elif operation[0] == FLUSH_DATABASE:
        table.flush()
    else:
        keyspace.flush_all()


def _apply_to_key(table: Table, operation: Operation, time_ms: int) -> None:
    kind, key = operation[0], operation[1]
    if kind == table.types.plain.operation:
        table.write(key, operation[2], int(operation[4]) if len(operation) == 5 else None)
    elif kind == DELETE:
        table.delete(key, EXPIRED if table.deadlines.get(key, time_ms + 1) <= time_ms else DELETED)
    elif kind == EXPIRE:
        table.set_deadline(key, int(operation[2]))
    elif kind == PERSIST:
        table.set_deadline(key, None)
    else:
        table.edit(key, kind, operation[2:])


def _table(keyspace: Keyspace, number: int) -> Table:
    """The database of that number. Raises BadOperation."""
    if number == LIBRARY_DATABASE:
        return keyspace.libraries
    if not 0 <= number < len(keyspace.databases):
        raise BadOperation(f"there is something in database {number}, but --databases is {len(keyspace.databases)}")
    return keyspace.databases[number]
