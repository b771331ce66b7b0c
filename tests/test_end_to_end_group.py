"""Three real servers over three real nodes of etcd: what is acknowledged survives whoever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import redis
from redis.sentinel import Sentinel
from twisted.trial.unittest import TestCase

from kvstore.client import Client
from kvstore.testing.server_process import ROOT
from tests.kit.certificate import make_certificate
from tests.kit.etcd import MISSING, shared_etcd
from tests.kit.group_processes import GroupServer, RealGroup
from tests.kit.server_process import eventually, new_directory
from tests.kit.tools import run_tool


class GroupTests(TestCase):
    """The main path."""

    skip = MISSING

    @pytest.mark.long
    def test_the_leader_is_killed(self) -> None:
        """Followers have what was written; after `kill -9` of the leader another leads, with all of it, and clients
        find it: redis-py's Sentinel, and our own.
        """
        group = RealGroup(shared_etcd(), self.addCleanup)
        first = group.leader()
        with first.client() as client:
            for number in range(100):
                client.set(f"key{number}", number)
        for server in group.followers():
            with server.client() as client:
                with self.assertRaises(redis.ReadOnlyError):
                    client.set("key", "value")
                client.execute_command("READONLY")
                eventually(lambda client=client: client.get("key99") == "99")
        addresses = [f"127.0.0.1:{server.port}" for server in group.servers]
        ours = Client(",".join(addresses), report=lambda line: None)
        ours.insert("zebra", {"weight": 100})
        first.kill()
        ours.insert("zebra", {"weight": 101})
        sentinel = Sentinel([("127.0.0.1", server.port) for server in group.servers], socket_timeout=1.0)
        master = sentinel.master_for(group.name, decode_responses=True)
        self.assertEqual([master.get(f"key{n}") for n in range(100)], [str(n) for n in range(100)])
        self.assertEqual(master.get("zebra"), '{"weight":101}')
        first.start()
        with first.client() as client:
            client.execute_command("READONLY")
            eventually(lambda: client.get("zebra") == '{"weight":101}')
        master.close()
        ours.close()
        self.hand_over(group, addresses)

    def hand_over(self, group: RealGroup, addresses: list[str]) -> None:
        """`kvstore group`: it shows who leads, and lets another lead."""
        status, shown = eventually(lambda: [run_tool("group", "show", addresses[0])], lambda each: each[0][0] == 0)[0]
        self.assertEqual((status, shown.count("leads"), shown.count("follows")), (0, 1, 2), shown)
        follower = f"127.0.0.1:{group.followers()[0].port}"
        eventually(lambda: len(group.leader().role()[2]) == 2)
        at = f"127.0.0.1:{group.leader().port}"
        with group.followers()[1].client() as refusing:  # nobody can ask it which part it has
            refusing.config_set("requirepass", "secret")
            status, said = run_tool("group", "handover", at, "--to", follower)
            refusing.config_set("requirepass", "")
        self.assertEqual((status, said.strip()[-len(follower) :]), (0, follower))
        eventually(lambda: f"127.0.0.1:{group.leader().port}" == follower)

    @pytest.mark.long
    def test_one_is_dead(self) -> None:
        """It is not handed over to, clients of followers leave it out, and it is forgotten when it left for good."""
        group = RealGroup(shared_etcd(), self.addCleanup)
        leader = group.leader()
        dead, other = sorted(group.followers(), key=lambda server: server.port)
        at, left = f"127.0.0.1:{leader.port}", f"127.0.0.1:{dead.port}"
        eventually(lambda: len(leader.role()[2]) == 2)
        self.assertEqual([run_tool("group", *words)[0] for words in (("forget", at), ("show", at, left))], [1, 1])
        status, said = run_tool("group", "forget", at, left)
        self.assertEqual((status, f"{left} is alive" in said), (1, True), said)
        dead.kill()
        eventually(lambda: [int(each[1]) for each in leader.role()[2]] == [other.port])
        sentinel = Sentinel([("127.0.0.1", leader.port)], socket_timeout=1.0)
        self.assertEqual(sentinel.discover_slaves(group.name), [("127.0.0.1", other.port)])
        status, said = run_tool("group", "handover", at, "--to", left)
        self.assertEqual((status, f"{left} was not heard of for " in said), (1, True), said)
        self.assertEqual(run_tool("group", "handover", at)[0], 0)
        eventually(lambda: other.leads)
        eventually(lambda: leader.role() is not None)
        at = f"127.0.0.1:{other.port}"
        status, said = run_tool("group", "show", at)
        self.assertEqual((status, said.count("does not answer")), (0, 1), said)
        eventually(lambda: run_tool("group", "forget", at, left)[0] == 0)
        eventually(lambda: run_tool("group", "show", at)[1].count("\n") == 3)
        dead.start()
        eventually(lambda: len(other.role()[2]) == 2)


@pytest.mark.long
class JoiningTests(TestCase):
    """A third server with nothing, while clients write."""

    skip = MISSING

    def test_an_empty_directory_joins_and_leads(self) -> None:
        """The log is trimmed; who begins with nothing fetches a checkpoint, follows, and leads when the leader is
        killed: with all that was acknowledged.
        """
        group = RealGroup(shared_etcd(), self.addCleanup)
        leader = group.leader()
        new, other = group.followers()
        eventually(lambda: len(leader.role()[2]) == 2)
        new.kill()
        writer = Writer(leader)
        self.addCleanup(writer.stop)
        eventually(lambda: writer.acknowledged > 100)
        _, said = run_tool("group", "trim", f"127.0.0.1:{leader.port}")
        self.assertIn(f"{new.port} does not answer", said)
        leader.process.wait_for_line(lambda line: "leave the log" in line)
        new.forget()
        new.start()
        self.addCleanup(new.kill)
        new.process.wait_for_line(lambda line: "begins with the checkpoint" in line)
        at = writer.acknowledged
        eventually(lambda: writer.acknowledged > at + 100)
        writer.stop()
        leader.kill()
        if group.leader() is other:
            run_tool("group", "handover", f"127.0.0.1:{other.port}", "--to", f"127.0.0.1:{new.port}")
        eventually(lambda: new.leads)
        with new.client() as client:
            values = client.mget([f"key{number}" for number in range(writer.acknowledged)])
            self.assertEqual(values, [str(number) for number in range(writer.acknowledged)])
            client.set("key", "value")

    def test_an_empty_directory_joins_over_tls(self) -> None:
        """All ports speak TLS and ask for certificates. What a server tells of the others is host and port."""
        own = os.path.join(new_directory(self.addCleanup), "certificate.pem")
        make_certificate(own)
        group = RealGroup(shared_etcd(), self.addCleanup, certificate=own)
        leader = group.leader()
        new, other = group.followers()
        eventually(lambda: len(leader.role()[2]) == 2)
        self.assertEqual({(host, int(port)) for host, port, _ in leader.role()[2]},
                         {("127.0.0.1", new.port), ("127.0.0.1", other.port)})  # fmt: skip
        self.show(f"tls:127.0.0.1:{leader.port}", own)
        new.kill()
        with leader.client() as client, other.client() as follower:
            client.mset({f"key{number}": number for number in range(100)})
            for each in (client, follower):
                each.execute_command("GROUP", "TRIM")
            leader.process.wait_for_line(lambda line: "leave the log" in line)
        new.forget()
        new.start()
        new.process.wait_for_line(lambda line: "begins with the checkpoint" in line)
        eventually(new.role)
        with new.client() as client:
            client.execute_command("READONLY")
            eventually(lambda: client.get("key99") == "99")

    def show(self, target: str, own: str) -> None:
        """`kvstore group show` with a certificate finds all, and without one says what it wants for."""
        words = ("group", "show", target, "--ca-file", own)
        status, shown = run_tool(*words, "--cert-file", own)
        self.assertEqual((status, shown.count("leads"), shown.count("follows")), (0, 1, 2), shown)
        status, shown = run_tool(*words)
        self.assertEqual((status, "wants a certificate (--cert-file" in shown), (1, True), shown)


class Writer(threading.Thread):
    """Writes one key after the other at a server, until it is stopped. `acknowledged`: how many."""

    def __init__(self, server: GroupServer) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self._client = server.client()
        self._stops = False
        self.start()

    def run(self) -> None:
        """See Thread."""
        while not self._stops:
            self._client.set(f"key{self.acknowledged}", self.acknowledged)
            self.acknowledged += 1

    def stop(self) -> None:
        """Return when the last one is acknowledged."""
        self._stops = True
        self.join()
        self._client.close()


@pytest.mark.long
class FaultsTests(TestCase):
    """scripts/group_faults, a little of it."""

    skip = MISSING

    def test_some_rounds(self) -> None:
        """Nothing acknowledged is lost, nothing read is stale."""
        words = [sys.executable, "-m", "tests.suites.group_faults", "--rounds", "3"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
