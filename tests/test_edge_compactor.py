"""Seeing a compaction through: a child process that reports, fails, dies or never starts, each planted by the test."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import StorageFault
from kvstore.edge import compactor
from kvstore.edge.compactor import Compactor, MergeProcess
from kvstore.edge.merge_process import command
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.merge import MergeJob, merge
from kvstore.store.store import Store
from kvstore.testing.server_process import PATIENCE_S, environment
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import commit


class FakeChild:
    """A child that does what the test says. `released`, `killed`: what it was told."""

    def __init__(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> None:
        self.job = job
        self.say = said
        self.end = ended
        self.released = False
        self.killed = False

    def release(self) -> None:
        """See `Child`."""
        self.released = True

    def kill(self) -> None:
        """See `Child`."""
        self.killed = True


class CompactorTests(SynchronousTestCase):
    """A compactor over a store on a simulated disk, which compacts after more than 2 entries."""

    def setUp(self) -> None:
        """Make them, and change three keys: a compaction is due."""
        self.now_us = 2_000_000_000_000_000
        self.disk = SimulatedDisk()
        self.store = self.open_store()
        self.children: list[FakeChild] = []
        self.start_error: Exception | None = None
        self.faults: list[StorageFault] = []
        self.compactor = Compactor(self.store, self.start, self.faults.append)
        self.change("a", "b", "c")

    def open_store(self) -> Store:
        """The store that is on the disk."""
        names = iter(range(10**6))  # random enough: every temporary file has a name of its own
        return Store(
            self.disk, TYPES, lambda: self.now_us, lambda n: next(names).to_bytes(n, "big"), CompactionPolicy(2)
        )

    def start(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> FakeChild:
        """What the compactor calls to begin a merge."""
        if self.start_error is not None:
            raise self.start_error
        self.children.append(FakeChild(job, said, ended))
        return self.children[-1]

    def change(self, *keys: str) -> None:
        """A commit that writes these keys."""
        for key in keys:
            self.store.table.write(key.encode(), b"1")
        self.store.pending.undo.clear()
        commit(self.store)

    def begun(self) -> FakeChild:
        """Begin the compaction that is due; returns its child."""
        self.compactor.begin_if_due()
        return self.children[-1]

    def do_merge(self, child: FakeChild) -> str:
        """Do a child's work; returns its report."""
        return json.dumps({"bytes": merge(self.disk, TYPES, child.job, self.now_us), "seconds": 0.1})

    def recovered(self) -> list[bytes]:
        """The keys that a server started now, after a kill, would have."""
        self.disk = self.disk.kill()
        return sorted(self.open_store().table.values)

    def test_a_compaction(self) -> None:
        """Sealed, merged by the child, put in place when it reports; over when the child is gone."""
        child = self.begun()
        self.assertTrue(self.compactor.running)
        self.assertEqual((child.job.covers, self.store.compactions), (1, 0))
        self.change("d")
        child.say(self.do_merge(child))
        self.assertEqual((self.store.compactions, child.released), (1, True))
        self.assertTrue(self.compactor.running)
        child.end("ended with status 0")
        self.assertFalse(self.compactor.running)
        self.assertEqual((self.compactor.last_error, self.faults), ("", []))
        self.assertGreater(self.compactor.last_finished_ms, 0)
        self.assertEqual(sorted(name for name in self.disk.names() if name != "lock"), ["table.ckpt", "table.txn"])
        self.assertEqual(self.recovered(), [b"a", b"b", b"c", b"d"])

    def test_events(self) -> None:
        """For what of it the loop waits, is told."""
        told: list[tuple[str, int]] = []
        self.compactor.events = mock.Mock(note=lambda name, took_ns: told.append((name, took_ns)))
        child = self.begun()
        child.say(self.do_merge(child))
        self.assertEqual([name for name, _ in told], ["log-seal", "fork", "aof-rename"])
        self.assertTrue(all(took_ns > 0 for _, took_ns in told), told)

    def test_one_after_the_other(self) -> None:
        """While a child is at work, or has not ended yet, no other begins."""
        child = self.begun()
        self.change("d", "e", "f")
        self.compactor.begin_if_due()
        child.say(self.do_merge(child))
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), 1)
        child.end("ended with status 0")
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), 2)

    def test_not_due(self) -> None:
        """A log as long as the limit is not compacted; one entry more is."""
        self.disk = SimulatedDisk()
        self.store = self.open_store()
        self.compactor = Compactor(self.store, self.start, self.faults.append)
        self.change("a", "b")
        self.compactor.begin_if_due()
        self.assertEqual(self.children, [])
        self.change("c")
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), 1)

    def test_asked_for(self) -> None:
        """BGSAVE's way: whatever the policy says, once, unless a child is at work."""
        child = self.begun()
        self.assertFalse(self.compactor.ask())
        child.say(self.do_merge(child))
        child.end("ended with status 0")
        self.change("d")
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), 1)
        self.assertFalse(self.compactor.due)
        self.assertTrue(self.compactor.ask())
        self.assertTrue(self.compactor.due)
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), 2)

    def test_asked_for_with_nothing_to_do(self) -> None:
        """An empty store is not compacted; whoever asked is told that it is well as it is, LASTSAVE as of when."""
        self.disk = SimulatedDisk()
        self.store = self.open_store()
        self.compactor = Compactor(self.store, self.start, self.faults.append)
        told = self.told()
        self.assertTrue(self.compactor.ask())
        self.assertIsNone(self.compactor.error())
        self.compactor.begin_if_due()
        self.assertEqual((self.children, told), ([], [""]))
        self.assertGreater(self.compactor.last_finished_ms, 0)

    def told(self) -> list[str | None]:
        """How each compaction from now on ended, at the moment when that is told."""
        told: list[str | None] = []
        self.compactor.done = lambda: told.append(self.compactor.error())
        return told

    def test_whoever_waits_is_told_of_the_end(self) -> None:
        """Once, when the child is gone, or could not be started: well, or what went wrong."""
        told = self.told()
        child = self.begun()
        child.say(self.do_merge(child))
        self.assertEqual((told, self.compactor.error()), ([], None))
        child.end("ended with status 0")
        self.assertEqual(told, [""])
        self.change("d", "e", "f")
        child = self.begun()
        child.say(json.dumps({"error": "no room"}))
        child.end("ended with status 1")
        child = self.again()
        child.end("was killed by signal 9")
        self.start_error = OSError("no memory")
        self.again()
        self.assertEqual(
            [(error or "")[:20] for error in told], ["", "no room", "the compaction proce", "the compaction proce"]
        )

    def again(self) -> FakeChild:
        """Begin another one, after the pause that a failure brings."""
        self.now_us += 3_600_000_000
        self.compactor.ask()
        return self.begun()

    def failed(self, why: str) -> None:
        """The compaction failed for this reason; a later one takes up where it was, and nothing is lost."""
        self.assertIn(why, self.compactor.last_error)
        self.assertEqual((self.store.compactions, self.faults), (0, []))
        before = len(self.children)
        self.start_error = None
        self.compactor.begin_if_due()
        self.assertEqual(len(self.children), before, "no pause after a failure")
        self.change("d")
        self.now_us += 10_000_000
        self.compactor.begin_if_due()
        child = self.children[before]
        child.say(self.do_merge(child))
        child.end("ended with status 0")
        self.assertEqual((self.store.compactions, self.compactor.last_error), (1, ""))
        self.assertEqual(self.recovered(), [b"a", b"b", b"c", b"d"])

    def test_the_child_reports_an_error(self) -> None:
        """It says why; its inputs are kept."""
        child = self.begun()
        child.say('{"error": "No space left on device"}')
        self.assertTrue(child.released)
        child.end("ended with status 1")
        self.failed("No space left on device")

    def test_the_child_dies(self) -> None:
        """Without a report; the last line it printed is told."""
        child = self.begun()
        for line in ("Traceback (most recent call last):", "3", "MemoryError"):
            child.say(line)
        child.end("was killed by signal 9")
        self.failed("the compaction process was killed by signal 9 without a report; MemoryError")

    def test_the_child_dies_half_way(self) -> None:
        """Its unfinished file is removed."""
        child = self.begun()
        self.disk.create(child.job.output).write_at(0, b"half a checkpoint")
        child.end("was killed by signal 15")
        self.assertNotIn(child.job.output, self.disk.names())
        self.failed("was killed by signal 15")

    def test_the_child_cannot_be_started(self) -> None:
        """Too many processes, say."""
        self.start_error = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.compactor.begin_if_due()
        self.assertFalse(self.compactor.running)
        self.failed("could not be started: [Errno 11] Resource temporarily unavailable")

    def test_the_log_cannot_be_sealed(self) -> None:
        """No room for a fresh log: nothing has changed, it is tried later, and the operator is told."""
        self.disk.capacity_bytes = 0
        with capturedLogs() as logs:
            self.compactor.begin_if_due()
        self.assertEqual((self.children, len(logs)), ([], 1))
        self.assertIn("no file was changed", logs[0]["log_format"])
        self.disk.capacity_bytes = None
        self.failed("the log could not be sealed: ")

    def test_sealing_stops_half_way(self) -> None:
        """The disk failed under the log: that is a fault, for whoever called."""
        self.disk.fail("rename", errno.EIO)
        self.assertRaises(StorageFault, self.compactor.begin_if_due)
        self.assertIsNotNone(self.store.failed)

    def test_the_checkpoint_cannot_be_put_in_place(self) -> None:
        """So is this; nothing is asked of the store after it."""
        child = self.begun()
        report = self.do_merge(child)
        self.disk.fail("rename", errno.EIO)
        child.say(report)
        child.end("ended with status 0")
        self.assertEqual((len(self.faults), self.store.compactions), (1, 0))
        self.assertEqual(self.recovered(), [b"a", b"b", b"c"])

    def test_stopping(self) -> None:
        """The child is killed; what it may still say changes nothing; no other begins."""
        child = self.begun()
        report = self.do_merge(child)
        self.compactor.stop()
        self.assertTrue(child.killed)
        child.say(report)
        child.end("was killed by signal 9")
        self.compactor.begin_if_due()
        self.assertEqual((self.store.compactions, self.compactor.last_error, len(self.children)), (0, "", 1))
        self.assertEqual(self.recovered(), [b"a", b"b", b"c"])

    def test_whatever_goes_wrong_half_way(self) -> None:
        """Sealing, and putting the checkpoint in place: that is a fault, as if the disk had refused it."""

        def broken(*arguments: object) -> None:
            raise ValueError("nobody thought of that")

        self.patch(self.disk, "sync_directory", broken)
        self.assertIn("nobody thought of that", str(self.assertRaises(StorageFault, self.compactor.begin_if_due)))
        self.assertIsNotNone(self.store.failed)
        self.setUp()
        child = self.begun()
        report = self.do_merge(child)
        self.patch(self.disk, "rename", broken)
        child.say(report)
        self.assertRegex(str(self.faults), "nobody thought of that")
        self.assertIsNotNone(self.store.failed)

    def test_whatever_keeps_the_child_from_starting(self) -> None:
        """The compaction failed, and is tried again."""
        self.start_error = ValueError("nobody thought of that")
        self.compactor.begin_if_due()
        self.assertIn("nobody thought of that", self.compactor.last_error)
        self.assertIsNone(self.store.compacting)


class MergeProcessTests(TestCase):
    """The child process itself, a real one."""

    def run_child(self, arrange: Callable[[MergeProcess, str], None]) -> Deferred[tuple[list[str], str]]:
        """Seal a real store of one key and merge it. `arrange`: called with the child and each line it prints.

        The result is the lines and how the child ended.
        """
        directory = os.path.abspath(self.mktemp())
        disk = RealDisk(directory)
        store = Store(disk, TYPES, lambda: 1_000_000, lambda length: bytes(length))
        store.table.write(b"key", b"value")
        commit = store.close_commit()
        assert commit is not None
        store.write(commit)
        store.settle(commit, durable=False)
        lines: list[str] = []
        over: Deferred[tuple[list[str], str]] = Deferred()

        def said(line: str) -> None:
            lines.append(line)
            arrange(child, line)

        child = MergeProcess(reactor, disk, store.seal(), said, lambda how: over.callback((lines, how)))
        self.addCleanup(store.close)
        return over

    def test_reports_and_ends_when_released(self) -> Deferred[None]:
        """One line of JSON; then it waits for its release."""

        def check(result: tuple[list[str], str]) -> None:
            lines, how = result
            self.assertEqual((len(lines), how), (1, "ended with status 0"))
            self.assertGreater(json.loads(lines[0])["bytes"], 0)

        return self.run_child(lambda child, line: child.release()).addCallback(check)

    def test_killed(self) -> Deferred[None]:
        """Its end is told, with the signal."""

        def check(result: tuple[list[str], str]) -> None:
            self.assertEqual(result[1], "was killed by signal 9")

        return self.run_child(lambda child, line: child.kill()).addCallback(check)

    def test_a_program_that_fails(self) -> Deferred[None]:
        """What it complains of is told line by line."""
        real = compactor.subprocess.Popen

        def broken(arguments: list[str], **options: Any) -> Any:
            return real([sys.executable, "-c", "print('one'); raise SystemExit('two')"], **options)

        self.patch(compactor.subprocess, "Popen", broken)

        def check(result: tuple[list[str], str]) -> None:
            self.assertEqual((sorted(result[0]), result[1]), (["one", "two"], "ended with status 1"))

        return self.run_child(lambda child, line: None).addCallback(check)

    def test_a_directory_that_was_moved(self) -> Deferred[None]:
        """It works where the server does, whatever has the path meanwhile; nothing beside the data is imported."""
        moved: list[str] = []
        real = compactor.subprocess.Popen

        def late(words: list[str], **options: Any) -> Any:
            path = words[words.index("kvstore.edge.merge_process") + 1].split(":", 1)[1]
            for name in ("json.py", "zlib.py", "contextlib.py"):
                Path(path, name).write_text("raise SystemExit('imported from the data')")
            os.rename(path, path + ".old")
            os.mkdir(path)
            moved.append(path)
            return real(words, **options)

        self.patch(compactor.subprocess, "Popen", late)
        empty_entries = f":{os.environ.get('PYTHONPATH', '')}::."
        self.patch(os, "environ", dict(os.environ, PYTHONPATH=empty_entries))

        def check(result: tuple[list[str], str]) -> None:
            ((line,), how), (path,) = result, moved
            self.assertEqual((list(json.loads(line)), how), (["bytes", "seconds"], "ended with status 0"))
            self.assertEqual(os.listdir(path), [])
            self.assertIn("table.ckpt.0000000000000000.tmp", os.listdir(path + ".old"))

        return self.run_child(lambda child, line: child.release()).addCallback(check)

    def test_an_archive_that_was_moved(self) -> None:
        """The merge fails, so that the segments stay; the directory in its place is left as it is."""
        disk, archive = RealDisk(os.path.abspath(self.mktemp())), RealDisk(os.path.abspath(self.mktemp()))
        store = Store(disk, TYPES, lambda: 1_000_000, lambda length: bytes(length))
        self.addCleanup(store.close)
        store.table.write(b"key", b"value")
        commit = store.close_commit()
        assert commit is not None
        store.write(commit)
        store.settle(commit, durable=False)
        words, descriptors = command(disk, store.seal(), archive)
        os.rename(archive.path, archive.path + ".old")
        os.mkdir(archive.path)
        done = subprocess.run(words, input=b"", capture_output=True, env=environment(), pass_fds=descriptors)
        self.assertIn(f"{archive.path} names another directory", json.loads(done.stdout)["error"])
        self.assertEqual((os.listdir(archive.path), os.listdir(archive.path + ".old")), ([], []))

    def test_a_directory_that_is_gone(self) -> None:
        """A child that outlives its server does not make the directory again that somebody has removed."""
        disk = RealDisk(os.path.abspath(self.mktemp()))
        os.rmdir(disk.path)
        words, descriptors = command(disk, MergeJob(["segment"], "output", 1, 1), None)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), pass_fds=descriptors,
            timeout=PATIENCE_S,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr, os.path.exists(disk.path)), (1, b"", False))
        self.assertIn(disk.describe("segment"), json.loads(done.stdout)["error"])
