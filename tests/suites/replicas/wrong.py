"""Replicas, nodes and logs that do one thing wrong: what is checked has to notice it."""

from __future__ import annotations

from random import Random
from typing import Any

from kvstore.base.shared_log import Standing
from kvstore.store.replica import Replica
from kvstore.testing.simulated_shared_log import SimulatedSharedLog
from tests.suites.replicas.node import Node, Read


class TrustsForLong(Replica):
    """Takes its lease to run for 100 s, whatever its entries say."""

    def lease_runs(self, now_ns: int) -> bool:
        """Whether it takes it to run."""
        return super().lease_runs(now_ns - 98_000_000_000)


class CountsFromRepetition(Node):
    """Its lease counts from the last sending of the entry."""

    def sending(self) -> None:
        """It counts from now."""
        if (sent := self.replica._sent) is not None:
            self.replica._sent = sent._replace(composed_ns=self.now_ns())


class PutsIfAbsent(SimulatedSharedLog):
    """An append is compared with what is at its position, not with the head."""

    def is_next(self, position: int) -> bool:
        """Whether nothing is there."""
        return position not in self.entries


class Impatient(Replica):
    """Campaigns as soon as it has started."""

    def __init__(self, node: str, standing: Standing, lease_ms: int, chance: Random, now_ns: int) -> None:
        super().__init__(node, standing, lease_ms, chance, now_ns)
        self.campaign_at_ns = now_ns


class KeepsItsLease(Replica):
    """Goes on serving reads while it hands over."""

    def compose_handover(self, successor: str, time_us: int, now_ns: int) -> bytes:
        """See `Replica`."""
        ends_ns = self._lease_ends_ns
        data = super().compose_handover(successor, time_us, now_ns)
        self._lease_ends_ns = ends_ns
        return data


class AnswersWithTheCommit(Node):
    """Lets a read of the commit in flight leave when that is there, whenever it was sent."""

    def may_leave(self, read: Read, settled: int) -> bool:
        """With its commit, in any case."""
        return super().may_leave(read, settled) or settled == read.seen == read.open_then - 1


def with_replica(replica: type[Replica]) -> type[Node]:
    """A node around this replica."""
    return type(replica.__name__, (Node,), {"make_replica": replica})


#: What is wrong, and the `World` in which it is.
WRONG: dict[str, dict[str, Any]] = {
    "a lease of 100 s": {"node": with_replica(TrustsForLong)},
    "a lease counted from a repetition": {"node": CountsFromRepetition},
    "put-if-absent after a trim": {"log": PutsIfAbsent},
    "a campaign right after the start": {"node": with_replica(Impatient)},
    "a lease during a handover": {"node": with_replica(KeepsItsLease)},
    "reads of the commit in flight without a lease": {"node": AnswersWithTheCommit},
    "leases by clocks that stand still": {"clocks_stand": True},
}
