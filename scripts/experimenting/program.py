"""The command line of scripts/experiment: which parts to measure, and where the results go."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.experimenting import part_compaction, part_distance, part_server, part_testperf
from scripts.experimenting.network import NoNetwork
from scripts.experimenting.readings import NotRead
from scripts.experimenting.rows import MalformedData
from scripts.experimenting.runs import RunFailed
from scripts.experimenting.setup import FULL, QUICK, Setup
from scripts.experimenting.stages import NoWindow
from scripts.measuring.compaction import NoCompaction
from scripts.measuring.load import WrongReply
from scripts.measuring.servers import DidNotStart

PARTS: dict[str, Callable[[Setup], None]] = {
    "testperf": part_testperf.run,
    "server": part_server.run,
    "compaction": part_compaction.run,
    "two-hosts": part_distance.run,
}
REPORT = "report"

#: Measured when nothing is named: those that need no root.
USUAL = ("testperf", "server", "compaction")

#: What can go wrong without a bug in the program: it is said, and the next part is measured.
_EXPECTED = (
    RunFailed,
    NotRead,
    NoWindow,
    NoNetwork,
    NoCompaction,
    WrongReply,
    DidNotStart,
    OSError,
    subprocess.SubprocessError,
)


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """The command line; `parts` are those to measure, `report` says whether to write the report."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="PART", nargs="*", help=f"of {', '.join([*PARTS, REPORT])}")
    parser.add_argument("--two-hosts", action="store_true", help="the same as the part of that name; be root")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: to see that it works")
    parser.add_argument(
        "--check", action="store_true", help="write no report, but say whether it follows from the data"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where data and plots go (default: report)")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()),
        help="where the servers' data go while it runs; must be on the disk to be measured (default %(default)s)",
    )  # fmt: skip
    arguments = parser.parse_args(words)
    names = [*arguments.names, *["two-hosts"] * arguments.two_hosts]
    if unknown := [name for name in names if name not in PARTS and name != REPORT]:
        parser.error(f"{unknown[0]!r} is none of the parts: {', '.join([*PARTS, REPORT])}")
    if arguments.check and names not in ([], [REPORT]):
        parser.error("--check measures nothing: give no part with it")
    if not arguments.directory.is_dir():
        parser.error(f"--directory {arguments.directory}: there is no such directory")
    if arguments.quick and arguments.out is None:
        parser.error("--quick makes figures that are worth nothing: say with --out where they go")
    arguments.parts = [] if arguments.check else [n for n in dict.fromkeys(names or USUAL) if n != REPORT]
    return arguments


def measure(part: str, setup: Setup) -> bool:
    """Measure one part; returns whether it could be measured."""
    began = time.time()
    print(f"== {part}", flush=True)
    try:
        about = setup.about()
        PARTS[part](setup)
        setup.note(part, about, began)
    except _EXPECTED as error:
        print(f"experiment: {part} could not be measured: {error}", file=sys.stderr)
        return False
    print(f"{part} took {time.time() - began:.0f} s", flush=True)
    return True


def main(description: str) -> int:
    """The program. Returns the exit status."""
    arguments = parse_arguments(description)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and directories go, as at Ctrl-C
    out = arguments.out or Path(ROOT, "report")
    setup = Setup(out, arguments.directory, arguments.quick, QUICK if arguments.quick else FULL)
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = [measure(part, setup) for part in arguments.parts]
        from scripts.experimenting.report import check_report, write_report  # matplotlib: not before it is needed

        reported = check_report(Path(ROOT), out) if arguments.check else write_report(Path(ROOT), out)
    except MalformedData as error:
        print(f"experiment: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if all(done) and reported else 1
