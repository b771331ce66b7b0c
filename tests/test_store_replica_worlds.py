"""Worlds of replicas: in short stories, and with anything that can go wrong; and that it is noticed where one thing is
done wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from kvstore.store.replica import Role
from kvstore.testing.simulated_shared_log import SimulatedSharedLog, Trouble
from tests.suites.replicas.history import Violation
from tests.suites.replicas.node import Node
from tests.suites.replicas.world import FAULTS, World, run
from tests.suites.replicas.wrong import (
    AnswersWithTheCommit,
    CountsFromRepetition,
    Impatient,
    KeepsItsLease,
    PutsIfAbsent,
    TrustsForLong,
    with_replica,
)


class Story(World):
    """A world in which nothing goes wrong but what a test says; the first to lead is `first`, the next one `second`."""

    def __init__(self, *, log: type[SimulatedSharedLog] = SimulatedSharedLog, node: type[Node] = Node, **ways: bool):
        super().__init__(1, log=log, node=node, **ways)
        self.first = self.leader()
        self.first.write()
        self.pass_time(0.1)

    def leader(self) -> Node:
        """Who leads and has not always, as soon as somebody does."""
        while True:
            self.pass_time(0.1)
            for node in self.nodes:
                if node.replica.role is Role.LEADING and node is not getattr(self, "first", None):
                    return node

    def second_leads(self) -> Node:
        """Another node leads, and has acknowledged a write."""
        self.second = self.leader()
        before = self.history.acknowledged
        self.second.write()
        self.pass_time(0.1)
        assert self.history.acknowledged > before
        return self.second

    def read_at_first(self, *, of_open: bool = False) -> None:
        """Who led first is asked, and then hears of the log again."""
        self.first.read(of_open=of_open)
        self.first.connection.heal()
        self.pass_time(2)


class StoryTests(SynchronousTestCase):
    """What must not happen, in the shortest way in which it would; and that it does where one thing is done wrong."""

    def held(self, story: Callable[..., None], **wrong: Any) -> None:
        """It holds, and with what is `wrong` it does not."""
        story()
        self.assertRaises(Violation, story, **wrong)

    def test_leader_that_is_cut_off_serves_no_stale_read(self) -> None:
        """It would with a lease of 100 s."""

        def story(node: type[Node] = Node) -> None:
            world = Story(node=node)
            world.first.connection.cut()
            world.second_leads()
            world.read_at_first()

        self.held(story, node=with_replica(TrustsForLong))

    def test_lease_counts_from_the_first_sending(self) -> None:
        """From a repetition on it would run while another node leads."""

        def story(node: type[Node] = Node) -> None:
            world = Story(node=node)
            world.first.connection.deafen()
            world.first.write()
            world.second_leads()
            world.read_at_first()

        self.held(story, node=CountsFromRepetition)

    def test_leader_that_slept_through_a_trim_is_fenced(self) -> None:
        """It would be acknowledged if only the absence of an entry were asked for."""

        def story(log: type[SimulatedSharedLog] = SimulatedSharedLog) -> None:
            world = Story(log=log)
            world.first.connection.cut()
            world.first.write()
            world.first.pause()
            world.second_leads()
            world.log.trim(world.log.head)
            world.first.connection.heal()
            world.first.resume()
            world.pass_time(2)

        self.held(story, log=PutsIfAbsent)

    def test_node_that_starts_waits_for_the_end_of_the_lease(self) -> None:
        """It does not know for how long it was away."""

        def story(node: type[Node] = Node) -> None:
            world = Story(node=node)
            other = next(node for node in world.nodes if node is not world.first)
            other.kill()
            other.restart()
            world.pass_time(1)

        self.held(story, node=with_replica(Impatient))

    def test_who_hands_over_has_no_lease(self) -> None:
        """The other one leads at once."""

        def story(node: type[Node] = Node) -> None:
            world = Story(node=node)
            world.first.connection.deafen()
            world.first.hand_over(next(node.name for node in world.nodes if node is not world.first))
            world.pass_time(0.3)
            world.second_leads()
            world.read_at_first()

        self.held(story, node=with_replica(KeepsItsLease))

    def test_read_of_the_commit_in_flight_asks_for_the_lease(self) -> None:
        """That commit may have been there for long when it was read."""

        def story(node: type[Node] = Node) -> None:
            world = Story(node=node)
            world.first.connection.deafen()
            world.first.write()
            world.second_leads()
            world.read_at_first(of_open=True)

        self.held(story, node=AnswersWithTheCommit)

    def test_reads_through_the_quorum_need_no_clock(self) -> None:
        """With a clock that stands still a lease never ends."""

        def story(*, quorum_reads: bool = True) -> None:
            world = Story(quorum_reads=quorum_reads)
            world.first.connection.cut()
            world.first.stand_still(10)
            world.second_leads()
            world.read_at_first()

        self.held(story, quorum_reads=False)


class WorldTests(SynchronousTestCase):
    """Worlds in which anything goes wrong, again and again."""

    def test_anything(self) -> None:
        """A few; `scripts/replicas` runs as many as are asked for."""
        for seed in range(5):
            run(seed)

    def test_clocks_stand(self) -> None:
        """With no read that trusts a lease."""
        for seed in range(5):
            run(seed, quorum_reads=True, clocks_stand=True)


class Befallen(RuleBasedStateMachine):
    """The same, by hypothesis, which cuts a failing example down."""

    @initialize(seed=st.integers(0, 1000), trouble=st.sampled_from([0.0, 0.1, 0.3]))
    def begin(self, seed: int, trouble: float) -> None:
        """A world, with some trouble or none."""
        self.world = World(seed, trouble=Trouble(0.05, trouble, trouble, trouble, 5.0, trouble))
        self.world.pass_time(1)

    @rule(fault=st.sampled_from([befall for _, befall in FAULTS]), node=st.integers(0, 2))
    def something(self, fault: Callable[[World, Node], None], node: int) -> None:
        """Something befalls a node."""
        fault(self.world, self.world.nodes[node])

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 2.0]))
    def time_passes(self, seconds: float) -> None:
        """Meanwhile what is due happens."""
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        """All is to come right again."""
        if hasattr(self, "world"):
            self.world.settle()


class BefallenTests(SynchronousTestCase):
    """Worlds of `Befallen`."""

    def test_anything(self) -> None:
        """Examples of some 40 steps."""
        run_state_machine_as_test(Befallen, settings=settings(max_examples=8, stateful_step_count=40))
