"""What etcd's nodes say of themselves, and what comes of it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.shared_log import Appended
from kvstore.edge.etcd.log import EtcdLog
from kvstore.edge.etcd.nodes import Nodes, is_older
from tests.kit.fake_etcd import FakeEtcd, Health


class VersionTests(SynchronousTestCase):
    """Which etcd it is."""

    def said(self, *versions: str, health: tuple[Health, ...] = ()) -> list[str]:
        """What the log says, of three nodes of these versions of which some are ill."""
        clock = Clock()
        etcd = FakeEtcd(clock)
        for node, version in zip(etcd.nodes, versions, strict=False):
            node.version = version
        for node, each in zip(etcd.nodes, health, strict=False):
            node.health = each
        nodes = Nodes(clock, etcd.places, lambda index: None)
        with capturedLogs() as logged:
            for _ in range(2):
                nodes.look()
                clock.pump([0.1] * 100)
        self.assertEqual((clock.getDelayedCalls(), [node.connections for node in etcd.nodes]), ([], [[], [], []]))
        return [each["found"] for each in logged if "found" in each]

    def test_old(self) -> None:
        """One line names what each node says; it is said once."""
        self.assertEqual(self.said(), ["3.4.23 at node0:2379, 3.4.23 at node1:2379, 3.4.23 at node2:2379"])
        self.assertEqual(self.said("3.6.9", "3.6.8", "3.7.0")[0].split(",")[1], " 3.6.8 at node1:2379")
        self.assertEqual(self.said("3.6.9", "3.6.10", "4.0.0"), [])

    def test_ill(self) -> None:
        """Nodes that say nothing, or nonsense, hold nothing up, and are not named."""
        for other in (Health.REFUSES, Health.UNREACHABLE, Health.NONSENSE, Health.ERRORS):
            self.assertEqual(self.said(health=(Health.SILENT, other)), ["3.4.23 at node2:2379"])
        self.assertEqual(self.said(health=(Health.SILENT,) * 3), [])

    def test_which_is_older(self) -> None:
        """Than 3.6.9."""
        older = ["3.4.23", "3.5.99", "3.6.8", "2.9.9", "x"]
        newer = ["3.6.9", "3.6.10", "3.7.0-rc.0", "4.0.0", "3.10.0"]
        self.assertEqual([version for version in older + newer if is_older(version)], older)


class LeaderTests(SynchronousTestCase):
    """Who of them leads."""

    def setUp(self) -> None:
        """A log that appends."""
        self.clock = Clock()
        self.etcd = FakeEtcd(self.clock)
        self.log = EtcdLog(self.clock, self.etcd.places, "shop")
        self.position = 0

    def append(self) -> list[int]:
        """Append some; returns which nodes were asked for the last of them."""
        for _ in range(3):
            self.position += 1
            before = [node.asked.count("/v3/kv/txn") for node in self.etcd.nodes]
            outcomes: list[Appended] = []
            self.log.append(self.position, b"entry", outcomes.append)
            self.clock.pump([0.01] * 100)
            self.assertEqual(outcomes, [Appended.THERE])
        now = [node.asked.count("/v3/kv/txn") for node in self.etcd.nodes]
        return [index for index, (one, other) in enumerate(zip(before, now, strict=True)) if one != other]

    def test_appends_go_there(self) -> None:
        """After a look at the start, and after each election; not before."""
        self.etcd.leader = 2
        self.assertEqual(self.append(), [0])
        self.log.look_at_nodes()
        self.clock.pump([0.01] * 10)
        self.assertEqual(self.append(), [2])
        self.etcd.leader = 1
        self.assertEqual(self.append(), [2])
        self.etcd.term += 1
        self.assertEqual(self.append(), [1])
        asked = [node.asked.count("/v3/maintenance/status") for node in self.etcd.nodes]
        self.assertEqual(asked, [2, 2, 2])

    def test_ill(self) -> None:
        """A leader that does not answer us is left for another, until the next election."""
        self.etcd.leader = 1
        self.etcd.nodes[1].health = Health.MUTE
        self.log.look_at_nodes()
        self.append()
        self.assertEqual(self.append(), [0])
        self.etcd.nodes[1].health = Health.WELL
        self.log._appends.prefer(1)
        self.append()
        self.etcd.nodes[1].health = Health.SILENT
        self.append()
        self.assertEqual(self.append(), [2])

    def test_another_etcd(self) -> None:
        """A node that is one of its own by now: nothing is asked of it, or believed, that it says."""
        lone = FakeEtcd(self.clock, 1)
        lone.cluster = 78
        self.etcd.leader = 1
        self.append()
        both = EtcdLog(self.clock, [*self.etcd.places, *lone.places], "shop")
        seen: list[int] = []
        both.watch(1, lambda position, entry: seen.append(position), self.fail)
        both.look_at_nodes()
        self.clock.pump([0.01] * 20)
        for node in self.etcd.nodes:
            node.health = Health.REFUSES
            node.cut()
        outcomes: list[Appended] = []
        both.append(4, b"entry", outcomes.append)
        both.append(1, b"entry", outcomes.append)
        self.clock.pump([0.01] * 500)
        self.assertEqual(outcomes, [])
        for node in self.etcd.nodes:
            node.health = Health.WELL
        self.clock.pump([0.01] * 500)
        self.assertEqual((outcomes, seen), ([Appended.THERE] * 2, [1, 2, 3, 4]))

    def test_stopped(self) -> None:
        """Before the answers: nothing is left behind."""
        self.log.look_at_nodes()
        self.log.look_at_nodes()
        self.assertEqual([len(node.asked) for node in self.etcd.nodes], [1, 1, 1])
        self.log.stop()
        self.clock.pump([0.01] * 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
