"""docs/COMMANDS.md is the command table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvstore.commands import table
from kvstore.commands.registry import CommandTable
from kvstore.commands.table_document import markdown, replace_section

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")


class TableTests(SynchronousTestCase):
    """The table of all commands in the page."""

    def test_it_is_up_to_date(self) -> None:
        """Otherwise run scripts/command_table."""
        self.assertEqual(PAGE, replace_section(PAGE, table), "run scripts/command_table, which edits docs/COMMANDS.md")

    def test_every_command_is_in_it(self) -> None:
        """Once, and every subcommand, with its summary."""
        lines = markdown(table).replace("\\|", "|").splitlines()
        for row in table.all_rows():
            if not row.subcommands or row.least == 1:
                beginning = f"| `{row.usage()}` | {row.summary} |"
                self.assertEqual(sum(line.startswith(beginning) for line in lines), 1, row.name)

    def test_every_row_has_its_cells(self) -> None:
        """A bar in the usage of a command does not end its cell."""
        for line in markdown(table).splitlines():
            if line.startswith("|"):
                self.assertEqual(len(re.findall(r"(?<!\\)\|", line)), 4, line)

    def test_groups_that_are_not_known_come_last(self) -> None:
        """A new family has its place without a change here."""
        made = CommandTable()
        for name, group in (("B", "zset"), ("A", "bitmap"), ("C", "server")):
            made.command(name, group=group)(lambda call: None)
        headings = [line for line in markdown(made).splitlines() if line.startswith("### ")]
        self.assertEqual(headings, ["### Server", "### Bitmap", "### Zset"])

    def test_a_page_without_markers_is_refused(self) -> None:
        """Nothing is lost by writing it."""
        self.assertRaises(ValueError, replace_section, "# The protocol\n", table)

    def test_the_script_agrees(self) -> None:
        """`scripts/command_table --check` says that the page is up to date."""
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / "command_table", "--check"], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
