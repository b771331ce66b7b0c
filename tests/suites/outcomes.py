"""How the tests of somebody else's suite ended, against kvstore and against Valkey; and what is kept of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree


@dataclass
class Outcomes:
    """How the tests of one file ended. `failed`: the first line of the reason, by test."""

    passed: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)


#: The outcomes by file.
Results = dict[str, Outcomes]


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


def counts(outcomes: Outcomes) -> str:
    """Three columns of a table."""
    return f"{outcomes.passed} | {len(outcomes.failed)} | {outcomes.skipped}"


def one_line(text: str) -> str:
    """One line of at most 150 characters, without what would be markup."""
    return " ".join(text.replace("`", "'").replace("<", "(").replace(">", ")").split())[:150]


def name_for_pytest(case: ElementTree.Element) -> str:
    """Of a test in a file, as pytest takes it: the class, if there is one, and the test."""
    *_, module_or_class = case.get("classname", "").split(".")
    name = case.get("name", "")
    return name if module_or_class.startswith("test_") else f"{module_or_class}::{name}"


def full_name(case: ElementTree.Element) -> str:
    """Of a test among those of many files: with all that it stands in."""
    return f"{case.get('classname', '')}::{case.get('name', '')}"


def outcomes_of(report: str, name_of: Callable[[ElementTree.Element], str] = name_for_pytest) -> Outcomes:
    """What a report in JUnit's form says, pytest's or mocha's."""
    outcomes, counted = Outcomes(), Counter[str]()
    for case in ElementTree.fromstring(report).iter("testcase"):
        ended = case.find("failure") if case.find("error") is None else case.find("error")
        if ended is not None:
            lines = (ended.get("message") or ended.text or "").strip().splitlines() or [""]
            outcomes.failed[name_of(case)] = lines[0]
        else:
            counted["passed" if case.find("skipped") is None else "skipped"] += 1
    outcomes.passed, outcomes.skipped = counted["passed"], counted["skipped"]
    return outcomes
