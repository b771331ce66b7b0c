"""Who was busy, and how writes were grouped: read several times a second while clients run, from /proc and from INFO.

A loopback connection has a hazard for the reader: the kernel's work to receive a packet is done
in, and charged to, the process that sends it. Linux only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from kvstore.client.raw import RawConnection, resp_request
from scripts.experimenting.store import Row
from scripts.measuring.processes import machine_ns, running_ns
from scripts.measuring.servers import commits_of, parse_info


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


def read(connection: RawConnection, server: int, clients: Sequence[int], link: Sequence[int]) -> Reading:
    """Read everything now. `connection`: to the server; the others are numbers of processes. Raises OSError."""
    connection.send(resp_request("INFO", "group_commit"))  # Valkey has no such section, and says nothing
    committed = commits_of(parse_info(connection.resp()))
    used = (running_ns(server), sum(map(running_ns, clients)), sum(map(running_ns, link)))
    return Reading(time.monotonic_ns(), *used, *machine_ns(), *committed)


def between(readings: Sequence[Reading], start_ns: int, end_ns: int) -> Row:
    """The columns of a row that come from the readings in a stretch of time. Raises NotRead if there are not two."""
    inside = [reading for reading in readings if start_ns <= reading.at <= end_ns]
    if len(inside) < 2:
        raise NotRead(f"only {len(inside)} readings in {(end_ns - start_ns) / 1e9:.2f} s")
    at, *ns, commits, committed, committing_us = (b - a for a, b in zip(inside[0], inside[-1], strict=True))
    names = ("server_cpu", "clients_cpu", "link_cpu", "idle_cpu", "stolen_cpu")
    cpu: Row = {name: used / at for name, used in zip(names, ns, strict=True)}
    return cpu | {"commits": commits, "committed": committed, "commit_us": committing_us / commits if commits else 0.0}
