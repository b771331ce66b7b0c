"""The store of a server that is one of a group: what its log says changes the databases, until it leads.

States, besides those of `Store`: recovered -> following -> leading. A leader that hands over begins to follow again.

Whatever changes the databases while it follows is an entry of the group's log, whose position is the number of the
commit and whose bytes are the body of its frame: see `beginning`. What that does to keys is told in `following`.

**Time.** A leader's is the wall clock's, and never goes back, whoever sets it: not below the newest time in the log,
and not below one at which somebody may have found that a key has expired. Where that is ahead of the wall clock, as
another leader's was, or this one's has been set back, it goes on half as fast, until the wall clock has come up: stood
it still, a lock of a second would be held for a day; at full speed it would be ahead for ever. A follower's time is the
newest in the log: so what it shows is the state of one position of the log, whatever its own clock says, and a key that
it has left out does not come back by a later entry that makes it persist.

A damaged directory of the group is set aside, and begun anew: all that was acknowledged is in the group; another's is
refused. See `joining`.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOSPC
from typing import Any

from kvstore.base.disk import Disk
from kvstore.base.errors import DamagedStore, StorageFull
from kvstore.base.limits import ENTRY_HEADING_BYTES, MAX_ENTRY_BYTES
from kvstore.base.shared_log import Entry, Standing
from kvstore.base.value_type import Types
from kvstore.store import following, joining
from kvstore.store.beginning import Beginning, Heading
from kvstore.store.commit import NO_ROOM_AT_ALL
from kvstore.store.examine import segments_of
from kvstore.store.log import NO_LIMIT, Purpose
from kvstore.store.recovery import Recovered
from kvstore.store.store import Commit, Store, step

#: What a commit takes in the log's engine at most, besides a quarter more than is in it: etcd 3.4 has taken 369 bytes
#: for one of 130, 4,168 for one of 2,000, 37,018 for one of 32,768.
_COMMIT_IN_ENGINE_BYTES = 2000
#: Between two looks at the wall clock no more has gone by than this: it was set.
_MOST_GONE_US = 10_000_000


class NothingOwn:
    """The `Heading` of a follower, which makes no frames itself: it has room for what an entry begins with."""

    size_bytes = ENTRY_HEADING_BYTES

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`."""
        raise AssertionError("a follower changes nothing but by the group's log")


class GroupStore(Store):
    """See the module. The arguments are those of `Store`.

    `joined`: the last commit of the checkpoint of another server's that this start began with, or None. `damage`: why
    the directory was set aside, and under which names; or None.
    """

    may_be_of_group = True
    joined: int | None = None
    damage: tuple[DamagedStore, list[str]] | None = None
    #: See `limit_engine`.
    _looked_at, _most_engine_bytes, _engine_says = 0, NO_LIMIT, ""

    def __init__(
        self, disk: Disk, types: Types, now_us: Callable[[], int], random_bytes: Callable[[int], bytes], **others: Any
    ) -> None:
        super().__init__(disk, types, now_us, random_bytes, **others)
        self._wall_us = now_us
        self.most_commit_bytes = MAX_ENTRY_BYTES - ENTRY_HEADING_BYTES
        self._latest_us, self._seen_us = 0, now_us()
        #: Whether another server fetches the checkpoint, which therefore should not be replaced.
        self.is_lent: Callable[[], bool] = lambda: False
        if not self.found.sequence:  # the files have the time at which they were made, by this server's clock
            self.newest_time_us = 0

    def _recovered(self, disk: Disk, *arguments: Any) -> Recovered:
        """See `Store`."""
        _, now_us, random_bytes, identity = arguments
        try:
            self.joined = joining.complete(disk, now_us(), random_bytes)
            return super()._recovered(disk, *arguments)
        except DamagedStore as damage:
            self.damage = damage, joining.set_aside(disk, identity, damage)
            return super()._recovered(disk, *arguments)

    @property
    def standing(self) -> Standing | None:
        """What of the group's log the commits closed so far are; None if the last one is no entry of it."""
        return self.lineage.standing(self.pending.sequence - 1)

    def leader_us(self) -> int:
        """The time of an entry of this server's own, in microseconds since the epoch: see the module."""
        wall_us = self._wall_us()
        half_us, odd_us = divmod(min(max(0, wall_us - self._seen_us), _MOST_GONE_US), 2)
        self._seen_us = wall_us - odd_us
        self._latest_us = max(wall_us, self.newest_time_us, self._latest_us + half_us)
        return self._latest_us

    def begin_following(self) -> None:
        """What changes the databases from now on is `follow` alone: no key is removed since it has expired, or to have
        room, but by what the log says.
        """
        self.keep_time(lambda: self.newest_time_us)
        self.follows(True)
        self.heading = NothingOwn()

    def engine_bytes(self, open_bytes: int = 0) -> int:
        """How many bytes the log's engine has taken at most for the commits that were made here, but for a constant.
        `open_bytes`: of the open commit, which is to be counted.
        """
        return (self._closed_bytes + open_bytes) * 5 // 4 + self.pending.sequence * _COMMIT_IN_ENGINE_BYTES

    def limit_engine(self, looked_at: int, room_bytes: int, says: str) -> None:
        """When `engine_bytes` was `looked_at` the engine had room for so many bytes more, and `says` how full it was.
        From now on what makes the data grow beyond that is refused, as on a full disk: nobody waits for the next look.
        """
        self._looked_at, self._most_engine_bytes, self._engine_says = looked_at, looked_at + room_bytes, says
        self._ask_anew()

    def _room(self) -> int:
        """See `Store`: while growth is refused each operation is asked about."""
        left_bytes = (self._most_engine_bytes - self.engine_bytes()) * 4 // 5
        return NO_ROOM_AT_ALL if left_bytes <= 0 else min(super()._room(), left_bytes)

    def _reserve(self, size_bytes: int, purpose: Purpose = Purpose.GROW) -> int:
        if purpose is Purpose.GROW and not self.is_follower:
            self._reserve_in_engine(size_bytes)
        return super()._reserve(size_bytes, purpose)

    def _reserve_in_engine(self, size_bytes: int) -> None:
        if self.engine_bytes(size_bytes) <= self._most_engine_bytes:
            return
        reason = self._engine_says
        if self._most_engine_bytes > self._looked_at:
            reason += f", and {self.engine_bytes() - self._looked_at} more or so by now"
        self.refusals.add(self.now_us() // 1000, reason)
        self.pending.room = NO_ROOM_AT_ALL
        raise StorageFull(reason)

    @property
    def covered(self) -> int:
        """The last commit that is in the checkpoint, which is on disk; the first one that is not begins a segment that
        waits to be merged, or else the log.
        """
        return next(iter(segments_of(self._segments).values()), self.log.header.first) - 1

    def checkpoint_piece(self, offset: int) -> joining.Piece:
        """Bytes of the checkpoint there is, for a server that joins. Raises DamagedStore, OSError."""
        return joining.read_piece(self._disk, offset)

    def fetch(self, size_bytes: int) -> joining.Incoming:
        """Begin to write another server's checkpoint of that size down. Raises OSError, if there is no room for it."""
        free_bytes = self._disk.free_bytes()
        if size_bytes > free_bytes:
            raise OSError(ENOSPC, f"its checkpoint has {size_bytes} bytes, and there is room for {free_bytes} here")
        return joining.Incoming(self._disk, self.log.header.store)

    def compaction_is_due(self) -> bool:
        """See `Store`. A checkpoint that is lent stays, unless there is no room for a longer log."""
        return super().compaction_is_due() and (not self.is_lent() or self._is_short_of_room())

    def begin_leading(self, heading: Heading) -> None:
        """The server leads its group, which it has followed: its commits begin with `heading` from now on."""
        self.keep_time(self.leader_us)
        self.follows(False)
        self.heading = heading
        self._ask_anew()

    @step
    def follow(self, position: int, data: bytes, entry: Entry) -> Commit:
        """Apply an entry of the group's log, of any kind, to the databases: whoever observes them sees what happens.

        `position`: of the entry, which is the next one's; `data`: its bytes. Returns the commit that it is, in flight,
        its body these: to be written and settled as any. No commit may be in flight or open. Nothing changed after an
        exception: StorageFull (try again later), BadOperation.
        """
        assert self.in_flight is None and not self.pending.operations and position == self.pending.sequence
        try:
            self._reserve(len(entry.body))
        except StorageFull:  # what only removes may have the room that is kept for that
            self._reserve(len(entry.body), following.purpose(entry.operations))
        operations = following.apply(self, entry.operations, entry.time_us // 1000)
        self.newest_time_us = max(self.newest_time_us, entry.time_us)
        self._begins(Beginning(entry=entry))
        return self._close(data, operations)
