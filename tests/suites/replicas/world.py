"""A world of replicas: nodes that share one simulated log, and what befalls them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from kvstore.store.replica import Role
from kvstore.testing.simulated_shared_log import SimulatedSharedLog, Trouble
from tests.suites.replicas.history import History, Violation
from tests.suites.replicas.node import Node, Surroundings
from tests.suites.replicas.simulated_time import SimulatedTime


class World:
    """See the module. `log`, `node`: their classes, if they are to do it wrong. `quorum_reads`: no read trusts a lease.

    `clocks_stand`: now and then one does.
    """

    def __init__(
        self,
        seed: int | str,
        nodes: int = 3,
        *,
        trouble: Trouble | None = None,
        quorum_reads: bool = False,
        clocks_stand: bool = False,
        log: type[SimulatedSharedLog] = SimulatedSharedLog,
        node: type[Node] = Node,
    ) -> None:
        self.chance = Random(seed)
        self.time = SimulatedTime()
        self.log = log(self.time.call_later, self.chance, trouble)
        self.history = History(self.log)
        around = Surroundings(self.time, self.log, self.history, self.chance, quorum_reads, [])
        self.clocks_stand = clocks_stand
        self._are_leases_trusted = not quorum_reads
        self.nodes = [node(around, name) for name in "abcdefg"[:nodes]]
        for one in self.nodes:
            one.start()

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that is due meanwhile. At no moment two leases may run."""
        self.time.advance(seconds, self._check_leases)

    def _check_leases(self) -> None:
        holders = [node.name for node in self.nodes if node.runs and node.replica.lease_runs(node.now_ns())]
        if len(holders) > 1 and self._are_leases_trusted:
            raise Violation(f"the leases of {holders} run")

    def likely_leader(self, otherwise: Node) -> Node:
        """Whom a client asks: a node that takes itself for the leader, and there may be several, or any other."""
        leading = [node for node in self.nodes if node.runs and node.replica.role is Role.LEADING]
        return self.chance.choice([*leading, *leading, otherwise])

    def trim(self, margin: int) -> None:
        """Trim the log up to what two nodes have noted that they cover, less a margin."""
        covered = sorted(note.covers for note in self.log.noted.values())[-2:]
        if len(covered) == 2 and covered[0] > margin:
            self.log.trim(covered[0] - margin + 1)

    def settle(self) -> None:
        """Nothing goes wrong any more: a leader is found, all that was acknowledged is everywhere."""
        self.log.trouble = Trouble()
        self.log.refuses = False
        for node in self.nodes:
            node.recover_from_everything()
        for _ in range(2):
            for node in self.nodes:
                node.write()  # so that who led once finds out, though his clock stood still
            self.pass_time(12)
        leading = [node for node in self.nodes if node.replica.role is Role.LEADING]
        if len(leading) != 1:
            raise Violation(f"{len(leading)} nodes lead when nothing has gone wrong for long")
        leading[0].write()
        self.pass_time(2)
        for node in self.nodes:
            self.history.check(node.name, node.replica.standing)
            if node.replica.standing.position < self.history.acknowledged:
                raise Violation(f"{node.name} lacks what was acknowledged")


#: What befalls a world, and how often of a hundred times; for a node, or all.
FAULTS: list[tuple[int, Callable[[World, Node], None]]] = [
    (20, lambda world, node: world.likely_leader(node).write()),
    (20, lambda world, node: world.likely_leader(node).read(of_open=False)),
    (12, lambda world, node: world.likely_leader(node).read(of_open=True)),
    (6, lambda world, node: node.pause()),
    (12, lambda world, node: node.resume()),
    (3, lambda world, node: node.connection.cut()),
    (3, lambda world, node: node.connection.deafen()),
    (10, lambda world, node: node.connection.heal()),
    (2, lambda world, node: node.kill(lost=world.chance.randrange(5))),
    (4, lambda world, node: node.restart()),
    (1, lambda world, node: setattr(world.log, "refuses", True)),
    (3, lambda world, node: setattr(world.log, "refuses", False)),
    (3, lambda world, node: node.checkpoint()),
    (3, lambda world, node: world.trim(world.chance.randrange(3))),
    (2, lambda world, node: node.hand_over(world.chance.choice(world.nodes).name)),
]

CLOCK_FAULTS: list[tuple[int, Callable[[World, Node], None]]] = [
    (6, lambda world, node: node.stand_still(world.chance.choice([0.5, 2.0, 20.0]))),
]


def troubled(chance: Random) -> Trouble:
    """Some trouble with messages, from none to much."""
    often = chance.choice([0.0, 0.02, 0.1, 0.3])
    return Trouble(chance.choice([0.001, 0.05, 0.4]), often, often, often, chance.choice([2.0, 10.0]), often)


def run(seed: int | str, steps: int = 150, **ways: Any) -> World:
    """Let things drawn from `seed` befall a world, and time pass between them; then all is to come right again.

    `ways`: the world's. Raises Violation.
    """
    chance = Random(seed)
    world = World(seed, trouble=troubled(chance), **ways)
    faults = FAULTS + CLOCK_FAULTS if world.clocks_stand else FAULTS
    weights = [weight for weight, _ in faults]
    for _ in range(steps):
        ((_, befall),) = chance.choices(faults, weights)
        befall(world, chance.choice(world.nodes))
        world.pass_time(chance.choice([0.0, 0.0, 0.01, 0.1, 0.5, 1.5]))
    world.settle()
    return world
