"""What others see of a server of a group: commands, what it notes for the other servers, and its part in a cluster.

It decides nothing: what it tells is read off the replica, the store and the notes of the others.
"""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from kvstore.base.address import Address, parse_address
from kvstore.base.errors import DamagedStore, Failure
from kvstore.base.shared_log import SharedLog, Size
from kvstore.commands.membership import Life, Node
from kvstore.edge.group.cluster import ClusterPart
from kvstore.edge.group.lending import Lending
from kvstore.edge.group.peers import Peers
from kvstore.store.group_store import GroupStore
from kvstore.store.joining import Piece
from kvstore.store.replica import Replica, Role

_log = Logger()


class _Life(Protocol):
    """What is asked of the node, which lives it. `successor`: to whom leading is being handed over; None: to nobody."""

    replica: Replica
    cluster: ClusterPart | None
    successor: Address | None

    def now_ns(self) -> int:
        """The clock of leases."""

    def trim(self) -> None:
        """See `Membership`."""

    def cover(self, position: int) -> None:
        """See `Compacting`."""

    def hand_over(self, to: Address) -> None:
        """Let that one lead, with the next entry. This server leads."""

    def enter_slots(self, slots: str) -> None:
        """See `Group`."""

    def cannot_lead(self, reason: str) -> None:
        """See `Group`."""


class Member:
    """See the module, `Membership`, and `Group` of `cluster`."""

    def __init__(
        self, node: _Life, group_name: str, own: Address, store: GroupStore, log: SharedLog, peers: Peers,
        lending: Lending,
    ) -> None:  # fmt: skip
        self.group_name, self.own = group_name, own
        self.log_size: Size | None = None
        self._node = node
        self._store = store
        self._log = log
        self._peers = peers
        self._lending = lending

    @property
    def cluster(self) -> ClusterPart | None:
        """See `Membership`."""
        return self._node.cluster

    @property
    def leads(self) -> bool:
        """See `Membership`."""
        return self._node.replica.role is Role.LEADING and self._node.successor is None

    @property
    def position(self) -> int:
        """See `Membership`."""
        return self._store.pending.sequence - 1

    @property
    def applied(self) -> int:
        """The position of the newest entry that the log has for sure, and this server."""
        return min(self._node.replica.standing.position, self.position)

    @property
    def epoch(self) -> int:
        """See `Membership`."""
        return self._node.replica.standing.epoch

    @property
    def leader(self) -> Address | None:
        """See `Membership`."""
        name = self._node.replica.leader
        leader = parse_address(name) if name else None
        return None if leader == self.own and not self.leads else leader

    @property
    def hears_leader(self) -> bool:
        """See `Membership`."""
        replica, now_ns = self._node.replica, self._node.now_ns()
        if replica.role is Role.LEADING:
            return replica.lease_runs(now_ns)
        return self.leader is not None and replica.role is Role.FOLLOWING and now_ns < replica.campaign_at_ns

    def others(self) -> list[Node]:
        """See `Membership`."""
        return self._peers.others()

    def addresses(self) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
        """See `Group`."""
        silent = tuple(node.address for node in self.others() if node.life is Life.SILENT)
        return tuple(node.address for node in self.others() if node.address not in silent), silent

    def own_slots(self) -> str:
        """See `Group`."""
        return self._node.replica.standing.slots

    # What is to be done

    def hand_over(self, to: Address | None, *, is_forced: bool = False) -> None:
        """See `Membership`. Clients are told by the end of their connections."""
        if not self.leads:
            raise Failure("FAILOVER is not valid when server is a replica.")
        self._node.hand_over(self._peers.successor(to, is_forced=is_forced))

    def checkpoint(self, offset: int, least: int) -> Piece:
        """See `Membership`."""
        if (covers := self._store.covered) < least:
            self._node.cover(least)
            raise Failure(f"the checkpoint has entries up to {covers} only, and the server up to {self.applied}")
        try:
            piece = self._store.checkpoint_piece(offset)
        except (DamagedStore, OSError) as error:
            raise Failure(f"the checkpoint cannot be read: {error}") from error
        self._lending.asked(piece.identity)
        return piece

    def trim(self) -> None:
        """See `Membership`."""
        self._node.trim()

    def forget(self, node: Address) -> None:
        """See `Membership`. It is off the list when the next look is answered."""
        self._peers.check_gone(node)
        _log.info("{node} is taken off the group's list", node=node)
        self._log.forget(str(node), lambda: None)

    def enter_slots(self, slots: str) -> None:
        """See `Group`."""
        self._node.enter_slots(slots)

    def cannot_lead(self, reason: str) -> None:
        """See `Group`."""
        self._node.cannot_lead(reason)
