"""How long calls took, as a distribution: each is counted in a bucket less than 1 % wide, whatever its size.

The rule is HdrHistogram's with two significant digits, which Valkey uses: a number is known by its 8 leading bits. So
percentiles and bounds are those that Valkey shows. Few buckets are ever used, so they are a dictionary; counting costs
0.2 us. Longer than a second, which Valkey leaves out, is counted, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_LEADING_BITS = 8
#: The first of the bounds that `below` gives, in nanoseconds; each of the others is twice the one before.
_FIRST_BOUND_NS = 1024


class Histogram:
    """See the module. `count`: of calls; `total_ns`: how long all of them took, to the nanosecond."""

    __slots__ = ("_counts", "count", "total_ns")

    def __init__(self) -> None:
        #: By the shortest time in the bucket.
        self._counts: dict[int, int] = {}
        self.count = self.total_ns = 0

    def add(self, took_ns: int, count: int = 1) -> None:
        """So many calls took so long each."""
        shift, counts = took_ns.bit_length() - _LEADING_BITS, self._counts
        lowest = took_ns >> shift << shift if shift > 0 else took_ns
        counts[lowest] = counts.get(lowest, 0) + count
        self.count += count
        self.total_ns += took_ns * count

    def add_all(self, other: Histogram) -> None:
        """Those that another has counted, too."""
        for lowest, count in other._counts.items():
            self._counts[lowest] = self._counts.get(lowest, 0) + count
        self.count += other.count
        self.total_ns += other.total_ns

    def since(self, before: Histogram) -> Histogram:
        """What was counted since it was as `before`; nothing, in buckets that have less now."""
        grown = Histogram()
        for lowest, count in self._counts.items():
            if count > (earlier := before._counts.get(lowest, 0)):
                grown.add(lowest, count - earlier)
        return grown

    def at_most(self, bounds_ns: Iterable[int]) -> list[int]:
        """For each bound, in rising order, how many calls took no longer, but for those of the bucket that it is in."""
        buckets = sorted(self._counts.items(), reverse=True)
        found, so_far = [], 0
        for bound_ns in bounds_ns:
            while buckets and buckets[-1][0] <= bound_ns:
                so_far += buckets.pop()[1]
            found.append(so_far)
        return found

    def percentiles_ns(self, percents: Iterable[float]) -> list[int]:
        """For each, the longest time, in nanoseconds, in the bucket up to which that share of the calls is; 0 for 0
        calls, and the shortest for 0 %.
        """
        buckets = sorted(self._counts.items())
        return [self._percentile(buckets, percent) for percent in percents]

    def _percentile(self, buckets: list[tuple[int, int]], percent: float) -> int:
        left = max(1, int(percent / 100 * self.count + 0.5))
        for lowest, count in buckets:
            left -= count
            if left <= 0:
                return lowest if percent == 0 else _highest(lowest)
        return 0

    def below(self) -> Iterator[tuple[int, int]]:
        """Bounds in nanoseconds, about 1024 and what is twice that, four times and so on, each with how many calls took
        at most so long. It ends with the first bound below which all are.
        """
        buckets = sorted(self._counts.items(), reverse=True)
        bound_ns, so_far = _FIRST_BOUND_NS, 0
        while buckets:
            while buckets and buckets[-1][0] <= bound_ns:
                so_far += buckets.pop()[1]
            yield _highest(bound_ns), so_far
            bound_ns *= 2


def _highest(lowest: int) -> int:
    return lowest + (1 << max(0, lowest.bit_length() - _LEADING_BITS)) - 1
