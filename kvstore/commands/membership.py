"""What commands see of the group that this server is one of; `Server.group` is None where there is none.

| at | reads | writes | PUBLISH, SUBSCRIBE, about the server |
|---|---|---|---|
| the leader, and a server alone | yes | yes | yes |
| a follower | after READONLY: of an older state | no: READONLY | yes |

In a cluster (`cluster` is not None) reads and writes of keys are sent on to whoever has them: see `hash_slots`.

A read at a follower is an older state that was committed: its client has to say that it will have that; before, it is
barred (`Client.is_barred`), and none of its requests takes a quick way. Rows that may change something are withheld
from these ways while this server follows (`Statistics.withhold`). So a server alone pays nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, Protocol

from kvstore.base.address import Address
from kvstore.base.errors import FOLLOWS, READ_ONLY, Failure
from kvstore.base.shared_log import Size
from kvstore.commands.hash_slots import Cluster, check_slots
from kvstore.commands.row import READ, RUNS, WRITE, Command


class Life(Enum):
    """Whether another server notes what it has: it does; not known, as this server began to look just now; no more."""

    ALIVE = "alive"
    UNKNOWN = "not heard of yet"
    SILENT = "silent"


class Node(NamedTuple):
    """Another server of the group. `position`: of the newest entry that it has, as it has noted. `quiet_s`: whole
    seconds since anything new was heard of it; few, if it is alive.
    """

    address: Address
    position: int
    life: Life
    quiet_s: int


class Membership(Protocol):
    """See the module. `group_name`; `own`: this server's address. `position`: of the newest entry that is in
    its databases. `epoch`: of the newest leader that it knows of. `cluster`: that the group is one of, or None.
    `log_size`: of the log's engine some seconds ago; None before it was asked.
    """

    group_name: str
    own: Address
    log_size: Size | None

    @property
    def cluster(self) -> Cluster | None:
        """See the class."""

    @property
    def leads(self) -> bool:
        """Whether this server takes writes."""

    @property
    def position(self) -> int:
        """See the class."""

    @property
    def epoch(self) -> int:
        """See the class."""

    @property
    def leader(self) -> Address | None:
        """Who leads, as far as is known. None before anybody has, and where this server did but does no more: one that
        begins anew reads its own last entries, one that hands over waits for another; neither sends clients to itself.
        """

    @property
    def hears_leader(self) -> bool:
        """Whether whoever leads was heard of lately; itself, if this server leads."""

    def others(self) -> list[Node]:
        """The other servers that are known."""

    def checkpoint(self, offset: int, least: int) -> tuple[str, int, int, bytes]:
        """Which checkpoint this server has, the position that it covers, its size, and bytes of it from `offset` on.
        Raises Failure; also if it does not cover `least`, and begins to make one that does, if this server is that far,
        and the log was trimmed beyond this one.
        """

    def trim(self) -> None:
        """Compact, unless the checkpoint is being fetched: then after that. Trim the log as far as may be, if this
        server leads.
        """

    def forget(self, node: Address) -> None:
        """Take another server off the list. Raises Failure if there is no such other, or it is not silent."""

    def hand_over(self, to: Address | None, *, is_forced: bool = False) -> None:
        """Let another lead, that or who is alive and has most. `is_forced`: that, though it is silent. Raises Failure
        if this server does not lead, or there is no such other.
        """


def read_only() -> Failure:
    """The error for a write at a follower, as Redis words it."""
    return Failure(READ_ONLY, "READONLY")


def changed_sides() -> Failure:
    """The error for who waits at a leader that leads no more, as Redis words it."""
    return Failure("force unblock from blocking operation, instance state changed (master -> replica?)", "UNBLOCKED")


def bar(server: Any) -> None:
    """This server follows or leads, which it did not: so it is for its clients. `server`: the `Server`."""
    follows = server.follows
    server.statistics.withhold("group", (lambda row: row.may_change) if follows else None)
    for client in list(server.clients.values()):
        client.is_barred = follows and "r" not in client.switches
        client.use(server.statistics.plain)
        client.peer.changed()


def check_member(call: Any, row: Command, request: list[bytes]) -> None:
    """Raise Failure if this server follows, and the request is not one for followers; in a cluster also if its keys are
    elsewhere. `call`: its `Call`.
    """
    group: Membership | None = call.server.group
    if group is None:
        return
    if group.cluster is not None:
        check_slots(call, group, row, request)
    if group.leads:
        return
    if row.flags & WRITE or row.name == "DEBUG":
        raise read_only()
    if row.flags & (READ | RUNS) and call.client.is_barred and group.cluster is None:
        raise Failure(
            f"{FOLLOWS}: what it holds may be older than what others have read; say READONLY to read it, or"
            f" ask the leader{'' if group.leader is None else f', {group.leader}'}.",
            "READONLY",
        )
