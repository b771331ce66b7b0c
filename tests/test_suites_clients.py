"""Programs of Redis's clients over a kill of the server: how scripts/clients runs them, and some of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE
from tests.suites.clients import installed
from tests.suites.clients.document import compose
from tests.suites.clients.installed import CannotInstall, default_cache, install
from tests.suites.clients.program import Program, all_programs, read
from tests.suites.clients.run import Outcome, log_of, run

#: Those that scripts/test-more runs: they need only PyPI, and are done in seconds.
SAMPLE = ("flask_limiter_limits", "huey_jobs", "redis_py_locks")

#: Sets a key, has the server killed, and looks whether it is there; it needs no client.
_SURVIVOR = """
import socket, sys

sys.path.insert(0, {shared!r})
import common

def ask(line):
    with socket.create_connection(("127.0.0.1", common.PORT)) as server:
        server.sendall(line + b"\\r\\n")
        return server.recv(100)

def main():
    assert ask(b"SET key value") == b"+OK\\r\\n"
    common.crash()
    assert ask(b"GET key") == b"$5\\r\\nvalue\\r\\n", "the key is gone"
    print("a line of its log", file=sys.stderr)
    if {fails}:
        raise SystemExit("this is why")
    common.works("the key is there")
"""


class ProgramTests(SynchronousTestCase):
    """What the head of a program says."""

    def written(self, name: str, text: str) -> Program:
        """The program with this text."""
        path = Path(self.mktemp(), name)
        path.parent.mkdir()
        path.write_text(text)
        return read(path)

    def test_python(self) -> None:
        """A docstring: the first paragraph, and packages behind it."""
        program = self.written("some.py", '"""Some client: does\nthis.\n\nPackages: a==1 b[c]==2\n"""\nimport a\n\n')
        self.assertEqual(program[1:], ("Some client", "does this.", ("a==1", "b[c]==2")))
        self.assertEqual(program.name, "some")

    def test_javascript(self) -> None:
        """The same in comments; without packages too."""
        program = self.written("some.js", "// Some client: does\n// this.\n\nconst a = 1;\n")
        self.assertEqual(program[1:], ("Some client", "does this.", ()))

    def test_nothing_said(self) -> None:
        """A head that does not name the client is refused."""
        self.assertRaisesRegex(ValueError, "first paragraph", self.written, "some.py", '"""Does this."""\n\n')

    def test_all(self) -> None:
        """Every program there is says what it is and needs, with versions; Python's come first."""
        programs = all_programs()
        self.assertTrue(set(SAMPLE) <= {program.name for program in programs})
        self.assertEqual(
            [p for p in programs if p.path.suffix == ".js"], programs[-sum(p.path.suffix == ".js" for p in programs) :]
        )
        for program in programs:
            for package in program.packages:
                self.assertRegex(package, r"^[\w@/.,\[\]-]+(==|@)[0-9.]+$")


class InstallTests(SynchronousTestCase):
    """What a program needs is installed once."""

    def test_once_until_it_changes(self) -> None:
        """Nothing is done for packages that are there; others are installed into an empty directory."""
        cache = Path(self.mktemp())
        ran: list[list[str]] = []
        with patch.object(installed, "_run", ran.append), patch("shutil.which", return_value="npm"):
            program = Program(Path("some.js"), "Some", "", ("a@1",))
            words, variables = install(program, cache)
            install(program, cache)
            (cache / "some" / "old").touch()
            install(program._replace(packages=("a@2",)), cache)
        self.assertEqual([each[-1] for each in ran], ["a@1", "a@2"])
        self.assertEqual(
            (words, variables), (["node", "some.js"], {"NODE_PATH": str(cache.resolve() / "some" / "node_modules")})
        )
        self.assertFalse((cache / "some" / "old").exists())

    def test_cannot_be_had(self) -> None:
        """A failed installation is told, and tried again the next time."""
        cache = Path(self.mktemp())
        program = Program(Path("some.py"), "Some", "", ("a==1",))
        failed = subprocess.CompletedProcess([], 1, "no such package")
        with patch("subprocess.run", return_value=failed):
            for _ in range(2):
                self.assertRaisesRegex(CannotInstall, "no such package", install, program, cache)

    def test_no_npm(self) -> None:
        """Without npm a program for it says so."""
        with patch("shutil.which", return_value=None):
            program = Program(Path("some.js"), "Some", "", ())
            self.assertRaisesRegex(CannotInstall, "npm is not installed", install, program, Path(self.mktemp()))


@pytest.mark.long
class RunTests(SynchronousTestCase):
    """One program, against the real server."""

    def outcome(self, **changes: bool) -> tuple[Outcome, str]:
        """What came of the program above, and its log."""
        cache = Path(self.mktemp()).resolve()
        program = Program(cache / "survivor" / "survivor.py", "Survivor", "", ())
        program.path.parent.mkdir(parents=True)
        program.path.write_text(_SURVIVOR.format(shared=str(installed.PROGRAMS), **changes))
        start = ([sys.executable, "-c", "import survivor; survivor.main()"], {"PYTHONPATH": str(program.path.parent)})
        with patch("tests.suites.clients.run.install", return_value=start):
            return run(program, KVSTORE, cache), log_of(program, cache).read_text()

    def test_works(self) -> None:
        """A program over a kill: what it found, and its log."""
        outcome, log = self.outcome(fails=False)
        self.assertEqual(outcome[:3], (True, "the key is there", 1))
        self.assertEqual(log, "a line of its log\n")

    def test_fails(self) -> None:
        """One that ends without a verdict does not work, for the reason in its last line."""
        outcome, log = self.outcome(fails=True)
        self.assertEqual(outcome[:3], (False, "this is why", 1))
        self.assertEqual(log, "a line of its log\nthis is why\n")


class DocumentTests(SynchronousTestCase):
    """The page that a run of all programs makes."""

    def test_is_not_stale(self) -> None:
        """The page has a row for each program there is, and no other; scripts/clients makes it."""
        page = Path(ROOT, "docs", "CLIENTS.md").read_text()
        rows = [f"| {program.about} |" in page for program in all_programs()]
        self.assertEqual((all(rows), page.count("\n| **")), (True, len(rows)))

    def test_rows(self) -> None:
        """A row for each program, under its language, and how many work."""
        text = compose(
            [
                (Program(Path("a.py"), "A", "does a|b.", ("a==1",)), Outcome(True, "fine")),
                (Program(Path("b.js"), "B", "does c.", ()), Outcome(False, "no")),
            ]
        )
        self.assertIn("**1 of 2 work.**", text)
        self.assertIn("| **A** (`a==1`) | does a\\|b. | works: fine |\n\n## Node.js", text)
        self.assertIn("| **B** | does c. | **does not work**: no |\n", text)


@pytest.mark.long
class ClientsOverAKill(SynchronousTestCase):
    """Some real ones, each installed first if need be."""


def _add(name: str) -> None:
    def test(self: ClientsOverAKill) -> None:
        outcome = run(next(each for each in all_programs() if each.name == name), KVSTORE, default_cache())
        self.assertTrue(outcome.works, outcome.text)

    test.__doc__ = f"The program {name}.py works."
    setattr(ClientsOverAKill, f"test_{name}", test)


for _name in SAMPLE:
    _add(_name)
