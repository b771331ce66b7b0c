"""How long requests took: kept one by one while a stage runs, summed up at its end.

Times are of the machine's monotonic clock in nanoseconds, which is one for all its processes: so the stages of several
programs can be laid side by side, and what each did while all were running can be told.
"""

from __future__ import annotations

import heapq
import math
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

NANOSECONDS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Timings:
    """The times of one stage, by name. `start_ns`: when it began; now, if it is not given.

    Its span is from there to the end of its last request. Requests are added in the order of their ends.
    """

    def __init__(self, name: str, start_ns: int | None = None) -> None:
        self.name = name
        self.start_ns = time.monotonic_ns() if start_ns is None else start_ns
        self.took_ns = array("q")
        self.ended_ns = array("q")

    def add(self, began_ns: int, ended_ns: int) -> None:
        """Note one request: when it began and when it had its answer."""
        self.took_ns.append(ended_ns - began_ns)
        self.ended_ns.append(ended_ns)

    @property
    def count(self) -> int:
        """Requests so far."""
        return len(self.took_ns)

    @property
    def end_ns(self) -> int:
        """The end of the last request; the start, if there was none."""
        return self.ended_ns[-1] if self.ended_ns else self.start_ns

    @property
    def seconds(self) -> float:
        """From the start to the end of the last request."""
        return (self.end_ns - self.start_ns) / NANOSECONDS

    def per_second(self) -> float:
        """Requests per second of the span."""
        return self.count / self.seconds if self.seconds else 0.0

    def mean_ms(self) -> float:
        """The mean latency in milliseconds; 0 if there was no request."""
        return sum(self.took_ns) / self.count / MILLISECOND_NS if self.count else 0.0

    def quantiles_ms(self, *fractions: float) -> list[float]:
        """Latencies in milliseconds, one for each fraction: of all, that part was as fast or faster (nearest rank).

        `fractions`: 0 (the fastest) to 1 (the slowest). All are 0 if there was no request.
        """
        ordered = sorted(self.took_ns) or [0]
        return [ordered[max(0, math.ceil(f * len(ordered)) - 1)] / MILLISECOND_NS for f in fractions]

    def slowest(self, number: int) -> list[tuple[float, int]]:
        """The slowest requests, the slowest first: latency in milliseconds, and which it was, counted from 0."""
        found = heapq.nlargest(number, zip(self.took_ns, range(self.count), strict=True))
        return [(latency / MILLISECOND_NS, i) for latency, i in found]


def together(stages: Sequence[Timings]) -> Timings:
    """What several did of one stage while all of them were running: from the latest start to the earliest end.

    A request counts if it ended in that time. There is none if there was no such time.
    """
    start_ns, end_ns = max(s.start_ns for s in stages), min(s.end_ns for s in stages)
    inside = [slice(bisect_left(s.ended_ns, start_ns), bisect_right(s.ended_ns, end_ns)) for s in stages]
    ended = [zip(s.ended_ns[part], s.took_ns[part], strict=True) for s, part in zip(stages, inside, strict=True)]
    found = Timings(stages[0].name, start_ns)
    for end, took in heapq.merge(*ended):
        found.add(end - took, end)
    return found
