"""The report of the suite: the table that people read."""

from __future__ import annotations

from collections import defaultdict

from tests.suites.outcomes import Outcomes, Results, counts, one_line, only_here
from tests.suites.valkey_tests.reasons import reason_of
from tests.suites.valkey_tests.run import BROKEN_OFF
from tests.suites.valkey_tests.source import VERSION


def markdown(ours: Results, theirs: Results) -> str:
    """The report: a line for each unit, then what passes against Valkey and fails here, by why it does."""
    units = sorted(ours)
    rows = [
        "| unit | Valkey: passed | failed | skipped | kvstore: passed | failed | skipped |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [f"| {unit} | {counts(theirs.get(unit, Outcomes()))} | {counts(ours[unit])} |" for unit in units]
    listed: dict[str, list[str]] = defaultdict(list)
    for unit, test, reason in only_here({unit: ours[unit] for unit in units}, theirs):
        listed[reason_of(unit, test, reason)].append(f"- `{unit}::{one_line(test)}`: {one_line(reason)}")
    failing = listed.pop("", [])
    passed = sum(theirs[unit].passed for unit in units if unit in theirs)
    excused = sum(len(tests) for tests in listed.values())
    behind = sum(max(0, _size(theirs[unit]) - _size(ours[unit])) for unit in units if unit in theirs)
    wanted, good = passed - excused, passed - excused - len(failing) - behind
    return "\n".join([
        f"# Valkey's own tests ({VERSION})",
        "",
        "Made by `scripts/valkey_suite --report`, which says what it runs.",
        "",
        f"**{100 * good / max(wanted, 1):.1f} %** of the {wanted} tests that pass against Valkey 9.1 pass here"
        f" ({len(failing)} fail, {behind} stand behind what breaks off their unit); left out are {excused} more, which"
        " cannot pass. Tests of clusters and replicas are not run.",
        "",
        *rows,
        "",
        "## What passes against Valkey and fails here",
        "",
        *failing,
        *(line for why in sorted(listed) for line in ("", f"## {why}", "", *listed[why])),
        "",
    ])  # fmt: skip


def _size(outcomes: Outcomes) -> int:
    """How many tests there were, as far as the unit got."""
    tests = (test for test in outcomes.failed if not test.startswith(BROKEN_OFF))
    return outcomes.passed + outcomes.skipped + sum(1 for _ in tests)
