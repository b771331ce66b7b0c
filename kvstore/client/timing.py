"""How long requests took: collected one by one while a stage runs, summed up at its end.

Times are of one monotonic clock in nanoseconds; the start of a stage is noted on the wall clock too, so that stages of
several programs can be laid side by side. Besides the figures for a person, `as_json` has what a program needs to put
several instances together: how many requests were completed in each tenth of a second (the sum of all instances counts
only while all are running), and a histogram of latencies (percentiles of several instances cannot be averaged, their
histograms can be added).
"""

from __future__ import annotations

import heapq
import math
import time
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

NANOSECONDS = 1_000_000_000
MILLISECOND_NS = 1_000_000

#: Requests are counted in intervals of this length.
INTERVAL_SECONDS = 0.1
_INTERVAL_NS = 100 * MILLISECOND_NS

#: Histogram buckets in each power of two: a bucket is at most 1/16 wider than its lower end.
_STEPS = 16


class Timings:
    """The times of one stage. `name`: of the stage. `clock_ns`, `wall_seconds`: tell the time.

    Its span is from when it is made to the end of its last request.
    """

    def __init__(
        self,
        name: str,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.start_seconds = wall_seconds()
        self._start_ns = self._end_ns = clock_ns()
        self._latencies_ns = array("q")
        self._completed = [0]

    def add(self, began_ns: int, ended_ns: int) -> None:
        """Note one request: when it began and when it had its answer."""
        self._latencies_ns.append(ended_ns - began_ns)
        self._end_ns = ended_ns
        interval = (ended_ns - self._start_ns) // _INTERVAL_NS
        completed = self._completed
        while len(completed) <= interval:
            completed.append(0)
        completed[interval] += 1

    @property
    def count(self) -> int:
        """Requests so far."""
        return len(self._latencies_ns)

    @property
    def seconds(self) -> float:
        """From the start to the end of the last request."""
        return (self._end_ns - self._start_ns) / NANOSECONDS

    def per_second(self) -> float:
        """Requests per second of the span."""
        return self.count / self.seconds if self.seconds else 0.0

    def mean_ms(self) -> float:
        """The mean latency in milliseconds; 0 if there was no request."""
        return sum(self._latencies_ns) / self.count / MILLISECOND_NS if self.count else 0.0

    def quantiles_ms(self, *fractions: float) -> list[float]:
        """Latencies in milliseconds, one for each fraction: of all, that part was as fast or faster (nearest rank).

        `fractions`: 0 (the fastest) to 1 (the slowest). All are 0 if there was no request.
        """
        ordered = sorted(self._latencies_ns) or [0]
        return [ordered[max(0, math.ceil(f * len(ordered)) - 1)] / MILLISECOND_NS for f in fractions]

    def slowest(self, number: int) -> list[tuple[float, int]]:
        """The slowest requests, the slowest first: latency in milliseconds, and which it was, counted from 0."""
        found = heapq.nlargest(number, zip(self._latencies_ns, range(self.count), strict=True))
        return [(latency / MILLISECOND_NS, i) for latency, i in found]

    def histogram_us(self) -> list[list[int]]:
        """[upper end in microseconds, how many latencies up to it and over the one before], of those that are not
        empty.
        """
        counts = Counter(_bucket_end(-(-latency // 1000)) for latency in self._latencies_ns)
        return [[end, counts[end]] for end in sorted(counts)]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program. Wall-clock times are seconds since the epoch."""
        p50, p99, slowest = self.quantiles_ms(0.5, 0.99, 1)
        return {
            "name": self.name,
            "count": self.count,
            "start": self.start_seconds,
            "end": self.start_seconds + self.seconds,
            "seconds": self.seconds,
            "throughput_per_second": self.per_second(),
            "mean_ms": self.mean_ms(),
            "p50_ms": p50,
            "p99_ms": p99,
            "slowest_ms": slowest,
            "interval_seconds": INTERVAL_SECONDS,
            "completed_per_interval": self._completed,
            "latency_histogram_us": self.histogram_us(),
        }


def _bucket_end(microseconds: int) -> int:
    """The upper end of the histogram bucket that a latency falls into; ends below 32 are 1 apart."""
    step = 1 << max(0, microseconds.bit_length() - _STEPS.bit_length())
    return -(-microseconds // step) * step
