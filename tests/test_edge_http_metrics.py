"""/metrics: what Prometheus gets is what the server counted, under names that follow its conventions."""

from __future__ import annotations

import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from kvstore.commands.membership import Life
from kvstore.edge.http.group_metrics import GROUP_METRICS
from kvstore.edge.http.metrics import metrics_routes
from kvstore.edge.http.metrics_table import METRICS
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from tests.kit.group import MemoryGroup, MemoryNode
from tests.kit.http import Answer, WatchedTestCase, get

_OPEN = ("Accept", "application/openmetrics-text; version=1.0.0")
_UNITS = ("_seconds", "_bytes", "_info")


class MetricsTestCase(WatchedTestCase):
    """A server with a site that has metrics only."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        routes = metrics_routes(self.sources, self.clock.seconds)
        self.site = Site(self.clock, Origins(), Visitors(self.server), routes)

    def scrape(self, *headers: tuple[str, str]) -> Answer:
        """A scrape, of nothing older."""
        self.clock.advance(1)
        return get(self.site, "/metrics", *headers)

    def values(self) -> dict[str, float]:
        """Every sample by its name with its labels, as `name{label=value}`."""
        samples = (sample for family in parse(self.scrape().body) for sample in family.samples)
        return {_shown(name, labels): value for name, labels, value, *_ in samples}


def _shown(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


class ScrapeTests(MetricsTestCase):
    """The resource."""

    def test_formats(self) -> None:
        """Prometheus's text unless OpenMetrics is asked for; both can be parsed, and tell of the same."""
        plain, open_ = self.scrape(), self.scrape(_OPEN)
        self.assertTrue(plain.headers["content-type"].startswith("text/plain; version=0.0.4"))
        self.assertTrue(open_.headers["content-type"].startswith("application/openmetrics-text"))
        names = [{family.name for family in parser(answer.body)} for parser, answer in
                 ((parse, plain), (parse_open, open_))]  # fmt: skip
        self.assertEqual(*names)
        self.assertLessEqual({f"kvstore_{metric.name}" for metric in METRICS}, names[0])

    def test_a_text_is_kept_for_a_second(self) -> None:
        """Who asks again and again gets the same; later there is a new one."""
        before = self.scrape().body
        self.connect()
        self.assertEqual(get(self.site, "/metrics").body, before)
        self.assertEqual(self.values()["kvstore_clients"], 1)

    def test_two_servers_share_nothing(self) -> None:
        """Each has a registry of its own."""
        Site(self.clock, Origins(), Visitors(self.server), metrics_routes(self.sources, self.clock.seconds))
        self.assertEqual(self.values()["kvstore_clients"], 0)


class ValueTests(MetricsTestCase):
    """What is told."""

    def test_what_was_done(self) -> None:
        """Requests, commands, errors, bytes, commits and keys."""
        client = self.connect()
        requests = b"SET a 1\r\nSET b 1 EX 9\r\nGET a\r\nGET none\r\nLPOP a\r\nSET\r\nGET\r\n"
        client.send(requests)
        self.turn()
        values = self.values()
        expected = {
            "kvstore_requests_total": self.server.requests_executed,
            "kvstore_commands_total{command=set}": 2,
            "kvstore_commands_failed_total{command=lpop}": 1,
            "kvstore_commands_rejected_total{command=set}": 1,
            "kvstore_errors_total{code=WRONGTYPE}": 1,
            "kvstore_errors_total{code=ERR}": 2,
            "kvstore_clients": 1,
            "kvstore_connections_received_total": 1,
            "kvstore_network_received_bytes_total": len(requests),
            "kvstore_commits_total": 1,
            "kvstore_commit_operations_total": 2,
            "kvstore_commit_sequence": 1,
            "kvstore_keys{database=0}": 2,
            "kvstore_keys_with_deadline{database=0}": 1,
            "kvstore_keyspace_misses_total": 1,
            "kvstore_writes_refused": 0,
        }
        self.assertEqual({name: values.get(name, -1) for name in expected if values.get(name) != expected[name]}, {})
        self.assertGreater(values["kvstore_memory_resident_bytes"], 1e6)

    def test_histograms(self) -> None:
        """Buckets grow to the count; the size of a group is how many requests shared a commit."""
        client = self.connect()
        client.send(b"SET a 1\r\n")
        self.turn()
        client.send(b"SET b 1\r\n" * 5)
        self.turn()
        values = self.values()
        sizes = {
            bound: values[f"kvstore_commit_requests_bucket{{le={bound}}}"] for bound in ("1.0", "3.0", "7.0", "+Inf")
        }
        self.assertEqual(sizes, {"1.0": 1, "3.0": 1, "7.0": 2, "+Inf": 2})
        self.assertEqual([values[f"kvstore_commit_requests_{part}"] for part in ("count", "sum")], [2, 6])
        self.assertEqual(values["kvstore_commit_duration_seconds_bucket{le=1.6384e-05}"], 2)  # a clock that stands

    def test_times_of_commands(self) -> None:
        """Each that was called has a histogram."""
        client, times = self.connect(), iter((0, 20_000))
        self.server.steady_ns = lambda: next(times)
        client.send(b"LPUSH a 1\r\n")
        name = "kvstore_command_duration_seconds"
        values = self.values()
        counts = [
            values[f"{name}_bucket{{command=lpush,le={bound}}}"] for bound in ("1.6384e-05", "6.5536e-05", "+Inf")
        ]
        self.assertEqual(counts, [0, 1, 1])
        self.assertEqual(values[f"{name}_sum{{command=lpush}}"], 2e-5)

    def test_slow_requests(self) -> None:
        """How many were noted, and the slowest that is kept."""
        self.assertEqual(self.values()["kvstore_slowest_request_seconds"], 0)
        for took_us in (3000, 5000, 4000):
            self.server.configuration.set([(b"slowlog-log-slower-than", b"1000")])
            self.server.command_log.slow.note(self.connect().protocol.client, [b"GET"], took_us, 0)
        values = self.values()
        self.assertEqual(values["kvstore_logged_requests_total{log=slow}"], 3)
        self.assertEqual(values["kvstore_logged_requests_total{log=large-reply}"], 0)
        self.assertEqual(values["kvstore_slowest_request_seconds"], 0.005)

    def test_who_is_not_let_in(self) -> None:
        """By the reason."""
        self.server.users.set_user(b"eve", [b"on", b">x", b"+get"])
        self.connect().send(b"AUTH eve y\r\nAUTH eve x\r\nGET a\r\nSET a 1\r\n")
        values = self.values()
        denied = {reason: values[f"kvstore_denied_total{{reason={reason}}}"] for reason in ("auth", "key", "command")}
        self.assertEqual(denied, {"auth": 1, "key": 1, "command": 1})

    def test_a_full_disk(self) -> None:
        """It shows at once."""
        self.store.refusals.add(1, "full")
        values = self.values()
        self.assertEqual([values["kvstore_writes_refused"], values["kvstore_refused_writes_total"]], [1, 1])


class GroupTests(MetricsTestCase):
    """What a server tells of its group."""

    def group_values(self, node: MemoryNode) -> dict[str, float]:
        """What a node's member tells, without what all names begin with; the group's label is left out."""
        self.server.group = node.node.member
        found = {name: value for name, value in self.values().items() if name.startswith("kvstore_group_")}
        self.assertEqual([name for name in found if "group=shop" not in name], [])
        return {
            re.sub(",?group=shop,?", "", name).removeprefix("kvstore_group_").replace("{}", ""): value
            for name, value in found.items()
        }

    def test_a_server_by_itself(self) -> None:
        """Has not so much as a name of these."""
        self.assertNotIn("kvstore_group", self.scrape().body)

    def test_a_group(self) -> None:
        """Of the leader, a follower, and one that died."""
        group = MemoryGroup()
        self.assertEqual(set(self.group_values(group.nodes[0])), {"leads", "leader_heard", "epoch", "position"})
        leader = group.leader()
        follower, dead = group.followers()
        group.all_heard(leader)
        dead.kill()
        for node in (leader, follower):
            group.until(lambda node=node: Life.SILENT in [each.life for each in node.node.member.others()])
        size, member = group.log.size(), leader.node.member
        values = self.group_values(leader)
        positions = {each.address: each.position for each in member.others()}
        self.assertLess(positions[dead.address], member.position)
        expected = {
            "leads": 1,
            "leader_heard": 1,
            "epoch": member.epoch,
            "position": member.position,
            f"node_alive{{node={follower.address}}}": 1,
            f"node_alive{{node={dead.address}}}": 0,
            f"node_position{{node={follower.address}}}": positions[follower.address],
            f"node_position{{node={dead.address}}}": positions[dead.address],
            "log_quota_bytes": size.quota_bytes,
        }
        self.assertEqual({name: values.get(name) for name in expected}, expected)
        self.assertGreater(values["log_used_bytes"], 0)
        values = self.group_values(follower)
        self.assertEqual((values["leads"], values["leader_heard"]), (0, 1))
        leader.kill()
        follower.kill()
        leader.start()
        group.until(leader.node.member.others)
        self.assertEqual([name for name in self.group_values(leader) if name.startswith("node_")], [])

    def test_a_leader_that_is_cut_off(self) -> None:
        """It leads, as far as it knows, and nobody hears of it: itself neither."""
        group = MemoryGroup()
        leader = group.leader()
        leader.connection.cut()
        group.until(lambda: not leader.node.member.hears_leader)
        values = self.group_values(leader)
        self.assertEqual((values["leads"], values["leader_heard"]), (1, 0))


class ConventionTests(MetricsTestCase):
    """The table of metrics."""

    def test_names(self) -> None:
        """Prometheus's conventions: base units, and `_total` for what only grows."""
        names = [metric.name for metric in METRICS + GROUP_METRICS]
        self.assertEqual(len(names), len(set(names)))
        for metric in METRICS + GROUP_METRICS:
            self.assertRegex(metric.name, r"^[a-z]+(_[a-z]+)*$")
            self.assertIsNone(re.search("_(ms|us|milliseconds|kb|total|count)(_|$)", metric.name), metric.name)
            self.assertEqual(metric.shown_name.endswith("_total"), metric.kind == "counter")
            for word in _UNITS:
                self.assertTrue(word not in metric.name or metric.name.endswith(word), metric.name)

    def test_texts(self) -> None:
        """Each says what it means, in a sentence."""
        for metric in METRICS + GROUP_METRICS:
            self.assertRegex(metric.text, r"^[A-Z0-9].*\.$")
