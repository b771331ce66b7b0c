"""One program against one server, which is killed with kill -9 and started again whenever the program asks for it.

The program talks to us on its standard streams: a line CRASH asks for a kill, and is answered with a line once the
server accepts connections again, on the same port and directory; a line that begins with WORKS tells what it found,
and ends it. What it writes to standard error, and any other line, is its log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from scripts.measuring.servers import MeasuredServer, start_server
from tests.suites.clients.installed import CannotInstall, install
from tests.suites.clients.program import Program

#: How long a program may run, installing not counted.
PATIENCE_S = 180.0

#: Between a kill and the next start, so that every client sees that nobody listens.
_OUTAGE_S = 0.5


class Outcome(NamedTuple):
    """What came of it. `works`: whether it does; `text`: what the program found, or why it does not."""

    works: bool
    text: str
    crashes: int = 0
    seconds: float = 0.0


class Crashing:
    """A server that can be crashed. `side`: KVSTORE or VALKEY, as scripts/measuring has them."""

    def __init__(self, side: str, data: Path) -> None:
        self._side = side
        self._data = data
        self.crashes = 0
        self._server: MeasuredServer = start_server(side, data)
        self.port = self._server.port

    def crash(self) -> None:
        """kill -9, and start again on the same port and directory."""
        self._server.kill()
        self.crashes += 1
        time.sleep(_OUTAGE_S)
        self._server = start_server(self._side, self._data, port=self.port)

    def kill(self) -> None:
        """End it."""
        self._server.kill()


def log_of(program: Program, cache: Path) -> Path:
    """Where what it wrote in its last run is."""
    return cache / program.name / "log"


def run(program: Program, side: str, cache: Path, patience_s: float = PATIENCE_S) -> Outcome:
    """Install what the program needs, run it against a new server, and tell what came of it."""
    try:
        words, variables = install(program, cache)
    except CannotInstall as error:
        return Outcome(False, f"cannot be installed: {error}")
    with tempfile.TemporaryDirectory(prefix="kvstore-client-") as directory:
        server = Crashing(side, Path(directory, "data"))
        scratch = Path(directory, "scratch")
        scratch.mkdir()
        variables |= {"PORT": str(server.port), "SCRATCH": str(scratch)}
        try:
            return _converse(words, os.environ | variables, server, scratch, log_of(program, cache), patience_s)
        finally:
            server.kill()


def _converse(
    words: list[str], variables: dict[str, str], server: Crashing, scratch: Path, log_path: Path, patience_s: float
) -> Outcome:
    began = time.monotonic()
    text = ""
    with open(log_path, "w") as log:
        process = subprocess.Popen(
            words, cwd=scratch, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        killer = threading.Timer(patience_s, _end, [process])
        killer.start()
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            if line == "CRASH\n":
                server.crash()
                with contextlib.suppress(BrokenPipeError):
                    print(file=process.stdin, flush=True)
            elif line.startswith("WORKS "):
                text = line.removeprefix("WORKS ").strip()
                break
            else:
                print(line, end="", file=log, flush=True)
        hung = not killer.is_alive()
        killer.cancel()
        _end(process)
    if not text:
        lines = log_path.read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        text = f"does not end in {patience_s:g} s" if hung else last
        return Outcome(False, text, server.crashes, time.monotonic() - began)
    return Outcome(True, text, server.crashes, time.monotonic() - began)


def _end(process: subprocess.Popen[str]) -> None:
    """End it with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
