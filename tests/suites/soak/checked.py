"""Clients who know what must be there, at a rate: the writers and the queues of the kill rounds (`tests.suites.kills`).

They touch values of all types, in several databases, documents as JSON lines, scripts, functions, MULTI blocks, and
wait for elements; each reply is checked, and after each kill all their databases are. Other clients of a soak have
another one (`sockets.DATABASE`).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from kvstore.base.address import Address
from kvstore.client.raw import RawConnection, resp_request
from kvstore.testing.server_process import ServerProcess
from tests.suites.kills.reading import ask
from tests.suites.kills.request import Held, Violation
from tests.suites.kills.run import KillRun, Line

#: Requests that a client may have on the way.
_DEPTH = 16
#: How often requests that are due are sent.
_TICK_S = 0.02
_LOOKS = 3
#: How long anything may take before it is a fault.
_PATIENCE_S = 60.0


class CheckedLoad(KillRun):
    """See the module. `rate`: requests a second. `password`: of the server's, if it has one. Others: see `KillRun`.

    The server keeps its port over all starts.
    """

    def __init__(
        self, data: Path, clients: int, seed: int, options: Sequence[str], rate: float, password: str | None = None
    ) -> None:
        self._rate = rate
        self._password = password
        self._server: ServerProcess | None = None
        super().__init__(data, clients, seed, options)
        self._connect_all()

    def connect(self) -> RawConnection:
        """See `KillRun`."""
        connection = super().connect()
        if self._password is not None:
            ask(connection, ("AUTH", self._password))
        return connection

    def _start(self) -> ServerProcess:
        began = time.monotonic()
        if self._server is None:
            self._server = ServerProcess(*self._options, data=self.data)
        else:
            self._server.start()
        self.counts.start_seconds.append(time.monotonic() - began)
        return self._server

    def _connect_all(self) -> None:
        address = Address("127.0.0.1", self.server.port)
        self._lines = [Line(writer, address, _DEPTH) for writer in (*self.writers, *self.queues.clients)]
        self._selector = selectors.DefaultSelector()
        for line in self._lines:
            if self._password is not None:
                line.socket.sendall(resp_request("AUTH", self._password))
                assert line.socket.recv(5) == b"+OK\r\n"
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def serve_for(self, seconds: float) -> None:
        """Send requests at the rate, and hear the replies. Raises Violation, also if the server is gone."""
        end = now = time.monotonic()
        end += seconds
        due = 0.0
        while now < end:
            self._hear(_TICK_S)
            due += self._rate * (time.monotonic() - now)
            now = time.monotonic()
            while due > 0 and (ready := [line for line in self._lines if len(line.writer.in_flight) < _DEPTH]):
                due -= self._send(self._random.choice(ready))
            due = min(due, self._rate)  # what a slow moment has missed is not made up for
            if not self._selector.get_map():
                raise Violation(f"the server has ended all connections; it says {self.server.log[-3:]}")

    def _send(self, line: Line) -> int:
        before = len(line.writer.in_flight)
        data = line.writer.next_request()
        line.socket.sendall(data)
        return len(line.writer.in_flight) - before

    def _hear(self, patience_s: float) -> None:
        for key, _ in self._selector.select(patience_s):
            line: Line = key.data
            before = len(line.writer.in_flight)
            heard = line.take()
            self.counts.acknowledged += before - len(line.writer.in_flight)
            if heard is None:
                self._selector.unregister(line.socket)
                line.socket.close()
            for what, number in heard or ():
                self._note(what, number)

    def drain(self) -> None:
        """Hear all that is in flight, and send no more. Raises Violation if nothing comes."""
        deadline = time.monotonic() + _PATIENCE_S
        while any(line.writer.in_flight for line in self._lines):
            self._hear(_TICK_S)
            if time.monotonic() > deadline:
                raise Violation(f"requests were not answered for {_PATIENCE_S:g} s")

    def kill_and_compare(self) -> float:
        """kill -9 in the middle of requests, start again, compare with what was acknowledged; returns how long the
        start took, in seconds. Raises Violation.
        """
        for line in self._lines:
            self._send(line)
        self.server.signal(signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_S
        while self._selector.get_map():
            self._hear(_TICK_S)
            if time.monotonic() > deadline:
                raise Violation("the connections of a server that was killed have not ended")
        status = self.server.wait()
        if status != -signal.SIGKILL:
            raise Violation(f"the server ended by itself, with status {status}: {self.server.log[-5:]}")
        self.counts.rounds += 1
        self._look_at_files()
        self.server = self._start()
        self.compare()
        self._connect_all()
        return self.counts.start_seconds[-1]

    def _read_all(self) -> dict[bytes, Held]:
        """As of every round; again if the server is slow to answer, which on a busy machine it may be."""
        for _ in range(_LOOKS):
            with contextlib.suppress(TimeoutError):
                return super()._read_all()
        return super()._read_all()

    def complaints(self) -> list[str]:
        """Lines of the server's log, of this life, that tell of a bug."""
        return [line for line in self.server.log if "bug" in line or "Traceback" in line or "Unhandled" in line]

    def files_bytes(self) -> dict[str, int]:
        """Of each file in the data directory."""
        found = {}
        for entry in os.scandir(self.data):
            try:
                found[entry.name] = entry.stat().st_size
            except FileNotFoundError:  # a compaction has just ended
                continue
        return found
