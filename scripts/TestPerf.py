#!/usr/bin/env python3
"""Time a kvstore server from one client: python scripts/TestPerf.py TARGET [options].

Four stages, one request after the other: insert documents, look each up, query for them by a member that ten of them
share, remove them. For each stage: throughput, mean latency, p50, p99 and the slowest request. Every answer is
checked.

Any number of instances may run at once; each works on keys of its own. With --start-at they start together; with
--duration as well, they also change stages together; with --warm-up, each stage begins with requests that are not
timed. A server that is killed and comes back in the meantime makes some requests slow and the rest of the run is as
before.

Exit status: 0, or 1 if an answer was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if (ROOT / "kvstore" / "__init__.py").exists():  # in a checkout: the kvstore beside us, not one that is installed
    sys.path.insert(0, str(ROOT))

try:
    from kvstore.client import Client, RequestRefused
    from kvstore.client.progress import Progress
    from kvstore.client.timing import Timings
except ModuleNotFoundError as missing:
    sys.exit(
        f"TestPerf: {missing.name} is missing; run this program in a checkout of kvstore, or with a Python"
        " that has it (pip install twisted-kvstore), or copy the directory kvstore along: its client"
        " needs nothing else"
    )

DEFAULT_COUNT = 5000
DEFAULT_VALUE_BYTES = 100

#: Documents that share the member which the query stage asks for.
GROUP_SIZE = 10

#: With --duration and --start-at: seconds from the end of one stage to the start of the next.
STAGE_GAP_SECONDS = 1.0


class WrongAnswer(Exception):
    """The server answered, but not what was true."""


class Workload:
    """The documents of one instance, and the four things done with them, each to the i-th."""

    def __init__(self, client: Client, value_bytes: int) -> None:
        self.prefix = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = client
        self._padding = "x" * max(0, value_bytes - len(json.dumps(self._document(99999, ""), separators=(",", ":"))))
        self.inserted = 0
        self.removed = 0

    def _document(self, i: int, padding: str) -> dict[str, Any]:
        return {"group": f"{self.prefix}-{i // GROUP_SIZE}", "number": i, "text": padding}

    def key(self, i: int) -> str:
        """The key of the i-th document."""
        return f"{self.prefix}-{i}"

    def value(self, i: int) -> dict[str, Any]:
        """The i-th document."""
        return self._document(i, self._padding)

    def insert(self, i: int) -> None:
        """Insert a new document."""
        self._client.insert(self.key(i), self.value(i))
        self.inserted = i + 1

    def lookup(self, i: int) -> None:
        """Look up one of the documents; after the last comes the first again."""
        i %= self.inserted
        if (found := self._client.lookup(self.key(i))) != self.value(i):
            raise WrongAnswer(f"lookup of {self.key(i)!r} gave {found!r}")

    def query(self, i: int) -> None:
        """Query for one of the groups; after the last comes the first again."""
        first = i * GROUP_SIZE % self.inserted // GROUP_SIZE * GROUP_SIZE
        wanted = range(first, min(first + GROUP_SIZE, self.inserted))
        group = self.value(first)["group"]
        found = self._client.query("group", group)
        if sorted(found) != sorted([self.key(j), self.value(j)] for j in wanted):
            raise WrongAnswer(f"query for group {group!r} gave {found!r}")

    def remove(self, i: int) -> None:
        """Remove one of the documents, which must be there."""
        self._client.remove(self.key(i))
        self.removed = i + 1

    def remove_rest(self) -> None:
        """Remove what the stages have left."""
        for i in range(self.removed, self.inserted):
            self.remove(i)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def positive_seconds(text: str) -> float:
    """A time over 0, for argparse."""
    if not (seconds := float(text)) > 0:
        raise ValueError
    return seconds


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="TARGET", help="[tls:]HOST:PORT, unix:PATH, or a project's name")
    parser.add_argument("--count", type=positive, metavar="N", help=f"requests in each stage (default {DEFAULT_COUNT})")
    parser.add_argument(
        "--duration", type=positive_seconds, metavar="SECONDS", help="run each stage for so long instead"
    )
    parser.add_argument(
        "--value-bytes", type=positive, default=DEFAULT_VALUE_BYTES, metavar="N",
        help="size of a document as JSON (default %(default)s; it has some 60 bytes at least)",
    )  # fmt: skip
    parser.add_argument(
        "--start-at", type=float, metavar="EPOCH", help="start the first stage at this time (seconds since the epoch)"
    )
    parser.add_argument(
        "--warm-up", type=positive_seconds, default=0.0, metavar="SECONDS",
        help="with --duration: begin each stage with requests for so long that are not timed",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object, for a program")
    parser.add_argument(
        "--catalog", metavar="HOST:PORT", help="the catalog (default: $KVSTORE_CATALOG, or the public one)"
    )
    arguments = parser.parse_args()
    if arguments.count and arguments.duration:
        parser.error("give --count or --duration, not both")
    if arguments.warm_up and not arguments.duration:
        parser.error("--warm-up goes with --duration")
    if arguments.count is None and arguments.duration is None:
        arguments.count = DEFAULT_COUNT
    try:
        arguments.client = Client(arguments.target, catalog=arguments.catalog)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def wait_until(epoch_seconds: float, progress: Progress) -> None:
    """Wait for a time of the wall clock; a time that is over needs no waiting."""
    while (left := epoch_seconds - time.time()) > 0:
        progress.show(0)
        time.sleep(min(left, 0.1))
    progress.clear()


def indices(available: float, duration: float | None, progress: Progress) -> Iterator[int]:
    """0, 1, 2, ... for one stage: `available` of them, or fewer when `duration` (seconds) is over first."""
    began = time.monotonic()
    i = 0
    while i < available:
        elapsed = time.monotonic() - began
        if duration is not None and elapsed >= duration:
            break
        progress.show(elapsed / duration if duration is not None else i / available)
        yield i
        i += 1
    progress.clear()


def run_stage(
    name: str, operation: Callable[[int], None], steps: Iterator[int], warm_up_seconds: float = 0.0
) -> Timings:
    """Do one stage and time each of its requests, but for those that begin in the first `warm_up_seconds`.

    Should the stage end with those, they are timed after all.
    """
    timings = Timings(name)
    clock_ns = time.perf_counter_ns
    warm_until_ns = clock_ns() + int(warm_up_seconds * 1e9) if warm_up_seconds else None
    for i in steps:
        if warm_until_ns is not None and clock_ns() >= warm_until_ns:
            timings, warm_until_ns = Timings(name), None
        began = clock_ns()
        operation(i)
        timings.add(began, clock_ns())
    return timings


def run(arguments: argparse.Namespace, workload: Workload) -> Iterator[Timings]:
    """The four stages, each given as soon as it is over."""
    many = float("inf") if arguments.duration else arguments.count
    duration = arguments.duration and arguments.warm_up + arguments.duration
    for number, name in enumerate(("insert", "lookup", "query", "remove")):
        progress = Progress(f"{name:6}")
        if arguments.start_at is not None and (number == 0 or arguments.duration):
            wait_until(arguments.start_at + number * ((duration or 0) + STAGE_GAP_SECONDS), progress)
        available = workload.inserted if name == "remove" else many
        yield run_stage(name, getattr(workload, name), indices(available, duration, progress), arguments.warm_up)
    workload.remove_rest()


def print_stage(timings: Timings) -> None:
    """One line of the table."""
    p50, p99, slowest = timings.quantiles_ms(0.5, 0.99, 1)
    print(
        f"{timings.name:6} {timings.count:9d} {timings.seconds:8.2f} {timings.per_second():11.0f}"
        f" {timings.mean_ms():9.3f} {p50:9.3f} {p99:9.3f} {slowest:10.3f}",
        flush=True,
    )


def print_json(arguments: argparse.Namespace, workload: Workload, stages: list[Timings]) -> None:
    """Everything as one JSON object."""
    about = {
        "target": arguments.target,
        "prefix": workload.prefix,
        "value_bytes": len(json.dumps(workload.value(99999), separators=(",", ":"))),
        "retries": arguments.client.retries,
    }
    print(json.dumps(about | {"stages": [timings.as_json() for timings in stages]}))


def main() -> int:
    """Run the stages and print what they took. Returns the exit status."""
    arguments = parse_arguments()
    stages: list[Timings] = []
    with arguments.client as client:
        workload = Workload(client, arguments.value_bytes)
        if not arguments.json:
            print("stage   requests  seconds  requests/s   mean ms    p50 ms    p99 ms slowest ms", flush=True)
        try:
            for timings in run(arguments, workload):
                stages.append(timings)
                if not arguments.json:
                    print_stage(timings)
        except (WrongAnswer, LookupError, ValueError, RequestRefused) as error:
            print(f"TestPerf: wrong answer of {client.target}: {error!r}", file=sys.stderr)
            return 1
        if arguments.json:
            print_json(arguments, workload, stages)
        elif client.retries:
            print(f"requests were repeated {client.retries} times, for the reasons given on stderr")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
