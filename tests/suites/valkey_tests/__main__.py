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

from kvstore.testing.server_process import ROOT
from scripts.measuring.servers import KVSTORE, VALKEY
from tests.suites import program
from tests.suites.outcomes import Results, keep, load, only_here
from tests.suites.valkey_tests.reasons import reason_of
from tests.suites.valkey_tests.report import markdown
from tests.suites.valkey_tests.run import run
from tests.suites.valkey_tests.source import fetched

#: What is kept of the last run, and what people read of it.
KEPT, REPORT = Path(ROOT, "report", "valkey-suite.json"), Path(ROOT, "report", "valkey-suite.md")

#: The units of the families that are there. Left out: clusters, replicas, RDB and AOF, modules, TLS, users, eviction,
#: bitmaps, places and HyperLogLogs.
UNITS = tuple(
    f"unit/{name}"
    for name in (
        "type/string", "type/incr", "type/list", "type/list-2", "type/list-3", "type/set", "type/zset", "type/hash",
        "hashexpire", "type/stream", "type/stream-cgroups", "expire", "keyspace", "scan", "sort", "multi",
        "scripting", "functions", "pubsub", "pubsubshard", "tracking", "introspection", "introspection-2", "pause",
        "protocol", "querybuf", "quit", "info", "info-command", "slowlog", "commandlog", "latency-monitor",
        "networking", "obuf-limits", "limits", "other", "lazyfree", "memefficiency", "replybufsize", "fuzzer",
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
        counts = f"{outcomes.passed} passed, {len(outcomes.failed)} failed, {outcomes.skipped} skipped"
        print(f"{side} {unit}: {counts}", flush=True)
    return results


def _keep(side: str, results: Results) -> None:
    """Put the results among those that are kept, and make the report anew."""
    kept = load(KEPT)
    keep(KEPT, kept | {side: kept.get(side, {}) | results})
    kept = load(KEPT)
    REPORT.write_text(markdown(kept.get(KVSTORE, {}), kept.get(VALKEY, {})), encoding="utf-8")


def main() -> int:
    """The program. Returns the exit status."""
    parser = program.parser_of("valkey_suite", __doc__, seeded=False)
    parser.add_argument("units", nargs="*", metavar="UNIT", help=f"such as {', '.join(UNITS[:2])} (default: all)")
    parser.add_argument("--source", type=Path, metavar="DIRECTORY", help="Valkey's source (default: fetched)")
    parser.add_argument("--valkey", action="store_true", help="run them against Valkey, not against kvstore")
    parser.add_argument("--report", action="store_true", help="keep the results, and make the report anew")
    arguments = parser.parse_args()
    source = (arguments.source or fetched()).resolve()
    units = arguments.units or list(UNITS)
    if unknown := [unit for unit in units if not (source / "tests" / f"{unit}.tcl").exists()]:
        parser.error(f"there are no units {', '.join(unknown)}")
    side = VALKEY if arguments.valkey else KVSTORE
    results = run_units(side, source, units)
    if arguments.report:
        _keep(side, results)
    worse = [] if arguments.valkey else list(only_here(results, load(KEPT).get(VALKEY, {})))
    worse = [each for each in worse if not reason_of(*each)]
    for unit, test, reason in worse:
        print(f"fails here, not against Valkey: {unit}::{test}: {reason}")
    return 1 if worse else 0


if __name__ == "__main__":
    program.run(main)
