"""What strangers get of a server that has a password, and what a calm client notices of them.

    scripts/strangers

One server, with its default limits, but for --max-clients-per-address 1000, a password, a user who may do little, and
a port for TLS that asks for client certificates. Each kind of stranger does its worst, again and again for some
seconds, while a calm client asks for something 200 times a second: every stranger must get nothing but errors, and 99
of 100 requests of the calm client must take less than 20 ms (--quick: that is told, not judged). In the end the server
must run, report no bug, and have let go of everybody.

On a machine that has other work --first has the server and the calm client served before all of that (as root), and
TMPDIR=/dev/shm spares them its disk; a pause of 50 ms a second is then the kernel's, which leaves others so much.

Prints a table; --report puts it into report/strangers.md. Exit status: 0 if all was so, else 1. The crowd needs some
20,000 ports, and half as many open files as `ulimit -n` allows. Needs Linux.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvstore.testing.server_process import PATIENCE_S, ServerProcess
from tests.kit.certificate import make_certificate
from tests.kit.server_process import eventually
from tests.suites import program
from tests.suites.strangers.cases import CASES, CROWD_LIMIT, PASSWORD, Target, Violation, expect

ROOT = Path(__file__).resolve().parents[3]
_MOST_P99_MS = 20.0


@contextmanager
def served(directory: Path) -> Iterator[Target]:
    """A server with its users."""
    authority, password = directory / "both.pem", directory / "password"
    make_certificate(str(authority))
    password.write_text(PASSWORD)
    password.chmod(0o600)
    endpoint = f"ssl:0:privateKey={authority}:interface=127.0.0.1"
    options = ("--listen", endpoint, "--tls-client-ca", str(authority), "--password-file", str(password))
    with ServerProcess(*options, "--max-clients-per-address", str(CROWD_LIMIT), data=directory / "data") as process:
        ports = [int(line.rpartition(" ")[2]) for line in process.log if "Listening on port" in line]
        tls_port = eventually(lambda: next((port for port in _ports(process) if port != process.port), 0))
        assert tls_port, ports
        target = Target(process, process.port, tls_port, str(authority))
        rules = (
            "on",
            ">reader",
            "~data:*",
            "&news",
            "+get",
            "+mget",
            "+set",
            "+subscribe",
            "+psubscribe",
            "+eval",
            "-set",
        )
        expect(target.known().ask("ACL", "SETUSER", "reader", *rules), b"OK")
        yield target


def _ports(process: ServerProcess) -> list[int]:
    lines = (line for line in process.log if "Listening on port" in line)
    return [int(line.split("Listening on port ")[1].split()[0]) for line in lines]


def _serve_first(process: int, level: int) -> None:
    """Have a process run whenever it can, before those of a lower level, and before all that have none."""
    os.sched_setscheduler(process, os.SCHED_RR, os.sched_param(level))


def watched(target: Target, name: str, seconds: float, *, first: bool) -> tuple[int, dict[str, float]]:
    """Let one kind of stranger do its worst for so long. Returns how often it did, and what the calm client noticed.

    Raises Violation.
    """
    words = [sys.executable, "-m", "tests.suites.strangers.witness", str(target.port), PASSWORD]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as witness:
        assert witness.stdin is not None and witness.stdout is not None
        if first:
            _serve_first(witness.pid, 9)
        witness.stdout.readline()
        witness.stdin.write("begin\n")
        witness.stdin.flush()
        began, times = time.monotonic(), 0
        spent_s = _processor_s(target)
        try:
            while not times or time.monotonic() < began + seconds:
                CASES[name](target)
                times += 1
        finally:
            spent_s = _processor_s(target) - spent_s
            witness.stdin.close()
        told = witness.stdout.read()
    if not told:
        raise Violation("the calm client was disconnected")
    noticed: dict[str, float] = json.loads(told)
    if noticed["refused"]:
        raise Violation(f"{noticed['refused']} requests of the calm client were refused")
    return times, noticed | {"server_ms": 1000 * spent_s / times}


def _processor_s(target: Target) -> float:
    """The time of a processor that the server has taken."""
    words = Path(f"/proc/{target.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def judged(target: Target) -> None:
    """The server is well, and has let go of them. Raises Violation."""
    if not target.process.running:
        raise Violation(f"the server ended: {target.process.log[-5:]}")
    bugs = [line for line in target.process.log if "bug" in line or "Traceback" in line or "Unhandled" in line]
    if bugs:
        raise Violation(f"the server reports a bug: {bugs[:3]}")
    operator = target.known()
    clients = eventually(lambda: _clients(operator), lambda count: count == 1, PATIENCE_S)
    operator.close()
    if clients != 1:
        raise Violation(f"{clients} clients are left")


def _clients(operator: object) -> int:
    return str(operator.ask("CLIENT", "LIST").decode()).count("\n")  # type: ignore[attr-defined]


def main() -> int:
    """Let them come. Returns the exit status."""
    parser = program.parser_of("strangers", __doc__, seeded=False)
    parser.add_argument("--seconds", type=float, default=5, metavar="N", help="for each kind (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="each kind once, and the times are not judged")
    parser.add_argument("--first", action="store_true", help="before all other work of the machine; needs root")
    parser.add_argument("--report", action="store_true", help="put the table into report/strangers.md")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="kvstore-strangers-"))
    rows, violations = [], []
    try:
        with served(directory) as target:
            if arguments.first:
                _serve_first(target.process.pid, 5)
            for name in CASES:
                try:
                    times, noticed = watched(
                        target, name, 0 if arguments.quick else arguments.seconds, first=arguments.first
                    )
                    judged(target)
                except Violation as error:
                    violations.append(f"{name}: {error}")
                    continue
                rows.append((name, times, noticed))
                print(_row(*rows[-1]), flush=True)
                if noticed["p99_ms"] is not None and noticed["p99_ms"] >= _MOST_P99_MS and not arguments.quick:
                    violations.append(f"{name}: the calm client's p99 is {noticed['p99_ms']:.1f} ms")
    finally:
        shutil.rmtree(directory)
    if arguments.report:
        (ROOT / "report" / "strangers.md").write_text(_report(rows, shlex.join(sys.argv[1:])))
    for violation in violations:
        print(f"VIOLATION: {violation}")
    return 1 if violations else 0


def _row(name: str, times: int, noticed: dict[str, float]) -> str:
    shown = ("p50_ms", "p99_ms", "slowest_ms", "server_ms")
    figures = (f"{noticed[each]:.1f}" if noticed[each] is not None else "" for each in shown)
    return f"| {name} | {times} | {noticed['requests']} | {' | '.join(figures)} |"


def _report(rows: list[tuple[str, int, dict[str, float]]], options: str) -> str:
    return "\n".join([
        "# Strangers", "",
        f"Made by `scripts/strangers {options}` on {os.cpu_count()} cores: how often each kind of stranger did its",
        "worst, answered by nothing but errors, and what a calm client noticed meanwhile; `--help` tells more.",
        "",
        "| strangers | times | calm requests | median, ms | p99, ms | slowest, ms | server's CPU, ms each |",
        "|---|---|---|---|---|---|---|", *(_row(*row) for row in rows), "",
    ])  # fmt: skip


if __name__ == "__main__":
    program.run(main)
