"""A small table on a loopback port that speaks JSON lines and misbehaves as told: what the clients are tested against.

Not the server and not a model of it: it knows the five verbs just well enough for a client to have something to lose.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

#: What to do with a request: None to answer it, or one of these.
LOSE_REPLY = "do it, close without a reply"
CLOSE = "close without doing it"
SILENCE = "do it, say nothing"
RESET_AT_ACCEPT = "close a connection as soon as it is accepted"


def endless(piece: bytes, beginning: bytes = b"") -> Callable[[socket.socket], None]:
    """A hostility: wait for a request, then send this over and over, as fast as it goes."""

    def send(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(beginning)
        while True:
            connection.sendall(piece)

    return send


def trickle(beginning: bytes, piece: bytes, seconds: float) -> Callable[[socket.socket], None]:
    """A hostility: wait for a request, then send this over and over, with a pause each time."""

    def send(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(beginning)
        connection.settimeout(seconds)
        while True:
            connection.sendall(piece)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    return

    return send


class FakeServer:
    """`faults`: what to do with the next requests, in order (bytes: send these instead of a reply). `requests`: all
    that came. `hostility`: what is done with each connection from now on, in place of all that; None: nothing.
    """

    def __init__(self, hostility: Callable[[socket.socket], None] | None = None) -> None:
        self.hostility = hostility
        self.table: dict[str, Any] = {}
        self.faults: deque[str | bytes | None] = deque()
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = 0
        self.start()

    @property
    def target(self) -> str:
        """Where it listens, as HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; after `stop`, on the same port again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        """Vanish as a killed process does: nobody listens, every connection is gone. The table stays. Returns when it
        is so.
        """
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        self._threads.clear()
        self._open.clear()
        self._listener.close()

    def _run(self, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._run(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                if self.hostility is not None:
                    self.hostility(connection)
                    return
                if self.faults and self.faults[0] == RESET_AT_ACCEPT:
                    self.faults.popleft()
                    return
                for line in lines:
                    answer = self._answer(json.loads(line))
                    if answer is None:
                        return
                    connection.sendall(answer)
            except (OSError, ValueError, LookupError, TypeError):  # a vanished client, or a request it cannot read
                return

    def _answer(self, request: dict[str, Any]) -> bytes | None:
        self.requests.append(request)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, bytes):
            return fault
        if fault == CLOSE:
            return None
        reply = self._execute(request)
        if fault == LOSE_REPLY:
            return None
        if fault == SILENCE:
            return b""
        return json.dumps(reply | {"id": request["id"]}).encode() + b"\r\n"

    def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        method, key = request["method"], request.get("key")
        if method == "insert":
            self.table[key] = request["value"]
            return {"result": "success"}
        if method == "size":
            return {"result": "success", "value": len(self.table)}
        if method == "query":
            subkey, subvalue = request["subkey"], request["subvalue"]
            pairs = [[k, v] for k, v in self.table.items() if isinstance(v, dict) and v.get(subkey) == subvalue]
            return {"result": "success", "value": pairs}
        if key not in self.table:
            return {"result": "failure", "error": "no such key"}
        if method == "remove":
            del self.table[key]
            return {"result": "success"}
        return {"result": "success", "value": self.table[key]}


def reply(serial: int, **members: Any) -> bytes:
    """A success, or what `members` say, to the request with this id."""
    return json.dumps({"result": "success", "id": serial} | members).encode() + b"\r\n"
