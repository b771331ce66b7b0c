"""Stores of a group without its servers: one leads, others follow, and the group's log is a list."""

from __future__ import annotations

import random

from kvstore.base.shared_log import Appended
from kvstore.base.value_type import Types
from kvstore.store.merge import merge
from kvstore.store.replica import Replica
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import Clock

IDENTITY = "00112233445566778899aabbccddeeff"
DATABASES = 3


class GroupLog(list[bytes]):
    """The log: the entry at position n is the element n - 1."""


class Node:
    """One server's store on a simulated disk. It follows, until it is told to lead."""

    def __init__(self, name: str, log: GroupLog, types: Types = TYPES, disk: SimulatedDisk | None = None) -> None:
        self.name = name
        self.log = log
        self.types = types
        self.disk = disk or SimulatedDisk(record=False)
        self.clock = Clock(name)
        self.store = Store(
            self.disk, types, self.clock.now_us, self.clock.random_bytes, databases=DATABASES, identity=IDENTITY
        )
        self.store.begin_following()
        standing = self.store.standing
        assert standing is not None
        self.replica = Replica(name, standing, 1000, random.Random(name), 0)

    # A `Heading`

    size_bytes = 1024

    def body(self, sequence: int, time_us: int, operations: bytes) -> bytes:
        """See `Heading`."""
        assert sequence == self.replica.standing.position + 1
        return self.replica.compose(operations, time_us, 0)

    # Leading

    def lead(self) -> None:
        """Campaign, and lead."""
        entry = self.replica.campaign(self.store.now_us(), 1 << 62)
        self.log.append(entry)
        self.replica.appended(Appended.THERE, 0)
        self._write(self.store.follow(len(self.log), entry))
        self.store.begin_leading(self)

    def commit(self, *, even_if_empty: bool = False) -> Commit | None:
        """What the end of a turn does at the leader."""
        closed = self.store.close_commit(even_if_empty=even_if_empty)
        if closed is not None:
            self.log.append(closed.body)
            self.replica.appended(Appended.THERE, 0)
            self._write(closed)
        return closed

    # Following

    def follow(self, limit: int = 1 << 62) -> None:
        """Apply entries that are new, up to so many."""
        for position in range(self.replica.standing.position + 1, min(len(self.log), limit) + 1):
            entry = self.log[position - 1]
            self.replica.saw(position, entry, 0)
            self._write(self.store.follow(position, entry))

    def _write(self, commit: Commit) -> None:
        self.store.write(commit)
        self.store.settle(commit, durable=False)

    # Both

    def compact(self) -> None:
        """Merge all there is."""
        job = self.store.seal()
        self.store.finish_compaction(merge(self.disk, self.types, job, self.clock.now_us()))

    def start_again(self, disk: SimulatedDisk | None = None) -> Node:
        """A server that starts on what the disk has, or on what a crash left of it."""
        self.store.close()
        if disk is None:
            self.disk.unlock()
        return Node(self.name, self.log, self.types, disk or self.disk)
