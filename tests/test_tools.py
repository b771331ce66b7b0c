"""The operator's tools, on real directories: what they say, what they make, and that they change nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.base.disk import RealDisk
from kvstore.edge.merge_process import command
from kvstore.store import checkpoint
from kvstore.store.archive import keep, kept_checkpoints, kept_segments
from kvstore.store.examine import LIVE, examine
from kvstore.store.state import Databases
from kvstore.store.store import Store
from kvstore.testing.fates import AllLost
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.tools import directory, restore
from kvstore.tools.main import main
from kvstore.tools.timeline import Past, read_past
from kvstore.tools.words import from_json, to_json
from kvstore.values import TYPES
from kvstore.wire.resp import pack
from tests.kit.store_files import commit
from tests.kit.tools import read_files, run_tool, write_files
from tests.suites.crashes.model import Content, content
from tests.suites.damage.run import directories

_NO_TIMES = (
    "yesterday", "nan", "1e400", "20261128", "2026", "2026-11-28", "20260131T120000", "1e9", "1767225600",
    "1767225600000", "@1767225600000", "@1e9", "@", "2026-02-30T00:00", "2026-01-31T25:00", "2026-W05-1T00:00",
    "2026-01-31T12", "@" + "9" * 30,
)  # fmt: skip


def held(databases: Databases) -> Content:
    """What there is in all databases."""
    return content(databases.by_number.items())


class ToolTests(SynchronousTestCase):
    """Each tool, on a directory with a checkpoint, two segments and a log, 17 commits in all."""

    def setUp(self) -> None:
        """A real directory with such files."""
        self.directory = directories()[2]
        self.path = write_files(f"{self.mktemp()}/data", self.directory.contents)

    def new(self) -> str:
        """The path of a directory that is not there yet."""
        return os.path.abspath(self.mktemp())

    def damaged(self) -> str:
        """The same directory with one byte of the first segment's second commit changed."""
        name = LIVE + ".0000000000000008"
        data = bytearray(self.directory.contents[name])
        data[data.index(b"n1")] ^= 1
        return write_files(f"{self.mktemp()}/damaged", {**self.directory.contents, name: bytes(data)})

    def test_verify_sound(self) -> None:
        """It tells the state, and changes nothing."""
        status, text = run_tool("verify", self.path)
        self.assertEqual(status, 0)
        self.assertRegex(text, r"last commit: +17,")
        self.assertRegex(text, r"history: +[0-9a-f]{16}\n")
        self.assertRegex(text, f"keys: +{sum(number == 0 for number, _ in self.directory.state)},")
        self.assertEqual(read_files(self.path), self.directory.contents)

    def test_verify_damaged(self) -> None:
        """Status 1, file, offset and what to run."""
        status, text = run_tool("verify", self.damaged())
        self.assertEqual(status, 1)
        for word in ("table.txn.0000000000000008", "byte", "checksum", "kvstore.tools repair"):
            self.assertIn(word, text)

    def test_a_directory_that_is_not_there(self) -> None:
        """One line, status 3, and it is not made."""
        path = self.new()
        for tool in (["verify", path], ["repair", path], ["export", path], ["backup", path, self.new()]):
            status, text = run_tool(*tool)
            self.assertEqual((status, text.count("\n")), (3, 1), text)
        self.assertFalse(os.path.exists(path))

    def test_show_each_kind_of_file(self) -> None:
        """Log, segment and checkpoint; for a person and as JSON lines."""
        files = ((LIVE, 3, "SET"), (LIVE + ".0000000000000008", 4, "SET"), ("table.ckpt", None, "LIBRARIES"))
        for name, commits, first in files:
            path = os.path.join(self.path, name)
            status, text = run_tool("show", path)
            self.assertEqual((status, text.splitlines()[-1]), (0, "clean end"))
            *shown, verdict = [json.loads(line) for line in run_tool("show", "--json", path)[1].splitlines()]
            self.assertEqual(verdict, {"verdict": "clean end"})
            self.assertIn(len(shown), (commits, len(shown) if commits is None else commits))
            self.assertEqual(shown[0]["operations"][0][0], first)
            self.assertEqual({one["history"] for one in shown}, {examine(RealDisk(self.path), TYPES).history})

    def test_show_a_checkpoint(self) -> None:
        """Its parts are no commits, and are not called so."""
        path = os.path.join(self.path, "table.ckpt")
        self.assertRegex(
            run_tool("show", path)[1], r"^frame 1  of a checkpoint as of commit 7 of history [0-9a-f]{16}, "
        )
        self.assertEqual(json.loads(run_tool("show", "--json", path)[1].splitlines()[0])["frame"], 1)

    def test_show_what_is_no_log(self) -> None:
        """A directory, a missing file, another file: one line that says so, status 3."""
        other = os.path.join(self.path, "notes")
        with open(other, "w", encoding="utf-8") as notes:
            notes.write("nothing")
        for path, said in ((self.path, "is no file"), (self.new(), "is no file"), (other, "this is no log")):
            status, text = run_tool("show", path)
            self.assertEqual((status, text.count("\n")), (3, 1))
            self.assertIn(said, text)

    def test_show_damage(self) -> None:
        """The commits before it, then the verdict; status 1."""
        status, text = run_tool("show", os.path.join(self.damaged(), LIVE + ".0000000000000008"))
        self.assertEqual(status, 1)
        self.assertIn("commit 8 ", text)
        self.assertRegex(text.splitlines()[-1], r"stops at byte \d+: the checksum")

    def test_repair_asks_first(self) -> None:
        """Without --yes it only says what would be given up."""
        path = self.damaged()
        before = read_files(path)
        status, text = run_tool("repair", path)
        self.assertEqual(status, 1)
        self.assertIn("kept: commits up to 8", text)
        self.assertIn("given up: commits 9 to 17", text)
        self.assertEqual(read_files(path), before)

    def test_repair(self) -> None:
        """The files are copied aside, the directory recovers, with the commits before the damage."""
        path = self.damaged()
        before = read_files(path)
        status, text = run_tool("repair", "--yes", path)
        self.assertEqual(status, 0, text)
        found = examine(RealDisk(path), TYPES)
        self.assertEqual((found.sequence, found.tail, found.segments, found.leftovers), (8, None, [], []))
        self.assertIn(b"k20", found.databases.at(0).values)
        self.assertNotIn(b"k21", found.databases.at(0).values)
        self.assertEqual(read_files(path + ".damaged-1"), before)

    def test_repair_of_a_sound_directory(self) -> None:
        """Changes nothing."""
        self.assertEqual(run_tool("repair", "--yes", self.path)[0], 0)
        self.assertEqual(read_files(self.path), self.directory.contents)

    def test_repair_takes_the_lock(self) -> None:
        """A directory that a server holds is left alone."""
        disk = RealDisk(self.path)
        disk.lock()
        self.addCleanup(disk.unlock)
        status, text = run_tool("repair", "--yes", self.path)
        self.assertEqual(status, 1)
        self.assertIn("in use", text)

    def test_the_lock_file_was_removed(self) -> None:
        """`verify` and `repair` see that a server holds the directory all the same; or an older one, just the file."""
        disk = RealDisk(self.path)
        disk.lock()
        os.remove(disk.describe("lock"))
        self.assertIn("by a running server", run_tool("verify", self.path)[1])
        self.assertIn("in use", run_tool("repair", "--yes", self.path)[1])
        disk.unlock()
        self.assertNotIn("by a running server", run_tool("verify", self.path)[1])
        with open(disk.describe("lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIn("by a running server", run_tool("verify", self.path)[1])
            self.assertIn("in use", run_tool("repair", "--yes", self.path)[1])

    def test_nothing_is_imported_from_the_data(self) -> None:
        """A tool that is run in a data directory, or any other where somebody has left files of such names."""
        for name in ("json.py", "argparse.py", "datetime.py", "struct.py", "zlib.py"):
            with open(os.path.join(self.path, name), "w") as file:
                file.write("raise SystemExit('imported from the data')")
        environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(kvstore.__file__))}
        for program in ("kvstore", "kvstore.tools"):
            done = subprocess.run([sys.executable, "-m", program, "verify", "."], cwd=self.path, text=True,
                                  capture_output=True, env=environment)  # fmt: skip
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("sound", done.stdout)
        done = subprocess.run([sys.executable, "-m", "kvstore", "serve", "--help"], cwd=self.path, text=True,
                              capture_output=True, env=environment)  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--keep-log", done.stdout)

    def test_restore_each_commit(self) -> None:
        """From the checkpoint on, each commit can be gone back to; before it, the files do not reach."""
        for sequence in range(7, 18):
            out = self.new()
            status, text = run_tool("restore", self.path, out, "--to-sequence", str(sequence))
            self.assertEqual(status, 0, text)
            found = examine(RealDisk(out), TYPES)
            self.assertEqual((found.sequence, b"live0" in found.databases.at(0).values), (sequence, sequence >= 15))
        self.assertEqual(held(found.databases), self.directory.state)
        self.assertEqual(run_tool("restore", self.path, self.new(), "--to-sequence", "6")[0], 1)
        self.assertEqual(run_tool("restore", self.path, self.new(), "--to-sequence", "18")[0], 1)

    def test_restore_to_a_time(self) -> None:
        """In any of the ways to write it. All commits here are of one moment: it, or one before or after."""
        first = examine(RealDisk(self.path), TYPES).time_us // 1_000_000
        self.assertEqual(first, 1_700_000_000)
        times = "2023-11-14T22:13:20+00:00", "2023-11-14T22:13:20Z", "2023-11-14 23:13:20.000000+0100"
        for text in ("@1700000000", "@1700000000.5", "2026-11-01T00:00", *times):
            status, said = run_tool("restore", self.path, self.new(), "--to-time", text)
            self.assertEqual(status, 0, said)
            self.assertRegex(said, "as of commit 17 of history [0-9a-f]{16}, of 2023-11-14 22:13:20.000")
        self.assertIn("no later commit is there", said)
        for text, words in (("@1699999999", "--keep-log reaches"), ("2999-01-01T00:00Z", "is in the future")):
            out = self.new()
            status, said = run_tool("restore", self.path, out, "--to-time", text)
            self.assertEqual((status, os.path.exists(out)), (1, False))
            self.assertIn(words, said)

    def test_local_times_that_say_two_things(self) -> None:
        """When clocks are changed an hour is there twice, or never: its offset has to be given."""
        self.addCleanup(time.tzset)
        zone = mock.patch.dict(os.environ, TZ="Europe/Berlin")
        zone.start()
        self.addCleanup(zone.stop)
        time.tzset()
        for text in ("2026-10-25T02:30", "2026-03-29T02:30:00"):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                self.assertRaises(SystemExit, main, ["restore", self.path, self.new(), "--to-time", text])
            self.assertIn("is there twice, or never, when clocks are changed", errors.getvalue())
        for text in ("2026-10-25T02:30+01:00", "2023-11-14T23:13:20", "2026-10-25T04:00"):
            self.assertEqual(run_tool("restore", self.path, self.new(), "--to-time", text)[0], 0)
        self.assertEqual(run_tool("restore", self.path, self.new(), "--to-time", "2023-11-14T23:13:19")[0], 1)

    def test_wrong_usage(self) -> None:
        """Status 2, and what was wrong; nothing is made."""
        out = self.new()
        for words, said in (
            *(
                (["restore", self.path, out, "--to-time", text], f"{text!r} is no time; give one as 2026-01-31T12")
                for text in _NO_TIMES
            ),
            (["restore", self.path, out, "--to-sequence", "0"], "'0' is not the number of a commit; the first is 1"),
            (["restore", self.path, out, "--history", "1"], "'1' is not the identity of a history"),
            (["restore", self.path, out, "--to-sequence", "-1"], "'-1' is not the number of a commit"),
            (["restore", self.path, out, "--to-sequence", "1", "--to-time", "@1"], "not allowed with"),
            (["mend", self.path], "invalid choice: 'mend'"),
            ([], "required: COMMAND"),
        ):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                self.assertEqual(self.assertRaises(SystemExit, main, words).code, 2)
            self.assertIn(said, errors.getvalue())
        self.assertFalse(os.path.exists(out))

    def test_an_output_that_is_taken(self) -> None:
        """Refused before anything is read: a long wait would be for nothing."""
        self.patch(directory, "examine", None)
        self.patch(restore, "read_past", None)
        for words in (["restore", self.path, self.path], ["backup", self.path, self.path], ["import", self.path, "x"]):
            status, text = run_tool(*words)
            self.assertEqual(status, 1)
            self.assertIn("is there already", text)

    def test_restore_beside_a_server_that_merges(self) -> None:
        """What is replaced while it is read is read again: half of the old and half of the new fit nowhere."""
        read: list[int] = []

        def replacing(*arguments: Any) -> Past:
            past = read_past(*arguments)
            read.append(past.sequence)
            if len(read) == 1:
                checkpoint = os.path.join(self.path, "table.ckpt")
                os.rename(checkpoint, checkpoint + ".old")
                shutil.copy(checkpoint + ".old", checkpoint)
            return past

        self.patch(restore, "read_past", replacing)
        self.assertEqual(run_tool("restore", self.path, self.new())[0], 0)
        self.assertEqual(read, [17, 17])

    def test_a_foreign_segment_in_the_archive(self) -> None:
        """Its commits have higher numbers; what is restored is DIR's own state."""
        other = directories("another")[2]
        name = max(other.contents)
        archive = write_files(f"{self.mktemp()}/archive", {LIVE + ".00000000000000ff": other.contents[name]})
        out = self.new()
        self.assertEqual(run_tool("restore", self.path, out, "--archive", archive)[0], 0)
        found = examine(RealDisk(out), TYPES)
        self.assertEqual(held(found.databases), self.directory.state)

    def test_interrupted(self) -> None:
        """Ctrl-C is no traceback."""
        self.patch(directory, "examine", mock.Mock(side_effect=KeyboardInterrupt))
        self.assertEqual(run_tool("verify", self.path), (130, "\n"))

    def test_restore_past_damage_is_refused(self) -> None:
        """It names the commits that cannot be read; up to them it works."""
        path = self.damaged()
        status, text = run_tool("restore", path, self.new())
        self.assertEqual(status, 1)
        self.assertIn("commits 9 to 17 cannot be read", text)
        self.assertEqual(run_tool("restore", path, self.new(), "--to-sequence", "8")[0], 0)

    def test_export_and_import(self) -> None:
        """All bytes come back."""
        out, file = self.new(), self.new()
        status, text = run_tool("export", self.path)
        with open(file, "w", encoding="utf-8") as lines:
            lines.write(text)
        self.assertEqual((status, run_tool("import", out, file)[0]), (0, 0))
        found = examine(RealDisk(out), TYPES)
        self.assertEqual(held(found.databases), self.directory.state)

    def test_import_takes_blank_lines(self) -> None:
        """At the end, as editors and `echo` leave them, and anywhere else."""
        lines, commands = b'{"key":"a","value":"b"}\n', pack(b"SET", b"a", b"b")
        for data, options in ((lines, ()), (commands, ("--resp",))):
            for blank in (b"\n", b"\r\n", b"\n\n"):
                for whole in (data + blank, blank + data):
                    out, file = self.new(), self.new()
                    with open(file, "wb") as written:
                        written.write(whole)
                    self.assertEqual(run_tool("import", *options, out, file)[0], 0)
                    self.assertEqual(examine(RealDisk(out), TYPES).databases.at(0).values, {b"a": b"b"})

    def test_import_of_a_bad_line(self) -> None:
        """Named by its number; nothing is made."""
        out, file = self.new(), self.new()
        deadlines = [f'{{"key":"k","value":"x","deadline_ms":{text}}}' for text in ('"soon"', "-1", "true", 2**63)]
        for line in ("{}", "nonsense", '{"key":1,"value":"x"}', "[" * 100_000, *deadlines):
            with open(file, "w", encoding="utf-8") as lines:
                lines.write('{"key":"a","value":"b"}\n' + line + "\n")
            status, text = run_tool("import", out, file)
            self.assertEqual((status, os.path.exists(out)), (1, False))
            self.assertIn("line 2 ", text)

    def test_export_and_import_of_resp(self) -> None:
        """The same commands that `redis-cli --pipe` takes; all bytes come back."""
        out, file = self.new(), self.new()
        output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="", write_through=True)
        with contextlib.redirect_stdout(output):
            self.assertEqual(main(["export", "--resp", self.path]), 0)
        with open(file, "wb") as commands:
            commands.write(output.buffer.getvalue())  # type: ignore[attr-defined]
        self.assertEqual(run_tool("import", "--resp", out, file)[0], 0)
        found = examine(RealDisk(out), TYPES)
        self.assertEqual(held(found.databases), self.directory.state)

    def test_import_of_bad_resp(self) -> None:
        """Named by its number, also what only begins; nothing is made."""
        out, file = self.new(), self.new()
        for bad in (
            b"*2147483647\r\n", b"PING\r\n", b":1\r\n", b'{"key":"a","value":"b"}\n', pack(b"GET", b"a"),
            pack(b"SET", b"a", b"b")[:-7], pack(b"SET", b"a", b"b")[:-2], b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-1\r\n",
            pack(b"SET", b"a", b"b", b"EX", b"9"), pack(b"SET", b"a", b"b", b"PXAT", b"soon"),
        ):  # fmt: skip
            with open(file, "wb") as commands:
                commands.write(pack(b"SET", b"a", b"b") + bad)
            status, text = run_tool("import", "--resp", out, file)
            self.assertEqual((status, os.path.exists(out)), (1, False))
            self.assertIn("command 2 is none that `export --resp` writes", text)

    def test_backup(self) -> None:
        """A directory of its own with the same state; a taken name is refused."""
        out = self.new()
        self.assertEqual(run_tool("backup", self.path, out)[0], 0)
        found = examine(RealDisk(out), TYPES)
        self.assertEqual((held(found.databases), found.sequence), (self.directory.state, 17))
        self.assertEqual(run_tool("backup", self.path, out)[0], 1)

    def test_words(self) -> None:
        """Any bytes become JSON and come back."""
        for word in (b"", b"plain", "é".encode(), b"\xff\x00", b'{"base64":"x"}', b"\xed\xa0\x80"):
            self.assertEqual(from_json(json.loads(json.dumps(to_json(word)))), word)


class ArchiveTests(SynchronousTestCase):
    """What `--keep-log` keeps."""

    def test_kept_segments_reach_back(self) -> None:
        """Segments and, at first, the checkpoint before them; again is no harm; another directory's are refused."""
        contents, archive = directories()[2].contents, SimulatedDisk()
        segments = sorted(name for name in contents if name.startswith(LIVE + "."))
        source = SimulatedDisk.holding(contents)
        keep(source, segments[:1], archive)
        keep(source, segments, archive)
        kept = archive.crash(AllLost()).contents()
        self.assertEqual(len(kept), 3)
        for data, name in zip((contents[checkpoint.NAME], *map(contents.get, segments)), sorted(kept), strict=True):
            self.assertTrue(kept[name] == data, name)
        names = list(kept_segments(sorted(kept)).values())
        self.assertEqual([(first, last.sequence) for first, last in names], [(8, 11), (12, 14)])
        self.assertEqual([at.sequence for at in kept_checkpoints(sorted(kept)).values()], [7])

    def test_an_archive_of_another_directory(self) -> None:
        """Refused though no name is taken: what would be mixed could not be told apart in years."""
        ours, theirs = directories()[2].contents, directories("another")[2].contents
        segments = sorted(name for name in ours if name.startswith(LIVE + "."))
        archive = SimulatedDisk.holding({LIVE + ".00000000000000ff": theirs[segments[0]]})
        before = archive.contents()
        self.assertRaises(FileExistsError, keep, SimulatedDisk.holding(ours), segments, archive)
        self.assertEqual(archive.contents(), before)

    def test_restore_behind_a_merge(self) -> None:
        """The server's own merge program keeps the segments; each commit can be gone back to."""
        path, archive = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        clock = iter(range(1_700_000_000_000_000, 1 << 62))
        environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(kvstore.__file__))}
        disk, kept = RealDisk(path), RealDisk(archive)
        self.addCleanup(disk.unlock)
        store = Store(disk, TYPES, lambda: next(clock), os.urandom)
        for number in range(6):
            store.table.write(b"key", b"%d" % number)
            commit(store)
            if number in (1, 3):
                job = store.seal()
                words, descriptors = command(disk, job, kept)
                done = subprocess.run(words, input=b"", capture_output=True, check=True, env=environment,
                                      pass_fds=descriptors)  # fmt: skip
                store.finish_compaction(json.loads(done.stdout)["bytes"])
        for number in range(6):
            out = os.path.abspath(self.mktemp())
            words = ["restore", path, out, "--archive", archive, "--to-sequence", str(number + 1)]
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(main(words), 0)
            self.assertEqual(examine(RealDisk(out), TYPES).databases.at(0).values, {b"key": b"%d" % number})
