"""A node that is new, was away for too long, or has a damaged directory comes to the state of the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.group import joining, trimming
from kvstore.store import joining as stored
from kvstore.store.replica import End
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.group import MemoryGroup, MemoryNode, Talker


class JoiningTests(SynchronousTestCase):
    """Three nodes, of which one is away while the log is trimmed."""

    def setUp(self) -> None:
        """Let one have nothing of it all."""
        self.patch(trimming, "_STEP", 5)
        self.patch(trimming, "_MARGIN", 0)
        self.patch(stored, "PIECE_BYTES", 100)
        self.group = MemoryGroup()
        self.leader = self.group.leader()
        self.client = Talker(self.leader)
        self.away, self.other = self.group.followers()
        self.write(20)

    def write(self, count: int) -> None:
        """Write some keys, as many in all as were asked for."""
        for number in range(count):
            self.assertEqual(self.client.ask("SET", f"key{number}", f"value{number}"), "OK")

    def trim(self) -> None:
        """Compact where it runs, and let the leader trim."""
        self.group.go_on(1)
        for node in self.group.nodes:
            if node.running:
                node.compact()
        first = self.group.log.first
        self.group.until(lambda: self.group.log.first > first)

    def has_all(self, node: MemoryNode, count: int) -> None:
        """The node has all that was written, and follows."""
        self.group.until(lambda: node.node.position == self.leader.node.position)
        client = Talker(node)
        client.ask("READONLY")
        self.assertEqual([client.ask("GET", f"key{n}") for n in range(count)], [f"value{n}" for n in range(count)])

    def starts_again(self, node: MemoryNode) -> None:
        """It ends, since it has fetched a state, and begins with it."""
        self.group.until(lambda: node.ended)
        self.assertIs(node.ended[-1].end, End.JOINED, str(node.ended))
        self.group.until(lambda: not node.running)
        node.start()

    def test_who_was_away(self) -> None:
        """It fetches a checkpoint, begins with it, follows from there, and leads when the others are gone."""
        self.away.kill()
        self.write(40)
        self.trim()
        self.away.start()
        self.starts_again(self.away)
        self.assertIsNotNone(self.away.group_store.joined)
        self.write(50)
        self.has_all(self.away, 50)
        self.leader.kill()
        self.other.kill()
        self.leader = self.group.leader()
        self.assertIs(self.leader, self.away)
        self.client = Talker(self.leader)
        self.has_all(self.leader, 50)
        self.write(60)

    def test_an_empty_directory(self) -> None:
        """The same; a crash at any moment of it leaves it to be begun anew, or done."""
        self.away.kill()
        self.trim()
        self.away.disk = SimulatedDisk(record=False)
        self.away.start()
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_a_damaged_directory(self) -> None:
        """It is set aside, not removed."""
        self.trim()
        self.away.kill()
        names = [name for name in self.away.disk.names() if name.startswith("table")]
        file = self.away.disk.open("table.ckpt")
        file.write_at(5000, b"damage")
        file.close()
        self.away.start()
        assert self.away.group_store.damage is not None
        self.assertEqual(self.away.group_store.damage[1], [f"damaged-1.{name}" for name in names])
        self.starts_again(self.away)
        self.assertLessEqual({f"damaged-1.{name}" for name in names}, set(self.away.disk.names()))
        self.has_all(self.away, 20)

    def test_nobody_has_one(self) -> None:
        """It tries until somebody has."""
        self.away.kill()
        self.trim()
        self.leader.kill()
        self.other.kill()
        self.away.start()
        self.group.go_on(10)
        self.assertEqual((self.away.running, self.away.ended, self.away.node.leads), (True, [], False))
        self.other.start()
        self.starts_again(self.away)
        self.leader = self.group.leader()
        self.has_all(self.away, 20)

    def test_another_checkpoint_in_the_middle(self) -> None:
        """It is fetched from its beginning; what is damaged on the way is not taken."""
        self.away.kill()
        self.trim()
        self.away.start()
        taken = joining.Fetch._take
        pieces = []

        def take(fetch: joining.Fetch, identity: bytes, covers: int, size_bytes: int, data: bytes) -> None:
            pieces.append(identity)
            if len(pieces) == 3:
                self.write(30)
                for node in (self.leader, self.other):
                    node.compact()
            taken(fetch, identity, covers, size_bytes, data.replace(b"value1", b"value2") if len(pieces) < 9 else data)

        with patch.object(joining.Fetch, "_take", take):
            self.starts_again(self.away)
        self.assertGreater(len(set(pieces)), 1)
        self.has_all(self.away, 30)

    def test_a_connection_that_comes_too_late(self) -> None:
        """It is closed, and nothing asked: another server has been asked meanwhile."""
        clock, ended = Clock(), list[object]()
        fetch = joining.Fetch(clock, ("user", b"password"), 1, self.fail, ended.append)
        clock.advance(10)
        self.assertEqual(ended, ["it sends nothing"])
        transport = StringTransport()
        fetch.makeConnection(transport)
        self.assertEqual((transport.value(), transport.disconnected), (b"", True))


class RoomTests(SynchronousTestCase):
    """The engine of the log is nearly full."""

    def test_limits(self) -> None:
        """Past the soft one nodes compact, and there is no margin; past the hard one nothing may grow."""
        self.patch(trimming, "_STEP", 5)
        group = MemoryGroup()
        leader = group.leader()
        client = Talker(leader)
        asked: list[MemoryNode] = []
        for node in group.nodes:
            node.server.compact_now = partial(asked.append, node)  # type: ignore[assignment]
        client.ask("SET", "key", "x" * 10_000)
        group.log.quota_bytes = 13_000
        group.go_on(5)
        self.assertIn("MISCONF", str(client.ask("SET", "key", "more")))
        self.assertIn("the group's log takes", str(client.ask("SET", "key", "more")))
        self.assertEqual((client.ask("DEL", "key"), client.ask("GET", "key")), (1, None))
        self.assertEqual({node.address for node in asked}, {node.address for node in group.nodes})
        for node in group.nodes:
            node.compact()
        group.go_on(5)
        self.assertEqual(client.ask("SET", "key", "more"), "OK")

    def test_trimming_as_told(self) -> None:
        """GROUP TRIM compacts, and trims without the margin."""
        self.patch(trimming, "_STEP", 5)
        group = MemoryGroup()
        leader = group.leader()
        group.go_on(5)
        for node in group.nodes:
            node.compact()
        group.go_on(5)
        self.assertEqual(group.log.first, 1)
        self.assertEqual(Talker(leader).ask("GROUP", "TRIM"), "OK")
        group.go_on(5)
        self.assertGreater(group.log.first, 5)

    def test_nothing_piles_up(self) -> None:
        """While the log answers nothing, little waits for it; after that it is asked again."""
        group = MemoryGroup()
        follower = (group.leader(), *group.followers())[1]
        group.go_on(5)
        asked: list[str] = []
        connection = follower.connection

        def ask(name: str, asks: Callable[..., None], *words: object) -> None:
            asked.append(name)
            asks(*words)

        for name in ("note", "notes", "size"):
            self.patch(connection, name, partial(ask, name, getattr(connection, name)))
        for node in group.nodes:
            node.connection.cut()
        group.go_on(30)
        self.assertEqual(asked, ["note", "size"])
        for node in group.nodes:
            node.connection.heal()
        group.go_on(10)
        self.assertGreater(len(asked), 4)
