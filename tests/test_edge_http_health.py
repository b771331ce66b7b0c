"""/healthz and /readyz: for whom nobody has to say who they are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import StorageFault
from kvstore.edge.http.health import health_routes
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.serving import readiness
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from tests.kit.edge import ProtocolTestCase
from tests.kit.group import MemoryGroup, MemoryNode
from tests.kit.http import get


class HealthTests(ProtocolTestCase):
    """Of a server that asks everybody for a password."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.server.users.set_default_password(b"secret")
        self.site = Site(self.clock, Origins(), Visitors(self.server), health_routes(readiness(self.store)))

    def test_all_is_well(self) -> None:
        """200, and a line for each check; HEAD has the status alone."""
        got = get(self.site, "/healthz")
        self.assertEqual((got.status, got.body), (200, "ok\n"))
        got = get(self.site, "/readyz")
        expected = "[+]recovery ok\n[+]disk ok\n[+]log ok\nreadyz check passed\n"
        self.assertEqual((got.status, got.body), (200, expected))
        self.assertEqual(get(self.site, "/readyz", method="HEAD").status, 200)

    def test_a_full_disk(self) -> None:
        """503 until a write is taken again; alive all the time. What is wrong is not told in detail."""
        self.store.refusals.add(1, "no room for /secret/path")
        got = get(self.site, "/readyz")
        self.assertEqual((got.status, "/secret" in got.body), (503, False))
        self.assertIn("[-]disk failed: ", got.body)
        self.assertTrue(got.body.endswith("readyz check failed\n"))
        self.assertEqual(get(self.site, "/readyz", method="HEAD").status, 503)
        self.assertEqual(get(self.site, "/healthz").status, 200)
        self.store.refusals.now = False
        self.assertEqual(get(self.site, "/readyz").status, 200)

    def test_a_failed_log(self) -> None:
        """As long as the process is still there."""
        self.store.fail(StorageFault("gone"))
        self.assertIn("[-]log failed", get(self.site, "/readyz").body)

    def test_in_no_group(self) -> None:
        """There are no parts."""
        self.assertEqual([get(self.site, path).status for path in ("/leader", "/replica")], [404, 404])


class GroupHealthTests(SynchronousTestCase):
    """Of the servers of a group."""

    def setUp(self) -> None:
        """Three, of which one leads, and the others have heard of it."""
        self.group = MemoryGroup()
        self.leader = self.group.leader()
        self.follower, _ = self.group.followers()
        self.group.until(lambda: self.follower.node.member.hears_leader)

    def site(self, node: MemoryNode) -> Site:
        """Of one server."""
        routes = health_routes(readiness(node.store, node.server.group), node.server.group)
        return Site(self.group.clock, Origins(), Visitors(node.server), routes)

    def statuses(self, node: MemoryNode) -> tuple[int, ...]:
        """What one server says to /readyz, /leader and /replica."""
        return tuple(get(self.site(node), path).status for path in ("/readyz", "/leader", "/replica"))

    def test_all_is_well(self) -> None:
        """Each is ready, and has its part; of an idle group too."""
        self.group.go_on(10)
        self.assertEqual((self.statuses(self.leader), self.statuses(self.follower)), ((200, 200, 503), (200, 503, 200)))
        self.assertIn("[+]group ok", get(self.site(self.leader), "/readyz").body)

    def test_a_leader_without_lease(self) -> None:
        """It still leads, as far as it knows; nothing is to be sent to it, until it is back."""
        self.leader.connection.cut()
        self.group.until(lambda: not self.leader.node.member.hears_leader)
        self.assertTrue(self.leader.node.member.leads)
        self.assertEqual(self.statuses(self.leader), (503, 503, 503))
        self.assertIn("[-]group failed: its lease is over", get(self.site(self.leader), "/readyz").body)

    def test_a_follower_that_hears_no_leader(self) -> None:
        """Though it answers reads; it is ready again when it hears of one."""
        self.follower.connection.cut()
        self.group.go_on(5)
        self.assertEqual(self.statuses(self.follower), (503, 503, 503))
        self.assertIn("[-]group failed: it hears of no leader", get(self.site(self.follower), "/readyz").body)
        self.assertEqual(get(self.site(self.follower), "/healthz").status, 200)
        self.follower.connection.heal()
        self.group.until(lambda: self.statuses(self.follower) == (200, 503, 200))

    def test_one_that_joins(self) -> None:
        """It is ready when it has begun anew with the checkpoint, and hears of the leader."""
        self.follower.kill()
        self.group.go_on(3)
        self.group.log.trim(self.group.log.head)  # which no checkpoint reaches yet
        self.follower.start()
        self.group.go_on(5)
        self.assertEqual(self.statuses(self.follower), (503, 503, 503))
        self.leader.compact()
        self.group.until(lambda: self.follower.ended)
        self.group.go_on(0.1)
        self.follower.start()
        self.group.until(lambda: self.statuses(self.follower) == (200, 503, 200))

    def test_a_handover(self) -> None:
        """From then on it is no leader."""
        self.leader.node.hand_over(self.follower.address)
        self.assertEqual(get(self.site(self.leader), "/leader").status, 503)
        self.group.until(lambda: self.statuses(self.follower) == (200, 200, 503))
