"""What the programs that run somebody else's suite have in common: options, a report, and what they say at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites.outcomes import Outcomes, Results, keep, load, only_here


def _never(file: str, test: str, reason: str) -> bool:
    return False


@dataclass(frozen=True)
class Comparison:
    """A suite that is run against kvstore, and against Valkey to compare with.

    `name`: of what is kept, in report/. `markdown`: makes the report of our results and Valkey's. `is_explained`:
    whether there is a reason why a test cannot pass here, by its file, its name, and how it fails.
    """

    name: str
    markdown: Callable[[Results, Results], str]
    is_explained: Callable[[str, str, str], object] = _never

    @property
    def kept(self) -> Path:
        """What is kept of the last run."""
        return Path(ROOT, "report", f"{self.name}.json")

    @property
    def report(self) -> Path:
        """What people read of it."""
        return Path(ROOT, "report", f"{self.name}.md")

    def keep(self, side: str, results: Results) -> None:
        """Put the results against KVSTORE or VALKEY among those that are kept, and make the report anew."""
        kept = load(self.kept)
        keep(self.kept, kept | {side: kept.get(side, {}) | results})
        kept = load(self.kept)
        self.report.write_text(self.markdown(kept.get(KVSTORE, {}), kept.get(VALKEY, {})), encoding="utf-8")

    def conclude(self, side: str, results: Results) -> int:
        """List what fails here, passes against Valkey, and has no reason; returns the exit status."""
        worse = [] if side == VALKEY else list(only_here(results, load(self.kept).get(VALKEY, {})))
        worse = [each for each in worse if not self.is_explained(*each)]
        for name, test, reason in worse:
            print(f"fails here, not against Valkey: {name}::{test}: {reason}")
        return 1 if worse else 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that each of the programs has; see `side_of`, and `report`."""
    parser.add_argument("--valkey", action="store_true", help="run them against Valkey, not against kvstore")
    parser.add_argument("--report", action="store_true", help="keep the results, and make the report anew")


def side_of(arguments: argparse.Namespace) -> str:
    """KVSTORE or VALKEY."""
    return VALKEY if arguments.valkey else KVSTORE


def say(side: str, name: str, outcomes: Outcomes) -> None:
    """A line of how the tests of one file ended."""
    counts = f"{outcomes.passed} passed, {len(outcomes.failed)} failed, {outcomes.skipped} skipped"
    print(f"{side} {name}: {counts}", flush=True)
