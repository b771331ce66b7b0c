"""Groups of whole servers, simulated from one seed: nothing goes wrong that must not, and it is noticed if it does."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any
from unittest import mock

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from kvstore.store.state import State
from kvstore.values import TYPES
from tests.suites.histories.checker import UNKNOWN, NotLinearizable, check
from tests.suites.replicas.history import Violation
from tests.suites.replicas.simulated_time import SimulatedTime
from tests.suites.replicas.wrong import PutsIfAbsent
from tests.suites.simulated_groups import __main__ as program
from tests.suites.simulated_groups import blocks
from tests.suites.simulated_groups.blocks import Block, Failed, counted, run_block, run_blocks, ways_of
from tests.suites.simulated_groups.clients import STRINGS, Writer
from tests.suites.simulated_groups.process import Killed, Outgoing, Process
from tests.suites.simulated_groups.server import Machine
from tests.suites.simulated_groups.world import World, run
from tests.suites.simulated_groups.wrong import HoldsNoReads

#: From this seed on.
_SEED = 1


class WorldTests(SynchronousTestCase):
    """Worlds in which anything goes wrong."""

    def test_some(self) -> None:
        """One of each kind; `scripts/simulate_groups` runs as many as are asked for."""
        done = run_block(range(_SEED, _SEED + 3))
        self.assertIsNone(done.failed)
        self.assertEqual(done.counts["worlds"], 3)

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
        self.assertIsNone(run_block(range(1000, 1100)).failed)

    def test_an_entry_in_flight_is_not_in_the_files(self) -> None:
        """Those of a leader are held to where it stands, not to what it has sent."""
        world = World(_SEED)
        world.pass_time(3)
        leader = next(node for node in world.nodes if node.takes_itself_for_leader)
        leader.connection.cut()
        _ask(world, world.writers[0], leader, b"SET", STRINGS[0], b"sent")
        self.assertEqual(leader.node.member.position, world.log.head + 1)
        world.check_files()

    def test_no_node_is_past_the_log(self) -> None:
        """That one is does not hold, and is told."""
        world = World(_SEED)
        with self.assertRaisesRegex(Violation, "node is at 7, and the log ended at 0"):
            world.truth.check_state("node", 7, State(TYPES))


def _blocks(*found: Block) -> Any:
    """These are found, whatever is asked for; then somebody interrupts."""

    def run_blocks(seeds: range, jobs: int) -> Iterator[Block]:
        yield from found
        raise KeyboardInterrupt

    return mock.patch.object(program, "run_blocks", run_blocks)


class BlockTests(SynchronousTestCase):
    """Worlds in blocks, and in processes."""

    @pytest.mark.long
    def test_processes_do_what_one_does(self) -> None:
        """All worlds are run, and their counts summed."""
        seeds = range(_SEED, _SEED + 5)
        with mock.patch.object(blocks, "BLOCK", 2):
            each = [list(run_blocks(seeds, jobs)) for jobs in (1, 2)]
        one, two = (sum((block.counts for block in found), Counter()) for found in each)
        self.assertEqual(one["worlds"], 5)
        self.assertEqual(one, two)

    def test_a_bug_of_the_suite_has_its_seed(self) -> None:
        """It does not hold either; what was done before is counted, and nothing done after it."""
        with mock.patch.object(blocks, "run", side_effect=ZeroDivisionError("bug")):
            found = list(run_blocks(range(7, 70), 1))
        self.assertEqual([block.failed.seed for block in found if block.failed], [7])
        self.assertIn("ZeroDivisionError: bug", str(found[0].failed))

    def test_the_lowest_seed_is_told(self) -> None:
        """Of several that do not hold, with how to repeat it."""
        found = Block(Counter(worlds=2), Failed(9, "that")), Block(Counter(worlds=3), Failed(4, "this"))
        with mock.patch.object(program, "run_blocks", return_value=found), redirect_stdout(io.StringIO()) as shown:
            self.assertEqual(program.run_worlds(range(10), 2), "scripts/simulate_groups --seeds 1 --seed 4: this")
        self.assertRegex(shown.getvalue(), r"worlds: +5\n")

    def test_an_interrupted_run_tells_what_was_done(self) -> None:
        """And ends as others do."""
        found = Block(Counter(worlds=2))
        with _blocks(found), redirect_stdout(io.StringIO()) as shown, self.assertRaises(KeyboardInterrupt):
            program.run_worlds(range(10), 2)
        self.assertRegex(shown.getvalue(), r"worlds: +2\n")


class _Heard(Protocol):
    """Ends its process with what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self.heard.append(data)
        raise Killed


class ProcessTests(SynchronousTestCase):
    """What is simulated of a process."""

    def test_it_hears_of_another_by_its_own_reactor(self) -> None:
        """Not in the middle of what that one does, nor while it stands still, nor when it is dead."""
        time = SimulatedTime()
        process, client = Process(time, 1.0), _Heard()
        outgoing = Outgoing(process, client)
        outgoing.makeConnection(StringTransport())
        process.pause()
        outgoing.dataReceived(b"one")
        time.advance(1.0)
        self.assertEqual(client.heard, [])
        process.resume()
        with self.assertRaises(Killed):
            time.advance(1.0)
        process.is_dead = True
        outgoing.dataReceived(b"two")
        time.advance(1.0)
        self.assertEqual(client.heard, [b"one"])


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


def _append_behind_a_trim(**wrong: Any) -> Any:
    """What a leader that was cut off answers a write, whose position others have filled and trimmed meanwhile."""
    world = World(1, **wrong)
    world.pass_time(3)
    old, key = next(node for node in world.nodes if node.takes_itself_for_leader), STRINGS[0]
    writer, other = world.writers[:2]
    old.connection.cut()
    _ask(world, writer, old, b"SET", key, b"old")
    world.pass_time(5)
    new = next(node for node in world.nodes if node.takes_itself_for_leader and node is not old)
    _ask(world, other, new, b"SET", key, b"new")
    world.log.trim(world.log.head)
    old.connection.heal()
    world.pass_time(3)
    return world.history[-1].result


class WrongTests(SynchronousTestCase):
    """Where one thing is done wrong it is noticed. (The script has more of them.)"""

    def test_a_stale_read(self) -> None:
        """By the history, if a leader that is cut off answers; it does not, but if reads are not held."""
        self.assertIs(_read_at_a_leader_cut_off(), UNKNOWN)
        with self.assertRaises(NotLinearizable):
            _read_at_a_leader_cut_off(machine=HoldsNoReads)

    def test_an_append_behind_a_trim(self) -> None:
        """By the leases, if it is taken since nothing is there any more; it is not, but if only that is asked."""
        self.assertIs(_append_behind_a_trim(), UNKNOWN)
        with self.assertRaisesRegex(Violation, "the leases of .* run"):
            _append_behind_a_trim(log=PutsIfAbsent)
