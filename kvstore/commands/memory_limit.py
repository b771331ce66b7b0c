"""`maxmemory`: how much memory the process may have, and what is done when it has more.

How much there is in use (`used_memory`) takes a while to find out: it is looked at ten times a second, and in between
whenever the log has grown by so much that the limit might be passed. Nothing else is paid for it while there is memory
left; without a limit nothing at all.

| the memory | requests that grow something (Valkey's flag `denyoom`), blocks with one, scripts | others |
|---|---|---|
| is enough | are executed | are executed |
| is too much, and some keys may go | are executed, after keys were evicted, for some time at most | are executed |
| is too much, and none may go | are refused | are executed |

Keys go before a request, never inside one, each as a request of its own: its removal is in the log, and who waits,
watches, caches or listens hears of it. What is left is done between requests. While memory is short the requests of the
first column have no quick way (`Statistics.withhold`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from kvstore.base.chance import Chance
from kvstore.base.errors import Failure, StorageFull
from kvstore.base.limits import KIB
from kvstore.base.slices import SLICE_NS
from kvstore.commands.accesses import Accesses
from kvstore.commands.configuration import Configuration
from kvstore.commands.eviction import Eviction
from kvstore.commands.latency_events import LatencyEvents
from kvstore.commands.row import RUNS, Command
from kvstore.commands.statistics import Statistics
from kvstore.commands.used_memory import Allocators, UsedMemory
from kvstore.store.store import Store

#: The commands that have Valkey's flag `denyoom`, and our own that write as these do.
_GROW = """
    APPEND BITFIELD BITOP BLMOVE BRPOPLPUSH COPY DECR DECRBY FUNCTION|LOAD FUNCTION|RESTORE GEOADD GEORADIUS
    GEORADIUSBYMEMBER GEOSEARCHSTORE GETSET HINCRBY HINCRBYFLOAT HMSET HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT INSERT
    LINSERT LMOVE LPUSH LPUSHX LSET MSET MSETEX MSETNX PFADD PFDEBUG PFMERGE PSETEX RESTORE RESTORE-ASKING RPOPLPUSH
    RPUSH RPUSHX SADD SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SORT SUNIONSTORE XADD XGROUP|CREATE
    XGROUP|CREATECONSUMER XSETID ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZRANGESTORE ZUNIONSTORE
"""
GROW = frozenset(_GROW.split())
#: The memory is looked at after so much more in the log: this part of what is left, since a byte in the log may take
#: some in memory; at least so many bytes.
_LEFT_PART, _LEAST_STEP_BYTES = 8, KIB
#: When memory is short again so soon, more keys are evicted than have to be, each time twice as many, from so many
#: bytes to this part of the limit: so that most requests have their quick way.
_SOON_NS, _LEAST_MORE_BYTES, _MORE_PART = 100_000_000, 4 * KIB, 256
#: How long keys are evicted before a request, whatever `maxmemory-eviction-tenacity` says.
_MOST_NS = 10_000_000
_NS_PER_MS = 1_000_000


def out_of_memory() -> Failure:
    """The error for what would grow something."""
    return Failure("command not allowed when used memory > 'maxmemory'.", "OOM")


class MemoryLimit:
    """See the module. `is_over`: memory is short; `is_out`: and there is no key left that may go.

    `used`: how much there is in use. `steady_ns`: a steady clock. `is_paused`: whether nothing is to be evicted now.
    """

    def __init__(
        self,
        store: Store,
        configuration: Configuration,
        statistics: Statistics,
        accesses: Accesses,
        chance: Chance,
        steady_ns: Callable[[], int],
        is_paused: Callable[[], bool],
        latency: LatencyEvents,
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._statistics = statistics
        self.steady_ns = steady_ns
        self._is_paused = is_paused
        self._latency = latency
        self.eviction = Eviction(store.databases, configuration, accesses, chance)
        self.used = UsedMemory(store, lambda: self.steady_ns())
        self.limit_bytes = 0
        self.is_over = self.is_out = False
        self._changed_ns = self._exceeded_ns = self._more_bytes = 0
        self._accesses = accesses
        configuration.obey("maxmemory", lambda _: self.choose())
        configuration.obey("maxmemory-policy", self._choose_policy)

    def choose(self) -> None:
        """`maxmemory` is what the configuration has now."""
        before, self.limit_bytes = self.limit_bytes, self._configuration.number("maxmemory")
        self.used.ask_anew()
        if self.limit_bytes:
            self.look()
        elif before:
            self._store.watch_growth(None)
            self._note(is_over=False)

    def measure_by(self, allocators: Allocators, startup_bytes: int) -> None:
        """`allocators` tell how much is allocated; `startup_bytes` were, before there was any data."""
        self.used.measure_by(allocators, startup_bytes)
        self.choose()

    def _choose_policy(self, name: str) -> None:
        self._accesses.choose(name)
        self.eviction.policy_changed()
        self.is_out = False

    def excess_bytes(self) -> int:
        """By how much it is too much; below 0 for what is left."""
        return self.used.limited_bytes() - self.limit_bytes

    def look(self) -> None:
        """See whether memory is short. Not to be called without a limit."""
        excess = self.excess_bytes()
        self._note(is_over=excess > 0)
        self._store.watch_growth(self.look, max(_LEAST_STEP_BYTES, -excess // _LEFT_PART))

    def see_to_it(self) -> bool:
        """Look, and evict for a slice if need be: to be called now and then, between requests. Returns whether there is
        more to do.
        """
        if not self.limit_bytes:
            return False
        self.look()
        return self.make_room(SLICE_NS)

    def _note(self, *, is_over: bool) -> None:
        if is_over != self.is_over:
            self.is_over = is_over
            self._statistics.withhold("memory", self.is_asked if is_over else None)
            self._note_change(self.steady_ns())
        if not is_over:
            self.is_out = False

    def _note_change(self, now_ns: int) -> None:
        """Memory is short, or not any more."""
        since_ns = now_ns - self._changed_ns
        self._changed_ns = now_ns
        if not self.is_over:
            self._exceeded_ns += since_ns
        elif since_ns > _SOON_NS:
            self._more_bytes = 0
        else:
            self._more_bytes = min(max(_LEAST_MORE_BYTES, 2 * self._more_bytes), self.limit_bytes // _MORE_PART)

    def exceeded_ms(self) -> tuple[int, int]:
        """For how long memory has been short, altogether, and by now; 0 if it is not."""
        now_ns = self.steady_ns() - self._changed_ns if self.is_over else 0
        return (self._exceeded_ns + now_ns) // _NS_PER_MS, now_ns // _NS_PER_MS

    def reset_counters(self) -> None:
        """Count what is evicted, and for how long memory is short, from now on."""
        self.eviction.evicted = self._exceeded_ns = 0
        if self.is_over:
            self._changed_ns = self.steady_ns()

    @staticmethod
    def is_asked(row: Command) -> bool:
        """Whether requests of this command have to ask while memory is short."""
        return row.name in GROW or bool(row.flags & RUNS)

    def check(self, row: Command, queued: list[tuple[Command, list[bytes]]] | None) -> None:
        """A request is about to begin, and memory is short: evict keys. Raises Failure if it must not, since it may
        grow something. `queued`: the block of its client.
        """
        self.make_room(self._patience_ns())
        rows = [each for each, _ in queued or ()] if row.name == "EXEC" else [row]
        if self.is_out and any(each.name in GROW for each in rows):
            raise out_of_memory()

    def _patience_ns(self) -> int:
        """Valkey's evictionTimeLimitUs, up to a limit."""
        tenacity = self._configuration.number("maxmemory-eviction-tenacity")
        return min(_MOST_NS, round(50_000 * tenacity if tenacity <= 10 else 500_000 * 1.15 ** (tenacity - 10)))

    def make_room(self, patience_ns: int) -> bool:
        """Evict keys while memory is short, for so long at most, but one at least; between requests. Returns whether
        there is more to do.

        Who is to hear of it is for the caller to tell.
        """
        if not self.is_over or self._is_paused():
            return False
        began_ns = self.steady_ns()
        until_ns = began_ns + patience_ns
        self._free_garbage(until_ns)
        excess = self.excess_bytes()
        if excess > 0:
            excess += self._more_bytes
        is_out, freed_bytes, removed_bytes = self.eviction.is_off, 0, self._store.removed_bytes()
        is_late = bool(len(self._store.garbage))  # to free that may be enough
        while excess > freed_bytes and not is_out and not is_late:
            freed_bytes += (freed := self._evict()) or 0
            is_out, is_late = freed is None, self.steady_ns() >= until_ns
        self.used.evicted(freed_bytes, self._store.removed_bytes() - removed_bytes)
        self.look()
        self.is_out = self.is_over and is_out
        self._latency.note("eviction-cycle", self.steady_ns() - began_ns)
        return self.is_over and not is_out

    def _free_garbage(self, until_ns: int) -> None:
        """What was let go of before, and is still there."""
        garbage = self._store.garbage
        while len(garbage) and self.steady_ns() < until_ns:
            garbage.free_some()
            self.used.ask_anew()

    def _evict(self) -> int | None:
        """Returns about how many bytes that frees; None if there is none that may go."""
        with suppress(StorageFull):
            return self.eviction.evict()
        return None
