"""The tools with standard streams that are closed, full, unread, or cannot show a name: the work is done."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.store.examine import examine
from kvstore.testing.server_process import environment
from kvstore.values import TYPES
from tests.kit.tools import write_files
from tests.suites.crashes.model import Content, content
from tests.suites.damage.run import directories

_WITHIN_S = 60
_SAID_ELSEWHERE = ("verify D", "backup D OUT", "restore D OUT", "import OUT lines", "repair D")
_PRINTING = ("export D", "show D/table.txn")


class StreamTests(SynchronousTestCase):
    """Each tool as a process of its own, started by a shell that does as users do."""

    def setUp(self) -> None:
        """A directory of work, with a sound data directory D and a file to import."""
        self.path = os.path.abspath(self.mktemp())
        write_files(os.path.join(self.path, "D"), directories()[2].contents)
        with open(os.path.join(self.path, "lines"), "w", encoding="ascii") as lines:
            lines.write('{"key":"a","value":"b"}\n')

    def run_in_shell(self, words: str, streams: str, **changes: str) -> tuple[int, str, str]:
        """Status, output and errors of a tool."""
        command = f"rm -rf OUT; exec {sys.executable} -m kvstore.tools {words} {streams}"
        done = subprocess.run(["bash", "-c", command], cwd=self.path, env=environment(**changes), capture_output=True,
                              text=True, errors="surrogateescape", check=False, timeout=_WITHIN_S)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def made(self) -> Content:
        """What is in OUT."""
        return content(examine(RealDisk(os.path.join(self.path, "OUT")), TYPES).databases.by_number.items())

    @pytest.mark.long
    def test_closed_and_full(self) -> None:
        """Whatever cannot be said, what was to be done is done; nothing that is printed gets into a file."""
        for streams in ("2>&-", ">&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>&-"):
            for words in _SAID_ELSEWHERE:
                status, _, errors = self.run_in_shell(words, streams)
                self.assertEqual((status, "Traceback" in errors), (0, False), f"{words} {streams}: {errors}")
                if "OUT" in words:
                    wanted = {(0, b"a"): (b"b", None)} if "import" in words else directories()[2].state
                    self.assertEqual(self.made(), wanted)

    def test_the_verdict_does_not_hang_on_who_listens(self) -> None:
        """A damaged directory is status 1, whatever is closed."""
        os.truncate(os.path.join(self.path, "D", "table.ckpt"), 5000)
        for streams in ("", "2>&-", ">&-", ">&- 2>&-"):
            self.assertEqual(self.run_in_shell("verify D", streams)[0], 1)

    def test_what_prints_needs_somewhere_to_print(self) -> None:
        """Export and show, with standard output closed or full: status 1, and one line that says why."""
        for words in _PRINTING:
            for streams, said in ((">&-", "standard output is closed"), (">/dev/full", "No space left on device")):
                status, _, errors = self.run_in_shell(words, streams)
                self.assertEqual((status, errors.count("\n")), (1, 1), errors)
                self.assertIn(said, errors)
            self.assertEqual(self.run_in_shell(words, "2>&-")[0], 0)

    def test_a_pipe_that_nobody_reads(self) -> None:
        """The work is done; of those that print, the rest is not wanted; no traceback."""
        for words in (*_SAID_ELSEWHERE, *_PRINTING):
            tool = f"{sys.executable} -m kvstore.tools {words}"
            command = f"rm -rf OUT; (sleep 0; {tool}; echo status $? >&2) | exec true"
            done = subprocess.run(["bash", "-c", command], cwd=self.path, env=environment(), capture_output=True,
                                  text=True, check=False, timeout=_WITHIN_S)  # fmt: skip
            self.assertIn(done.stderr, ("status 0\n", "status 1\n") if words in _PRINTING else ("status 0\n",))

    def test_nothing_to_import(self) -> None:
        """Standard input that is closed is no empty file."""
        status, _, errors = self.run_in_shell("import OUT", "<&-")
        self.assertEqual((status, os.path.exists(os.path.join(self.path, "OUT"))), (1, False))
        self.assertEqual(errors, "kvstore import: standard input is closed; there is nothing to read\n")

    @pytest.mark.long
    def test_names_that_cannot_be_shown(self) -> None:
        """Of no encoding, or not of the terminal's: escaped."""
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        for name in ("$'OUT\\xff'", "OUT\u00d6"):
            for changes in ({}, plain, {"PYTHONIOENCODING": "ascii"}):
                for words in (f"backup D {name}", f"verify {name}", f"restore D {name}2", f"verify {name}/nothing"):
                    status, output, errors = self.run_in_shell(words, "", **changes)
                    self.assertEqual(status, 3 if "nothing" in words else 0, errors)
                    self.assertNotIn("Traceback", output + errors)
                self.run_in_shell("verify D", f"; rm -rf {name} {name}2")
                for left in os.listdir(os.fsencode(self.path)):
                    if left.startswith(b"OUT"):
                        subprocess.run(["rm", "-rf", os.path.join(os.fsencode(self.path), left)], check=True)
