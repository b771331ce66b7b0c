"""Send hostile input to the real server, for as long as you like, while a witness looks on.

    scripts/fuzz_wire --seconds 60

What is sent, and what counts as a violation, is told in `run`: valid requests of all grammars with odd arguments,
mutated, cut at random; headers that lie; deep, huge and broken JSON; requests that are begun and never ended, on many
connections. The server must not crash, hang, report a bug, disconnect the witness or keep it waiting, or take memory
past a limit, and every byte of its answers must make sense.

Prints counts. Exit status: 0 if there was no violation, else 1; the seed makes the same input again.

Needs Linux.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.suites import program
from tests.suites.fuzz.run import FuzzRun, Violation


def main() -> int:
    """Send for so long. Returns the exit status."""
    parser = program.parser_of("fuzz_wire", __doc__)
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="(default %(default)s)")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/fuzz_wire --seconds {arguments.seconds:g} --seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="kvstore-fuzz-"))
    run = FuzzRun(directory / "data", seed)
    violation = None
    try:
        run.run(arguments.seconds)
    except Violation as error:
        violation = error
    finally:
        run.stop()
        shutil.rmtree(directory)
    extremes = [
        ("slowest round of the witness", f"{run.slowest_witness_s * 1e3:.0f} ms"),
        ("most memory more than at start", f"{run.most_growth_bytes / 1e6:.0f} MB"),
    ]
    program.print_counts([*sorted(run.counts.items()), *extremes], violation)
    return 1 if violation else 0


if __name__ == "__main__":
    program.run(main)
