"""What the suites' programs have in common: their arguments, a seed that repeats a run, counts, an orderly end."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Callable, Iterable


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def parser_of(name: str, about: str | None, *, seeded: bool = True) -> argparse.ArgumentParser:
    """The parser of `scripts/NAME`; its help is the module's docstring. Unless told it has --seed, for `seed_of`."""
    parser = argparse.ArgumentParser(
        f"scripts/{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if seeded:
        parser.add_argument(
            "--seed", type=int, metavar="N", help="of all that is random here (default: drawn, and printed)"
        )
    return parser


def seed_of(arguments: argparse.Namespace) -> int:
    """The seed that was given, or one drawn now."""
    return drawn_seed() if arguments.seed is None else int(arguments.seed)


def drawn_seed() -> int:
    """A seed that nobody knows before."""
    return random.SystemRandom().randrange(2**32)


def print_counts(counts: Iterable[tuple[str, object]], violation: object = None) -> None:
    """A line for each count, and one for the violation, or that there was none."""
    rows = [*counts, ("violations", 1 if violation else 0)]
    width = max(len(what) for what, _ in rows) + 2
    for what, count in rows:
        print(f"{what + ':':{width}}{count}")
    if violation:
        print(f"VIOLATION: {violation}")


def run(main: Callable[[], int]) -> None:
    """Run `main` and end with its exit status; at Ctrl-C and SIGTERM what it started goes with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
