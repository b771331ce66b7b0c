"""What the crash tests are there for: a store that is broken on purpose, in each of many ways, is caught."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.value_type import Edit, Undo, ValueType, Words
from kvstore.commands import scripts
from kvstore.store import examine as examination
from kvstore.store import recovery
from kvstore.store import table as table_module
from kvstore.store.commit import OpenCommit
from kvstore.store.delta import Database, Delta
from kvstore.store.log import TransactionLog
from kvstore.store.operations import SWAP, Operation, decode, encode, encode_deadline
from kvstore.store.state import State
from kvstore.store.store import Store
from kvstore.store.table import Table
from kvstore.testing.simulated_disk import SimulatedDisk, SimulatedFile
from kvstore.values import TYPES
from kvstore.values.lists import LISTS
from tests.suites.crashes.explore import (
    Counts,
    Effort,
    Fault,
    changing_request,
    errors_as_violations,
    explore,
    explore_failing,
    explore_fault,
)
from tests.suites.crashes.history import Violation
from tests.suites.crashes.model import READERS
from tests.suites.crashes.run import Run, small_files

#: The types that the runs have requests of.
DRAWN = [row for row in TYPES.others if row.holds in READERS]


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


class BreakageTests(SynchronousTestCase):
    """The crash tests do see what they look for: each breaks one link of the chain, and must be caught."""

    def setUp(self) -> None:
        """Make the store's units small."""
        self.enterContext(small_files())

    def assert_caught(self, run_class: type[Run] = Run, sync: str = "always", first: int = 0) -> str:
        """A run of the broken store ends in a Violation, in itself or in one of the states it leaves. `first`: the
        number of one that shows it soon.

        Returns its text.
        """
        with self.assertRaises(Violation) as caught:
            for number in range(first, first + 8):
                try:
                    run = run_class(SimulatedDisk(), f"breakage/{number}", sync).steps(60)
                except Exception as error:
                    raise Violation(str(error)) from error
                explore(run, Effort(states=10, most=16, second=1))
        return str(caught.exception)

    def test_nothing_broken(self) -> None:
        """The same runs of the store as it is: no violation."""
        for number, sync in enumerate(("always", "overlapped")):
            explore(Run(SimulatedDisk(), f"breakage/{number}", sync).steps(30), Effort(4, 16, 1))

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

    def assert_caught_without_directory_sync_after(
        self, pattern: str, run_class: type[Run] = Run, first: int = 0
    ) -> str:
        """The sync of the directory that follows a certain call (its name and the file's) is left out.

        Returns the violation.
        """
        sync = SimulatedDisk.sync_directory

        def forgetful(disk: SimulatedDisk) -> None:
            if not any(re.fullmatch(pattern, f"{call.name} {call.file}") for call in disk.calls[-1:]):
                sync(disk)

        with mock.patch.object(SimulatedDisk, "sync_directory", forgetful):
            return self.assert_caught(run_class, first=first)

    @pytest.mark.long
    def test_no_sync_of_the_directory_in_the_middle_of_sealing(self) -> None:
        """The sealed segment's name is not saved before the live one is replaced."""
        self.assert_caught_without_directory_sync_after("rename table.txn")

    def test_no_sync_of_the_directory_before_a_log_is_marked_sealed(self) -> None:
        """The fresh log's name is not saved before the old one is said to have been replaced."""
        self.assert_caught_without_directory_sync_after("rename table.txn.tmp")

    def test_no_sync_of_the_directory_after_a_new_checkpoint(self) -> None:
        """Segments are removed before the new checkpoint's name is saved."""
        self.assert_caught_without_directory_sync_after("rename table.ckpt.*", first=4)

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

    @pytest.mark.long
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
        with mock.patch.object(TYPES, "others", tuple(rows)):
            return self.assert_caught_without_crashes()

    def assert_caught_without_crashes(self) -> str:
        """Runs that end in nothing worse than kill -9 end in a Violation. Returns it."""
        with self.assertRaises(Violation) as caught:
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

        for row in DRAWN:
            violation = self.assert_caught_with(row, edits=tuple(map(without_undo, row.edits)))
            self.assertIn("differ from the model", violation)

    def test_a_whole_that_leaves_something_out(self) -> None:
        """The last operation that builds a list again: its end; of a hash those that give its fields deadlines."""
        for row in DRAWN:
            right = row.whole

            def wrong(value: Any, right: Callable[[Any], Iterator[Any]] = right) -> Iterator[Any]:
                *operations, last = right(value)
                yield from operations or [last]

            self.assertRegex(self.assert_caught_with(row, whole=wrong), "the state is not the one|not an operation")

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

    def test_a_script_that_is_half_done(self) -> None:
        """Each of its calls is a request of its own: one that raises, or is late, leaves what it did."""
        perform = scripts._Host.perform

        def settled(host: scripts._Host, words: list[bytes]) -> Any:
            reply = perform(host, words)
            host._call.store.pending.undo.clear()
            return reply

        with mock.patch.object(scripts._Host, "perform", settled):
            self.assertIn("differ from the model", self.assert_caught_without_crashes())

    def test_who_waited_takes_unrecorded(self) -> None:
        """What somebody waited for is given to him, and the log does not hear that it is gone."""

        def unrecorded(table: Table, key: bytes, name: bytes, words: Words) -> None:
            if table.awaited and name in (b"LPOP", b"RPOP", b"ZREM", b"ZREMRANGEBYRANK", b"XCLAIM"):
                table._edit(key, name, words)
            else:
                edit(table, key, name, words)

        edit = Table.edit
        with mock.patch.object(Table, "edit", unrecorded):
            self.assert_caught_without_crashes()

    def test_a_patch_dropped(self) -> None:
        """The merge forgets the last of a key's patches."""
        patch = Database.patch

        def forgetful(database: Database, key: bytes, state: State) -> None:
            kept = [encode(*operation) for operation in decode(bytes(database.patches[key]))]
            database.patches[key] = bytearray(b"".join(kept[:-1]))
            patch(database, key, state)

        with mock.patch.object(Database, "patch", forgetful):
            self.assertIn("the state is not the one", self.assert_caught(first=3))

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

    @pytest.mark.long
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
