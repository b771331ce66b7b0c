"""Every program of scripts/ sees to it that what it needs is there, or says in one line what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from scripts import _venv
from scripts._venv import enter

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"

#: Clients, which may be copied anywhere: they need kvstore's client, and nothing that is installed.
CLIENTS = ("TestBasics.py", "TestPerf.py", "TestOutliers.py")


class ProgramTests(SynchronousTestCase):
    """The programs."""

    def test_each_begins_with_the_preamble(self) -> None:
        """The shell's or Python's, before anything is imported that has to be installed."""
        for path in SCRIPTS.iterdir():
            if path.is_file() and os.access(path, os.X_OK) and path.name not in CLIENTS:
                text = path.read_text()
                begun = text.find("/_venv.sh") if text.startswith("#!/bin/sh\n") else text.find("import enter")
                self.assertGreater(begun, 0, f"begin scripts/{path.name} as scripts/_venv.py or _venv.sh tells")
                for late in ("from kvstore", "from tests", "from scripts.m", "from scripts.b", "from scripts.g"):
                    self.assertNotIn(late, text[:begun], f"scripts/{path.name}: import it after the preamble")

    def test_a_copied_client_says_what_it_needs(self) -> None:
        """One line, and exit status 1."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for name in CLIENTS:
            shutil.copy(SCRIPTS / name, directory)
            words = [sys.executable, "-S", "-E", directory / name, "localhost:1"]  # without what is installed
            ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            self.assertRegex(ended.stderr, rf"^{name[:-3]}: kvstore is missing; run this program in a checkout .*\n\Z")


class EnterTests(SynchronousTestCase):
    """`enter`, without an environment being made."""

    def setUp(self) -> None:
        """Note what it would do."""
        self.made: list[list[str]] = []
        self.begun: list[tuple[str, list[str]]] = []
        self.status = 0
        self.patch(_venv.subprocess, "call", lambda words: self.made.append(words) or self.status)
        self.patch(_venv.os, "execv", lambda path, words: self.begun.append((path, words)))
        self.patch(sys, "argv", ["scripts/bench", "--quick"])
        patcher = mock.patch.dict(os.environ)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_all_is_there(self) -> None:
        """It goes on, in whatever environment this is."""
        enter("json")
        self.assertEqual((self.made, self.begun), ([], []))

    def test_the_checkout_is_not_twisted(self) -> None:
        """Its directory `twisted`, which holds the plugin, is no reason to go on without Twisted."""
        code = "from scripts import _venv; print(_venv._is_installed('twisted'), _venv._is_installed('json'))"
        words = [sys.executable, "-S", "-E", "-c", code]  # without what is installed
        ended = subprocess.run(words, cwd=SCRIPTS.parent, capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(ended.stdout, "False True\n")

    def test_something_is_missing(self) -> None:
        """The checkout's environment is filled, and runs the same program with the same words."""
        self.patch(_venv.importlib.util, "find_spec", lambda name: None)
        for modules, files in (
            ((), ["requirements.txt"]),
            (("matplotlib",), ["requirements.txt", "requirements-dev.txt"]),
        ):
            os.environ.pop("KVSTORE_ENTERED", None)
            enter(*modules)
            self.assertEqual(self.made[-1][3:], [os.path.abspath("scripts/bench"), str(SCRIPTS), *files])
            python = str(SCRIPTS.parent / ".venv" / "bin" / "python")
            self.assertEqual(self.begun[-1], (python, [python, os.path.abspath("scripts/bench"), "--quick"]))

    def test_it_cannot_be_had(self) -> None:
        """One line that names it and says what to do; never a circle."""
        self.status = 1
        ended = self.assertRaises(SystemExit, enter, "no_such_module")
        self.assertEqual(
            ended.code, "bench: no_such_module is missing, and .venv could not be filled with it: run scripts/test"
        )
        self.status = 0
        os.environ["KVSTORE_ENTERED"] = str(os.getpid())
        ended = self.assertRaises(SystemExit, enter, "no_such_module")
        self.assertRegex(str(ended.code), "^bench: no_such_module is not in .*/.venv: remove that directory")
        self.assertEqual(self.begun, [])
