"""REPORT.md of this checkout says what the data in report/ say.

Two ways: the page is made again, which measures nothing; and the numbers of its first page are worked out here from the
data, without the code that made it.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import median

from twisted.trial.unittest import SynchronousTestCase

from scripts.experimenting.report import TEMPLATE, check_report

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "REPORT.md").read_text(encoding="utf-8")

#: Where the first page ends.
SECOND_PAGE = "## Why the curves have their shape"

#: What stands in the first page's text without being measured: sizes that the programs have, and the notation.
NOT_MEASURED = {"100", "32"}

Rates = dict[tuple[str, str, int], list[float]]


def rates() -> Rates:
    """By variant, operation and clients: requests per second of each round."""
    found: Rates = defaultdict(list)
    with open(ROOT / "report" / "clients.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["variant"], row["operation"], int(row["clients"])].append(float(row["per_second"]))
    return found


class FirstPageTests(SynchronousTestCase):
    """The page, from outside."""

    def setUp(self) -> None:
        """The data, and the first page's lines."""
        self.rates = rates()
        self.page = PAGE.partition(SECOND_PAGE)[0]

    def test_it_follows_from_the_data(self) -> None:
        """Made again, it is the same."""
        self.assertTrue(check_report(ROOT / "report", ROOT / "REPORT.md"))

    def test_every_sum_in_the_table(self) -> None:
        """N by four operations: medians of at least three rounds, and the least and the most of them."""
        lines = re.findall(r"^\| (\d+) \| (.*) \|$", self.page, re.MULTILINE)
        self.assertEqual([int(n) for n, _ in lines], sorted({n for variant, _, n in self.rates if variant == "always"}))
        for n, cells in lines:
            operations = ("insert", "lookup", "query", "remove")
            for operation, cell in zip(operations, cells.split(" | "), strict=True):
                found = self.rates["always", operation, int(n)]
                self.assertGreaterEqual(len(found), 3)
                numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", cell)]
                wanted = [median(found), min(found), max(found)]
                self.assertTrue(all(abs(a - b) <= 0.5 for a, b in zip(numbers, wanted, strict=True)), (n, cell))

    def test_every_sum_in_the_text(self) -> None:
        """What each operation gets at most, alone, and without its causes."""
        for operation in ("insert", "lookup", "query", "remove"):
            best = {
                variant: max(median(found) for (v, o, _), found in self.rates.items() if (v, o) == (variant, operation))
                for variant in ("always", "cheap clients", "no sync")
            }
            sentence = re.search(rf"^- \*\*{operation}\*\* .*?(?=\n- |\n\n)", self.page, re.MULTILINE | re.DOTALL)
            assert sentence is not None
            said = " ".join(sentence[0].split())
            self.assertIn(f"{best['always']:,.0f} a second", said)
            for variant in ("cheap clients", "no sync"):
                self.assertIn(f"{best[variant] / best['always']:.1f} times", said)

    def test_no_number_is_typed(self) -> None:
        """In the template of the first page no number stands outside of what is filled in."""
        text = TEMPLATE.read_text(encoding="utf-8").partition(SECOND_PAGE)[0]
        self.assertLessEqual(set(re.findall(r"\d+", re.sub(r"\{.*?\}|`.*?`", "", text))), NOT_MEASURED)

    def test_data_say_where_they_come_from(self) -> None:
        """Each file has one beside it with date, commit, machine and command."""
        files = list((ROOT / "report").glob("*.csv"))
        self.assertIn(f"{ROOT}/report/clients.csv", map(str, files))
        for file in files:
            about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            self.assertLessEqual({"date", "commit", "processor", "system", "command"}, set(about), file)

    def test_nothing_is_left_of_the_template(self) -> None:
        """No marks, no comments, no questions."""
        for sign in ("{", "}", "<!--", "===", "TODO"):
            self.assertNotIn(sign, PAGE)
