"""scripts/soak: a short form of it, the plan, and that the rules see what grows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ROOT
from tests.suites.soak.judging import MIB, Judgement, judge, slope_per_hour
from tests.suites.soak.plan import KILL, long_life, plan

HOUR_S = 3600.0


def samples(**changes: Any) -> list[dict[str, float]]:
    """Of an hour that is flat, a sample a minute but twice in each; `changes`: functions of the time, by name."""
    level = {"rss": 100.0 * MIB, "used_memory": 90.0 * MIB, "files": 30, "clients": 20, "calm_p99_ms": 4.0,
             "disk_bytes": 20.0 * MIB}  # fmt: skip
    times = [30.0 * number for number in range(121)]
    return [{"at_s": at} | level | {name: change(at) for name, change in changes.items()} for at in times]


def judged(violation: str = "", complaints: list[str] | None = None, **changes: Any) -> list[Judgement]:
    """What is said of it."""
    soak = SimpleNamespace(samples=samples(**changes), companions=[], violation=violation, complaints=complaints or [])
    return judge(soak, HOUR_S)  # type: ignore[arg-type]


class RuleTests(SynchronousTestCase):
    """The verdict."""

    def broken(self, **changes: Any) -> list[str]:
        """The first words of the rules that do not hold."""
        return [each.rule.split()[0] for each in judged(**changes) if each.holds is False]

    def test_a_flat_hour(self) -> None:
        """All rules hold."""
        self.assertEqual([each.holds for each in judged()], [True] * 8)

    def test_what_grows_is_seen(self) -> None:
        """Each by its own rule, in the hour; what only rises at the beginning of a life is no growth."""
        self.assertEqual(self.broken(rss=lambda at: (100 + at / 300) * MIB), ["resident"])
        self.assertEqual(self.broken(used_memory=lambda at: (100 + at / 300) * MIB), ["used_memory"])
        self.assertEqual(self.broken(files=lambda at: 30 + at / 200), ["open"])
        self.assertEqual(self.broken(calm_p99_ms=lambda at: 4 + at / 100), ["p99"])
        self.assertEqual(self.broken(disk_bytes=lambda at: (20 + at / 60) * MIB), ["log"])
        self.assertEqual(self.broken(rss=lambda at: min(100.0, at / 10) * MIB), [])

    def test_what_is_wrong_is_seen(self) -> None:
        """A violation, a bug in the log."""
        self.assertEqual(self.broken(violation="lost"), ["every"])
        self.assertEqual(self.broken(complaints=["Traceback"]), ["the"])

    def test_a_short_run_is_not_judged_by_slopes(self) -> None:
        """There are too few samples for it."""
        soak: Any = SimpleNamespace(samples=samples()[:10], companions=[], violation="", complaints=[])
        self.assertEqual([each.holds for each in judge(soak, 30)], [True] * 3 + [None] * 5)

    def test_slope(self) -> None:
        """Of a line it is the line's, in an hour."""
        self.assertAlmostEqual(slope_per_hour([(at, 7 + at / 100) for at in range(50)]), 36)

    def test_the_plan_leaves_one_life_alone(self) -> None:
        """It is in order, and nobody is killed in the life that memory is judged by."""
        events, (begin, end) = plan(full_disks=True), long_life()
        self.assertEqual(events, sorted(events))
        self.assertEqual([each for each in events if each.what == KILL and begin < each.at < end], [])
        self.assertGreater(end - begin, 0.6)


@pytest.mark.long
class ProgramTests(SynchronousTestCase):
    """The program, for half a minute."""

    def test_half_a_minute(self) -> None:
        """Nothing that is judged in so short a time is wrong, and there is a report."""
        out = Path(self.mktemp()).absolute()
        words = ["sh", f"{ROOT}/scripts/soak", "--minutes", "0.5", "--every", "1", "--out", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = json.loads((out / "soak.json").read_text())
        self.assertEqual(found["verdict"], "flat")
        self.assertGreater(len(found["samples"]["at_s"]), 10)
        self.assertEqual(sum(event["what"] == KILL for event in found["events"]), 4)
        self.assertTrue((out / "soak.png").exists() and "# Soak" in (out / "soak.md").read_text())
