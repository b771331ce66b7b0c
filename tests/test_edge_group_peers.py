"""Who of a group is alive, by what all note beside its log; what is told of it; who may lead, trim, be forgotten."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.address import Address
from kvstore.base.cluster_map import parse_map
from kvstore.base.errors import Failure
from kvstore.base.shared_log import Note
from kvstore.commands.membership import Life
from kvstore.edge.group import trimming
from kvstore.edge.group.peers import Peers
from kvstore.testing.simulated_disk import SimulatedDisk
from tests.kit.group import MemoryGroup, MemoryNode, Talker

OWN, OTHER, THIRD = (Address(host, 1) for host in "abc")


class PeersTests(SynchronousTestCase):
    """From look to look."""

    def setUp(self) -> None:
        """Nothing was looked at yet."""
        self.now_s = 100.0
        self.peers = Peers(OWN, lambda: self.now_s)

    def look(self, position: int, **positions: int) -> list[Life]:
        """Two seconds later another has these; what the lives of the others are."""
        self.now_s += 2
        self.peers.look({f"{host}:1": Note(0, each) for host, each in positions.items()}, position)
        return [each.life for each in self.peers.others()]

    def test_a_life(self) -> None:
        """One is not known before it is heard of, is silent after three misses, and alive when it is heard of again."""
        lives = [self.look(position, a=position, b=noted)[0] for position, noted in enumerate((1, 2, 2, 2, 2, 2, 6), 1)]
        self.assertEqual(lives, [Life.UNKNOWN, *[Life.ALIVE] * 4, Life.SILENT, Life.ALIVE])
        self.assertEqual(self.peers.life(OWN), Life.ALIVE)

    def test_one_that_was_never_heard_of(self) -> None:
        """It is silent after three misses: what it has noted may be old."""
        self.assertEqual([self.look(9, b=2)[0] for _ in range(4)], [Life.UNKNOWN] * 3 + [Life.SILENT])
        self.assertEqual(self.look(9, b=1), [Life.ALIVE])

    def test_a_new_one(self) -> None:
        """It notes, so it is alive; one that is forgotten is not told of."""
        self.assertEqual((self.look(1), self.look(2, b=1), self.look(3)), ([], [Life.ALIVE], []))

    def test_a_log_that_stands_still(self) -> None:
        """Nobody has anything new to note, so nobody is missed; nor by one that is behind."""
        self.look(5, b=4)
        self.assertEqual([self.look(5, b=5)[0] for _ in range(9)], [Life.ALIVE] * 9)
        self.assertEqual([self.look(3, b=6)[0] for _ in range(9)], [Life.ALIVE] * 9)

    def test_long_leases(self) -> None:
        """An entry in four looks, which the other notes a look later: it is not missed."""
        lives = {self.look(number // 4, b=(number - 1) // 4)[0] for number in range(4, 40)}
        self.assertEqual(lives, {Life.UNKNOWN, Life.ALIVE})

    def test_how_long_it_was_quiet(self) -> None:
        """By a clock of its own, in whole seconds."""
        self.look(1, b=1)
        self.look(2, b=2)
        self.now_s += 7.9
        self.assertEqual([(each.position, each.quiet_s) for each in self.peers.others()], [(2, 7)])

    def test_who_is_to_lead(self) -> None:
        """The living one that has most, whatever a silent one has; which is taken only by force."""
        self.look(5, b=1, c=1)
        for position in range(10, 14):
            self.look(position, b=position, c=9)
        self.look(14, b=14, c=9)
        self.assertEqual(self.peers.successor(None, is_forced=False), OTHER)
        self.assertIn("c:1 was not heard of for 8 s", self.refused(self.peers.successor, THIRD, is_forced=False))
        self.assertEqual(self.peers.successor(THIRD, is_forced=True), THIRD)
        self.assertEqual(self.peers.successor(OTHER, is_forced=False), OTHER)
        for to in (OWN, Address("d", 1)):
            self.assertIn("is not a replica", self.refused(self.peers.successor, to, is_forced=True))

    def test_the_newest_leads(self) -> None:
        """Of two that are alive."""
        self.look(5, b=1, c=1)
        self.look(6, b=4, c=5)
        self.assertEqual(self.peers.successor(None, is_forced=False), THIRD)

    def test_nobody_to_lead(self) -> None:
        """Nobody else was ever there; or was heard of."""
        self.look(5)
        self.assertEqual(
            self.refused(self.peers.successor, None, is_forced=False), "ERR FAILOVER requires connected replicas."
        )
        self.peers = Peers(OWN, lambda: self.now_s)
        self.look(5, b=5)
        self.assertIn("b:1 was not heard of yet", self.refused(self.peers.successor, None, is_forced=False))

    def test_who_is_gone(self) -> None:
        """Who is silent, no other."""
        self.look(5, b=5)
        self.assertIn("not heard of yet", self.refused(self.peers.check_gone, OTHER))
        self.look(6, b=6)
        self.assertIn("b:1 is alive", self.refused(self.peers.check_gone, OTHER))
        self.assertIn("itself", self.refused(self.peers.check_gone, OWN))
        self.assertIn("no server c:1", self.refused(self.peers.check_gone, THIRD))
        for _ in range(4):
            self.look(9, b=6)
        self.peers.check_gone(OTHER)

    def test_a_name_that_is_no_address(self) -> None:
        """It is left out, and said once."""
        noted = {"b:1": Note(1, 1), "nobody": Note(1, 1)}
        with capturedLogs() as events:
            self.peers.look(noted, 1)
            self.peers.look(noted, 1)
        self.assertEqual([node.address for node in self.peers.others()], [OTHER])
        self.assertEqual([event["node"] for event in events if event["log_level"] is LogLevel.warn], ["nobody"])

    def refused(self, method: Any, *arguments: Any, **options: Any) -> str:
        """The text of the failure."""
        return str(self.assertRaises(Failure, method, *arguments, **options))


class GroupTestCase(SynchronousTestCase):
    """Three servers that know of each other."""

    def setUp(self) -> None:
        """One leads."""
        self.group = MemoryGroup()
        self.leader = self.group.leader()
        self.dead, self.other = self.group.followers()
        self.group.all_heard(self.leader)
        self.client = Talker(self.leader)

    def die(self, node: MemoryNode) -> None:
        """Kill it, and wait until the leader knows."""
        node.kill()
        self.group.until(lambda: Life.SILENT in self.lives().values())

    def lives(self) -> dict[Address, Life]:
        """Of the others, as the leader has them."""
        return {each.address: each.life for each in self.leader.node.member.others()}

    def ask(self, *words: object) -> str:
        """The leader's answer, as text."""
        return str(self.client.ask(*words))


class HandoverTests(GroupTestCase):
    """With a server that died."""

    def test_to_whoever_lives(self) -> None:
        """The dead one is the first of the list; no time is lost."""
        self.die(self.dead)
        began_s = self.group.clock.seconds()
        self.assertEqual(self.ask("FAILOVER"), "OK")
        self.group.until(lambda: self.other.node.member.leads)
        self.assertLess(self.group.clock.seconds() - began_s, 1)

    def test_to_the_dead_one(self) -> None:
        """Only by force, as on Redis: with a time limit and a target."""
        self.die(self.dead)
        to = ("TO", self.dead.address.host, self.dead.address.port)
        self.assertIn("FAILOVER target replica is not online: node", self.ask("FAILOVER", *to))
        self.assertIn("requires both a timeout and target", self.ask("FAILOVER", *to, "FORCE"))
        self.assertIn("No failover in progress", self.ask("FAILOVER", "ABORT"))
        self.assertTrue(self.leader.node.member.leads)
        self.assertEqual(self.ask("FAILOVER", *to, "FORCE", "TIMEOUT", 1), "OK")
        self.group.until(lambda: self.leader.ended)

    def test_nobody_is_alive(self) -> None:
        """It is refused, and says who was not heard of; a stop does not try."""
        self.other.kill()
        self.die(self.dead)
        self.group.until(lambda: set(self.lives().values()) == {Life.SILENT})
        said = self.ask("FAILOVER")
        self.assertIn("FAILOVER requires connected replicas: ", said)
        self.assertIn(f"{self.other.address} was not heard of for ", said)
        self.assertTrue(self.leader.node.leave().called)
        self.assertTrue(self.leader.node.member.leads)


class TellingTests(GroupTestCase):
    """What clients are told of a server that died, and of one that lives."""

    def test_offsets(self) -> None:
        """Of a living one what it has, some seconds ago; not what its checkpoint covers."""
        for number in range(50):
            self.client.ask("SET", "key", number)
        self.group.go_on(5)
        position = self.leader.node.member.position
        for _, _, offset in self.client.ask("ROLE")[2]:
            self.assertGreater(int(offset), position - 10)
        fields = dict(line.split(":", 1) for line in self.client.ask("INFO", "replication").splitlines() if ":" in line)
        self.assertEqual((fields["role"], fields["connected_slaves"]), ("master", "2"))
        found = dict(pair.split("=") for pair in fields["slave0"].split(","))
        self.assertEqual((found["state"], found["ip"]), ("online", self.dead.address.host))
        self.assertGreater(int(found["offset"]), position - 10)
        self.assertLess(int(found["lag"]), 5)

    def test_how_full_the_engine_is(self) -> None:
        """INFO has it, of leader and follower, from the first look on."""
        size = self.group.log.size()
        for node in (self.leader, self.other):
            said = str(Talker(node).ask("INFO", "replication"))
            self.assertRegex(said, "group_log_used_bytes:[1-9]")
            self.assertIn(f"group_log_quota_bytes:{size.quota_bytes}\r\n", said)

    def test_a_dead_one(self) -> None:
        """ROLE and INFO have it no more, SENTINEL says that it is down."""
        self.die(self.dead)
        self.assertEqual([each[0] for each in self.client.ask("ROLE")[2]], [self.other.address.host])
        said = self.ask("INFO", "replication")
        self.assertIn("connected_slaves:1\r\n", said)
        self.assertNotIn(self.dead.address.host, said)
        flags = {flat[3]: flat[9] for flat in self.client.ask("SENTINEL", "REPLICAS", "shop")}
        self.assertEqual(flags, {self.dead.address.host: "s_down,slave,disconnected", self.other.address.host: "slave"})
        flags = {flat[3]: flat[9] for flat in self.client.ask("SENTINEL", "SENTINELS", "shop")}
        self.assertEqual(flags[self.dead.address.host], "s_down,sentinel,disconnected")
        self.dead.start()
        self.group.until(lambda: set(self.lives().values()) == {Life.ALIVE})
        self.assertEqual(len(self.client.ask("ROLE")[2]), 2)


class ForgettingTests(GroupTestCase):
    """GROUP FORGET."""

    def test_one_that_left(self) -> None:
        """It is off the lists of all; if it comes back it is on them again."""
        self.assertIn(f"{self.dead.address} is alive", self.ask("GROUP", "FORGET", self.dead.address))
        self.assertIn("itself", self.ask("GROUP", "FORGET", self.leader.address))
        self.assertIn("is not HOST:PORT", self.ask("GROUP", "FORGET", "x"))
        self.die(self.dead)
        self.assertEqual(self.ask("GROUP", "FORGET", self.dead.address), "OK")
        for node in (self.leader, self.other):
            self.group.until(lambda node=node: len(node.node.member.others()) == 1)
        self.dead.start()
        for node in (self.leader, self.other):
            self.group.until(lambda node=node: len(node.node.member.others()) == 2)

    def test_one_that_compacts(self) -> None:
        """It is on the lists again before that is done, which may take long, or fail again and again."""
        self.group.go_on(1)
        self.dead.store.seal()
        self.die(self.dead)
        self.assertEqual(self.ask("GROUP", "FORGET", self.dead.address), "OK")
        self.group.until(lambda: not self.lives().keys() & {self.dead.address})
        self.dead.start()
        self.group.until(lambda: self.lives().get(self.dead.address) is Life.ALIVE)
        self.assertGreater(self.dead.store.segment_bytes, 0)

    def test_in_no_group(self) -> None:
        """There is nobody."""
        self.dead.server.group = None
        self.assertIn("in no group", str(Talker(self.dead).ask("GROUP", "FORGET", "a:1")))


class TrimmingTests(GroupTestCase):
    """Whose checkpoints count."""

    def setUp(self) -> None:
        """Each entry is worth a trim."""
        self.patch(trimming, "_STEP", 1)
        self.patch(trimming, "_MARGIN", 0)
        super().setUp()

    def covers(self, node: MemoryNode) -> int:
        """What a node has noted that it covers, when it has noted what it does."""
        expected = node.store.log.header.first - 1
        self.group.until(lambda: self.group.log.noted[str(node.address)].covers == expected)
        return int(expected)

    def compact(self, node: MemoryNode) -> int:
        """A moment later; what it covers then."""
        self.group.go_on(3)
        node.compact()
        return self.covers(node)

    def test_two_that_live(self) -> None:
        """The log is trimmed to what both of the best have."""
        least = self.compact(self.other)
        self.compact(self.dead)
        self.group.until(lambda: self.group.log.first == least + 1)

    def test_one_that_died(self) -> None:
        """What it covers counts no more while two live, though it is more than what one of them does."""
        self.patch(trimming, "_STEP", 1_000_000)
        self.compact(self.dead)
        least = self.compact(self.leader)
        self.die(self.dead)
        self.patch(trimming, "_STEP", 1)
        self.group.go_on(5)
        self.assertEqual(self.group.log.first, 1)
        self.compact(self.other)
        self.group.until(lambda: self.group.log.first == least + 1)

    def test_a_new_leader(self) -> None:
        """It trims nothing while it does not know who is alive."""
        self.patch(trimming, "_STEP", 1_000_000)
        for node in self.group.nodes:
            self.compact(node)
        self.dead.kill()
        self.other.kill()
        self.leader.kill()
        self.group.go_on(1)
        self.patch(trimming, "_STEP", 1)
        self.leader.start()
        self.assertIs(self.group.leader(), self.leader)
        lives = self.lives()
        self.assertEqual((set(lives.values()), self.group.log.first), ({Life.UNKNOWN}, 1))
        self.group.until(lambda: self.group.log.first > 1)
        self.assertEqual(set(self.lives().values()), {Life.SILENT})

    def test_two_that_died(self) -> None:
        """The log keeps what the better of them needs to come back by it; when both are forgotten it is as if there had
        never been others.
        """
        best = self.compact(self.other)
        self.die(self.other)
        self.dead.kill()
        self.group.until(lambda: set(self.lives().values()) == {Life.SILENT})
        self.compact(self.leader)
        self.group.until(lambda: self.group.log.first == best + 1)
        self.group.go_on(5)
        self.assertEqual(self.group.log.first, best + 1)
        for node in (self.dead, self.other):
            self.assertEqual(self.ask("GROUP", "FORGET", node.address), "OK")
        self.group.go_on(5)
        self.assertEqual((self.lives(), self.group.log.first), ({}, best + 1))
        self.assertEqual(self.ask("GROUP", "TRIM"), "OK")
        self.group.until(lambda: self.group.log.first == self.covers(self.leader) + 1)

    def test_a_lost_disk(self) -> None:
        """Whoever comes back with nothing covers nothing."""
        self.dead.kill()
        self.dead.disk = SimulatedDisk(record=False)
        self.dead.start()
        self.group.go_on(3)
        self.assertEqual(self.covers(self.dead), 0)

    def test_an_older_disk(self) -> None:
        """Whoever comes back with an older state, which was taken in the middle of a compaction, covers what the
        checkpoint in it does, and not what was noted of the one that is lost.
        """
        older = self.compact(self.dead)
        self.group.go_on(1)
        self.dead.store.seal()
        disk = self.dead.disk.kill()
        self.dead.kill()
        self.dead.start()
        self.assertGreater(self.compact(self.dead), older)
        self.dead.kill()
        self.dead.disk = disk
        self.dead.start()
        self.compact(self.leader)
        self.group.go_on(5)
        self.assertEqual(
            (self.group.log.noted[str(self.dead.address)].covers, self.group.log.first), (older, older + 1)
        )


class FullEngineTests(GroupTestCase):
    """What takes much room in the engine, though it is few entries."""

    def test_few_large_entries(self) -> None:
        """Leave the log unasked, once the engine is more than half full, however soon after each other."""
        self.group.log.quota_bytes = 1_000_000
        for number in range(9):
            self.assertEqual(self.ask("SET", "key", str(number) * 100_000), "OK")
            self.group.go_on(5)
        self.assertEqual(Talker(self.leader).ask("GET", "key"), "8" * 100_000)
        self.assertLess(sum(map(len, self.group.log.entries.values())), 600_000)

    def test_a_file_near_the_quota(self) -> None:
        """Past half of that nothing that grows is taken: what is free in the file may be in small pieces."""
        log = self.group.log
        for node in self.group.nodes:
            node.server.compact_now = lambda: False
        self.ask("SET", "key", "x" * 60_000)
        self.group.go_on(5)
        for used_of, file_bytes, is_taken in ((0.6, 89, True), (0.6, 91, False), (0.4, 91, True), (0.8, 0, False)):
            log.quota_bytes = int(log.size().used_bytes / used_of)
            log.file_bytes = log.quota_bytes * file_bytes // 100
            self.group.go_on(5)
            answer = str(self.ask("APPEND", "other", "x"))
            self.assertEqual(answer.startswith("MISCONF"), not is_taken, (used_of, file_bytes, answer))

    def test_history(self) -> None:
        """Is forgotten as the log grows; if it does not, but for what renews the lease, it is not looked for."""
        self.group.log.quota_bytes = 10_000_000
        self.group.go_on(3)
        freed = self.group.log.freed
        self.group.go_on(60)
        self.assertEqual(self.group.log.freed, freed)
        for number in (1, 2):
            self.ask("SET", "key", "x" * 400_000)
            self.group.go_on(5)
            self.assertEqual(self.group.log.freed, freed + number)


class AloneTests(SynchronousTestCase):
    """A group of one."""

    def setUp(self) -> None:
        """It leads, and has a checkpoint."""
        self.patch(trimming, "_STEP", 1)
        self.patch(trimming, "_MARGIN", 0)
        self.group = MemoryGroup(1)
        self.leader = self.group.leader()
        self.group.go_on(5)
        self.leader.compact()
        self.group.go_on(5)

    def test_it_keeps_the_log(self) -> None:
        """Which is the other copy of what it has."""
        self.assertEqual(self.group.log.first, 1)

    def test_it_is_told_to_trim(self) -> None:
        """Up to what its own checkpoint has."""
        self.assertEqual(Talker(self.leader).ask("GROUP", "TRIM"), "OK")
        covers = self.leader.store.log.header.first - 1
        self.group.until(lambda: self.group.log.first == covers + 1)
        self.group.go_on(70)
        first = self.group.log.first
        self.leader.compact()
        self.group.go_on(5)
        self.assertEqual(self.group.log.first, first)

    def test_the_engine_gets_full(self) -> None:
        """The same."""
        covers = self.leader.store.log.header.first - 1
        self.group.log.quota_bytes = 1
        self.group.until(lambda: self.group.log.first == covers + 1)


class NamesakeTests(SynchronousTestCase):
    """Two servers with one --advertise: the mistake of who copies a unit to another machine."""

    def told(self, group: MemoryGroup) -> list[str]:
        """What the log says of it in half a minute."""
        with capturedLogs() as lines:
            group.go_on(30)
        return [formatEvent(line) for line in lines if line["log_level"] is LogLevel.critical]

    def test_both_say_so(self) -> None:
        """Once each; what is acknowledged is in the log all the same."""
        group = MemoryGroup(3)
        leader = group.leader()
        group.go_on(1)
        group.nodes.append(Namesake(group, 4, "lease"))
        told = self.told(group)
        self.assertEqual(len(told), 2, told)
        self.assertIn("node1:6380", told[0])
        self.assertIn("--advertise", told[0])
        self.assertEqual(Talker(leader).ask("SET", "key", "1"), "OK")
        self.assertEqual(self.told(group), [])

    def test_one_that_was_forgotten_or_starts_anew(self) -> None:
        """What it finds is its own."""
        group = MemoryGroup(3)
        group.leader()
        group.go_on(5)
        for node in group.nodes:
            node.kill()
            node.start()
            group.go_on(5)
            group.log.forget(str(node.address))
        self.assertEqual(self.told(group), [])


class Namesake(MemoryNode):
    """One that says that it is node 1, with what it draws itself."""

    def chance(self) -> Random:
        """See `MemoryNode`."""
        return Random(f"another {self.starts}")

    def start(self) -> None:
        """See `MemoryNode`."""
        self.address = Address("node1", 6380)
        super().start()


class ClusterTests(SynchronousTestCase):
    """A group with slots, one of whose servers died."""

    def test_what_is_told(self) -> None:
        """By its own servers and by those of others: it fails, and is not in CLUSTER SLOTS."""
        group = MemoryGroup(2, name="a", slots="0-8191")
        beside = MemoryGroup(1, name="b", slots="8192-16383", beside=group)
        nodes = [*group.nodes, *beside.nodes]
        group.until(lambda: all(node.node.cluster.is_whole and node.node.cluster.slots for node in nodes))  # type: ignore[union-attr]
        leader, dead = group.leader(), group.followers()[0]
        group.until(lambda: parse_map(group.register.text)["a"].others == (dead.address,))
        dead.kill()
        group.until(lambda: parse_map(group.register.text)["a"].silent == (dead.address,))
        group.go_on(3)
        for node in (leader, beside.leader()):
            client = Talker(node)
            self.assertEqual([len(run) for run in client.ask("CLUSTER", "SLOTS")], [3, 3])
            line = next(line for line in client.ask("CLUSTER", "NODES").splitlines() if str(dead.address) in line)
            self.assertEqual((line.split()[2], line.split()[7]), ("slave,fail", "disconnected"))
            shards = client.ask("CLUSTER", "SHARDS")
            self.assertEqual([each[-1] for each in shards[0][3]], ["online", "fail"])
            self.assertIn("cluster_nodes_fail:1\r\n", client.ask("CLUSTER", "INFO"))
        dead.start()
        group.until(lambda: parse_map(group.register.text)["a"].others == (dead.address,))
