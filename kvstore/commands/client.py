"""What the server knows of one connected client. Plain state: the connection's own is the session's, and the edge's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kvstore.commands.peer import Nobody, Peer
from kvstore.commands.rights import Rights
from kvstore.commands.row import Command
from kvstore.commands.statistics import NO_ROWS, CommandStatistics
from kvstore.commands.users import User, default_user

#: In CLIENT LIST, of a client that has asked for nothing yet, or for no command that there is.
UNKNOWN = "NULL"

#: Who a client is before anybody has looked.
_ANYBODY = default_user()


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


class Watching(Protocol):
    """Where a client watches keys: a database. See `kvstore.commands.watches`."""

    def unwatch(self, client: Client) -> None:
        """Watch nothing here for `client` any more."""

    def has_expired(self, client: Client) -> bool:
        """Whether a key that `client` watches here has expired since."""

    def count_of(self, client: Client) -> int:
        """How many keys `client` watches here."""


class Client:
    """What the server knows of one connected client. The dictionary of all of them is `Server.clients`.

    `identity`: number, never used twice in a run. `address`: `host:port` or the endpoint's own words. Times in
    milliseconds since the epoch.
    """

    __slots__ = (
        "address", "asked_by", "capabilities", "closing", "connected_ms", "database", "identity", "is_authenticated",
        "is_barred", "is_blocked", "is_postponed", "last_command", "last_request_ms", "library_name", "library_version",
        "local_address", "monitoring", "name", "peer", "plain", "poisoned", "protocol", "queued", "queued_bytes",
        "queued_database", "requests", "rights", "subscription_bytes", "switches", "take_back", "through_file",
        "tracking", "traffic", "unanswered", "user", "was_authenticated", "watched_changed", "watching",
    )  # fmt: skip

    def __init__(self, identity: int, address: str, local_address: str, connected_ms: int) -> None:
        self.identity = identity
        self.address = address
        self.local_address = local_address
        self.connected_ms = connected_ms
        self.last_request_ms = connected_ms
        self.last_command = UNKNOWN
        self.requests = 0  # that were answered
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        #: Letters of CLIENT CAPA.
        self.capabilities = ""
        #: Letters of READONLY (r), CLIENT NO-EVICT (e) and NO-TOUCH (T) where they are on.
        self.switches: set[str] = set()
        self.through_file = False  # connected by a Unix socket, which is a file
        #: Who it is, and what it may do: see `gate`, which alone sets these. `is_authenticated`: it has said who it is,
        #: or need not. `was_authenticated`: it has been, some time.
        self.user: User = _ANYBODY
        self.rights: Rights | None = None
        self.is_authenticated = self.was_authenticated = False
        #: Whether it may not read, of a server that follows: see `membership`.
        self.is_barred = False
        #: The rows of its requests that take the quick way, by name; see `use`.
        self.plain: dict[bytes, CommandStatistics] = NO_ROWS
        self.protocol = 2  # RESP version, set by HELLO
        self.database = 0  # its number, set by SELECT
        self.closing = False  # close once the replies so far have left (QUIT)
        self.monitoring = False
        #: Of the one by whom scripts ask: whose script it is.
        self.asked_by: Client | None = None
        self.is_blocked = False  # waits, see `waiting`
        self.is_postponed = False  # waits for the end of a pause, see `pause`
        #: How many replies, from that to the request that executes on, are not to be sent: CLIENT REPLY.
        self.unanswered: float = 0
        self.subscription_bytes = 0  # what its subscriptions take, 0 if it has none; see `channels`
        # MULTI: requests queued so far, or None outside a block; a request refused while queueing poisons the block.
        self.queued: list[tuple[Command, list[bytes]]] | None = None
        self.queued_bytes = 0
        self.queued_database = 0  # the one that is chosen at the block's end, so far
        self.poisoned = False
        #: Takes back what the request that executes has done to the client itself; None if that is nothing.
        self.take_back: Callable[[], None] | None = None
        # WATCH: where keys are watched, and whether one of them changed since.
        self.watching: list[Watching] = []
        self.watched_changed = False
        #: How it tracks keys for a cache of its own, see `tracking`; None if it does not.
        self.tracking: Any = None
        self.cut_off()

    def use(self, plain: dict[bytes, CommandStatistics]) -> None:
        """Have requests for these rows take the quick way, if anything can: nothing may go past the encoder while it
        leaves out replies, nor past who notes what is read, nor past the gate, nor past who asks for READONLY.
        """
        is_apart = self.unanswered or self.tracking or self.rights is not None or self.is_barred
        self.plain = NO_ROWS if is_apart else plain

    @property
    def flags(self) -> str:
        """Redis's letters: O monitors, P subscribes, b waits, x inside MULTI, t tracks, R for a client that is gone, B
        by prefixes, d a watched key changed, c closes, U by a Unix socket, r, e and T see `switches`, N none.
        """
        letters = {
            "O": self.monitoring,
            "P": self.subscription_bytes > 0,
            "x": self.queued is not None,
            "b": self.is_blocked or self.is_postponed,
            "t": self.tracking is not None,
            "R": self.tracking is not None and self.tracking.is_broken,
            "B": self.tracking is not None and self.tracking.broadcasts,
            "d": self.watched_changed,
            "c": self.closing,
            "U": self.through_file,
            "r": "r" in self.switches,
            "e": "e" in self.switches,
            "T": "T" in self.switches,
        }
        return "".join(letter for letter, holds in letters.items() if holds) or "N"

    @property
    def kept_bytes(self) -> int:
        """What is kept of what it wants to be told: subscriptions, prefixes."""
        return self.subscription_bytes + (0 if self.tracking is None else self.tracking.size_bytes())

    @property
    def listens(self) -> bool:
        """Whether it waits for what others do: it may be silent for as long as it likes."""
        return self.monitoring or self.is_blocked or self.is_postponed or self.subscription_bytes > 0

    @property
    def only_listens(self) -> bool:
        """Whether it may ask for little else now: in RESP2 a reply could not be told from a message."""
        return self.subscription_bytes > 0 and self.protocol == 2

    def cut_off(self) -> None:
        """There is no connection, yet or any more: keep nothing of it alive."""
        #: Its connection; set by the edge.
        self.peer: Peer = Nobody()
        #: What it holds now; set by the edge.
        self.traffic: Callable[[], Traffic] = Traffic
