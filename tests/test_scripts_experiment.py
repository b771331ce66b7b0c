"""The pure parts of scripts/experiment: the levelling rule, windows, raw data, what follows from them, the report."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client.timing import Timings
from scripts.experimenting import part_compaction, program
from scripts.experimenting.cross_check import command, parse
from scripts.experimenting.data import Data, committing_share, limit, predicted_per_second, thinking_ms
from scripts.experimenting.levelling import levelled_at, steps
from scripts.experimenting.report import UNKNOWN, MalformedReport, check_report, fill, write_report
from scripts.experimenting.rows import (
    ClientRow,
    CompactionRow,
    DistanceRow,
    MalformedData,
    PerfRow,
    ServerRow,
    TenthRow,
    read_rows,
    write_rows,
)
from scripts.experimenting.runs import RunFailed
from scripts.experimenting.stages import (
    NoWindow,
    Stage,
    Window,
    common_window,
    completed_in,
    mean_ms,
    merged_histogram,
    per_second_in,
    quantile_ms,
)
from scripts.experimenting.tables import TABLES
from scripts.experimenting.values import resolve

ROOT = Path(__file__).resolve().parent.parent


class LevellingTests(SynchronousTestCase):
    """How many clients, and when it is enough."""

    def test_steps(self) -> None:
        """The powers of two and what is half-way between them, up to the most."""
        self.assertEqual(list(steps(16)), [1, 2, 3, 4, 6, 8, 12, 16])
        self.assertEqual(list(steps(13)), [1, 2, 3, 4, 6, 8, 12])
        self.assertEqual(list(steps(1)), [1])

    def test_two_steps_without_gain(self) -> None:
        """It has levelled out at the last step that gained, once two in a row did not."""
        self.assertEqual(levelled_at([(1, 100), (2, 190), (3, 198), (4, 199)]), 2)
        self.assertIsNone(levelled_at([(1, 100), (2, 190), (3, 198)]))

    def test_exactly_the_least_gain_is_a_gain(self) -> None:
        """A step of exactly 5 % gains; one of a little less does not."""
        self.assertIsNone(levelled_at([(1, 100), (2, 105), (3, 110.25)]))
        self.assertEqual(levelled_at([(1, 100), (2, 104.9), (3, 104.9)]), 1)

    def test_one_bad_step_does_not_end_it(self) -> None:
        """A step that falls short, followed by one that gains, begins the count anew."""
        self.assertIsNone(levelled_at([(1, 100), (2, 90), (3, 150), (4, 150)]))
        self.assertEqual(levelled_at([(1, 100), (2, 90), (3, 150), (4, 150), (6, 151)]), 3)

    def test_a_fall_and_a_recovery_are_no_gain(self) -> None:
        """Gains count against the largest sum so far, not against the step before."""
        self.assertEqual(levelled_at([(1, 100), (2, 50), (3, 100)]), 1)

    def test_nothing_measured(self) -> None:
        """No steps, or steps in which nothing was done, have not levelled out."""
        self.assertIsNone(levelled_at([]))
        self.assertIsNone(levelled_at([(1, 0), (2, 0), (3, 0)]))

    def test_later_steps_change_nothing(self) -> None:
        """Once the rule is fulfilled, what comes after is not looked at."""
        self.assertEqual(levelled_at([(1, 100), (2, 100), (3, 100), (4, 300)]), 1)


def stage(start: float, completed: list[int], histogram: dict[int, int] | None = None, mean: float = 1.0) -> Stage:
    """A stage of tenths of a second."""
    found = histogram if histogram is not None else {1000: sum(completed)}
    return Stage("insert", start, start + len(completed) / 10, 0.1, completed, found, mean, 1.0, 1.0, 1.0)


class StageTests(SynchronousTestCase):
    """Several programs' reports of one stage."""

    def test_the_window_is_what_all_have_in_common(self) -> None:
        """From the latest start to the earliest end."""
        window = common_window([stage(10.0, [1] * 10), stage(10.3, [1] * 10), stage(9.0, [1] * 19)])
        self.assertAlmostEqual(window.start, 10.3)
        self.assertAlmostEqual(window.end, 10.9)

    def test_no_window(self) -> None:
        """Programs that did not run at the same time have none, and the message says by how much."""
        error = self.assertRaises(NoWindow, common_window, [stage(10.0, [1] * 5), stage(11.0, [1] * 5)])
        self.assertIn("0.50 s after the first ended", str(error))

    def test_only_whole_tenths_count(self) -> None:
        """Tenths that reach out of the window at either end do not count."""
        found = stage(10.0, [1, 2, 4, 8, 16])
        self.assertEqual(completed_in(found, Window(10.05, 10.45))[0], 2 + 4 + 8)
        requests, seconds = completed_in(found, Window(10.1, 10.3))
        self.assertEqual(requests, 2 + 4)
        self.assertAlmostEqual(seconds, 0.2)
        self.assertAlmostEqual(per_second_in(found, Window(10.1, 10.3)), 30)

    def test_its_own_window_is_all_of_it(self) -> None:
        """A program that ran alone has all its requests counted, at times that floating point cannot hold exactly."""
        for start in (0.0, 1795427757.80898, 1e9 / 3):
            found = stage(start, [3] * 7)
            self.assertEqual(completed_in(found, common_window([found]))[0], 21)

    def test_a_window_without_a_whole_tenth(self) -> None:
        """Too short a window is refused, not counted as nothing."""
        self.assertRaises(NoWindow, completed_in, stage(10.0, [1, 1]), Window(10.05, 10.14))

    @given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.floats(0, 1), st.floats(0, 1))
    def test_what_is_counted_was_done_in_the_window(self, completed: list[int], a: float, b: float) -> None:
        """Never more than the tenths that touch the window, and never tenths outside of it."""
        found = stage(100.0, completed)
        length = len(completed) / 10
        window = Window(100 + min(a, b) * length, 100 + max(a, b) * length)
        try:
            requests, seconds = completed_in(found, window)
        except NoWindow:
            self.assertLess(window.end - window.start, 0.2 + 1e-5)
        else:
            self.assertLessEqual(seconds, window.end - window.start + 1e-5)
            self.assertGreater(seconds, window.end - window.start - 0.2 - 1e-5)
            self.assertLessEqual(requests, sum(completed))

    def test_histograms_are_added(self) -> None:
        """Percentiles come from all programs' requests together, means by their numbers."""
        quick, slow = stage(0, [98], {100: 98}, mean=0.1), stage(0, [2], {5000: 2}, mean=5.0)
        merged = merged_histogram([quick, slow])
        self.assertEqual(quantile_ms(merged, 0.5), 0.1)
        self.assertEqual(quantile_ms(merged, 0.98), 0.1)
        self.assertEqual(quantile_ms(merged, 0.99), 5.0)
        self.assertAlmostEqual(mean_ms([quick, slow]), 0.198)
        self.assertEqual((quantile_ms({}, 0.5), mean_ms([])), (0.0, 0.0))

    def test_the_reports_of_programs_are_read(self) -> None:
        """What kvstore.client.timing writes, over JSON, is a stage."""
        times = iter([0, 0])
        timings = Timings("lookup", clock_ns=lambda: next(times), wall_seconds=lambda: 50.0)
        for began in (0, 150_000_000, 160_000_000):
            timings.add(began, began + 2_000_000)
        found = Stage.from_json(json.loads(json.dumps(timings.as_json())))
        self.assertEqual((found.name, found.start, found.completed, found.count), ("lookup", 50.0, [1, 2], 3))
        self.assertTrue(2.0 <= quantile_ms(found.histogram_us, 1) <= 2.0 * 17 / 16)


def row(**changes: object) -> PerfRow:
    """A row of sums; what a test cares about is said in `changes`."""
    about = PerfRow(1, "TestPerf", "always", 0, 1, "loopback", 0.0, 0.03, 4, "insert", 1.6, 16000, 10000.0, 0.35, 0.3,
                    0.9, 8.5, 0.3, 0.5, 0.0, 0.1, 0.4, 0.7, 1.5, 3750, 15000, 120.0)  # fmt: skip
    return replace(about, **changes)  # type: ignore[arg-type]


class RowTests(SynchronousTestCase):
    """The raw data."""

    def setUp(self) -> None:
        """A directory."""
        self.directory = Path(self.mktemp())

    def test_round_trip(self) -> None:
        """What is written is read again, of every kind, to the last digit."""
        perf = row(per_second=0.1 + 0.2, p50_ms=1e-7)
        clients = [ClientRow(1, "no", 2, i, "query", 1.5, 10, 6.6667, 0.1, 0.2, 0.3, 0.4) for i in range(2)]
        tenths = [TenthRow(-0.1, "GET", 0, 0.0, 0.0, 0.0), TenthRow(0.0, "SET", 7, 0.1, 0.2, 0.3)]
        whole = [CompactionRow("during", "GET", 10, 16, 1.5, 3, 2.0, 0.1, 0.2, 0.3, 1.5, 20.0, 0.9, 0.5, 0.4)]
        sums = [(PerfRow, [perf]), (ServerRow, [ServerRow(**vars(perf))]), (DistanceRow, [DistanceRow(**vars(perf))])]
        for kind, rows in [*sums, (ClientRow, clients), (TenthRow, tenths), (CompactionRow, whole)]:
            write_rows(self.directory, kind, rows)  # type: ignore[type-var]
            self.assertEqual(read_rows(self.directory, kind), rows)  # type: ignore[type-var]

    def test_missing_file(self) -> None:
        """A part that was not measured has no rows."""
        self.assertEqual(read_rows(self.directory, PerfRow), [])

    def test_other_columns(self) -> None:
        """A file of another version is refused, and the message says what to do."""
        write_rows(self.directory, TenthRow, [])
        (self.directory / TenthRow.FILE).rename(self.directory / PerfRow.FILE)
        error = self.assertRaises(MalformedData, read_rows, self.directory, PerfRow)
        self.assertIn("measure that part again", str(error))

    def test_damaged_value(self) -> None:
        """A value that is no number is refused with the file and the line."""
        write_rows(self.directory, PerfRow, [row()])
        path = self.directory / PerfRow.FILE
        path.write_text(path.read_text().replace("10000.0", "many"))
        error = self.assertRaises(MalformedData, read_rows, self.directory, PerfRow)
        self.assertIn("near line 2", str(error))


class FollowingTests(SynchronousTestCase):
    """What is worked out from a row."""

    def test_group_size_and_commits(self) -> None:
        """Group size and commits per second are those of the counters' stretch; without commits they are 0."""
        self.assertEqual((row().requests_per_commit, row().commits_per_second), (4.0, 2500.0))
        self.assertAlmostEqual(committing_share(row()), 0.3)
        none = row(commits=0, committed_requests=0)
        self.assertEqual((none.requests_per_commit, committing_share(none)), (0.0, 0.0))

    def test_littles_law(self) -> None:
        """What N clients spend on a request beyond its latency is N/X less that."""
        self.assertAlmostEqual(thinking_ms(row(clients=4, per_second=10000.0, mean_ms=0.35)), 0.05)

    def test_prediction(self) -> None:
        """A group of 4, 120 us for its commit, and 20 us for each request: 4 in 200 us."""
        unsynced = row(sync="no", per_second=50000.0, server_cpu=1.0)
        self.assertAlmostEqual(predicted_per_second(row(), unsynced), 20000.0)

    def test_limits(self) -> None:
        """Each rule decides when those before it do not."""
        self.assertEqual(limit(row(idle_cpu=0.1, disk_wait_cpu=0.05, server_cpu=0.9)), "both processors")
        self.assertEqual(limit(row(server_cpu=0.9)), "the server's processor")
        self.assertEqual(limit(row(server_cpu=0.3, commit_us=240.0)), "the disk")
        self.assertEqual(limit(row(server_cpu=0.6)), "the server's processor, and the disk")
        self.assertEqual(limit(row(generator="swarm", clients_cpu=0.95)), "the generator's processor")
        self.assertEqual(limit(row(delay_ms=5.0)), "distance")
        self.assertEqual(limit(row()), "too few clients")


class CompactionTests(SynchronousTestCase):
    """The course of a compaction."""

    def test_tenths(self) -> None:
        """A request counts where its reply came; tenths before the compaction are negative; the ends are left out."""
        tenth = part_compaction.TENTH_NS
        requests = [
            ("GET", 1000 * tenth + number * tenth + 50_000_000 - took * 1_000_000, took * 1_000_000)
            for number, took in ((-2, 1), (-1, 2), (0, 3), (2, 4), (3, 5))
        ]
        trace = polars.DataFrame(requests, schema=["kind", "began_ns", "took_ns"], orient="row")
        rows = part_compaction.tenths(trace, 1000 * tenth)
        self.assertEqual([(r.seconds, r.requests, r.slowest_ms) for r in rows],
                         [(-0.1, 1, 2.0), (0.0, 1, 3.0), (0.1, 0, 0.0), (0.2, 1, 4.0)])  # fmt: skip


class CrossCheckTests(SynchronousTestCase):
    """redis-benchmark's output."""

    def test_parse(self) -> None:
        """The figures are found behind a command that has quotes and commas itself."""
        asked = 'insert key:__rand_int__ {"group":"__rand_int__","text":"x"}'
        line = f'"{asked}","7518.80","0.513","0.1","0.4","0.9","2.1","5.5"'
        figures = parse(f'"test","rps",...\n{line}\n')
        self.assertEqual((figures["per_second"], figures["p99"], figures["max"]), (7518.8, 2.1, 5.5))
        self.assertRaises(RunFailed, parse, "Could not connect\n")

    def test_documents_are_as_long_as_testperfs(self) -> None:
        """Its documents have 100 bytes once the numbers stand in them."""
        document = command(1, "insert", 1, 1)[-1]
        self.assertEqual((len(document), set(json.loads(document))), (100, {"group", "text"}))


class ReportTests(SynchronousTestCase):
    """REPORT.md and its marks."""

    def setUp(self) -> None:
        """Some data."""
        self.root = Path(self.mktemp())
        self.out = self.root / "report"
        rows = [row(clients=n, per_second=rate) for n, rate in ((1, 4000.0), (2, 7000.0), (16, 30000.0))]
        write_rows(self.out, PerfRow, rows)
        write_rows(self.out, ClientRow, [])
        self.data = Data.read(self.out)

    def write(self, text: str) -> None:
        """Make a REPORT.md."""
        (self.root / "REPORT.md").write_text(text, encoding="utf-8")

    def test_values_and_tables_are_replaced_and_nothing_else(self) -> None:
        """What stands before a mark, or between two, is made of the data; the text around them stays."""
        text = ("At 16: ?<!--perf.always.insert.at16-->, 5,678 kept\n\n<!-- table testperf-levelling -->\nold\n"
                "<!-- end -->\nbye 7 %<!--rule.gain-->.\n")  # fmt: skip
        filled = fill(text, self.data)
        self.assertIn("At 16: 30,000<!--perf.always.insert.at16-->, 5,678 kept\n", filled)
        self.assertIn("| insert, `always` | 4,000 |", filled)
        self.assertNotIn("old", filled)
        self.assertIn("\nbye 5 %<!--rule.gain-->.\n", filled)
        self.assertEqual(fill(filled, self.data), filled)

    def test_values_of_every_form_are_replaced_whole(self) -> None:
        """Negative numbers, shares, bounds and unknown values leave nothing of themselves behind."""
        write_rows(self.out, ServerRow, [ServerRow(**vars(row(generator="swarm", clients=1, per_second=20000.0)))])
        data = Data.read(self.out)
        text = "is {}<!--clients-part.insert-->, at {}<!--perf.always.insert.levelled-->"
        for old in (("?", "?"), ("-50 %", "16+"), ("1,234.5", "-7 %"), ("3\n  %", "0")):
            self.assertEqual(fill(text.format(*old), data), text.format("-50 %", "16+"))

    def test_what_was_not_measured(self) -> None:
        """A value without data is a question mark, a table without data a line with the command."""
        self.assertEqual(fill("9<!--gain.16-->", self.data), f"{UNKNOWN}<!--gain.16-->")
        self.assertIn("scripts/experiment compaction", TABLES["compaction"](self.data))

    def test_marks_that_mean_nothing(self) -> None:
        """Unknown names, marks without a partner and marks without a number are refused, and named."""
        unknown = [("1<!--nonsense.name-->", "nonsense.name"), ("<!-- table nonsense -->\n<!-- end -->", "nonsense")]
        for text, what in [*unknown, ("<!-- table machine -->\n", "partner"), ("word<!--gain.16-->", "partner")]:
            self.assertIn(what, str(self.assertRaises(MalformedReport, fill, text, self.data)))

    def test_every_table_is_made_without_data(self) -> None:
        """No table fails for want of data."""
        empty = Data({}, [], [], [], [], [], [])
        for table in TABLES.values():
            self.assertIsInstance(table(empty), str)

    def test_check(self) -> None:
        """Checking tells a text that follows from the data from one that does not, and writes nothing."""
        self.write("30,000<!--perf.always.insert.at16-->\n")
        self.assertTrue(check_report(self.root, self.out))
        self.write("30,001<!--perf.always.insert.at16-->\n")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertFalse(check_report(self.root, self.out))
        self.assertIn("does not follow from the data", said.getvalue())
        self.assertIn("30,001", (self.root / "REPORT.md").read_text(encoding="utf-8"))

    @pytest.mark.long
    def test_plots_and_text_are_written(self) -> None:
        """Writing draws what there are data for, and brings the text in step; data elsewhere get a copy."""
        self.write("1<!--perf.always.insert.at16--> ![](report/x.png)\n")
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(write_report(self.root, self.out))
            elsewhere = self.root / "elsewhere"
            write_rows(elsewhere, PerfRow, [row(clients=16, per_second=5.0)])
            self.assertTrue(write_report(self.root, elsewhere))
        self.assertEqual((self.out / "testperf-throughput.png").read_bytes()[:4], b"\x89PNG")
        self.assertFalse((self.out / "compaction.png").exists())
        own = (self.root / "REPORT.md").read_text(encoding="utf-8")
        self.assertEqual(own, "30,000<!--perf.always.insert.at16--> ![](report/x.png)\n")
        copy = (elsewhere / "REPORT.md").read_text(encoding="utf-8")
        self.assertEqual(copy, "5.0<!--perf.always.insert.at16--> ![](x.png)\n")

    def test_names_of_values(self) -> None:
        """Names are paths; a part of one that does not exist makes it unknown."""
        for name in ("perf.no.query.best", "server.deep.lookup.at16", "compaction.GET.during.p99", "far.insert.one"):
            self.assertIsNotNone(resolve(name), name)
        for name in (
            "perf.everysec.query.best",
            "server.deep.lookup",
            "compaction.GET.later.p99",
            "far.insert.nothing",
        ):
            self.assertIsNone(resolve(name), name)

    def test_the_projects_report_follows_from_its_data(self) -> None:
        """REPORT.md in this checkout says what the data in report/ say."""
        self.assertTrue(check_report(ROOT, ROOT / "report"))


class ProgramTests(SynchronousTestCase):
    """The command line."""

    def refused(self, *words: str) -> str:
        """What is said of a bad one."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertRaises(SystemExit, program.parse_arguments, "", list(words))
        return said.getvalue()

    def test_parts(self) -> None:
        """Without names, those that need no root; `report` alone measures nothing."""
        self.assertEqual(program.parse_arguments("", []).parts, ["testperf", "server", "compaction"])
        self.assertEqual(program.parse_arguments("", ["--two-hosts"]).parts, ["two-hosts"])
        self.assertEqual(program.parse_arguments("", ["report"]).parts, [])
        self.assertEqual(program.parse_arguments("", ["--check"]).parts, [])

    def test_refusals(self) -> None:
        """What cannot be done is said at once."""
        self.assertIn("none of the parts", self.refused("everything"))
        self.assertIn("say with --out", self.refused("--quick"))
        self.assertIn("no such directory", self.refused("--directory", "/nonexistent"))
        self.assertIn("measures nothing", self.refused("server", "--check"))
