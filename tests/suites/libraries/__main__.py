"""Run the own tests of libraries that speak Redis's protocol, as they are, against kvstore.

    scripts/library_suites                       # all of them: some twenty minutes
    scripts/library_suites ioredis txredisapi    # these
    scripts/library_suites --report              # the same, and makes report/library-suites.md anew
    scripts/library_suites --report --valkey     # what to compare with, for a newer version

The tests, and what they need, are fetched once, by pip, npm and apt, into .venv/library-suites (`libraries.py` beside
this file says whence). Each library has a new server, in a network of its own, at the port that its tests ask for.
Left out are clusters, sentinels, TLS, Redis's modules and what only other servers have. What fails is run once more,
if the library's runner can. What passes against Valkey, as the report has it, and fails here is listed, unless it is
on purpose. Exit status: 0 if nothing is, 1 if something is.

fakeredis-machines are state machines, which compare what a server answers to some thousands of requests with what
fakeredis does. fakeredis is not Valkey: what fails with both is its own.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE, VALKEY, start_server
from tests.suites import program
from tests.suites.libraries.libraries import LIBRARIES
from tests.suites.libraries.network import enter
from tests.suites.outcomes import Outcomes, Results, full_name, keep, load, only_here, outcomes_of
from tests.suites.redis_py.report import compared, is_later

#: What is kept of the last run, and what people read of it.
KEPT, REPORT = Path(ROOT, "report", "library-suites.json"), Path(ROOT, "report", "library-suites.md")

#: Why a test cannot pass here, and what is looked for in `TEST: REASON`; the first that is found counts.
ON_PURPOSE = [
    (why, re.compile(pattern))
    for why, pattern in (
        ("a script ends after 200 ms, so there is none to kill, and SCRIPT KILL answers NOTBUSY; the test after it"
         " is told of the script's error", r"TestScripting::test_script_(kill|load)"),
        ("HELP is made from the table of commands, in words of our own", r"::test_(function|pubsub)_help"),
        ("a stream has blocks of up to a hundred entries, whatever their bytes and whatever was deleted: `~` leaves up"
         " to as many more", r"test_stream_trimming::test_xtrim_approximate_(node_size|nodes_count|follows_the_node)"),
        ("the script debugger is not there", r"::client.scriptDebug"),
    )
]  # fmt: skip


def reason_of(test: str, reason: str) -> str:
    """Why a test cannot pass here; empty if it should."""
    return next((why for why, pattern in ON_PURPOSE if pattern.search(f"{test}: {reason}")), "")


def run_against(side: str, name: str) -> Outcomes:
    """Run the tests of one library against a new KVSTORE or VALKEY. Raises RuntimeError if they could not be run."""
    library = LIBRARIES[name]
    with tempfile.TemporaryDirectory(prefix="kvstore-library-suites-") as directory:
        options = ("--enable-debug-command", "yes")
        server = start_server(side, Path(directory, "data"), *options, sync="everysec", port=library.port)
        try:
            report = Path(directory, "report.xml")
            printed = library.run(report)
            if not report.exists() or not report.stat().st_size:
                raise RuntimeError(f"{name}: there is no report of its tests: {printed}")
            return outcomes_of(report.read_text(encoding="utf-8"), full_name)
        finally:
            server.kill()


def _keep(side: str, results: Results) -> None:
    """Put the results among those that are kept, and make the report anew."""
    kept = load(KEPT)
    keep(KEPT, kept | {side: kept.get(side, {}) | results})
    kept = load(KEPT)
    REPORT.write_text(markdown(kept.get(KVSTORE, {}), kept.get(VALKEY, {})), encoding="utf-8")


def markdown(ours: Results, theirs: Results) -> str:
    """The text of REPORT."""
    titles = ", ".join(dict.fromkeys(library.title for library in LIBRARIES.values()))
    return compared(f"The own tests of {titles}", "library_suites --report", ours, theirs, reason_of)


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("library_suites", __doc__, seeded=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LIBRARIES)} (default: all)")
    parser.add_argument("--valkey", action="store_true", help="run them against Valkey, not against kvstore")
    parser.add_argument("--report", action="store_true", help="keep the results, and make the report anew")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(LIBRARIES):
        parser.error(f"there are no tests of {', '.join(sorted(unknown))}")
    names = arguments.names or list(LIBRARIES)
    for name in names:
        LIBRARIES[name].install()
    enter(__package__)
    side, results = VALKEY if arguments.valkey else KVSTORE, Results()
    for name in names:
        outcomes = results[name] = run_against(side, name)
        counts = f"{outcomes.passed} passed, {len(outcomes.failed)} failed, {outcomes.skipped} skipped"
        print(f"{side} {name}: {counts}", flush=True)
        if arguments.report:
            _keep(side, results)
    worse = [] if arguments.valkey else list(only_here(results, load(KEPT).get(VALKEY, {})))
    worse = [each for each in worse if not is_later(*each[1:]) and not reason_of(*each[1:])]
    for name, test, reason in worse:
        print(f"fails here, not against Valkey: {name}::{test}: {reason}")
    return 1 if worse else 0


if __name__ == "__main__":
    program.run(main)
