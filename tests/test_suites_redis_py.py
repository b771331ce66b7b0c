"""The suite of redis-py's own tests: how it reads what pytest reports, and what it writes; and a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites.outcomes import Outcomes, keep, load, only_here, outcomes_of
from tests.suites.redis_py.__main__ import SUITE, run_against
from tests.suites.redis_py.environment import REQUIREMENTS, pin_of
from tests.suites.redis_py.report import markdown

_JUNIT = """<testsuites><testsuite>
<testcase classname="tests.test_lock.TestLock" name="test_ok"/>
<testcase classname="tests.test_lock.TestLock" name="test_bad[a-1]"><failure message="first&#10;second"/></testcase>
<testcase classname="tests.test_lock" name="test_setup"><error message="no server">..</error></testcase>
<testcase classname="tests.test_lock" name="test_left_out"><skipped message="because">..</skipped></testcase>
</testsuite></testsuites>"""


class ReportTests(SynchronousTestCase):
    """What is read and written."""

    def test_outcomes(self) -> None:
        """Errors of a test's set-up are failures; a test of a class has its name."""
        expected = Outcomes(1, 1, {"TestLock::test_bad[a-1]": "first", "test_setup": "no server"})
        self.assertEqual(outcomes_of(_JUNIT), expected)

    def test_results_are_kept(self) -> None:
        """They are read as they were written; of no file there are none."""
        path = Path(self.mktemp())
        self.assertEqual(load(path), {})
        results = {"valkey": {"a.py": Outcomes(3, 0, {"test_a": "because"})}}
        keep(path, results)
        self.assertEqual(load(path), results)

    def test_what_fails_in_both_is_nobodys_fault(self) -> None:
        """Only the rest is listed, and counts; what a later family is for stands apart."""
        theirs = {"a.py": Outcomes(9, 0, {"test_both": "x"})}
        reasons = {"test_both": "x", "test_ours": "`y` <z>", "test_geo": "ResponseError: unknown command 'GEOADD', ..."}
        ours = {"a.py": Outcomes(7, 0, reasons)}
        self.assertEqual([test for _, test, _ in only_here(ours, theirs)], ["test_ours", "test_geo"])
        text = markdown(ours, theirs)
        self.assertIn("**87.5 %** of the 8 tests", text)
        self.assertIn("| a.py | 9 | 1 | 0 | 7 | 3 | 0 |\n", text)
        fails, _, later = text.partition("## What passes against Valkey and fails here")[2].partition("\n## ")
        self.assertEqual(fails.strip(), "- `a.py::test_ours`: 'y' (z)")
        self.assertIn("- `a.py::test_geo`", later)

    def test_the_report_is_of_what_is_kept(self) -> None:
        """Otherwise run scripts/redis_py_suite --report."""
        kept = load(SUITE.kept)
        self.assertEqual(SUITE.report.read_text(encoding="utf-8"), markdown(kept[KVSTORE], kept[VALKEY]))


class EnvironmentTests(SynchronousTestCase):
    """What is installed."""

    def test_the_pin_of_a_package(self) -> None:
        """Its version with all hashes, and no line of another."""
        self.assertEqual(pin_of("b", "a==1 \\\n  --hash=1\nb==2 \\\n  --hash=3 \\\n  --hash=4\nc==5\n"),
                         "b==2 \\\n  --hash=3 \\\n  --hash=4\n")  # fmt: skip
        self.assertIn("redis==8.1.0 ", pin_of("redis", REQUIREMENTS.read_text(encoding="utf-8")))


@pytest.mark.long
class SampleTests(SynchronousTestCase):
    """Some of redis-py's files."""

    def test_nothing_fails_that_did_not(self) -> None:
        """But what fails against Valkey, and what the report lists."""
        kept = load(SUITE.kept)
        ours = run_against(KVSTORE, ["lock", "monitor", "pipeline", "scripting"])
        known = {path: Outcomes(failed=kept[KVSTORE][path].failed | kept[VALKEY][path].failed) for path in ours}
        self.assertEqual(list(only_here(ours, known)), [])
        self.assertGreater(sum(outcomes.passed for outcomes in ours.values()), 150)
