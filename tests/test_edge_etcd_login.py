"""An etcd with users: who asks is let in, and again when a token is good no more."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.shared_log import Appended, Entries, Read
from kvstore.edge.etcd.log import EtcdLog
from kvstore.edge.etcd.login import Login
from tests.kit.fake_etcd import FakeEtcd, Health


class LoginTests(SynchronousTestCase):
    """A log in an etcd whose users are enabled."""

    def setUp(self) -> None:
        """See the class."""
        self.clock = Clock()
        self.etcd = FakeEtcd(self.clock)
        self.etcd.password = "opens"
        self.log = self.open(b"opens")
        self.last = 0
        self.seen: list[bytes] = []

    def open(self, password: bytes) -> EtcdLog:
        """The log, for a server that has that password."""
        log = EtcdLog(self.clock, self.etcd.places_as(Login("shop", password)), "shop")
        self.addCleanup(log.stop)
        return log

    def wait(self, seconds: float = 1.0) -> None:
        """Let time go by."""
        self.clock.pump([0.01] * int(seconds / 0.01))

    def append(self, within_s: float = 1.0) -> None:
        """The next entry, which is there by then."""
        self.last += 1
        done: list[Appended] = []
        self.log.append(self.last, b"entry%d" % self.last, done.append)
        self.wait(within_s)
        self.assertEqual(done, [Appended.THERE])

    def asked(self, path: str) -> int:
        """How often nodes were asked that."""
        return sum(node.asked.count(path) for node in self.etcd.nodes)

    def entries(self) -> int:
        """How many there are."""
        return sum(b"/entry/" in key for key in self.etcd.values)

    def test_one_token_is_enough(self) -> None:
        """For all that is asked, until it is good no more."""
        for _ in range(3):
            self.append()
        found: list[Read] = []
        self.log.read(1, found.append)
        self.wait()
        self.assertEqual(found, [Entries([(n, b"entry%d" % n) for n in (1, 2, 3)], 3)])
        self.assertEqual(self.etcd.tokens_given, 1)

    def test_a_token_that_is_good_no_more(self) -> None:
        """The same append is sent with another one, to the same node, and the log tells nobody; it is done once."""
        with capturedLogs() as said:
            for _ in range(3):
                self.append()
                self.etcd.tokens.clear()
        self.assertEqual((self.etcd.tokens_given, self.entries(), said), (3, 3, []))
        self.assertEqual([len(node.asked) > 0 for node in self.etcd.nodes], [True, False, False])

    def test_a_wrong_password(self) -> None:
        """Is said, and asked for as seldom as a node that is down; once it is right all goes on."""
        self.etcd.password = "changed"
        done: list[Appended] = []
        with capturedLogs() as said:
            self.log.append(1, b"entry", done.append)
            self.wait(20)
        self.assertIn("authentication failed", said[0]["reason"])
        self.assertEqual((len(said), done, self.asked("/v3/kv/txn")), (1, [], 0))
        self.assertLess(self.asked("/v3/auth/authenticate"), 80)
        self.etcd.password = "opens"
        self.wait(5)
        self.assertEqual(done, [Appended.THERE])

    def test_users_that_are_enabled_later(self) -> None:
        """Before that none is asked for who it is."""
        self.etcd.password = None
        self.append()
        self.append()
        self.assertEqual((self.etcd.tokens_given, self.asked("/v3/auth/authenticate")), (0, 1))
        self.etcd.password = "opens"
        self.append()
        self.assertEqual((self.etcd.tokens_given, self.entries()), (1, 3))

    def test_a_watch(self) -> None:
        """Begins once there is a token, tells on when that is good no more, and begins again with another."""
        self.log.watch(1, lambda position, entry: self.seen.append(entry), lambda first: None)
        self.wait()
        self.assertEqual(len(self.etcd.watches), 1)
        self.append()
        self.etcd.tokens.clear()
        for node in self.etcd.nodes:
            node.cut()
        self.wait()
        self.append()
        self.assertEqual(self.seen, [b"entry1", b"entry2"])
        self.assertTrue(self.etcd.watches[1:])

    def test_a_node_that_fails_meanwhile(self) -> None:
        """Another lets us in."""
        self.etcd.nodes[0].health = Health.SILENT
        self.append(3.0)

    def test_passwords_that_cannot_be(self) -> None:
        """etcd has text."""
        self.assertRaises(ValueError, Login, "shop", b"\xff")
