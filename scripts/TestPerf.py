#!/usr/bin/env python3
"""Time a kvstore server: python scripts/TestPerf.py TARGET [--clients N] [options].

Each client is a process with one connection. It goes through four stages, one request after the other: insert
documents, look each up, query for them by a member that ten of them share, remove them. Every answer is checked, and
each client works on keys of its own.

For each client and stage there is a line: requests, the seconds they took, the time of day when the last one was
answered, throughput, mean latency, p50, p99 and the slowest request. Several clients begin each stage together; the
line "N together" has what they did while all were running: from when the last had begun until the first had ended.

Any number of instances may run at once; the first column says whose a line is. A server that is killed and comes back
in the meantime makes some requests slow, and the rest of the run is as before.

Exit status: 0, or 1 if an answer was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
if (ROOT / "kvstore" / "__init__.py").exists():  # in a checkout: the kvstore beside us, not one that is installed
    sys.path.insert(0, str(ROOT))

try:
    from kvstore.client import Client, RequestRefused
    from kvstore.client.progress import Progress
    from kvstore.client.timing import Timings, together
except ModuleNotFoundError as missing:
    sys.exit(
        f"TestPerf: {missing.name} is missing; run this program in a checkout of kvstore, or with a Python"
        " that has it (pip install twisted-kvstore), or copy the directory kvstore along: its client"
        " needs nothing else"
    )

STAGES = ("insert", "lookup", "query", "remove")
DEFAULT_COUNT = 5000
DEFAULT_VALUE_BYTES = 100

#: Documents that share the member which the query stage asks for.
GROUP_SIZE = 10

_PR_SET_PDEATHSIG = 1


class WrongAnswer(Exception):
    """The server answered, but not what was true."""


class Documents:
    """The documents of one client. `prefix`: of their keys. `value_bytes`: the size of each as JSON, about."""

    def __init__(self, prefix: str, value_bytes: int) -> None:
        self._prefix = prefix
        self._padding = "x" * max(0, value_bytes - len(json.dumps(self._with(99999, ""), separators=(",", ":"))))

    def _with(self, i: int, padding: str) -> dict[str, Any]:
        return {"group": f"{self._prefix}-{i // GROUP_SIZE}", "number": i, "text": padding}

    def key(self, i: int) -> str:
        """The key of the i-th document."""
        return f"{self._prefix}-{i}"

    def value(self, i: int) -> dict[str, Any]:
        """The i-th document."""
        return self._with(i, self._padding)


class Workload(Documents):
    """What one client does with its documents, each thing to the i-th. `name`: whose they are."""

    def __init__(self, client: Client, value_bytes: int) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        super().__init__(f"{self.name}-{secrets.token_hex(4)}", value_bytes)
        self._client = client
        self.inserted = 0
        self.removed = 0

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


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """For argparse: a number of that kind, over 0."""

    def number(text: str) -> float:
        if not (value := kind(text)) > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not over 0")
        return value

    return number


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="TARGET", help="[tls:]HOST:PORT, unix:PATH, or a project's name")
    add, whole, seconds = parser.add_argument, positive(int), positive(float)
    add("--clients", type=whole, default=1, metavar="N", help="so many at once (default 1)")
    add("--count", type=whole, metavar="N", help=f"requests in each stage (default {DEFAULT_COUNT})")
    add("--duration", type=seconds, metavar="SECONDS", help="run each stage for so long instead")
    add("--value-bytes", type=whole, default=DEFAULT_VALUE_BYTES, metavar="N",
        help="size of a document as JSON (default %(default)s; it has some 60 bytes at least)")  # fmt: skip
    add("--warm-up", type=seconds, default=0.0, metavar="SECONDS",
        help="with --duration: begin each stage with requests for so long that are not timed")  # fmt: skip
    add("--raw", type=argparse.FileType("w"), metavar="FILE",
        help="write every timed request there, as CSV: client, stage, began_ns (monotonic clock), took_ns")  # fmt: skip
    add("--catalog", metavar="HOST:PORT", help="the catalog (default: $KVSTORE_CATALOG, or the public one)")
    arguments = parser.parse_args()
    if arguments.count and arguments.duration:
        parser.error("give --count or --duration, not both")
    if arguments.warm_up and not arguments.duration:
        parser.error("--warm-up goes with --duration")
    if arguments.count is None and arguments.duration is None:
        arguments.count = DEFAULT_COUNT
    try:
        Client(arguments.target, catalog=arguments.catalog).close()  # it connects when there is a request
    except ValueError as error:
        parser.error(str(error))
    return arguments


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
    clock_ns = time.monotonic_ns
    warm_until_ns = clock_ns() + int(warm_up_seconds * 1e9) if warm_up_seconds else None
    for i in steps:
        if warm_until_ns is not None and clock_ns() >= warm_until_ns:
            timings, warm_until_ns = Timings(name), None
        began = clock_ns()
        operation(i)
        timings.add(began, clock_ns())
    return timings


def stages_of(arguments: argparse.Namespace, client: Client, conductor: Connection, bar: TextIO) -> None:
    """One client's part: its name, each stage when it is told to begin it, how often it repeated a request."""
    workload = Workload(client, arguments.value_bytes)
    many = float("inf") if arguments.duration else arguments.count
    duration = arguments.duration and arguments.warm_up + arguments.duration
    conductor.send(workload.name)
    for name in STAGES:
        available = workload.inserted if name == "remove" else many
        conductor.recv()
        steps = indices(available, duration, Progress(f"{name:6}", bar))
        conductor.send(run_stage(name, getattr(workload, name), steps, arguments.warm_up))
    workload.remove_rest()
    conductor.send(client.retries)


def be_client(arguments: argparse.Namespace, conductor: Connection, others: list[Connection]) -> None:
    """A client's process. `others`: the conductor's ends of pipes, which end when nobody else holds them open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the conductor's
    with contextlib.suppress(AttributeError):  # on Linux the kernel ends us with it, even while there is no server
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for other in others:
        other.close()
    bar = sys.stderr if len(others) == 1 else io.StringIO()
    with contextlib.suppress(EOFError, BrokenPipeError), Client(arguments.target, catalog=arguments.catalog) as client:
        try:
            stages_of(arguments, client, conductor, bar)
        except (WrongAnswer, LookupError, ValueError, RequestRefused) as error:
            conductor.send(WrongAnswer(f"wrong answer of {client.target}: {error!r}"))


class Clients:
    """The processes of all clients, started and each at its first stage. `names`: whose they are. Ends with `stop`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        fork = multiprocessing.get_context("fork")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(arguments.clients):
            ours, theirs = fork.Pipe()
            self._pipes.append(ours)
            self._processes.append(fork.Process(target=be_client, args=(arguments, theirs, self._pipes), daemon=True))
            self._processes[-1].start()
            theirs.close()
        self.names: list[str] = self.hear()

    def begin(self) -> None:
        """Have all begin the next stage, at once."""
        for pipe in self._pipes:
            pipe.send("begin")

    def hear(self) -> list[Any]:
        """What each says next, when all have. Raises WrongAnswer for the first that found one, EOFError if one died."""
        said = [pipe.recv() for pipe in self._pipes]
        for answer in said:
            if isinstance(answer, WrongAnswer):
                raise answer
        return said

    def stop(self) -> None:
        """End them, at once if they have not by themselves."""
        for process in self._processes:
            process.kill()
            process.join()


class Report:
    """The table on standard output, and the raw data. `names`: of the clients."""

    def __init__(self, names: list[str], raw: TextIO | None) -> None:
        self._names = names
        self._together = f"{len(names)} together"
        self._width = max(map(len, [*names, self._together]))
        self._raw = raw
        heads = "stage   requests  seconds        until  requests/s   mean ms    p50 ms    p99 ms slowest ms"
        print(f"{'client':{self._width}} {heads}", flush=True)
        if raw is not None:
            raw.write("client,stage,began_ns,took_ns\n")

    def add(self, stages: list[Timings]) -> None:
        """One stage of all clients, in one piece: what other instances print does not come in between."""
        lines = list(map(self._line, self._names, stages))
        if len(stages) > 1:
            lines.append(self._line(self._together, together(stages)))
        print("\n".join(lines), flush=True)
        if self._raw is not None:
            for client, stage in zip(self._names, stages, strict=True):
                rows = zip(stage.ended_ns, stage.took_ns, strict=True)
                self._raw.writelines(f"{client},{stage.name},{end - took},{took}\n" for end, took in rows)

    def _line(self, name: str, stage: Timings) -> str:
        p50, p99, slowest = stage.quantiles_ms(0.5, 0.99, 1)
        until = time.time() - (time.monotonic_ns() - stage.end_ns) / 1e9
        clock = f"{time.strftime('%H:%M:%S', time.localtime(until))}.{int(until % 1 * 1000):03d}"
        return (
            f"{name:{self._width}} {stage.name:6} {stage.count:9d} {stage.seconds:8.2f} {clock}"
            f" {stage.per_second():11.0f} {stage.mean_ms():9.3f} {p50:9.3f} {p99:9.3f} {slowest:10.3f}"
        )


def conduct(arguments: argparse.Namespace, clients: Clients) -> None:
    """All stages, each told of as soon as it is over. Raises WrongAnswer, EOFError."""
    report = Report(clients.names, arguments.raw)
    for _ in STAGES:
        clients.begin()
        report.add(clients.hear())
    if retries := sum(clients.hear()):
        print(f"requests were repeated {retries} times, for the reasons given on stderr")


def main() -> int:
    """Run the stages and print what they took. Returns the exit status."""
    arguments = parse_arguments()
    clients = None
    try:
        clients = Clients(arguments)
        conduct(arguments, clients)
    except (WrongAnswer, EOFError) as error:
        print(f"TestPerf: {error if isinstance(error, WrongAnswer) else 'a client has died'}", file=sys.stderr)
        return 1
    finally:
        if clients is not None:
            clients.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
