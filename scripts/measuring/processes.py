"""What the kernel knows of a process, and of the machine (proc(5), Linux only); and where a process runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: CPUCLOCK_SCHED: in the number of a process's clock, as clock_getcpuclockid(3) makes it in Linux.
_SCHEDULED = 2
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns of /proc/stat, after the name
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (prctl(2)): what is broken off leaves nothing running."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_to(cpus: Iterable[int]) -> None:
    """Have this process, and what it starts, run on those processors only; on any if none are named."""
    if chosen := set(cpus):
        os.sched_setaffinity(0, chosen)


def _read(pid: int, name: str) -> str:
    """A file of a process; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in _read(pid, f"task/{pid}/children").split()]


def command_line(pid: int) -> str:
    """The words that a process was started with; empty if it is gone."""
    return _read(pid, "cmdline")


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process has now, its children's not counted; 0 if it is gone."""
    return int((_read(pid, "statm").split() or "00")[1]) * os.sysconf("SC_PAGE_SIZE")


def running_ns(pid: int) -> int:
    """Nanoseconds of a processor that a process has used, its threads' that have ended too; 0 if it is gone."""
    with contextlib.suppress(OSError):
        return time.clock_gettime_ns(~pid << 3 | _SCHEDULED)
    return 0


def machine_ns() -> tuple[int, int]:
    """Nanoseconds, summed over all processors, in which they were idle, and which a virtual machine wanted and its host
    gave to others.
    """
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(word) * _TICK_NS for word in stat.readline().split()[1:]]
    return ticks[_IDLE] + ticks[_IOWAIT], ticks[_STEAL]
