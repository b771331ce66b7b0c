"""A world of whole servers: the nodes of one group, with disks and clocks of their own, their clients, and what befalls
them, all from one seed.

Each node is a server without sockets, files and processes: its sessions, store, log, group commit and `GroupNode` are
the real ones. What is checked: the clients' history is linearizable, no server fails, and in the end all nodes have
the same data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from kvstore.base.address import Address
from kvstore.base.errors import Failure
from kvstore.edge.settings import ReadPolicy
from kvstore.store.replica import End
from kvstore.testing.fates import RandomFates
from kvstore.testing.simulated_shared_log import Trouble
from tests.kit.group import MemoryGroup, MemoryNode, Talker
from tests.suites.groups.client import Client
from tests.suites.groups.clock import NodeClock
from tests.suites.histories.checker import NotLinearizable, Operation, check
from tests.suites.replicas.world import troubled

#: How long a client waits for a reply, in steps of the world.
_PATIENCE = 8


class Violation(AssertionError):
    """Something does not hold that must."""


class SimulatedNode(MemoryNode):
    """A node with a clock of its own. `is_paused`: whether its process stands still."""

    clock: NodeClock
    is_paused = False

    def start(self) -> None:
        """See `MemoryServer`."""
        self.is_paused = False
        super().start()

    def kill(self) -> None:
        """See `MemoryServer`. Nothing of the process is called after it."""
        if self.running:
            super().kill()
            self.clock.end_run()

    def crash(self, chance: Random) -> None:
        """The machine loses power."""
        if self.running:
            self.kill()
            self.disk = self.disk.crash(RandomFates(f"{chance.random()}"))

    def pause(self) -> None:
        """SIGSTOP."""
        if self.running and not self.is_paused:
            self.is_paused = True
            self.clock.hold()
            self.connection.pause()

    def resume(self, *, hears_first: bool = True) -> None:
        """SIGCONT. `hears_first`: of the log, before its clients."""
        if self.running and self.is_paused:
            self.is_paused = False
            if hears_first:
                self.connection.resume()
            self.clock.go_on()
            if not hears_first:
                self.group.clock.callLater(0, self.connection.resume)

    def sync(self) -> None:
        """What the server does once a second."""
        if self.running and not self.is_paused:
            self.store.sync()

    def hand_over(self, to: Address) -> None:
        """What FAILOVER does, if it may."""
        if self.running and not self.is_paused:
            with contextlib.suppress(Failure):
                self.node.hand_over(to)


class World(MemoryGroup):
    """See the module. `reads`: the policy of its nodes."""

    make_node = SimulatedNode
    nodes: list[SimulatedNode]  # type: ignore[assignment]

    def __init__(self, seed: int | str, reads: ReadPolicy = "lease", trouble: Trouble | None = None) -> None:
        self.chance = Random(seed)
        super().__init__(3, self.chance.randrange(2**32), reads, trouble)
        self.history: list[Operation] = []
        self._moments = 0
        self.clients = [Client(name, self.chance, self.moment, self.history) for name in "abcd"]
        self._waited = dict.fromkeys(self.clients, 0)

    def clock_of(self, number: int) -> NodeClock:
        """See `MemoryGroup`."""
        return NodeClock(self.clock, self.chance.uniform(0.92, 1.08), self.chance.uniform(0, 1000))

    def moment(self) -> float:
        """A number that grows."""
        self._moments += 1
        return float(self._moments)

    def clients_act(self) -> None:
        """Who is idle may ask, mostly a node that takes itself for the leader; who has waited for long gives up."""
        for client in self.clients:
            if client.is_waiting:
                self._waited[client] += 1
                if self._waited[client] > _PATIENCE:
                    client.give_up()
            elif self.chance.random() < 0.5:
                self._waited[client] = 0
                client.ask(self.chance.choice([*self.leading(), *self.leading(), self.chance.choice(self.nodes)]))

    def leading(self) -> list[SimulatedNode]:
        """The nodes that take themselves for the leader."""
        return [node for node in self.nodes if node.running and node.node.leads]

    def look(self) -> None:
        """No server has failed, or does not understand its log; its parent starts one that has ended."""
        for node in self.nodes:
            if node.faults:
                raise Violation(f"{node.address} failed: {node.faults[0]}")
            if any(ended.end is not End.FENCED for ended in node.ended):
                raise Violation(f"{node.address} ended: {node.ended[-1]}")
            if node.ended and not node.running:
                node.ended.clear()
                node.clock.end_run()
                node.start()

    def settle(self) -> None:
        """Nothing goes wrong any more: all that was acknowledged is there, at each node. Raises Violation."""
        self.log.trouble, self.log.refuses = Trouble(), False
        for _ in range(12):
            for node in self.nodes:
                node.connection.heal()
                node.resume()
                if not node.running:
                    node.start()
            self.go_on(1)
            self.look()
        for client in self.clients:
            client.give_up()
        leader = self.leader()
        for words in _EVERYTHING:
            self.clients[0].ask(leader, words)
            self.until(lambda: not self.clients[0].is_waiting)
        try:
            check(self.history)
        except NotLinearizable as error:
            raise Violation(str(error)) from error
        self._compare()

    def _compare(self) -> None:
        """All nodes stand at one place, at some moment, and then have the same data."""
        self.until(lambda: len({node.node.replica.standing for node in self.nodes}) == 1)
        found = set()
        for node in self.nodes:
            talker = Talker(node)
            talker.ask("READONLY")
            found.add(repr([talker.ask(*(word.decode() for word in words)) for words in _EVERYTHING]))
        if len(found) > 1:
            raise Violation(f"nodes differ: {found}")


#: Requests that read all that the clients write.
_EVERYTHING = [(b"GET", b"k"), (b"GET", b"l"), (b"GET", b"n"), (b"LRANGE", b"q", b"0", b"-1")]

#: What befalls a world, and how often of a hundred times; for a node, or all.
FAULTS: list[tuple[int, Callable[[World, SimulatedNode], object]]] = [
    (30, lambda world, node: None),
    (12, lambda world, node: node.sync()),
    (7, lambda world, node: node.pause()),
    (14, lambda world, node: node.resume(hears_first=world.chance.random() < 0.5)),
    (3, lambda world, node: node.connection.cut()),
    (3, lambda world, node: node.connection.deafen()),
    (10, lambda world, node: node.connection.heal()),
    (3, lambda world, node: node.kill()),
    (3, lambda world, node: node.crash(world.chance)),
    (7, lambda world, node: None if node.running else node.start()),
    (1, lambda world, node: setattr(world.log, "refuses", True)),
    (3, lambda world, node: setattr(world.log, "refuses", False)),
    (2, lambda world, node: node.hand_over(world.chance.choice(world.nodes).address)),
]


def run(seed: int | str, steps: int = 120, reads: ReadPolicy = "lease") -> World:
    """Let things drawn from `seed` befall a world whose clients are at work; then all is to come right again.

    Raises Violation.
    """
    chance = Random(seed)
    world = World(seed, reads, troubled(chance))
    world.go_on(chance.choice([0, 1]))
    weights = [weight for weight, _ in FAULTS]
    for _ in range(steps):
        world.clients_act()
        ((_, befall),) = chance.choices(FAULTS, weights)
        befall(world, chance.choice([*world.nodes, *world.leading()]))
        world.go_on(chance.choice([0.01, 0.03, 0.3, 1.0]))
        world.look()
    world.settle()
    return world
