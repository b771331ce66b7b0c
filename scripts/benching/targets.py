"""What kvstore is to reach beside Valkey, and whether a run of the bench says that it does.

A target is a bound on the median of the rounds' ratios, kvstore's number by Valkey's: from below for rates, from above
for times and memory; or on kvstore's own number. `must` is what has to be, `aim` what is hoped for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scripts.benching import large, rates
from scripts.measuring.record import Figure
from scripts.measuring.results import Table


class Target(NamedTuple):
    """A bound on one measure of one case. `is_rate`: more is better. `is_own`: it is on kvstore's number."""

    what: str
    case: str
    measure: str
    must: float
    aim: float
    is_rate: bool = False
    is_own: bool = False

    def row(self, figure: Figure) -> list[str]:
        """Its row of the table."""
        value = figure.ours if self.is_own or figure.ratio is None else figure.ratio
        bound = f"{'at least' if self.is_rate else 'at most'} {self.must:g}"
        rounds = "-" if self.is_own else f"{figure.least:.2f} to {figure.most:.2f}"
        reached = "yes" if self._holds(value, self.must) else "NO"
        return [self.what, bound, f"{self.aim:g}", f"{value:.2f}", rounds, reached,
                "yes" if self._holds(value, self.aim) else "no"]  # fmt: skip

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_rate else value <= bound


def _rate(what: str, case: str, must: float, aim: float) -> Target:
    return Target(what, case, "per_second", must, aim, is_rate=True)


#: By measure of a case of `large.OF_TYPE`: what, and the bounds.
_OF_VALUES = {
    "small_bytes": ("memory, 1 M values of 5 short elements", 3.0, 1.5),
    "large_bytes": ("memory, a value of 1 M short elements", 2.5, 1.5),
    "log_seconds": ("start with 1 M values of 5 elements in the log", 3.0, 1.2),
}

TARGETS = [
    _rate("SET, plain, 200 connections", "plain-set-200", 0.9, 1.0),
    _rate("GET, plain, 50 connections, -P 16", "plain-get-50-p16", 0.8, 0.9),
    _rate("SET, `always`, 1 connection", "set-1", 0.9, 1.0),
    *(_rate(f"SET, `always`, {n} connections", f"set-{n}", 1.0, 1.25) for n in (16, 50, 200)),
    _rate("SET, `always`, 50 connections, -P 16", "set-50-p16", 1.0, 1.3),
    _rate("GET, 50 connections", "get-50", 0.8, 1.0),
    _rate("GET, 50 connections, -P 16", "get-50-p16", 0.6, 0.9),
    *(_rate(f"{test.upper().replace('-', '_')}, 50 connections", f"{test}-50", 0.7, 1.0) for test in rates.TYPES),
    *(_rate(f"{test.upper().replace('-', '_')}, 50, -P 16", f"{test}-50-p16", 0.45, 0.8) for test in rates.TYPES),
    _rate("EVALSHA, redis-py's release of a lock", "release-50", 0.5, 1.0),
    _rate("EVALSHA, Flask-Limiter's fixed window", "limiter-50", 0.5, 1.0),
    _rate("BLPOP, elements handed over, 50 pairs", "hand-over-50", 0.6, 1.0),
    _rate("PUBLISH to 100 subscribers", "publish-100", 0.5, 1.0),
    _rate("80 % GET, 20 % SET, 50 connections, -P 16", "mixed-50-p16", 0.6, 0.8),
    _rate("seven commands, 50 connections, -P 16", "varied-50-p16", 0.6, 0.8),
    Target("p99.9 of GET while as many write durably", "gets-beside-16-writers", "GET.p999_ms", 1.0, 0.5),
    Target("p99.9 of GET while 1 M keys are compacted", "compaction", "GET.p999_ms", 1.0, 0.5),
    Target("slowest request while 1 M keys are compacted", "compaction", "slowest_ms", 1.0, 0.5),
    Target("the same, ms over the slowest without a compaction", "compaction", "added_ms", 20, 2, is_own=True),
    Target("start with 1 M keys of 100 bytes in the log", "recovery", "log_seconds", 2.0, 1.2),
    Target("the same from a checkpoint", "recovery", "checkpoint_seconds", 2.0, 1.2),
    Target("resident memory, 1 M keys of 100 bytes, loaded", "recovery", "loaded_bytes", 1.6, 1.3),
    Target("the same, recovered", "recovery", "recovered_bytes", 1.6, 1.3),
    Target("bytes of memory for a key of 16 and a value of 100 bytes", "recovery", "bytes_each", 350, 250, is_own=True),
    *(Target(f"{what}: {name}", f"{name}-memory", measure, must, aim)
      for measure, (what, must, aim) in _OF_VALUES.items() for name in large.OF_TYPE),
    Target("bytes of memory for an idle connection", "idle", "bytes_each", 20_480, 10_240, is_own=True),
]  # fmt: skip

_COLUMNS = ["kvstore / Valkey", "must be", "aim", "median", "rounds", "reached", "aim reached"]


def tables(figures: Mapping[str, Mapping[str, Figure]]) -> list[Table]:
    """Those of which something was measured, the others in a line. `figures`: by case and measure."""
    there = [target for target in TARGETS if target.measure in figures.get(target.case, {})]
    others = list(dict.fromkeys(target.case for target in TARGETS if target not in there))
    if not there:
        return []
    caption = "Figures to reach" + (f" (not measured: {', '.join(others)})" if others else "")
    return [Table(caption, _COLUMNS, [target.row(figures[target.case][target.measure]) for target in there])]
