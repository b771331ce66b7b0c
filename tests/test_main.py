"""The command `kvstore`: the server under an easy name, its version, and tools that start without Twisted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.testing.server_process import PATIENCE_S, environment

COMMAND = [sys.executable, "-m", "kvstore"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *words], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


class ServeTests(SynchronousTestCase):
    """`kvstore serve`."""

    def test_serves_until_it_is_told_to_stop(self) -> None:
        """It listens, in the foreground and without a pid file, and stops at SIGTERM as twistd does."""
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        words = [*COMMAND, "serve", "--port", "0", "--data", "data"]
        process = subprocess.Popen(words, env=environment(), cwd=directory, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        with process.stdout as output:
            self.assertTrue(any(line.startswith("Listening on port ") for line in output))
            process.send_signal(signal.SIGTERM)
            output.read()
        self.assertEqual(process.wait(PATIENCE_S), -signal.SIGTERM)
        self.assertEqual(os.listdir(directory), ["data"])

    def test_has_the_plugins_options(self) -> None:
        """What twistd refuses it refuses, with the same words and status."""
        ended = run("serve", "--port", "x")
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(ended.stderr, "kvstore: --port 'x': give a whole number from 0 to 65535\n")
        shown = run("serve", "--help").stdout
        self.assertTrue(shown.startswith("Usage: kvstore serve [options]\n   or: twistd -n kvstore [options]\n"), shown)


class CommandTests(SynchronousTestCase):
    """Everything else."""

    def test_tells_its_version(self) -> None:
        """So do the server and its help."""
        self.assertEqual(run("--version").stdout, f"kvstore {kvstore.__version__}\n")
        self.assertIn("kvstore serve", run("--help").stdout)

    def test_says_what_is_missing(self) -> None:
        """One line, in a checkout where nothing was installed."""
        words = [sys.executable, "-S", "-E", "-m", "kvstore", "--version"]
        root = os.path.dirname(os.path.dirname(kvstore.__file__))
        ended = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertRegex(ended.stderr, r"^kvstore: \w+ is missing; pip install \. first, or run scripts/serve .*\n\Z")

    def test_a_tool_needs_no_twisted(self) -> None:
        """Only `serve` loads it."""
        program = "import sys; sys.modules['twisted'] = None; from kvstore.__main__ import main; sys.exit(main())"
        ended = subprocess.run(
            [sys.executable, "-c", program, "verify", "/nowhere"], env=environment(), capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        self.assertTrue(ended.stderr.startswith("kvstore verify: "), ended.stderr)
