"""Groups of whole servers, simulated from one seed: nothing goes wrong that must not, and it is noticed if it does."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.__main__ import counted, run_worlds, ways_of
from tests.suites.simulated_groups.world import run
from tests.suites.simulated_groups.wrong import WRONG

#: From this seed on.
_SEED = 1


class WorldTests(SynchronousTestCase):
    """Worlds in which anything goes wrong."""

    def test_some(self) -> None:
        """One of each kind; `scripts/simulate_groups` runs as many as are asked for."""
        counts, violation = run_worlds(range(_SEED, _SEED + 4))
        self.assertIsNone(violation)
        self.assertEqual(counts["worlds"], 4)

    def test_a_seed_repeats_a_world(self) -> None:
        """Entry by entry, reply by reply."""
        one, other = (run(_SEED, steps=100, **ways_of(_SEED)) for _ in range(2))
        self.assertEqual(counted(one), counted(other))
        self.assertEqual(one.truth.entries, other.truth.entries)
        self.assertEqual(one.history, other.history)

    @pytest.mark.long
    def test_many(self) -> None:
        """As many as take half a minute."""
        self.assertIsNone(run_worlds(range(1000, 1100))[1])


class WrongTests(SynchronousTestCase):
    """Where one thing is done wrong it is noticed."""

    def noticed(self, **wrong: Any) -> bool:
        """Whether it is, in one of some worlds."""
        for seed in range(60):
            try:
                run(seed, **{**ways_of(seed), **wrong})
            except Violation:
                return True
        return False

    @pytest.mark.long
    def test_each(self) -> None:
        """All that there are."""
        self.assertEqual([name for name, wrong in WRONG.items() if not self.noticed(**wrong)], [])
