"""When keys were last asked for, or how often: for `eviction`, and OBJECT IDLETIME and FREQ. Noted only under an LRU or
LFU policy.

| `maxmemory-policy` | of each key is noted | of a key not asked for since the policy was set |
|---|---|---|
| `*-lru` | when it was last asked for | idle since then |
| `*-lfu` | the same, and a counter that grows with the logarithm of accesses, and falls with time: Valkey's | 0 |
| any other | nothing | |

While accesses are noted, requests that name keys have no quick way (`Statistics.withhold`): so nobody pays otherwise.
CLIENT NO-TOUCH keeps a client's requests from being noted, but for TOUCH.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from kvstore.base.chance import Chance
from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.row import Command
from kvstore.commands.statistics import Statistics
from kvstore.store.table import Table

#: LFU_INIT_VAL, and the most that its eight bits hold.
_FIRST, _MOST, _COUNTER_BITS = 5, 255, 8
#: Times are noted in ticks.
_TICK_MS = 100
_TICKS_PER_MINUTE = 60_000 // _TICK_MS
#: What looks at keys without asking for them (LOOKUP_NOTOUCH).
_LOOKS_ONLY = frozenset(["EXISTS", "EXPIRETIME", "PEXPIRETIME", "PTTL", "TTL", "TYPE", "MEMORY|USAGE"]) | {
    f"OBJECT|{name}" for name in ("ENCODING", "FREQ", "IDLETIME", "REFCOUNT")
}
#: Notes of keys that are gone, besides as many as there are keys, before they are looked for.
_STALE = 1000


class Accesses:
    """See the module. `policy`: `lru`, `lfu`, or empty. `now_ms`: the clock. `chance`: of the counter."""

    def __init__(
        self, configuration: Configuration, statistics: Statistics, now_ms: Callable[[], int], chance: Chance
    ) -> None:
        self._configuration = configuration
        self._statistics = statistics
        self._now_ms = now_ms
        self._chance = chance
        self.policy = ""
        self._began_ms = 0
        #: Of each database, by key: when it was last asked for, and under LFU the counter then in the lowest bits: one
        #: number, which is the same object for all keys that were asked for within a tenth of a second.
        self._noted: dict[Table, dict[bytes, int]] = {}
        self._now = 0
        self.choose(configuration.text("maxmemory-policy"))

    def choose(self, name: str) -> None:
        """`maxmemory-policy` is this now."""
        policy = name.rpartition("-")[2]
        policy = policy if policy in ("lru", "lfu") else ""
        if policy != self.policy:
            self.policy = policy
            self._began_ms = self._now_ms()
            self._noted.clear()
            self._statistics.withhold("accesses", attrgetter("has_keys") if policy else None)

    def note(self, table: Table, client: Client, row: Command, request: list[bytes]) -> None:
        """A request was executed."""
        if row.name in _LOOKS_ONLY or ("T" in client.switches and row.name != "TOUCH"):
            return
        noted, now = self._noted.setdefault(table, {}), self._ticks()
        for key in row.keys_of(request):
            if key not in table.values:
                noted.pop(key, None)
            elif self.policy == "lru":
                noted[key] = now
            else:
                before = noted.get(key)
                counter = _FIRST if before is None else self._counted(self._decayed(before))
                noted[key] = now << _COUNTER_BITS | counter
        if len(noted) > 2 * len(table.values) + _STALE:
            self._noted[table] = {key: each for key, each in noted.items() if key in table.values}

    def _ticks(self) -> int:
        """Since the epoch; one object as long as it is the same number, for all keys that note it."""
        now = self._now_ms() // _TICK_MS
        if now != self._now:
            self._now = now
        return self._now

    def idle_ms(self, table: Table, key: bytes) -> int:
        """For how long nobody has asked for a key, to a tenth of a second; 0 without a policy."""
        if not self.policy:
            return 0
        noted = self._noted.get(table, {}).get(key)
        if noted is None:
            return max(0, self._now_ms() - self._began_ms)
        at = noted if self.policy == "lru" else noted >> _COUNTER_BITS
        return max(0, self._ticks() - at) * _TICK_MS

    def frequency(self, table: Table, key: bytes) -> int:
        """The counter of a key, under LFU."""
        return self._decayed(self._noted.get(table, {}).get(key, 0))

    def _decayed(self, noted: int) -> int:
        """It falls by one in so many minutes."""
        at, counter = noted >> _COUNTER_BITS, noted & _MOST
        minutes = self._configuration.number("lfu-decay-time")
        return max(0, counter - (self._ticks() - at) // (minutes * _TICKS_PER_MINUTE)) if minutes else counter

    def _counted(self, counter: int) -> int:
        """The higher it is, the less likely it grows."""
        factor = self._configuration.number("lfu-log-factor")
        grows = self._chance.random() * (max(0, counter - _FIRST) * factor + 1) < 1
        return min(_MOST, counter + grows)
