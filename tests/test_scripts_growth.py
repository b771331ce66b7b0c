"""scripts/growth: its command line, its report, and one very small table."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from scripts.growing import plots, program, report, table_size
from scripts.growing.apart import apart
from scripts.growing.report import JSON_NAME, Growth
from scripts.measuring.bench import Bench
from scripts.measuring.load import load


def _every_measure() -> dict[str, float]:
    """One of each that the tables show."""
    columns = [column for _, columns in [*report._TABLES, report._CONNECTIONS] for column in columns]
    return {column.measure: 1234.5 for column in columns}


class CommandLineTests(SynchronousTestCase):
    """What can be asked of scripts/growth."""

    def test_sizes(self) -> None:
        """The full ones unless --quick; each list may be given, also an empty one."""
        self.assertEqual(tuple(program.parse_arguments("", []).sizes), program.SIZES)
        self.assertEqual(tuple(program.parse_arguments("", ["--quick"]).sizes), program.QUICK_SIZES)
        arguments = program.parse_arguments("", ["--sizes", "5", "--connections"])
        self.assertEqual((arguments.sizes, arguments.connections), ([5], []))

    def test_bad_values_end_it(self) -> None:
        """A number that is not over 0, a directory that is not there."""
        for words in (["--sizes", "0"], ["--seconds", "-1"], ["--directory", "/no/such/place"]):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertRaises(SystemExit, program.parse_arguments, "", words)

    def test_leaves_out_what_is_there_or_does_not_fit(self) -> None:
        """Sizes that the report has, if asked to resume; sizes that memory is too small for."""
        arguments = program.parse_arguments("", ["--resume", "--sizes", "10", "20", "2000", "--connections", "1", "2"])
        growth = Growth(sizes={10: {}}, connections={2: {}})
        errors = io.StringIO()
        with mock.patch.object(program, "available_bytes", lambda: 1_000_000), contextlib.redirect_stderr(errors):
            self.assertEqual([name for name, _ in program._steps(arguments, growth)], ["keys-20", "connections-1"])
        self.assertIn("2,000 keys are left out", errors.getvalue())
        self.assertGreater(program.available_bytes(), 1_000_000)


class ReportTests(SynchronousTestCase):
    """The report's files."""

    def test_is_read_again(self) -> None:
        """Sizes in their order, whichever was measured first."""
        path = Path(self.mktemp()) / JSON_NAME
        growth = Growth(path, {"command": "x"}, {2_000: _every_measure(), 1_000: _every_measure()})
        growth.save()
        again = Growth.read(path)
        self.assertEqual(list(again.sizes), [1_000, 2_000])
        self.assertEqual(again, growth)

    def test_tables_have_a_row_for_each_size(self) -> None:
        """Connections have a table of their own; without any there is none."""
        growth = Growth(None, {"command": "x"}, {1_000: _every_measure()}, {100: _every_measure()})
        text = report.as_markdown(growth, [plots.PICTURE])
        for part in ("| 1,000 | 1,234.50 |", "| 100 | 1.2 | 1,234 |", "- command: `x`", "![growth.png](growth.png)"):
            self.assertIn(part, text)
        self.assertEqual(report.tables(Growth()), [])

    def test_a_measure_that_is_not_there(self) -> None:
        """A small table's starts are not divided by its keys."""
        measures = _every_measure()
        del measures["log_us_each"]
        self.assertIn(" - ", report.as_markdown(Growth(sizes={1_000: measures})))

    def test_plots_are_of_measures_that_there_are(self) -> None:
        """Each line of the plot is a column of a table."""
        lines = {measure for _, _, lines in [*plots._PANELS, *plots._CONNECTIONS] for measure in lines}
        self.assertEqual(lines - set(_every_measure()), set())
        self.assertFalse(plots.draw(Growth(), Path("nowhere")))


class ApartTests(SynchronousTestCase):
    """Processors for the server, and for who measures it."""

    def test_one_for_the_server(self) -> None:
        """The others for this process, as long as that lasts."""
        asked = []
        server = mock.Mock(pid=77)
        with (
            mock.patch("os.sched_getaffinity", lambda _: {1, 2, 3}),
            mock.patch("os.sched_setaffinity", lambda pid, cpus: asked.append((pid, cpus))),
        ):
            with apart(server):
                self.assertEqual(asked, [(77, {1}), (0, {2, 3})])
            self.assertEqual(asked[2:], [(0, {1, 2, 3}), (77, {1, 2, 3})])

    def test_a_machine_with_one(self) -> None:
        """Nothing is asked for."""
        with (
            mock.patch("os.sched_getaffinity", lambda _: {1}),
            mock.patch("os.sched_setaffinity") as asked,
            apart(mock.Mock(pid=77)),
        ):
            asked.assert_not_called()


class TableSizeTests(SynchronousTestCase):
    """One size, with a real server."""

    def test_measures_what_does_not_grow(self) -> None:
        """Requests, queries and passes over the table; all keys are there, and told."""
        if shutil.which(os.environ.get("CC", "cc")) is None:
            raise SkipTest("there is no C compiler")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        arguments = program.parse_arguments("", ["--quick", "--seconds", "0.2"])
        with Bench("small", arguments.effort, directory) as bench, mock.patch.object(table_size, "QUERIES", 3):
            server = bench.kvstore("table")
            load(server.port, table_size.documents(500))
            found = table_size.measure_served(bench, server, 500)
        self.assertEqual(set(found) - set(_every_measure()), set())
        self.assertGreater(min(found.values()), 0)
