"""A node that is new, was away for too long, or has a damaged directory comes to the state of the others."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOSPC
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.base.shared_log import Size
from kvstore.edge.group import compacting, joining, lending, trimming
from kvstore.store import joining as stored
from kvstore.store.replica import End
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.group import MemoryGroup, MemoryNode, Talker


class JoiningTests(SynchronousTestCase):
    """Three nodes, of which one is away while the log is trimmed."""

    def setUp(self) -> None:
        """Let one have nothing of it all."""
        self.patch(trimming, "_STEP", 5)
        self.patch(compacting, "_STEP", 5)
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
        self.group.until(lambda: node.node.member.position == self.leader.node.member.position)
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
        self.assertEqual((self.away.running, self.away.ended, self.away.node.member.leads), (True, [], False))
        self.other.start()
        self.starts_again(self.away)
        self.leader = self.group.leader()
        self.has_all(self.away, 20)

    def test_only_one_has_what_the_log_has_no_more(self) -> None:
        """The two whose checkpoints the log was trimmed by have lost their disks. The third makes one, as it is asked;
        once, since the first that joins by it has one, too.
        """
        for node in (self.leader, self.other):
            node.compact()
        self.group.until(lambda: self.group.log.first > 1)
        compact, compacted = self.away.compact, list[None]()
        self.patch(self.away, "compact", lambda: compacted.append(compact()))
        for node in (self.leader, self.other):
            node.kill()
            node.disk = SimulatedDisk(record=False)
        for node in (self.leader, self.other):
            node.start()
            self.starts_again(node)
        self.assertEqual(len(compacted), 1)
        self.leader = self.group.leader()
        for node in self.group.nodes:
            self.has_all(node, 20)

    def test_what_is_asked_for_in_vain(self) -> None:
        """No checkpoint is made up to an entry that this server has not; nor while one can join by that which it has,
        the log having the rest: so whoever asks for a newer one again and again has it made no more often than needed.
        """
        self.trim()
        self.write(5)
        asked, covers = self.compactions_asked_for(), self.leader.group_store.covered
        for least in (covers + 1, self.leader.node.member.applied + 100, 1 << 60):
            self.refused(least)
        for least in (covers, 0, -1):
            self.assertEqual(self.client.ask("GROUP", "CHECKPOINT", 0, least)[1], covers)
        for _ in range(30):
            self.refused(covers + 1)
            self.group.go_on(1)
        self.assertEqual(asked, [])

    def test_one_that_cannot_be_made(self) -> None:
        """It is begun again after a while, not each time that a server asks: each that fails is told in the log, and
        doubles the pause before the next.
        """
        self.trim_beyond_the_leader()
        asked = self.compactions_asked_for()
        for _ in range(30):
            self.refused(self.group.log.first - 1)
            self.group.go_on(1)
        self.assertEqual(len(asked), 1)
        self.group.go_on(60)
        self.refused(self.group.log.first - 1)
        self.group.go_on(1)
        self.assertEqual(len(asked), 2)

    def test_one_that_is_not_to_be_begun(self) -> None:
        """None is begun for what this server has not; nor while one is under way, or waits since it failed."""
        self.trim_beyond_the_leader()
        asked = self.compactions_asked_for()
        self.refused(1 << 60)
        self.group.go_on(3)
        self.group.until(lambda: self.leader.store.in_flight is None)
        self.leader.store.seal()
        self.refused(self.group.log.first - 1)
        self.group.go_on(3)
        self.leader.store.abandon_compaction()
        self.refused(self.group.log.first - 1)
        self.group.go_on(3)
        self.assertEqual(asked, [])

    def trim_beyond_the_leader(self) -> None:
        """The log is trimmed up to what the others have in their checkpoints, and the leader has not."""
        self.group.go_on(1)
        for node in (self.away, self.other):
            node.compact()
        self.group.until(lambda: self.group.log.first > 1)

    def compactions_asked_for(self) -> list[None]:
        """As many as the leader asks for from now on, none of which is begun."""
        asked: list[None] = []
        self.leader.server.compact_now = lambda: asked.append(None) is None  # type: ignore[method-assign]
        return asked

    def refused(self, least: int) -> None:
        """The leader's checkpoint does not go so far."""
        covers = self.leader.group_store.covered
        refusal = f"ERR the checkpoint has entries up to {covers} only, and the server up to "
        self.assertRegex(str(self.client.ask("GROUP", "CHECKPOINT", 0, least)), refusal)

    def test_a_server_without_a_checkpoint(self) -> None:
        """Since there was no room for the first one, when it began: one is made all the same."""
        self.trim_beyond_the_leader()
        self.leader.disk.remove("table.ckpt")
        asked = self.compactions_asked_for()
        self.refused(self.group.log.first - 1)
        self.group.go_on(1)
        self.assertEqual(len(asked), 1)

    def test_one_that_is_fetched_in_vain(self) -> None:
        """It is not kept, as the log was trimmed beyond it: the newer one is made at once."""
        self.client.ask("GROUP", "CHECKPOINT", 0)
        self.trim_beyond_the_leader()
        self.assertTrue(self.leader.group_store.is_lent())
        asked = self.compactions_asked_for()
        self.refused(self.group.log.first - 1)
        self.group.go_on(1)
        self.assertEqual(len(asked), 1)

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

    def empty(self, *reachable: MemoryNode) -> list[MemoryNode]:
        """The one that was away starts with nothing, and reaches only those; returns them, to be changed."""
        self.away.kill()
        self.trim()
        reaches = list(reachable)
        reach = self.away._reach

        def only(place: Address, fetch: joining.Fetch) -> None:
            if place in [node.address for node in reaches]:
                reach(place, fetch)
            else:
                self.group.clock.callLater(0, fetch.fail, "nobody is there")

        self.patch(self.away, "_reach", only)
        self.away.disk = SimulatedDisk(record=False)
        self.away.start()
        return reaches

    def at_piece(self, number: int, happens: Callable[[], object]) -> None:
        """Have something happen when that piece of a checkpoint has come."""
        taken, pieces = joining.Fetch._take, count(1)

        def take(fetch: joining.Fetch, *words: Any) -> None:
            if next(pieces) == number:
                self.group.clock.callLater(0, happens)
            taken(fetch, *words)

        self.patch(joining.Fetch, "_take", take)

    def has_nothing(self) -> None:
        """The one that was away runs, has not ended, and keeps nothing of what it may have fetched."""
        self.assertEqual((self.away.running, self.away.ended), (True, []))
        self.assertEqual([name for name in self.away.disk.names() if name.startswith("joined")], [])

    def test_a_checkpoint_of_another_log(self) -> None:
        """The server that has it is named loudly, and not asked again soon; nothing is replaced; another one's is
        taken.
        """
        forked = MemoryGroup(seed=2)
        client = Talker(forked.leader())
        for number in range(60):
            self.assertEqual(client.ask("SET", f"key{number}", "forked"), "OK")
        for node in forked.nodes:
            node.compact()
        asked: list[int] = []

        def piece(offset: int) -> stored.Piece:
            asked.append(offset)
            return stored.read_piece(forked.nodes[0].disk, offset)

        self.patch(self.other.group_store, "checkpoint_piece", piece)
        with capturedLogs() as events:
            reaches = self.empty(self.other)
            self.group.go_on(20)
        self.has_nothing()
        self.assertEqual(asked.count(0), 1)
        (loud,) = (formatEvent(event) for event in events if event["log_level"] is LogLevel.critical)
        self.assertIn(f"the checkpoint of {self.other.address}, up to entry", str(loud))
        self.assertIn("is not of the group's log", str(loud))
        reaches.append(self.leader)
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_the_log_is_trimmed_beyond_it(self) -> None:
        """What was fetched is of no use by then: it is fetched anew."""
        checked = stored.Incoming.check
        covered = []

        def check(incoming: stored.Incoming, least: int) -> None:
            checked(incoming, least)
            covered.append(incoming.standing.position)
            if len(covered) == 1:
                self.write(40)
                for node in (self.leader, self.other):
                    node.compact()
                self.group.until(lambda: self.group.log.first > covered[0] + 1)

        self.patch(stored.Incoming, "check", check)
        with capturedLogs() as events:
            self.empty(self.leader, self.other)
            self.starts_again(self.away)
        self.assertNotIn(LogLevel.critical, [event["log_level"] for event in events])
        self.assertEqual((len(covered), self.away.group_store.joined), (2, covered[-1]))
        self.has_all(self.away, 40)

    def test_the_log_has_its_last_entry(self) -> None:
        """The checkpoint goes farther than the log was trimmed."""
        self.empty()
        self.write(40)
        self.other.compact()
        self.group.go_on(1)
        self.patch(self.away, "_reach", type(self.away)._reach.__get__(self.away))
        self.away.kill()
        self.away.start()
        self.starts_again(self.away)
        self.has_all(self.away, 40)

    def test_the_server_that_is_asked_dies(self) -> None:
        """What came of it is forgotten; another one is asked."""
        reaches = self.empty(self.other)
        self.at_piece(3, self.other.kill)
        self.group.until(lambda: not self.other.running)
        self.group.go_on(5)
        self.has_nothing()
        reaches.append(self.leader)
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_an_older_checkpoint_each_time(self) -> None:
        """A server that says it has a newer one: another is asked."""
        old = self.other.disk.kill()
        self.group.go_on(1)
        self.other.compact()
        old = self.other.disk.kill()
        self.write(40)
        self.patch(self.other.group_store, "checkpoint_piece", partial(stored.read_piece, old))
        reaches = self.empty(self.other)
        self.group.go_on(5)
        self.has_nothing()
        reaches.append(self.leader)
        self.starts_again(self.away)
        self.has_all(self.away, 40)

    def test_a_full_disk(self) -> None:
        """Nothing is fetched that there is no room for, and what fills the disk is removed; later there is room."""
        self.empty(self.leader, self.other)
        self.away.disk.capacity_bytes = self.away.disk.free_bytes()  # as much as there is
        size_bytes = stored.read_piece(self.leader.disk, 0).size_bytes
        taken = sum(map(len, self.away.disk.contents().values()))
        self.away.disk.capacity_bytes = taken + size_bytes - 1
        with capturedLogs() as events:
            self.group.go_on(130)
        self.has_nothing()
        said = [formatEvent(event) for event in events if "trying on" in event.get("log_format", "")]
        self.assertEqual((len(said), "there is room for" in str(said)), (3, True))
        self.away.disk.capacity_bytes = None
        self.away.disk.fail("write_at", ENOSPC, 5, file="joined.ckpt.tmp")
        self.away.disk.fail("rename", ENOSPC, file="joined.ckpt")
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_two_at_once(self) -> None:
        """They fetch from the same server."""
        self.away.kill()
        self.trim()
        self.other.kill()
        both = (self.away, self.other)
        for node in both:
            node.disk = SimulatedDisk(record=False)
            node.start()
        for node in both:
            self.starts_again(node)
        for node in both:
            self.has_all(node, 20)

    def test_one_that_ends_in_the_middle(self) -> None:
        """In order, it leaves nothing behind; killed, it leaves what the next start removes, to begin anew."""
        left: list[SimulatedDisk] = []
        self.empty(self.leader, self.other)
        self.at_piece(3, lambda: left.append(self.away.disk.kill()) or self.away.kill())
        self.group.until(lambda: not self.away.running)
        self.assertEqual([name for name in self.away.disk.names() if name.startswith("joined")], [])
        for disk in (left[0], self.away.disk):
            self.away.disk = disk
            self.away.start()
            self.has_nothing()
            self.away.kill()
        self.away.start()
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_the_log_is_away(self) -> None:
        """From the middle on: what was fetched waits until the log has been asked about it."""
        self.empty(self.leader, self.other)
        self.at_piece(3, self.away.connection.cut)
        self.group.go_on(20)
        self.assertEqual((self.away.ended, "joined.ckpt.tmp" in self.away.disk.names()), ([], True))
        self.away.connection.heal()
        self.starts_again(self.away)
        self.has_all(self.away, 20)

    def test_a_fetch_that_takes_longer_than_compactions_are_apart(self) -> None:
        """The engine is over half full, so everybody compacts every minute: but who is fetched from, and that ends."""
        self.patch(self.group.log, "size", lambda: Size(6_000_000, 10_000_000))
        identities = self.fetched_slowly()
        self.empty(self.other)
        self.group.until(lambda: identities)
        noted = dict(self.group.log.noted)
        began_s = self.group.clock.seconds()
        self.group.until(lambda: self.away.ended, 300)
        self.assertGreater(self.group.clock.seconds(), began_s + 70)
        self.assertEqual((self.away.ended[-1].end, len(identities)), (End.JOINED, 1))
        leader = str(self.leader.address)
        self.assertGreater(self.group.log.noted[leader].covers, noted[leader].covers)
        own, noted = str(self.other.address), dict(self.group.log.noted)
        self.group.until(lambda: self.group.log.noted[own].covers > noted[own].covers, 80)

    def fetched_slowly(self) -> set[bytes]:
        """Have it take more than a minute to fetch a checkpoint; returns which are."""
        self.patch(stored, "PIECE_BYTES", 400)
        identities = set[bytes]()
        taken, ask = joining.Fetch._take, joining.Fetch._ask

        def take(fetch: joining.Fetch, identity: bytes, *words: Any) -> None:
            identities.add(identity)
            taken(fetch, identity, *words)

        def ask_slowly(fetch: joining.Fetch) -> None:
            self.group.clock.callLater(9, ask, fetch)

        self.patch(joining.Fetch, "_take", take)
        self.patch(joining.Fetch, "_ask", ask_slowly)
        return identities

    def test_a_long_fetch_from_the_only_one_when_the_engine_is_full(self) -> None:
        """It comes to an end: that no more is trimmed is not for want of a newer checkpoint of that server's, but of
        one of whoever fetches.
        """
        identities = self.fetched_slowly()
        self.away.kill()
        self.trim()
        self.leader.kill()
        self.patch(self.group.log, "size", lambda: Size(8_000_000, 10_000_000))
        for node in (self.away, self.leader):
            node.disk = SimulatedDisk(record=False)
            node.start()
        began_s = self.group.clock.seconds()
        self.group.until(lambda: self.away.ended, 300)
        self.assertGreater(self.group.clock.seconds(), began_s + 70)
        self.assertEqual((self.away.ended[-1].end, len(identities)), (End.JOINED, 1))

    def test_a_connection_that_comes_too_late(self) -> None:
        """It is closed, and nothing asked: another server has been asked meanwhile."""
        clock, ended = Clock(), list[object]()
        fetch = joining.Fetch(clock, ("user", b"password"), 1, self.fail, ended.append)
        clock.advance(10)
        self.assertEqual(ended, ["it sends nothing"])
        transport = StringTransport()
        fetch.makeConnection(transport)
        self.assertEqual((transport.value(), transport.disconnected), (b"", True))


class LendingTests(SynchronousTestCase):
    """When a checkpoint is kept for who fetches it."""

    def setUp(self) -> None:
        """Nobody does."""
        self.clock = Clock()
        self.lending = lending.Lending(self.clock)

    def is_on_until(self, *seconds: float, identity: str = "one") -> float:
        """A piece is asked for at each of those times; returns when it ends, looked at twice a second."""
        for at in seconds:
            self.clock.advance(at - self.clock.seconds())
            self.lending.asked(identity)
        for _ in range(1000):
            if not self.lending.is_on():
                return self.clock.seconds()
            self.clock.advance(0.5)
        raise AssertionError("it does not end")

    def test_while_somebody_asks(self) -> None:
        """And a while longer."""
        self.assertFalse(self.lending.is_on())
        self.assertEqual(self.is_on_until(1, 2, 3), 13)
        self.assertEqual(self.is_on_until(100), 110)

    def test_not_for_ever(self) -> None:
        """However often somebody asks; for another checkpoint, or after a pause, it begins anew."""
        every_nine = range(0, 700, 9)
        self.assertEqual(self.is_on_until(*every_nine), every_nine[-1])
        self.assertEqual(self.is_on_until(701, identity="other"), 711)
        self.assertEqual(self.is_on_until(*range(720, 1315, 9), identity="other"), 1320)

    def test_what_waits(self) -> None:
        """The compaction by size, and GROUP TRIM; not if there is no room for a longer log, or in the engine."""
        group = MemoryGroup()
        leader = group.leader()
        store, asked = leader.group_store, list[None]()
        leader.server.compact_now = lambda: asked.append(None) is None  # type: ignore[method-assign]
        self.patch(store.policy, "is_due", lambda *_, **__: True)
        self.assertTrue(store.compaction_is_due())
        client = Talker(leader)
        client.ask("GROUP", "CHECKPOINT", "0")
        self.assertFalse(store.compaction_is_due())
        self.assertEqual(client.ask("GROUP", "TRIM"), "OK")
        group.go_on(5)
        self.assertEqual(asked, [])
        with patch.object(store, "_is_short_of_room", return_value=True):
            self.assertTrue(store.compaction_is_due())
        group.go_on(10)
        self.assertEqual((len(asked), store.compaction_is_due()), (1, True))
        self.patch(compacting, "_STEP", 0)
        self.patch(group.log, "size", lambda: Size(8_000_000, 10_000_000))
        client.ask("GROUP", "CHECKPOINT", "0")
        group.go_on(5)
        self.assertEqual(len(asked), 2)


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

    def test_much_between_two_looks(self) -> None:
        """No more of what grows is taken than there was room for at the last look, however fast it comes."""
        group = MemoryGroup()
        leader = group.leader()
        client = Talker(leader)
        for node in group.nodes:
            node.server.compact_now = lambda: False
        group.log.quota_bytes = 1_000_000
        group.go_on(5)
        self.patch(leader.node._trimming, "start", lambda: None)
        group.go_on(5)
        answers = [client.ask("SET", "key", "x" * 20_000) for _ in range(60)]
        taken = answers.count("OK")
        self.assertEqual(answers[:taken], ["OK"] * taken)
        self.assertGreater(taken, 25)
        self.assertLess(group.log.size().used_bytes, 750_000)
        for answer in answers[taken:]:
            self.assertRegex(str(answer), "MISCONF.* the group's log takes .* of 1000000 .*, and .* more or so by now")
        self.assertEqual((client.ask("DEL", "key"), client.ask("GET", "key")), (1, None))

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
