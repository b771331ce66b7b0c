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
from tests.kit.valkey import Valkey
from tests.suites.differential.replies import cut

_PATIENCE_S = 30.0


class Peer:
    """One connection to one of them. `identity`: its CLIENT ID."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if not isinstance(address, str):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect(address)
        self._rest = b""
        self._came: list[bytes] = []
        self.identity = b""

    def send(self, data: bytes) -> None:
        """Send requests."""
        self._socket.settimeout(_PATIENCE_S)
        self._socket.sendall(data)

    def take(self, count: int = 0, patience_s: float = _PATIENCE_S) -> list[bytes]:
        """The replies that have come, once there are so many of them or none came for that long; all that are there if
        `count` is 0. Raises EOFError.
        """
        self._socket.settimeout(patience_s if count else 0)
        while len(self._came) < (count or sys.maxsize) and self._receive():
            pass
        came, self._came = self._came, []
        return came

    def _receive(self) -> bool:
        """Take what is there; returns whether there was something."""
        try:
            data = self._socket.recv(1 << 20)
        except (TimeoutError, BlockingIOError):
            return False
        if not data:
            raise EOFError("the server closed the connection")
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
            if not came:
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
        self.kvstore = ServerProcess("--sync", "everysec", data=directory / "data")
        self.controls = self.connect()

    def connect(self) -> tuple[Peer, Peer]:
        """A new client of each: Valkey's, kvstore's."""
        peers = Peer(self.valkey.path), Peer(("127.0.0.1", self.kvstore.port))
        for peer, answers in zip(peers, ask_both(peers, [[b"CLIENT", b"ID"]]), strict=True):
            peer.identity = b"%d" % answers[0]
        return peers

    def restart(self) -> None:
        """End kvstore with kill -9, and start it again."""
        self.controls[1].close()
        self.kvstore.kill()
        self.kvstore.start()
        self.controls = self.controls[0], Peer(("127.0.0.1", self.kvstore.port))

    def on_both(self, *requests: str) -> None:
        """Send these to both."""
        ask_both(self.controls, [request.encode().split() for request in requests])

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
