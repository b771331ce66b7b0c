"""docs/COMMANDS.md is the command table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.reply import Reply
from kvstore.commands import table
from kvstore.commands.context import Call
from kvstore.commands.introspection import command_count, command_docs
from kvstore.commands.registry import READ, CommandTable, Key
from kvstore.commands.table_document import markdown, replace_section

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")


def small_table() -> CommandTable:
    """A table of a command that Valkey has, one that it has not, and a container."""
    made = CommandTable()

    @made.command("GET", READ, group="string")
    def get(call: Call, key: Key, *keys: Key) -> Reply:
        """Get it.

        Of no interest.

        Unlike Valkey, it takes
        several keys.
        """

    @made.command("OWN", group="zset")
    def own(call: Call) -> Reply:
        """Do it."""

    made.container("CLIENT", "Hold them.", group="server")
    return made


class PageTests(SynchronousTestCase):
    """The page."""

    def test_it_is_up_to_date(self) -> None:
        """Otherwise run scripts/command_table."""
        self.assertEqual(PAGE, replace_section(PAGE, table), "run scripts/command_table, which edits docs/COMMANDS.md")

    def test_every_command_is_in_it_once(self) -> None:
        """As many as COMMAND COUNT says, those that COMMAND DOCS tells of, and every subcommand, with its summary."""
        lines = PAGE.splitlines()
        for row in table.all_rows():
            self.assertEqual(lines.count(f"- **`{row.usage()}`**: {row.summary}"), 1, row.name)
        items = [line for line in lines if line.startswith("- **`")]
        self.assertEqual(len(items), len(list(table.all_rows())))
        docs, count = command_docs(None), command_count(None)  # type: ignore[arg-type]  # they look at the table only
        self.assertEqual(len(docs), count)
        names = [name for docs_name, told in docs.items() for name in (docs_name, *told.get("subcommands", ()))]
        starts = {item.partition("`")[2].lower().replace("`", " ") for item in items}
        for name in names:
            self.assertTrue(any(start.startswith(name.replace("|", " ") + " ") for start in starts), name)

    def test_the_script_agrees(self) -> None:
        """`scripts/command_table --check` says that the page is up to date."""
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / "command_table", "--check"], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class MarkdownTests(SynchronousTestCase):
    """What is written of a table."""

    def test_a_command(self) -> None:
        """Since when, arity, flags and cost; what differs from Valkey, from its docstring."""
        text = markdown(small_table())
        self.assertIn(
            "## String commands\n\n"
            "- **`GET key [key ...]`**: Get it.\n"
            "  Since 1.0.0; arity -2, readonly. O(1)\n"
            "  *Unlike Valkey*, it takes several keys.\n",
            text,
        )
        self.assertIn("- **`OWN`**: Do it.\n  Not in Valkey; arity 1.\n", text)

    def test_groups(self) -> None:
        """A new family has its place without a change here."""
        headings = re.findall("^## (.*)", markdown(small_table()), re.MULTILINE)
        self.assertEqual(headings, ["String commands", "Server commands", "Zset commands", "Not here"])

    def test_what_is_not_here(self) -> None:
        """What Valkey has and the table has not; not what a container that is missing holds."""
        absent = markdown(small_table()).partition("## Not here")[2].split("\n")
        self.assertIn("- `SET`", absent)
        self.assertIn("- `CLIENT ID`", absent)
        self.assertNotIn("- `GET`", absent)
        self.assertNotIn("- `CONFIG GET`", absent)

    def test_a_page_without_markers_is_refused(self) -> None:
        """Nothing is lost by writing it."""
        self.assertRaises(ValueError, replace_section, "# The protocol\n", table)
