"""What is no data directory, or not any more: each tool, and a server, says what it is, and nobody makes one of it."""

from __future__ import annotations

import os
import shutil

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import StartRefused, Unfinished
from kvstore.store import archive, checkpoint
from kvstore.store.beginning import Lineage
from kvstore.store.examine import LIVE, examine
from kvstore.store.store import Store
from kvstore.testing.server_process import ServerProcess, StartFailed
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.tools.directory import write_state
from kvstore.values import TYPES
from tests.kit.tools import run_tool, write_files
from tests.suites.crashes.model import content
from tests.suites.damage.run import directories

NOTHING, UNFINISHED, UNREACHABLE = 3, 4, 5


class PlaceTests(SynchronousTestCase):
    """Each kind of place that holds no state."""

    def setUp(self) -> None:
        """A sound directory, to compare with."""
        self.sound = write_files(self.mktemp(), directories()[2].contents)

    def interrupted(self, *names: str) -> str:
        """A directory that only has files which were being written."""
        contents = directories()[2].contents
        return write_files(self.mktemp(), {name + ".tmp": contents[name][:5000] for name in names})

    def told(self, path: str, status: int, said: str) -> None:
        """Every tool says it in one line, with that status, and neither changes the place nor makes another."""
        before, out = self.listed(path), os.path.abspath(self.mktemp())
        tools = [["verify", path], ["export", path], ["repair", path], ["backup", path, out], ["restore", path, out]]
        if before or not os.path.isdir(path):  # an archive is empty until the first compaction
            tools.append(["restore", self.sound, out, "--archive", path])
        for words in tools:
            found, text = run_tool(*words)
            self.assertEqual((found, text.count("\n")), (status, 1), text)
            self.assertIn(said, text)
        self.assertEqual((self.listed(path), os.path.lexists(out)), (before, False))

    def listed(self, path: str) -> list[str]:
        """The names in it, if it is a directory."""
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def refused_by_a_server(self, path: str, said: str) -> None:
        """It does not start, and says so."""
        refusal = self.assertRaises(StartFailed, ServerProcess, data=path)
        self.assertIn(said, str(refusal))

    def test_a_directory_that_no_server_has_used(self) -> None:
        """Empty, or somebody else's, or left by a first start that a crash ended before anything was in it."""
        others = {"passwd": b"root", "notes.tmp": b""}
        for path in (write_files(self.mktemp(), {}), write_files(self.mktemp(), others), self.interrupted(LIVE)):
            self.told(path, NOTHING, "no server has used this directory yet")

    def test_an_archive_before_the_first_compaction(self) -> None:
        """Has nothing to add yet."""
        out = os.path.abspath(self.mktemp())
        self.assertEqual(run_tool("restore", self.sound, out, "--archive", write_files(self.mktemp(), {}))[0], 0)

    def test_no_directory(self) -> None:
        """A path that is not there, and a file."""
        self.told(os.path.abspath(self.mktemp()), NOTHING, "is not there")
        self.told(os.path.join(self.sound, LIVE), NOTHING, "is no directory")

    def test_an_interrupted_backup(self) -> None:
        """It is called that; a server does not come up on it without its keys; the next backup clears it away."""
        for names in ((checkpoint.NAME,), (checkpoint.NAME, LIVE)):
            path = self.interrupted(*names)
            self.told(path, UNFINISHED, "a backup, restore or import into this directory was interrupted")
            self.refused_by_a_server(path, "was interrupted, or is not done yet")
            self.assertEqual(run_tool("backup", self.sound, path)[0], 0)
            self.assertEqual(self.listed(path), ["lock", "table.ckpt", "table.txn"])
            self.assertEqual(
                content(examine(RealDisk(path), TYPES).databases.by_number.items()), directories()[2].state
            )

    def test_what_else_clears_it_away(self) -> None:
        """Restore and import; but none of them touches a directory with anything else in it."""
        lines = write_files(self.mktemp(), {"in": b'{"key":"a","value":"b"}\n'})
        for words in (["restore", self.sound], ["import"]):
            more = [os.path.join(lines, "in")] if words == ["import"] else []
            path = self.interrupted(checkpoint.NAME)
            self.assertEqual(run_tool(*words, path, *more)[0], 0)
            path = self.interrupted(checkpoint.NAME)
            shutil.copy(os.path.join(lines, "in"), path)
            self.assertEqual(run_tool(*words, path, *more)[0], 1)
            self.assertEqual(self.listed(path), ["in", "table.ckpt.tmp"])

    def test_a_power_cut_at_each_moment(self) -> None:
        """What a tool leaves then is the whole state, or refused, or nothing at all: never a log without its keys."""
        directory = directories()[2]
        databases = examine(SimulatedDisk.holding(directory.contents), TYPES).databases
        disk = SimulatedDisk()
        write_state(disk, databases, 17, Lineage("a" * 16))
        outcomes: set[str] = set()
        for moment in disk.moments():
            for left in moment.disk.crashes(20):
                try:
                    found = examine(left, TYPES)
                    outcomes.add(
                        "whole" if content(found.databases.by_number.items()) == directory.state else str(left.names())
                    )
                except StartRefused as refusal:
                    outcomes.add(type(refusal).__name__)
        self.assertEqual(outcomes, {"whole", "Unfinished", "DamagedStore", "[]"})

    def test_links_to_a_disk_that_is_not_mounted(self) -> None:
        """Of a file, of the directory, of one above it: nothing takes that for an empty place."""
        away = os.path.abspath(self.mktemp())
        files = write_files(self.mktemp(), {})
        for name in (LIVE, checkpoint.NAME):
            os.symlink(os.path.join(away, name), os.path.join(files, name))
        link = os.path.abspath(self.mktemp())
        os.symlink(away, link)
        for path in (files, link, os.path.join(link, "data")):
            self.told(path, UNREACHABLE, "which is not there; is the disk mounted that it is on?")
            self.refused_by_a_server(path, "is the disk mounted that it is on?")
            status, said = run_tool("backup", self.sound, path)
            self.assertEqual((status, os.path.exists(away)), (5 if path != files else 1, False), said)
        self.assertEqual(run_tool("show", os.path.join(files, LIVE))[0], UNREACHABLE)

    def test_one_file_of_several_is_a_link_that_leads_nowhere(self) -> None:
        """Also the checkpoint alone, and a sealed segment."""
        for name in sorted(directories()[2].contents):
            path = write_files(self.mktemp(), directories()[2].contents)
            os.replace(os.path.join(path, name), path + "-away")
            os.symlink(path + "-elsewhere", os.path.join(path, name))
            self.assertEqual(run_tool("verify", path)[0], UNREACHABLE)
            os.remove(os.path.join(path, name))
            os.symlink(path + "-away", os.path.join(path, name))
            self.assertEqual(run_tool("verify", path)[0], 0)

    def test_an_archive(self) -> None:
        """Is no data directory; a server would begin a new one in the middle of it."""
        contents, kept = directories()[2].contents, SimulatedDisk()
        segments = sorted(name for name in contents if name.startswith(LIVE + "."))
        archive.keep(SimulatedDisk.holding(contents), segments, kept)
        path = write_files(self.mktemp(), kept.contents())
        for tool in ("verify", "export", "repair"):
            status, said = run_tool(tool, path)
            self.assertEqual(status, NOTHING)
            self.assertIn("this is an archive of --keep-log", said)
        self.refused_by_a_server(path, "this is an archive of --keep-log")
        out = os.path.abspath(self.mktemp())
        self.assertEqual(run_tool("restore", path, out)[0], 0)
        self.assertEqual(examine(RealDisk(out), TYPES).sequence, 14)

    def test_a_crash_of_the_first_start_is_no_interrupted_backup(self) -> None:
        """The log alone, under its temporary name: the next start begins anew."""
        disk = SimulatedDisk.holding({LIVE + ".tmp": b"garbage"})
        self.assertEqual(Store(disk, TYPES, lambda: 1, os.urandom).table.values, {})
        self.assertRaises(Unfinished, examine, SimulatedDisk.holding({checkpoint.NAME + ".tmp": b""}), TYPES)
