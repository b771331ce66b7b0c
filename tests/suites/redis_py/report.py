"""The report of the suite: the table that people read. That of other libraries' tests is like it."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.suites.outcomes import Outcomes, Results, counts, one_line, only_here
from tests.suites.redis_py.environment import VERSION

#: What the server says of what is not there yet: bitmaps, places, HyperLogLogs, LCS, DUMP.
LATER = re.compile(
    r"unknown command '(GEO|PF|BIT|[GS]ETBIT|LCS|DUMP|RESTORE)|(GEO\w+|MIGRATE) command doesn't|test_bitmap_commands",
    re.IGNORECASE,
)


def is_later(test: str, reason: str) -> bool:
    """Whether a test needs what is not there yet."""
    return bool(LATER.search(f"{test}: {reason}"))


def markdown(ours: Results, theirs: Results) -> str:
    """The report on redis-py's tests."""
    return compared(
        f"redis-py's own tests ({VERSION})", "redis_py_suite --report", ours, theirs, lambda test, reason: ""
    )


def compared(
    title: str, made_by: str, ours: Results, theirs: Results, reason_of: Callable[[str, str], str]
) -> str:  # fmt: skip
    """A line for each file or library, then what passes against Valkey and fails here, with its reason.

    `reason_of`: why a test, with what it said, cannot pass here; empty if it should, and then what it said is told.
    """
    rows = [
        "| tests | Valkey: passed | failed | skipped | kvstore: passed | failed | skipped |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [f"| {name} | {counts(theirs.get(name, Outcomes()))} | {counts(ours[name])} |" for name in ours]
    listed: dict[bool, list[str]] = {False: [], True: []}
    for name, test, reason in only_here(ours, theirs):
        why = reason_of(test, reason) or one_line(reason)
        listed[is_later(test, reason)].append(f"- `{name}::{test}`: {why}")
    passed = sum(theirs[name].passed for name in ours if name in theirs)
    wanted = passed - len(listed[True])
    share = 100 * (wanted - len(listed[False])) / wanted if wanted else 0.0
    return "\n".join([
        f"# {title}",
        "",
        f"Made by `scripts/{made_by}`, which says what it runs.",
        "",
        f"**{share:.1f} %** of the {wanted} tests that pass against Valkey 9.1 pass here; left out are"
        f" {len(listed[True])} more, of what is not there yet.",
        "",
        *rows,
        "",
        "## What passes against Valkey and fails here",
        "",
        *listed[False],
        "",
        "## Of what is not there yet",
        "",
        *listed[True],
        "",
    ])  # fmt: skip
