"""The same damages against Valkey's append-only file, with a real server: what it serves, and when it refuses.

Each try copies the directory, damages one file and starts the server, so only a sample is tried. The settings are
Valkey's own defaults (`aof-load-truncated yes` among them) with `appendonly yes` and `appendfsync always`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.kit.valkey import Connection
from tests.suites.damage.run import Contents, Damage, Directory

_START_TIMEOUT_S = 60
State = dict[bytes, tuple[bytes, int]]


class ValkeyDamage:
    """A data directory of Valkey's, and the server to try damaged copies of it with. `close` removes it all."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._root = Path(tempfile.mkdtemp(prefix="kvstore-damage-"))
        self.contents, self._state = self._make()

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._root)

    def directory(self) -> Directory:
        """Its files as a directory that `damages` takes; they are never opened by kvstore."""
        return Directory("Valkey's AOF", self.contents, ({}, {}), [])

    def _make(self) -> tuple[Contents, State]:
        process = self._start()
        client = self._connect(process)
        assert client is not None
        for number in range(8):
            client.ask([b"SET", b"first%d" % number, b"value%d" % number * 3])
        client.ask([b"BGREWRITEAOF"])
        while b"aof_rewrite_in_progress:1" in client.ask([b"INFO", b"persistence"])[1] or (
            b"aof_rewrite_scheduled:1" in client.ask([b"INFO", b"persistence"])[1]
        ):
            time.sleep(0.01)
        for number in range(8):
            client.ask([b"SET", b"second%d" % number, b"value%d" % number * 3])
        state = _state(client)
        process.kill()
        process.wait()
        files = (self._root / "appendonlydir").iterdir()
        return {path.name: path.read_bytes() for path in files}, state

    def judge(self, damage: Damage) -> str:
        """`refused`, `served exact`, `served wrong` or `crashed`."""
        place = self._root / "appendonlydir"
        shutil.rmtree(place)
        place.mkdir()
        for name, data in damage.contents.items():
            (place / name).write_bytes(data)
        process = self._start()
        try:
            client = self._connect(process)
            if client is None:
                return "refused" if process.poll() is not None and process.returncode >= 0 else "crashed"
            return "served exact" if _state(client) == self._state else "served wrong"
        except (AssertionError, OSError):
            time.sleep(0.2)
            return "served wrong" if process.poll() is None else "crashed"  # it took connections, then ended
        finally:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        (self._root / "socket").unlink(missing_ok=True)
        command = [self._binary, "--port", "0", "--unixsocket", self._root / "socket", "--dir", self._root]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", self._root / "log"]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _connect(self, process: subprocess.Popen[bytes]) -> Connection | None:
        """A client of the server once it has loaded its files; None if it ended."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client = Connection(str(self._root / "socket"))
                if client.ask([b"PING"])[0] == b"+PONG\r\n":
                    return client
            except (AssertionError, OSError):
                pass
            time.sleep(0.005)
        return None


def _state(client: Connection) -> State:
    keys = client.ask([b"KEYS", b"*"])[1]
    return {key: (client.ask([b"GET", key])[1], client.ask([b"PEXPIRETIME", key])[1]) for key in keys}
