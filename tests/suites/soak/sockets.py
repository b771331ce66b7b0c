"""A socket to a server that comes and goes, for clients of a soak: connected anew after each end, with its password."""

from __future__ import annotations

import socket
from typing import NamedTuple

import hiredis

from kvstore.client.raw import resp_request

#: The database of all clients but those who know what must be there.
DATABASE = 9

_TIMEOUT_S = 30.0


class Server(NamedTuple):
    """Where it is. `password`: None if it has none."""

    port: int
    password: str | None = None

    def plain(self, timeout_s: float = _TIMEOUT_S) -> socket.socket:
        """A connection that has said nothing. Raises OSError."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def known(self, timeout_s: float = _TIMEOUT_S) -> Conversation:
        """One that has said who it is, and has chosen the DATABASE. Raises OSError."""
        conversation = Conversation(self.plain(timeout_s))
        if self.password is not None:
            conversation.ask("AUTH", self.password)
        conversation.ask("SELECT", str(DATABASE))
        return conversation


class Conversation:
    """Requests and replies over one socket. Raises OSError when it ends, or is silent for too long."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._reader = hiredis.Reader()

    def send(self, *words: str | bytes) -> None:
        """A request, without waiting for what it is answered."""
        self.socket.sendall(resp_request(*words))

    def read(self) -> object:
        """The next reply, or push; an error is a hiredis.ReplyError."""
        while (reply := self._reader.gets()) is False:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the server has ended the connection")
            self._reader.feed(data)
        return reply

    def ask(self, *words: str | bytes) -> object:
        """A request, and its reply."""
        self.send(*words)
        return self.read()

    def close(self) -> None:
        """Close."""
        self.socket.close()
