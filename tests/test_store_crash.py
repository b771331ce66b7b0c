"""Crash tests of the store: after a crash at any call everything promised is there, whole commits only, nothing else.

A sample, with a seed that is printed and stands in every failure; KVSTORE_CRASH_SEED=... tries it again. All moments,
and many more states each: scripts/crashpoints.
"""

from __future__ import annotations

import errno
import os
import random

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore, StorageFault, StorageFull
from kvstore.base.frame import encode_frame
from kvstore.store.examine import examine
from kvstore.store.merge import merge
from kvstore.store.operations import LIBRARY_DATABASE
from kvstore.store.store import Store
from kvstore.testing.fates import AllKept, AllLost, Fate, RandomFates
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import Clock
from tests.suites.crashes.explore import (
    Counts,
    Effort,
    Fault,
    changing_request,
    check_state,
    explore,
    explore_failing,
    explore_fault,
    recover_checked,
)
from tests.suites.crashes.history import History, Violation
from tests.suites.crashes.model import Scores
from tests.suites.crashes.requests import DATABASES
from tests.suites.crashes.run import POLICIES, Run, small_files

SEED = os.environ.get("KVSTORE_CRASH_SEED") or f"{random.SystemRandom().getrandbits(32):08x}"


class CrashTests(SynchronousTestCase):
    """Power cuts and kills at every moment of recorded runs."""

    def setUp(self) -> None:
        """Make the store's units small, and say which seed it is."""
        self.enterContext(small_files())
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

    @pytest.mark.long
    def test_every_state_of_a_short_run(self) -> None:
        """A short run: every state that the model allows, torn at every byte, so far as there are not too many."""
        run = Run(SimulatedDisk(), f"{SEED}/short", "always").steps(5)
        counts = explore(run, Effort(states=400, most=4096, second=0))
        self.assertGreater(counts.states, 50)

    def test_full_disk(self) -> None:
        """The same on a disk that is full now and then: what was refused is not there, what was promised is."""
        run = Run(SimulatedDisk(), f"{SEED}/full", "always", tight=True).steps(100)
        self.assertGreater(run.refused, 0)
        explore(run, Effort(states=2, most=64, second=1))

    @pytest.mark.long
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
            came += explore_fault(fault, f"{SEED}/{number}", sync, 30, Effort(states=2, most=64, second=1), Counts())
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

    @pytest.mark.long
    def test_sizes_of_production(self) -> None:
        """With the log's real units: one run, a few states a moment."""
        with small_files(256 * 1024):
            explore(Run(SimulatedDisk(), f"{SEED}/large", "always").steps(30), Effort(states=3, most=64, second=1))


class FoundTests(SynchronousTestCase):
    """What these tests found once."""

    def setUp(self) -> None:
        """Make the store's units small."""
        self.enterContext(small_files())

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
            run = Run(SimulatedDisk(), "everywhere", "always")
            kinds = {value.__class__ for _ in range(6) for value, _ in run.steps(50).content.values()}
        self.assertGreater(min(run.requests.undone, run.requests.expired), 3)
        self.assertLessEqual({bytes, tuple, dict, frozenset, Scores}, kinds)
        self.assertEqual({number for number, _ in run.content}, {*range(DATABASES), LIBRARY_DATABASE})
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
