"""WAIT, WAITAOF and their kin, on a server that has no replicas; and commands about other things that are not there."""

from __future__ import annotations

from kvstore.base.reply import OK, QUEUED
from tests.kit.edge import GatheringTestCase
from tests.kit.harness import CommandTestCase


class ReplicationTests(CommandTestCase):
    """What needs no waiting. (In the rig, time is up at once.)"""

    def test_wait(self) -> None:
        """There are no replicas: none is waited for at once, one in vain."""
        self.script("""
            WAIT 0 0 -> 0
            WAIT 1 10 -> 0
            WAIT x 0 -> !ERR value is not an integer or out of range
            WAIT 0 x -> !ERR timeout is not an integer or out of range
            WAIT 0 -1 -> !ERR timeout is negative
            WAIT 0 9223372036854775807 -> !ERR timeout is out of range
        """)

    def test_waitaof(self) -> None:
        """What is written is on disk when the reply leaves."""
        self.do("SET", "a", 1)
        self.script("""
            WAITAOF 0 0 0 -> [1, 0]
            WAITAOF 1 0 0 -> [1, 0]
            WAITAOF 1 1 10 -> [1, 0]
            WAITAOF 2 0 0 -> !ERR value is out of range, value must between 0 and 1
            WAITAOF x 0 0 -> !ERR value is not an integer or out of range
            WAITAOF 0 x 0 -> !ERR value is out of range, must be positive
            WAITAOF 0 0 x -> !ERR timeout is not an integer or out of range
            WAITAOF 0 0 -1 -> !ERR timeout is negative
        """)

    def test_in_a_block(self) -> None:
        """Nobody waits there."""
        self.do("MULTI")
        for request in ("WAIT 1 0", "WAITAOF 1 1 0"):
            self.assertEqual(self.do(*request.split()), QUEUED)
        self.assertEqual(self.do("EXEC"), [0, [1, 0]])

    def test_no_replica(self) -> None:
        """It cannot become one, and stays what it is."""
        self.script("""
            REPLICAOF no ONE -> OK
            SLAVEOF NO ONE -> OK
            FAILOVER -> !ERR FAILOVER requires connected replicas.
            FAILOVER abort -> !ERR No failover in progress.
            ROLE -> [b'master', 0, []]
        """)
        self.assertRegex(self.error("REPLICAOF", "localhost", 6379), "^ERR this server cannot be a replica")

    def test_what_is_not_there(self) -> None:
        """Modules, a cluster: the answers of a server that has none."""
        self.script("""
            MODULE LIST -> []
            MODULE LOADEX x -> !ERR modules cannot be loaded into this server
            MODULE UNLOAD x -> !ERR modules cannot be loaded into this server
            READONLY -> OK
            READWRITE -> OK
            ASKING -> !ERR This instance has cluster support disabled
            CLUSTER INFO -> !ERR This instance has cluster support disabled
            CLUSTER KEYSLOT {foo}bar -> 12182
            LOLWUT VERSION x -> !ERR value is not an integer or out of range
        """)
        for words in ([], ["VERSION", 5, 1], [80, 24]):
            self.assertIn("kvstore ver. ", self.do("LOLWUT", *words))


class WaitingForTheDiskTests(GatheringTestCase):
    """WAITAOF where a reply does not say that a write is on disk."""

    def setUp(self) -> None:
        """A client whose write is not on disk yet."""
        super().setUp()
        self.client = self.connect()
        self.durable = False
        self.factory.server.is_durable = lambda sequence: self.durable
        self.client.send(b"SET a 1\r\n")
        self.turn()
        self.assertEqual(self.client.received(), OK.wire)

    def test_until_it_is(self) -> None:
        """It waits, and is told when more has got to the disk, if that is enough."""
        self.client.send(b"WAITAOF 0 0 0\r\nWAITAOF 1 0 0\r\nPING\r\n")
        self.turn()
        self.assertEqual(self.client.received(), b"*2\r\n:0\r\n:0\r\n")
        self.factory.server.syncing.try_all()
        self.turn()
        self.assertEqual(self.client.received(), b"")
        self.durable = True
        self.factory.server.syncing.try_all()
        self.turn()
        self.assertEqual(self.client.received(), b"*2\r\n:1\r\n:0\r\n+PONG\r\n")

    def test_for_some_time(self) -> None:
        """When its time is up it is told what is so by then."""
        self.client.send(b"WAITAOF 1 1 500\r\n")
        self.turn()
        self.durable = True
        self.factory.server.syncing.try_all()
        self.assertEqual(self.client.received(), b"")
        self.clock.advance(1)
        self.turn()
        self.assertEqual(self.client.received(), b"*2\r\n:1\r\n:0\r\n")
