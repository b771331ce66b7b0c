"""The server's own curve: the same steps of clients, from a generator that costs a fraction of TestPerf.

Four variants take turns at each step: `--sync always`; `--sync no`; `--sync always` with one request in each commit
(`--group-limit 1`, inserts and removes only: reads do not commit); and `--sync always` with sixteen requests on the way
on each connection. A variant ends when all its sums have levelled out. redis-benchmark, a program in C, then asks
for the same at a few steps, to see whether the generator in Python has given the right picture.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from scripts.experimenting import cross_check
from scripts.experimenting.levelling import levelled_at, steps
from scripts.experimenting.places import Loopback
from scripts.experimenting.rows import ServerRow, write_rows
from scripts.experimenting.runs import Load, Run
from scripts.experimenting.setup import Setup, say

DEPTH = 16

VARIANTS = (
    Load("swarm", 0),
    Load("swarm", 0, sync="no"),
    Load("swarm", 0, group_limit=1, operations=("insert", "remove")),
    Load("swarm", 0, depth=DEPTH),
)


def run(setup: Setup) -> None:
    """Measure all variants, and write the rows as they come."""
    rows: list[ServerRow] = []
    going = list(VARIANTS)
    for count in steps(setup.effort.most_swarm):
        for variant in list(going):
            a_run = Run(setup.next_number(), variant._replace(clients=count), Loopback(), setup.effort.swarm_pace)
            found = a_run.measure(ServerRow, setup.directory)
            say(found)
            rows += found
            write_rows(setup.out, ServerRow, rows)
            if count >= setup.effort.least_swarm and _has_levelled(variant, rows):
                going.remove(variant)
        if not going:
            break
    if shutil.which(cross_check.PROGRAM):
        for count in setup.effort.cross_check:
            found = cross_check.measure(setup, count, rows)
            say(found)
            rows += found
            write_rows(setup.out, ServerRow, rows)
    else:
        print(f"{cross_check.PROGRAM} is not installed (Debian: redis-tools): no figures of it")


def _has_levelled(variant: Load, rows: Sequence[ServerRow]) -> bool:
    """Whether every operation of a variant has."""
    of_variant = [row for row in rows if (row.sync, row.group_limit, row.depth) == variant[2:5]]
    return all(
        levelled_at([(row.clients, row.per_second) for row in of_variant if row.operation == operation]) is not None
        for operation in variant.operations
    )
