"""kvstore with so many idle connections: memory of each, and what 16 busy clients beside them notice.

The server has a processor to itself, the clients have the others. What an idle connection is, and how the busy ones
ask, is `scripts.measuring.idle`'s.
"""

from __future__ import annotations

from scripts.benching.case import Measures
from scripts.growing.apart import apart
from scripts.measuring.bench import NEVER_COMPACT, Bench, allow_files
from scripts.measuring.idle import CLIENTS, Side, Turn
from scripts.measuring.results import median

#: Files of a process beside its connections.
_OTHER_FILES = 512


def measure(bench: Bench, connections: int) -> Measures:
    """All of it. Raises what servers and generators raise; ValueError if so many connections are not allowed."""
    allow_files(connections + CLIENTS + _OTHER_FILES)
    limit = str(connections + CLIENTS + _OTHER_FILES // 2)
    side = Side(bench.kvstore("idle", *NEVER_COMPACT, "--max-clients", limit))
    without, beside = [], []
    with apart(side.server):
        side.take_turn(bench.effort.seconds / 3)
        for number in range(bench.effort.rounds):
            bench.progress.show(number / bench.effort.rounds)
            without.append(side.take_turn(bench.effort.seconds))
            beside.append(side.take_turn_beside_idle(bench.effort.seconds, connections))
    side.loop.close()
    side.server.kill()
    measures = {"connections": float(connections), "bytes_each": side.bytes_each}
    for name, turns in (("without", without), ("beside", beside)):
        measures |= {f"{name}.{field}": median(getattr(turn, field) for turn in turns) for field in _FIELDS}
    return measures


_FIELDS = [field for field in Turn._fields if not field.endswith("_share")]
