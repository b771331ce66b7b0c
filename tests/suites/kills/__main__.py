"""Kill the server with kill -9 while clients write, start it again, and look whether it kept its promise; many times.

    scripts/kill_rounds --rounds 100 --clients 8

The clients send SET, GET, pipelines of each, INCR, MSET, MSETEX, DEL, MULTI blocks, inserts and removes of documents as
JSON lines, commands on lists, hashes, sets, sorted sets and streams with groups, and scripts that write a key of each
kind, raise after that or are late, in several databases, several at a time, and check every reply; one loads, removes,
restores and calls libraries of functions, too. After each start everything is compared with what was acknowledged: all
of it must be there, and no element twice; a request that was in flight at the kill must be there whole, in its turn, or
not at all; half a transaction, a change that nobody asked for, or a read that was taken back is a violation. Four more
clients share queues, push to them, wait for elements (BLPOP, BLMPOP, BZPOPMIN, BZMPOP, XREADGROUP BLOCK) and may vanish
meanwhile: no element comes out twice, and each that is missing was the first of its queue, and on its way to a client
that had asked for one and was not answered; what came out of a stream is pending with the client that was given it,
once, until it is done. All rounds work on one data directory. The server compacts nearly all the time (--compact-after
is drawn anew at each start), so that kills hit sealing, merging and the change to a new checkpoint; some kills hit a
start, some only the compaction process. In the end the server is stopped with SIGTERM, started, and compared once more.
Each start has another --overlap (always, auto, never in turn) unless --overlap says which.

With --evict the server has so little memory that keys are evicted, each start by another policy: of --evict volatile
those with a deadline, which three more clients write; of --evict allkeys any, so that there are no other clients. What
those are told is held against the log (and --keep-log's archive): a key that is gone was evicted, which the log says,
before its client's next write, never inside of a request; everything else that was acknowledged is there, and nothing
that was evicted comes back.

Prints counts. Exit status: 0 if there was no violation; 1 if there was one, which ends the run: the data directory
is kept then, and the command that repeats the run is printed (the same seed makes the same requests and plans the same
kills; what the server was doing at those moments is its own business).

Needs Linux.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from kvstore.client.progress import Progress
from kvstore.testing.server_process import StartFailed
from tests.suites import program
from tests.suites.kills.request import Violation
from tests.suites.kills.run import OVERLAPS, POLICIES, KillRun
from tests.suites.program import positive


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = program.parser_of("kill_rounds", __doc__)
    parser.add_argument("--rounds", type=positive, default=100, metavar="N", help="(default %(default)s)")
    parser.add_argument("--clients", type=positive, default=8, metavar="N", help="that write (default %(default)s)")
    parser.add_argument(
        "--sync", choices=["always", "everysec", "no"], default="always",
        help="the server's (default %(default)s); kill -9 must lose nothing under any of them",
    )  # fmt: skip
    parser.add_argument("--overlap", choices=OVERLAPS, help="the server's (default: all in turn)")
    parser.add_argument(
        "--longest", type=float, default=1.0, metavar="SECONDS", help="of load before a kill (default %(default)s)"
    )
    parser.add_argument("--evict", choices=POLICIES, help="give the server so little memory that such keys are evicted")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a new directory for the data (default: a temporary one)"
    )
    arguments = parser.parse_args()
    if arguments.data is not None and arguments.data.exists():
        parser.error(f"--data {arguments.data}: it exists; name one that does not")
    return arguments


def counted(run: KillRun, seconds: float) -> list[tuple[str, object]]:
    """What the rounds did, a row for each count."""
    counts = run.counts
    starts = sorted(counts.start_seconds)
    by_overlap = ", ".join(f"--overlap {name} {count}" for name, count in sorted(counts.by_overlap.items()))
    return [
        ("rounds, each ended by kill -9", counts.rounds),
        ("requests acknowledged", f"{counts.acknowledged} ({by_overlap})"),
        ("MULTI blocks acknowledged", counts.blocks_acknowledged),
        ("requests in flight at a kill", f"{counts.in_flight}, of which {counts.in_flight_done} were found done"),
        ("elements of queues that came out", counts.taken),
        ("elements on their way at a kill", f"{counts.missing}, and {counts.vanished} clients that vanished"),
        *([("keys evicted", f"{counts.evicted}, {counts.missed} seen to be gone")] if run.evictable else []),
        ("kills in the middle of a compaction", counts.killed_while_compacting),
        ("rounds that found a new checkpoint", counts.checkpoints),
        ("compaction processes killed alone", counts.children_killed),
        ("starts killed", counts.starts_killed),
        ("starts", f"{len(starts)}, {starts[len(starts) // 2]:.2f} s (median), {starts[-1]:.2f} s (longest)"),
        ("keys at the end", counts.keys),
        ("seconds", f"{seconds:.0f}"),
    ]


def main() -> int:
    """Run the rounds. Returns the exit status."""
    arguments = parse_arguments()
    seed = program.seed_of(arguments)
    again = f"scripts/kill_rounds --rounds {arguments.rounds} --clients {arguments.clients} --seed {seed}"
    again += f" --sync {arguments.sync} --longest {arguments.longest:g}"
    again += f" --overlap {arguments.overlap}" if arguments.overlap else ""
    again += f" --evict {arguments.evict}" if arguments.evict else ""
    print(again, flush=True)
    data = arguments.data or Path(tempfile.mkdtemp(prefix="kvstore-kill-"), "data")
    overlaps = (arguments.overlap,) if arguments.overlap else OVERLAPS
    began = time.monotonic()
    run = KillRun(
        data, arguments.clients, seed, ["--sync", arguments.sync], arguments.longest, overlaps, arguments.evict
    )
    progress = Progress("rounds")
    violation = None
    try:
        for number in range(arguments.rounds):
            progress.show(number / arguments.rounds)
            run.round()
        run.restart_in_order()
    except (Violation, StartFailed) as error:
        violation = f"in round {run.counts.rounds}: {error}\nthe data are in {data}; to run it again: {again}"
    finally:
        run.stop()
    progress.clear()
    program.print_counts(counted(run, time.monotonic() - began), violation)
    if arguments.data is None and violation is None:
        shutil.rmtree(data.parent)
    return 1 if violation else 0


if __name__ == "__main__":
    program.run(main)
