"""What happens when, in parts of the whole: kills at the beginning and the end, one long life between them.

A leak can only be seen in a process that lives: so nobody is killed from a sixth of the time to five sixths. The disk
is full four times, two of them in that life; a compaction is asked for in between, besides those that come by
themselves.
"""

from __future__ import annotations

from typing import NamedTuple

KILL, FULL_DISK, COMPACTION = "kill", "full disk", "compaction"

#: By twelfths of the time.
_KILLS = (1, 2, 10, 11)
_FULL_DISKS = (0.5, 4, 8, 10.5)
_COMPACTIONS = (1.5, 3, 5, 6, 7, 9, 11.5)


class Event(NamedTuple):
    """`at`: a part of the time, from 0 to 1."""

    at: float
    what: str


def plan(*, full_disks: bool) -> list[Event]:
    """All events, in order. `full_disks`: whether the disk can be filled."""
    chosen = {KILL: _KILLS, FULL_DISK: _FULL_DISKS if full_disks else (), COMPACTION: _COMPACTIONS}
    return sorted(Event(twelfth / 12, what) for what, twelfths in chosen.items() for twelfth in twelfths)


def long_life() -> tuple[float, float]:
    """When the life begins and ends that memory is judged by: parts of the time."""
    return _KILLS[1] / 12, _KILLS[2] / 12
