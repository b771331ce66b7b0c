"""An hour of mixed load at a modest rate, with all that can go wrong, and whether anything grows or slows down.

    scripts/soak --minutes 60

Clients on all types of values, whose every reply is checked, in several databases: strings, documents, hashes, lists,
sets, sorted sets, streams with groups, scripts, functions, MULTI blocks, and four who wait for elements of queues; a
cache whose keys expire and are evicted; large values that come and go; subscribers; clients who cache and are told of
changes; who looks at the status page; and clients who stall, lie and vanish: half requests, slow readers, garbage,
scanners' probes, blocks that never end, crowds. Beside them a few calm clients, who measure how long they are served.

Four times the server is killed (kill -9) and started, and all that was acknowledged must be there; four times the disk
is full (the data are on a small file system, which takes root to mount; without that it never is); compactions come by
themselves, and are asked for.

Memory, open files, latencies and the sizes of the files are noted every few seconds; soak.json, soak.md (the rules of
the verdict, and what was found) and soak.png go into report/, or where --out says. Exit status: 0 if all rules hold, 1
if one does not. A short run is not judged by rules that take many samples.

Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kvstore.testing.server_process import ROOT
from scripts.measuring.results import describe_machine
from tests.suites import program
from tests.suites.program import positive
from tests.suites.soak import report
from tests.suites.soak.companions import Companion, Looker
from tests.suites.soak.judging import judge
from tests.suites.soak.run import Soak, new_password
from tests.suites.soak.sockets import Server
from tests.suites.soak.volume import mounted

#: On a machine where others are at work a script may be held up for longer than the server's default. Not for much
#: longer: those who check have some that never end, and nobody is served meanwhile.
_SCRIPT_MS = "1000"
#: What is looked at by HTTP.
_PATHS = ("/", "/events", "/interleaving", "/metrics", "/healthz", "/readyz")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = program.parser_of("soak", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M", help="(default %(default)g)")
    parser.add_argument(
        "--rate", type=positive, default=350, metavar="N",
        help="requests a second of those who check all, some 150 of others beside them (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="between samples (default %(default)g s)")
    parser.add_argument(
        "--volume-mib", type=positive, default=1024, metavar="N", help="of the file system (default %(default)s)"
    )
    parser.add_argument(
        "--max-memory", default="96mb", metavar="N", help="the server's: the cache grows into it (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path(ROOT, "report"), metavar="DIR", help="(default: report)")
    parser.add_argument(
        "--server-option", action="append", default=[], metavar="WORD", help="a word for the server; repeatable"
    )
    return parser.parse_args()


def main() -> int:
    """Run it. Returns the exit status."""
    arguments = parse_arguments()
    seed = program.seed_of(arguments)
    place = Path(tempfile.mkdtemp(prefix="kvstore-soak-"))
    about = {"command": shlex.join(["scripts/soak", *sys.argv[1:]]), "seed": str(seed)} | describe_machine(place)
    volume, missing = mounted(place, arguments.volume_mib)
    about["disk"] = f"ext4 of {arguments.volume_mib} MiB in a file" if volume else f"never full: {missing}"
    about["began"] = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    protected, password, looker = _protected(place, arguments.max_memory)
    options = [*protected, *arguments.server_option]
    about["server options"] = shlex.join(options) or "none"
    print("\n".join(f"{name}: {text}" for name, text in about.items()), flush=True)
    data = (volume.directory if volume else place) / "data"
    seconds = 60 * arguments.minutes
    try:
        soak = Soak(data, seconds, arguments.rate, seed, options, password, volume, [looker], arguments.every)
        soak.run()
        judgements = judge(soak, seconds)
        about["load at the end"] = f"{os.getloadavg()[0]:.2f} (1 minute)"
        report.write(soak, judgements, about, seconds, arguments.out)
    finally:
        if volume is not None:
            volume.unmount()
    program.print_counts(report.counts_of(soak), soak.violation)
    for each in judgements:
        print(f"{ {True: 'holds', False: 'BROKEN', None: 'not judged'}[each.holds]:<11}{each.rule}: {each.found}")
    print(f"verdict: {report.verdict_of(judgements)}")
    if not soak.violation:
        shutil.rmtree(place, ignore_errors=True)
    else:
        print(f"the data are in {place}")
    return 1 if any(each.holds is False for each in judgements) else 0


def _protected(place: Path, max_memory: str) -> tuple[list[str], str, Callable[[Server], Companion]]:
    """Options of a server that asks for a password, evicts from the cache, and shows itself by HTTP; the password; and
    who looks at the pages.
    """
    password, file, http_port = new_password(), place / "password", _free_port()
    file.touch(0o600)
    file.write_text(password + "\n", encoding="ascii")
    options = ["--password-file", str(file), "--http", f"tcp:{http_port}:interface=127.0.0.1"]
    options += ["--max-memory", max_memory, "--max-memory-policy", "volatile-lru", "--script-ms", _SCRIPT_MS]
    return options, password, partial(Looker, period_s=2.0, seed=0, port=http_port, paths=_PATHS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


if __name__ == "__main__":
    program.run(main)
