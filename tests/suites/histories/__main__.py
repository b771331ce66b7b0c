"""Look whether clients that work at the same time see one order of everything, while the server is killed under them.

    scripts/linearizability --histories 100

For each history six clients send SET, GET, pipelines of each, SET NX, GETSET, DEL, INCR, compare-and-set (WATCH, MULTI,
EXEC), MULTI blocks over two keys, and insert, lookup and remove as JSON lines, and HSET, HSETNX, HGET, HDEL, HINCRBY of
fields of a hash in another database, all on the same few keys; in the middle the server is killed with kill -9 and
started again on its data. What each client asked, when, and what it was told is then checked for linearizability: there
must be one order of all requests, each between its call and its answer, that explains every answer; a request that was
not answered may be anywhere after its call, or nowhere.

With --workload queues the keys are lists, used as queues: pushed to and popped at both ends, waited for with BLPOP and
BLMOVE, moved from one to another, in MULTI blocks too, and some clients vanish while they wait. No element may come out
twice, and none be lost but one that was on its way to a client that died.

With --workload boards they are sorted sets: scores set, counted on and taken away, ranks asked for, the first and the
last popped and waited for, one set united with another, members moved in blocks. With groups, streams with a group: an
entry is given to one consumer, once; acknowledged; after a kill claimed from those who are gone. With locks, SET NX PX
and scripts that extend or release a lock, or do what it guards, if the token is right: what is done under it counts a
fence on, and shows that its holder was alone; a script that raises has done nothing.

With --workload cached the server has so little memory that keys are evicted, after each start by another policy. That
is in its log, and so an operation of the history, too: a key may be gone only because of it, and is gone for good.

Prints counts. Exit status: 0 if every history has such an order; 1 if one has none, which is then shown and kept with
the data directory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from kvstore.client.progress import Progress
from tests.suites import program
from tests.suites.histories.checker import NotLinearizable
from tests.suites.histories.run import ConcurrentRun
from tests.suites.histories.workloads import WORKLOADS
from tests.suites.kills.run import OVERLAPS
from tests.suites.program import positive

#: How much longer values are for a server with little memory.
_PADDING_BYTES = 60_000


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = program.parser_of("linearizability", __doc__)
    parser.add_argument("--histories", type=positive, default=100, metavar="N", help="(default %(default)s)")
    parser.add_argument("--clients", type=positive, default=6, metavar="N", help="(default %(default)s)")
    parser.add_argument("--compact-after", type=int, metavar="ENTRIES", help="the server's (default: its own policy)")
    parser.add_argument("--sync", choices=["always", "everysec", "no"], default="always", help="(default %(default)s)")
    parser.add_argument("--overlap", choices=OVERLAPS, help="the server's (default: all in turn)")
    parser.add_argument(
        "--longest", type=float, default=0.25, metavar="SECONDS", help="of load before a kill (default %(default)s)"
    )
    parser.add_argument("--workload", choices=WORKLOADS, default="keys", help="what is asked (default %(default)s)")
    return parser.parse_args()


def counted(run: ConcurrentRun, seconds: float) -> list[tuple[str, object]]:
    """What was recorded and checked, a row for each count."""
    counts = run.counts
    return [
        ("histories", f"{counts.histories}, with {counts.kills} kills"),
        ("operations", f"{counts.operations}, of which {counts.unknown} with an unknown outcome"),
        ("answered", ", ".join(f"{name} {count}" for name, count in sorted(counts.by_command.items()))),
        ("answered by --overlap", ", ".join(f"{name} {count}" for name, count in sorted(counts.by_overlap.items()))),
        ("executed together", f"{counts.together} requests, after the kills"),
        *([("keys evicted", counts.evicted)] if counts.evicted else []),
        ("groups of keys checked", counts.groups),
        ("seconds", f"{seconds:.0f}, of which {counts.check_seconds:.1f} to check"),
    ]


def main() -> int:
    """Record and check. Returns the exit status."""
    arguments = parse_arguments()
    seed = program.seed_of(arguments)
    options = ["--sync", arguments.sync]
    if arguments.compact_after is not None:
        options += ["--compact-after", str(arguments.compact_after)]
    overlaps = (arguments.overlap,) if arguments.overlap else OVERLAPS
    again = f"scripts/linearizability --histories {arguments.histories} --clients {arguments.clients} --seed {seed} "
    again += " ".join(options) + (f" --overlap {arguments.overlap}" if arguments.overlap else "")
    print(f"{again} --workload {arguments.workload} --longest {arguments.longest:g}", flush=True)
    evicts = arguments.workload == "cached"
    directory = Path(tempfile.mkdtemp(prefix="kvstore-concurrent-"))
    began = time.monotonic()
    run = ConcurrentRun(
        directory / "data", seed, options, longest_s=arguments.longest, overlaps=overlaps, clients=arguments.clients,
        workload=arguments.workload, padding_bytes=_PADDING_BYTES if evicts else 0, evicts=evicts,
    )  # fmt: skip
    progress = Progress("histories")
    violation = None
    try:
        for number in range(arguments.histories):
            progress.show(number / arguments.histories)
            run.check_one()
    except NotLinearizable as error:
        violation = f"in history {run.counts.histories + 1}: {error}\nthe data are in {directory}"
    finally:
        run.stop()
    progress.clear()
    program.print_counts(counted(run, time.monotonic() - began), violation)
    if violation is None:
        shutil.rmtree(directory)
    return 1 if violation else 0


if __name__ == "__main__":
    program.run(main)
