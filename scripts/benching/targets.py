"""What kvstore is to reach beside Valkey, and whether a run of the bench says that it does.

A target is a bound on the median of the rounds' ratios, kvstore's number by Valkey's: from below for rates, from above
for times and memory. `at_least` is what must be, `aim` what is hoped for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scripts.benching.case import KVSTORE, Measures, ratios
from scripts.measuring.results import Table, median, spread

#: Turns by side, of one case.
Turns = Mapping[str, list[Measures]]


class Target(NamedTuple):
    """A bound on the ratio of one measure of one case. `more_is_better`: it is a rate.

    `aim_over`: instead of a ratio, the aim is that kvstore's measure is at most so much over its measure of that name.
    """

    what: str
    case: str
    measure: str
    limit: float
    aim: float
    more_is_better: bool = False
    aim_over: str = ""

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.more_is_better else value <= bound

    def _aim_value(self, turns: Turns, ratio: float) -> float:
        """What the aim is compared with."""
        if not self.aim_over:
            return ratio
        return median(turn[self.measure] - turn[self.aim_over] for turn in turns[KVSTORE])

    def row(self, turns: Turns | None) -> list[str]:
        """Its row of the table; without turns it was not measured."""
        sign = "at least" if self.more_is_better else "at most"
        bounds = [self.what, f"{sign} {self.limit:g}", self._aim_text()]
        if turns is None:
            return [*bounds, "-", "-", "not measured", "-"]
        each = ratios(turns, self.measure)
        ratio = median(each)
        reached = ["yes" if self._holds(ratio, self.limit) else "NO"]
        aim_value = self._aim_value(turns, ratio)
        aimed = "yes" if self._holds(aim_value, self.aim) else "no"
        return [*bounds, f"{ratio:.2f}", spread(each, places=2), *reached, aimed + self._over_text(aim_value)]

    def _aim_text(self) -> str:
        return f"{self.aim:g} ms over the normal" if self.aim_over else f"{self.aim:g}"

    def _over_text(self, value: float) -> str:
        return f" ({value:.1f} ms over)" if self.aim_over else ""


def _rate(what: str, case: str, limit: float, aim: float) -> Target:
    return Target(what, case, "per_second", limit, aim, more_is_better=True)


COMPACTION, RECOVERY = "compaction", "recovery"

TARGETS = [
    _rate("SET, `always`, 1 connection", "set-1", 0.9, 1.0),
    *(_rate(f"SET, `always`, {n} connections", f"set-{n}", 1.0, 1.25) for n in (16, 50, 200)),
    _rate("SET, `always`, 50 connections, -P 16", "set-50-p16", 1.0, 1.3),
    _rate("GET, 50 connections", "get-50", 0.8, 1.0),
    _rate("GET, 50 connections, -P 16", "get-50-p16", 0.6, 0.9),
    Target("p99.9 of GET while as many write durably", "gets-beside-16-writers", "GET.p999_ms", 1.0, 0.5),
    Target("p99.9 of GET while 1 M keys are compacted", COMPACTION, "GET.p999_ms", 1.0, 0.5),
    Target("slowest request while 1 M keys are compacted", COMPACTION, "slowest_ms", 1.0, 2.0,
           aim_over="normal.slowest_ms"),
    Target("start with 1 M keys of 100 bytes in the log", RECOVERY, "log_seconds", 2.0, 1.2),
    Target("the same from a checkpoint", RECOVERY, "checkpoint_seconds", 2.0, 1.2),
    Target("resident memory, 1 M keys of 100 bytes, loaded", RECOVERY, "loaded_bytes", 1.6, 1.3),
    Target("the same, recovered", RECOVERY, "recovered_bytes", 1.6, 1.3),
]  # fmt: skip

_COLUMNS = ["kvstore / Valkey", "must be", "aim", "median", "rounds", "reached", "aim reached"]


def table(cases: Mapping[str, Turns]) -> Table:
    """All targets against what was measured: turns by the name of the case."""
    return Table("Figures to reach", _COLUMNS, [target.row(cases.get(target.case)) for target in TARGETS])
