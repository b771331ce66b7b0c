"""The real server, as its own process: `twistd -n kvstore`, started and ended by a test or a script.

    with ServerProcess("--sync", "no", data=directory) as server:
        socket.create_connection(("127.0.0.1", server.port))
        server.kill()                                  # kill -9
        server.start()                                 # again, on the same directory and port

The program is the `twistd` beside this Python, the code this checkout's, from whatever directory it is started. What
the process writes is read by a thread as it comes: nobody waits by sleeping, and the process never waits for us.

It knows nothing of kvstore but its command line and two lines of its output. A server inside the test's own process,
which has no port, is in `memory_server`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

#: The checkout, or the site-packages directory, that holds kvstore and twisted/plugins/kvstore_plugin.py.
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: How long anything may take before a test or a script gives up on it. Never waited for in vain.
PATIENCE_S = 60.0

#: The first line it prints once it accepts connections; with another endpoint than a TCP port, its address. As JSON, if
#: the log that goes to standard output is.
_LISTENING = re.compile(r"""(?:\{.*"text": ")?Listening on (?:port ([0-9]+)|.+)""")


class StartFailed(Exception):
    """The server ended instead of listening. `status`: its exit status. `output`, `errors`: all it wrote."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        super().__init__(f"the server ended with status {status}: {errors.strip() or output.strip()}")
        self.status = status
        self.output = output
        self.errors = errors


def command(*options: str, reactor: str | None = None, twistd: tuple[str, ...] = ("-n", "--pidfile=")) -> list[str]:
    """The words that start the server. `options`: kvstore's; `reactor`: as `twistd --reactor`; `twistd`: its others."""
    program = os.path.join(sysconfig.get_path("scripts"), "twistd")
    chosen = [] if reactor is None else ["--reactor", reactor]
    return [sys.executable, program, *chosen, *twistd, "kvstore", *options]


def environment(**changes: str) -> dict[str, str]:
    """The environment for it: this process's, with our checkout first among the places where Python looks."""
    paths = [ROOT, os.environ.get("PYTHONPATH", "")]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), **changes)


class _Text:
    """What one pipe of a process has given so far, gathered by a thread."""

    def __init__(self, pipe: IO[str], arrived: threading.Condition) -> None:
        self._lines: list[str] = []
        self._arrived = arrived
        self.ended = False
        self._thread = threading.Thread(target=self._gather, args=(pipe,), daemon=True)
        self._thread.start()

    def _gather(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._arrived:
                    self._lines.append(line)
                    self._arrived.notify_all()
        with self._arrived:
            self.ended = True
            self._arrived.notify_all()

    def lines(self) -> list[str]:
        """The lines so far, without their ends."""
        return [line.rstrip("\n") for line in self._lines]

    def join(self) -> str:
        """All of it, once the process is gone."""
        self._thread.join(PATIENCE_S)
        return "".join(self._lines)


class ServerProcess:
    """A server that runs; started, and listening, when the constructor has returned. Raises StartFailed.

    `options`: of `twistd kvstore`, besides `--data` and `--port`. `data`: the data directory. `port`: 0 for a free
    one, None to give no `--port`. `reactor`: epoll, select, ...; None for the default. `directory`: where to run it.
    `start_patience_s`: how long it may take to listen. `popen`: more of subprocess.Popen's arguments. Unless it
    has `env`, that is this process's, at each start.

    Afterwards `port` is the one listened on, 0 if there is none; `start` takes it again, if it was ours to choose.
    `options` may be changed before another `start`.
    """

    def __init__(
        self,
        *options: str,
        data: str | os.PathLike[str],
        port: int | None = 0,
        reactor: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        start_patience_s: float = PATIENCE_S,
        **popen: Any,
    ) -> None:
        self.data = os.fspath(data)
        self.port = port or 0
        self.options = options
        self._has_port = port is not None
        self._reactor = reactor
        self._patience_s = start_patience_s
        self._popen = {"cwd": directory, **popen}
        self.start()

    def start(self) -> None:
        """Start it (again) and return when it accepts connections. Raises StartFailed, TimeoutError."""
        port = ("--port", str(self.port)) if self._has_port else ()
        self._arrived = threading.Condition()
        self._process = subprocess.Popen(
            command("--data", self.data, *port, *self.options, reactor=self._reactor),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            **{"env": environment(), **self._popen},
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stderr is not None
        self._output = _Text(self._process.stdout, self._arrived)
        self._errors = _Text(self._process.stderr, self._arrived)
        try:
            listening = _LISTENING.match(self.wait_for_line(_LISTENING.match, self._patience_s))
        except EOFError:
            status = self.wait()
            raise StartFailed(status, self._output.join(), self._errors.join()) from None
        except BaseException:  # a signal that ends this program, too
            self.kill()
            raise
        assert listening is not None
        self.port = int(listening[1] or 0)

    # Looking at it

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def log(self) -> list[str]:
        """The lines it has written to standard output so far: the log, and the lines that are meant for a person."""
        return self._output.lines()

    @property
    def errors(self) -> str:
        """What it has written to standard error so far."""
        return "\n".join(self._errors.lines())

    def resident_bytes(self) -> int:
        """Bytes of memory it has now (proc(5), statm)."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait_for_line(self, wanted: Callable[[str], object], patience_s: float = PATIENCE_S) -> str:
        """Return the first line of the log that is `wanted`, now or when it comes.

        Raises EOFError if the output ends without it, TimeoutError.
        """
        deadline = time.monotonic() + patience_s
        seen = 0
        with self._arrived:
            while True:
                lines = self._output.lines()
                for line in lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(lines)
                if self._output.ended:
                    raise EOFError(f"the server's output ended without the line; the last is {lines[-1:]}")
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"the line did not come in {patience_s} s; the last is {lines[-1:]}")

    # Ending it

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit status (negative: the signal) when the process has ended and all it wrote was read.

        Raises TimeoutExpired.
        """
        status = self._process.wait(patience_s)
        self._output.join()
        self._errors.join()
        return status

    def stop(self) -> int:
        """End it as an operator does, with SIGTERM. Returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it with kill -9, and return when it is gone. Does nothing if it is gone already."""
        if self.running:
            self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
