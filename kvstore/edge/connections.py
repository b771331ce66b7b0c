"""All connections: what they have together, and what is done about all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from kvstore.base.errors import RequestError, StorageFault
from kvstore.commands.client import Client
from kvstore.commands.context import Server
from kvstore.edge.arrivals import Arrivals
from kvstore.edge.client_limits import ClientLimits, SlowReader, network_of
from kvstore.edge.client_memory import ClientMemory
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.outlet import Outlet
from kvstore.edge.settings import Settings
from kvstore.edge.turn import Turn
from kvstore.edge.unfinished import Holder, Unfinished
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.session.together import Together


class Connection(Holder, SlowReader, Protocol):
    """One of them. `received_bytes`: from its client, so far. `host`: where that is, empty on this machine's files."""

    outlet: Outlet
    received_bytes: int
    host: str

    @property
    def is_shaking_hands(self) -> bool:
        """Whether the handshake of TLS is not over."""

    def obey_limits(self) -> None:
        """Copy the limits, which have changed."""

    def changed(self) -> None:
        """See `Peer`."""

    def evict(self, held_bytes: int, all_bytes: int) -> None:
        """See `kvstore.edge.client_memory`."""

    def end(self) -> None:
        """The server stops: execute nothing more, send what is ready, and close."""

    def leave(self, error: RequestError) -> None:
        """The process is about to end: close at once; who waits for what others do is told `error` before."""

    def close(self) -> None:
        """Close at once."""


class Door(Protocol):
    """Who is told of clients that come and go: the trace, the log."""

    def came(self, client: Client) -> None:
        """This client has connected, and asked for nothing yet."""

    def left(self, client: Client, how: str) -> None:
        """Its connection is gone, all its requests are executed. `how`: `ok` if it was closed, else what happened."""


class Connections:
    """See the module. `protocols`: the connections, by the number of their client; `server.clients` is what commands
    see of them. `limits`: of each. `at_address`: how many clients there are of each network, see `network_of`.

    `fault`: called with a StorageFault; the server must not go on. `doors`: told of each client. `make_session`,
    `make_together`: what executes requests; a group's replies wait longer.
    """

    def __init__(
        self,
        settings: Settings,
        server: Server,
        turn: Turn,
        commit: GroupCommit,
        hooks: Hooks,
        fault: Callable[[StorageFault], None],
        make_session: Callable[..., Session] = Session,
        make_together: Callable[[Server, Hooks], Together] = Together,
    ) -> None:
        self.make_session = make_session
        self.settings = settings
        self.server = server
        self.turn = turn
        self.commit = commit
        self.hooks = hooks
        self.fault = fault
        self.protocols: dict[int, Connection] = {}
        self.doors: list[Door] = []
        self._received_before = self._sent_before = 0  # by those that are gone
        server.network_bytes = self.network_bytes
        self.at_address: Counter[str] = Counter()
        self.limits = ClientLimits(server.configuration, self._limits_changed)
        self.arrivals = Arrivals(
            turn, commit, make_together(server, hooks), fault, self.limits.quick_bytes, self.limits.pause_bytes
        )
        self.unfinished = Unfinished()
        server.configuration.obey("max-input-bytes", self.unfinished.limit_to)
        self.memory = ClientMemory(server.configuration, self._evicted, self._see_all)

    def _limits_changed(self) -> None:
        self.arrivals.limit_to(self.limits.quick_bytes, self.limits.pause_bytes)
        for protocol in self.protocols.values():
            protocol.obey_limits()

    def _evicted(self) -> None:
        self.server.clients_evicted += 1

    def _see_all(self) -> None:
        for protocol in list(self.protocols.values()):
            protocol.changed()

    def network_bytes(self) -> tuple[int, int]:
        """Bytes received from all clients, and sent to them, since the start."""
        protocols = self.protocols.values()
        return (
            self._received_before + sum(protocol.received_bytes for protocol in protocols),
            self._sent_before + sum(protocol.outlet.sent_bytes for protocol in protocols),
        )

    def add(self, protocol: Connection) -> None:
        """A client has come."""
        client = protocol.client
        self.server.clients[client.identity] = client
        self.protocols[client.identity] = protocol
        if protocol.host:
            self.at_address[network_of(protocol.host)] += 1
        if self.memory.is_on:
            self.memory.note(protocol, 0)
        for door in self.doors:
            door.came(client)

    def forget(self, protocol: Connection, how: str) -> None:
        """A client is gone; what passed through it still counts. `how`: see `Door`."""
        self._received_before += protocol.received_bytes
        self._sent_before += protocol.outlet.sent_bytes
        self.server.clients.pop(protocol.client.identity, None)
        if self.protocols.pop(protocol.client.identity, None) is not None and protocol.host:
            network = network_of(protocol.host)
            self.at_address[network] -= 1
            if not self.at_address[network]:
                del self.at_address[network]
        self.unfinished.forget(protocol)
        self.memory.forget(protocol)
        self.limits.forget(protocol)
        for door in self.doors:
            door.left(protocol.client, how)

    def drop_late(self) -> None:
        """Disconnect the clients that sent nothing for --idle-timeout, those that have not said who they are within
        --authentication-timeout, and those that have been too slow to take their replies.
        """
        number, now_ms = self.server.configuration.number, self.server.recent_ms
        since_ms = now_ms - (number("timeout") * 1000 or now_ms)
        came_ms = now_ms - (number("authentication-timeout") * 1000 or now_ms)
        for protocol in list(self.protocols.values()):
            client = protocol.client
            if (client.last_request_ms < since_ms and not client.listens) or (
                client.connected_ms < came_ms and (protocol.is_shaking_hands or not client.was_authenticated)
            ):
                protocol.close()
        self.limits.drop_slow(now_ms)
