"""A group of servers over one log: who leads, what followers have, what clients are told."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.commands.membership import Life
from kvstore.store.operations import UnknownOperation
from kvstore.store.replica import End
from kvstore.testing.simulated_shared_log import Trouble
from kvstore.wire.resp import pack
from tests.kit.group import MemoryGroup, Talker


class LeadingTests(SynchronousTestCase):
    """From a start to a leader, and from one leader to the next."""

    def setUp(self) -> None:
        """Three nodes, of which one leads."""
        self.group = MemoryGroup()
        self.leader = self.group.leader()

    def test_a_write_at_the_leader_is_read_at_followers(self) -> None:
        """After READONLY; before that a read is an error, and a write is one in any case."""
        self.assertEqual(Talker(self.leader).ask("SET", "greeting", "hello"), "OK")
        self.group.go_on(1)
        for node in self.group.followers():
            client = Talker(node)
            self.assertIn("READONLY This server follows", str(client.ask("GET", "greeting")))
            self.assertEqual(client.ask("READONLY"), "OK")
            self.assertEqual(client.ask("GET", "greeting"), "hello")
            self.assertEqual(
                str(client.ask("SET", "greeting", "x")), "READONLY You can't write against a read only replica."
            )
            self.assertEqual(client.ask("READWRITE"), "OK")
            self.assertIn("READONLY", str(client.ask("GET", "greeting")))

    def test_what_was_acknowledged_survives_the_leader(self) -> None:
        """Another leads within a few seconds, and has all of it."""
        client = Talker(self.leader)
        for number in range(20):
            self.assertEqual(client.ask("SET", f"key{number}", number), "OK")
        died_s = self.group.clock.seconds()
        self.leader.kill()
        leader = self.group.leader()
        self.assertIsNot(leader, self.leader)
        self.assertLess(self.group.clock.seconds() - died_s, 4)
        client = Talker(leader)
        self.assertEqual([client.ask("GET", f"key{number}") for number in range(20)], [str(n) for n in range(20)])
        self.assertEqual(client.ask("SET", "key0", "new"), "OK")
        self.leader.start()
        self.group.go_on(1)
        back = Talker(self.leader)
        back.ask("READONLY")
        self.assertEqual(back.ask("GET", "key0"), "new")

    def test_a_leader_cut_off_acknowledges_nothing_and_ends(self) -> None:
        """Its clients wait, writers and readers, until it hears that another leads: then they are disconnected."""
        old = self.leader
        writer, reader, waiter = Talker(old), Talker(old), Talker(old)
        waiter.send("BLPOP", "list", 0)
        writer.ask("SET", "key", "old")
        old.connection.cut()
        writer.send("SET", "key", "lost")
        self.group.go_on(0.1)
        self.group.until(lambda: any(node.node.member.leads for node in self.group.nodes if node is not old))
        reader.send("GET", "other")
        self.group.go_on(1)
        self.assertEqual((len(writer.replies), reader.replies), (1, []))
        old.connection.heal()
        self.group.until(lambda: old.ended)
        self.assertIs(old.ended[0].end, End.FENCED)
        self.group.go_on(0.1)
        self.assertEqual([each.is_connected for each in (writer, reader, waiter)], [False] * 3)
        self.assertIn("UNBLOCKED", str(waiter.replies[0]))
        old.start()
        self.group.go_on(1)
        client = Talker(old)
        client.ask("READONLY")
        self.assertEqual(client.ask("GET", "key"), "old")

    def test_an_idle_leader_stays(self) -> None:
        """It renews its lease with empty entries, so that nobody campaigns, and its reads need not wait."""
        epoch = self.leader.node.member.epoch
        self.group.go_on(20)
        self.assertTrue(self.leader.node.member.leads)
        self.assertEqual([node.node.member.epoch for node in self.group.nodes], [epoch] * 3)

    def test_a_full_disk(self) -> None:
        """A follower waits for room, and goes on; a leader lets another lead."""
        client, follower = Talker(self.leader), self.group.followers()[0]
        full = StorageFull("No space left on device")
        with patch.object(follower.store, "follow", side_effect=full):
            client.ask("SET", "key", "value")
            self.group.go_on(3)
        self.assertTrue(self.leader.node.member.leads)
        self.group.until(lambda: follower.node.member.position == self.leader.node.member.position)
        with patch.object(self.leader.store, "close_commit", side_effect=full):
            self.group.until(lambda: self.leader.ended)
        self.assertIn("no room", str(self.leader.ended[0]))
        self.assertEqual(Talker(self.group.leader()).ask("GET", "key"), "value")

    def test_a_disk_that_fails_under_an_entry(self) -> None:
        """Is the end of that server, and nobody is told that the log were wrong."""
        follower = self.group.followers()[0]
        fault = StorageFault("cannot extend table.txn")
        with patch.object(follower.store, "follow", side_effect=fault):
            self.group.until(lambda: follower.faults)
        self.assertEqual((follower.faults, follower.ended, follower.running), ([fault], [], False))

    def test_an_entry_of_a_newer_version(self) -> None:
        """A follower follows no more, and answers reads of what it has; one that it cannot apply ends it."""
        newer, other = self.group.followers()
        with patch.object(newer.store, "follow", side_effect=UnknownOperation(b"NEW")):
            Talker(self.leader).ask("SET", "key", "value")
            self.group.go_on(0.1)
        self.group.go_on(5)
        client = Talker(newer)
        client.ask("READONLY")
        self.assertEqual((client.ask("GET", "key"), client.ask("ROLE")[3]), (None, "connect"))
        with patch.object(other.store, "follow", side_effect=ValueError("what is this")):
            Talker(self.leader).ask("SET", "key", "value")
            self.group.until(lambda: other.ended)
        self.assertIs(other.ended[0].end, End.DIFFERS)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_log_that_was_set_back(self) -> None:
        """Whoever was further ends, leader and followers, and never campaigns; nor does one that starts again, not even
        when the log has grown by others to just where it was.
        """
        old = self.group.log.head
        Talker(self.leader).ask("SET", "key", "value")
        self.group.go_on(0.1)
        position = self.leader.node.member.position
        for node in self.group.nodes:
            node.connection.cut()
        self.group.log.set_back(old)
        for node in self.group.nodes:
            node.connection.heal()
        self.group.go_on(10)
        self.assertEqual([node.ended[0].end for node in self.group.nodes], [End.DIFFERS] * 3)
        self.assertEqual(self.group.log.head, old)
        for number in range(old + 1, position + 1):
            self.group.log.append(number, b"of another")
        self.leader.start()
        self.group.go_on(10)
        self.assertEqual([each.end for each in self.leader.ended], [End.DIFFERS] * 2)
        self.assertEqual(self.group.log.head, position)

    @pytest.mark.long
    def test_more_than_an_entry_may_have(self) -> None:
        """Writes wait while an entry is on its way and the next is large enough; one that is too large is an error."""
        self.group.log.trouble = Trouble(delay_s=0.2)
        clients = [Talker(self.leader) for _ in range(12)]
        for number, client in enumerate(clients):
            client.send("SET", f"key{number}", "x" * 5_000_000)
        self.group.until(lambda: all(client.replies for client in clients))
        self.assertEqual([client.replies for client in clients], [["OK"]] * 12)
        self.assertIn("one commit would be larger", str(clients[0].ask("SET", "key", "x" * 17_000_000)))
        self.group.go_on(2)
        self.assertEqual({len(node.store.table.values) for node in self.group.nodes}, {12})

    def test_handing_over(self) -> None:
        """FAILOVER lets another lead at once; the old leader ends, to begin anew."""
        client = Talker(self.leader)
        client.ask("SET", "key", "value")
        self.group.all_heard(self.leader)
        to = self.group.followers()[1]
        began_s = self.group.clock.seconds()
        self.assertEqual(client.ask("FAILOVER", "TO", to.address.host, to.address.port), "OK")
        self.group.until(lambda: to.node.member.leads)
        self.assertLess(self.group.clock.seconds() - began_s, 1)
        self.group.until(lambda: not self.leader.running)
        self.assertEqual(Talker(to).ask("GET", "key"), "value")

    def test_who_reads_and_writes_while_it_is_handed_over(self) -> None:
        """What was sent before is in the log; a read later on is told to go elsewhere."""
        client, reader = Talker(self.leader), Talker(self.leader)
        self.group.all_heard(self.leader)
        self.leader.connection.deafen()
        client.send("SET", "key", "value")
        self.group.go_on(0.1)
        client.send("FAILOVER")
        self.group.go_on(0.1)
        reader.send("GET", "other")
        self.group.go_on(0.1)
        self.leader.connection.heal()
        self.group.until(lambda: not self.leader.running)
        self.assertEqual((self.leader.faults, client.replies), ([], ["OK", "OK"]))
        self.assertIn("READONLY", str(reader.replies))
        self.assertIs(self.leader.ended[0].end, End.HANDED_OVER)
        self.assertEqual(Talker(self.group.leader()).ask("GET", "key"), "value")

    def test_it_is_handed_over_though_somebody_reads(self) -> None:
        """The next commit is that, also if a read waits for it."""
        reader, client = Talker(self.leader), Talker(self.leader)
        self.group.all_heard(self.leader)
        self.leader.connection.deafen()
        client.ask("FAILOVER")
        self.group.go_on(0.1)
        reader.send("GET", "key")
        self.group.go_on(0.1)
        self.assertEqual((self.leader.faults, self.leader.running), ([], True))
        self.leader.connection.heal()
        self.group.until(lambda: not self.leader.running)
        self.assertEqual((self.leader.faults, reader.replies), ([], []))

    def test_a_leader_that_stops(self) -> None:
        """It hands over before; it does not wait for long where nobody takes that."""
        self.group.all_heard(self.leader)
        left = self.leader.node.leave()
        self.group.until(lambda: left.called)
        self.assertEqual(self.leader.ended, [])
        self.leader.kill()
        began_s = self.group.clock.seconds()
        other = self.group.leader()
        self.assertLess(self.group.clock.seconds() - began_s, 1)
        self.group.until(lambda: any(each.life is Life.ALIVE for each in other.node.member.others()))
        other.connection.cut()
        left = other.node.leave()
        self.group.go_on(1.1)
        self.assertTrue(left.called)


class ReadsTests(SynchronousTestCase):
    """When the replies of reads leave the leader."""

    def setUp(self) -> None:
        """A group that trusts no clocks, with a key."""
        self.group = MemoryGroup(reads="quorum")
        self.leader = self.group.leader()
        self.client = Talker(self.leader)
        self.client.ask("SET", "key", "value")

    def held(self, *requests: bytes) -> list[bool]:
        """Whether the reply to each is not there before the log takes entries again."""
        self.leader.connection.cut()
        self.addCleanup(self.leader.connection.heal)
        held = []
        for request in requests:
            talker = Talker(self.leader)
            talker.write(request)
            self.group.go_on(0.05)
            held.append(not talker.received)
        return held

    def test_a_read_waits_for_an_entry(self) -> None:
        """Of its own if there is no write, alone and in a pipeline, in each grammar, in a block."""
        head = self.group.log.head
        self.assertEqual(self.client.ask("GET", "key"), "value")
        self.assertGreater(self.group.log.head, head)
        get = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
        line = b'{"method":"lookup","key":"key"}\n'
        requests = (get, 20 * get, b"GET key\n", line, b"MGET key\nPING\n", b"MULTI\nGET key\nEXEC\n", b"DBSIZE\n")
        self.assertEqual(self.held(*requests, b"EVAL \"return server.call('GET','key')\" 0\n"), [True] * 8)

    def test_what_tells_of_no_data_does_not(self) -> None:
        """So that a leader without its log can be asked."""
        words = (b"PING\n", b"ROLE\nPING\n", b"INFO\n", b"SENTINEL MASTERS\n", b"CLIENT LIST\n", b"NONSENSE\n")
        self.assertEqual(self.held(*words), [False] * 6)

    def test_reads_of_many_clients(self) -> None:
        """That execute together wait for one entry together."""
        talkers = [Talker(self.leader) for _ in range(10)]
        protocols = list(self.leader.factory.protocols.values())[-10:]
        sessions = [protocol.session for protocol in protocols]  # type: ignore[attr-defined]
        together = self.leader.factory.arrivals.together
        chunk = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
        row = together.row_of(chunk)
        assert row is not None
        self.assertEqual(together.execute(row, sessions, [chunk] * 10), [])
        self.assertEqual({session.waits_for for session in sessions}, {self.leader.store.pending.sequence})
        for protocol in protocols:
            protocol.pump()  # type: ignore[attr-defined]
        self.group.until(lambda: all(talker.replies == ["value"] for talker in talkers))

    def test_none_overtakes_another_that_waits(self) -> None:
        """Requests of many clients, whose reads wait for an entry with nothing in it, when others need not wait."""
        self.client.ask("SADD", "set", "member")
        self.leader.connection.cut()
        talkers = [Talker(self.leader) for _ in range(10)]
        protocols = list(self.leader.factory.protocols.values())[-10:]
        sessions = [protocol.session for protocol in protocols]  # type: ignore[attr-defined]
        together = self.leader.factory.arrivals.together
        for chunk in (pack(b"GET", b"key"), pack(b"GET", b"none"), pack(b"SADD", b"set", b"member")):
            row = together.row_of(chunk)
            assert row is not None
            self.assertEqual(together.execute(row, sessions, [chunk] * 10), [])
            self.leader.held_reads.may_leave = lambda: True
        self.leader.connection.heal()
        for protocol in protocols:
            protocol.pump()  # type: ignore[attr-defined]
        self.group.until(lambda: all(talker.replies == ["value", None, 0] for talker in talkers))

    def test_a_key_that_expired(self) -> None:
        """Is gone for readers when the log has a time at which it is: the next leader's clock may be behind."""
        group = MemoryGroup()
        leader = group.leader()
        client = Talker(leader)
        client.ask("SET", "key", "value", "PX", 300)
        leader.connection.cut()
        self.assertEqual(client.ask("GET", "key"), "value")
        group.go_on(0.4)
        client.send("GET", "key")
        group.go_on(0.1)
        self.assertEqual(client.replies, ["OK", "value"])
        leader.connection.heal()
        group.until(lambda: client.replies == ["OK", "value", None])
        self.assertGreater(leader.store.newest_time_us // 1000, leader.now_ms - 600)

    def test_writes_of_many_clients_that_change_nothing(self) -> None:
        """They have read: an entry that is on its way already says nothing of who led then."""
        self.client.ask("SADD", "set", "member")
        talkers = [Talker(self.leader) for _ in range(10)]
        protocols = list(self.leader.factory.protocols.values())[-10:]
        sessions = [protocol.session for protocol in protocols]  # type: ignore[attr-defined]
        together = self.leader.factory.arrivals.together
        chunk = b"*3\r\n$4\r\nSADD\r\n$3\r\nset\r\n$6\r\nmember\r\n"
        self.client.send("SET", "key", "value")
        self.group.until(lambda: self.leader.commit.is_in_flight)
        row = together.row_of(chunk)
        assert row is not None
        self.assertEqual(together.execute(row, sessions, [chunk] * 10), [])
        self.assertEqual({session.waits_for for session in sessions}, {self.leader.store.pending.sequence})
        self.assertEqual(talkers[0].replies, [])

    def test_a_lease_that_ran_out(self) -> None:
        """Then reads wait, and not before: the lease counts from before the sending of an entry."""
        group = MemoryGroup()
        client = Talker(group.leader())
        client.ask("SET", "key", "value")
        group.leader().connection.cut()
        self.assertEqual(client.ask("GET", "key"), "value")
        group.go_on(2)
        client.send("GET", "key")
        group.go_on(0.2)
        self.assertEqual(client.replies, ["OK", "value"])


def roles(group: MemoryGroup) -> list[object]:
    """What ROLE says at each node."""
    return [Talker(node).ask("ROLE")[0] for node in group.nodes]


class FindingTests(SynchronousTestCase):
    """How clients find the leader."""

    def test_sentinel(self) -> None:
        """Every node tells who leads, and who else there is."""
        group = MemoryGroup()
        leader = group.leader()
        group.until(
            lambda: all(len(node.node.member.others()) == 2 and node.node.member.leader for node in group.nodes)
        )
        for node in group.nodes:
            client = Talker(node)
            self.assertEqual(client.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"), [leader.address.host, "6380"])
            self.assertEqual(len(client.ask("SENTINEL", "REPLICAS", "shop")), 2)
            self.assertEqual(len(client.ask("SENTINEL", "SENTINELS", "shop")), 2)
            self.assertEqual(str(client.ask("SENTINEL", "MASTER", "other")), "ERR No such master with that name")
        self.assertEqual(sorted(map(str, roles(group))), ["master", "slave", "slave"])

    def test_one_that_hears_nobody(self) -> None:
        """It names no leader, so that its clients ask the next server; those that take what they are told would stay
        with a leader of long ago.
        """
        group = MemoryGroup()
        leader = group.leader()
        cut_off, other = group.followers()
        client = Talker(cut_off)
        group.until(lambda: cut_off.node.member.leader)
        cut_off.connection.cut()
        leader.kill()
        group.until(lambda: other.node.member.leads)
        group.go_on(1)
        self.assertIsNone(client.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"))
        self.assertEqual(client.ask("SENTINEL", "MASTER", "shop")[9], "s_down,o_down,master")
        self.assertEqual(Talker(other).ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"), [other.address.host, "6380"])
