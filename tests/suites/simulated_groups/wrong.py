"""Servers that do one thing wrong: what is checked has to notice it."""

from __future__ import annotations

from typing import Any

from kvstore.edge.writers import Done
from kvstore.store.replica import Replica
from kvstore.store.store import Commit
from tests.suites.replicas.wrong import PutsIfAbsent, TrustsForLong
from tests.suites.simulated_groups.server import Machine


class LongLease(Machine):
    """Its lease runs for 100 s, whatever its entries say."""

    replica_class: type[Replica] = TrustsForLong


class CountsFromRepetition(Machine):
    """Its lease counts from the last sending of the entry, or of anything after it."""

    def start(self) -> None:
        """See `Machine`."""
        super().start()
        if not self.process.is_dead:
            self.connection.sending = self._count_anew  # type: ignore[method-assign]

    def _count_anew(self) -> None:
        replica = self.node.replica
        if replica._sent is not None:
            replica._sent = replica._sent._replace(composed_ns=self.now_ns())


class WritesFirst(Machine):
    """Writes a commit to its own log before the quorum has it."""

    def start(self) -> None:
        """See `Machine`."""
        super().start()
        if not self.process.is_dead:
            begin, write = self.node.writer.begin, self.store.write

            def begin_wrongly(commit: Commit, done: Done) -> None:
                write(commit)
                begin(commit, done)

            self.node.writer.begin = begin_wrongly  # type: ignore[method-assign]


class HoldsNoReads(Machine):
    """Answers reads at once, whether or not the lease runs."""

    def start(self) -> None:
        """See `Machine`."""
        super().start()
        if not self.process.is_dead:
            self.held_reads.may_leave = lambda: True


class HoldsNoWrites(Machine):
    """Answers writes before the quorum has them."""

    def start(self) -> None:
        """See `Machine`."""
        super().start()
        if not self.process.is_dead:
            self.commit.wait = lambda waiter, sequence: waiter.settled(sequence)  # type: ignore[method-assign]


#: What is wrong, and the `World` in which it is.
WRONG: dict[str, dict[str, Any]] = {
    "a lease of 100 s": {"machine": LongLease, "reads": "lease"},
    "a lease counted from a repetition": {"machine": CountsFromRepetition, "reads": "lease"},
    "put-if-absent after a trim": {"log": PutsIfAbsent},
    "a local log written before the quorum has it": {"machine": WritesFirst},
    "reads that are not held": {"machine": HoldsNoReads},
    "writes that are not held": {"machine": HoldsNoWrites},
    "leases by clocks that stand still": {"reads": "lease", "clocks_stand": True},
}
