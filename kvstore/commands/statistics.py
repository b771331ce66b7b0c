"""What one server counts of each command: INFO's commandstats and latencystats, and LATENCY HISTOGRAM.

The counters belong to the server, not to the table of commands, which all servers of a process share.

As in Valkey `calls` are those that executed, `failed` those of them that ended in an error, `rejected` those that were
refused before: a wrong number of words, or a write on a full disk.

A look at the clock takes 50 ns, a GET 5 us. So requests that execute as one are timed as one, each taking an equal
part; and of single requests that were quick the next ones are not timed: the one after them counts for them, too. While
events of latency are noted (`latency_events`) each single one is timed, or else some would not be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from kvstore.base.errors import RequestError, StorageFull
from kvstore.commands.histogram import Histogram
from kvstore.commands.latency_events import LatencyEvents
from kvstore.commands.registry import FAST, Command, table

#: A call that took less, in nanoseconds, is quick: the next _UNTIMED single ones are not timed.
_QUICK_NS = 100_000
_UNTIMED = 15


class CommandStatistics:
    """The counters of one command `row` in one server. `untimed`: how many single calls need not be timed yet.

    `events`: are told of what was not quick. `skips`: what `untimed` becomes when a call was quick. `tracks`: whether
    the times of calls are noted in a histogram.
    """

    __slots__ = (
        "_events", "_histogram", "_last_ns", "_sampled", "_took_ns", "calls", "failed", "rejected", "row", "skips",
        "tracks", "untimed",
    )  # fmt: skip

    def __init__(self, row: Command, events: LatencyEvents) -> None:
        self.row = row
        self._events = events
        self.tracks = True
        self.skips = _UNTIMED
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.calls = self.rejected = self.failed = 0
        #: For how many calls the times stand that were taken, how long these took, and the last of them.
        self._sampled = self._took_ns = self._last_ns = 0
        self.untimed = 0
        self._histogram = Histogram()

    def add_time(self, nanoseconds: int) -> None:
        """The call counted last took so long, and so did those that were not timed before it."""
        calls = self.calls - self._sampled
        if calls > 0:  # else it was refused; from here on `_sample`, opened out for speed
            self._last_ns = nanoseconds
            self._sampled += calls
            self._took_ns += nanoseconds * calls
            if self.tracks:
                self._histogram.add(nanoseconds, calls)
        if nanoseconds < _QUICK_NS:
            self.untimed = self.skips
        elif nanoseconds >= self._events.threshold_ns:
            self._note(nanoseconds)

    def add_times(self, nanoseconds: int, calls: int) -> None:
        """So many calls, counted already, took so long together."""
        each_ns = nanoseconds // calls
        self._sample(each_ns, calls)
        if each_ns >= self._events.threshold_ns:
            self._note(each_ns)

    def not_called(self, calls: int) -> None:
        """So many, of whose times it was told last, are to be executed again."""
        self.calls -= calls
        self._sample(self._last_ns, -calls)

    def goes_on(self) -> None:
        """The call counted last goes on in slices: how long it takes is only known when it has `finished`."""
        if self._sampled >= self.calls:  # its first slice was timed already
            self._sample(self._last_ns, -1)
        self._sampled += 1

    def finished(self, nanoseconds: int) -> None:
        """One that went on in slices took so long, of which nobody had to wait for more than a slice."""
        self._sampled -= 1
        self._sample(nanoseconds, 1)

    def histogram(self) -> Histogram:
        """Of the calls so far, since the last `reset`: not to be changed."""
        self._sample(self._last_ns, max(0, self.calls - self._sampled))
        return self._histogram

    def track(self, tracks: bool) -> None:
        """From now on note times in the histogram, or do not."""
        self.histogram()
        self.tracks = tracks

    def _sample(self, nanoseconds: int, calls: int) -> None:
        if calls:
            self._last_ns = nanoseconds
            self._sampled += calls
            self._took_ns += nanoseconds * calls
            if self.tracks:
                self._histogram.add(nanoseconds, calls)

    def _note(self, nanoseconds: int) -> None:
        self._events.note("fast-command" if self.row.flags & FAST else "command", nanoseconds)

    def count_error(self, error: RequestError, request: list[bytes]) -> None:
        """A request ended in an error."""
        if isinstance(error, StorageFull) or not self.row.accepts(len(request)):
            self.rejected += 1
        else:
            self.calls += 1
            self.failed += 1

    def shown(self) -> str:
        """As INFO shows them, under Redis's names."""
        usec_per_call = self._took_ns / self._sampled / 1000 if self._sampled > 0 else 0.0
        return (
            f"calls={self.calls},usec={round(usec_per_call * self.calls)},usec_per_call={usec_per_call:.2f},"
            f"rejected_calls={self.rejected},failed_calls={self.failed}"
        )


class Statistics(dict[Command, CommandStatistics]):
    """All of a server's, by the row of the command. `events`: see `CommandStatistics`; `tracks`: see `track`."""

    def __init__(self, events: LatencyEvents) -> None:
        super().__init__()
        self._events = events
        self.tracks = True
        self._skips = _UNTIMED
        #: Which rows have no quick way now, by the reason.
        self._held: dict[str, Callable[[Command], bool]] = {}

    def __missing__(self, row: Command) -> CommandStatistics:
        self[row] = each = CommandStatistics(row, self._events)
        each.tracks, each.skips = self.tracks, self._skips
        return each

    def in_order(self) -> list[CommandStatistics]:
        """Of the commands that were ever asked for, and some others, in the order of the table."""
        return sorted(self.values(), key=lambda each: each.row.name.split("|"))

    def histograms(self) -> dict[Command, Histogram]:
        """Of the commands that were called, in the order of the table; not to be changed."""
        found = ((each.row, each.histogram()) for each in self.in_order())
        return {row: histogram for row, histogram in found if histogram.count}

    def track(self, tracks: bool) -> None:
        """From now on note in histograms how long calls take, or do not."""
        self.tracks = tracks
        for each in self.values():
            each.track(tracks)

    def time_all(self, times: bool) -> None:
        """From now on time each single call, or not those that follow a quick one."""
        self._skips = 0 if times else _UNTIMED
        for each in self.values():
            each.skips = self._skips
            each.untimed = min(each.untimed, self._skips)

    @cached_property
    def plain(self) -> dict[bytes, CommandStatistics]:
        """Those of the table's plain rows, by the names that clients send; one dictionary for good."""
        return dict(self._every_plain)

    @cached_property
    def sortable(self) -> dict[bytes, CommandStatistics]:
        """Those of them that name one key, with the first argument, and that many requests of can execute at once."""
        return dict(self._every_sortable)

    @cached_property
    def _every_plain(self) -> dict[bytes, CommandStatistics]:
        return {name: self[row] for name, row in table.plain.items()}

    @cached_property
    def _every_sortable(self) -> dict[bytes, CommandStatistics]:
        return {name: each for name, each in self._every_plain.items() if _is_sortable(each.row)}

    def withhold(self, why: str, held: Callable[[Command], bool] | None) -> None:
        """From now on `plain` and `sortable` have none of the rows that are `held`; None: none is, for this reason."""
        self._held.pop(why, None)
        if held is not None:
            self._held[why] = held
        for rows, every in ((self.plain, self._every_plain), (self.sortable, self._every_sortable)):
            kept = every
            for is_held in self._held.values():
                kept = {name: each for name, each in kept.items() if not is_held(each.row)}
            rows.clear()
            rows.update(kept)

    def reset(self) -> None:
        """Begin anew."""
        for each in self.values():
            each.reset()


#: For clients whose requests have no quick way.
NO_ROWS: dict[bytes, CommandStatistics] = {}


def _is_sortable(row: Command) -> bool:
    return row.many is not None and row.keys == (1, 1, 1)
