"""Three real servers over three real nodes of etcd: what is acknowledged survives whoever is killed."""

from __future__ import annotations

import redis
from twisted.trial.unittest import TestCase

from tests.kit.etcd import MISSING, shared_etcd
from tests.kit.group_processes import RealGroup
from tests.kit.server_process import eventually


class GroupTests(TestCase):
    """The main path."""

    skip = MISSING

    def test_the_leader_is_killed(self) -> None:
        """Followers have what was written; after `kill -9` of the leader another leads, with all of it."""
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
        first.kill()
        took_s = group.written("after", "it")
        self.assertLess(took_s, 30)
        with group.leader().client() as client:
            self.assertEqual([client.get(f"key{n}") for n in range(100)], [str(n) for n in range(100)])
        first.start()
        with first.client() as client:
            client.execute_command("READONLY")
            eventually(lambda: client.get("after") == "it")
