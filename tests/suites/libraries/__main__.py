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

from scripts.measuring.servers import start_server
from tests.suites import program
from tests.suites.comparison import Comparison, add_options, say, side_of
from tests.suites.libraries.libraries import LIBRARIES
from tests.suites.libraries.network import enter
from tests.suites.outcomes import Outcomes, Results, full_name, outcomes_of
from tests.suites.redis_py.report import compared, is_later

#: Why a test cannot pass here, and what is looked for in `TEST: REASON`; the first that is found counts.
ON_PURPOSE = [
    (why, re.compile(pattern))
    for why, pattern in (
        ("a script ends after 200 ms, so there is none to kill, and SCRIPT KILL answers NOTBUSY; the test after it"
         " is told of the script's error", r"TestScripting::test_script_(kill|load)"),
        ("HELP is made from the table of commands, in words of our own", r"::test_(function|pubsub)_help"),
        ("a stream has blocks of up to a hundred entries, whatever their bytes and whatever was deleted: `~` leaves up"
         " to as many more", r"test_stream_trimming::test_xtrim_approximate_(node_size|nodes_count|follows_the_node)"),
        ("the verbs for documents are a category of their own", r"test_acl_cat"),
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


def markdown(ours: Results, theirs: Results) -> str:
    """The text of the report."""
    titles = ", ".join(dict.fromkeys(library.title for library in LIBRARIES.values()))
    return compared(f"The own tests of {titles}", "library_suites --report", ours, theirs, reason_of)


def _is_explained(library: str, test: str, reason: str) -> bool:
    return bool(is_later(test, reason) or reason_of(test, reason))


SUITE = Comparison("library-suites", markdown, _is_explained)


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("library_suites", __doc__, seeded=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LIBRARIES)} (default: all)")
    add_options(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(LIBRARIES):
        parser.error(f"there are no tests of {', '.join(sorted(unknown))}")
    names = arguments.names or list(LIBRARIES)
    for name in names:
        LIBRARIES[name].install()
    enter(__package__)
    side, results = side_of(arguments), Results()
    for name in names:
        outcomes = results[name] = run_against(side, name)
        say(side, name, outcomes)
        if arguments.report:
            SUITE.keep(side, results)
    return SUITE.conclude(side, results)


if __name__ == "__main__":
    program.run(main)
