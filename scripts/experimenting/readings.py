"""Who was busy, and how writes were grouped: read several times a second while clients run, from /proc and from INFO.

A loopback connection has a hazard for the reader: the kernel's work to receive a packet is done
in, and charged to, the process that sends it. Linux only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kvstore.client.raw import RawConnection, resp_request
from scripts.experimenting.store import Row
from scripts.measuring.servers import running_ns

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns of /proc/stat, after the name


class NotRead(Exception):
    """There are no readings that could be used; the text says why."""


class Reading(NamedTuple):
    """Counters at one time of the monotonic clock. All but the last three are nanoseconds; the last are INFO's."""

    at: int
    server: int
    clients: int
    link: int
    idle: int
    stolen: int
    commits: int
    committed: int
    committing_us: float


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def _machine_ns() -> tuple[int, int]:
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(word) * _TICK_NS for word in stat.readline().split()[1:]]
    return ticks[_IDLE] + ticks[_IOWAIT], ticks[_STEAL]


def read(connection: RawConnection, server: int, clients: Sequence[int], link: Sequence[int]) -> Reading:
    """Read everything now. `connection`: to the server; the others are numbers of processes. Raises OSError."""
    connection.send(resp_request("INFO", "group_commit"))  # Valkey has no such section, and says nothing
    info = dict(line.split(":", 1) for line in connection.resp().decode().splitlines() if ":" in line)
    commits, committed = int(info.get("commits", 0)), int(info.get("committed_requests", 0))
    committing_us = commits * float(info.get("microseconds_per_commit", 0))
    used = (running_ns(server), sum(map(running_ns, clients)), sum(map(running_ns, link)))
    return Reading(time.monotonic_ns(), *used, *_machine_ns(), commits, committed, committing_us)


def between(readings: Sequence[Reading], start_ns: int, end_ns: int) -> Row:
    """The columns of a row that come from the readings in a stretch of time. Raises NotRead if there are not two."""
    inside = [reading for reading in readings if start_ns <= reading.at <= end_ns]
    if len(inside) < 2:
        raise NotRead(f"only {len(inside)} readings in {(end_ns - start_ns) / 1e9:.2f} s")
    at, *ns, commits, committed, committing_us = (b - a for a, b in zip(inside[0], inside[-1], strict=True))
    names = ("server_cpu", "clients_cpu", "link_cpu", "idle_cpu", "stolen_cpu")
    cpu: Row = {name: used / at for name, used in zip(names, ns, strict=True)}
    return cpu | {"commits": commits, "committed": committed, "commit_us": committing_us / commits if commits else 0.0}
