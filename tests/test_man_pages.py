"""docs/man has the options that there are, and is what man(1) takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.tap import Options
from kvstore.testing.server_process import PATIENCE_S
from tests.kit.programs import run

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "man").iterdir())


class ManPageTests(SynchronousTestCase):
    """The pages."""

    def test_they_are_up_to_date(self) -> None:
        """Otherwise run scripts/man_pages."""
        words = [sys.executable, str(ROOT / "scripts" / "man_pages"), "--check"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_option_is_told(self) -> None:
        """Those of the server."""
        text = (ROOT / "docs" / "man" / "kvstore-serve.1").read_text().replace("\\-", "-")
        for name in Options().longOpt:
            self.assertIn(f"\n.B --{name}", text)

    def test_they_render(self) -> None:
        """Without a word of complaint."""
        self.assertEqual([page.name for page in PAGES], ["kvstore-serve.1", "kvstore.1"])
        done = run("mandoc", "-Tlint", *map(str, PAGES))
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
