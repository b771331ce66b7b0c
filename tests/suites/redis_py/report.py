"""The report of the suite: the table that people read. That of other libraries' tests is like it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.suites.outcomes import Outcomes, Results, counts, one_line, only_here
from tests.suites.redis_py.environment import VERSION

#: What the server says of what is not there yet: bitmaps, places, HyperLogLogs, LCS, DUMP, users and passwords.
LATER = re.compile(
    r"unknown command '(GEO|PF|BIT|[GS]ETBIT|ACL|LCS|DUMP|RESTORE)|(GEO\w+|MIGRATE) command doesn't|'requirepass'"
    r"|AuthenticationError",
    re.IGNORECASE,
)


def markdown(ours: Results, theirs: Results) -> str:
    """The report on redis-py's tests."""
    return compared(f"redis-py's own tests ({VERSION})", "redis_py_suite --report", ours, theirs, {})


def compared(title: str, made_by: str, ours: Results, theirs: Results, on_purpose: Mapping[str, str]) -> str:
    """A line for each file or library, then what passes against Valkey and fails here, with its reason.

    `on_purpose`: why a test cannot pass, by its name; told in place of its reason.
    """
    rows = [
        "| tests | Valkey: passed | failed | skipped | kvstore: passed | failed | skipped |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [f"| {name} | {counts(theirs.get(name, Outcomes()))} | {counts(ours[name])} |" for name in ours]
    missing = list(only_here(ours, theirs))
    later = [each for each in missing if LATER.search(each[2])]
    passed = sum(theirs[name].passed for name in ours if name in theirs)
    wanted = passed - len(later)
    share = 100 * (wanted - len(missing) + len(later)) / wanted if wanted else 0.0
    return "\n".join([
        f"# {title}",
        "",
        f"Made by `scripts/{made_by}`, which says what it runs.",
        "",
        f"**{share:.1f} %** of the {wanted} tests that pass against Valkey 9.1 pass here; left out are {len(later)}"
        " more, of what is not there yet.",
        "",
        *rows,
        "",
        "## What passes against Valkey and fails here",
        "",
        *(
            f"- `{name}::{test}`: {on_purpose.get(test) or one_line(reason)}"
            for name, test, reason in missing
            if not LATER.search(reason)
        ),
        "",
        "## Of what is not there yet",
        "",
        *(f"- `{name}::{test}`: {one_line(reason)}" for name, test, reason in later),
        "",
    ])  # fmt: skip
