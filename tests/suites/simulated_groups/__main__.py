"""Many groups of whole servers, each in simulated time with everything that can go wrong; then the negative controls:
servers that do one thing wrong, until that is noticed.

A world hangs on its seed alone: --seed S --seeds 1 repeats that of seed S. Exit status: 0 if all holds that must.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from itertools import count

from kvstore.client.progress import Progress
from tests.suites import program
from tests.suites.replicas.history import Violation
from tests.suites.simulated_groups.blocks import Failed, prepare_process, run_blocks, ways_of
from tests.suites.simulated_groups.world import run
from tests.suites.simulated_groups.wrong import WRONG


def main() -> int:
    """Run them, print what was done; 1 if something does not hold, or is not noticed."""
    parser = program.parser_of("simulate_groups", __doc__)
    parser.add_argument("--seeds", type=program.positive, default=300, metavar="N", help="how many (default: 300)")
    parser.add_argument("--no-controls", action="store_true", help="leave the negative controls out")
    parser.add_argument(
        "--jobs", type=program.positive, default=len(os.sched_getaffinity(0)), metavar="N",
        help="how many processes (default: one for each processor)",
    )  # fmt: skip
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/simulate_groups --seeds {arguments.seeds} --seed {seed}", flush=True)
    prepare_process()
    violation = run_worlds(range(seed, seed + arguments.seeds), arguments.jobs)
    if not violation and not arguments.no_controls:
        print_controls(seed)
    return 1 if violation else 0


def run_worlds(seeds: range, jobs: int = 1) -> str | None:
    """Run worlds in so many processes, and print what was done, also at Ctrl-C: until then. Returns what does not hold,
    of that with the lowest seed.
    """
    counts: Counter[str] = Counter()
    failed: list[Failed] = []
    progress = Progress("worlds")
    began_s = time.monotonic()
    violation = None
    try:
        for done in run_blocks(seeds, jobs):
            counts += done.counts
            failed += [done.failed] if done.failed else []
            progress.show(counts["worlds"] / len(seeds))
    finally:
        progress.clear()
        if failed:
            first = min(failed)
            violation = f"scripts/simulate_groups --seeds 1 --seed {first.seed}: {first.text}"
        program.print_counts([*counts.items(), ("seconds", f"{time.monotonic() - began_s:.0f}")], violation)
    return violation


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
