"""Many groups of whole servers, each in one process and in simulated time, with everything that can go wrong; what
their clients were told is checked for linearizability. Then two negative controls: servers that do one thing wrong,
until that is noticed.

Three nodes, with clocks of their own that run at different rates, over a simulated shared log: messages to it are lost,
repeated and late, nodes paused, cut off, killed, without power, handed over. Group N of a run hangs on the seed and N
alone: --first N begins there. Exit status: 0 if all holds that must.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import count
from unittest import mock

from kvstore.client.progress import Progress
from kvstore.edge.group import node
from tests.suites import program
from tests.suites.groups.world import Violation, World, run
from tests.suites.histories.checker import REFUSED, UNKNOWN
from tests.suites.replicas.wrong import TrustsForLong


def main() -> int:
    """Run them, print what was done; 1 if something does not hold."""
    parser = program.parser_of("simulated_groups", __doc__)
    parser.add_argument("--groups", type=program.positive, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--no-controls", action="store_true", help="leave the negative controls out")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/simulated_groups --groups {arguments.groups} --seed {seed}", flush=True)
    began = time.monotonic()
    counts, violation = run_groups(seed, range(arguments.first, arguments.first + arguments.groups))
    program.print_counts([*counts.items(), ("seconds", f"{time.monotonic() - began:.0f}")], violation)
    if not violation and not arguments.no_controls:
        print_controls(seed)
    return 1 if violation else 0


def run_groups(seed: int, numbers: range) -> tuple[Counter[str], str | None]:
    """Run groups, one in four with `--reads quorum`. Returns what was done, and what does not hold."""
    counts: Counter[str] = Counter()
    progress = Progress("groups")
    for number in numbers:
        progress.show((number - numbers.start) / len(numbers))
        try:
            counts += counted(run(f"{seed}/{number}", reads="quorum" if number % 4 == 3 else "lease"))
        except Violation as violation:
            progress.clear()
            return counts, f"group {number}: {violation}"
    progress.clear()
    return counts, None


def counted(world: World) -> Counter[str]:
    """What was done in one."""
    unknown = sum(operation.result is UNKNOWN for operation in world.history)
    refused = sum(operation.result is REFUSED for operation in world.history)
    return Counter(
        groups=1,
        requests=len(world.history),
        answered=len(world.history) - unknown - refused,
        entries=world.log.head,
        leaders=world.nodes[0].node.epoch,
    )


def wrong_ways() -> Iterator[tuple[str, AbstractContextManager[object]]]:
    """Servers that do one thing wrong."""
    yield "a lease of 100 s", mock.patch.object(node, "Replica", TrustsForLong)
    yield "reads that ask for no lease", mock.patch.object(node.GroupNode, "_may_leave", lambda _: True)


def print_controls(seed: int) -> None:
    """Run groups that do one thing wrong until it is noticed; one that never is goes on for ever."""
    print("negative controls, noticed in group")
    for name, wrong in wrong_ways():
        with wrong:
            for number in count():
                try:
                    run(f"{seed}/{number}")
                except Violation:
                    print(f"  {name}: {number}", flush=True)
                    break


if __name__ == "__main__":
    program.run(main)
