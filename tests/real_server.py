"""The real server in a process of its own, on a port of its own choice, that can be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import kvstore

#: Where kvstore is imported from, and the twistd plugin with it: the checkout.
ROOT = Path(kvstore.__file__).resolve().parent.parent

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]

_START_SECONDS = 30


def environment() -> dict[str, str]:
    """The environment in which a child process finds the same kvstore, and says all at once what it says."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class RealServer:
    """A running server. `options`: of the launcher, beyond port and data directory. `port`, `target`: where it
    listens.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="kvstore-server-"))
        self.port = 0
        self.start()

    @property
    def target(self) -> str:
        """Where it listens, as HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start; after `kill`, on the same port and data again. Returns when it listens."""
        command = [*TWISTD, "kvstore", "--port", str(self.port), "--data", "data", *self._options]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=self.directory, env=environment(), text=True
            )
        assert self.process.stdout is not None
        watchdog = threading.Timer(_START_SECONDS, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            if line.startswith("Listening on port "):
                self.port = int(line.split()[-1])
                break
        watchdog.cancel()
        if self.process.poll() is not None or not self.port:
            raise AssertionError(f"the server does not start: {(self.directory / 'log').read_text()[-2000:]}")
        self._drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._drain.start()

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._drain.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> None:
        """Kill it if it runs, and remove its files."""
        if self.process.returncode is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
