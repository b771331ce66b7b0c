"""Real faults at random moments, over and over, on the real server under load.

    scripts/faults --rounds 50

Each round records one history of six concurrent clients (see `run`) in which the server is ended by SIGKILL or SIGTERM
and started again, each time with another --overlap; it compacts every 100 entries. While the clients work it is
stopped and continued (SIGSTOP, SIGCONT), its compaction process is killed, and, where this runs as root, its disk, a
small tmpfs, is filled and emptied: writes that are refused then (-MISCONF, or a JSON failure that says the same) must
have changed nothing. The history must be linearizable: nothing acknowledged is lost, nothing refused is done, nothing
taken back.

Prints counts. Exit status: 0 if there was no violation, else 1. Not root: everything but the full disk.

Needs Linux.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from kvstore.client.progress import Progress
from scripts.measuring.processes import children
from tests.suites import program
from tests.suites.histories.checker import NotLinearizable
from tests.suites.histories.run import ConcurrentRun
from tests.suites.program import positive

_ENDINGS = (signal.SIGKILL, signal.SIGTERM)


class Troubles:
    """A thread that harms the server of a run until `stop`. `disk`: the tmpfs that holds the data, or None."""

    def __init__(self, run: ConcurrentRun, disk: Path | None, chance: random.Random, counts: Counter[str]) -> None:
        self._run = run
        self._disk = disk
        self._chance = chance
        self._counts = counts
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._trouble, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more of it; the disk is empty again."""
        self._ending.set()
        self._thread.join()

    def _trouble(self) -> None:
        kinds = [self._pause, self._kill_child] + ([self._fill] if self._disk else [])
        while not self._ending.wait(self._chance.uniform(0, 0.05)):
            with contextlib.suppress(OSError):  # the server, or its child, is gone
                self._chance.choice(kinds)()

    def _pause(self) -> None:
        pid = self._run.server.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self._chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGCONT)
        self._counts["pauses"] += 1

    def _kill_child(self) -> None:
        for child in children(self._run.server.pid):
            os.kill(child, signal.SIGKILL)
            self._counts["compaction processes killed"] += 1

    def _fill(self) -> None:
        assert self._disk is not None
        ballast = self._disk / "ballast"
        try:
            with ballast.open("wb") as file, contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self._disk).free)
            time.sleep(self._chance.uniform(0, 0.5))
        finally:
            ballast.unlink()
        self._counts["times the disk was full"] += 1


def mount(directory: Path) -> Path | None:
    """A small file system at `directory`, if we may."""
    if os.geteuid() != 0:
        return None
    words = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(directory)]
    return directory if subprocess.run(words, capture_output=True).returncode == 0 else None


def run_rounds(run: ConcurrentRun, disk: Path | None, rounds: int, chance: random.Random, counts: Counter[str]) -> None:
    """So many histories. Raises NotLinearizable."""
    progress = Progress("rounds")
    for number in range(rounds):
        progress.show(number / rounds)
        run.ending = chance.choice(_ENDINGS)
        counts[f"ended by {run.ending.name}"] += 1
        troubles = Troubles(run, disk, chance, counts)
        try:
            run.check_one()
        finally:
            troubles.stop()
    progress.clear()


def main() -> int:
    """Make trouble. Returns the exit status."""
    parser = program.parser_of("faults", __doc__)
    parser.add_argument("--rounds", type=positive, default=50, metavar="N", help="(default %(default)s)")
    arguments = parser.parse_args()
    seed = program.seed_of(arguments)
    print(f"scripts/faults --rounds {arguments.rounds} --seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="kvstore-faults-"))
    disk = mount(directory)
    if disk is None:
        print("no small file system can be mounted (it takes root): the full disk is left out")
    counts: Counter[str] = Counter()
    violation = None
    run = ConcurrentRun(directory / "data", seed, ("--compact-after", "100"), longest_s=1.0, padding_bytes=4000)
    try:
        run_rounds(run, disk, arguments.rounds, random.Random(seed), counts)
    except NotLinearizable as error:
        violation = error
    finally:
        run.stop()
        if disk is not None:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
        shutil.rmtree(directory)
    counts.update({"operations": run.counts.operations, "unknown outcomes": run.counts.unknown})
    counts.update({f"answered, --overlap {name}": count for name, count in run.counts.by_overlap.items()})
    counts.update({"writes refused on the full disk": run.counts.refused})
    program.print_counts(sorted(counts.items()), violation)
    return 1 if violation else 0


if __name__ == "__main__":
    program.run(main)
