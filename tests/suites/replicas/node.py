"""A node around a replica, as simple as it can be: what the edge does, in simulated time, with a disk that loses what
was not synced, and with clients whose reads and writes wait for what they have to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from kvstore.base.shared_log import NOTHING, Appended, Note, Standing
from kvstore.store.replica import Ended, Replica, Role
from kvstore.testing.simulated_shared_log import SimulatedConnection, SimulatedSharedLog
from tests.suites.replicas.history import History, Violation
from tests.suites.replicas.simulated_time import SimulatedTime

LEASE_MS = 2000
_NS_PER_S = 1_000_000_000


@dataclass
class Read:
    """A read that waits. `floor`: the newest write that was told of when it was asked for; `seen`: what it tells of.

    `open_then`: the number of the open commit when it was executed. `had_lease`: whether the lease ran after that.
    """

    floor: int
    seen: int
    open_then: int
    had_lease: bool


@dataclass
class Disk:
    """Where a node stood after each entry that it has written, the oldest first; of the last ones a crash loses some.

    `covered`: what its synced checkpoint has; no crash loses that.
    """

    standings: list[Standing] = field(default_factory=lambda: [NOTHING])
    covered: int = 0

    @property
    def newest(self) -> Standing:
        """Where it stands."""
        return self.standings[-1]

    def crash(self, lost: int) -> None:
        """So many of the newest are lost."""
        while lost > 0 and self.newest.position > self.covered and len(self.standings) > 1:
            self.standings.pop()
            lost -= 1

    def join(self, standing: Standing) -> None:
        """Put another node's checkpoint in the place of all there is."""
        self.standings[:] = [standing]
        self.covered = standing.position


class Surroundings(NamedTuple):
    """What nodes share. `disks`: of all, for who fetches a checkpoint. `quorum_reads`: no read trusts a lease."""

    time: SimulatedTime
    log: SimulatedSharedLog
    history: History
    chance: Random
    quorum_reads: bool
    disks: list[Disk]


class Node:
    """One node: what stays (its disk, its clock), and one run after the other. What it calls is to be replaced by those
    who do it wrong.
    """

    make_replica: type[Replica] = Replica
    replica: Replica
    connection: SimulatedConnection

    def __init__(self, around: Surroundings, name: str) -> None:
        self.around = around
        self.name = name
        self.disk = Disk()
        around.disks.append(self.disk)
        #: Its clock goes wrong by a twelfth at most; it stands still only if a test says so.
        self._rate = around.chance.uniform(0.92, 1.08)
        self._offset_s = around.chance.uniform(0, 1000)
        self._stood_s = 0.0
        self.runs = self.is_paused = False
        self._run = 0
        self._written = 0
        self._comes_back_s = 0.0

    # Its life

    def start(self) -> None:
        """Recovery, then following."""
        self._run += 1
        self.runs = True
        self.is_paused = False
        self.open: list[bytes] = []
        self.in_flight: bytes | None = None
        self.reads: list[Read] = []
        self.asked: list[Callable[[], None]] = []
        chance = Random(self.around.chance.random())
        self.replica = self.make_replica(self.name, self.disk.newest, LEASE_MS, chance, self.now_ns())
        self.connection = self.around.log.connect()
        self.connection.sending = self.sending  # type: ignore[method-assign]
        self._follow()
        self.turn()

    def kill(self, lost: int = 0) -> None:
        """The process ends, and with the machine the last writes that were not synced, if `lost`."""
        if self.runs:
            self.runs = False
            self.connection.stop()
            self.disk.crash(lost)

    def restart(self) -> None:
        """Start it if it does not run."""
        if not self.runs:
            self.start()

    def pause(self) -> None:
        """It stands still; its clock does not."""
        if self.runs:
            self.is_paused = True
            self.connection.pause()

    def resume(self) -> None:
        """It goes on: with what its clients have asked meanwhile, before it hears of anything else."""
        if self.runs and self.is_paused:
            self.is_paused = False
            asked, self.asked = self.asked, []
            for ask in asked:
                ask()
            self.turn()
            if self.runs:
                self.connection.resume()
                self.turn()

    def recover_from_everything(self) -> None:
        """It runs, connected."""
        self.resume()
        self.restart()
        self.connection.heal()

    def checkpoint(self) -> None:
        """Make a checkpoint of all it has, and note it in the log."""
        if self.runs and not self.is_paused:
            self.disk.covered = self.disk.newest.position
            self.connection.note(self.name, Note(self.disk.covered, self.disk.covered), lambda before: None)

    def stand_still(self, seconds: float) -> None:
        """Its clock is behind by so much more."""
        self._stood_s += seconds

    def sending(self) -> None:
        """Its connection sends a request, for the first time or again."""

    def now_ns(self) -> int:
        """By its clock."""
        return int((self._offset_s + self.around.time.seconds() * self._rate - self._stood_s) * _NS_PER_S)

    # Its clients

    def write(self) -> None:
        """A client's write; refused by whoever does not lead."""
        self._ask(self._write)

    def read(self, *, of_open: bool) -> None:
        """A client's read. `of_open`: of what the open commit, or the one in flight, has changed; else of the rest."""
        floor = self.around.history.acknowledged
        self._ask(lambda: self._read(floor, of_open))

    def _ask(self, ask: Callable[[], None]) -> None:
        if self.runs and self.is_paused:
            self.asked.append(ask)
        elif self.runs:
            ask()
            self.turn()

    def _write(self) -> None:
        if self.replica.role is Role.LEADING:
            self._written += 1
            self.open.append(b"%b%d;" % (self.name.encode(), self._written))

    def _read(self, floor: int, of_open: bool) -> None:
        if self.replica.role is not Role.LEADING:
            return
        settled = self.replica.standing.position
        open_now = settled + (2 if self.in_flight is not None else 1)
        seen = (open_now if self.open else open_now - 1) if of_open else settled
        had_lease = not self.around.quorum_reads and self.replica.lease_runs(self.now_ns())
        self.reads.append(Read(floor, seen, open_now, had_lease))

    # A turn

    def turn(self) -> None:
        """What is due: a campaign, an entry, replies."""
        if not self.runs or self.is_paused:
            return
        now_ns = self.now_ns()
        due_ns = None
        if self.replica.role is Role.FOLLOWING:
            due_ns = self.replica.campaign_at_ns
            if now_ns >= due_ns:
                self._campaign()
        elif self.replica.role is Role.LEADING:
            self._release()
            due_ns = None if self.replica.is_sending else self.replica.renew_at_ns
            if due_ns is not None and (self.open or self.reads or now_ns >= due_ns):
                self._commit()
        if due_ns is not None:
            self._come_back(due_ns)

    def _come_back(self, at_ns: int) -> None:
        seconds = max(0.001, (at_ns - self.now_ns()) / _NS_PER_S / self._rate)
        now_s = self.around.time.seconds()
        if not now_s < self._comes_back_s <= now_s + seconds:
            self._comes_back_s = now_s + seconds
            self.around.time.call_later(seconds, self.turn)

    def _time_us(self) -> int:
        return int(self.around.time.seconds() * 1_000_000)

    def _campaign(self) -> None:
        self._watch.stop()
        self._append(self.replica.campaign(self._time_us(), self.now_ns()))

    def _commit(self) -> None:
        self._append(self.replica.compose(b"".join(self.open), self._time_us(), self.now_ns()))
        self.open = []

    def hand_over(self, successor: str) -> None:
        """Let another one lead, if nothing is under way here."""
        may = self.runs and not self.is_paused and self.replica.role is Role.LEADING
        if may and not (self.replica.is_sending or self.open or self.reads):
            self._append(self.replica.compose_handover(successor, self._time_us(), self.now_ns()))

    def _append(self, data: bytes) -> None:
        self.in_flight = data
        self.connection.append(self.replica.standing.position + 1, data, self._appended)

    def _appended(self, outcome: Appended) -> None:
        data, self.in_flight = self.in_flight, None
        assert data is not None
        try:
            entry = self.replica.appended(outcome, self.now_ns())
        except Ended:
            self._end()
            return
        if entry is not None:
            self.disk.standings.append(self.replica.standing)
            self.around.history.told(self.name, self.replica.standing.position, data)
        if self.replica.role is Role.FOLLOWING:
            if self.open:  # executed after a handover was composed
                self._end()
                return
            self.reads.clear()
            self._follow()
        self.turn()

    def _release(self) -> None:
        """Let replies leave."""
        waiting, self.reads = self.reads, []
        for read in waiting:
            if self.may_leave(read, self.replica.standing.position):
                self._answer(read)
            else:
                self.reads.append(read)

    def may_leave(self, read: Read, settled: int) -> bool:
        """When a read's reply may: see `replica`."""
        return settled >= (read.seen if read.had_lease else read.open_then)

    def _answer(self, read: Read) -> None:
        self.around.history.check(self.name, self.replica.standing)
        self.around.history.answered(self.name, read.floor, read.seen)

    # Following

    def _follow(self) -> None:
        self._watch = self.connection.watch(self.replica.standing.position + 1, self._saw, self._trimmed)

    def _saw(self, position: int, data: bytes) -> None:
        try:
            self.replica.saw(position, data, self.now_ns())
        except Ended as ended:
            raise Violation(f"{self.name} cannot follow: {ended}") from ended
        self.disk.standings.append(self.replica.standing)
        self.turn()

    def _trimmed(self, first: int) -> None:
        """Far behind: start again with another node's checkpoint."""
        found = [disk.newest for disk in self.around.disks if disk.newest.position >= first - 1]
        if not found:
            raise Violation("the log was trimmed past what any node has")
        self.kill()
        self.disk.join(self.around.chance.choice(found))
        self.start()

    def _end(self) -> None:
        """The parent starts it again."""
        self.kill()
        run = self._run
        self.around.time.call_later(0.5, lambda: self.restart() if run == self._run else None)
