"""Asking etcd until it answers: nodes that are ill in every way, on a simulated clock."""

from __future__ import annotations

import orjson
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import MIB
from kvstore.edge.etcd.client import Client, Request, patience_s
from kvstore.edge.etcd.gateway import COMPACT, OUT_OF_RANGE, STATUS, Answer
from kvstore.edge.etcd.timeout import Timeout
from tests.kit.fake_etcd import FakeEtcd, Health

#: More than one try takes, and than all tries of a round with their pause.
_TRY_S = 0.5
_ROUND_S = 2.0


class ClientTests(SynchronousTestCase):
    """A client of three nodes."""

    def setUp(self) -> None:
        """Make them; nothing is connected yet."""
        self.clock = Clock()
        self.etcd = FakeEtcd(self.clock)
        self.first, self.second, self.third = self.etcd.nodes
        self.client = Client(self.clock, self.etcd.places)
        self.answers: list[Answer] = []

    def ask(self, path: bytes = STATUS, body: bytes = b"{}", final: frozenset[int] = frozenset()) -> None:
        """Ask; the answer comes to `answers`."""
        self.client.ask(Request(path, body, self.answers.append, final))

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.pump([0.01] * int(seconds / 0.01))

    @property
    def asked(self) -> list[int]:
        """How many requests each node has had."""
        return [len(node.asked) for node in self.etcd.nodes]

    def test_one_connection(self) -> None:
        """Requests go one after the other, in order, over a connection that is kept."""
        for _ in range(3):
            self.ask()
        self.assertEqual((self.asked, self.answers), ([1, 0, 0], []))
        self.wait(_TRY_S)
        self.ask()
        self.wait(_TRY_S)
        self.assertEqual(len(self.answers), 4)
        self.assertEqual((self.asked, len(self.first.connections)), ([4, 0, 0], 1))

    def test_the_next_node(self) -> None:
        """Is asked when one is ill, in whichever way, and stays the one that is asked."""
        for health in Health:
            if health is Health.WELL:
                continue
            self.setUp()
            self.first.health = health
            self.ask()
            self.wait(_TRY_S)
            self.assertEqual(len(self.answers), 1, health)
            self.first.health = Health.WELL
            self.ask()
            self.wait(_TRY_S)
            self.assertEqual((len(self.answers), self.asked[1:]), (2, [2, 0]), health)

    def test_past_its_quota(self) -> None:
        """The log says so, and what it takes; once etcd has room all goes on."""
        for node in self.etcd.nodes:
            node.health = Health.FULL
        with capturedLogs() as said:
            self.ask()
            self.wait(_ROUND_S)
        self.assertEqual(len(said), 1)
        self.assertIn("alarm NOSPACE", said[0]["reason"])
        for node in self.etcd.nodes:
            node.health = Health.WELL
        self.wait(_ROUND_S)
        self.assertEqual(len(self.answers), 1)

    def test_a_lost_connection(self) -> None:
        """Lost while nothing is asked, it is made again, and while something is, the next node is asked."""
        self.ask()
        self.wait(_TRY_S)
        self.first.cut()
        self.ask()
        self.wait(_TRY_S)
        self.assertEqual(len(self.answers), 2)
        self.ask()
        self.etcd.nodes[self.asked.index(max(self.asked))].cut()
        self.wait(_TRY_S)
        self.assertEqual(len(self.answers), 3)

    def test_all_are_ill(self) -> None:
        """It goes on asking for as long as that lasts, less and less often, and says so once."""
        for node in self.etcd.nodes:
            node.health = Health.ERRORS
        with capturedLogs() as logged:
            self.ask()
            self.wait(10 * _ROUND_S)
            self.assertGreater(min(self.asked), 20)
            self.assertLess(max(self.asked), 100)
            self.third.health = Health.WELL
            self.wait(_ROUND_S)
        self.assertEqual(len(self.answers), 1)
        levels = [each["log_level"] for each in logged if "etcd:" in each["log_format"]]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.info])

    def test_errors_that_are_answers(self) -> None:
        """Are given; others are not."""
        self.etcd.compacted = 5
        body = orjson.dumps({"revision": "5"})
        self.ask(COMPACT, body, frozenset({OUT_OF_RANGE}))
        self.wait(_TRY_S)
        self.assertEqual([answer.code for answer in self.answers], [OUT_OF_RANGE])
        self.ask(COMPACT, body)
        self.wait(_ROUND_S)
        self.assertEqual(len(self.answers), 1)

    def test_late_answer(self) -> None:
        """Of a node that was given up: its connection is gone, and nobody hears it."""
        self.first.health = Health.SILENT
        self.ask()
        self.wait(_TRY_S)
        self.assertEqual((self.first.connections, len(self.answers)), ([], 1))

    def test_an_answer_that_takes_long(self) -> None:
        """Is waited for as long as more of it comes."""
        self.first.health = Health.SILENT
        self.ask()
        (connection,) = self.first.connections
        for _ in range(20):
            self.wait(0.2)
            connection._protocol.dataReceived(
                b"HTTP/1.1 200 OK\r\nX-Y: z\r\nContent-Length: 2\r\n\r\n{}"[_ * 2 : _ * 2 + 2]
            )
        self.assertEqual((len(self.first.connections), self.asked), (1, [1, 0, 0]))

    def test_nobody_asked(self) -> None:
        """A reply out of turn ends the connection, and nothing else."""
        self.ask()
        self.wait(_TRY_S)
        self.first.connections[0]._protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        self.assertEqual((self.first.connections, len(self.answers)), ([], 1))

    def test_stop(self) -> None:
        """At any moment: nothing is asked, answered or left behind."""
        for health in Health:
            for seconds in (0, 0.01, _TRY_S, 3 * _TRY_S + 0.01):
                self.setUp()
                for node in self.etcd.nodes:
                    node.health = health
                self.ask()
                self.ask()
                self.wait(seconds)
                before = len(self.answers)
                self.client.stop()
                self.ask()
                self.wait(_ROUND_S)
                self.assertEqual((len(self.answers), self.clock.getDelayedCalls()), (before, []), health)
                self.assertEqual([node.connections for node in self.etcd.nodes], [[], [], []])

    def test_stop_in_an_answer(self) -> None:
        """Nothing follows."""
        self.client.ask(Request(STATUS, b"{}", lambda answer: self.client.stop()))
        self.ask()
        self.wait(_TRY_S)
        self.assertEqual((self.answers, self.clock.getDelayedCalls()), ([], []))

    def test_patience(self) -> None:
        """Short at first, so that an election is outlived by tries, then longer, up to a limit; more for more bytes."""
        self.assertEqual({patience_s(tries, 0) for tries in range(10)}, {0.3})
        later = [patience_s(tries, 0) for tries in range(9, 40)]
        self.assertEqual((later, later[-1]), (sorted(later), 5.0))
        self.assertEqual(patience_s(0, 3 * MIB), 3.3)


class TimeoutTests(SynchronousTestCase):
    """Time limits."""

    def setUp(self) -> None:
        """One that counts."""
        self.clock = Clock()
        self.expired: list[float] = []
        self.timeout = Timeout(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def test_limits(self) -> None:
        """The last one that was set counts, whether it is sooner or later than those before; one timer does it all."""
        for seconds in (5, 1, 3, 2):
            self.timeout.begin(seconds)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.expired, [2.0])
        self.timeout.begin(1)
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.expired, [2.0, 11.0])

    def test_lifted(self) -> None:
        """It does not expire, and the next one does; once stopped there is no timer."""
        self.timeout.begin(1)
        self.timeout.lift()
        self.clock.advance(0.5)
        self.timeout.begin(1)
        self.clock.pump([0.5, 0.5])
        self.assertEqual(self.expired, [1.5])
        self.timeout.begin(1)
        self.timeout.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timeout.lift()
