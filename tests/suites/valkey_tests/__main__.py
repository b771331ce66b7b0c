"""Run Valkey's own tests, as they are in its source, against kvstore.

    scripts/valkey_suite                             # all of these units: some forty minutes
    scripts/valkey_suite unit/type/list unit/expire  # two of them
    scripts/valkey_suite --report                    # the same, and makes report/valkey-suite.md anew
    scripts/valkey_suite --report --valkey           # what to compare with, for a newer Valkey
    scripts/valkey_suite --source DIRECTORY          # an unpacked source that is there already

The source is Debian's, fetched by apt once, into .venv/valkey-source; tclsh runs the tests (on Debian: apt-get install
tcl redis-tools). They start the servers that they want themselves: what they take for valkey-server is kvstore, which
is told what their configuration says, as far as it can be. A unit in which something fails that should not is run once
more, and the better of the two counts. What passes against Valkey, as the report has it, and fails here is listed,
unless tests/suites/valkey_tests/reasons.py says why it cannot pass. Exit status: 0 if nothing is, 1 if something is.
"""

from __future__ import annotations

from pathlib import Path

from tests.suites import program
from tests.suites.comparison import Comparison, add_options, say, side_of
from tests.suites.outcomes import Results
from tests.suites.valkey_tests.reasons import reason_of
from tests.suites.valkey_tests.report import markdown
from tests.suites.valkey_tests.run import run
from tests.suites.valkey_tests.source import fetched

SUITE = Comparison("valkey-suite", markdown, reason_of)

#: The units of the families that are there. Left out: clusters, replicas, RDB and AOF, modules, TLS, bitmaps,
#: places and HyperLogLogs.
UNITS = tuple(
    f"unit/{name}"
    for name in (
        "type/string", "type/incr", "type/list", "type/list-2", "type/list-3", "type/set", "type/zset", "type/hash",
        "hashexpire", "type/stream", "type/stream-cgroups", "expire", "keyspace", "scan", "sort", "multi",
        "scripting", "functions", "pubsub", "pubsubshard", "tracking", "introspection", "introspection-2", "pause",
        "protocol", "querybuf", "quit", "info", "info-command", "slowlog", "commandlog", "latency-monitor",
        "networking", "maxmemory", "acl", "acl-v2", "obuf-limits", "limits", "other", "lazyfree", "memefficiency",
        "replybufsize", "fuzzer",
    )
)  # fmt: skip


def run_units(side: str, source: Path, units: list[str]) -> Results:
    """Run those units against KVSTORE or VALKEY, and print a line for each."""
    results: Results = {}
    for unit in units:
        outcomes = run(side, source, unit)
        if not all(reason_of(unit, test, reason) for test, reason in outcomes.failed.items()):
            again = run(side, source, unit)
            outcomes = max(outcomes, again, key=lambda each: each.passed)
        results[unit] = outcomes
        say(side, unit, outcomes)
    return results


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("valkey_suite", __doc__, seeded=False)
    parser.add_argument("units", nargs="*", metavar="UNIT", help=f"such as {', '.join(UNITS[:2])} (default: all)")
    parser.add_argument("--source", type=Path, metavar="DIRECTORY", help="Valkey's source (default: fetched)")
    add_options(parser)
    arguments = parser.parse_args()
    source = (arguments.source or fetched()).resolve()
    units = arguments.units or list(UNITS)
    if unknown := [unit for unit in units if not (source / "tests" / f"{unit}.tcl").exists()]:
        parser.error(f"there are no units {', '.join(unknown)}")
    side = side_of(arguments)
    results = run_units(side, source, units)
    if arguments.report:
        SUITE.keep(side, results)
    return SUITE.conclude(side, results)


if __name__ == "__main__":
    program.run(main)
