"""docs/MONITORING.md, the dashboard and the alert rules are about metrics that there are; promtool finds no fault."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.http.group_metrics import GROUP_METRICS
from kvstore.edge.http.metrics import metrics_routes
from kvstore.edge.http.metrics_table import METRICS
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from scripts.monitoring import dashboard, page
from tests.kit.group import MemoryGroup
from tests.kit.http import WatchedTestCase, get

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "contrib" / "prometheus"
_SUFFIXES = re.compile("_(bucket|count|sum)$")

with_promtool = skipUnless(shutil.which("promtool"), "needs Debian's prometheus (see .ci/run)")


def unknown(text: str) -> set[str]:
    """The metrics of ours that a text names and that there are not."""
    known = {metric.shown_name for metric in METRICS + GROUP_METRICS}
    return {
        name
        for name in re.findall(r"\bkvstore_\w+", text)
        if name not in known and _SUFFIXES.sub("", name) not in known
    }


def promtool(*words: str, given: str = "") -> str:
    """What it says; raises AssertionError if it finds a fault."""
    done = subprocess.run(["promtool", *words], input=given, cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class DocumentTests(SynchronousTestCase):
    """What is made from the table of metrics, and what speaks of them."""

    def test_they_are_up_to_date(self) -> None:
        """Otherwise run scripts/monitoring_documents."""
        text = (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")
        self.assertEqual(text, page.replace_section(text), "run scripts/monitoring_documents")
        made = (ROOT / "contrib" / "grafana" / "kvstore.json").read_text(encoding="utf-8")
        self.assertEqual(made, dashboard.text(), "run scripts/monitoring_documents")

    def test_they_name_metrics_that_there_are(self) -> None:
        """The page, the dashboard, the alerts and their tests."""
        texts = [(RULES / name).read_text(encoding="utf-8") for name in ("alerts.yml", "alerts_test.yml")]
        texts += ["\n".join(dashboard.expressions()), (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")]
        self.assertEqual([unknown(text) for text in texts], [set()] * 4)
        self.assertEqual(unknown("rate(kvstore_nothing_total[5m])"), {"kvstore_nothing_total"})

    def test_every_alert_is_explained_and_tested(self) -> None:
        """By name."""
        rules, tests = ((RULES / name).read_text(encoding="utf-8") for name in ("alerts.yml", "alerts_test.yml"))
        told = (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")
        for name in re.findall(r"alert: (\w+)", rules):
            self.assertIn(f"`{name}`", told)
            self.assertIn(f"alertname: {name}}}", tests)

    def test_panels_do_not_overlap(self) -> None:
        """Each has a place of its own, within the width."""
        cells: set[tuple[int, int]] = set()
        for panel in json.loads(dashboard.text())["panels"]:
            place = panel["gridPos"]
            own = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                   for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
            self.assertEqual((cells & own, max(x for x, _ in own) < 24), (set(), True), panel["title"])
            cells |= own


@with_promtool
class PromtoolTests(WatchedTestCase):
    """What Prometheus's own program makes of it."""

    def test_alerts(self) -> None:
        """Valid, and each fires when it should."""
        promtool("check", "rules", "alerts.yml")
        promtool("test", "rules", "alerts_test.yml")

    def test_the_queries_of_the_dashboard(self) -> None:
        """Each can be parsed."""
        queries = [re.sub(r"\$__rate_interval", "5m", query) for query in dashboard.expressions()]
        rules = [{"record": f"kvstore:q{number}", "expr": query} for number, query in enumerate(queries)]
        path = Path(self.mktemp())
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
        promtool("check", "rules", str(path.absolute()))

    def test_metrics(self) -> None:
        """Names, units and texts are as they should be, and what is given can be read."""
        routes = metrics_routes(self.sources, self.clock.seconds)
        client = self.connect()
        client.send(b"SET a 1\r\nLPOP a\r\n")
        self.turn()
        group = MemoryGroup()
        group.all_heard(group.leader())
        self.server.group = group.leader().node.member
        site = Site(self.clock, Origins(), Visitors(self.server), routes)
        self.assertEqual(promtool("check", "metrics", given=get(site, "/metrics").body), "")
