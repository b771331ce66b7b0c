"""What a command sees besides its arguments: the table, its own client, the server. Plain state, no I/O.

`Call` is what every command function takes first; there is one per connection, made when the connection is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from random import Random, SystemRandom
from time import perf_counter_ns, sleep
from typing import Any

from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import DROP_CLIENT_BYTES
from kvstore.base.reply import Reply
from kvstore.commands.accesses import Accesses
from kvstore.commands.acl_file import Kept, parse
from kvstore.commands.acl_log import AclLog
from kvstore.commands.channels import Channels
from kvstore.commands.client import Client
from kvstore.commands.configuration import Configuration
from kvstore.commands.counters import Counters
from kvstore.commands.events import Events
from kvstore.commands.gate import Gate
from kvstore.commands.latency_events import LatencyEvents
from kvstore.commands.membership import Membership
from kvstore.commands.memory_limit import MemoryLimit
from kvstore.commands.noted_requests import CommandLog
from kvstore.commands.pause import Pause
from kvstore.commands.peer import Message
from kvstore.commands.script_calls import ScriptCalls
from kvstore.commands.server_hooks import ServerHooks
from kvstore.commands.statistics import Statistics
from kvstore.commands.tracking import Tracking
from kvstore.commands.users import Users
from kvstore.commands.waiting import Line, WaitingRoom
from kvstore.commands.watches import Watches
from kvstore.store.store import Store
from kvstore.store.table import Table

#: Settings that are numbers, each with the attribute of the server that follows it.
_FOLLOWED = {
    "max-json-depth": "max_json_depth",
    "max-subscription-bytes": "max_subscription_bytes",
    "max-transaction-bytes": "max_transaction_bytes",
    "proto-max-bulk-len": "max_value_bytes",
    "script-memory-bytes": "script_memory_bytes",
    "script-ms": "script_ms",
}


def _send(clients: Collection[Client], message: Reply, needed: int, origin: Client | None) -> None:
    for client in clients:
        client.peer.send(message, needed)


class Server(Counters, ServerHooks):
    """What all clients share: the store, the dictionary of connected clients, settings and counters.

    `settings`: what the server was started with, name to text, see `Configuration`. `now_ms`: the wall clock in
    milliseconds since the epoch. `run_id`: 40 hexadecimal digits, new at every start.

    Limits, which follow their settings: `max_value_bytes`, the longest string that APPEND and SETRANGE may make;
    `max_transaction_bytes`, of what is queued in a MULTI block; `max_subscription_bytes`, of one client's;
    `max_json_depth`, of what INSERT takes; `script_ms` and `script_memory_bytes`, of one script.
    """

    max_value_bytes: int
    max_transaction_bytes: int
    max_subscription_bytes: int
    max_json_depth: int
    script_ms: int
    script_memory_bytes: int

    def __init__(self, store: Store, now_ms: Callable[[], int], settings: dict[str, str], run_id: str) -> None:
        self.started_ms = now_ms()
        Counters.__init__(self)
        ServerHooks.__init__(self, self.started_ms)
        self.store = store
        self.now_ms = now_ms
        self.configuration = Configuration(settings)
        self.run_id = run_id
        #: `started_ms` and what a steady clock has counted since, up to a tenth of a second ago; set by the edge. For
        #: how long clients are silent: the wall clock may be set back and forward meanwhile.
        self.recent_ms = self.started_ms
        #: A steady clock, in nanoseconds: for how long requests take, and how long they may.
        self.steady_ns: Callable[[], int] = perf_counter_ns
        #: What DEBUG SLEEP calls.
        self.sleep: Callable[[float], None] = sleep
        #: Where RANDOMKEY takes its chance from, and ACL GENPASS, whose nobody may guess.
        self.random = Random()
        self.secrets: Random = SystemRandom()
        for table in store.databases:
            table.chance = self.random
        #: Largest reply, in bytes: one that is larger is refused.
        self.max_reply_bytes = DROP_CLIENT_BYTES
        #: Whether expired keys are removed without being asked for: DEBUG SET-ACTIVE-EXPIRE.
        self.removes_expired = True
        #: Whether scripts may use DEBUG: DEBUG SET-DISABLE-DENY-SCRIPTS.
        self.scripts_may_debug = False
        #: What `scripts` and `libraries` keep, once there is one.
        self.scripts: Any = None
        self.script_calls = ScriptCalls()
        self.libraries: Any = None
        #: The group that this server is one of; set by the edge.
        self.group: Membership | None = None
        self._make_parts()
        self._obey_settings()

    def _make_parts(self) -> None:
        """What knows some of it each, in the order in which one needs the other."""
        store, now_ms, configuration = self.store, self.now_ms, self.configuration
        self.clients: dict[int, Client] = {}
        #: The number of the newest client; never given again.
        self.last_identity = 0
        #: What the request that executes tells other clients, see `peer`; one list for good.
        self.messages: list[Message] = []
        self.command_log = CommandLog(configuration, now_ms)
        #: What took long, while that is noted, and how long commands take.
        self.latency = LatencyEvents(now_ms)
        self.statistics = Statistics(self.latency)
        self.latency.changed.append(self.statistics.time_all)
        self.waiting = WaitingRoom(now_ms)
        self.pause = Pause(self.statistics, now_ms, self.waiting)
        #: Who waits for a compaction to end, and for more to get to the disk.
        self.saving, self.syncing = Line(self.waiting), Line(self.waiting)
        self.channels = Channels()
        #: Who may connect, and do what; and who sees to that.
        self.users = Users()
        self.gate = Gate(
            self.users, AclLog(configuration), self.clients, self.channels, self.statistics, len(store.databases),
            now_ms, lambda: self.recent_ms,
        )  # fmt: skip
        #: Of each database.
        self.watches = [Watches(table) for table in store.databases]
        #: Who is told of changes of keys: clients with caches, and subscribers. In this order, as in Valkey.
        self.tracking = Tracking(store.databases, self.clients, self.messages)
        self.events = Events(store.databases, self.channels, self.tell)
        self.accesses = Accesses(configuration, self.statistics, now_ms, self.random)
        self.memory = MemoryLimit(
            store, configuration, self.statistics, self.accesses, self.random, self.steady_ns,
            lambda: self.pause.until_ms > 0 or store.is_follower, self.latency,
        )  # fmt: skip

    def _obey_settings(self) -> None:
        """Who has no time to ask for a setting is told of it; some parts have seen to that themselves."""
        obey = self.configuration.obey
        for name, attribute in _FOLLOWED.items():
            obey(name, partial(self._follow, attribute))
        obey("acl-pubsub-default", self.gate.choose_channels)
        obey("latency-monitor-threshold", self.latency.set_threshold)
        obey("latency-tracking", lambda text: self.statistics.track(text.lower() == "yes"))
        obey("max-subscription-bytes", self.tracking.set_most_prefix_bytes)
        obey("notify-keyspace-events", self.events.choose)
        obey("requirepass", self.gate.require_password)
        obey("tracking-table-max-keys", self.tracking.set_most_keys)

    def _follow(self, attribute: str, text: str) -> None:
        setattr(self, attribute, int(text))

    @property
    def follows(self) -> bool:
        """Whether this server takes no writes, since another leads its group."""
        return self.group is not None and not self.group.leads

    @property
    def is_in_cluster(self) -> bool:
        """Whether the group is one of a cluster."""
        return self.group is not None and self.group.cluster is not None

    @property
    def mode(self) -> str:
        """As HELLO and INFO have it."""
        return "cluster" if self.is_in_cluster else "standalone"

    def load_users(self, file: Kept) -> None:
        """The users are those of a file from now on. Raises BadUsers, OSError: nothing has changed then."""
        self.users.replace(parse(file.read(), file.path, all_channels=self.users.all_channels))
        self.user_file = file

    def asks_for_passwords(self) -> bool:
        """Whether who connects is nobody before giving a password."""
        return not self.users.default.lets_in_anybody

    def blocked(self) -> int:
        """How many clients wait for what others do, or for the end of a pause."""
        return len(self.waiting.places) + len(self.pause.waiting)

    def tell(self, clients: Iterable[Client], message: Reply) -> None:
        """Send `message` to some clients when the request that executes is whole: see `peer`."""
        self.messages.append(partial(_send, tuple(clients), message))

    def send_messages(self, needed: int, origin: Client | None) -> None:
        """What the request of `origin` (see `Message`) tells others leaves when commit `needed` is settled."""
        messages = self.messages[:]
        self.messages.clear()
        for message in messages:
            message(needed, origin)
        self.tracking.broadcast(needed)

    def tell_of_own(self) -> None:
        """What the server has done by itself, between requests, is told to whoever is to hear of it."""
        if self.messages:
            self.send_messages(self.store.pending.sequence, None)
        if self.waiting.places:
            self.waiting.serve()


class Call:
    """One connection's view of the server, handed to each command function. `table`: of the database it has chosen."""

    __slots__ = ("client", "server", "store", "table")

    def __init__(self, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.store: Store = server.store
        self.table: Table = server.store.databases[client.database]
        client.is_barred = server.follows
        server.gate.welcome(client)

    def tell(self, client: Client, message: Reply) -> None:
        """Send `message` to another client, or this one, when this request is whole: see `peer`."""
        self.server.tell((client,), message)

    def tell_all(self, clients: Iterable[Client], message: Reply) -> None:
        """The same, to many."""
        self.server.tell(clients, message)

    def table_of(self, number: int) -> Table:
        """The database of that number. Raises InvalidRequest if there is none."""
        if not 0 <= number < len(self.store.databases):
            raise InvalidRequest("DB index is out of range")
        return self.store.databases[number]

    def select(self, number: int) -> None:
        """Choose the database of that number, which there is."""
        self.client.database = number
        self.table = self.store.databases[number]
