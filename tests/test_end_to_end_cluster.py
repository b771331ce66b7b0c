"""Three groups of one server over a real etcd, as a client of Redis Cluster sees them when a leader is killed."""

from __future__ import annotations

import pytest
from redis.cluster import ClusterNode, RedisCluster
from twisted.trial.unittest import TestCase

from kvstore.testing.server_process import PATIENCE_S
from tests.kit.etcd import MISSING, shared_etcd
from tests.kit.group_processes import RealGroup
from tests.kit.server_process import eventually


@pytest.mark.long
class ClusterTests(TestCase):
    """The main path."""

    skip = MISSING

    def test_a_leader_is_killed(self) -> None:
        """redis-py finds each key, and goes on when the server of one group was killed and started again."""
        parts = ("0-5460", "5461-10922", "10923-16383")
        groups = [RealGroup(shared_etcd(), self.addCleanup, "--slots", part, servers=1) for part in parts]
        servers = [group.servers[0] for group in groups]
        for server in servers:
            with server.client() as client:
                eventually(lambda client=client: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        nodes = [ClusterNode("127.0.0.1", server.port) for server in servers]
        with RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=PATIENCE_S) as client:
            for number in range(50):
                client.set(f"key{number}", number)
            for server in servers:
                with server.client() as one:
                    self.assertGreater(one.dbsize(), 5)
            servers[0].kill()
            servers[0].start()
            eventually(lambda: servers[0].leads)
            self.assertEqual([client.incr(f"key{number}") for number in range(50)], list(range(1, 51)))
