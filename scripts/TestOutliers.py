#!/usr/bin/env python3
"""Look for slow requests: python scripts/TestOutliers.py TARGET [options].

Inserts a document and removes it again, many times over, so that the server's log grows, is compacted, and grows again
while its table stays small; then prints the fastest and the slowest insert and remove, and when the slow ones came. A
compaction must not show in them.

How many compactions there were is read from the server's INFO. With its default policy a server compacts by size,
which takes many pairs: start it with `--compact-after 1000`, say, to see several in a short time, or let this run go
on until it has seen some with --compactions.

Exit status: 0, or 1 if an answer was wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import socket
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if (ROOT / "kvstore" / "__init__.py").exists():  # in a checkout: the kvstore beside us, not one that is installed
    sys.path.insert(0, str(ROOT))

try:
    from kvstore.client import Client, RequestRefused
    from kvstore.client.progress import Progress
    from kvstore.client.raw import RawConnection
    from kvstore.client.target import resolve
    from kvstore.client.timing import Timings
except ModuleNotFoundError as missing:
    sys.exit(
        f"TestOutliers: {missing.name} is missing; run this program in a checkout of kvstore, or with a Python"
        " that has it (pip install twisted-kvstore), or copy the directory kvstore along: its client"
        " needs nothing else"
    )

DEFAULT_COUNT = 5000
DEFAULT_VALUE_BYTES = 100

#: Pairs from one look at the server's INFO to the next.
INFO_PERIOD = 100

#: How many of the slowest requests are shown.
SLOWEST_SHOWN = 5


class Compactions:
    """Counts the server's compactions by its INFO, across restarts. `seen`: so far; None if the server does not say."""

    def __init__(self, target: str, catalog: str | None) -> None:
        self._target = target
        self._catalog = catalog
        self._before: int | None = None
        self.seen: int | None = None
        self.look()

    def look(self) -> None:
        """Ask the server. While it is away, or answers nonsense, nothing is counted."""
        try:
            with RawConnection(resolve(self._target, self._catalog)) as connection:
                connection.send(b"INFO persistence\r\n")
                text = connection.resp()
        except (OSError, ValueError):
            return
        found = re.search(rb"^compactions:(\d+)\r?$", text, re.MULTILINE) if isinstance(text, bytes) else None
        if found is None:
            return
        now = int(found[1])
        new = now if self._before is None or now < self._before else now - self._before
        self.seen = 0 if self.seen is None else self.seen + new
        self._before = now


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="TARGET", help="[tls:]HOST:PORT, unix:PATH, or a project's name")
    add = parser.add_argument
    add("--count", type=positive, default=DEFAULT_COUNT, metavar="PAIRS", help="(default %(default)s)")
    add("--compactions", type=positive, default=0, metavar="N",
        help="go on past --count until the server has compacted N times")  # fmt: skip
    add("--value-bytes", type=positive, default=DEFAULT_VALUE_BYTES, metavar="N",
        help="document size (default %(default)s)")  # fmt: skip
    add("--catalog", metavar="HOST:PORT", help="the catalog (default: $KVSTORE_CATALOG, or the public one)")
    arguments = parser.parse_args()
    try:
        arguments.client = Client(arguments.target, catalog=arguments.catalog)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def run_pairs(arguments: argparse.Namespace, compactions: Compactions) -> tuple[Timings, Timings]:
    """Insert and remove until there are enough pairs, and enough compactions. Raises KeyError for a wrong answer."""
    client: Client = arguments.client
    key = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    value = "x" * max(0, arguments.value_bytes - 2)
    inserts, removes = Timings("insert"), Timings("remove")
    progress = Progress("pairs")
    clock_ns = time.monotonic_ns
    while inserts.count < arguments.count or (compactions.seen or 0) < arguments.compactions:
        progress.show(inserts.count / arguments.count)
        began = clock_ns()
        client.insert(key, value)
        middle = clock_ns()
        client.remove(key)
        inserts.add(began, middle)
        removes.add(middle, clock_ns())
        if inserts.count % INFO_PERIOD == 0:
            compactions.look()
            if compactions.seen is None and arguments.compactions:
                break
    progress.clear()
    compactions.look()
    return inserts, removes


def print_results(inserts: Timings, removes: Timings, compactions: Compactions) -> None:
    """The table, the slowest ones, and the compactions."""
    print("         requests  fastest ms    p50 ms    p99 ms  p99.9 ms  slowest ms")
    for timings in (inserts, removes):
        fastest, p50, p99, p999, slowest = timings.quantiles_ms(0, 0.5, 0.99, 0.999, 1)
        print(f"{timings.name:6} {timings.count:10d} {fastest:11.3f} {p50:9.3f} {p99:9.3f} {p999:9.3f} {slowest:11.3f}")
    for timings in (inserts, removes):
        slow = ", ".join(f"{ms:.3f} ms (pair {number})" for ms, number in timings.slowest(SLOWEST_SHOWN))
        print(f"slowest {timings.name}s: {slow}")
    if compactions.seen is None:
        print("compactions: the server's INFO does not tell")
        return
    print(f"compactions: {compactions.seen}")
    if compactions.seen < 2:
        print("(to see several: a server with --compact-after 1000, or --compactions N here)")


def main() -> int:
    """Run the pairs and print what they took. Returns the exit status."""
    arguments = parse_arguments()
    with arguments.client as client:
        compactions = Compactions(arguments.target, arguments.catalog)
        try:
            inserts, removes = run_pairs(arguments, compactions)
        except (LookupError, ValueError, RequestRefused) as error:
            print(f"TestOutliers: wrong answer of {client.target}: {error!r}", file=sys.stderr)
            return 1
        print_results(inserts, removes, compactions)
        if client.retries:
            print(f"requests were repeated {client.retries} times, for the reasons given on stderr")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
