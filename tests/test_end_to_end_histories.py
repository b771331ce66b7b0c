"""Copies of a data directory that each go on, with one archive: what `restore` makes is of just one of them."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.store.archive import kept_segments
from kvstore.store.examine import Examined, examine
from kvstore.testing.server_process import ServerProcess
from kvstore.values import TYPES
from tests.kit.server_process import Serving, Wire, eventually
from tests.kit.tools import run_tool

State = dict[bytes, bytes]


class Life:
    """One life of a directory: its server, and the state after each commit, the first at place 1 of `states`."""

    def __init__(self, server: ServerProcess, before: list[State]) -> None:
        self.server = server
        self.states = list(before)
        self.times_us: list[int] = []

    def write(self, name: str, count: int, *, compact: bool = False) -> None:
        """So many commits, each a new key and a new value of `v`; then a compaction, seen to its end."""
        with Wire(self.server.port) as wire:
            for number in range(count):
                value = f"{name} {number}".encode()
                assert wire.ask("MSET", f"{name}:{number}", "x", "v", value) == b"OK"
                self.states.append(self.states[-1] | {f"{name}:{number}".encode(): b"x", b"v": value})
            if compact:
                done = int(wire.info("persistence")["compactions"])
                eventually(lambda: wire.ask("BGSAVE"), lambda reply: isinstance(reply, bytes))
                eventually(lambda: int(wire.info("persistence")["compactions"]) > done)


@pytest.mark.long
class HistoryTests(Serving, SynchronousTestCase):
    """One archive, several lives of one directory."""

    def setUp(self) -> None:
        """A server with an archive."""
        self.data = self.new_data()
        self.archive = os.path.join(os.path.dirname(self.data), "archive")
        self.out = iter(f"{self.data}-out-{number}" for number in range(1000))

    def begin(self, data: str, before: list[State]) -> Life:
        """A server on a directory."""
        return Life(self.start("--keep-log", self.archive, data=data), before)

    def restored(self, *words: str) -> Examined:
        """What is in the directory that `restore` made."""
        out = next(self.out)
        status, said = run_tool("restore", self.data, out, "--archive", self.archive, *words)
        self.assertEqual(status, 0, said)
        self.said = said
        return examine(RealDisk(out), TYPES)

    def held(self, life: Life, history: str, first: int = 1) -> None:
        """Each commit of a life can be gone back to, with exactly its values."""
        for sequence in range(first, len(life.states)):
            found = self.restored("--to-sequence", str(sequence), "--history", history)
            self.assertEqual((found.sequence, found.databases.at(0).values), (sequence, life.states[sequence]))
        self.assertEqual(self.restored("--history", history).databases.at(0).values, life.states[-1])

    def test_a_copy_put_back(self) -> None:
        """The old life goes on and is merged, then the copy, with commits of the same numbers; both lives are whole."""
        old = self.begin(self.data, [{}])
        old.write("common", 3, compact=True)
        old.write("common again", 2)
        copy = self.data + "-copy"
        shutil.copytree(self.data, copy)
        common = list(old.states)
        old.write("old", 3, compact=True)
        old.write("older", 2, compact=True)
        old.server.stop()
        first = examine(RealDisk(self.data), TYPES).history
        before_us = time.time_ns() // 1000
        shutil.rmtree(self.data)
        os.rename(copy, self.data)
        new = self.begin(self.data, common)
        new.write("new", 2, compact=True)
        new.write("newer", 4, compact=True)
        new.write("newest", 1)
        new.server.stop()
        second = examine(RealDisk(self.data), TYPES).history
        self.assertNotEqual(first, second)
        self.held(old, first)
        self.held(new, second)
        for sequence in (6, 8, 12):
            found = self.restored("--to-sequence", str(sequence))
            self.assertEqual((found.databases.at(0).values, found.history), (new.states[sequence], second))
            self.assertRegex(self.said, rf"note: the files also hold history {first} \(commits 6 to 10, ")
        found = self.restored("--to-time", f"@{before_us / 1e6:.6f}")
        self.assertEqual((found.databases.at(0).values, found.history), (common[-1], first))
        self.assertIn(first, self.said)
        self.assertEqual(self.restored().databases.at(0).values, new.states[-1])

    def test_the_archive_alone(self) -> None:
        """Two histories end in it: they are named, and one has to be chosen."""
        self.test_a_copy_put_back()
        status, said = run_tool("restore", self.archive, next(self.out))
        self.assertEqual(status, 1)
        histories = re.findall(r"history ([0-9a-f]{16}) \(commits", said)
        self.assertEqual(len(set(histories)), 2, said)
        for history in histories:
            status, said = run_tool("restore", self.archive, next(self.out), "--history", history)
            self.assertEqual(status, 0, said)
        self.assertEqual(run_tool("restore", self.archive, next(self.out), "--history", "0123456789abcdef")[0], 1)

    def test_a_backup_put_back(self) -> None:
        """A backup has a log of its own: the numbers of the segments do not even meet, and what they hold does."""
        old = self.begin(self.data, [{}])
        old.write("common", 3, compact=True)
        old.write("more", 2)
        backup = next(self.out)
        self.assertEqual(run_tool("backup", self.data, backup)[0], 0)
        common = list(old.states)
        old.write("old", 4, compact=True)
        old.server.stop()
        first = examine(RealDisk(self.data), TYPES).history
        shutil.rmtree(self.data)
        os.rename(backup, self.data)
        new = self.begin(self.data, common)
        new.write("new", 2, compact=True)
        new.write("newer", 3, compact=True)
        new.server.stop()
        self.held(old, first)
        self.held(new, examine(RealDisk(self.data), TYPES).history)

    def test_what_was_restored_goes_on(self) -> None:
        """With the same archive, from a commit in the middle; the way leads over the fork."""
        old = self.begin(self.data, [{}])
        old.write("a", 4, compact=True)
        old.write("b", 3, compact=True)
        old.server.stop()
        self.restored("--to-sequence", "5")
        shutil.rmtree(self.data)
        os.rename(self.data + "-out-0", self.data)
        new = self.begin(self.data, old.states[:6])
        new.write("c", 2, compact=True)
        new.server.stop()
        self.held(new, examine(RealDisk(self.data), TYPES).history)

    def test_two_servers_on_two_copies(self) -> None:
        """At the same time, with one archive: neither compaction fails, each has its own life."""
        one = self.begin(self.data, [{}])
        one.write("common", 3)
        copy = self.data + "-copy"
        shutil.copytree(self.data, copy, ignore=shutil.ignore_patterns("lock"))
        other = self.begin(copy, one.states)
        for life, name in ((one, "one"), (other, "other")):
            life.write(name, 3, compact=True)
        for life, name in ((other, "other2"), (one, "one2")):
            life.write(name, 2, compact=True)
            life.server.stop()
        self.held(one, examine(RealDisk(self.data), TYPES).history)
        self.held(other, examine(RealDisk(copy), TYPES).history)

    def test_a_start_that_only_merges(self) -> None:
        """Two copies that write nothing keep one segment under one name; the longer life's is there beside it."""
        one = self.begin(self.data, [{}])
        one.write("common", 3)
        copies = [self.data + "-1", self.data + "-2"]
        for copy in copies:
            shutil.copytree(self.data, copy, ignore=shutil.ignore_patterns("lock"))
        one.write("more", 2, compact=True)
        one.server.stop()
        for copy in copies:
            life = self.begin(copy, one.states[:4])
            life.write("nothing", 0, compact=True)
            life.server.stop()
        kept = kept_segments(sorted(os.listdir(self.archive)))
        self.assertEqual([last.sequence for _, last in kept.values()], [3, 5])
        self.held(one, examine(RealDisk(self.data), TYPES).history)

    def test_files_of_two_copies_are_not_mixed(self) -> None:
        """A segment of the other life, with just the same commit numbers, is found out when the directory is read."""
        one = self.begin(self.data, [{}])
        one.write("common", 2)
        one.server.stop()
        copy = self.data + "-copy"
        shutil.copytree(self.data, copy)
        for path, name in ((self.data, "one"), (copy, "two")):
            life = self.begin(path, one.states)
            life.write(name, 2, compact=True)
            life.write(name, 2)
            life.server.stop()
        shutil.copy(os.path.join(copy, "table.txn"), self.data)
        status, said = run_tool("verify", self.data)
        self.assertEqual(status, 1)
        self.assertIn("they are of two copies of the directory", said)
