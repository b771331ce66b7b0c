"""What several client programs report of one stage, put together: the time in which all of them ran, and its sums.

Each program (scripts/TestPerf.py, or `swarm`) reports a stage as `kvstore.client.timing` writes it: start and end on
the wall clock, requests completed in each tenth of a second since its start, a histogram of latencies. All run on one
machine, hence by one clock.

The **window** of a stage is from the latest start to the earliest end. Of each program only the tenths that lie wholly
inside count, so a program that had the server to itself at either end adds nothing to the sum. Percentiles of several
programs cannot be averaged; their histograms can be added, and are. The histograms are of whole stages: what they have
outside the window is what the programs' starts and ends differ by.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

#: Floating-point times of the wall clock are exact to less than this; in seconds.
_ROUNDING_SECONDS = 1e-6


class NoWindow(Exception):
    """There was no time in which all programs ran: the measurement is worth nothing."""


class Window(NamedTuple):
    """A stretch of time, in seconds of the wall clock."""

    start: float
    end: float


@dataclass(frozen=True)
class Stage:
    """One stage of one program. `completed`: requests in each interval. `histogram_us`: upper end to count."""

    name: str
    start: float
    end: float
    interval_seconds: float
    completed: Sequence[int]
    histogram_us: Mapping[int, int]
    mean_ms: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float

    @classmethod
    def from_json(cls, stage: Mapping[str, Any]) -> Self:
        """From what `Timings.as_json` made."""
        return cls(
            stage["name"], stage["start"], stage["end"], stage["interval_seconds"], stage["completed_per_interval"],
            dict(stage["latency_histogram_us"]), stage["mean_ms"], stage["p50_ms"], stage["p99_ms"],
            stage["slowest_ms"],
        )  # fmt: skip

    @property
    def count(self) -> int:
        """Requests of the whole stage."""
        return sum(self.histogram_us.values())


def common_window(stages: Sequence[Stage]) -> Window:
    """The time in which all of them ran. Raises NoWindow."""
    window = Window(max(stage.start for stage in stages), min(stage.end for stage in stages))
    if window.end <= window.start:
        late = max(stages, key=lambda stage: stage.start)
        raise NoWindow(
            f"stage {late.name}: the last client began {window.start - window.end:.2f} s after the first ended"
        )
    return window


def completed_in(stage: Stage, window: Window) -> tuple[int, float]:
    """Requests completed in the stage's intervals that lie wholly in the window, and the seconds that those take.

    Raises NoWindow if there is no such interval.
    """
    first = math.ceil((window.start - stage.start - _ROUNDING_SECONDS) / stage.interval_seconds)
    last = math.floor((window.end - stage.start + _ROUNDING_SECONDS) / stage.interval_seconds)
    first, last = max(first, 0), min(last, len(stage.completed))
    if last <= first:
        raise NoWindow(f"stage {stage.name}: the window has no whole interval of {stage.interval_seconds} s")
    return sum(stage.completed[first:last]), (last - first) * stage.interval_seconds


def per_second_in(stage: Stage, window: Window) -> float:
    """Requests per second of one program in the window. Raises NoWindow."""
    requests, seconds = completed_in(stage, window)
    return requests / seconds


def merged_histogram(stages: Sequence[Stage]) -> Counter[int]:
    """The latencies of all: upper end of a bucket in microseconds to count."""
    merged: Counter[int] = Counter()
    for stage in stages:
        merged.update(stage.histogram_us)
    return merged


def quantile_ms(histogram_us: Mapping[int, int], fraction: float) -> float:
    """The latency, in milliseconds, that this fraction of requests did not exceed (nearest rank, a bucket's upper end).

    Returns 0 for an empty histogram.
    """
    rank = max(1, math.ceil(fraction * sum(histogram_us.values())))
    for end in sorted(histogram_us):
        rank -= histogram_us[end]
        if rank <= 0:
            return end / 1000
    return 0.0


def mean_ms(stages: Sequence[Stage]) -> float:
    """The mean latency of all requests, in milliseconds; 0 if there was none."""
    count = sum(stage.count for stage in stages)
    return sum(stage.mean_ms * stage.count for stage in stages) / count if count else 0.0
