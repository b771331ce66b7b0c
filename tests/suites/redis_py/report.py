"""The report of the suite: what is kept of a run, and the table that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.suites.redis_py.environment import VERSION
from tests.suites.redis_py.run import Outcomes

#: The outcomes by file.
Results = dict[str, Outcomes]

#: What the server says of what is not there yet: bitmaps, places, HyperLogLogs, LCS, DUMP, users and passwords.
LATER = re.compile(
    r"unknown command '(GEO|PF|BIT|[GS]ETBIT|ACL|LCS|DUMP|RESTORE)|(GEO\w+|MIGRATE) command doesn't|'requirepass'"
    r"|AuthenticationError",
    re.IGNORECASE,
)


def load(path: Path) -> dict[str, Results]:
    """The results that are kept, by server (kvstore, Valkey); none if there is no such file."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {server: {name: Outcomes(**each) for name, each in results.items()} for server, results in kept.items()}


def keep(path: Path, results: dict[str, Results]) -> None:
    """Write them."""
    shown = {server: {name: asdict(each) for name, each in those.items()} for server, those in results.items()}
    path.write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def only_here(ours: Results, theirs: Results) -> Iterator[tuple[str, str, str]]:
    """What fails here and not there: file, test, reason."""
    for name, outcomes in ours.items():
        beside = theirs.get(name, Outcomes()).failed
        yield from ((name, test, reason) for test, reason in outcomes.failed.items() if test not in beside)


def markdown(ours: Results, theirs: Results) -> str:
    """The report: a line for each file, then what passes against Valkey and fails here, with its reason."""
    rows = [
        "| file | Valkey: passed | failed | skipped | kvstore: passed | failed | skipped |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [f"| {name} | {_counts(theirs.get(name, Outcomes()))} | {_counts(ours[name])} |" for name in ours]
    missing = list(only_here(ours, theirs))
    later = [each for each in missing if LATER.search(each[2])]
    passed = sum(theirs[name].passed for name in ours if name in theirs)
    wanted = passed - len(later)
    share = 100 * (wanted - len(missing) + len(later)) / wanted if wanted else 0.0
    return "\n".join([
        f"# redis-py's own tests ({VERSION})",
        "",
        "Made by `scripts/redis_py_suite --report`, which says what it runs.",
        "",
        f"**{share:.1f} %** of the {wanted} tests that pass against Valkey 9.1 pass here; left out are {len(later)}"
        " more, of what is not there yet.",
        "",
        *rows,
        "",
        "## What passes against Valkey and fails here",
        "",
        *(f"- `{name}::{test}`: {_reason(reason)}" for name, test, reason in missing if not LATER.search(reason)),
        "",
        "## Of what is not there yet",
        "",
        *(f"- `{name}::{test}`: {_reason(reason)}" for name, test, reason in later),
        "",
    ])  # fmt: skip


def _counts(outcomes: Outcomes) -> str:
    return f"{outcomes.passed} | {len(outcomes.failed)} | {outcomes.skipped}"


def _reason(text: str) -> str:
    """One line of at most 150 characters, without what would be markup."""
    return " ".join(text.replace("`", "'").replace("<", "(").replace(">", ")").split())[:150]
