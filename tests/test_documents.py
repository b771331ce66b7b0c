"""What the documents point to is there: programs, modules, pictures, other documents and their sections."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]

_LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)")
_NAME = re.compile(r"\b(?<!/)(?:kvstore|scripts|tests)/[\w/.]*\w")


def _anchors(document: Path) -> set[str]:
    """The names of its sections, as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class DocumentTests(SynchronousTestCase):
    """See the module."""

    def test_links(self) -> None:
        """Each relative link names a file, and a section in it if it says so."""
        wrong = []
        for name in DOCUMENTS:
            for path, section in _LINK.findall((ROOT / name).read_text(encoding="utf-8")):
                target = (ROOT / name).parent / path if path else ROOT / name
                if not target.exists() or (section and section not in _anchors(target)):
                    wrong.append(f"{name}: {path}#{section}")
        self.assertEqual(wrong, [])

    def test_names(self) -> None:
        """Each module, program and test that is named is in the checkout; what is to be written has capitals."""
        named = {(name, found) for name in DOCUMENTS for found in _NAME.findall((ROOT / name).read_text("utf-8"))}
        self.assertGreater(len(named), 50)
        missing = [each for each in sorted(named) if not (ROOT / each[1]).exists()]
        self.assertEqual([each for each in missing if not re.search("_(FAMILY|TYPE)", each[1])], [])
