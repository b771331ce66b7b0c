"""Explorations: the states that crashes of a recorded run could leave, each recovered, used, crashed again and checked.

See `run` for the runs and for what is checked. Used by tests/test_store_crash.py on a sample, and by
scripts/crashpoints on all moments.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from kvstore.base.errors import StorageFault
from kvstore.testing.fates import RandomFates
from kvstore.testing.simulated_disk import Moment, SimulatedDisk
from tests.kit.store_files import Clock
from tests.suites.crashes.history import History, Violation, checked
from tests.suites.crashes.run import POLICIES, Run, open_store


def recover_checked(disk: SimulatedDisk, history: History, changes: int, where: str) -> None:
    """Recover and check. Any error of recovery is a Violation."""
    clock = Clock(where)
    with errors_as_violations(where):
        checked(open_store(disk, clock), history, changes, where)


@contextlib.contextmanager
def errors_as_violations(where: str) -> Iterator[None]:
    """No error is in order where no fault was ordered."""
    try:
        yield
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{where}: {type(error).__name__}: {error}") from error


class Counts:
    """What an exploration did. `moments`: at which a crash was tried. `complete`: those of which every state was tried.
    `states`: disks that a crash left. `distinct`: those that were recovered, because no equal one had been before.
    `recoveries`: of these disks, and of those that the second crashes left.
    """

    def __init__(self) -> None:
        self.moments = 0
        self.complete = 0
        self.states = 0
        self.distinct = 0
        self.recoveries = 0

    def add(self, other: Counts) -> None:
        """Add the counts of another exploration."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Effort(NamedTuple):
    """How much to try. `states`: crash states a moment. `most`: bytes at which one sector is torn. `second`: crashes in
    the recovery from each state and in what is written after it.
    """

    states: int = 100
    most: int = 64
    second: int = 2


def explore_moment(moment: Moment, run: Run, effort: Effort, counts: Counts, seen: set[int] | None = None) -> None:
    """Check the states that a crash at one moment could leave. `seen`: states checked before, to be left out."""
    counts.moments += 1
    where = f"{run.seed}, sync {run.sync}, moment {moment.changes} ({moment.call})"
    number = 0
    for number, left in enumerate(states_of(moment, effort, where)):
        counts.states += 1
        if run.tight:
            fill_up(left)
        if seen is not None and not _is_new(left, run.history.bounds(moment.changes), number, seen):
            continue
        counts.distinct += 1
        past = run.history.fork(moment.changes)
        check_state(left, past, f"{where}, state {number}", effort.second, counts, settled=number > 0)
    counts.complete += number < effort.states  # fewer than asked for: these are all


def states_of(moment: Moment, effort: Effort, seed: str) -> Iterable[SimulatedDisk]:
    """What kill -9 leaves at a moment, then what power cuts leave."""
    crashes = moment.disk.crashes(effort.states, seed, most=effort.most, record=True)
    return chain([moment.disk.kill(record=True)], crashes)


def fill_up(disk: SimulatedDisk) -> None:
    """Leave no room at all on a disk, unless the store has not begun there."""
    contents = disk.contents()
    disk.capacity_bytes = sum(map(len, contents.values())) if "table.txn" in contents else None


def _make_fit(disk: SimulatedDisk) -> None:
    """What a power cut brought back, such as a file whose removal was not on disk, was never given to another file."""
    if disk.capacity_bytes is not None:
        disk.capacity_bytes = max(disk.capacity_bytes, sum(map(len, disk.contents().values())))


def _is_new(disk: SimulatedDisk, bounds: tuple[int, int], number: int, seen: set[int]) -> bool:
    """Whether no such state was seen before. One that kill -9 left has more to it than its contents: always new."""
    fingerprint = hash((bounds, tuple(disk.contents().items())))
    is_new = number == 0 or fingerprint not in seen
    if number:
        seen.add(fingerprint)
    return is_new


def check_state(
    disk: SimulatedDisk, history: History, where: str, second: int, counts: Counts, *, settled: bool
) -> None:
    """Recover and check; write more, crash at `second` random moments of all that, recover and check again.

    `settled`: the whole disk is on the platter (a power cut left it): a crash during the recovery then changes nothing.
    """
    counts.recoveries += 1
    chance = random.Random(where)
    with errors_as_violations(where):
        run = Run(disk, where, chance.choice(POLICIES), history)
        if settled:
            history.narrow(run.store.durable_sequence)
        if second:
            run.steps(chance.randrange(1, 6))
    for number in range(second):
        at = chance.randint(0, disk.changes)
        moment = next(disk.moments(at))
        crashed = moment.disk.crash(RandomFates(f"{where}/{number}"))
        _make_fit(crashed)
        recover_checked(crashed, history, at, f"{where}, then moment {at} ({moment.call})")
        counts.recoveries += 1


class Fault(NamedTuple):
    """A call that fails, as `SimulatedDisk.fail` takes it: the `when`-th of all calls of a run raises `error`."""

    when: int
    error: int
    done: int
    times: int | None


def explore_fault(fault: Fault, seed: str, sync: str, steps: int, effort: Effort, counts: Counts) -> bool:
    """Run with a failing call until the server stops of it; check what is left, start again, and check that.

    Returns whether the fault came at all: the run may have been over before it.
    """
    disk = SimulatedDisk()
    disk.fail("any", fault.error, fault.when, times=fault.times, done=fault.done)
    return explore_failing(disk, f"{seed}, sync {sync}, {fault}", seed, sync, steps, effort, counts) >= fault.when


def explore_failing(
    disk: SimulatedDisk, where: str, seed: str, sync: str, steps: int, effort: Effort, counts: Counts
) -> int:
    """The same on a disk that is to fail, in whatever way. Returns how many calls there were before the new start."""
    history = History()
    with errors_as_violations(where), contextlib.suppress(StorageFault, OSError):
        Run(disk, seed, sync, history).steps(steps)
    calls = len(disk.calls)
    disk.heal()
    disk.unlock()
    _explore_left(disk, history, where, effort, counts)
    with errors_as_violations(where + ", then started again"):
        Run(disk, where, sync, history).steps(8).die()
    _explore_left(disk, history, where + ", then started again", effort, counts)
    return calls


def _explore_left(disk: SimulatedDisk, history: History, where: str, effort: Effort, counts: Counts) -> None:
    counts.moments += 1
    number = 0
    for number, left in enumerate(states_of(Moment(disk.changes, None, disk), effort, where)):
        counts.states += 1
        counts.distinct += 1
        past = history.fork(disk.changes)
        check_state(left, past, f"{where}, state {number}", effort.second, counts, settled=number > 0)
    counts.complete += number < effort.states


def explore(run: Run, effort: Effort) -> Counts:
    """Check the states of every moment of a run."""
    counts = Counts()
    seen: set[int] = set()
    for moment in run.disk.moments():
        explore_moment(moment, run, effort, counts, seen)
    return counts


def changing_request(run: Run) -> None:
    """Requests, until one has changed something."""
    while not run.store.has_changes():
        run.request()
