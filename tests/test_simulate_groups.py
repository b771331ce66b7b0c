"""Groups of whole servers, simulated from one seed: nothing goes wrong that must not, and it is noticed if it does."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.suites.histories.checker import UNKNOWN, NotLinearizable, check
from tests.suites.simulated_groups.__main__ import counted, run_worlds, ways_of
from tests.suites.simulated_groups.clients import STRINGS, Writer
from tests.suites.simulated_groups.server import Machine
from tests.suites.simulated_groups.world import World, run
from tests.suites.simulated_groups.wrong import HoldsNoReads

#: From this seed on.
_SEED = 1


class WorldTests(SynchronousTestCase):
    """Worlds in which anything goes wrong."""

    def test_some(self) -> None:
        """One of each kind; `scripts/simulate_groups` runs as many as are asked for."""
        counts, violation = run_worlds(range(_SEED, _SEED + 3))
        self.assertIsNone(violation)
        self.assertEqual(counts["worlds"], 3)

    @pytest.mark.long
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


def _read_at_a_leader_cut_off(**wrong: Any) -> Any:
    """What it answers when another has led and written; the history is checked."""
    world = World(1, **wrong)
    world.pass_time(3)
    old, key = next(node for node in world.nodes if node.takes_itself_for_leader), STRINGS[0]
    writer, other, reader = *world.writers[:2], world.onlookers[0]
    _ask(world, writer, old, b"SET", key, b"old")
    old.connection.cut()
    world.pass_time(5)
    new = next(node for node in world.nodes if node.takes_itself_for_leader and node is not old)
    _ask(world, other, new, b"SET", key, b"new")
    _ask(world, reader, old, b"GET", key)
    reader.give_up()
    check(world.history)
    return world.history[-1].result


def _ask(world: World, client: Writer, machine: Machine, *words: bytes) -> None:
    client.connect(machine)
    client.simple(*words)
    world.pass_time(0.5)


class WrongTests(SynchronousTestCase):
    """Where one thing is done wrong it is noticed. (The script has more of them.)"""

    def test_a_stale_read(self) -> None:
        """By the history, if a leader that is cut off answers; it does not, but if reads are not held."""
        self.assertIs(_read_at_a_leader_cut_off(), UNKNOWN)
        with self.assertRaises(NotLinearizable):
            _read_at_a_leader_cut_off(machine=HoldsNoReads)
