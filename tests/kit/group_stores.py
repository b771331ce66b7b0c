"""Stores of a group without its servers: one leads, others follow, and the group's log is a list."""

from __future__ import annotations

import random

from kvstore.base.shared_log import Appended, Entry
from kvstore.base.value_type import Types
from kvstore.store.beginning import Beginning
from kvstore.store.group_store import GroupStore
from kvstore.store.merge import merge
from kvstore.store.replica import Replica
from kvstore.store.store import Commit
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.harness import START_MS, Rig

IDENTITY = "00112233445566778899aabbccddeeff"
_DATABASES = 3
#: More than any lease.
_LATER_NS = 1 << 62


class GroupLog:
    """The group's log, and the clock of all its nodes, which stands still until it is moved. The entry at position n is
    `entries[n - 1]`.
    """

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.now_ms = START_MS


class Node:
    """One server's store on a simulated disk. It follows, until it is told to lead: then it is its store's `Heading`.

    `rig`: the server of it, for requests.
    """

    size_bytes = 1024

    def __init__(self, name: str, log: GroupLog, types: Types = TYPES, disk: SimulatedDisk | None = None) -> None:
        self.name = name
        self.log = log
        self.disk = disk or SimulatedDisk(record=False)
        self._types = types
        self.random = random.Random(name)
        self.store = GroupStore(
            self.disk, types, lambda: log.now_ms * 1000 + 7, self.random.randbytes, databases=_DATABASES,
            identity=IDENTITY,
        )  # fmt: skip
        self.store.begin_following()
        standing = self.store.standing
        assert standing is not None
        self.replica = Replica(name, standing, 1000, self.random, 0)
        self.rig = Rig(self.store)

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`."""
        assert sequence == self.replica.standing.position + 1
        entry = self.replica.compose(operations, time_us, 0)
        return Beginning(entry=self.replica.sent), entry

    def lead(self) -> None:
        """Campaign, and lead."""
        data = self.replica.campaign(self.store.leader_us(), _LATER_NS)
        entry = self._appended(data)
        self._settle(self.store.follow(len(self.log.entries), data, entry))
        self.store.begin_leading(self)

    def hand_over(self, successor: str) -> None:
        """Lead no more: follow."""
        data = self.replica.compose_handover(successor, self.store.now_us(), 0)
        entry = self._appended(data)
        self.store.begin_following()
        self._settle(self.store.follow(len(self.log.entries), data, entry))

    def commit(self, *, even_if_empty: bool = False) -> Commit | None:
        """What the end of a turn does at the leader."""
        closed = self.store.close_commit(even_if_empty=even_if_empty)
        if closed is not None:
            self._appended(closed.body)
            self._settle(closed)
        return closed

    def _appended(self, data: bytes) -> Entry:
        self.log.entries.append(data)
        entry = self.replica.appended(Appended.THERE, 0)
        assert entry is not None
        return entry

    def follow(self, most: int = 1 << 62) -> None:
        """Apply entries that are new, up to that one."""
        for position in range(self.replica.standing.position + 1, min(most, len(self.log.entries)) + 1):
            data = self.log.entries[position - 1]
            self._settle(self.store.follow(position, data, self.replica.saw(position, data, 0)))
        self.rig.server.tell_of_own()

    def _settle(self, commit: Commit) -> None:
        self.store.write(commit)
        self.store.settle(commit, durable=False)

    def compact(self) -> None:
        """Merge all there is."""
        if not self.store.can_compact():
            return
        job = self.store.seal()
        self.store.finish_compaction(merge(self.disk, self._types, job, self.log.now_ms * 1000))

    def start_again(self, disk: SimulatedDisk | None = None) -> Node:
        """A server that starts on what the disk has, or on what a crash left of it."""
        self.store.close()
        if disk is None:
            self.disk.unlock()
        return Node(self.name, self.log, self._types, disk or self.disk)


class Alone:
    """A `Heading` of a leader that has its group to itself: whatever it composes is in the log at once."""

    size_bytes = 1024

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`."""
        entry = self._replica.compose(operations, time_us, 0)
        return Beginning(entry=self._replica.appended(Appended.THERE, 0)), entry


def lead_alone(store: GroupStore) -> None:
    """Let a store lead from now on."""
    store.begin_following()
    standing = store.standing
    assert standing is not None
    replica = Replica("alone", standing, 1000, random.Random(1), 0)
    data = replica.campaign(store.leader_us(), _LATER_NS)
    entry = replica.appended(Appended.THERE, 0)
    assert entry is not None
    closed = store.follow(standing.position + 1, data, entry)
    store.write(closed)
    store.sync()
    store.settle(closed, durable=True)
    store.begin_leading(Alone(replica))
