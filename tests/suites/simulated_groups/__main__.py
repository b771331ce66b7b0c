"""Many groups of whole servers in one process, each with everything that can go wrong; then the negative controls:
servers that do one thing wrong, until that is noticed.

A world hangs on its seed alone: --seed S --seeds 1 repeats that of seed S. Exit status: 0 if all holds that must.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import count
from typing import Any

from kvstore.client.progress import Progress
from tests.suites import program
from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.world import World, run
from tests.suites.simulated_groups.wrong import WRONG


def main() -> int:
    """Run them, print what was done; 1 if something does not hold, or is not noticed."""
    parser = program.parser_of("simulate_groups", __doc__)
    parser.add_argument("--seeds", type=program.positive, default=300, metavar="N", help="how many (default: 300)")
    parser.add_argument("--no-controls", action="store_true", help="leave the negative controls out")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/simulate_groups --seeds {arguments.seeds} --seed {seed}", flush=True)
    began = time.monotonic()
    counts, violation = run_worlds(range(seed, seed + arguments.seeds))
    program.print_counts([*counts.items(), ("seconds", f"{time.monotonic() - began:.0f}")], violation)
    if not violation and not arguments.no_controls:
        print_controls(seed)
    return 1 if violation else 0


def ways_of(seed: int) -> dict[str, Any]:
    """How the world of a seed is: in every other one the wall clocks jump, in every fourth those of leases stand still,
    and reads go through the quorum.
    """
    by_quorum = seed % 4 == 3
    return {"reads": "quorum" if by_quorum else "lease", "clocks_stand": by_quorum, "walls_jump": seed % 2 == 1}


def run_worlds(seeds: range) -> tuple[Counter[str], str | None]:
    """Run worlds. Returns what was done, and what does not hold."""
    counts: Counter[str] = Counter()
    progress = Progress("worlds")
    for seed in seeds:
        progress.show((seed - seeds.start) / len(seeds))
        try:
            counts += counted(run(seed, **ways_of(seed)))
        except Exception as violation:
            progress.clear()
            if not isinstance(violation, Violation):
                raise
            return counts, f"scripts/simulate_groups --seeds 1 --seed {seed}: {violation}"
    progress.clear()
    return counts, None


def counted(world: World) -> Counter[str]:
    """What was done in a world."""
    return Counter(
        worlds=1,
        entries=world.log.head,
        leaders=world.truth.entries[-1].epoch,
        trimmed=world.log.first - 1,
        kills=world.kills,
        operations=len(world.history),
        reads_at_followers=sum(reader.reads for reader in world.readers),
    )


def print_controls(seed: int) -> None:
    """Run worlds with each wrong way until it is noticed; one that never is goes on for ever."""
    print("negative controls, noticed with seed")
    for name, ways in WRONG.items():
        for number in count(seed):
            try:
                run(number, **{**ways_of(number), **ways})
            except Violation as violation:
                print(f"  {name}: {number}, {str(violation).splitlines()[0]}", flush=True)
                break


if __name__ == "__main__":
    program.run(main)
