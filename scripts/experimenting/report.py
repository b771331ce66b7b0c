"""REPORT.md and its plots, kept in step with the raw data.

The text is a person's; tables and values in it are made here, and stand between marks that a reader of the page does
not see:

    <!-- table NAME -->        the table of that name in `tables`, up to
    <!-- end -->

    ... 1,234<!--NAME--> inserts a second ...        before the mark, the value of that name in `values`: a number

Writing the report replaces what is between the marks, and nothing else. Checking it says whether that would change
anything: whether the text follows from the data. Rejected: a template from which REPORT.md is made, since then there
are two files to read and the wrong one gets edited.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts.experimenting.data import Data
from scripts.experimenting.tables import TABLES
from scripts.experimenting.values import NotMeasured, resolve

REPORT_NAME = "REPORT.md"

_TABLE = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MARK = re.compile(r"<!--")

#: What stands for a value that cannot be made of the data there is.
UNKNOWN = "?"

#: A number as `wording` writes it, or UNKNOWN, and its mark. The mark comes behind: a line that begins with one would
#: not be part of its paragraph (CommonMark, HTML blocks).
_VALUE = re.compile(r"-?(?:\d[\d,.]*|\?)(?:\+|\s+%)?(<!--([\w.-]+)-->)")


class MalformedReport(Exception):
    """REPORT.md has a mark that means nothing; the text says which."""


def fill(text: str, data: Data) -> str:
    """The text with tables and values made of `data`. Raises MalformedReport."""
    return _fill_values(_fill_tables(text, data), data)


def _fill_tables(text: str, data: Data) -> str:
    def table(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise MalformedReport(f"there is no table {match[2]!r}; there are {', '.join(TABLES)}")
        return f"{match[1]}{TABLES[match[2]](data)}{match[3]}"

    _check_marks(text)
    return _TABLE.sub(table, text)


def _fill_values(text: str, data: Data) -> str:
    def value(match: re.Match[str]) -> str:
        return f"{value_text(match[2], data)}{match[1]}"

    return _VALUE.sub(value, text)


def value_text(name: str, data: Data) -> str:
    """One value of the text, or UNKNOWN if what it needs was not measured. Raises MalformedReport."""
    work_out = resolve(name)
    if work_out is None:
        raise MalformedReport(f"there is no value {name!r}: see scripts/experimenting/values.py")
    try:
        return work_out(data)
    except NotMeasured:
        return UNKNOWN


def _check_marks(text: str) -> None:
    """Raise MalformedReport if a mark is not where it means something: what it marks would never be kept in step."""
    rest = _VALUE.sub("", _TABLE.sub("", text))
    if stray := _MARK.search(rest):
        line = rest[stray.start() :].splitlines()[0]
        raise MalformedReport(f"a mark without its partner or its number: {line[:80]!r}")


def write_report(root: Path, out: Path) -> bool:
    """Make the plots, and bring REPORT.md in step: that of the checkout, or, for data elsewhere, a copy beside them.

    Returns whether it could be done. Raises MalformedData.
    """
    from scripts.experimenting.plots import PLOTS  # matplotlib takes long to import, and checking does not need it

    data = Data.read(out)
    source = root / REPORT_NAME
    target = source if out.resolve() == (root / "report").resolve() else out / REPORT_NAME
    for name, plot in PLOTS.items():
        if plot(data, out / f"{name}.png"):
            print(f"drawn: {out / name}.png")
    try:
        text = fill(source.read_text(encoding="utf-8"), data)
    except MalformedReport as error:
        print(f"experiment: {source}: {error}", file=sys.stderr)
        return False
    target.write_text(text if target == source else text.replace("](report/", "]("), encoding="utf-8")
    print(f"written: {target}")
    return True


def check_report(root: Path, out: Path) -> bool:
    """Whether REPORT.md follows from the data; says so if not. Raises MalformedData."""
    source = root / REPORT_NAME
    text = source.read_text(encoding="utf-8")
    try:
        follows = fill(text, Data.read(out)) == text
    except MalformedReport as error:
        print(f"experiment: {source}: {error}", file=sys.stderr)
        return False
    if not follows:
        print(
            f"experiment: {source} does not follow from the data in {out}: run scripts/experiment report",
            file=sys.stderr,
        )
    return follows
