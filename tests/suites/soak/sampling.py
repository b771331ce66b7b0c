"""What is noted every few seconds: a row of numbers, all of the same moment, as far as that can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from kvstore.testing.server_process import environment
from scripts.measuring.processes import children, resident_bytes
from tests.suites.soak.checked import CheckedLoad
from tests.suites.soak.sockets import Server

#: Of INFO, by the names of the samples.
_INFO = {
    "used_memory": "used_memory", "clients": "connected_clients", "log_bytes": "aof_current_size",
    "checkpoint_bytes": "aof_base_size", "compactions": "compactions", "requests": "total_commands_processed",
    "expired": "expired_keys", "evicted": "evicted_keys", "refused_writes": "full_disk_refused_writes",
}  # fmt: skip

Sample = dict[str, float | None]


class Calm:
    """The process of `calm`: gives the newest window to each who asks."""

    def __init__(self, server: Server, rate: float, window_s: float) -> None:
        words = [str(server.port), str(rate), str(window_s), *([server.password] if server.password else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.suites.soak.calm", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment(),
        )  # fmt: skip
        self.totals = {"requests": 0, "refused": 0, "lost": 0}

    def window(self) -> Sample:
        """The next one, when it ends. Raises EOFError if the process is gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"the calm clients ended with status {self._process.wait()}")
        found: Sample = json.loads(line)
        for name in self.totals:
            self.totals[name] += int(found[name] or 0)
        return {f"calm_{name}": value for name, value in found.items()}

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


class Sampler(threading.Thread):
    """Takes a sample at the end of each window of the calm clients. `samples`: so far; `began_s`: when, by the steady
    clock, all begins.
    """

    def __init__(self, load: CheckedLoad, server: Server, calm: Calm, began_s: float) -> None:
        super().__init__(daemon=True, name="Sampler")
        self._load = load
        self._server = server
        self._calm = calm
        self._began_s = began_s
        self.samples: list[Sample] = []
        self._stopping = False

    def run(self) -> None:
        """See the class."""
        while not self._stopping:
            try:
                window = self._calm.window()
            except EOFError:
                return
            self.samples.append({"at_s": round(time.monotonic() - self._began_s, 1)} | self._of_server() | window)

    def _of_server(self) -> Sample:
        """What the kernel and INFO tell; of a server that is not there, nothing."""
        pid = self._load.server.pid
        found: Sample = {
            "life": self._load.counts.rounds, "rss": resident_bytes(pid) or None, "files": open_files(pid),
            "child_rss": sum(map(resident_bytes, children(pid))), "load1": os.getloadavg()[0],
            "disk_bytes": sum(size for name, size in self._files().items() if name != "lock"),
        }  # fmt: skip
        try:
            conversation = self._server.known(5.0)
            told = _fields(conversation.ask("INFO", "everything"))
            conversation.close()
        except OSError:
            return found
        return found | {name: float(told[field]) if field in told else None for name, field in _INFO.items()}

    def _files(self) -> dict[str, int]:
        try:
            return self._load.files_bytes()
        except OSError:
            return {}

    def stop(self) -> None:
        """End it, and the calm clients."""
        self._stopping = True
        self._calm.stop()
        self.join(30)


def open_files(pid: int) -> int | None:
    """How many files a process has open; None if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _fields(info: Any) -> dict[str, str]:
    lines = info.decode().splitlines() if isinstance(info, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)
