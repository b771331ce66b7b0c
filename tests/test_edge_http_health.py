"""/healthz and /readyz: for whom nobody has to say who they are."""

from __future__ import annotations

from kvstore.base.errors import StorageFault
from kvstore.edge.http.health import health_routes
from kvstore.edge.http.origins import Origins
from kvstore.edge.http.serving import readiness
from kvstore.edge.http.site import Site
from kvstore.edge.http.visitors import Visitors
from tests.kit.edge import ProtocolTestCase
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
