"""Crash tests of the store: after a crash at any call everything promised is there, whole commits only, nothing else.

A sample, with a seed that is printed and stands in every failure; KVSTORE_CRASH_SEED=... tries it again. All moments,
and many more states each: scripts/crashpoints.
"""

from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore, StorageFault, StorageFull
from kvstore.base.frame import encode_frame
from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.store import examine as examination
from kvstore.store import recovery
from kvstore.store import table as table_module
from kvstore.store.commit import OpenCommit
from kvstore.store.delta import Database, Delta
from kvstore.store.examine import examine
from kvstore.store.log import TransactionLog
from kvstore.store.merge import merge
from kvstore.store.operations import SWAP, Operation, decode, encode, encode_deadline
from kvstore.store.state import State
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.fates import AllKept, AllLost, Fate, RandomFates
from kvstore.testing.simulated_disk import SimulatedDisk, SimulatedFile
from kvstore.values import TYPES
from kvstore.values.lists import LISTS
from tests.kit.store_files import Clock
from tests.suites.crashes.explore import (
    Counts,
    Effort,
    Fault,
    check_state,
    errors_as_violations,
    explore_failing,
    explore_fault,
    explore_moment,
    recover_checked,
)
from tests.suites.crashes.history import History, Violation
from tests.suites.crashes.requests import DATABASES
from tests.suites.crashes.run import POLICIES, Run, small_files

SEED = os.environ.get("KVSTORE_CRASH_SEED") or f"{random.SystemRandom().getrandbits(32):08x}"


def explore(run: Run, effort: Effort) -> Counts:
    """Check the states of every moment of a run."""
    counts = Counts()
    seen: set[int] = set()
    for moment in run.disk.moments():
        explore_moment(moment, run, effort, counts, seen)
    return counts


def changing_request(run: Run) -> None:
    """Requests, until one has changed something."""
    while not run.store.has_changes():
        run.request()


class CrashTestCase(SynchronousTestCase):
    """With small files."""

    def setUp(self) -> None:
        """Make the store's units small."""
        self.enterContext(small_files())


class CrashTests(CrashTestCase):
    """Power cuts and kills at every moment of recorded runs."""

    def setUp(self) -> None:
        """Say which seed it is."""
        super().setUp()
        print(f"KVSTORE_CRASH_SEED={SEED}")

    @pytest.mark.long
    def test_every_moment_under_each_policy(self) -> None:
        """A long run under each policy, of the relaxed ones just one: a spread of states at every moment, crashed again
        in recovery and after it.
        """
        relaxed = random.Random(SEED).choice(("everysec", "no"))
        for sync in ("always", "overlapped", relaxed):
            counts = explore(
                Run(SimulatedDisk(), f"{SEED}/{sync}", sync).steps(60), Effort(states=5, most=64, second=1)
            )
            self.assertGreater(counts.distinct, 100)

    def test_every_state_of_a_short_run(self) -> None:
        """A short run: every state that the model allows, torn at every byte, so far as there are not too many."""
        run = Run(SimulatedDisk(), f"{SEED}/short", "always").steps(5)
        counts = explore(run, Effort(states=400, most=4096, second=0))
        self.assertGreater(counts.states, 50)

    def test_full_disk(self) -> None:
        """The same on a disk that is full now and then: what was refused is not there, what was promised is."""
        run = Run(SimulatedDisk(), f"{SEED}/full", "always", tight=True).steps(100)
        self.assertGreater(run.refused, 0)
        explore(run, Effort(states=4, most=64, second=1))

    def test_any_call_fails(self) -> None:
        """A call fails, by I/O error or for want of room, before, in the middle of or after its work: start again."""
        chance = random.Random(f"{SEED}/faults")
        came = 0
        for number in range(80):
            fault = Fault(
                when=chance.randrange(1, 110),
                error=chance.choice((errno.EIO, errno.EIO, errno.ENOSPC, errno.EINTR)),
                done=chance.choice((0, 1, 50, 100_000)),
                times=chance.choice((1, None)),
            )
            sync = chance.choice(POLICIES)
            came += explore_fault(fault, f"{SEED}/{number}", sync, 30, Effort(states=3, most=64, second=1), Counts())
        self.assertGreater(came, 15)

    def test_an_overlapped_sync_fails(self) -> None:
        """Nothing is settled after it, whatever the server was doing meanwhile; what had been promised is there."""
        for when in (1, 2, 5):
            disk = SimulatedDisk()
            disk.fail("finish_sync", errno.EIO, when)
            where = f"{SEED}/sync, number {when} fails"
            explore_failing(disk, where, f"{SEED}/sync", "overlapped", 40, Effort(6, 64, 1), Counts())

    def test_after_an_overlapped_sync_failed(self) -> None:
        """The store is failed for good: nothing is settled, written, synced or sealed."""
        disk = SimulatedDisk()
        run = Run(disk, SEED, "overlapped")
        run.store.table.write(b"key", b"value")
        run.commit()
        commit = run.store.in_flight
        assert commit is not None
        run.store.table.write(b"key", b"more")
        disk.fail("finish_sync", errno.EIO)
        self.assertRaises(StorageFault, run.end_sync)
        for step in (
            lambda: run.store.settle(commit, durable=True), lambda: run.store.write(commit), run.store.sync,
            lambda: run.store.begin_sync(run.syncer), lambda: run.store.finish_sync(run.syncer), run.store.close_commit,
            run.store.seal, run.store.mark, lambda: run.store.note_durable(1),
        ):  # fmt: skip
            self.assertRaises(StorageFault, step)
        self.assertEqual(run.store.durable_sequence, 0)
        self.assertEqual(run.store.settled_sequence(), 0)

    def test_sizes_of_production(self) -> None:
        """With the log's real units: one run, a few states a moment."""
        with small_files(256 * 1024):
            explore(Run(SimulatedDisk(), f"{SEED}/large", "always").steps(30), Effort(states=3, most=64, second=1))


class FoundTests(CrashTestCase):
    """What these tests found once."""

    def test_killed_between_the_rename_and_its_sync(self) -> None:
        """Killed before the new checkpoint's name was synced, restarted, power cut: the old segments are still needed.

        Recovery removed them at once; a power cut could then keep the removals and lose the rename.
        """
        disk = SimulatedDisk()
        run = Run(disk, "found", "always").steps(0)
        for _ in range(5):
            changing_request(run)
            run.commit()
        run.seal()
        job = run.job
        assert job is not None
        merge(disk, TYPES, job, 0)
        disk.rename(job.output, "table.ckpt")
        left = disk.kill(record=True)
        Run(left, "found, restarted", "always", run.history.fork(disk.changes))
        for moment in left.moments():
            for number, crashed in enumerate(moment.disk.crashes(200, most=8)):
                recover_checked(crashed, run.history, disk.changes, f"moment {moment.changes}, state {number}")

    def test_failed_sync_then_restart(self) -> None:
        """A sync fails, the server stops and is started again: what it reads from the page cache is not on disk.

        Recovery synced it, without effect (the pages were clean), and promised it.
        """
        disk = SimulatedDisk()
        run = Run(disk, "found", "always")
        changing_request(run)
        disk.fail("sync", errno.EIO)
        with self.assertRaises(Exception):  # noqa: B017 - StorageFault; what matters is what is left
            run.commit()
        run.die()
        again = Run(disk, "found", "always", run.history)
        self.assertEqual(again.store.durable_sequence, 1)
        recover_checked(disk.crash(AllLost()), again.history, disk.changes, "after the restart")

    def test_killed_between_two_commits_in_one_sector(self) -> None:
        """Recovery writes the newest commits again; of those that were on disk before nothing may be torn by that.

        The simulated disk tore them: a sector's part of a write was garbage as a whole, the bytes that did not change
        in it as well. It says now what the store relies on, as it does when it appends: what does not change stays.
        """
        disk = SimulatedDisk()
        run = Run(disk, "found", "overlapped")
        for value in (b"first", b"second"):
            run.store.table.write(b"key", value)
            run.content[0, b"key"] = value, None
            run.commit()
            if value == b"first":
                run.end_sync()
        left = disk.kill(record=True)
        again = Run(left, "found, restarted", "always", run.history.fork(disk.changes))
        self.assertEqual(again.content, {(0, b"key"): (b"second", None)})
        for moment in left.moments():
            for number, crashed in enumerate(moment.disk.crashes(500)):
                recover_checked(crashed, again.history, moment.changes, f"moment {moment.changes}, state {number}")

    def torn_directory(self, disk: SimulatedDisk | None = None, value: bytes = b"value") -> tuple[SimulatedDisk, bytes]:
        """A directory whose live log ends in a torn frame and zeros; and the bytes that are torn."""
        disk = disk or SimulatedDisk()
        run = Run(disk, "torn", "always")
        run.store.table.write(b"key", value)
        commit = run.store.close_commit()
        assert commit is not None
        torn = commit.frame[:-3] + b"?"
        contents = disk.contents()
        image = bytearray(contents["table.txn"])
        image[commit.offset : commit.offset + len(torn)] = torn
        return SimulatedDisk.holding({**contents, "table.txn": bytes(image)}), torn

    def test_torn_tail_is_copied_without_its_zeros(self) -> None:
        """The copy holds what was torn, not the file's zeros after it, and the log ends where the tail began."""
        disk, torn = self.torn_directory()
        store = Store(disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
        self.assertEqual(store.torn_copy, "table.txn.torn-0000000000000001")
        self.assertEqual(disk.contents()[store.torn_copy], torn)
        self.assertEqual(disk.contents()["table.txn"][store.log.end :].strip(b"\0"), b"")

    def test_another_torn_tail_at_the_same_commit(self) -> None:
        """Both copies are kept. The second had the first one's name."""
        copies = {}
        disk = None
        for value, suffix in ((b"one", ""), (b"two", "-2"), (b"three", "-3")):
            disk, torn = self.torn_directory(disk, value)
            store = Store(disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
            disk.unlock()
            copies["table.txn.torn-0000000000000001" + suffix] = torn
            self.assertEqual(store.torn_copy, list(copies)[-1])
        assert disk is not None
        found = disk.contents()
        self.assertEqual({name: found[name] for name in found if "torn" in name}, copies)

    def test_a_client_that_writes_frames(self) -> None:
        """A torn value that holds the header of a later commit, as of any other log, is torn: only our salt counts."""
        planted = encode_frame(9, 8, 0, b"", 0)
        disk, torn = self.torn_directory(value=planted + b"...")
        self.assertIn(planted, torn)
        store = Store(disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
        self.assertEqual((store.durable_sequence, disk.contents()[store.torn_copy or ""]), (0, torn))

    def test_copied_and_not_cut(self) -> None:
        """A crash between copy and cut: the next start makes no second copy."""
        disk, torn = self.torn_directory()
        disk.fail("truncate", errno.EIO)
        self.assertRaises(OSError, Store, disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
        disk.unlock()
        Store(disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
        found = disk.contents()
        self.assertEqual([found[name] for name in found if "torn" in name], [torn])

    def test_torn_tail_on_a_full_disk(self) -> None:
        """A server starts on a full disk: what it cuts off makes the room for the copy. It refuses writes and is read.

        It ended with an OSError, because the copy came first.
        """
        disk, torn = self.torn_directory()
        disk.capacity_bytes = sum(map(len, disk.contents().values()))
        store = Store(disk, TYPES, Clock("torn").now_us, Clock("torn").random_bytes)
        assert store.torn_copy is not None
        self.assertEqual(disk.contents()[store.torn_copy], torn)
        disk.capacity_bytes = 0
        self.assertIsNone(store.table.read(b"key"))
        self.assertRaises(StorageFull, store.table.write, b"key", b"value")

    def test_compaction_that_cannot_be_cleaned_up(self) -> None:
        """A failed compaction is forgotten even if its file cannot be removed: else there would never be another."""
        disk = SimulatedDisk()
        run = Run(disk, "cleaning", "always")
        run.store.table.write(b"key", b"value")
        run.commit()
        run.seal()
        disk.fail("remove", errno.EIO)
        run.store.abandon_compaction()
        self.assertTrue(run.store.can_compact())

    def test_sealed_segment_in_place_of_the_live_log(self) -> None:
        """A sealed segment copied or moved onto the live log's name is refused: the commits after it would be lost.

        It looked like the live log under its two names, as a crash in the middle of sealing leaves it.
        """
        disk = SimulatedDisk()
        run = Run(disk, "found", "always")
        changing_request(run)
        run.commit()
        run.seal()
        changing_request(run)
        run.commit()
        assert run.job is not None
        contents = disk.contents()
        (segment,) = run.job.segments
        contents["table.txn"] = contents[segment]
        moved = {name: image for name, image in contents.items() if name != segment}
        for damaged in (contents, moved):
            refusal = self.assertRaises(DamagedStore, examine, SimulatedDisk.holding(damaged), TYPES)
            self.assertIn("sealed segment", refusal.reason)


class Early(Run):
    """A server that lets replies out before the sync."""

    def write(self, commit: Any) -> None:
        """See `Run`."""
        self.history.ask(self.disk.changes, commit.sequence, dict(self.content))
        self.store.write(commit)
        self.history.promise(self.disk.changes, commit.sequence)
        self.store.sync()
        self.store.settle(commit, durable=True)


class Hasty(Run):
    """A server that settles a commit when its sync has begun, not when it has ended."""

    def write(self, commit: Any) -> None:
        """See `Run`."""
        self.end_sync()
        self.history.ask(self.disk.changes, commit.sequence, dict(self.content))
        self.store.write(commit)
        if not self.store.begin_sync(self.syncer):
            self.store.sync()
        self._done(commit, None)

    def end_sync(self) -> None:
        """See `Run`."""
        self.syncer.end()
        if self.syncer.is_busy:
            self.store.finish_sync(self.syncer)


class BreakageTests(CrashTestCase):
    """The tests above do see what they look for: each breaks one link of the chain, and must be caught."""

    def assert_caught(self, run_class: type[Run] = Run, sync: str = "always") -> str:
        """A run of the broken store ends in a Violation, in itself or in one of the states it leaves.

        Returns its text.
        """
        with self.assertRaises(Violation) as caught:
            for number in range(8):
                try:
                    run = run_class(SimulatedDisk(), f"breakage/{number}", sync).steps(60)
                except Exception as error:
                    raise Violation(str(error)) from error
                explore(run, Effort(states=10, most=16, second=1))
        return str(caught.exception)

    def test_nothing_broken(self) -> None:
        """The same runs of the store as it is: no violation."""
        for number, sync in enumerate(("always", "overlapped")):
            explore(Run(SimulatedDisk(), f"breakage/{number}", sync).steps(45), Effort(4, 16, 1))

    def test_no_sync(self) -> None:
        """The sync of files does nothing."""
        with mock.patch.object(SimulatedFile, "sync", lambda file: None):
            self.assert_caught()

    def test_no_sync_of_the_log(self) -> None:
        """Only the sync of the log is left out."""
        with mock.patch.object(TransactionLog, "sync", lambda log: None):
            self.assert_caught()

    def test_no_sync_of_the_checkpoint(self) -> None:
        """Only the sync of a new checkpoint is left out."""
        sync = SimulatedFile.sync
        with mock.patch.object(SimulatedFile, "sync", lambda file: None if "ckpt" in file._name else sync(file)):
            self.assert_caught()

    def test_no_sync_of_the_directory(self) -> None:
        """The sync of the directory does nothing."""
        with mock.patch.object(SimulatedDisk, "sync_directory", lambda disk: None):
            self.assert_caught()

    def assert_caught_without_directory_sync_after(self, pattern: str, run_class: type[Run] = Run) -> str:
        """The sync of the directory that follows a certain call (its name and the file's) is left out.

        Returns the violation.
        """
        sync = SimulatedDisk.sync_directory

        def forgetful(disk: SimulatedDisk) -> None:
            if not any(re.fullmatch(pattern, f"{call.name} {call.file}") for call in disk.calls[-1:]):
                sync(disk)

        with mock.patch.object(SimulatedDisk, "sync_directory", forgetful):
            return self.assert_caught(run_class)

    def test_no_sync_of_the_directory_in_the_middle_of_sealing(self) -> None:
        """The sealed segment's name is not saved before the live one is replaced."""
        self.assert_caught_without_directory_sync_after("rename table.txn")

    def test_no_sync_of_the_directory_before_a_log_is_marked_sealed(self) -> None:
        """The fresh log's name is not saved before the old one is said to have been replaced."""
        self.assert_caught_without_directory_sync_after("rename table.txn.tmp")

    def test_no_sync_of_the_directory_after_a_new_checkpoint(self) -> None:
        """Segments are removed before the new checkpoint's name is saved."""
        self.assert_caught_without_directory_sync_after("rename table.ckpt.*")

    def test_merged_segments_emptied_before_their_removal_is_saved(self) -> None:
        """The merging process frees them, and no directory was synced before: a removal is lost, the truncation is not.

        Nothing is lost with that, so it is no damage; for a server that says it is, the order alone has to do.
        """

        class Compacting(Run):
            def steps(self, count: int) -> Run:
                changing_request(self)
                self.commit()
                self.seal()
                self.merge()
                for _ in self.freeing:
                    pass
                return self

        with mock.patch.object(examination, "is_log", lambda file, name: True):
            explore(Compacting(SimulatedDisk(), "compacting").steps(1), Effort(20, 16, 0))
            violation = self.assert_caught_without_directory_sync_after("is_linked .*", Compacting)
        self.assertIn("the header of the log is not valid", violation)

    def test_second_mark_written_before_the_first_is_on_disk(self) -> None:
        """Both are torn by one power cut."""
        with mock.patch.object(Store, "mark_and_sync", lambda store: store.mark() and store.mark()):
            self.assertIn("both marks", self.assert_caught())

    def test_log_renamed_before_its_place_was_taken(self) -> None:
        """A server that does not know the live log under its segment's name does not start after a crash there."""
        with mock.patch.object(examination, "_renamed_live_log", lambda *arguments: None):
            self.assertIn("log is missing", self.assert_caught())

    def test_segment_left_unmarked(self) -> None:
        """Recovery does not finish what a crash left undone: the segment is taken for the live log, should that go."""
        with mock.patch.object(recovery, "_finish_sealing", lambda *arguments: None):
            self.assert_caught()

    def test_replies_released_early(self) -> None:
        """A commit counts as promised once it is written."""
        self.assert_caught(Early)

    def test_settled_when_the_sync_begins(self) -> None:
        """A commit counts as promised once its sync has begun: a crash before the end shows that it is not."""
        self.assertIn("were promised", self.assert_caught(Hasty, "overlapped"))

    def test_end_of_the_sync_not_awaited(self) -> None:
        """The syncer says that it is not done yet, and that is taken for done."""

        def impatient(log: TransactionLog, syncer: Any) -> bool:
            return bool(syncer.finish()) or syncer.is_busy

        with mock.patch.object(TransactionLog, "finish_sync", impatient):
            self.assertIn("were promised", self.assert_caught(sync="overlapped"))

    def assert_caught_when_syncs_fail(self, sync: str) -> None:
        """Let the first, second, ... overlapped sync fail: a Violation."""
        with self.assertRaises(Violation):
            for when in range(1, 40):
                disk = SimulatedDisk()
                disk.fail("finish_sync", errno.EIO, when)
                explore_failing(disk, f"sync {when} fails", f"breakage/{when}", sync, 40, Effort(10, 16, 1), Counts())

    def test_failed_overlapped_sync_ignored(self) -> None:
        """The sync failed, and its commit is settled all the same."""

        def deaf(log: TransactionLog, syncer: Any) -> bool:
            try:
                return bool(syncer.finish())
            except OSError:
                return True

        with mock.patch.object(TransactionLog, "finish_sync", deaf):
            self.assert_caught_when_syncs_fail("overlapped")

    def test_overlapped_sync_tried_again_after_it_failed(self) -> None:
        """The sync failed; a second one, which has nothing left to write, ends well."""

        def stubborn(log: TransactionLog, syncer: Any) -> bool:
            try:
                return bool(syncer.finish())
            except OSError:
                log.sync()
                return True

        with mock.patch.object(TransactionLog, "finish_sync", stubborn):
            self.assert_caught_when_syncs_fail("overlapped")

    def test_reads_that_do_not_wait_for_the_commit_in_flight(self) -> None:
        """A read of what the commit in flight has changed is answered at once."""

        def blind(table: Table, keys: list[bytes]) -> int:
            return (table.open_whole or not table.open_keys.isdisjoint(keys)) * table.pending.sequence

        with (
            mock.patch.object(Table, "commit_for_keys", blind),
            mock.patch.object(Table, "commit_for_key", lambda table, key: blind(table, [key])),
        ):
            self.assertIn("tells what is not on disk", self.assert_caught(sync="overlapped"))

    def test_pipelines_not_recorded(self) -> None:
        """SETs as columns change the table, and the log does not hear of them."""
        with mock.patch.object(OpenCommit, "record_whole", lambda commit, table, keys, operations: None):
            self.assert_caught(sync="overlapped")

    def test_pipelines_that_readers_do_not_wait_for(self) -> None:
        """SETs as columns are in the log, and their keys are not noted."""
        record = OpenCommit.record_whole
        with mock.patch.object(
            OpenCommit, "record_whole", lambda commit, table, keys, operations: record(commit, table, [], operations)
        ):
            self.assertIn("tells what is not on disk", self.assert_caught())

    def assert_caught_with(self, row: ValueType, **wrong: Any) -> str:
        """A type's row is wrong: without any crash but kills that is seen. Returns the violation."""
        rows = [each._replace(**wrong) if each is row else each for each in TYPES.others]
        with mock.patch.object(TYPES, "others", tuple(rows)), self.assertRaises(Violation) as caught:
            for number in range(60):
                with errors_as_violations("a run"):
                    Run(SimulatedDisk(), f"breakage/{number}").steps(60)
        return str(caught.exception)

    def test_an_undo_that_does_nothing(self) -> None:
        """What a request that fails has changed inside a value stays."""

        def without_undo(edit: Edit) -> Edit:
            def apply(value: Any, words: Words) -> Undo:
                edit.apply(value, words)
                return lambda: None

            return edit._replace(apply=apply)

        for row in TYPES.others:
            violation = self.assert_caught_with(row, edits=tuple(map(without_undo, row.edits)))
            self.assertIn("differ from the model", violation)

    def test_a_whole_that_leaves_something_out(self) -> None:
        """The last operation that builds a list again: its end; of a hash those that give its fields deadlines."""
        for row in TYPES.others:
            right = row.whole

            def wrong(value: Any, right: Callable[[Any], Iterator[Any]] = right) -> Iterator[Any]:
                *operations, last = right(value)
                yield from operations or [last]

            self.assertIn("the state is not the one", self.assert_caught_with(row, whole=wrong))

    def test_a_copy_that_is_the_value_itself(self) -> None:
        """COPY leaves two keys with one list."""
        self.assertIn("differ from the model", self.assert_caught_with(LISTS, copy=lambda value: value))

    def test_fields_that_expire_unrecorded(self) -> None:
        """What removes them changes the table, and the log does not hear of it."""

        def unrecorded(table: Table, key: bytes, name: bytes, words: Words) -> None:
            if name == b"HDEL":
                table._edit(key, name, words)
            else:
                edit(table, key, name, words)

        edit = Table.edit
        with mock.patch.object(Table, "edit", unrecorded):
            self.assert_caught()

    def test_a_patch_dropped(self) -> None:
        """The merge forgets the last of a key's patches."""
        patch = Database.patch

        def forgetful(database: Database, key: bytes, state: State) -> None:
            kept = [encode(*operation) for operation in decode(bytes(database.patches[key]))]
            database.patches[key] = bytearray(b"".join(kept[:-1]))
            patch(database, key, state)

        with mock.patch.object(Database, "patch", forgetful):
            self.assertIn("the state is not the one", self.assert_caught())

    def test_a_whole_value_put_upon_what_is_there(self) -> None:
        """A value that replaces another one is recorded without the removal of that."""
        with mock.patch.object(table_module, "encode_delete", lambda key: encode_deadline(key, None)):
            self.assert_caught()

    def test_no_select(self) -> None:
        """Operations of other databases are recorded, and their numbers are not."""
        with mock.patch.object(OpenCommit, "body", lambda commit: b"".join(commit.operations)):
            self.assert_caught()

    def test_a_select_undone_too_much(self) -> None:
        """An undone request takes back the database of the one before it, too."""

        def hasty(commit: OpenCommit, drop: Callable[[OpenCommit], None] = OpenCommit._drop_last) -> None:
            drop(commit)
            if commit._selects and not commit.undo:
                commit._unselect()

        with mock.patch.object(OpenCommit, "_drop_last", hasty):
            self.assert_caught()

    def test_swapped_databases_in_the_merge(self) -> None:
        """The merge takes SWAPDB for an operation that changes nothing."""
        add = Delta.add_each

        def deaf(delta: Delta, operations: Iterable[Operation]) -> None:
            add(delta, [operation for operation in operations if operation[0] != SWAP])

        with mock.patch.object(Delta, "add_each", deaf):
            self.assert_caught()

    def test_readers_of_another_database_that_do_not_wait(self) -> None:
        """Only the commit in flight's keys of database 0 are noted."""

        def blind(table: Table, keys: Iterable[bytes]) -> int:
            return right(table, keys) if table.number == 0 else 0

        right = Table.commit_for_keys
        with (
            mock.patch.object(Table, "commit_for_keys", blind),
            mock.patch.object(Table, "commit_for_key", lambda table, key: blind(table, [key])),
        ):
            self.assertIn("tells what is not on disk", self.assert_caught())

    def test_checksums_ignored(self) -> None:
        """Every checksum is right."""
        with mock.patch("kvstore.base.frame.crc32", lambda *arguments: 0):
            self.assert_caught()

    def test_torn_tail_left_in_place(self) -> None:
        """A torn tail is not cut off."""
        with mock.patch.object(recovery, "_cut", lambda *arguments: None):
            self.assert_caught()

    def test_recovery_promises_what_a_kill_left(self) -> None:
        """What a killed server had only written is promised without a sync."""

        class Forgetful(TransactionLog):
            left_out = 0

            def sync(self) -> None:
                self.left_out += 1
                if self.left_out > 2:
                    super().sync()

        with mock.patch.object(recovery, "TransactionLog", Forgetful):
            self.assert_caught()

    def test_bytes_not_written_again_after_a_failed_sync(self) -> None:
        """Recovery trusts the page cache after a failed sync."""
        with mock.patch.object(recovery, "_write_again", lambda *arguments: None), self.assertRaises(Violation):
            for when in range(5, 30):
                fault = Fault(when, errno.EIO, 0, 1)
                explore_fault(fault, "breakage", "always", 20, Effort(states=10, most=16, second=1), Counts())


class HistoryTests(SynchronousTestCase):
    """The oracle itself."""

    def test_bounds(self) -> None:
        """A promise holds from its own moment on, a question from the next change on."""
        history = History()
        history.ask(5, 1, {(0, b"a"): (b"1", None)})
        history.promise(7, 1)
        self.assertEqual([history.bounds(at) for at in (0, 5, 6, 7, 100)], [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)])

    def test_restart_forgets_what_was_lost(self) -> None:
        """A recovery that found less than was asked for settles that; the number is used again for another state."""
        history = History()
        history.ask(5, 1, {(0, b"a"): (b"1", None)})
        history.restart(10, 0)
        history.ask(12, 1, {(0, b"a"): (b"2", None)})
        self.assertEqual([history.bounds(at) for at in (9, 10, 12, 13)], [(0, 1), (0, 0), (0, 0), (0, 1)])
        self.assertEqual(history.state(9, 1), {(0, b"a"): (b"1", None)})
        self.assertEqual(history.state(13, 1), {(0, b"a"): (b"2", None)})

    def test_fork_and_narrow(self) -> None:
        """What a crash left is the past of the next server; once it is known what it is, it is just that."""
        history = History()
        history.ask(5, 1, {(0, b"a"): (b"1", None)})
        history.ask(8, 2, {(0, b"a"): (b"2", None)})
        past = history.fork(9)
        self.assertEqual((past.bounds(0), past.state(0, 1)), ((0, 2), {(0, b"a"): (b"1", None)}))
        past.narrow(1)
        self.assertEqual(past.bounds(0), (1, 1))

    def test_a_wrong_state_is_a_violation(self) -> None:
        """Too little, too much, or another state than the one after that commit."""
        run = Run(SimulatedDisk(), "oracle", "always").steps(10)
        crashed = run.disk.crash(AllKept())
        found = run.store.durable_sequence
        recover_checked(crashed.kill(), run.history, run.disk.changes, "right")
        wrong = [
            History(found + 1, run.content),
            History(found - 1, run.content),
            History(found, {**run.content, (1, b"more"): (b"", None)}),
            History(found, {at: (value, 1) for at, (value, _) in run.content.items()}),
        ]
        for history in wrong:
            self.assertRaises(Violation, recover_checked, crashed.kill(), history, 0, "wrong")

    def test_a_refused_start_is_a_violation(self) -> None:
        """A crash is never damage."""
        run = Run(SimulatedDisk(), "oracle", "always").steps(10)
        crashed = run.disk.crash(RandomFates(1))
        crashed.remove("table.txn")
        crashed.create("table.txn").close()
        history = run.history.fork(run.disk.changes)
        self.assertRaises(Violation, check_state, crashed, history, "emptied", 0, Counts(), settled=True)

    def test_overlapped_runs_go_everywhere(self) -> None:
        """Between the beginning and the end of a sync everything else happens; else it would prove little."""
        with small_files():
            run = Run(SimulatedDisk(), "everywhere", "overlapped").steps(600)
        meanwhile: set[str] = set()
        under_way = False
        for call in run.disk.calls:
            if under_way and call.name != "begin_sync":
                meanwhile.add(f"{call.name} {call.file.partition('.')[2][:4]}".rstrip())
            under_way = call.name == "begin_sync" or (under_way and call.name not in ("finish_sync", "lock"))
        self.assertLessEqual({"finish_sync txn", "write_at txn", "create ckpt", "rename ckpt", "lock"}, meanwhile)
        self.assertFalse({name for name in meanwhile if name.startswith(("begin_sync", "sync txn", "rename txn"))})

    def test_runs_go_everywhere(self) -> None:
        """The workload seals, merges, finishes, dies and expires; else its crashes would prove little."""
        with small_files():
            run = Run(SimulatedDisk(), "everywhere", "always").steps(300)
        self.assertGreater(min(run.requests.undone, run.requests.expired), 3)
        self.assertEqual({value.__class__ for value, _ in run.content.values()}, {bytes, tuple, dict, frozenset})
        self.assertEqual({number for number, _ in run.content}, set(range(DATABASES)))
        calls = {call.name for call in run.disk.calls}
        expected = {"lock", "create", "open", "write_at", "sync", "rename", "remove", "sync_directory", "truncate"}
        self.assertLessEqual(expected, calls)
        renamed = {call.detail for call in run.disk.calls if call.name == "rename"}
        self.assertLessEqual({"table.txn", "table.ckpt"}, renamed)
        kinds = {Fate.ENTRY, Fate.SIZE, Fate.SECTOR}
        asked: set[Fate] = set()

        class Curious(AllLost):
            def choose(self, fate: Fate, options: int) -> int:
                asked.add(fate)
                return super().choose(fate, options)

        for moment in run.disk.moments():
            moment.disk.crash(Curious())
        self.assertEqual(asked, kinds)
