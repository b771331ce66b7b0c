"""A sample of what `scripts/simulated_groups` does: whole servers in which anything goes wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.suites.groups.world import run


class SimulatedGroupTests(SynchronousTestCase):
    """Groups in one process."""

    def test_anything(self) -> None:
        """With leases, and without."""
        self.assertGreater(len(run(1).history), 20)
        self.assertGreater(len(run(2, reads="quorum").history), 20)
