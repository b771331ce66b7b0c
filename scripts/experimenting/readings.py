"""Processors and commits, read several times a second while clients run; afterwards, those at the ends of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kvstore.client.raw import RawConnection, resp_request
from scripts.experimenting.processors import Snapshot
from scripts.experimenting.stages import Window


class NotRead(Exception):
    """There are no readings that could be used; the text says why."""


class Counters(NamedTuple):
    """What INFO says of commits since the server started. `microseconds`: spent in them."""

    commits: int
    requests: int
    microseconds: float


class Reading(NamedTuple):
    """Processors and commits at one time of the wall clock."""

    at: float
    processors: Snapshot
    counters: Counters


def read_counters(connection: RawConnection) -> Counters:
    """Ask the server how many commits it has made. Raises OSError, NotRead."""
    connection.send(resp_request("INFO", "group_commit"))
    reply = connection.resp()
    try:
        info = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
        commits = int(info["commits"])
        return Counters(commits, int(info["committed_requests"]), commits * float(info["microseconds_per_commit"]))
    except (AttributeError, KeyError, ValueError) as error:
        raise NotRead(f"INFO group_commit of the server is not understood: {reply!r}") from error


def between(readings: Sequence[Reading], window: Window) -> tuple[Reading, Reading]:
    """The first and the last reading in a window. Raises NotRead if there are not two."""
    inside = [reading for reading in readings if window.start <= reading.at <= window.end]
    if len(inside) < 2:
        raise NotRead(
            f"only {len(inside)} readings in a window of {window.end - window.start:.2f} s: measure for longer"
        )
    return inside[0], inside[-1]
