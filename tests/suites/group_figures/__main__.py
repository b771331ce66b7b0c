"""Measure what a group of servers costs, and how long its pauses are: scripts/group_figures --report

Three servers over three nodes of etcd, all on this machine, beside one server by itself with `--sync always`, in turns.
The parts, for --only:

    sets       SET of 100 bytes at 1, 16, 50, 200 connections, group and local; who uses the processors
    gets       GET at 50 connections, of a leader that trusts its lease, and with --reads quorum
    half-load  p50 and p99 of SET at half of what each does at most, in an open loop over 50 connections
    lag        how far followers are behind, with 200 writes a second
    pauses     for how long nobody can write: kill -9 of the leader, of etcd's leader, SIGTERM, a handover
    join       a server with nothing joins, with 1,000,000 keys
    estimate   three machines, by a formula of what `sets` found in this run or in the report

Prints each table as it is measured, and at the end what is asked and what was measured. With --report the tables go to
report/group.md and all numbers to report/group.json, where parts that were not measured stay as they are. With the
defaults it takes under 12 minutes on a machine where nothing else runs. Exit status: 0 if all was measured, whatever
was found, else 1.

Needs etcd and redis-benchmark (Debian: etcd-server, redis-tools), and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.results import describe_machine, sync_microseconds
from tests.kit import etcd
from tests.suites import program
from tests.suites.group_figures import estimate, figures, joins, lag, latency, pauses, rates
from tests.suites.group_figures.figures import Part
from tests.suites.program import positive

REPORT = Path(ROOT, "report")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = program.parser_of("group_figures", __doc__, seeded=False)
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="(default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of a turn (default %(default)g)")
    parser.add_argument("--times", type=positive, default=7, metavar="N", help="of each pause (default %(default)s)")
    parser.add_argument(
        "--keys", type=positive, default=1_000_000, metavar="N", help="of the join (default %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help="(default: all)")
    parser.add_argument("--report", nargs="?", type=Path, const=REPORT, metavar="DIR", help="(without DIR: report)")
    return parser.parse_args(words)


def _estimate(arguments: argparse.Namespace, found: Mapping[str, Part]) -> Part:
    if "sets" not in found:
        raise ValueError("the estimate needs `sets`: measure them, too")
    sync_ms = sync_microseconds(Path(tempfile.gettempdir())) / 1e3
    return estimate.part_of(found["sets"].raw["turns"], sync_ms, os.cpu_count() or 1)


_Measure = Callable[[argparse.Namespace, Callable[[str], None], Mapping[str, Part]], Part]

#: By name, in the order of the report.
PARTS: dict[str, _Measure] = {
    "sets": lambda arguments, say, found: rates.measure_sets(arguments.rounds, arguments.seconds, say),
    "gets": lambda arguments, say, found: rates.measure_gets(arguments.rounds, arguments.seconds, say),
    "half-load": lambda arguments, say, found: latency.measure(arguments.rounds, arguments.seconds, say),
    "lag": lambda arguments, say, found: lag.measure(arguments.rounds, arguments.seconds, say),
    "pauses": lambda arguments, say, found: pauses.measure(arguments.times, say),
    "join": lambda arguments, say, found: joins.measure(arguments.keys, say),
    "estimate": lambda arguments, say, found: _estimate(arguments, found),
}


def main() -> int:
    """Measure; a part that fails is named, and the next one is measured. Returns the exit status."""
    arguments = parse_arguments()
    missing = [name for name in (etcd.PROGRAM, "redis-benchmark") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} must be installed (Debian: etcd-server, redis-tools)")
    kept = figures.read(arguments.report) if arguments.report else {}
    about = {"command": shlex.join(["scripts/group_figures", *sys.argv[1:]])}
    about |= describe_machine(Path(tempfile.gettempdir()))
    measured: dict[str, Part] = {}
    failed = []
    for name in [each for each in PARTS if each in arguments.only]:
        try:
            measured[name] = _measured(name, arguments, kept | measured, about)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        _show(measured[name])
        if arguments.report:
            found = kept | measured
            figures.write(arguments.report, {each: found[each] for each in PARTS if each in found})
    print(figures.asked_table(measured.values()).as_text())
    for name in failed:
        print(f"NOT MEASURED: {name}")
    return 1 if failed else 0


def _show(part: Part) -> None:
    for table in part.tables:
        print(table.as_text(), flush=True)
    for paragraph in part.said:
        print(f"\n{paragraph}", flush=True)


def _measured(name: str, arguments: argparse.Namespace, found: Mapping[str, Part], about: Mapping[str, str]) -> Part:
    began = time.monotonic()
    part = PARTS[name](arguments, partial(_say, name), found)
    took = f"{time.monotonic() - began:.0f} s"
    part.about = {**about, "measured": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "took": took}
    return part


def _say(name: str, what: str) -> None:
    print(f"{name}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    program.run(main)
