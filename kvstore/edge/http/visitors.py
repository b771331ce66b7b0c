"""Who asks by HTTP, and what they may see: the same users as at the port, by HTTP Basic.

A resource names the commands that show the same (`INFO`, `CLIENT|LIST`): who may not call one of them at the port does
not get it here either. Rights are those of the moment: an answer that goes on for long asks again, and a user that is
deleted may see nothing any more.

Who says a wrong password is in ACL LOG, as at the port, with `http` for the command. While nobody is asked for a
password, strangers see nothing: under `protected-mode` what comes from another machine without TLS is as at the port.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.base.errors import Failure
from kvstore.commands.context import Server
from kvstore.commands.registry import Command, table
from kvstore.commands.users import User
from kvstore.edge.exposure import is_loopback


class Visitor:
    """One who asks. `server`: whose users there are; `user`: who it is."""

    def __init__(self, server: Server, user: User) -> None:
        self._server = server
        self._user = user

    @property
    def name(self) -> str:
        """Of the user."""
        return self._user.name.decode("utf-8", "replace")

    def may(self, command: str) -> bool:
        """Whether the user may call that command now: `INFO`, `CLIENT|LIST`."""
        words = command.encode().split(b"|")
        server, user = self._server, self._user
        return server.users.get(user.name) is user and server.gate.denial(user, _row(words), words, 0) is None

    def may_all(self, commands: Sequence[str]) -> bool:
        """Whether the user may call all of them."""
        return all(map(self.may, commands))


class Visitors:
    """Finds out who asks."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def nobody(self) -> Visitor:
        """Who may see what everybody may."""
        return Visitor(self._server, User(b""))

    def unnamed(self, host: str | None, *, secure: bool) -> Visitor | None:
        """Who says no name; None if it has to be said. `host`: the address of who asks, None for a Unix socket.
        `secure`: whether by TLS.
        """
        server = self._server
        is_stranger = not secure and host is not None and not is_loopback(host)
        if not server.users.default.lets_in_anybody:
            return None
        if is_stranger and server.configuration.text("protected-mode") == "yes":
            return self.nobody
        return Visitor(server, server.users.default)

    def named(self, name: bytes, password: bytes, host: str | None) -> Visitor | None:
        """Who says this name and password; None if they are not right."""
        server = self._server
        try:
            return Visitor(server, server.users.authenticate(name, password))
        except Failure:
            line = f"addr={host or 'unix'} cmd=http user=(none)"
            server.gate.log.note("auth", "toplevel", b"HTTP", name, line, server.now_ms())
            return None


def _row(words: list[bytes]) -> Command:
    row = table.by_name[words[0]]
    return row.subcommands[words[1]] if len(words) > 1 else row
