"""Who asks by HTTP, and what they may see: the same users as at the port, by HTTP Basic.

A resource names the commands that show the same (`INFO`, `CLIENT|LIST`): who may not call one of them at the port does
not get it here either.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.commands.context import Server


class Visitor:
    """One who asks. `name`: of the user."""

    def __init__(self, name: str) -> None:
        self.name = name

    def may(self, command: str) -> bool:
        """Whether the user may call that command: `INFO`, `CLIENT|LIST`."""
        return True

    def may_all(self, commands: Sequence[str]) -> bool:
        """Whether the user may call all of them."""
        return all(map(self.may, commands))


class Visitors:
    """Finds out who asks."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def unnamed(self) -> Visitor | None:
        """Who says no name; None if it has to be said."""
        return Visitor("default")

    def named(self, name: bytes, password: bytes) -> Visitor | None:
        """Who says this name and password; None if they are not right."""
        return Visitor("default")
