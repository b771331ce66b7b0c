"""Another server's checkpoint takes the place of what is there, whenever the machine crashes meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore
from kvstore.store import joining
from kvstore.store.joining import Incoming, read_piece
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.group_stores import IDENTITY, GroupLog, Node


class JoiningTests(SynchronousTestCase):
    """One node is compacted, another is behind."""

    def setUp(self) -> None:
        """They have some keys."""
        self.patch(joining, "PIECE_BYTES", 700)
        self.log = GroupLog()
        self.leader = Node("a", self.log)
        self.leader.lead()
        self.behind = Node("b", self.log)
        self.write(b"old")
        self.behind.follow()
        self.behind.compact()
        self.write(b"older")
        self.behind.follow()
        for number in range(20):
            self.write(b"new%d" % number)
        self.leader.compact()

    def write(self, key: bytes) -> None:
        """Set one."""
        self.leader.store.table.write(key, key * 10, None)
        self.leader.commit()

    def pieces(self) -> Iterator[bytes]:
        """The leader's checkpoint."""
        offset = 0
        while data := read_piece(self.leader.disk, offset).data:
            yield data
            offset += len(data)

    def fetch(self, disk: SimulatedDisk, pieces: Iterator[bytes]) -> None:
        """Have the next start begin with it."""
        incoming = Incoming(disk, IDENTITY)
        for piece in pieces:
            incoming.add(piece)
        incoming.check(1)
        incoming.keep()

    def has(self, disk: SimulatedDisk) -> tuple[int, int]:
        """What a start on a disk finds: the position, and how many keys."""
        node = Node("b", self.log, disk=disk)
        self.assertIsNone(node.store.damage)
        standing = node.store.standing
        assert standing is not None
        node.follow()
        self.assertEqual(node.store.table.values.keys(), self.leader.store.table.values.keys())
        return standing.position, len(node.store.table.values)

    def test_a_crash_at_any_moment(self) -> None:
        """A start finds what was there, or what was fetched; and in the end the latter. Nothing is damaged."""
        self.behind.store.close()
        self.behind.disk.unlock()
        disk = SimulatedDisk.holding(self.behind.disk.contents())
        self.fetch(disk, self.pieces())
        Node("b", self.log, disk=disk)
        before, after = 3, len(self.log.entries)
        found = {
            self.has(crashed)[0] for moment in disk.moments() for crashed in moment.disk.crashes(2, str(moment.changes))
        }
        self.assertEqual(found, {before, after})
        self.assertEqual(self.has(disk.kill()), (after, 22))

    def test_a_crash_while_damage_is_set_aside(self) -> None:
        """Whatever was damaged is there under some name; the rest comes from the log."""
        self.behind.store.close()
        contents = self.behind.disk.contents()
        contents["table.ckpt"] = contents["table.ckpt"].replace(b"oldold", b"damage", 1)
        disk = SimulatedDisk.holding(contents)
        self.assertIsNotNone(Node("b", self.log, disk=disk).store.damage)
        for moment in disk.moments():
            for crashed in moment.disk.crashes(2, str(moment.changes)):
                Node("b", self.log, disk=crashed).follow()
                self.assertIn(contents["table.ckpt"], crashed.contents().values())

    def test_damage_of_a_server_by_itself(self) -> None:
        """What it has is in no group: nothing is set aside. The same if no file says whose it is."""
        alone = SimulatedDisk(record=False)
        Store(alone, TYPES, lambda: 7, random.Random(1).randbytes).close()
        ours = self.behind.disk.contents()
        mixed = {**ours, "table.ckpt": alone.contents()["table.ckpt"]}
        no_log = {"table.ckpt": alone.contents()["table.ckpt"]}
        unknown = {name: b"damage" + data[6:] for name, data in ours.items()}
        for contents in (mixed, no_log, unknown):
            disk = SimulatedDisk.holding(contents)
            refused = self.assertRaises(DamagedStore, Node, "b", self.log, disk=disk)
            self.assertIn("move the directory away by hand", str(refused))
            self.assertEqual({**disk.contents(), **contents}, {"lock": b"", **contents})

    def test_what_was_fetched_is_damaged(self) -> None:
        """In its header: it is a copy of another server's. What is here stays, and the next start has it too."""
        self.behind.store.close()
        contents = {**self.behind.disk.contents(), "joined.ckpt": bytes(8192)}
        disk = SimulatedDisk.holding(contents)
        self.assertEqual(self.has(disk)[0], 3)
        self.assertNotIn("joined.ckpt", disk.names())
        self.assertNotIn("damaged-1.table.txn", disk.names())

    def test_one_that_does_not_go_far_enough(self) -> None:
        """Whatever the server said that has sent it."""
        disk = SimulatedDisk(record=False)
        covers = len(self.log.entries)
        for least, is_taken in ((covers + 1, False), (covers, True)):
            incoming = Incoming(disk, IDENTITY)
            for piece in self.pieces():
                incoming.add(piece)
            if is_taken:
                incoming.check(least)
                self.assertEqual(incoming.standing, self.leader.replica.standing)
                self.assertEqual(disk.names(), ["joined.ckpt.tmp"])
                incoming.keep()
            else:
                self.assertIn("up to", str(self.assertRaises(DamagedStore, incoming.check, least)))
                incoming.abandon()
        self.assertEqual(disk.names(), ["joined.ckpt"])

    def test_one_that_is_not_kept(self) -> None:
        """It is complete, and the log does not go on from it: the next start has what was there."""
        self.behind.store.close()
        self.behind.disk.unlock()
        disk = SimulatedDisk.holding(self.behind.disk.contents())
        incoming = Incoming(disk, IDENTITY)
        for piece in self.pieces():
            incoming.add(piece)
        incoming.check(1)
        self.assertEqual(self.has(disk.kill())[0], 3)
        incoming.abandon()
        self.assertEqual(disk.contents(), self.behind.disk.contents())

    def test_no_room(self) -> None:
        """For all of it: nothing is begun."""
        disk = self.behind.disk
        disk.capacity_bytes = sum(map(len, disk.contents().values())) + 100
        before = disk.names()
        self.assertIn("there is room for 100", str(self.assertRaises(OSError, self.behind.store.fetch, 101)))
        self.assertEqual(disk.names(), before)
        self.behind.store.fetch(100).abandon()

    def test_what_is_not_taken(self) -> None:
        """Damaged on the way, cut short, of another group, or of a server by itself."""
        whole = b"".join(self.pieces())
        for bytes_, store in (
            (whole.replace(b"new7new7", b"new7new8", 1), IDENTITY),
            (whole[:-1], IDENTITY),
            (whole[:-4096], IDENTITY),
            (b"", IDENTITY),
            (whole, IDENTITY[::-1]),
            (Node("c", GroupLog()).disk.contents()["table.ckpt"], IDENTITY),
        ):
            disk = SimulatedDisk(record=False)
            incoming = Incoming(disk, store)
            incoming.add(bytes_)
            self.assertRaises(DamagedStore, incoming.check, 1)
            incoming.abandon()
            self.assertEqual(disk.names(), [])
