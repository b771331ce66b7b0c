"""A machine with a server of a group on it: what stays when the process ends (disk, clocks), and one run after another.

The server is whole: grammars, sessions, group commit, recovery, compaction, the group's node. What it has for a disk, a
network, threads and child processes is simulated.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Protocol

from kvstore.base.errors import StorageFault
from kvstore.base.shared_log import Appended, Entry
from kvstore.commands.membership import changed_sides
from kvstore.edge.compactor import Compactor
from kvstore.edge.settings import ReadPolicy
from kvstore.edge.upkeep import Upkeep
from kvstore.store import checkpoint
from kvstore.store.joining import read_piece
from kvstore.store.merge import MergeJob, merge
from kvstore.store.replica import End, Ended, Replica, Role
from kvstore.testing.fates import RandomFates
from kvstore.testing.memory_server import START_MS
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.group import MemoryNode
from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.process import FatalDisk, Killed, Outgoing, Process

if TYPE_CHECKING:
    from tests.suites.simulated_groups.world import World

#: How long the parent waits before it starts a server again.
_RESTART_S = 1.0
#: Longest time that a merge takes.
_MERGE_S = 1.0


class Machine(MemoryNode):
    """See the module. `rate`: of its clocks. What is to be done wrong is replaced: see `wrong`."""

    databases = 1
    replica_class: type[Replica] = Replica

    def __init__(self, world: World, number: int, reads: ReadPolicy) -> None:
        self.world = world
        self.draw = Random(world.chance.random())
        self.rate = self.draw.uniform(0.92, 1.08)
        self._stood_s = self._wall_offset_s = 0.0
        if world.walls_jump:
            self._wall_offset_s = self.draw.uniform(-1.0, 1.0)
        self.running = False
        super().__init__(world, number, reads)  # type: ignore[arg-type]

    # Clocks

    @property
    def now_ms(self) -> int:
        """By its wall clock."""
        return START_MS + int(1000 * (self.world.time.seconds() + self._wall_offset_s))

    def now_ns(self) -> int:
        """By the clock that leases go by."""
        return int((self.clock.seconds() - self._stood_s) * 1_000_000_000)

    def stand_still(self, seconds: float) -> None:
        """The clock of leases is behind by so much more."""
        self._stood_s += seconds
        self.world.leases_changed = True

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self._wall_offset_s += seconds

    def chance(self) -> Random:
        """See `MemoryNode`."""
        return Random(self.draw.random())

    def outgoing(self, protocol: Protocol) -> Protocol:
        """See `MemoryNode`."""
        return Outgoing(self.process, protocol)

    # Its life

    def start(self) -> None:
        """See `MemoryServer`; not if the disk ends it before."""
        if not isinstance(self.disk, FatalDisk):
            self.disk = FatalDisk(record=False)
        self.disk.fatal = self._cut_off  # type: ignore[method-assign]
        self.clock = self.process = process = Process(self.world.time, self.rate)
        self.steady_ns = process.steady_ns
        self.compactor: Compactor | None = None
        try:
            super().start()
        except Killed:
            return
        except (OSError, StorageFault):  # the disk fails
            self.kill()
            return
        self._observe_leases(self.node.replica)
        self.server.report_bug = self.world.bug
        self.server.steady_ns = process.steady_ns
        self._look_after()

    def _observe_leases(self, replica: Replica) -> None:
        """A lease begins, or begins anew, with an entry of the node's own that is in the log."""
        replica.__class__ = self.replica_class
        appended = replica.appended

        def observed(outcome: Appended, now_ns: int) -> Entry | None:
            self.world.leases_changed = True
            return appended(outcome, now_ns)

        replica.appended = observed  # type: ignore[method-assign]

    def _look_after(self) -> None:
        self.compactor = Compactor(self.store, self._begin_merge, self._stop)
        self.upkeep = _Upkeep(
            self.process, self.server, self.turn, self.compactor, self.factory, [], "everysec", self._stop
        )
        self.server.compact_now = self.upkeep.compact_now
        self.upkeep.startService()

    def between_commits(self) -> None:
        """See `MemoryNode`."""
        if self.compactor is not None:
            self.upkeep.between_commits()

    def _begin_merge(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> Any:
        self.process.callLater(self.draw.random() * _MERGE_S, self._merge, job, said, ended)
        return _Merging()

    def _merge(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> None:
        try:
            said(json.dumps({"bytes": merge(self.disk, TYPES, job, self.now_ms * 1000)}))
        except OSError as error:
            said(json.dumps({"error": str(error)}))
        ended("ended with status 0")

    def kill(self, *, power: bool = False) -> None:
        """The process ends; with `power` the machine too, and of what was not synced any part is lost."""
        if not self.process.is_dead:
            disk: SimulatedDisk = self.disk
            self._die(disk.crash(RandomFates(self.draw.random().hex())) if power else disk.kill())

    def lose_disk(self) -> None:
        """The machine dies, and gets an empty disk."""
        left = FatalDisk(record=False)
        if self.process.is_dead:
            self.disk = left
        else:
            self._die(left)

    def _cut_off(self) -> None:
        """In the middle of a call of the disk."""
        self.kill(power=self.draw.random() < 0.7)
        raise Killed

    def _die(self, left: SimulatedDisk) -> None:
        self.process.is_dead = True
        self.world.kills += 1
        self.connection.stop()
        self._end(left)
        self.world.time.call_later(_RESTART_S * self.draw.uniform(0.0, 3.0), self.restart)

    def restart(self) -> None:
        """Start it if it does not run."""
        if self.process.is_dead:
            self.start()

    def pause(self) -> None:
        """It stands still."""
        if not self.process.is_dead:
            self.process.pause()
            self.connection.pause()

    def resume(self) -> None:
        """It goes on: it hears its clients, timers and the log in any order."""
        if self.process.is_dead or not self.process.is_paused:
            return
        calls = [self.process.resume, self.connection.resume]
        self.draw.shuffle(calls)
        for call in calls:
            self.world.time.call_later(0, call)

    def recover_from_everything(self) -> None:
        """It runs, connected, on a disk that works."""
        self.disk.heal()
        self.disk.capacity_bytes = None
        if isinstance(self.disk, FatalDisk):
            self.disk.changes_left = None
        self.resume()
        self.restart()
        self.connection.heal()

    def compact(self) -> None:
        """Ask for a compaction."""
        if self.runs:
            self.upkeep.compact_now()

    def covers(self) -> int:
        """Up to which position the checkpoint on its disk has all; 0 if there is none."""
        return read_piece(self.disk, 0).covers if checkpoint.NAME in self.disk.names() else 0

    @property
    def runs(self) -> bool:
        """Whether it does, and does not stand still."""
        return not self.process.is_dead and not self.process.is_paused

    @property
    def is_leading(self) -> bool:
        """Whether what it has in memory may be more than the log has; also if it has just ended."""
        return self.running and self.node.replica.role in (Role.LEADING, Role.ENDED)

    @property
    def takes_itself_for_leader(self) -> bool:
        """Whether clients would be told so."""
        return self.running and self.node.member.leads

    def _ended(self, ended: Ended) -> None:
        """It ends by itself, which it may only if another leads, or to begin with another's checkpoint."""
        if ended.end not in (End.HANDED_OVER, End.FENCED, End.JOINED):
            raise Violation(f"{self.address} ends: {ended}")
        self.ended.append(ended)
        for protocol in list(self.factory.protocols.values()):
            protocol.leave(changed_sides())
        for transport in self._transports:
            transport._deliver()
        self.kill()
        raise Killed

    def _stop(self, fault: StorageFault) -> None:
        """Fail-stop."""
        super()._stop(fault)
        self.kill()
        raise Killed


class _Upkeep(Upkeep):
    """Timers whose end nobody logs when the process dies in one of them."""

    def guarded(self, work: Callable[[], None]) -> None:
        """See `Upkeep`."""
        with contextlib.suppress(Killed):
            super().guarded(work)


class _Merging:
    """See `Child`."""

    def release(self) -> None:
        """Its report was heard."""

    def kill(self) -> None:
        """It goes with its server."""
