"""scripts/growth: its cases, its report, and one very small table."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from pathlib import Path
from unittest import mock

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from scripts.growing import program as growing
from scripts.growing import table_size
from scripts.growing.program import GROWTH
from scripts.growing.table_size import apart
from scripts.measuring import program
from scripts.measuring.bench import KVSTORE, Bench, Effort
from scripts.measuring.load import documents, load
from scripts.measuring.record import Record


def _every_measure() -> dict[str, float]:
    """One of each that the tables show."""
    parts = [part for parts in growing.PARTS.values() for part in parts.values()]
    return {name: 1234.5 for _, measures in parts for name in measures}


class CasesTests(SynchronousTestCase):
    """What can be asked of scripts/growth."""

    def test_quick_is_of_small_sizes(self) -> None:
        """Unless cases are named."""
        quick = [case.name for case in program.parse_arguments(GROWTH, "", ["--quick"]).cases]
        self.assertEqual(quick, ["keys-1000", "keys-10000", "connections-100"])
        named = program.parse_arguments(GROWTH, "", ["--quick", "connections"]).cases
        self.assertEqual([case.title for case in named], ["100", "1,000", "5,000", "10,000"])

    def test_leaves_out_what_does_not_fit(self) -> None:
        """Sizes that memory is too small for."""
        self.assertGreater(program.available_bytes(), 1_000_000)
        output = io.StringIO()
        words = ["growth", "keys-10000", "--out", str(Path(self.mktemp()).absolute())]
        with (
            mock.patch.object(program, "available_bytes", lambda: 1_000_000),
            mock.patch("sys.argv", words),
            contextlib.redirect_stdout(output),
        ):
            self.assertEqual(program.main(GROWTH, ""), 0)
        self.assertIn("left out: there is too little memory", output.getvalue())


class ReportTests(SynchronousTestCase):
    """The report's file."""

    def _record(self, measures: dict[str, float]) -> Record:
        record = Record()
        for case in program.choose(GROWTH, ["keys-1000", "connections-100"]):
            record.put(case, {KVSTORE: [measures]}, {"commit": "abc", "date": "now"})
        return record

    def test_tables_have_a_column_for_each_size(self) -> None:
        """Connections have a table of their own; a measure that is not there is a dash."""
        measures = _every_measure()
        del measures["log_us_each"]
        text = program.as_markdown(GROWTH, self._record(measures), {"command": "x"}, ["growth.png"])
        text = re.sub(" +", " ", text)
        for part in ("| keys | 1,000 |", "| memory of a key: loaded | 1,234 bytes |",
                     "| more: start from the log, a key | - |",
                     "| connections | 100 |", "- command: `x`", "![growth.png](growth.png)"):  # fmt: skip
            self.assertIn(part, text)
        self.assertEqual(growing.tables(Record()), [])

    @pytest.mark.long
    def test_plots_what_there_is(self) -> None:
        """The panels of what was not measured stay empty."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.assertEqual(growing.draw(self._record(_every_measure()).part(["keys-1000"]), directory), ["growth.png"])
        self.assertGreater((directory / "growth.png").stat().st_size, 10_000)


class ApartTests(SynchronousTestCase):
    """Processors for the server, and for who measures it."""

    def test_one_for_the_server(self) -> None:
        """The others for this process, as long as that lasts; with one processor nothing is asked for."""
        for every, asked in (
            ({1, 2, 3}, [(77, {1}), (0, {2, 3}), (0, {1, 2, 3}), (77, {1, 2, 3})]),
            ({1}, []),
        ):
            heard: list[object] = []
            with (
                mock.patch("os.sched_getaffinity", lambda _, every=every: every),
                mock.patch("os.sched_setaffinity", lambda pid, cpus, heard=heard: heard.append((pid, cpus))),
                apart(mock.Mock(pid=77)),
            ):
                self.assertEqual(heard, asked[:2])
            self.assertEqual(heard, asked)


class TableSizeTests(SynchronousTestCase):
    """One size, with a real server."""

    def test_measures_what_does_not_grow(self) -> None:
        """Requests, queries and passes over the table; all keys are there, and told."""
        if shutil.which(os.environ.get("CC", "cc")) is None:
            raise SkipTest("there is no C compiler")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        with Bench("small", Effort(1, 0.2), directory) as bench, mock.patch.object(table_size, "QUERIES", 3):
            server = bench.start(KVSTORE)
            load(server.port, documents(50))
            found = table_size.measure_served(bench, server, 50)
        self.assertGreater(min(found.values()), 0)
