"""What one server counts of each command: INFO's commandstats.

The counters belong to the server, not to the table of commands, which all servers of a process share.

As in Valkey `calls` are those that executed, `failed` those of them that ended in an error, `rejected` those that were
refused before: a wrong number of words, or a write on a full disk.

A look at the clock takes 50 ns, a GET 5 us. So requests that execute as one are timed as one, and of single requests
that were quick the next ones are not timed: they count as the timed ones do, on an average.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from kvstore.base.errors import RequestError, StorageFull
from kvstore.commands.registry import Command, table

#: A call that took less, in nanoseconds, is quick: the next _UNTIMED single ones are not timed.
_QUICK_NS = 100_000
_UNTIMED = 15


class CommandStatistics:
    """The counters of one command `row` in one server. `untimed`: how many single calls need not be timed yet."""

    __slots__ = ("_timed", "_timed_ns", "calls", "failed", "rejected", "row", "untimed")

    def __init__(self, row: Command) -> None:
        self.row = row
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.calls = self.rejected = self.failed = 0
        self.untimed = self._timed = self._timed_ns = 0

    def add_time(self, nanoseconds: int, calls: int = 1) -> None:
        """So many calls took so long together; 0 calls for a further slice of one."""
        self._timed += calls
        self._timed_ns += nanoseconds
        if calls == 1 and nanoseconds < _QUICK_NS:
            self.untimed = _UNTIMED

    def count_error(self, error: RequestError, request: list[bytes]) -> None:
        """A request ended in an error."""
        if isinstance(error, StorageFull) or not self.row.accepts(len(request)):
            self.rejected += 1
        else:
            self.calls += 1
            self.failed += 1

    def shown(self) -> str:
        """As INFO shows them, under Redis's names."""
        usec_per_call = self._timed_ns / self._timed / 1000 if self._timed else 0.0
        return (
            f"calls={self.calls},usec={round(usec_per_call * self.calls)},usec_per_call={usec_per_call:.2f},"
            f"rejected_calls={self.rejected},failed_calls={self.failed}"
        )


class Statistics(dict[Command, CommandStatistics]):
    """All of a server's, by the row of the command."""

    def __init__(self) -> None:
        super().__init__()
        #: Which rows have no quick way now, by the reason.
        self._held: dict[str, Callable[[Command], bool]] = {}

    def __missing__(self, row: Command) -> CommandStatistics:
        self[row] = CommandStatistics(row)
        return self[row]

    @cached_property
    def plain(self) -> dict[bytes, CommandStatistics]:
        """Those of the table's plain rows, by the names that clients send; one dictionary for good."""
        return {name: self[row] for name, row in table.plain.items()}

    @cached_property
    def sortable(self) -> dict[bytes, CommandStatistics]:
        """Those of them that name one key, with the first argument, and that many requests of can execute at once."""
        return {name: each for name, each in self.plain.items() if _is_sortable(each.row)}

    def withhold(self, why: str, held: Callable[[Command], bool] | None) -> None:
        """From now on `plain` and `sortable` have none of the rows that are `held`; None: none is, for this reason."""
        self._held.pop(why, None)
        if held is not None:
            self._held[why] = held
        plain = {
            name: self[row]
            for name, row in table.plain.items()
            if not any(is_held(row) for is_held in self._held.values())
        }
        sortable = {name: each for name, each in plain.items() if _is_sortable(each.row)}
        for rows, kept in ((self.plain, plain), (self.sortable, sortable)):
            rows.clear()
            rows.update(kept)

    def reset(self) -> None:
        """Begin anew."""
        for each in self.values():
            each.reset()


def _is_sortable(row: Command) -> bool:
    return row.many is not None and row.keys == (1, 1, 1)
