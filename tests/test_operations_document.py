"""docs/OPERATIONS.md has an entry for each line of the log, each start that is refused, and each reason to stop.

An entry is the first cell of a row in a table: the text as it stands in the source, `…` for each thing that is filled
in, and at the end for what is left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import kvstore

SOURCE = Path(kvstore.__file__).parent
PAGE = SOURCE.parent / "docs" / "OPERATIONS.md"

#: Where the texts are for the operator of a server.
ROOMS = ("edge", "store", "base", "__main__.py")

#: What is called with a reason to refuse a start, or to stop, as its first argument.
REASONS = {
    "refuse_start", "refused", "exit", "SystemExit", "StorageFault", "StorageFull", "StartRefused", "DirectoryInUse",
    "NothingThere", "Unfinished", "Unreachable",
}  # fmt: skip

#: Texts that are made elsewhere than where they are logged.
MADE_ELSEWHERE = {
    "bug in …; client … is disconnected": "commands/dispatch.py",
    "… is damaged at byte …: …. …": "base/errors.py",
    "…, byte …: …; a newer version of kvstore may have written it. Nothing was changed, and nothing is known to be"
    " damaged: start that version": "base/errors.py",
    "…: anybody who can reach this machine could read and change everything; give --password-file, or --acl-file"
    " with a user default": "edge/exposure.py",
    "… was removed under the running server, and cannot be put back yet: …": "base/directory_lock.py",
    "… was removed or replaced under the running server; it was put back, and nobody else…": "base/directory_lock.py",
    "… lines are left out here: nobody read this stream, or it could not be written": "edge/streams.py",
}


def template(node: ast.expr) -> str | None:
    """A literal text as it is in the page, None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{[^}]*\}", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def is_of_the_log(node: ast.expr) -> bool:
    """`_log.warn`, or what stands for one in `script_log`."""
    text = ast.unparse(node)
    return text == "emit" or bool(re.fullmatch(r"_log\.(debug|info|warn|error|critical|failure)", text))


def texts_of(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that are texts for the operator."""
    name = ast.unparse(call.func).rpartition(".")[2]
    if (is_of_the_log(call.func) or name in REASONS) and call.args:
        yield call.args[0]
    for argument, after in zip(call.args, call.args[1:], strict=False):
        if is_of_the_log(argument):
            yield after


def collected() -> dict[str, str]:
    """Each text, and where it stands."""
    found: dict[str, str] = {}
    for room in ROOMS:
        paths = sorted((SOURCE / room).rglob("*.py")) if (SOURCE / room).is_dir() else [SOURCE / room]
        for path in paths:
            tree = ast.parse(path.read_bytes())
            #: What short names stand for.
            named: dict[str, list[ast.expr]] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    named.setdefault(node.targets[0].id, []).append(node.value)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    for each in texts_of(node):
                        for meant in named.get(each.id, []) if isinstance(each, ast.Name) else [each]:
                            text = template(meant)
                            if text is not None and re.search(r"\w", text):
                                found[text] = f"{path.relative_to(SOURCE)}:{node.lineno}"
    return found | MADE_ELSEWHERE


def entries() -> list[str]:
    """What the page has entries for."""
    return re.findall(r"^\| `` ?(.+?) ?`` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def is_entry_of(entry: str, text: str) -> bool:
    """Whether an entry tells of a text."""
    return text.startswith(entry[:-1].rstrip()) if entry.endswith("…") else entry == text


class OperationsTests(SynchronousTestCase):
    """The page."""

    def test_every_text_has_an_entry(self) -> None:
        """What it means, and what to do."""
        told = entries()
        missing = [
            f"{where}: {text}"
            for text, where in collected().items()
            if not any(is_entry_of(entry, text) for entry in told)
        ]
        self.assertEqual(missing, [], "these want a row in docs/OPERATIONS.md, `…` for what is filled in")

    def test_every_entry_has_a_text(self) -> None:
        """Nothing is told of that is not said any more."""
        texts = list(collected())
        self.assertEqual([entry for entry in entries() if not any(is_entry_of(entry, text) for text in texts)], [])
