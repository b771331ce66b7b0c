"""A world of a group: servers over one simulated log, clients, and what befalls them, all from one seed."""

from __future__ import annotations

import contextlib
import errno
import traceback
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any
from unittest import mock

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from kvstore.base.errors import Failure
from kvstore.base.shared_log import Note
from kvstore.edge import upkeep
from kvstore.edge.group import compacting, trimming
from kvstore.edge.settings import ReadPolicy
from kvstore.store.examine import examine
from kvstore.testing.simulated_shared_log import PLENTY_BYTES, SimulatedSharedLog, Trouble
from kvstore.values import TYPES
from tests.suites.histories.checker import REFUSED, UNKNOWN, NotLinearizable, Operation, check
from tests.suites.replicas.history import Violation
from tests.suites.replicas.simulated_time import SimulatedTime
from tests.suites.replicas.world import troubled
from tests.suites.simulated_groups.clients import LAST_READS, FollowerReader, Onlooker, Writer
from tests.suites.simulated_groups.process import FatalDisk, Killed
from tests.suites.simulated_groups.server import Machine
from tests.suites.simulated_groups.truth import Truth

#: How long a group may take to get over everything, once nothing goes wrong any more.
_PATIENCE_S = 60.0


class World:
    """See the module. `walls_jump`: wall clocks differ, and are set now and then. `clocks_stand`: those of leases do.

    `machine`, `log`: their classes, if servers or the log are to do it wrong.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        reads: ReadPolicy = "lease",
        walls_jump: bool = False,
        clocks_stand: bool = False,
        trouble: Trouble | None = None,
        machine: type[Machine] = Machine,
        log: type[SimulatedSharedLog] = SimulatedSharedLog,
    ) -> None:
        self.name, self.slots, self.register = "shop", None, None
        self.chance = Random(seed)
        self.time = SimulatedTime()
        self.walls_jump, self.clocks_stand = walls_jump, clocks_stand
        self._are_leases_trusted = reads == "lease"
        self.log = log(self.time.call_later, self.chance, trouble)
        self.truth = Truth(self.log)
        self.history: list[Operation] = []
        self.values = count(1)
        self.kills = 0
        #: Whether a lease may run that did not run when that was looked at last.
        self.leases_changed = False
        self.nodes = [machine(self, number, reads) for number in (1, 2, 3)]
        self.writers = [Writer(self, f"writer{number}") for number in range(4)]
        self.onlookers = [Onlooker(self, f"onlooker{number}") for number in range(2)]
        self.readers = [FollowerReader(self, f"reader{number}") for number in range(2)]

    def clock_of(self, number: int) -> SimulatedTime:
        """What `MemoryNode` asks a group for; a `Machine` has clocks of its own."""
        return self.time

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that is due meanwhile. At no moment two leases may run."""
        ends_s = self.time.seconds() + seconds
        while self.time.seconds() < ends_s or seconds == 0:
            try:
                self.time.advance(ends_s - self.time.seconds(), self._check_leases)
                break
            except Killed:
                continue

    def _check_leases(self) -> None:
        if not self.leases_changed:
            return
        self.leases_changed = False
        leading = [node for node in self.nodes if node.is_leading]
        if len(leading) > 1 and self._are_leases_trusted:
            holders = [str(node.address) for node in leading if node.node.replica.lease_runs(node.now_ns())]
            if len(holders) > 1:
                raise Violation(f"the leases of {holders} run")

    def likely_leader(self) -> Machine:
        """Whom a client asks: a node that takes itself for the leader, and there may be several; now and then any."""
        leading = [node for node in self.nodes if node.takes_itself_for_leader]
        return self.chance.choice(leading if leading and self.chance.random() < 0.95 else self.nodes)

    def bug(self, text: str) -> None:
        """A server has noticed one."""
        raise Violation(f"a bug: {text}\n{traceback.format_exc()}")

    def check_nodes(self) -> None:
        """Each that runs has in its databases what the log has up to where it is."""
        for node in self.nodes:
            if node.running and node.store.in_flight is None and not node.store.has_changes():
                self.truth.check_state(str(node.address), node.node.member.position, node.store.databases[0])

    def check_files(self) -> None:
        """Each has in its files what the log has up to where it stands: without what is in flight."""
        for node in self.nodes:
            standing = node.node.replica.standing
            self.truth.check(str(node.address), standing)
            self.truth.check_state(
                f"the files of {node.address}", standing.position, examine(node.disk, TYPES).databases.at(0)
            )

    def recover_log(self) -> None:
        """It takes what it is asked to, and has room."""
        self.log.refuses = False
        self.log.quota_bytes = PLENTY_BYTES

    # The end

    def settle(self) -> None:
        """Nothing goes wrong any more: a leader is found, all that was acknowledged is everywhere."""
        self.log.trouble = Trouble()
        self.recover_log()
        for node in self.nodes:
            node.recover_from_everything()
        self.pass_time(5.0)
        for client in (*self.writers, *self.onlookers, *self.readers):
            client.give_up()
        self.pass_time(0.1)
        for words in LAST_READS:
            self._until(lambda words=words: self._read_at_last(words), f"{words} is answered")  # type: ignore[misc]
        self._until(
            lambda: {node.node.member.position for node in self.nodes} == {self.log.head}, "all have all of the log"
        )
        self.pass_time(0.02)
        self.check_nodes()
        self.check_files()
        self._check_history()

    def _read_at_last(self, words: tuple[bytes, ...]) -> bool:
        client = self.writers[0]
        leader = next((node for node in self.nodes if node.takes_itself_for_leader), None)
        if leader is None or not client.connect(leader):
            return False
        before = len(self.history)
        client.simple(*words)
        self.pass_time(0.1)
        client.give_up()
        return any(each.words == words and each.result not in (UNKNOWN, REFUSED) for each in self.history[before:])

    def _until(self, happens: Callable[[], bool], what: str) -> None:
        ends_s = self.time.seconds() + _PATIENCE_S
        while not happens():
            if self.time.seconds() > ends_s:
                raise Violation(f"in {_PATIENCE_S} s it does not come about that {what}")
            self.pass_time(0.05)

    def _check_history(self) -> None:
        try:
            check(self.history)
        except NotLinearizable as wrong:
            raise Violation(str(wrong)) from wrong


def _cut_within(world: World, node: Machine) -> None:
    """The process ends in the middle of what it does to its disk, soon."""
    if isinstance(node.disk, FatalDisk) and node.runs:
        node.disk.changes_left = world.chance.randrange(12)


def _fail(world: World, node: Machine) -> None:
    """A call of its disk fails, soon."""
    call = world.chance.choice(["write_at", "sync", "rename", "create", "sync_directory"])
    node.disk.fail(call, errno.EIO, world.chance.randrange(1, 4), done=world.chance.choice([0, 0, 5]))


def _fill(world: World, node: Machine) -> None:
    """There is no room on its disk."""
    held_bytes = sum(len(content) for content in node.disk.contents().values())
    node.disk.capacity_bytes = held_bytes + world.chance.choice([0, 100, 5000])


def _hand_over(world: World, node: Machine) -> None:
    if node.takes_itself_for_leader and node.runs and node.node.member.others():
        to = world.chance.choice([None, world.chance.choice(node.node.member.others()).address])
        with contextlib.suppress(Failure):  # nobody is alive
            node.node.member.hand_over(to, is_forced=True)


def _lose_disk(world: World, node: Machine) -> None:
    """One whose data the others have: two at a time may not be lost, once the log is trimmed."""
    others = [each for each in world.nodes if each is not node]
    if all(_has_what_leaves_the_log(world, each) for each in others):
        world.log.noted.pop(str(node.address), None)
        node.lose_disk()


def _lose_two_disks(world: World, node: Machine) -> None:
    """All but one's, which has all that was acknowledged; and nothing befalls it until the others are back."""
    node.recover_from_everything()
    world.recover_log()
    if not node.runs or node.node.member.applied < world.log.head:
        return
    others = [each for each in world.nodes if each is not node]
    for other in others:
        world.log.noted.pop(str(other.address), None)
        other.lose_disk()
    ends_s = world.time.seconds() + _PATIENCE_S
    while not all(str(each.address) in world.log.noted and _has_what_leaves_the_log(world, each) for each in others):
        if world.time.seconds() > ends_s:
            raise Violation(f"in {_PATIENCE_S} s those whose disks are lost do not come back")
        world.chance.choice(others).compact()
        world.chance.choice([*world.writers, *world.onlookers]).act()
        world.pass_time(0.1)


def _has_what_leaves_the_log(world: World, node: Machine) -> bool:
    """Whether a node's checkpoint has all that left the log, or is about to: as the node has noted, and as it is, since
    a note of the time before it lost its disk may have come late.
    """
    noted = world.log.noted.get(str(node.address), Note(0, 0)).covers
    return min(noted, node.covers()) >= world.log.asked_first - 1


def _trim(world: World, node: Machine) -> None:
    """An operator wants it."""
    if node.runs:
        node.node.member.trim()


def _forget(world: World, node: Machine) -> None:
    """An operator takes one off the list that is silent."""
    if node.runs and (others := node.node.member.others()):
        with contextlib.suppress(Failure):  # it is not
            node.node.member.forget(world.chance.choice(others).address)


def _cut_off_for_long(world: World, node: Machine) -> None:
    """The leader is cut off until another leads and has written, while its clients stay with it."""
    leader = world.likely_leader()
    for other in world.nodes:
        if other is not leader:
            other.resume()
            other.connection.heal()
    leader.connection.cut()
    for _ in range(60):
        world.chance.choice([*world.writers, *world.onlookers, *world.onlookers]).act()
        world.pass_time(0.1)


#: What befalls a world, and how often of some two hundred times; for a node, or all. The log is trimmed by the leader,
#: as servers compact; so who lost its disk joins by another's checkpoint.
FAULTS: list[tuple[int, Callable[[World, Machine], None]]] = [
    (100, lambda world, node: world.chance.choice(world.writers).act()),
    (40, lambda world, node: world.chance.choice(world.onlookers).act()),
    (30, lambda world, node: world.chance.choice(world.readers).act()),
    (5, lambda world, node: node.pause()),
    (10, lambda world, node: node.resume()),
    (3, lambda world, node: node.connection.cut()),
    (3, lambda world, node: node.connection.deafen()),
    (3, lambda world, node: world.likely_leader().connection.cut()),
    (8, lambda world, node: node.connection.heal()),
    (2, lambda world, node: node.kill()),
    (2, lambda world, node: node.kill(power=True)),
    (1, _cut_off_for_long),
    (3, _cut_within),
    (3, _lose_disk),
    (1, _lose_two_disks),
    (1, _fail),
    (1, _fill),
    (3, lambda world, node: setattr(node.disk, "capacity_bytes", None)),
    (12, lambda world, node: node.compact()),
    (2, _hand_over),
    (2, _trim),
    (1, _forget),
    (1, lambda world, node: setattr(world.log, "quota_bytes", world.chance.choice([1000, 3000, 10_000]))),
    (1, lambda world, node: setattr(world.log, "refuses", True)),
    (3, lambda world, node: world.recover_log()),
    (6, lambda world, node: world.chance.choice([*world.writers, *world.onlookers]).give_up()),
    (1, lambda world, node: world.chance.choice(world.readers).give_up()),
    (3, lambda world, node: world.check_nodes()),
]

CLOCK_FAULTS: list[tuple[int, Callable[[World, Machine], None]]] = [
    (6, lambda world, node: node.stand_still(world.chance.choice([0.5, 2.0, 20.0]))),
]
WALL_FAULTS: list[tuple[int, Callable[[World, Machine], None]]] = [
    (6, lambda world, node: node.jump(world.chance.choice([-3600.0, -2.0, -0.1, 0.1, 2.0, 3600.0]))),
]


def run(seed: int | str, steps: int = 250, **ways: Any) -> World:
    """Let things drawn from `seed` befall a world, and time pass between them; then all is to come right again.

    `ways`: the world's. Raises Violation; a bug that a server logs is one.
    """
    chance = Random(seed)
    bugs: list[LogEvent] = []

    @implementer(ILogObserver)
    def look(event: LogEvent) -> None:
        if "log_failure" in event:
            bugs.append(event)

    globalLogPublisher.addObserver(look)
    try:
        with (
            mock.patch.multiple(trimming, _LOOK_S=0.6, _STEP=1, _MARGIN=chance.choice([0, 0, 10])),
            mock.patch.multiple(compacting, _LOOK_S=0.6, _STEP=1),
            mock.patch.multiple(upkeep, _TIDY_PERIOD_S=0.5),
        ):
            world = World(seed, trouble=troubled(chance), **ways)
            faults = [
                *FAULTS, *(CLOCK_FAULTS if world.clocks_stand else []), *(WALL_FAULTS if world.walls_jump else [])
            ]  # fmt: skip
            weights = [weight for weight, _ in faults]
            for _ in range(steps):
                ((_, befall),) = chance.choices(faults, weights)
                befall(world, chance.choice(world.nodes))
                world.pass_time(chance.choice([0.0, 0.0, 0.001, 0.01, 0.05, 0.1, 0.4]))
            world.settle()
    finally:
        globalLogPublisher.removeObserver(look)
    if bugs:
        raise Violation("a server has logged a bug: " + bugs[0]["log_failure"].getTraceback())
    return world
