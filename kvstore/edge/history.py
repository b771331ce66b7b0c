"""How a server did: what a page draws over the last minutes and hours.

Once a second the counters are looked at, that are counted anyway: a request costs nothing more. What is kept is
bounded: ten minutes by the second and a day by the minute, 300 KB together. It begins with the server, and is gone with
it: for longer there is Prometheus.

Rates are what a counter grew by, per second; levels are what there is at the moment; times are quantiles since the
sample before: of the calls of all commands, and of the commits.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import TypeAlias

from kvstore.base.doubling import quantile
from kvstore.commands.histogram import Histogram
from kvstore.edge.allocations import resident_bytes
from kvstore.edge.status import Sources

#: Samples kept by the second, and by the minute.
SECONDS = 600
MINUTES = 24 * 60
_PER_MINUTE = 60
_NS = 1_000_000_000

_Measures: TypeAlias = dict[str, Callable[[Sources], float]]

#: What grows, shown as a rate. What takes longer to find out, the more clients there are, INFO's paces have just done.
RATES: _Measures = {
    "requests": lambda s: s.pace.total,
    "errors": lambda s: s.server.errors,
    "received_bytes": lambda s: s.received.total,
    "sent_bytes": lambda s: s.sent.total,
    "commits": lambda s: s.commit.figures.commits,
    "committed_requests": lambda s: s.commit.figures.requests,
    "committed_bytes": lambda s: s.commit.figures.bytes,
    "hits": lambda s: sum(table.hits for table in s.store.databases),
    "misses": lambda s: sum(table.misses for table in s.store.databases),
    "expired_keys": lambda s: sum(table.expired_count for table in s.store.databases),
    "evicted_keys": lambda s: s.server.memory.eviction.evicted,
}

#: What there is.
LEVELS: _Measures = {
    "clients": lambda s: len(s.server.clients),
    "blocked_clients": lambda s: s.server.blocked(),
    "keys": lambda s: sum(table.count() for table in s.store.databases),
    "memory_bytes": lambda s: s.server.memory.used.now_bytes(),
    "resident_bytes": lambda s: resident_bytes(),
    "log_bytes": lambda s: s.store.log.end,
    "checkpoint_bytes": lambda s: s.store.checkpoint_bytes,
}

#: Shares of the calls, in percent, and of the commits: so many took no longer than what is shown.
CALL_TIMES = {"call_p50_s": 50, "call_p99_s": 99, "call_p999_s": 99.9}
COMMIT_TIMES = {"commit_p50_s": 0.5, "commit_p99_s": 0.99}


class Series:
    """The newest samples of some measures, each a column. `names`: of the columns; `length`: most samples."""

    def __init__(self, names: list[str], length: int) -> None:
        self._columns = {name: array("d", bytes(8 * length)) for name in names}
        self._length = length
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._length)

    def add(self, sample: Mapping[str, float]) -> None:
        """One more; the oldest goes for it."""
        place = self._added % self._length
        for name, column in self._columns.items():
            column[place] = sample[name]
        self._added += 1

    def columns(self, newest: int | None = None) -> dict[str, list[float]]:
        """Each with its samples, the oldest first; or only the `newest` so many."""
        count = len(self) if newest is None else min(newest, len(self))
        first = (self._added - count) % self._length
        whole = {name: (column[first:] + column[:first])[:count] for name, column in self._columns.items()}
        return {name: list(column) for name, column in whole.items()}


class History:
    """See the module. `seconds`: by the second; `minutes`: by the minute. Each sample has `at_s`, too: its end, in
    seconds since the epoch.
    """

    def __init__(self, sources: Sources) -> None:
        names = ["at_s", *RATES, *LEVELS, *CALL_TIMES, *COMMIT_TIMES]
        self.seconds, self.minutes = Series(names, SECONDS), Series(names, MINUTES)
        self._by_second, self._by_minute = _Sampler(sources), _Sampler(sources)
        self._until_minute = _PER_MINUTE

    def sample(self) -> None:
        """To be called once a second, after INFO's paces."""
        self.seconds.add(self._by_second.sample())
        self._until_minute -= 1
        if not self._until_minute:
            self._until_minute = _PER_MINUTE
            self.minutes.add(self._by_minute.sample())


class _Sampler:
    """Knows what the counters were at the last sample."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._look()

    def _look(self) -> None:
        self._at = self._sources.reactor.seconds()
        self._totals = {name: read(self._sources) for name, read in RATES.items()}
        self._durations_ns = list(self._sources.commit.figures.durations_ns)
        self._calls = Histogram()
        for each in self._sources.server.statistics.histograms().values():
            self._calls.add_all(each)

    def sample(self) -> dict[str, float]:
        """What was since."""
        sources, at, totals = self._sources, self._at, self._totals
        durations_ns, calls = self._durations_ns, self._calls
        self._look()
        passed_s = max(self._at - at, 1e-3)
        # CONFIG RESETSTAT takes counts back.
        rates = {name: max(0.0, (self._totals[name] - before) / passed_s) for name, before in totals.items()}
        levels = {name: read(sources) for name, read in LEVELS.items()}
        took_ns = [now - before for now, before in zip(self._durations_ns, durations_ns, strict=True)]
        commits = {name: quantile(took_ns, share) / _NS for name, share in COMMIT_TIMES.items()}
        percentiles_ns = self._calls.since(calls).percentiles_ns(CALL_TIMES.values())
        called = {name: took_ns / _NS for name, took_ns in zip(CALL_TIMES, percentiles_ns, strict=True)}
        return {"at_s": sources.server.now_ms() / 1000, **rates, **levels, **called, **commits}
