"""The databases of a server, live: their tables, and what they have together: the open commit, the time of a request,
what is to be freed. No files: those are `store`'s.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.base.keyed_hash import KeyedHash
from kvstore.base.limits import DATABASES
from kvstore.base.slices import Slicing
from kvstore.base.value_type import Types
from kvstore.store.commit import OpenCommit
from kvstore.store.garbage import Garbage
from kvstore.store.log import Purpose
from kvstore.store.operations import FLUSH_ALL, LIBRARY_DATABASE, encode, encode_swap
from kvstore.store.state import Databases, State
from kvstore.store.table import Replaced, Table


class RequestClock:
    """The wall clock in milliseconds since the epoch, as a request sees it: the same from its beginning to its end.

    `now_us`: the clock in microseconds. `shown_ms`: the time of the request that executes, None if it has not asked.
    """

    __slots__ = ("_now_us", "_shown_us", "shown_ms")

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._shown_us = 0
        self.shown_ms: int | None = None

    def __call__(self) -> int:
        """The time."""
        if self.shown_ms is None:
            self._shown_us = self._now_us()
            self.shown_ms = self._shown_us // 1000
        return self.shown_ms

    def in_us(self) -> int:
        """The time, in microseconds."""
        self()
        return self._shown_us

    def stand_at(self, at_us: int) -> None:
        """It is this time, until it goes on."""
        self._shown_us, self.shown_ms = at_us, at_us // 1000

    def keep(self, now_us: Callable[[], int]) -> None:
        """The wall clock is this one from now on."""
        self._now_us = now_us
        self.go_on()

    def go_on(self) -> None:
        """A request has ended: the next one has a time of its own."""
        self.shown_ms = None


class Keyspace:
    """See the module. `databases`: their tables, by number; `table`: the first of them. `libraries`: of functions,
    their sources by their names; `tables`: all of these. `pending`: the open commit. `clock`: the time of the request
    that executes; whoever executes it lets it go on.

    `types`: of values. `now_us`: the wall clock in microseconds since the epoch. `reserve`: see `OpenCommit`.
    `hashed`: where keys lie for SCAN. `sequence`: the number of the first commit to come.
    """

    def __init__(
        self,
        types: Types,
        now_us: Callable[[], int],
        reserve: Callable[[int, Purpose], int],
        hashed: KeyedHash,
        databases: int = DATABASES,
        sequence: int = 1,
    ) -> None:
        self.types = types
        self.now_us = now_us
        self.clock = RequestClock(now_us)
        self.pending = OpenCommit(sequence, reserve)
        self.garbage = Garbage()
        slicing = Slicing()
        self.tables = [
            Table(types, number, self.clock, self.pending, self.garbage, slicing, hashed)
            for number in (*range(databases), LIBRARY_DATABASE)
        ]
        *self.databases, self.libraries = self.tables
        self.table = self.databases[0]
        self.pending.begin_in(self.table)
        #: Whether another server's log says what changes here: so nothing is removed by this one itself.
        self.is_follower = False

    def keep_time(self, now_us: Callable[[], int]) -> None:
        """The wall clock is this one from now on."""
        self.now_us = now_us
        self.clock.keep(now_us)

    def follows(self, follows: bool) -> None:
        """See `is_follower`."""
        self.is_follower = follows
        for table in self.tables:
            table.keeps_expired = follows

    def load(self, found: Databases) -> None:
        """Take over a recovered state, without recording anything; databases past ours are empty."""
        for table in self.tables:
            if table.number in found.by_number:
                table.load(found.by_number[table.number])

    def flush_all(self) -> None:
        """Remove every key of every database. Raises StorageFull; then nothing changed."""
        self.pending.record_everything(list(self.databases), encode(FLUSH_ALL), Replaced(self.databases))
        for table in self.databases:
            if table.values:
                table.replace(State(table.types))

    def swap(self, one: Table, other: Table) -> None:
        """Each of two databases has what the other had. Raises StorageFull; then nothing changed."""
        self.pending.record_everything([one, other], encode_swap(one.number, other.number), Swapped(one, other))
        one.swap_with(other)

    def tidy(self) -> bool:
        """Do a little of what is left to be done in the databases (`Table.tidy`); returns whether there is more."""
        self.clock.go_on()
        more = False
        for table in self.databases:
            if table.values or table.scan_order.is_built:
                more |= table.tidy()
        return self.garbage.free_some() or more

    def removed_bytes(self) -> int:
        """Of keys and values so far, more or less: what a compaction can give back."""
        return sum(table.removed_bytes for table in self.databases)


class Swapped:
    """Undoes that two tables were swapped."""

    def __init__(self, one: Table, other: Table) -> None:
        self._one = one
        self._other = other

    def put_back(self) -> None:
        """See `Undoable`."""
        self._one.swap_with(self._other)
