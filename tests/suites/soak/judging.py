"""The rules by which a soak is flat, each with what was found.

Memory and files are judged by the one long life (`plan.long_life`), without its first quarter: a process grows until
all that it keeps has been used once. Its growth is the slope of the line through the samples (least squares), in an
hour. Latency and files on disk are judged by the first and the last quarter of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from tests.suites.soak.plan import long_life
from tests.suites.soak.run import Soak
from tests.suites.soak.sampling import Sample

MIB = 1 << 20

#: Growth of memory in an hour that is none: this part of what there is, and so much.
_GROWTH_PART, _GROWTH_BYTES = 0.05, 8 * MIB
#: Files beside those of clients that may be more at the end than at the beginning: a compaction has so many.
_MORE_FILES = 4
#: How many times as long the p99 of calm clients may be, and so many milliseconds: others work on the machine.
_SLOWER, _SLOWER_MS = 2.0, 5.0
#: How many times as large the files may be at most, and so many bytes.
_LARGER, _LARGER_BYTES = 1.5, 8 * MIB
#: With fewer samples than this nothing is said; of growth neither, in a time that is too short for it.
_LEAST_SAMPLES = 20
_LEAST_TO_GROW_S = 600.0
_HOUR_S = 3600.0


class Judgement(NamedTuple):
    """`rule`: what is asked for; `found`: what was seen; `holds`: None if there were too few samples to tell."""

    rule: str
    found: str
    holds: bool | None


def judge(soak: Soak, seconds: float) -> list[Judgement]:
    """All rules."""
    samples = soak.samples
    wrong = [each for companion in soak.companions for each in companion.wrong]
    return [
        Judgement("every reply and every state after a kill is what was acknowledged", soak.violation or "all are",
                  not soak.violation),
        Judgement("what is cached, pushed and told is right", "; ".join(wrong[:5]) or "all is", not wrong),
        Judgement("the server's log tells of no bug", "; ".join(soak.complaints[:3]) or "none", not soak.complaints),
        _memory("rss", "resident memory", samples, seconds),
        _memory("used_memory", "used_memory", samples, seconds),
        _files(samples, seconds),
        _latency(samples, seconds),
        _disk(samples, seconds),
    ]  # fmt: skip


def _within(samples: Sequence[Sample], name: str, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """Time and value of the samples that have it."""
    return [
        (at, value) for each in samples
        if (at := each["at_s"]) is not None and begin_s <= at <= end_s and (value := each.get(name)) is not None
    ]  # fmt: skip


def in_long_life(samples: Sequence[Sample], name: str, seconds: float) -> list[tuple[float, float]]:
    """The same of the long life, without its first quarter."""
    begin, end = (part * seconds for part in long_life())
    return _within(samples, name, begin + (end - begin) / 4, end)


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through the points, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return _HOUR_S * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _memory(name: str, title: str, samples: Sequence[Sample], seconds: float) -> Judgement:
    rule = f"{title} grows by less than {_GROWTH_PART:.0%} and {_GROWTH_BYTES // MIB} MiB in an hour"
    points = in_long_life(samples, name, seconds)
    if len(points) < _LEAST_SAMPLES or points[-1][0] - points[0][0] < _LEAST_TO_GROW_S:
        return Judgement(rule, "too short a time", None)
    slope, level = slope_per_hour(points), median(value for _, value in points)
    found = f"{slope / MIB:+.1f} MiB in an hour, of {level / MIB:.0f} MiB"
    return Judgement(rule, found, slope < max(_GROWTH_PART * level, _GROWTH_BYTES))


def _quarters(
    points: Sequence[tuple[float, float]], seconds: float, summary: Callable[[list[float]], float]
) -> tuple[float, float] | None:
    """Of the first and the last quarter of the time; None if there are too few points in one."""
    first = [value for at, value in points if at <= seconds / 4]
    last = [value for at, value in points if at >= seconds * 3 / 4]
    return (summary(first), summary(last)) if min(len(first), len(last)) >= _LEAST_SAMPLES else None


def _files(samples: Sequence[Sample], seconds: float) -> Judgement:
    rule = f"open files beside those of clients: at most {_MORE_FILES} more at the end of a life than at its beginning"
    both = [each | {"own": each["files"] - each["clients"]} for each in samples
            if each.get("files") is not None and each.get("clients") is not None]  # type: ignore[operator]  # fmt: skip
    points = in_long_life(both, "own", seconds)
    if len(points) < _LEAST_SAMPLES:
        return Judgement(rule, "too few samples", None)
    part = len(points) // 4
    first, last = (median(value for _, value in some) for some in (points[:part], points[-part:]))
    return Judgement(rule, f"{first:.0f}, then {last:.0f} (medians)", last <= first + _MORE_FILES)


def _latency(samples: Sequence[Sample], seconds: float) -> Judgement:
    rule = f"p99 of calm clients, last quarter: at most {_SLOWER:g} times the first's and {_SLOWER_MS:g} ms"
    quarters = _quarters(_within(samples, "calm_p99_ms", 0, seconds), seconds, median)
    if quarters is None:
        return Judgement(rule, "too few samples", None)
    first, last = quarters
    return Judgement(
        rule, f"{first:.1f} ms, then {last:.1f} ms (medians of windows)", last <= _SLOWER * first + _SLOWER_MS
    )


def _disk(samples: Sequence[Sample], seconds: float) -> Judgement:
    rule = f"log and checkpoint at their largest, last quarter: at most {_LARGER:g} times the first's and"
    rule += f" {_LARGER_BYTES // MIB} MiB"
    quarters = _quarters(_within(samples, "disk_bytes", 0, seconds), seconds, max)
    if quarters is None:
        return Judgement(rule, "too few samples", None)
    first, last = quarters
    return Judgement(rule, f"{first / MIB:.1f} MiB, then {last / MIB:.1f} MiB", last <= _LARGER * first + _LARGER_BYTES)
