"""Groups that split the slots of a cluster: how they are made, and where requests go."""

from __future__ import annotations

from functools import partial
from typing import Any

from hiredis import pack_command
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.cluster_map import map_text, parse_map
from kvstore.base.errors import StartRefused
from kvstore.base.slots import parse_slots
from kvstore.commands.hash_slots import node_id
from kvstore.store.replica import End, Role
from tests.kit.group import MemoryGroup, MemoryNode, Talker

#: Keys of each third.
_FIRST, _SECOND, _THIRD = "b", "c", "foo"


def cluster() -> list[MemoryGroup]:
    """Three groups with a third of the slots each, the first of two servers; all know of all."""
    first = MemoryGroup(2, name="a", slots="0-5460")
    others = [("b", "5461-10922"), ("c", "10923-16383")]
    groups = [first, *(MemoryGroup(1, name=name, slots=slots, beside=first) for name, slots in others)]
    nodes = [node for group in groups for node in group.nodes]
    first.until(lambda: all(node.node.cluster.is_whole and node.node.cluster.slots for node in nodes))  # type: ignore[union-attr]
    first.until(lambda: len(parse_map(first.register.text)["a"].others) == 1)
    first.go_on(2)
    return groups


class ClusterTests(SynchronousTestCase):
    """Three groups that stand."""

    def setUp(self) -> None:
        """A client of the first group's leader, and one of who follows that."""
        self.groups = cluster()
        first = self.groups[0]
        self.leader, self.follower = first.leader(), first.followers()[0]
        self.client, self.reader = Talker(self.leader), Talker(self.follower)

    def said(self, client: Talker, *requests: str) -> list[Any]:
        """The replies to requests, each words between blanks; errors as text."""
        replies = [client.ask(*request.split()) for request in requests]
        return [str(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def test_where_keys_are(self) -> None:
        """Own ones are here; of others the answer names the leader; all of a request are in one slot."""
        self.assertEqual(
            self.said(
                self.client, f"SET {_FIRST} 1", f"GET {_SECOND}", f"set {_THIRD} 1", f"MSET {_FIRST} 1 {_THIRD} 2"
            ),
            [
                "OK", "MOVED 7365 b1:6380", "MOVED 12182 c1:6380",
                "CROSSSLOT Keys in request don't hash to the same slot",
            ],
        )  # fmt: skip
        self.assertEqual(self.said(self.client, "MSET {b}1 1 {b}2 2", "MGET {b}1 {b}2"), ["OK", ["1", "2"]])

    def test_pipelines(self) -> None:
        """Of one command, for keys of this group alone or of others too; of several clients in one turn."""
        get, put = (pack_command(words) for words in (("GET", _FIRST), ("SET", _FIRST, "1")))
        elsewhere = pack_command(("GET", _THIRD))
        clients = [Talker(self.leader) for _ in range(3)]
        for client, data in zip(clients, (20 * put, 20 * get, 10 * (get + elsewhere)), strict=True):
            client.write(data)
        self.leader.group.until(lambda: all(len(client.replies) == 20 for client in clients))
        self.assertEqual([set(map(str, client.replies)) for client in clients], [
            {"OK"}, {"1"}, {"1", "MOVED 12182 c1:6380"},
        ])  # fmt: skip
        self.assertEqual(str(clients[2].replies[19]), "MOVED 12182 c1:6380")

    def test_many_clients_in_one_turn(self) -> None:
        """Are executed together if all their keys are here; else each by itself."""

        def said(node: MemoryNode, *requests: str) -> tuple[list[str], int]:
            """What eight clients are answered, and how many of their requests were executed together."""
            arrivals, clients = node.factory.arrivals, [Talker(node) for _ in range(8)]
            node.group.go_on(1)
            before = arrivals.together.requests
            protocols = list(node.factory.protocols.values())[-8:]
            for protocol, request in zip(protocols, 8 * requests, strict=False):
                self.assertTrue(arrivals.add(protocol, pack_command(tuple(request.split()))))
            node.group.until(lambda: all(client.replies for client in clients))
            return [str(client.replies[0]) for client in clients], arrivals.together.requests - before

        self.assertEqual(said(self.leader, "SET b 1"), (8 * ["OK"], 8))
        self.assertEqual(said(self.leader, "GET b"), (8 * ["1"], 8))
        self.assertEqual(said(self.leader, "GET b", "GET foo"), (4 * ["1", "MOVED 12182 c1:6380"], 0))
        self.assertEqual(said(self.leader, "GET b", "SET b 1"), (4 * ["1", "OK"], 0))
        self.assertEqual(said(self.leader, "GET"), (8 * ["ERR wrong number of arguments for 'get' command"], 0))
        self.assertEqual(said(self.follower, "SET b 2"), (8 * [f"MOVED 3300 {self.leader.address}"], 0))

    def test_followers(self) -> None:
        """Send on what is not to be read, or not after READONLY; what names no keys is done, unless it writes."""
        self.said(self.client, f"SET {_FIRST} 1")
        moved = f"MOVED 3300 {self.leader.address}"
        self.leader.group.go_on(1)
        self.assertEqual(
            self.said(
                self.reader, f"GET {_FIRST}", "READONLY", f"GET {_FIRST}", f"SET {_FIRST} 2", f"SPUBLISH {_FIRST} x",
                f"GET {_THIRD}", "DBSIZE", "FLUSHALL", "READWRITE", f"GET {_FIRST}",
            ),
            [
                moved, "OK", "1", moved, moved, "MOVED 12182 c1:6380", 1,
                "READONLY You can't write against a read only replica.", "OK", moved,
            ],
        )  # fmt: skip

    def test_blocks(self) -> None:
        """A request of one that is for elsewhere poisons it; all of one are in one slot, else EXEC ends it."""
        self.assertEqual(
            self.said(self.client, "MULTI", f"SET {_THIRD} 1", "EXEC", "MULTI", "SET b 1", "SET {b}x 1", "EXEC")[1:],
            [
                "MOVED 12182 c1:6380", "EXECABORT Transaction discarded because of previous errors.",
                "OK", "QUEUED", "QUEUED", ["OK", "OK"],
            ],
        )  # fmt: skip
        other = "f"  # of the first group, too
        self.assertEqual(
            self.said(self.client, "MULTI", "SET b 1", f"SET {other} 1", "EXEC", "EXEC")[2:],
            ["QUEUED", "CROSSSLOT Keys in request don't hash to the same slot", "ERR EXEC without MULTI"],
        )

    def test_scripts(self) -> None:
        """Reach for keys of this group only, whatever they were told."""
        ask = self.client.ask
        self.assertEqual(ask("EVAL", "return redis.call('set', KEYS[1], 1)", 1, _FIRST), "OK")
        self.assertIn("MOVED", str(ask("EVAL", "return 1", 1, _THIRD)))
        self.assertIn(
            "Attempted to access a non local key in a cluster node",
            str(ask("EVAL", "return redis.call('get', 'foo')", 0)),
        )
        self.assertIn(
            "Script attempted to access keys that do not hash to the same slot",
            str(ask("EVAL", "#!lua\nredis.call('get', 'f') return redis.call('get', 'b')", 0)),
        )

    def test_a_client_that_waits(self) -> None:
        """It does so where its keys are."""
        self.assertEqual(self.said(self.client, f"BLPOP {_THIRD} 0"), ["MOVED 12182 c1:6380"])
        self.client.send("BLPOP", _FIRST, 0)
        self.assertEqual(Talker(self.leader).ask("RPUSH", _FIRST, "x"), 1)
        self.leader.group.until(lambda: self.client.replies[-1] == [_FIRST, "x"])

    def test_what_clients_are_told(self) -> None:
        """By every server the same."""
        ask = self.client.ask
        slots = ask("CLUSTER", "SLOTS")
        self.assertEqual(slots, self.reader.ask("CLUSTER", "SLOTS"))
        self.assertEqual([run[:2] for run in slots], [[0, 5460], [5461, 10922], [10923, 16383]])
        own, other = self.leader.address, self.follower.address
        self.assertEqual(slots[0][2:], [[each.host, 6380, node_id(each), []] for each in (own, other)])
        self.assertEqual(slots[1][2][0], "b1")
        self.assertEqual((ask("CLUSTER", "MYID"), ask("CLUSTER", "LINKS")), (node_id(own), []))
        self.assertIn(f"{node_id(own)} {own}@0 myself,master - 0 0 1 connected 0-5460\n", ask("CLUSTER", "NODES"))
        self.assertIn(f"{node_id(own)} {own}@0 master - 0 0 1 connected 0-5460\n", self.reader.ask("CLUSTER", "NODES"))
        self.assertEqual(len(ask("CLUSTER", "REPLICAS", node_id(own))), 1)
        self.assertEqual(
            self.said(self.client, f"CLUSTER REPLICAS {node_id(other)}", "CLUSTER REPLICAS x"),
            ["ERR The specified node is not a master", "ERR Unknown node x"],
        )
        self.assertIn("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n", ask("CLUSTER", "INFO"))
        self.assertIn("cluster_enabled:1", ask("INFO", "cluster"))
        self.assertEqual(ask("CLUSTER", "SHARDS")[0][1], [0, 5460])

    def test_keys_of_a_slot(self) -> None:
        """Counted and listed."""
        self.assertEqual(
            self.said(
                self.client, "MSET b 1 {b}2 2", "CLUSTER KEYSLOT {b}x", "CLUSTER COUNTKEYSINSLOT 3300",
                "CLUSTER GETKEYSINSLOT 3300 1", "CLUSTER COUNTKEYSINSLOT 16384", "CLUSTER GETKEYSINSLOT 1 -1",
            ),
            ["OK", 3300, 2, ["b"], "ERR Invalid slot", "ERR Invalid slot or number of keys"],
        )  # fmt: skip

    def test_keys_of_a_slot_wait_for_their_commit(self) -> None:
        """They tell of keys that the log may not have yet."""
        for request in ("CLUSTER COUNTKEYSINSLOT 3300", "CLUSTER GETKEYSINSLOT 3300 1"):
            others = Talker(self.leader), Talker(self.leader)
            self.leader.connection.cut()
            self.client.send("SET", "{b}" + request, 1)
            self.leader.group.go_on(0.05)
            for other in others:
                other.send(*request.split())
            self.leader.group.go_on(0.05)
            self.assertEqual([other.replies for other in others], [[], []])
            self.leader.connection.heal()
            for other in others:
                self.leader.group.until(partial(getattr, other, "replies"))

    def test_after_the_leader_died(self) -> None:
        """Who follows leads, has the slots by the log, and others send there."""
        self.said(self.client, f"SET {_FIRST} 1")
        self.leader.kill()
        group = self.groups[0]
        new = group.leader()
        self.assertEqual(Talker(new).ask("GET", _FIRST), "1")
        group.go_on(2.5)
        elsewhere = Talker(self.groups[1].leader())
        self.assertEqual(self.said(elsewhere, f"GET {_FIRST}"), [f"MOVED 3300 {new.address}"])

    def test_a_leader_that_begins_anew(self) -> None:
        """It reads its own last entries, and sends no client to itself: of nobody is known that it leads."""
        self.leader.connection.deafen()
        self.client.send("SET", _FIRST, 1)
        self.leader.group.go_on(0.1)
        self.leader.kill()
        self.leader.start()
        replica = self.leader.node.replica
        self.leader.group.until(lambda: replica.leader)
        self.assertEqual((replica.leader, replica.role), (str(self.leader.address), Role.FOLLOWING))
        client = Talker(self.leader)
        self.assertEqual(
            self.said(client, f"SET {_FIRST} 2", "SENTINEL GET-MASTER-ADDR-BY-NAME a", "SENTINEL MASTERS"),
            ["CLUSTERDOWN Hash slot not served", None, []],
        )
        self.assertIn("master_link_status:down", client.ask("INFO", "replication"))


class MakingTests(SynchronousTestCase):
    """How groups get their slots, for good."""

    def test_before_all_are_there(self) -> None:
        """No key is served while slots are with nobody."""
        group = MemoryGroup(1, name="a", slots="0-5460")
        client = Talker(group.leader())
        self.assertEqual(str(client.ask("GET", _FIRST)), "CLUSTERDOWN Hash slot not served")
        group.go_on(2)
        self.assertEqual(str(client.ask("GET", _FIRST)), "CLUSTERDOWN The cluster is down")
        self.assertEqual(str(client.ask("GET", _THIRD)), "CLUSTERDOWN Hash slot not served")
        self.assertIn("cluster_state:fail", client.ask("CLUSTER", "INFO"))

    def test_no_slot_twice(self) -> None:
        """Who claims what another group has ends, and says why."""
        first = MemoryGroup(1, name="a", slots="0-5460")
        first.go_on(2)
        second = MemoryGroup(1, 2, name="b", slots="5460-16383", beside=first)
        second.until(lambda: second.nodes[0].ended)
        self.assertIs(second.nodes[0].ended[0].end, End.SLOTS)
        self.assertIn("group a of this etcd has slots 0-5460", str(second.nodes[0].ended[0]))

    def test_other_options_than_the_log_has(self) -> None:
        """A start is refused, with advice; a new server that comes to know ends."""
        group = MemoryGroup(2, name="a", slots="0-5460")
        group.leader()
        group.go_on(2)
        one, other = group.nodes
        for slots, advice in (("0-99", "give --slots 0-5460"), ("", "give --slots 0-5460")):
            one.kill()
            group.slots = parse_slots(slots) if slots else None
            with self.assertRaisesRegex(StartRefused, advice):
                one.start()
        self.assertTrue(other.running)
        late = MemoryNode(group, 3, "lease")
        group.until(lambda: late.ended)
        self.assertIs(late.ended[0].end, End.SLOTS)

    def test_a_group_without_slots_that_has_keys(self) -> None:
        """It does not become one of a cluster."""
        group = MemoryGroup(1)
        self.assertEqual(Talker(group.leader()).ask("SET", "a", "1"), "OK")
        group.nodes[0].kill()
        group.slots = parse_slots("0-16383")
        with self.assertRaisesRegex(StartRefused, "made without slots"):
            group.nodes[0].start()

    def test_one_that_follows_a_group_without_slots(self) -> None:
        """And was started with some, when it had no keys yet: it ends when it comes to lead, and claims nothing."""
        group = MemoryGroup(1)
        self.assertEqual(Talker(group.leader()).ask("SET", "a", "1"), "OK")
        group.slots = parse_slots("0-16383")
        late = MemoryNode(group, 2, "lease")
        group.go_on(2)
        group.nodes[0].kill()
        group.until(lambda: late.ended)
        self.assertIs(late.ended[0].end, End.SLOTS)
        self.assertIn("made without slots, and has keys", str(late.ended[0]))
        group.go_on(2)
        self.assertEqual(group.register.text, "")

    def test_a_group_that_is_made_anew(self) -> None:
        """Its log was removed, and the map still has a line of it, of a later epoch: the new leader takes its place."""
        group = MemoryGroup(1, name="a", slots="0-16383")
        group.leader()
        group.until(lambda: group.register.text)
        group.nodes[0].kill()
        group.register.text = "a 0-16383 7 gone:1 gone:2\n"
        anew = MemoryGroup(1, name="a", slots="0-16383", beside=group)
        anew.until(lambda: parse_map(group.register.text)["a"].leader == anew.leader().address)
        self.assertEqual(parse_map(group.register.text)["a"].epoch, 1)

    def test_a_leader_that_another_has_followed(self) -> None:
        """It leaves the other's line as it is: it may not know of that yet."""
        group = MemoryGroup(2, name="a", slots="0-16383")
        before = group.leader()
        group.all_heard(before)
        before.connection.cut()
        group.until(lambda: any(node is not before and node.node.member.leads for node in group.nodes))
        group.go_on(3)
        self.assertTrue(before.node.member.leads)
        self.assertNotEqual(parse_map(group.register.text)["a"].leader, before.address)

    def test_the_map(self) -> None:
        """What is read is what was written."""
        text = "a 0-99,200 7 a1:1 a2:2\nb 100-199 1 [::1]:3\n"
        self.assertEqual(map_text(parse_map(text).values()), text)
