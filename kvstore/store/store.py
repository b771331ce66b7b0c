"""The synchronous store service: the databases, and the files that make them durable. What the edge talks to.

A turn of the event loop goes: requests change a table of `databases` (its mutators record in the open commit, which all
databases have together); `close_commit` makes a frame of that; `write` and `sync` put it on disk; `settle` says that it
is. Between `close_commit` and `settle` one commit is in flight, while the next one may already grow. Who calls `write`
and `sync`, and in which thread, is the edge's choice (group commit); everything else here belongs to one thread.

A reply may leave when the commit it waits for is settled: `Table.commit_for_key`, `commit_for_table` name it.

States: recovered -> serving -> failed. After any StorageFault the store is failed for good: each further step raises.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from kvstore.base.disk import Disk
from kvstore.base.errors import StartRefused, StorageFault, StorageFull
from kvstore.base.files import publish, temporary
from kvstore.base.frame import HEADER_BYTES, encode_frame
from kvstore.base.limits import DATABASES, MAX_COMMIT_BYTES
from kvstore.base.syncing import Syncer
from kvstore.base.value_type import Types
from kvstore.store import checkpoint
from kvstore.store.beginning import NO_BEGINNING, Beginning, Heading, OwnHistory, split
from kvstore.store.commit import NO_ROOM_AT_ALL, Changing
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.examine import Examined, examine, segment_name
from kvstore.store.history import History
from kvstore.store.keyed_hash import of_store
from kvstore.store.keyspace import Keyspace
from kvstore.store.log import FRAMES_AT, NO_LIMIT, Purpose, TransactionLog
from kvstore.store.merge import MergeJob
from kvstore.store.recovery import Recovered, new_log_header, recover
from kvstore.store.sealing import switch_logs
from kvstore.store.state import Databases
from kvstore.store.table import EVERYTHING
from kvstore.store.volume import Refusals, Volume

#: After a failed compaction: if this part of the checkpoint was removed since, the next one need not wait.
_WORTH_ANOTHER_ATTEMPT = 8
#: More bytes than are ever recorded.
NEVER_TOLD = 1 << 62


_Self = TypeVar("_Self", bound="Store")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def step(
    step: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """A step of a store that works: a StorageFault in it is the end of that, and after it each step raises one."""

    @functools.wraps(step)
    def guarded(self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        if self.failed is not None:
            raise StorageFault(f"the store has failed before: {self.failed}")
        try:
            return step(self, *arguments, **named)
        except StorageFault as fault:
            self.failed = fault
            raise

    return guarded


class Commit(NamedTuple):
    """A closed commit on its way to the disk: its frame, and the byte offset where it goes in `log`.

    `changed`: the databases it changed. `requests`: how many requests it holds the changes of.
    """

    sequence: int
    frame: bytes
    offset: int
    log: TransactionLog
    changed: list[Changing]
    requests: int
    operations: int

    @property
    def body(self) -> bytes:
        """What the frame holds; in a group the entry of its log."""
        return self.frame[HEADER_BYTES:]


class Store(Keyspace):
    """The store of one data directory, recovered and open. Takes the lock on `disk`.

    `types`: of values. `now_us`: the wall clock in microseconds since the epoch. `random_bytes`: such as os.urandom.
    `databases`: how many there are to be. `identity`: the directory's, 32 hex digits; one that was never used gets it;
    None: whatever it has, or one by chance. Raises StartRefused, also if there are keys in a database past them, or it
    has another identity, or is one of a group; OSError.
    """

    may_be_of_group = False

    def __init__(
        self,
        disk: Disk,
        types: Types,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        policy: CompactionPolicy | None = None,
        databases: int = DATABASES,
        identity: str | None = None,
    ) -> None:
        self._disk = disk
        self._random_bytes = random_bytes
        self.policy = policy or CompactionPolicy()
        disk.lock()
        recovered = self._recovered(disk, types, now_us, random_bytes, identity)
        self.found: Examined = recovered.examined
        self.torn_copy = recovered.torn_copy
        self.log = recovered.log
        self.durable_sequence = self.found.sequence
        self.in_flight: Commit | None = None
        self.failed: StorageFault | None = None
        #: Of any commit so far, in microseconds since the epoch.
        self.newest_time_us = self.found.time_us
        self._segments = list(self.found.segments)
        self.segment_bytes = self.found.segment_bytes
        self.checkpoint_bytes = self.found.checkpoint_bytes
        self.compactions = 0
        self._job: MergeJob | None = None
        self.refusals = Refusals()
        self._volume = Volume(NO_LIMIT)
        # What was removed before the start is not known: the first compaction of a full volume finds out.
        self._removed_at_seal = self._removed_at_failure = -EVERYTHING
        #: Up to the last commit closed; and what the next begins with: of a server by itself, the first the history of
        #: this start.
        self.lineage = self.found.lineage
        self.heading: Heading = OwnHistory(History(random_bytes(8).hex(), self.lineage.history, self.found.sequence))
        self.most_commit_bytes = MAX_COMMIT_BYTES
        _check_databases(self.found.databases, databases)
        hashed = of_store(self.log.header.store)
        super().__init__(types.of_directory(hashed), now_us, self._reserve, hashed, databases, self.found.sequence + 1)
        self.load(self.found.databases)
        self.found = self.found._replace(databases=Databases(types))
        #: See `watch_growth`.
        self._closed_bytes, self._told_at_bytes = 0, NEVER_TOLD
        self._growing: Callable[[], None] = lambda: None
        self.pending.room = self._room()
        self.measure_volume()

    def _recovered(self, *arguments: Any) -> Recovered:
        """What `recover` makes of the directory."""
        return recover(*arguments, may_be_of_group=self.may_be_of_group)

    def read_again(self) -> Databases:
        """What recovery would make of the files as they are now, and of what is not in them yet. Changes nothing, and
        holds the loop meanwhile. Raises DamagedStore, OSError.
        """
        found = examine(self._disk, self.types)
        if self.in_flight is not None and self.in_flight.sequence > found.sequence:
            found.databases.replay(split(self.in_flight.body)[1])
        if self.pending.operations:
            found.databases.replay(self.pending.body())
        return found.databases

    # Commits

    def _room(self) -> int:
        """Bytes of operations that the open commit may have without asking: while writes are refused none, so that the
        first one that is taken is known.
        """
        if self.refusals.now:
            return NO_ROOM_AT_ALL
        return min(self.log.room() - self.heading.size_bytes, max(0, self._told_at_bytes - self._closed_bytes))

    def watch_growth(self, growing: Callable[[], None] | None, step_bytes: int = 0) -> None:
        """Call `growing`, in the middle of a request, when so many bytes of operations more were recorded; None: never.

        To be asked for again each time. It costs a request that records nothing: the open commit asks for more room.
        """
        self._growing = growing or (lambda: None)
        self._told_at_bytes = (
            NEVER_TOLD if growing is None else self._closed_bytes + self.pending.size_bytes + step_bytes
        )
        self.pending.room = min(self.pending.room, self._room())

    @step
    def _reserve(self, size_bytes: int, purpose: Purpose = Purpose.GROW) -> int:
        if self._closed_bytes + size_bytes > self._told_at_bytes:
            self._told_at_bytes = NEVER_TOLD
            self._growing()
        if size_bytes > self.most_commit_bytes:
            raise StorageFull(f"one commit would be larger than {self.most_commit_bytes} bytes")
        try:
            self._reserve_in_log(size_bytes + self.heading.size_bytes, purpose)
        except StorageFull as full:
            self.refusals.add(self.now_us() // 1000, full.text)
            self.pending.room = NO_ROOM_AT_ALL
            raise
        if purpose is Purpose.GROW:
            self.refusals.now = False
        room = self._room()
        return room if room == NO_ROOM_AT_ALL else max(size_bytes, room)

    def _reserve_in_log(self, size_bytes: int, purpose: Purpose) -> None:
        try:
            self.log.reserve(size_bytes, purpose)
        except StorageFull:
            self._look_for_more_room()
            self.log.reserve(size_bytes, purpose)

    def fail(self, error: Exception) -> StorageFault:
        """Something went wrong with a commit under way: the store has failed. Returns the fault to tell of."""
        self.failed = error if isinstance(error, StorageFault) else StorageFault(f"unexpected {error!r}")
        return self.failed

    def has_changes(self) -> bool:
        """Whether requests have changed anything since the last commit was closed."""
        return bool(self.pending.operations)

    @step
    def close_commit(self, *, even_if_empty: bool = False) -> Commit | None:
        """Make the changes so far one commit; None if there are none. One commit may be in flight at a time.

        `even_if_empty`: make one of no changes, too. Raises StorageFull then, if there is no room for that.
        """
        pending = self.pending
        if not pending.operations:
            if not even_if_empty:
                return None
            self._reserve_in_log(self.heading.size_bytes, Purpose.REMOVE)
        self.newest_time_us = max(self.newest_time_us, self.now_us())
        operations = pending.body()
        beginning, body = self.heading.begin(pending.sequence, self.newest_time_us, operations)
        if beginning is not NO_BEGINNING:
            self._begins(beginning)
        return self._close(body, pending.count + pending.switches())

    def _begins(self, beginning: Beginning) -> None:
        self.lineage = beginning.after(self.lineage)

    def _close(self, body: bytes, operations: int) -> Commit:
        """Make what is pending a commit with that body, of so many operations."""
        assert self.in_flight is None, "one commit in flight at a time"
        pending, log = self.pending, self.log
        frame = encode_frame(pending.sequence, self.durable_sequence, self.newest_time_us, body, log.header.salt)
        commit = Commit(
            pending.sequence, frame, log.claim(len(frame)), log, pending.changed, pending.requests, operations
        )
        log.entries += commit.operations
        self.in_flight = commit
        self._closed_bytes += pending.size_bytes
        for table in commit.changed:
            table.take_off()
        pending.begin(pending.sequence + 1)
        pending.room = self._room()
        return commit

    @step
    def write(self, commit: Commit) -> None:
        """Write the frame of the commit in flight. Raises StorageFault, for good. Durability: none until `sync`."""
        commit.log.write(commit.offset, commit.frame)

    @step
    def sync(self) -> None:
        """Return when all commits written are on disk. Raises StorageFault, for good."""
        self.log.sync()

    @step
    def begin_sync(self, syncer: Syncer) -> bool:
        """Start to sync the commit in flight, just written, and return; `finish_sync` tells when it is on disk.

        Returns False if that cannot be started now: then `sync` it. Until it has ended nothing else is to be written
        or sealed; what may grow is the open commit.
        """
        return self.log.begin_sync(syncer)

    @step
    def finish_sync(self, syncer: Syncer) -> bool:
        """Whether the sync begun has ended well. Raises StorageFault, for good."""
        return self.log.finish_sync(syncer)

    @step
    def settle(self, commit: Commit, *, durable: bool) -> None:
        """The commit in flight is done: written, and `durable` if it was synced. Replies that wait for it may leave."""
        assert commit is self.in_flight
        self.in_flight = None
        for table in commit.changed:
            table.settled()
        if durable:
            self.durable_sequence = commit.sequence

    def written_sequence(self) -> int:
        """The number of the last commit that was written."""
        return self.pending.sequence - (2 if self.in_flight else 1)

    def settled_sequence(self) -> int:
        """The number of the last settled commit: replies that wait for it, or an earlier one, may leave."""
        return self.in_flight.sequence - 1 if self.in_flight is not None else self.pending.sequence - 1

    @step
    def note_durable(self, sequence: int) -> None:
        """Commits up to `sequence` are known to be on disk: a `sync` begun after they were written has returned."""
        self.durable_sequence = max(self.durable_sequence, sequence)

    def commit_for_table(self) -> int:
        """The number of the newest unsettled commit that changed anything, 0 for none."""
        if self.pending.operations:
            return self.pending.sequence
        return self.in_flight.sequence if self.in_flight is not None else 0

    @property
    def history(self) -> str:
        """Of which history the last commit closed is."""
        return self.lineage.history

    # Looking after the log

    @step
    def mark(self) -> bool:
        """Note in the log what is on disk, if that is more than was noted; returns whether anything was written.

        To be called about once a second while no commit is in flight; what it writes must be on disk before it is
        called again. Raises StorageFault.
        """
        if self.in_flight is not None or self.durable_sequence != self.written_sequence():
            return False
        return self.log.note(self.durable_sequence, self.log.end)

    def mark_and_sync(self) -> None:
        """The same, twice, so that both marks say it, on disk when this returns. Raises StorageFault."""
        while self.mark():
            self.sync()

    @step
    def check_files(self) -> str:
        """Raise StorageFault if the directory or the log is not what it was: moved, removed, truncated behind our back.

        Returns what was amiss and could be mended; see `Disk.check`.
        """
        try:
            mended = self._disk.check()
            self.log.check(self._disk)
            return mended
        except OSError as error:
            raise StorageFault(f"cannot look at the directory: {error}") from error

    @step
    def measure_volume(self) -> None:
        """See how much room there is, and have that which is kept. Raises StorageFault.

        To be called about once a second, but not while a merging process frees what it has replaced: that is neither
        free nor counted as ours.
        """
        self._volume = self._volume._replace(usable_bytes=self._usable_bytes())
        self.log.keep_room(self.pending.size_bytes + self.heading.size_bytes)
        self._set_limits()

    def _look_for_more_room(self) -> None:
        """Before a write is refused: somebody may just have made some."""
        self._volume = self._volume._replace(usable_bytes=max(self._volume.usable_bytes, self._usable_bytes()))
        self._set_limits()

    def keep_free(self, min_free_bytes: int) -> None:
        """Leave so much of the volume free from now on: see `volume`."""
        self._volume = self._volume._replace(kept_free_bytes=min_free_bytes)
        self._ask_anew()

    def limit_logs(self, max_log_bytes: int) -> None:
        """Let all logs together get no longer than that from now on, 0 for any length: see `volume`."""
        self._volume = self._volume._replace(most_log_bytes=max_log_bytes or NO_LIMIT)
        self._ask_anew()

    def _ask_anew(self) -> None:
        """The limits are others: so the next operation asks the log."""
        self._set_limits()
        self.pending.room = NO_ROOM_AT_ALL

    def _usable_bytes(self) -> int:
        own_bytes = self.checkpoint_bytes + self.segment_bytes + self.log.allocated
        try:
            if self._job is not None:
                with contextlib.suppress(FileNotFoundError):  # it has not begun
                    file = self._disk.open_read(self._job.output)
                    own_bytes += file.size()
                    file.close()
            return own_bytes + self._disk.free_bytes()
        except OSError as error:
            raise StorageFault(f"cannot look at the volume: {error}") from error

    def _set_limits(self) -> None:
        other_bytes = self.checkpoint_bytes + self.segment_bytes
        self.log.limit_to(self._volume.limits(other_bytes, self.log.allocated, self.segment_bytes))
        self._ample_until = self.log.limits.grow - self._volume.ample_bytes()

    def room_bytes(self) -> int:
        """How many bytes of commits are taken before writes that grow are refused or a compaction makes more room."""
        return max(0, self.log.limits.grow - self.log.end)

    # Compaction

    @property
    def compacting(self) -> MergeJob | None:
        """The compaction under way."""
        return self._job

    def compaction_is_due(self) -> bool:
        """Whether the policy asks for a compaction and none is under way."""
        if self._job is not None:
            return False
        if self.policy.pausing:
            removed = self.removed_bytes() - self._removed_at_failure
            if removed > self.checkpoint_bytes // _WORTH_ANOTHER_ATTEMPT:
                self.policy.succeeded()
        log_bytes = self.log.end + self.segment_bytes
        at_once = bool(self._segments) or (self.log.end > self._ample_until and self._is_short_of_room())
        return self.policy.is_due(
            self.log.entries, log_bytes, self.checkpoint_bytes, self.now_us() // 1000, at_once=at_once
        )

    def _is_short_of_room(self) -> bool:
        removed = self.removed_bytes() - self._removed_at_seal
        return self._volume.is_worth_compacting(self.room_bytes(), max(0, self.checkpoint_bytes - removed))

    def can_compact(self) -> bool:
        """Whether there is anything to merge and no compaction is under way."""
        return self._job is None and (bool(self._segments) or self.log.end > FRAMES_AT)

    @step
    def seal(self) -> MergeJob:
        """Seal the log, begin a fresh one, and return what is to be merged. No commit may be in flight; one may be
        open.

        Raises StorageFull or OSError if it could not begin (nothing changed: try later), StorageFault if it stopped
        half-way.
        """
        assert self.in_flight is None and self._job is None
        covers = self.pending.sequence - 1
        if self.log.header.first <= covers:
            self._switch_logs(covers)
        self._removed_at_seal = self.removed_bytes()
        self._job = MergeJob(
            list(self._segments), temporary(f"{checkpoint.NAME}.{self._random_bytes(8).hex()}"), covers,
            int.from_bytes(self._random_bytes(4), "big"),
        )  # fmt: skip
        return self._job

    def _switch_logs(self, covers: int) -> None:
        old, pending = self.log, self.pending
        self.sync()
        pending.room = NO_ROOM_AT_ALL  # also if this goes no further: the zeros are given back for the fresh log
        size_bytes = pending.size_bytes + self.heading.size_bytes
        header = new_log_header(old.header.store, covers + 1, self.now_us(), self._random_bytes, self.lineage)
        self.log = switch_logs(self._disk, old, header, size_bytes)
        self.durable_sequence = covers
        self._segments.append(segment_name(old.header.first))
        self.segment_bytes += old.end
        old.close()
        self._set_limits()
        pending.room = self._room()

    @step
    def finish_compaction(self, size_bytes: int) -> None:
        """The merge wrote its file, `size_bytes` long: put it in place and remove what it replaces.

        Raises StorageFault. Durability: the new checkpoint is on disk when this returns; whether the old files are gone
        is known when the directory was synced once more, and before that nobody may touch them (see `merge`).
        """
        assert self._job is not None
        job = self._job
        try:
            publish(self._disk, job.output, checkpoint.NAME)
            for name in job.segments:
                self._disk.remove(name)
        except OSError as error:
            raise StorageFault(f"cannot put the new checkpoint in place: {error}") from error
        self._segments = self._segments[len(job.segments) :]
        self.segment_bytes = 0
        self.checkpoint_bytes = size_bytes
        self.compactions += 1
        self._job = None
        self._set_limits()
        self.policy.succeeded()

    def abandon_compaction(self) -> int:
        """The merge failed: forget it, keep its inputs. Returns the milliseconds until the next attempt."""
        assert self._job is not None
        output, self._job = self._job.output, None
        with contextlib.suppress(OSError):  # not there, or left for the next start to remove
            self._disk.remove(output)
        return self.postpone_compaction()

    def postpone_compaction(self) -> int:
        """A compaction could not be begun or finished: wait. Returns the milliseconds until the next attempt.

        It comes sooner if much is removed meanwhile: the volume may have been too full for what there was.
        """
        self._removed_at_failure = self.removed_bytes()
        return self.policy.failed(self.now_us() // 1000)

    def close(self) -> None:
        """Close the log. The directory stays locked until the process ends."""
        self.log.close()


def _check_databases(found: Databases, databases: int) -> None:
    """Refuse to hide keys. Raises StartRefused."""
    last = max(number for number, state in found.by_number.items() if state.values or not number)
    if last >= databases:
        raise StartRefused(
            f"there are keys in database {last}, but --databases is {databases}; start with --databases {last + 1} or"
            " more. Nothing was changed."
        )
