"""Run real programs of Redis's clients and frameworks against the server, killed with kill -9 in their middle.

    scripts/clients                     all of them; writes docs/CLIENTS.md
    scripts/clients celery rq           some
    scripts/clients --server Valkey rq  whether a failure is the program's own

Each program's client is installed, from PyPI or npm, into a directory of its own under --cache, and kept there. Each
runs on a server and a data directory of its own, on loopback. A new one is a file in tests/suites/clients/programs:
its first paragraph says NAME: what it does; a line "Packages: ..." what to install, with versions; it imports `common`
for what all share, asks for a kill by crash(), and ends with works(what it found). See that it works with Valkey first.

Exit status: 0 if all work, 1 if not.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites import program as suite
from tests.suites.clients.document import compose
from tests.suites.clients.installed import default_cache
from tests.suites.clients.program import Program, all_programs
from tests.suites.clients.run import Outcome, log_of, run


def main() -> int:
    """Run them. Returns the exit status."""
    programs = {each.name: each for each in all_programs()}
    parser = suite.parser_of("clients", __doc__, seeded=False)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(programs)} (default: all)")
    parser.add_argument("--server", choices=[KVSTORE, VALKEY], default=KVSTORE, help="(default %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR", help="of what is installed (default %(default)s)"
    )
    parser.add_argument("--jobs", type=suite.positive, default=2, metavar="N", help="at once (default %(default)s)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.programs if name not in programs]:
        parser.error(f"there is no program {unknown[0]}")
    chosen = [programs[name] for name in arguments.programs or programs]

    def outcome_of(program: Program) -> Outcome:
        outcome = run(program, arguments.server, arguments.cache)
        verdict = "works" if outcome.works else f"FAILS, its log is {log_of(program, arguments.cache)}"
        print(
            f"{program.name} ({outcome.seconds:.0f} s, {outcome.crashes} kills) {verdict}: {outcome.text}", flush=True
        )
        return outcome

    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(zip(chosen, pool.map(outcome_of, chosen), strict=True))
    if not arguments.programs and arguments.server == KVSTORE:
        Path(ROOT, "docs", "CLIENTS.md").write_text(compose(results))
    return 0 if all(outcome.works for _, outcome in results) else 1


if __name__ == "__main__":
    suite.run(main)
