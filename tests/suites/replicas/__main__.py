"""Many worlds of replicas over a simulated shared log, each with three nodes and everything that can go wrong; then the
negative controls: nodes and logs that do one thing wrong, until that is noticed.

World N of a run hangs on the seed and N alone: --first N begins there. Exit status: 0 if all holds that must.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import count

from kvstore.client.progress import Progress
from tests.suites import program
from tests.suites.replicas.history import Violation
from tests.suites.replicas.world import World, run
from tests.suites.replicas.wrong import WRONG


def main() -> int:
    """Run them, print what was done; 1 if something does not hold, or is not noticed."""
    parser = program.parser_of("replicas", __doc__)
    parser.add_argument("--worlds", type=program.positive, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--no-controls", action="store_true", help="leave the negative controls out")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/replicas --worlds {arguments.worlds} --seed {seed}", flush=True)
    began = time.monotonic()
    counts, violation = run_worlds(seed, range(arguments.first, arguments.first + arguments.worlds))
    program.print_counts([*counts.items(), ("seconds", f"{time.monotonic() - began:.0f}")], violation)
    if not violation and not arguments.no_controls:
        print_controls(seed)
    return 1 if violation else 0


def run_worlds(seed: int, numbers: range) -> tuple[Counter[str], str | None]:
    """Run worlds; in every other one clocks stand still, and reads go through the quorum.

    Returns what was done, and what does not hold.
    """
    counts: Counter[str] = Counter()
    progress = Progress("worlds")
    for number in numbers:
        progress.show((number - numbers.start) / len(numbers))
        by_quorum = number % 2 == 1
        try:
            world = run(f"{seed}/{number}", quorum_reads=by_quorum, clocks_stand=by_quorum)
        except Violation as violation:
            progress.clear()
            return counts, f"world {number}: {violation}"
        counts += counted(world)
    progress.clear()
    return counts, None


def counted(world: World) -> Counter[str]:
    """What was done in a world."""
    history = world.history
    return Counter(
        worlds=1,
        entries=len(history.entries),
        leaders=history.entries[-1].epoch,
        acknowledged=history.told_of,
        reads=history.reads,
        trimmed=world.log.first - 1,
    )


def print_controls(seed: int) -> None:
    """Run worlds with each wrong way until it is noticed; one that never is goes on for ever."""
    print("negative controls, noticed in world")
    for name, ways in WRONG.items():
        for number in count():
            try:
                run(f"{seed}/{number}", **ways)
            except Violation as violation:
                print(f"  {name}: {number}, {violation}", flush=True)
                break


if __name__ == "__main__":
    program.run(main)
