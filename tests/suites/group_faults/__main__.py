"""Look whether clients of a group see one order of everything, whatever is killed, stopped, cut off, set or filled.

    scripts/group_faults --rounds-each 2

Three servers and three nodes of etcd, all on this machine, each server with proxies to etcd of its own. In each round
six clients send GET, SET, SET NX, GETSET, DEL and INCR to whoever leads, some of them loyal: they stay with their
server until it says that it follows. Something happens to servers and nodes, and is mended after some seconds. Then all
keys are read at the leader, and the history is checked for linearizability: nothing acknowledged is lost, nothing read
is stale. All servers have come to the same position then, and hold the same.

Prints counts, and for how long nobody could write. A history that is wrong is written to a file. Exit status: 0 if
there was no violation, else 1; with --control 0 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import random
import signal
import statistics
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from typing import Any

from kvstore.client.progress import Progress
from kvstore.testing.server_process import ROOT
from tests.suites import program
from tests.suites.group_faults import plan
from tests.suites.program import positive

#: How soon a group is told again that it is to end.
_END_AGAIN_S = 1.0


class Tally:
    """What all groups have told so far. `violation`: what was wrong; `failure`: what went wrong with a group."""

    def __init__(self) -> None:
        self.violation = ""
        self.failure = ""
        self._counts: Counter[str] = Counter()
        self._rounds: Counter[str] = Counter()
        self._pauses: dict[str, list[float]] = {}
        self._seconds: list[float] = []

    def hear(self, told: dict[str, Any]) -> None:
        """A line of a group's."""
        if "violation" in told:
            self.violation = self.violation or f"{told['violation']}\nthe history is in {told['history']}"
        elif "failure" in told:
            self.failure = self.failure or told["failure"]
        else:
            self._hear_round(**told["round"])

    def _hear_round(
        self, kind: str, operations: int, unknown: int, refused: int, pause_s: float, seconds: float
    ) -> None:
        self._counts += Counter({"operations": operations, "unknown outcomes": unknown, "refused": refused})
        self._rounds[kind] += 1
        self._pauses.setdefault(kind, []).append(pause_s)
        self._seconds.append(seconds)

    @property
    def done(self) -> int:
        """Rounds."""
        return len(self._seconds)

    def rows(self) -> list[tuple[str, object]]:
        """What to print."""
        rows: list[tuple[str, object]] = sorted(self._counts.items())
        rows += [("rounds", self.done), ("seconds a round", f"{statistics.mean(self._seconds or [0]):.1f}")]
        for kind, pauses in self._pauses.items():
            pause = f"no write for {statistics.median(pauses):.2f} s in the median, {max(pauses):.2f} s at most"
            rows.append((kind, f"{self._rounds[kind]} rounds, {pause}"))
        return rows


class Groups:
    """The processes, each with a group: see `one_group`. `told`: gets what each tells, and None when it has ended."""

    def __init__(self, arguments: argparse.Namespace, words: list[str], seed: int, held: ExitStack) -> None:
        self.told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        chance = random.Random(seed)
        self._processes: list[subprocess.Popen[str]] = []
        held.callback(self.end)
        for number in range(arguments.groups):
            share = f"{number}/{arguments.groups}"
            seeded = ["--share", share, "--seed", str(chance.randrange(2**32))]
            # A session of its own: Ctrl-C is for us. It is told to end when this process has, however that ends.
            command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tests.suites.group_faults.one_group"]
            process = subprocess.Popen(
                command + words + seeded, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            self._processes.append(process)
            threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.told.put(json.loads(line))
        self.told.put(None)

    def end(self) -> None:
        """Return when all have ended, with what they have started."""
        while running := [process for process in self._processes if process.poll() is None]:
            for process in running:
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(_END_AGAIN_S)


def words_of(arguments: argparse.Namespace) -> list[str]:
    """The options that every group is given."""
    words = ["--reads", arguments.reads, "--lease-ms", str(arguments.lease_ms), "--keep", arguments.keep]
    words += [word for name in arguments.fault or () for word in ("--fault", name)]
    words += ["--control"] if arguments.control else []
    each = arguments.rounds_each
    return words + (["--rounds-each", str(each)] if each else ["--rounds", str(arguments.rounds)])


def follow(groups: Groups, tally: Tally, count: int, running: int) -> None:
    """Until all have ended, or something is wrong: then the others' end is not waited for."""
    progress = Progress("rounds")
    while running and not tally.violation and not tally.failure:
        told = groups.told.get()
        if told is None:
            running -= 1
            continue
        tally.hear(told)
        if "round" in told:
            progress.clear()
            print(f"{tally.done}/{count} {told['round']['kind']} {told['round']['seconds']:.1f} s", flush=True)
            progress.show(tally.done / count)
    progress.clear()


def main() -> int:
    """Make trouble. Returns the exit status."""
    parser = program.parser_of("group_faults", __doc__)
    plan.add_options(parser)
    parser.add_argument(
        "--groups", type=positive, default=1, metavar="N", help="so many side by side (default %(default)s)"
    )
    arguments = parser.parse_args()
    arguments.share = (0, 1)
    seed = program.seed_of(arguments)
    words = words_of(arguments)
    again = ["scripts/group_faults", "--groups", str(arguments.groups), *words, "--seed", str(seed)]
    print(" ".join(again), flush=True)
    for name, why in plan.left_out().items():
        print(f"left out: {name}: {why}", flush=True)
    tally, is_cut_short = Tally(), False
    with ExitStack() as held:
        groups = Groups(arguments, words, seed, held)
        try:
            follow(groups, tally, len(plan.all_rounds(arguments)), arguments.groups)
        except KeyboardInterrupt:
            is_cut_short = True
    program.print_counts(tally.rows(), tally.violation)
    if tally.failure:
        print(f"FAILURE: {tally.failure}")
    if is_cut_short:
        return 130
    return int(bool(tally.failure) or bool(tally.violation) is not arguments.control)


if __name__ == "__main__":
    program.run(main)
