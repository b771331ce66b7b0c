"""docs/EMBEDDING.md: each of its examples is run, as a reader would run it, in a directory of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ROOT

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
