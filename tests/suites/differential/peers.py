"""Both servers, and the connections of one sequence to them: what each is sent, and what has come back."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hiredis

from kvstore.testing.server_process import ServerProcess
from kvstore.wire.resp import pack
from tests.kit.random_requests import KEYS
from tests.kit.valkey import Valkey
from tests.suites.differential.masks import CONTROL
from tests.suites.differential.replies import cut

_PATIENCE_S = 30.0
#: What stands for the end of a connection, behind the last reply.
CLOSED = b"-(closed)\r\n"


class Peer:
    """One connection to one of them. `identity`: its CLIENT ID."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if not isinstance(address, str):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect(address)
        self._rest = b""
        self._came: list[bytes] = []
        self._is_closed = False
        self.identity = b""

    def send(self, data: bytes) -> None:
        """Send requests, for nothing if the server has closed the connection."""
        self._socket.settimeout(_PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def take(self, count: int = 0, patience_s: float = _PATIENCE_S) -> list[bytes]:
        """The replies that have come, once there are so many of them or none came for that long; all that are there if
        `count` is 0. Behind the last, once, CLOSED.
        """
        self._socket.settimeout(patience_s if count else 0)
        while len(self._came) < (count or sys.maxsize) and self._receive():
            pass
        came, self._came = self._came, []
        return came

    def _receive(self) -> bool:
        """Take what is there; returns whether there was something."""
        try:
            data = b"" if self._is_closed else self._socket.recv(1 << 20)
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionError:
            data = b""
        if not data:
            self._came += [] if self._is_closed else [CLOSED]
            self._is_closed = True
            return False
        replies, self._rest = cut(self._rest + data)
        self._came += replies
        return True

    def ask(self, words: list[bytes]) -> Any:
        """The reply to one request, as hiredis reads it. Raises its errors."""
        (reply,) = self.ask_each([words])
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def ask_each(self, requests: Iterable[list[bytes]]) -> list[Any]:
        """The replies to many requests, as hiredis reads them; errors are among them."""
        requests = list(requests)
        self.send(b"".join(pack(*words) for words in requests))
        return self.answers(requests)

    def answers(self, requests: list[list[bytes]]) -> list[Any]:
        """The replies to what was sent, as hiredis reads them."""
        replies: list[bytes] = []
        while len(replies) < len(requests):
            came = self.take(len(requests) - len(replies))
            if not came or CLOSED in came:
                raise EOFError(f"no reply to {requests[len(replies)]}")
            replies += came
        reader = hiredis.Reader()
        reader.feed(b"".join(replies))
        return [reader.gets() for _ in requests]

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


def ask_both(peers: tuple[Peer, Peer], requests: list[list[bytes]]) -> list[list[Any]]:
    """What each answers to these requests; they work at the same time."""
    for peer in peers:
        peer.send(b"".join(pack(*words) for words in requests))
    return [peer.answers(requests) for peer in peers]


class Servers:
    """A Valkey and a kvstore with its data in `directory`, until `stop`. `controls`: a connection of ours to each."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.valkey = Valkey(binary)
        self.kvstore = ServerProcess("--sync", "everysec", "--enable-debug-command", "local", data=directory / "data")
        self.controls = self.connect()
        self._prepare()

    def _prepare(self) -> None:
        """Keys expire when somebody asks for them, so that both find it out at once; nothing is noted for its time."""
        self.on_both(f"CLIENT SETNAME {CONTROL}", "DEBUG SET-ACTIVE-EXPIRE 0", "CONFIG SET slowlog-log-slower-than -1")

    def connect(self) -> tuple[Peer, Peer]:
        """A new client of each: Valkey's, kvstore's. They have the same CLIENT ID."""
        peers = [self._connect(which) for which in (0, 1)]
        while peers[0].identity != peers[1].identity:
            behind = int(peers[0].identity) > int(peers[1].identity)
            peers[behind].close()
            peers[behind] = self._connect(behind)
        return peers[0], peers[1]

    def _connect(self, which: int) -> Peer:
        peer = Peer(("127.0.0.1", self.kvstore.port) if which else self.valkey.path)
        peer.identity = b"%d" % peer.ask([b"CLIENT", b"ID"])
        return peer

    def restart(self) -> None:
        """End kvstore with kill -9, and start it again."""
        self.controls[1].close()
        self.kvstore.kill()
        self.kvstore.start()
        self.controls = self.controls[0], self._connect(1)
        self._prepare()

    def on_both(self, *requests: str) -> None:
        """Send these to both."""
        ask_both(self.controls, [request.encode().split() for request in requests])

    def find_expired(self) -> None:
        """Ask both for every key that a sequence may use, in each of its databases: what has expired is removed."""
        for number in (2, 1, 0):
            ask_both(self.controls, [[b"SELECT", b"%d" % number], [b"EXISTS", *KEYS]])

    def settle(self, which: int, rounds: int = 2) -> None:
        """Return when one of them has done all that it was sent before: it is asked twice, since within one round of
        its loop it may answer us first. `rounds`: 1, if something of that round is known to have come.
        """
        for _ in range(rounds):
            self.controls[which].ask([b"PING"])

    def stop(self) -> None:
        """End both."""
        for control in self.controls:
            control.close()
        with contextlib.suppress(ProcessLookupError):
            self.kvstore.kill()
        self.valkey.stop()
