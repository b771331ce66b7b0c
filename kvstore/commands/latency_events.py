"""What took long, and when: the events that LATENCY tells of, under Valkey's names where they mean the same.

| event | what took so long | noted in |
|---|---|---|
| `command`, `fast-command` | one request of a command, of one that is quick as a rule | `statistics` |
| `aof-fsync-always`, `aof-write` | a commit: written and synced, under `--sync always`; else written | `group_commit` |
| `fork` | starting the process that compacts | `compactor` |
| `log-seal`, `aof-rename` | sealing the log before a compaction; putting its checkpoint in place | `compactor` |
| `expire-cycle` | a round of removing keys past their deadline, and of other tidying | `upkeep` |
| `eviction-cycle` | a round of removing keys past `maxmemory` | whoever evicts |
| `eventloop` | a turn of the loop: all that the clients asked for in it, commits included | `reactor` |

Nothing is noted unless `latency-monitor-threshold` is above 0. Whoever knows how long something took compares it with
`threshold_ns`, or just calls `note`.

As in Valkey an event is kept by the second, the longest of each, for so many seconds in which there were some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

#: Seconds that are kept of each event. Valkey: LATENCY_TS_LEN.
_KEPT = 160
_NS_PER_MS = 1_000_000
_NEVER_NS = 2**63


class Sample(NamedTuple):
    """The longest of a second. `at_s`: since the epoch."""

    at_s: int
    took_ms: int


class Event:
    """One kind of event. `longest_ms`, `total_ms`, `count`: of all since the start, or since it was forgotten."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self.longest_ms = self.total_ms = self.count = 0

    def add(self, sample: Sample) -> None:
        """It has happened once more."""
        self.longest_ms = max(self.longest_ms, sample.took_ms)
        self.total_ms += sample.took_ms
        self.count += 1
        if self.samples and self.samples[-1].at_s == sample.at_s:
            sample = max(sample, self.samples.pop())
        self.samples.append(sample)


class LatencyEvents:
    """See the module. `now_ms`: the wall clock. `threshold_ns`: what takes less is not noted.

    `changed`: called with whether events are noted, when that is set.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.threshold_ns = _NEVER_NS
        self.by_name: dict[str, Event] = {}
        self.changed: list[Callable[[bool], None]] = []

    @property
    def is_on(self) -> bool:
        """Whether events are noted."""
        return self.threshold_ns < _NEVER_NS

    def set_threshold(self, threshold_ms: str) -> None:
        """The setting `latency-monitor-threshold` is this now; 0: nothing is noted."""
        self.threshold_ns = int(threshold_ms) * _NS_PER_MS or _NEVER_NS
        for changed in self.changed:
            changed(self.is_on)

    def note(self, name: str, took_ns: int) -> None:
        """Something took so long."""
        if took_ns < self.threshold_ns:
            return
        if name not in self.by_name:
            self.by_name[name] = Event(name)
        self.by_name[name].add(Sample(self._now_ms() // 1000, took_ns // _NS_PER_MS))

    def forget(self, names: list[str]) -> int:
        """Forget events of these names, in any case of letters, all for none. Returns how many kinds there were."""
        lower = {name.lower() for name in names}
        gone = [name for name in self.by_name if not names or name in lower]
        for name in gone:
            del self.by_name[name]
        return len(gone)
