"""Where server and clients are, and what is between them: what a run has to know of it.

Both on this machine's loopback here; on two hosts in `network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from kvstore.base.address import Address
from scripts.measuring.servers import MeasuredServer


class Place(Protocol):
    """Where server and clients are. `link`: what joins them. `delay_ms`: one way."""

    link: str
    delay_ms: float

    @property
    def server_options(self) -> Sequence[str]:
        """Options of the server, so that the clients reach it."""

    @property
    def link_pids(self) -> Sequence[int]:
        """Processes that belong to the link."""

    def target(self, server: MeasuredServer) -> Address:
        """Where the clients find the server."""

    def at_server(self) -> AbstractContextManager[None]:
        """Be where the server is."""

    def at_clients(self) -> AbstractContextManager[None]:
        """Be where the clients are."""


class Loopback:
    """Both on this host."""

    link = "loopback"
    delay_ms = 0.0
    server_options: Sequence[str] = ()
    link_pids: Sequence[int] = ()

    def target(self, server: MeasuredServer) -> Address:
        """Where the clients find the server."""
        return server.address

    def at_server(self) -> AbstractContextManager[None]:
        """Be where the server is."""
        return nullcontext()

    def at_clients(self) -> AbstractContextManager[None]:
        """Be where the clients are."""
        return nullcontext()
