"""What a command sees besides its arguments: the table, its own client, the server. Plain state, no I/O.

`Call` is what every command function takes first; there is one per connection, made when the connection is.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from kvstore.base.limits import DROP_CLIENT_BYTES, MAX_VALUE_BYTES
from kvstore.commands.statistics import Statistics
from kvstore.commands.watches import Watches

if TYPE_CHECKING:
    from kvstore.commands.registry import Command
    from kvstore.store.store import Store
    from kvstore.store.table import Table


class Traffic(NamedTuple):
    """What a connection holds, and what has passed through it, for CLIENT LIST.

    `descriptor`: its socket's, -1 for none. `events`: what the loop waits for at it, `r` and `w`. `unread_bytes`: of a
    request that is not complete yet. `unsent_bytes`: of replies that the socket has not taken, of them `waiting_bytes`
    for a commit or the end of the turn, and the others in so many `pieces`. `received_bytes`, `sent_bytes`: so far.
    """

    descriptor: int = -1
    events: str = ""
    unread_bytes: int = 0
    unsent_bytes: int = 0
    waiting_bytes: int = 0
    pieces: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class Client:
    """What the server knows of one connected client. The dictionary of all of them is `Server.clients`.

    `identity`: number, never used twice in a run. `address`: `host:port` or the endpoint's own words. Times in
    milliseconds since the epoch.
    """

    __slots__ = (
        "address", "close", "closing", "connected_ms", "identity", "last_command", "last_request_ms", "library_name",
        "library_version", "local_address", "monitoring", "name", "poisoned", "protocol", "queued", "queued_bytes",
        "traffic", "watched", "watched_changed",
    )  # fmt: skip

    def __init__(self, identity: int, address: str, local_address: str, connected_ms: int) -> None:
        self.identity = identity
        self.address = address
        self.local_address = local_address
        self.connected_ms = connected_ms
        self.last_request_ms = connected_ms
        self.last_command = "NULL"
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        self.protocol = 2  # RESP version, set by HELLO
        self.closing = False  # close once the replies so far have left (QUIT)
        self.monitoring = False
        # MULTI: requests queued so far, or None outside a block; a request refused while queueing poisons the block.
        self.queued: list[tuple[Command, list[bytes]]] | None = None
        self.queued_bytes = 0
        self.poisoned = False
        # WATCH: the keys watched, each with whether it existed then, and whether one of them changed since.
        self.watched: dict[bytes, bool] = {}
        self.watched_changed = False
        self.cut_off()

    def cut_off(self) -> None:
        """There is no connection, yet or any more: keep nothing of it alive."""
        #: Drop the connection (CLIENT KILL); set by the edge. A client's own end is `closing`, so that its reply gets
        #: out.
        self.close: Callable[[], None] = lambda: None
        #: What it holds now; set by the edge.
        self.traffic: Callable[[], Traffic] = Traffic


class Server:
    """What all clients share: the store, the dictionary of connected clients, settings and counters.

    `settings`: option name to text, as CONFIG GET shows them. `now_ms`: the wall clock in milliseconds since the epoch.
    `run_id`: 40 hexadecimal digits, new at every start.
    """

    def __init__(self, store: Store, now_ms: Callable[[], int], settings: dict[str, str], run_id: str) -> None:
        self.store = store
        self.now_ms = now_ms
        self.settings = settings
        self.run_id = run_id
        self.started_ms = now_ms()
        #: `started_ms` and what a steady clock has counted since, up to a tenth of a second ago; set by the edge. For
        #: how long clients are silent: the wall clock may be set back and forward meanwhile.
        self.recent_ms = self.started_ms
        self.clients: dict[int, Client] = {}
        #: The number of the newest client; never given again.
        self.last_identity = 0
        self.connections_received = 0
        self.connections_refused = 0
        self.requests_executed = 0
        self.errors = 0
        #: What CONFIG RESETSTAT takes off the bytes received and sent, see `network_bytes`.
        self.network_bytes_before = (0, 0)
        self.statistics = Statistics()
        self.watches = Watches(store.table)
        #: A steady clock, in nanoseconds: for how long requests take, and how long they may.
        self.steady_ns: Callable[[], int] = perf_counter_ns
        #: Where RANDOMKEY takes its chance from.
        self.random = Random()
        #: Longest string that APPEND and SETRANGE may make.
        self.max_value_bytes = MAX_VALUE_BYTES
        #: Largest reply, in bytes: one that is larger is refused.
        self.max_reply_bytes = DROP_CLIENT_BYTES
        #: Extra INFO fields that other rooms supply: section name in lower case to a function that gives (field,
        #: value) pairs.
        self.info: dict[str, Callable[[], list[tuple[str, Any]]]] = {}
        # What only the rooms above can do; they set these.
        #: Bytes received from all clients since the start, and sent to them.
        self.network_bytes: Callable[[], tuple[int, int]] = lambda: (0, 0)
        #: Begin a compaction soon; returns False if one is under way.
        self.compact_now: Callable[[], bool] = lambda: False
        #: When the newest checkpoint was made, in milliseconds since the epoch.
        self.checkpoint_ms: Callable[[], int] = lambda: self.started_ms
        #: Stop the server, soon.
        self.shutdown: Callable[[], None] = lambda: None


class Call:
    """One connection's view of the server, handed to each command function."""

    __slots__ = ("client", "server", "store", "table")

    def __init__(self, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.store: Store = server.store
        self.table: Table = server.store.table
