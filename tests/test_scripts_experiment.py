"""The pure parts of scripts/experiment: the plan, raw data, the levelling rule, what was to be expected, the page."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.client.exchange import encode_request
from scripts.experimenting import program, report, requests
from scripts.experimenting.facts import facts, levelled_at, series_of
from scripts.experimenting.model import Model
from scripts.experimenting.plan import FULL, OPERATIONS, PARTS, QUICK, Run, Variant, runs
from scripts.experimenting.running import Reading, RunFailed, between, figures_of, summed
from scripts.experimenting.store import Record, Row

ABOUT = ("date", "commit", "command", "load before", "processor", "memory", "system", "file system", "versions")


def row(**columns: Any) -> Row:
    """A row of raw data, with what is not given as some run may have it."""
    usual = {"round": 1, "variant": "always", "clients": 1, "operation": "insert", "seconds": 1.0, "requests": 100,
             "per_second": 100.0, "mean_ms": 1.0, "p50_ms": 1.0, "p99_ms": 2.0, "slowest_ms": 3.0, "server_cpu": 0.5,
             "clients_cpu": 0.25, "link_cpu": 0.0, "idle_cpu": 1.0, "commits": 50, "committed": 100,
             "commit_us": 120.0}  # fmt: skip
    return usual | columns


class PlanTests(SynchronousTestCase):
    """What is measured, in which order."""

    def test_rounds_follow_one_another(self) -> None:
        """In each round the clients grow, and with each number of them the variants take turns."""
        planned = list(runs("clients", FULL))
        order = [(run.round, run.clients) for run in planned]
        self.assertEqual(order, sorted(order))
        self.assertEqual([run.variant.name for run in planned[:3]], ["always", "no sync", "cheap clients"])
        self.assertEqual({run.round for run in planned}, {1, 2, 3})

    def test_quick_is_a_part_of_it(self) -> None:
        """--quick has few clients."""
        self.assertLessEqual({run.clients for run in runs("distance", QUICK)}, {1, 4})

    def test_the_first_page_takes_less_than_ten_minutes(self) -> None:
        """And all of it less than twenty-five, as far as the plan can tell."""
        seconds = {part: sum(map(FULL.run_seconds, runs(part, FULL))) for part in PARTS}
        self.assertLess(seconds["clients"], 540)
        self.assertLess(sum(seconds.values()), 1300)


class RecordTests(SynchronousTestCase):
    """Raw data."""

    def setUp(self) -> None:
        """A directory for them."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_what_was_written_is_read(self) -> None:
        """A run that was broken off is gone on with: its rows are there, the others are not."""
        record = Record(self.directory, "clients")
        record.begin({"command": "c", "finished": False})
        record.add([row(clients=2, p50_ms=0.123456789), row(clients=2, operation="lookup")])
        again = Record(self.directory, "clients")
        self.assertEqual([found["p50_ms"] for found in again.rows], [0.123457, 1.0])
        self.assertTrue(again.has(1, "always", 2))
        self.assertFalse(again.has(2, "always", 2) or again.has(1, "no sync", 2) or again.finished)
        again.note({"finished": True})
        self.assertEqual(Record(self.directory, "clients").about, {"command": "c", "finished": True})
        again.begin({"command": "d"})
        self.assertEqual(Record(self.directory, "clients").rows, [])


class WindowTests(SynchronousTestCase):
    """What counts of a run."""

    def trace(self, *spans: tuple[int, int]) -> pl.DataFrame:
        """Clients that each made requests of a millisecond, one after the other, between these milliseconds."""
        rows = [(name, ms * 10**6, 10**6) for name, (start, end) in enumerate(spans) for ms in range(start, end)]
        return pl.DataFrame(rows, schema=["client", "began_ns", "took_ns"], orient="row")

    def reading(self, ms: int) -> Reading:
        """One in which the server used half, and ten commits with two requests each were made in each millisecond."""
        ns = ms * 10**6
        return Reading(ns, ns // 2, ns // 4, 0, ns, 0, ms * 10, ms * 20, ms * 500.0)

    def test_while_all_were_running(self) -> None:
        """From the latest start to the earliest end; readings at both ends of it are compared."""
        effort = FULL._replace(seconds=0.05)
        found = summed("insert", self.trace((0, 80), (20, 100)), [*map(self.reading, range(0, 101, 10))], effort)
        self.assertEqual((found["seconds"], found["requests"]), (0.06, 121))  # one ends just when the time begins
        self.assertEqual([found[name] for name in ("server_cpu", "clients_cpu", "idle_cpu")], [0.5, 0.25, 1.0])
        self.assertEqual((found["commits"], found["committed"], found["commit_us"]), (600, 1200, 50.0))
        self.assertEqual((found["p50_ms"], found["slowest_ms"]), (1.0, 1.0))

    def test_clients_that_never_ran_together(self) -> None:
        """Such a run is worth nothing, nor is one without readings."""
        self.assertRaises(RunFailed, summed, "insert", self.trace((0, 10), (20, 30)), [], FULL)
        self.assertRaises(RunFailed, between, [self.reading(1), self.reading(50)], 0, 10**7)

    def test_quantiles_are_of_every_request(self) -> None:
        """By nearest rank."""
        trace = pl.DataFrame({"took_ns": [n * 10**6 for n in range(100, 0, -1)]})
        found = figures_of(trace, 2.0)
        self.assertEqual((found["per_second"], found["mean_ms"], found["slowest_ms"]), (50.0, 50.5, 100.0))
        self.assertIn(found["p99_ms"], (99.0, 100.0))


class RequestTests(SynchronousTestCase):
    """What the generator sends."""

    def test_documents_are_testperfs(self) -> None:
        """Of a hundred bytes, ten of which share a member; keys and members are those that lookups and queries name."""
        lines = {name: json.loads(requests.request(name, 12345)) for name in OPERATIONS}
        value = lines["insert"].pop("value")
        self.assertEqual(len(json.dumps(value, separators=(",", ":"))), 100)
        self.assertEqual(lines["insert"], {"id": 12345, "method": "insert", "key": "documents-12345"})
        self.assertEqual(lines["query"]["subvalue"], value["group"])
        self.assertEqual(lines["lookup"]["key"], lines["remove"]["key"])
        self.assertEqual(requests.request("lookup", 3), encode_request(3, "lookup", {"key": "documents-3"}))


class LevellingTests(SynchronousTestCase):
    """Where a series levels out."""

    def test_the_first_that_none_beats(self) -> None:
        """By 5 %, of at least two larger ones: bad steps in the middle hide nothing, and slow growth is growth."""
        self.assertEqual(levelled_at([(1, 100), (2, 200), (3, 205), (4, 209)]), 2)
        self.assertEqual(levelled_at([(1, 100), (2, 50), (3, 60), (4, 300), (6, 200), (8, 310)]), 4)
        self.assertEqual(levelled_at([(1, 100), (2, 104), (3, 108), (4, 112), (6, 112), (8, 112)]), 3)
        self.assertIsNone(levelled_at([(1, 100), (2, 200), (3, 300), (4, 301)]))
        self.assertIsNone(levelled_at([]))

    @given(st.lists(st.floats(1, 1e6), max_size=12))
    def test_it_is_what_the_words_say(self, rates: list[float]) -> None:
        """None beats it by 5 %, and one beats each before it."""
        at = levelled_at(list(enumerate(rates, 1)))
        rule = [all(later < 1.05 * rate for later in rates[i + 1 :]) for i, rate in enumerate(rates)]
        self.assertEqual(at, rule.index(True) + 1 if True in rule[:-2] else None)

    def test_one_round_decides_nothing(self) -> None:
        """Medians count; the spread is told."""
        rows = [row(round=number, clients=n, per_second=rate) for n, rates in ((1, (9, 10, 11)), (2, (20, 90, 21)))
                for number, rate in enumerate(map(float, rates))]  # fmt: skip
        series = series_of(pl.DataFrame(rows))["always"]["insert"]
        two = series.at[2]
        self.assertEqual((two.rate, two.low, two.high, two.group), (21, 20, 90, 2))
        self.assertEqual((series.one.rate, series.best, series.levels), (10, two, "N > 2"))
        self.assertEqual(series.one.server_us, 50_000)


class ModelTests(SynchronousTestCase):
    """What was to be expected."""

    def test_one_client_is_what_was_measured(self) -> None:
        """The curve begins there, whatever the constants are."""
        for sync, groups in ((0.0, {}), (150.0, {1: 1.0, 32: 20.0})):
            model = Model(300.0, 20.0, 40.0, sync, {1: 1.0} | groups, 2)
            self.assertAlmostEqual(model.curve(1)[0], 1e6 / 300)

    def test_what_many_tend_to(self) -> None:
        """The loop's time, with its share of the sync, or that of the processors, whichever is longer."""
        for server, client, sync, most in ((50.0, 10.0, 0.0, 50.0), (20.0, 60.0, 0.0, 40.0), (20.0, 10.0, 160.0, 30.0)):
            curve = Model(400.0, server, client, sync, {1: 1.0, 4: 16.0}, 2).curve(200)
            self.assertAlmostEqual(curve[-1] * most / 1e6, 1.0, places=1)
            self.assertLessEqual(curve[-1], 1e6 / most)

    def test_groups_between(self) -> None:
        """They lie on a line between those that were measured, and end with the last."""
        model = Model(300.0, 20.0, 40.0, 150.0, {1: 1.0, 2: 1.0, 6: 3.0}, 2)
        self.assertEqual([model.group(n) for n in (1, 2, 4, 6, 9)], [1, 1, 2, 3, 3])


class PageTests(SynchronousTestCase):
    """The page and the long tables, from made-up data."""

    def setUp(self) -> None:
        """Data of all parts, with rates that tell which they are."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        about: dict[str, Any] = dict.fromkeys(ABOUT, "x")
        child = {"child_cpu": 0.78, "server_grown_mib": 1.0, "child_mib": 92.0}
        for number, (part, variants) in enumerate(PARTS.items(), 1):
            record = Record(self.directory, part)
            record.begin(about | {"quick": False, "took_seconds": 60, "sync_us": 80.0, "processors": 2})
            record.add(
                row(variant=variant.name, clients=n, operation=operation, per_second=1000.0 * number + n, **child)
                for variant in self.phases(variants) for n in variant.clients[:3] for operation in variant.operations
            )  # fmt: skip
            record.note({"finished": True})

    def phases(self, variants: Any) -> list[Variant]:
        """The variants as they are in the data."""
        if variants[0].name != "compaction":
            return list(variants)
        return [variants[0]._replace(name=name) for name in ("before", "during", "after")]

    def test_every_name_in_the_template_is_known(self) -> None:
        """All of it can be filled in, and nothing of the template is left."""
        text = report.page(self.directory)
        for sign in ("{", "}", "<!--", "===", "Not measured"):
            self.assertNotIn(sign, text)
        self.assertIn("| 2 | 1,002 (1,002 to 1,002) |", text)
        self.assertIn("78% of a processor", text)
        self.assertIn("## valkey: GET, Valkey", report.tables(self.directory))

    def test_what_was_not_measured(self) -> None:
        """A part that is not there, or not whole, is left out, with a word in its place."""
        Record(self.directory, "compaction").note({"finished": False})
        (self.directory / "distance.json").unlink()
        text = report.page(self.directory)
        self.assertEqual(text.count("*Not measured"), 2)
        self.assertIn("compared with: `scripts/experiment compaction`.*", text)
        self.assertNotIn("## Distance", text)
        self.assertNotIn("distance", facts(self.directory))

    def test_what_cannot_be_compared(self) -> None:
        """Parts that refer to the first page need it; the others stand alone."""
        (self.directory / "clients.json").unlink()
        text = report.page(self.directory)
        self.assertEqual(text.count("*Not measured"), 2)
        self.assertIn("## Beside Valkey", text)

    def test_check(self) -> None:
        """It tells a page that follows from the data from one that does not."""
        Record(self.directory, "compaction").note({"finished": False})
        target = self.directory / "REPORT.md"
        target.write_text(report.page(self.directory), encoding="utf-8")
        self.assertTrue(report.check_report(self.directory, target))
        record = Record(self.directory, "clients")
        record.add([row(round=2, clients=2, per_second=9.0), row(round=3, clients=2, per_second=9.0)])
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertFalse(report.check_report(self.directory, target))
        self.assertIn("does not follow", said.getvalue())


class ProgramTests(SynchronousTestCase):
    """The command line."""

    def refused(self, *words: str) -> str:
        """What is said of a bad one."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertRaises(SystemExit, program.parse_arguments, "", list(words))
        return said.getvalue()

    def test_parts(self) -> None:
        """Without names, the first page; `report` alone measures nothing."""
        self.assertEqual(program.parse_arguments("", []).parts, ["clients"])
        self.assertEqual(program.parse_arguments("", ["valkey", "cost", "valkey"]).parts, ["valkey", "cost"])
        self.assertEqual(program.parse_arguments("", ["all"]).parts, list(PARTS))
        self.assertEqual(program.parse_arguments("", ["report"]).parts, [])
        self.assertEqual(program.parse_arguments("", ["--check"]).parts, [])

    def test_refusals(self) -> None:
        """What cannot be done is said at once."""
        self.assertIn("none of the parts", self.refused("everything"))
        self.assertIn("say with --out", self.refused("--quick"))
        self.assertIn("no such directory", self.refused("--directory", "/nonexistent"))
        self.assertIn("measures nothing", self.refused("cost", "--check"))

    def test_what_it_lacks(self) -> None:
        """It is said for the parts that are asked for."""
        with mock.patch("shutil.which", return_value=None), mock.patch("os.geteuid", return_value=1):
            self.assertEqual(len(list(program.lacks(["cost"]))), 1)
            self.assertIn("distance: network namespaces need root", list(program.lacks(["distance"])))
            self.assertEqual(list(program.lacks([])), [])

    def test_time_left(self) -> None:
        """It goes by the plan, and by how long what was done has taken against it."""
        left = list(runs("one-sync", FULL))
        progress = program.Progress(FULL, left)
        whole = progress.seconds_left()
        self.assertAlmostEqual(whole, sum(map(FULL.run_seconds, left)))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            progress.done(left[0], [row()], 2 * FULL.run_seconds(left[0]))
        self.assertAlmostEqual(progress.seconds_left(), 2 * (whole - FULL.run_seconds(left[0])))
        self.assertIn(f"1/{len(left)}", said.getvalue())
        self.assertIn("round 1, group commit, N = 1: insert 100 a second", said.getvalue())


class ExperimentTests(SynchronousTestCase):
    """A part that is broken off, and gone on with."""

    def measure(self, directory: Path, fails_at: int, *words: str) -> list[Run]:
        """What `one-sync` measures until the run of that number fails."""
        made: list[Run] = []

        def measure(run: Run, *_: Any) -> list[Row]:
            if len(made) == fails_at:
                raise RunFailed("broken off")
            made.append(run)
            return [row(round=run.round, variant=run.variant.name, clients=run.clients)]

        arguments = program.parse_arguments("", ["one-sync", "--quick", "--out", str(directory), *words])
        quiet = contextlib.redirect_stdout(io.StringIO())
        with mock.patch.object(program.running, "measure", measure), quiet, contextlib.redirect_stderr(io.StringIO()):
            program.Experiment(arguments, directory).measure()
        return made

    def test_it_goes_on_where_it_was(self) -> None:
        """What was measured is not measured again, until all of it is; then it begins anew, or when it is told to."""
        directory = Path(self.mktemp())
        directory.mkdir()
        planned = list(runs("one-sync", QUICK))
        self.assertEqual(self.measure(directory, 4), planned[:4])
        self.assertEqual(self.measure(directory, 2), planned[4:6])
        self.assertEqual(self.measure(directory, 1, "--anew"), planned[:1])
        self.assertEqual(self.measure(directory, 99), planned[1:])
        self.assertTrue(Record(directory, "one-sync").finished)
        self.assertEqual(self.measure(directory, 1), planned[:1])
