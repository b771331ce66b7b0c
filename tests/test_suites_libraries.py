"""The suite of other libraries' own tests: how it reads what their runners report, and what it writes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites.libraries.__main__ import SUITE, markdown, reason_of
from tests.suites.libraries.libraries import LIBRARIES
from tests.suites.outcomes import Outcomes, full_name, load, outcomes_of
from tests.suites.redis_py.report import is_later

_MOCHA = """<testsuite name="Mocha Tests" tests="3">
<testcase classname="pipeline" name="should work"/>
<testcase classname="BITPOS" name="client.bitPos"><failure>ERR unknown command 'BITPOS'
at line 1</failure></testcase>
<testcase classname="cluster" name="x"><skipped/></testcase></testsuite>"""


class ReportTests(SynchronousTestCase):
    """What is read and written."""

    def test_mochas_report(self) -> None:
        """Its failures have no message: the reason is the first line of what they say."""
        expected = Outcomes(1, 1, {"BITPOS::client.bitPos": "ERR unknown command 'BITPOS'"})
        self.assertEqual(outcomes_of(_MOCHA, full_name), expected)

    def test_what_fails_is_a_fault_unless_it_is_known_why(self) -> None:
        """What is not there yet, and what is otherwise on purpose, is told apart from the rest."""
        self.assertTrue(is_later("BITPOS::client.bitPos", "ERR unknown command 'BITPOS'"))
        self.assertFalse(is_later("LPOP::client.lPop", "expected 1"))
        self.assertIn("NOTBUSY", reason_of("tests.test_scripting.TestScripting::test_script_kill", "No script running"))
        self.assertEqual(reason_of("LPOP::client.lPop", "expected 1"), "")

    def test_the_report_is_of_what_is_kept(self) -> None:
        """Otherwise run scripts/library_suites --report."""
        kept = load(SUITE.kept)
        self.assertEqual(SUITE.report.read_text(encoding="utf-8"), markdown(kept[KVSTORE], kept[VALKEY]))
        self.assertLessEqual(set(kept[KVSTORE]) | set(kept[VALKEY]), set(LIBRARIES))
