"""docs/EMBEDDING.md: each of its examples is run, as a reader would run it, in a directory of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ROOT, environment

DOCUMENT = Path(ROOT) / "docs" / "EMBEDDING.md"


def examples(section: str) -> list[str]:
    """The Python of a section, by its title: a text for each example."""
    text = DOCUMENT.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n## {section}\n")
    return re.findall(r"^```python\n(.*?)^```$", rest.partition("\n## ")[0], re.M | re.S)


class ExampleTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        """A directory of its own."""
        self.addCleanup(os.chdir, os.getcwd())
        directory = Path(self.mktemp())
        directory.mkdir()
        os.chdir(directory)

    def test_the_store_alone(self) -> None:
        """Scripts, one after the other in one directory."""
        scripts = examples("The store alone")
        self.assertGreater(len(scripts), 3)
        for number, script in enumerate(scripts):
            exec(compile(script, f"example {number} of the store alone", "exec"), {"__name__": "__main__"})

    def test_a_real_server_for_a_test(self) -> None:
        """The file of pytest's by pytest; the TestCase as Trial runs it."""
        of_pytest, of_trial = examples("A real server for a test")
        Path("test_example.py").write_text(of_pytest, encoding="utf-8")
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_example.py"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment())
        self.assertIn("2 passed", done.stdout, done.stderr)
        names: dict[str, Any] = {}
        exec(compile(of_trial, "the example of trial", "exec"), names)
        result = unittest.TestResult()
        names["GreetingTests"]("test_it_is_stored").run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))

    def test_a_protocol_without_a_socket(self) -> None:
        """Byte for byte."""
        (script,) = examples("A protocol without a socket")
        exec(compile(script, "the example without a socket", "exec"), {})

    def test_a_server_within_an_application(self) -> None:
        """One after the other, in a process of their own: it has a reactor to itself. Nothing is printed."""
        script = "\n".join(reversed(examples("A server within your application")))  # `react` ends the process
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
