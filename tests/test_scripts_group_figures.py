"""scripts/group_figures: its formulas, its tables, and that a part measured again replaces itself only."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from scripts.measuring.results import Table
from tests.suites.group_figures import estimate, figures, joins, lag, latency, pauses, rates
from tests.suites.group_figures.__main__ import PARTS, parse_arguments
from tests.suites.group_figures.estimate import Costs
from tests.suites.group_figures.figures import MOST, Figure, Part, quantile
from tests.suites.group_figures.sides import FOLLOWERS, GENERATOR, GROUP, LEADING_NODE, LOCAL, NODES, SERVER
from tests.suites.group_join import Joined

_LOCAL_TURN = {"per_second": 1000.0, "p50_ms": 1.0, "p99_ms": 2.0, f"{SERVER}_ms": 0.1, f"{GENERATOR}_ms": 0.05,
               "busy": 0.5, "idle": 0.02}  # fmt: skip
_GROUP_TURN = _LOCAL_TURN | {"per_second": 400.0, f"{FOLLOWERS}_ms": 0.1, f"{LEADING_NODE}_ms": 0.2, f"{NODES}_ms": 0.4,
                             "busy": 0.9, "idle": 0.0, "requests_per_commit": 8.0}  # fmt: skip


def turns(*group_rates: float) -> dict[str, list[dict[str, float]]]:
    """As many rounds as there are rates of the group; a server by itself makes 1000 a second in each."""
    return {LOCAL: [_LOCAL_TURN] * len(group_rates), GROUP: [_GROUP_TURN | {"per_second": r} for r in group_rates]}


class FigureTests(SynchronousTestCase):
    """One number, and what is asked of it."""

    def test_what_is_asked_is_reached_at_the_limit(self) -> None:
        """At most so much, or at least; nothing is said of what nobody asks for."""
        self.assertIs(Figure("pause", [2.5], "s", 2.5).reached, True)
        self.assertIs(Figure("pause", [2.6], "s", 2.5).reached, False)
        self.assertIs(Figure("ratio", [0.39], "", 0.39, at_least=True).reached, True)
        self.assertIs(Figure("ratio", [0.38], "", 0.39, at_least=True).reached, False)
        self.assertIsNone(Figure("ratio", [0.38]).reached)

    def test_the_median_counts_or_the_most(self) -> None:
        """The row says which, and between what the values were."""
        median, most = Figure("pause", [1.0, 2.0, 9.0], "s", 4.0), Figure("pause", [1.0, 2.0, 9.0], "s", 4.0, by=MOST)
        self.assertEqual(median.row(), ["pause", "2.00 s", "median", "1.00 s to 9.00 s", "3", "≤ 4.00 s", "yes"])
        self.assertEqual(most.row(), ["pause", "9.00 s", "most", "1.00 s to 9.00 s", "3", "≤ 4.00 s", "**no**"])

    def test_quantiles_are_values(self) -> None:
        """Nearest rank."""
        hundred = [float(n) for n in range(100, 0, -1)]
        self.assertEqual([quantile(hundred, q) for q in (0.5, 0.99, 0.999, 1.0)], [50, 99, 100, 100])
        self.assertEqual(quantile([7.0], 0.5), 7.0)


class RateTests(SynchronousTestCase):
    """Turns."""

    def test_a_ratio_is_of_one_round(self) -> None:
        """The figure is their median; asked at 16, 50 and 200, not at 1."""
        part = rates.sets_part({1: turns(300), 16: turns(300, 400, 350), 50: turns(280)})
        self.assertEqual([f.value for f in part.figures], [0.3, 0.35, 0.28])
        self.assertEqual([f.asked for f in part.figures], [None, 0.39, 0.29])
        self.assertEqual([f.reached for f in part.figures], [None, False, False])

    def test_who_uses_the_processors(self) -> None:
        """Each in its column, those who are not there with a dash; and what of it would be elsewhere."""
        part = rates.sets_part({16: turns(400)})
        local, group = part.tables[0].rows
        self.assertEqual(
            local, ["16, local", "1,000", "1.00 ms", "2.00 ms", "-", "0.100", "-", "-", "-", "0.050", "50 %", "2 %"]
        )
        self.assertEqual(group[5:], ["0.100", "0.100", "0.200", "0.400", "0.050", "90 %", "0 %"])
        self.assertEqual(len(group), len(part.tables[0].columns))
        self.assertIn("0.850 ms a request etcd takes 71 %, the leader 12 %, the followers 12 %", part.said[0])
        self.assertIn("that of the leader has 35 % of it", part.said[0])

    def test_gets_are_asked_of_the_lease_only(self) -> None:
        """Those through etcd's quorum are for information."""
        part = rates.gets_part({"lease": turns(960), "quorum": turns(100)})
        self.assertEqual([(f.asked, f.reached) for f in part.figures], [(0.95, True), (None, None)])


class OtherPartsTests(SynchronousTestCase):
    """What is made of what was measured."""

    def test_half_load(self) -> None:
        """Percentiles of both sides, medians of the rounds."""
        rounds = [{"per_second": 500.0, "p50_ms": ms, "p99_ms": 2 * ms, "p999_ms": 9.0, "slowest_ms": 10.0, "busy": 0.4}
                  for ms in (1.0, 2.0, 4.0)]  # fmt: skip
        part = latency.part_of({LOCAL: 1000.0, GROUP: 800.0}, {LOCAL: rounds, GROUP: rounds})
        self.assertEqual([f.value for f in part.figures], [2.0, 4.0] * 2)
        self.assertEqual(part.tables[0].rows[1][:5], ["group", "800/s", "500/s", "2.00 ms", "4.00 ms"])

    def test_lag(self) -> None:
        """The worse follower counts."""
        part = lag.part_of([[1.0] * 100, [2.0] * 97 + [150.0] * 3])
        self.assertEqual([(f.value, f.reached) for f in part.figures], [(2.0, None), (150.0, False)])

    def test_pauses(self) -> None:
        """Median of each, and the longest after the leader's death."""
        part = pauses.part_of(
            {pauses.KILL: [2.6, 2.7, 4.5], pauses.KILL_NODE: [1.3, 2.4, 2.9], pauses.HAND_OVER: [0.1]}
        )
        found = [(f.value, f.by, f.reached) for f in part.figures]
        self.assertEqual(
            found, [(2.7, "median", True), (4.5, "most", False), (2.4, "median", True), (0.1, "median", None)]
        )

    def test_a_pause_is_the_longest_that_ends_after_it_began(self) -> None:
        """Not one that was over before, but one in which it began."""
        self.assertEqual(pauses.longest([0.0, 5.0, 5.5, 8.0, 9.0], since=6.0), 2.5)

    def test_join(self) -> None:
        """All of it counts."""
        part = joins.part_of(Joined(1.0, 2.0, 3.0, 61.0), 1_000_000)
        self.assertEqual([(f.value, f.reached) for f in part.figures], [(61.0, False)])
        self.assertEqual(part.tables[0].rows[-1], ["has all", "61.0 s"])


class EstimateTests(SynchronousTestCase):
    """The formula."""

    costs = Costs(
        16, 8.0, server_ms=0.1, leading_ms=0.2, node_ms=0.2, others_ms=0.55, group_rate=400.0, local_rate=1000.0
    )

    def test_an_append(self) -> None:
        """8 requests of 0.5 ms of processor, a sync, two trips."""
        self.assertAlmostEqual(estimate.append_ms(self.costs, 0.2, 0.0), 4.2)
        self.assertAlmostEqual(estimate.append_ms(self.costs, 0.2, 0.5), 5.2)

    def test_limits(self) -> None:
        """On one machine all share the processors; on three the server's has etcd's leader beside it at most."""
        one = estimate.limits(self.costs, 0.2, 0.0, 2, machines=1)
        three = estimate.limits(self.costs, 0.2, 0.5, 2, machines=3)
        wanted = {"appends": 8000 / 4.2, "clients": 16000 / 4.2, "thread": 10_000.0, "processors": 2000 / 0.85}
        self.assertEqual(
            {name: round(each, 6) for name, each in one.items()}, {n: round(e, 6) for n, e in wanted.items()}
        )
        wanted = {"appends": 8000 / 5.2, "clients": 16000 / 5.7, "thread": 10_000.0, "processors": 2000 / 0.3}
        self.assertEqual(
            {name: round(each, 6) for name, each in three.items()}, {n: round(e, 6) for n, e in wanted.items()}
        )

    def test_costs_are_of_turns(self) -> None:
        """Two other nodes share what both took; the generator and the followers are beside the leader."""
        self.assertEqual(estimate.costs_of(16, turns(400)), self.costs)

    def test_a_server_by_itself_has_trips_too(self) -> None:
        """They slow down few connections, not many."""
        one = self.costs._replace(connections=1, local_rate=2000.0)
        self.assertEqual(estimate.local_rate(one, one, 0.5), 1000.0)
        self.assertEqual(estimate.local_rate(self.costs, one, 0.5), 1000.0)
        self.assertEqual(estimate.local_rate(self.costs._replace(local_rate=20_000.0), one, 0.5), 16_000.0)

    def test_table(self) -> None:
        """This machine beside what was measured on it, then three with each trip; it takes what JSON has kept."""
        part = estimate.part_of({"1": turns(400), "16": turns(400)}, 0.2, 2)
        rows = part.tables[0].rows
        self.assertEqual(len(rows), 6)
        self.assertEqual(rows[3][:6], ["16, this machine", "8.0", "4.20 ms", "appends", "1,905", "400"])
        self.assertEqual(rows[5][:6], ["16, three, trip 0.5 ms", "8.0", "5.20 ms", "appends", "1,538", "-"])


class ReportTests(SynchronousTestCase):
    """The files."""

    def test_a_part_measured_again_replaces_itself_only(self) -> None:
        """What was written is read back as it was, and the report has both."""
        directory = Path(self.mktemp())
        self.assertEqual(figures.read(directory), {})
        part = rates.sets_part({16: turns(300, 400)})
        part.about = {"commit": "abc", "measured": "today"}
        figures.write(directory, {"sets": part})
        found = figures.read(directory)
        self.assertEqual(found["sets"].figures[0].row(), part.figures[0].row())
        self.assertEqual(found["sets"].as_json(), figures.read(directory)["sets"].as_json())
        again = Part("Other", [Figure("x", [1.0])], [Table("T", ["a", "b"], [["1", "2"]])], about={"commit": "abc"})
        figures.write(directory, found | {"other": again})
        text = (directory / figures.MARKDOWN_NAME).read_text(encoding="utf-8")
        for line in (
            "## SET of 100 bytes",
            "| x | 1.00 | median |",
            "| 1 | 2 |",
            "- commit: abc",
            "- measured (sets): today",
        ):
            self.assertIn(line, text)
        self.assertEqual(list(figures.read(directory)), ["sets", "other"])

    def test_arguments(self) -> None:
        """All parts, unless some are named; no report, unless one is asked for."""
        self.assertEqual(parse_arguments([]).only, list(PARTS))
        self.assertIsNone(parse_arguments([]).report)
        self.assertEqual(parse_arguments(["--report"]).report.name, "report")
        self.assertEqual(parse_arguments(["--only", "lag", "join"]).only, ["lag", "join"])
