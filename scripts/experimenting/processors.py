"""Who used the processors: read from /proc before and after, for each process of interest and for the whole machine.

Of a process, the nanoseconds that its threads were running (proc(5), task/TID/schedstat; the tick counts in stat are
too coarse for a second). Of the machine, the ticks in /proc/stat. What the machine used and the known processes did
not is `other`: the kernel's own work, this program, strangers. Linux only.

A loopback connection has a hazard for the reader: the kernel's work to receive a packet is done in, and charged to,
the process that sends it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns of /proc/stat, after the name


def running_ns(pid: int) -> int:
    """Nanoseconds that the threads a process has now were running; 0 if it is gone."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text(encoding="ascii").split()[0])
    except OSError:
        pass
    return total


def machine_ticks() -> list[int]:
    """The columns of /proc/stat's first line."""
    with open("/proc/stat", encoding="ascii") as stat:
        return [int(word) for word in stat.readline().split()[1:]]


@dataclass(frozen=True)
class Snapshot:
    """Counters at one time. `running`: of groups of processes, by name; nanoseconds. `clock`: of perf_counter, s."""

    clock: float
    running: Mapping[str, int]
    ticks: Sequence[int]

    @classmethod
    def take(cls, groups: Mapping[str, Sequence[int]]) -> Snapshot:
        """Read them now. `groups`: name to numbers of processes."""
        running = {name: sum(map(running_ns, pids)) for name, pids in groups.items()}
        return cls(time.perf_counter(), running, machine_ticks())


@dataclass(frozen=True)
class Usage:
    """Processors used between two snapshots: 1.0 is one of them all the time. `of`: by group."""

    seconds: float
    of: Mapping[str, float]
    other: float
    disk_wait: float
    idle: float


def usage(before: Snapshot, after: Snapshot) -> Usage:
    """What was used between two snapshots of the same groups, the later at least a tick after the earlier."""
    seconds = after.clock - before.clock
    of = {name: (after.running[name] - before.running[name]) / 1e9 / seconds for name in after.running}
    ticks = [now - then for now, then in zip(after.ticks, before.ticks, strict=True)]
    cores = [count / _TICKS_PER_SECOND / seconds for count in ticks[: _STEAL + 1]]
    busy = sum(cores) - cores[_IDLE] - cores[_IOWAIT]
    return Usage(seconds, of, max(0.0, busy - sum(of.values())), cores[_IOWAIT], cores[_IDLE])
