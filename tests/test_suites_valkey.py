"""The suite of Valkey's own tests: what is read, what their server is told, what is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites.outcomes import Outcomes, load, only_here
from tests.suites.valkey_tests.__main__ import SUITE, run_units
from tests.suites.valkey_tests.reasons import reason_of
from tests.suites.valkey_tests.report import markdown
from tests.suites.valkey_tests.run import outcomes_of
from tests.suites.valkey_tests.source import fetched
from tests.suites.valkey_tests.stand_in import settings_of, words_of

_PRINTED = """\
[ready]: 4711
[ok]: SET and GET (3 ms)
[ok]: \x1b[0;32;49mtwice\x1b[0m (0 ms)
[ignore]: Tag: cluster denied
[skip]: one that asks for (1) too much: memory
[err]: twice in tests/unit/a.tcl
Expected '1' to be equal to '2' (context: type eval line 4 cmd {...} proc ::test)
[err]: an error in tests/unit/a.tcl
subcommand
ERR unknown subcommand
    while executing
[exception]: Executing test client: no such server.

Test Summary: 2 passed, 2 failed
*** [err]: an error in tests/unit/a.tcl
"""


class RunTests(SynchronousTestCase):
    """What is read, and what is told."""

    def test_outcomes(self) -> None:
        """Tests of one name are told apart, an error of Tcl's is whole, the summary is not read."""
        failed = {
            "twice (2)": "Expected '1' to be equal to '2'",
            "an error": "ERR unknown subcommand",
            "the unit breaks off": "Executing test client: no such server.",
        }
        self.assertEqual(outcomes_of(_PRINTED), Outcomes(2, 2, failed))

    def test_what_the_server_is_told(self) -> None:
        """A configuration file and the words behind it: options of the start, what CONFIG SET is for; users, in a file
        of the server's own, which stays as that leaves it.
        """
        path, room = Path(self.mktemp()), Path(self.mktemp()).absolute()
        room.mkdir()
        lines = f"# none\nport 7\nsave ''\nunixsocket /s\ndir {room}\nhz 10\nuser a on\n"
        path.write_text(lines, encoding="utf-8")
        settings = settings_of([str(path), "--hz", "100"])
        told = {"port": "7", "save": "", "unixsocket": "/s", "dir": str(room), "hz": "100", "user": "a on"}
        self.assertEqual(settings, told)
        own = room / "kvstore.conf"
        for kept in ("user a on\n", "hz 50\n"):
            words = words_of(settings)
            self.assertEqual(
                words[words.index("--data") :],
                ["--data", f"{room}/kvstore-data", "--port", "7", "--listen", "unix:/s", "--script-ms", "10000",
                 "--config", str(own)],
            )  # fmt: skip
            self.assertEqual(own.read_text(encoding="utf-8"), kept)
            own.write_text("hz 50\n", encoding="utf-8")


class ReportTests(SynchronousTestCase):
    """What is written."""

    def test_what_cannot_pass_stands_apart(self) -> None:
        """By why it cannot; what fails against Valkey as well is nobody's fault."""
        theirs = {"unit/a": Outcomes(9, 0, {"both": "x"})}
        ours = {
            "unit/a": Outcomes(7, 0, {"both": "x", "ours": "`y` <z>", "later": "ERR unknown command 'GEOADD', ..."})
        }
        text = markdown(ours, theirs)
        self.assertIn("**87.5 %** of the 8 tests", text)
        self.assertIn("| unit/a | 9 | 1 | 0 | 7 | 3 | 0 |\n", text)
        fails, _, later = text.partition("## What passes against Valkey and fails here")[2].partition("\n## ")
        self.assertEqual(fails.strip(), "- `unit/a::ours`: 'y' (z)")
        self.assertIn("- `unit/a::later`", later)

    def test_the_report_is_of_what_is_kept(self) -> None:
        """Otherwise run scripts/valkey_suite --report."""
        kept = load(SUITE.kept)
        self.assertEqual(SUITE.report.read_text(encoding="utf-8"), markdown(kept.get(KVSTORE, {}), kept[VALKEY]))


@pytest.mark.long
class SampleTests(SynchronousTestCase):
    """Some of Valkey's units."""

    def test_nothing_fails_that_did_not(self) -> None:
        """But what fails against Valkey, and what cannot pass."""
        if shutil.which("tclsh") is None:
            raise SkipTest("tclsh is not installed; on Debian: apt-get install tcl")
        ours = run_units(KVSTORE, fetched(), ["unit/type/incr", "unit/type/hash"])
        worse = only_here(ours, load(SUITE.kept)[VALKEY])
        self.assertEqual([each for each in worse if not reason_of(*each)], [])
        self.assertGreater(sum(outcomes.passed for outcomes in ours.values()), 100)
