"""Ways through the files of a directory and its archive: across forks, gaps, damage, and files of older versions."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk
from kvstore.base.errors import KVStoreError
from kvstore.store import archive, log
from kvstore.store.archive import Position, kept_checkpoints, kept_segments
from kvstore.store.beginning import NO_BEGINNING, Beginning
from kvstore.store.examine import examine, segment_name
from kvstore.store.group_store import GroupStore
from kvstore.store.history import NO_HISTORY
from kvstore.store.merge import merge
from kvstore.store.store import Store
from kvstore.tools.histories import Files
from kvstore.tools.timeline import read_past
from kvstore.values import TYPES
from tests.kit.group_stores import lead_alone
from tests.kit.store_files import commit
from tests.kit.tools import run_tool

_CLOCK = iter(range(1_700_000_000_000_000, 1 << 62))


class NoHeading:
    """A `Heading` of older versions, whose frames begin with nothing."""

    size_bytes = 0

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`."""
        return NO_BEGINNING, operations


class Life:
    """A store on a directory, its archive or None, and the value of `v` after each commit; `old`: notes no history."""

    open: type[Store] = Store

    def __init__(self, path: str, kept: str | None, values: list[bytes], *, old: bool = False) -> None:
        self.path = path
        self.disk = RealDisk(path)
        self.kept = kept
        self.values = values
        self.old = old
        self.store = self.open(self.disk, TYPES, lambda: next(_CLOCK), os.urandom)
        if old:
            self.store.heading = NoHeading()

    def write(self, name: str, count: int) -> Life:
        """So many commits."""
        for number in range(count):
            self.values.append(f"{name} {number}".encode())
            self.store.table.write(b"v", self.values[-1])
            commit(self.store)
        return self

    def compact(self) -> Life:
        """Merge, and keep the segments if there is an archive."""
        job = self.store.seal()
        size = merge(self.disk, TYPES, job, next(_CLOCK))
        if self.kept is not None:
            archive.keep(self.disk, job.segments, RealDisk(self.kept))
            if self.old:
                self.rename_as_of_old()
        self.store.finish_compaction(size)
        return self

    def rename_as_of_old(self) -> None:
        """The names that older versions gave to what they kept."""
        assert self.kept is not None
        names = sorted(os.listdir(self.kept))
        for name in names:
            if name in kept_checkpoints(names):
                os.rename(os.path.join(self.kept, name), os.path.join(self.kept, "table.ckpt"))
            if name in kept_segments(names):
                first, _ = kept_segments(names)[name]
                os.rename(os.path.join(self.kept, name), os.path.join(self.kept, segment_name(first)))

    def end(self) -> str:
        """Stop; returns the history of the last commit."""
        self.store.close()
        self.disk.unlock()
        return self.store.history


class GroupLife(Life):
    """The same of a server that leads a group; each start is an epoch."""

    open = GroupStore
    store: GroupStore

    def __init__(self, path: str, kept: str | None, values: list[bytes]) -> None:
        super().__init__(path, kept, values)
        lead_alone(self.store)
        self.values.append(self.values[-1])


class WayTests(SynchronousTestCase):
    """What `restore` finds."""

    def setUp(self) -> None:
        """Names."""
        top = os.path.abspath(self.mktemp())
        os.makedirs(top)
        self.data, self.kept = os.path.join(top, "data"), os.path.join(top, "kept")
        self.names: Iterator[str] = (os.path.join(top, f"other-{number}") for number in itertools.count())

    def at(self, sequence: int, *paths: str, history: str | None = None) -> bytes:
        """The value of `v` after a commit, by the files in these places."""
        past = read_past([RealDisk(path) for path in paths or (self.data, self.kept)], sequence, history=history)
        self.assertEqual(past.sequence, sequence)
        return past.databases.at(0).values[b"v"]

    def held(self, life: Life, first: int = 1, *paths: str, history: str | None = None) -> None:
        """Each commit of a life from `first` on is found."""
        for sequence in range(first, len(life.values)):
            self.assertEqual(self.at(sequence, *paths, history=history), life.values[sequence])

    def copied(self) -> str:
        """A copy of the directory."""
        copy = next(self.names)
        shutil.copytree(self.data, copy)
        return copy

    def test_each_start_begins_one(self) -> None:
        """With its first commit; a start that writes none has none; all are on the way."""
        seen, values = [], [b""]
        for count in (2, 0, 1, 3):
            life = Life(self.data, self.kept, values).write(f"start {len(seen)}", count)
            seen.append(life.end())
        self.assertEqual((len(set(seen)), seen[0]), (3, seen[1]))
        self.assertEqual(examine(RealDisk(self.data), TYPES).history, seen[-1])
        os.mkdir(self.kept)
        self.held(life)
        self.assertEqual(list(Files([RealDisk(self.data)]).histories()), [seen[0], *seen[2:]])

    def test_forks_of_forks(self) -> None:
        """A copy of a copy: the way to each end goes over both forks."""
        lives = [Life(self.data, self.kept, [b""]).write("a", 3).compact().write("a", 2)]
        copies = [self.copied()]
        ends = [lives[0].write("a+", 3).compact().end()]
        for name in "bc":
            life = Life(copies[-1], self.kept, lives[-1].values[: 6 if name == "b" else 8])
            lives.append(life.write(name, 2).compact())
            shutil.copytree(copies[-1], copy := next(self.names))
            copies.append(copy)
            ends.append(life.write(name + "+", 3).compact().end())
        self.assertEqual(len(set(ends)), 3)
        for life, end in zip(lives, ends, strict=True):
            for place in (self.data, copies[0], copies[1]):
                self.held(life, 1, place, self.kept, history=end)
            self.held(life, 1, self.kept, history=end)
            self.held(life, 1, life.path, self.kept)

    def test_an_archive_alone_with_two_ends(self) -> None:
        """Those two are named; not the one that both go on from, which ends nowhere."""
        Life(self.data, self.kept, [b""]).write("common", 3).compact().end()
        copy = self.copied()
        ends = {Life(path, self.kept, [b""]).write(path, 2).compact().end() for path in (self.data, copy)}
        refused = self.assertRaises(KVStoreError, read_past, [RealDisk(self.kept)])
        self.assertEqual(set(re.findall(r"history ([0-9a-f]{16}) \(commits 4 to 5", str(refused))), ends)
        self.assertNotIn("commits 1 to 3", str(refused))

    def test_a_gap_in_the_archive(self) -> None:
        """A time without --keep-log: the archive begins anew with a checkpoint, and what is between is not made up."""
        values = [b""]
        Life(self.data, self.kept, values).write("kept", 3).compact().end()
        Life(self.data, None, values).write("not kept", 3).compact().end()
        life = Life(self.data, self.kept, values).write("kept again", 3).compact()
        end = life.end()
        self.assertEqual([at.sequence for at in kept_checkpoints(sorted(os.listdir(self.kept))).values()], [0, 6])
        for sequence in (6, 7, 8, 9):
            self.assertEqual(self.at(sequence), values[sequence])
            self.assertEqual(self.at(sequence, self.kept, history=end), values[sequence])
        for sequence in (1, 4, 5):
            status, said = run_tool("restore", self.data, next(self.names), "--archive", self.kept,
                                    "--to-sequence", str(sequence))  # fmt: skip
            self.assertEqual(status, 1, said)

    def test_damage_in_the_archive(self) -> None:
        """A segment that cannot be read is not gone around by way of another history."""
        life = Life(self.data, self.kept, [b""]).write("a", 2).compact().write("a", 1)
        copy = self.copied()
        life.write("a", 3).compact().end()
        other = Life(copy, self.kept, life.values[:4]).write("b", 4).compact()
        other.end()
        name = next(name for name, (_, last) in kept_segments(os.listdir(self.kept)).items() if last.sequence == 7)
        with open(os.path.join(self.kept, name), "r+b") as file:
            file.seek(file.read().index(b"$3\r\nb 1"))
            file.write(b"B")
        status, said = run_tool("restore", copy, next(self.names), "--archive", self.kept, "--to-sequence", "6")
        self.assertEqual(status, 1)
        self.assertIn("the checksum of the frame's body is wrong", said)
        self.held(life)
        self.assertEqual(self.at(4, copy, self.kept), b"b 0")

    def test_a_directory_whose_log_is_lost(self) -> None:
        """Its checkpoint is the end of the way; what the archive has of another history is not put on top of it."""
        life = Life(self.data, self.kept, [b""]).write("a", 3)
        copy = self.copied()
        life.write("a", 3).compact().end()
        Life(copy, None, life.values[:4]).write("b", 2).compact().write("b", 2).end()
        with open(os.path.join(copy, "table.txn"), "r+b") as file:
            file.write(b"damage")
        words = ["restore", copy, next(self.names), "--archive", self.kept]
        status, said = run_tool(*words)
        self.assertEqual(status, 1)
        self.assertIn("what came after commit 5 cannot be read", said)
        self.assertIn("for the state before it give --to-sequence 5", said)
        self.assertEqual(self.at(5, copy, self.kept), b"b 1")
        self.assertEqual([run_tool(*words, "--to-sequence", str(number))[0] for number in (6, 5)], [1, 0])
        os.remove(os.path.join(copy, "table.txn"))
        status, said = run_tool("restore", copy, next(self.names))
        self.assertEqual(status, 0)
        self.assertIn("has no table.txn: unless it is an archive, what that held is missing here", said)

    def test_a_kept_file_that_is_damaged_is_replaced(self) -> None:
        """By a copy that went the same way; one that holds something else is not."""
        life = Life(self.data, self.kept, [b""]).write("a", 3)
        copy = self.copied()
        life.compact().end()
        name = next(iter(kept_segments(os.listdir(self.kept))))
        os.truncate(os.path.join(self.kept, name), 5000)
        Life(copy, self.kept, life.values[:]).compact().end()
        self.held(life)

    def test_repaired(self) -> None:
        """What is kept of a damaged directory goes on in the archive."""
        life = Life(self.data, self.kept, [b""]).write("a", 2).compact().write("a", 4)
        life.end()
        with open(os.path.join(self.data, "table.txn"), "r+b") as file:
            file.seek(file.read().index(b"$3\r\na 1"))
            file.write(b"x")
        status, said = run_tool("repair", "--yes", self.data)
        self.assertEqual(status, 0, said)
        mended = Life(self.data, self.kept, life.values[:4]).write("b", 2).compact()
        mended.end()
        self.held(mended, 3)

    def test_a_group(self) -> None:
        """Its epochs are its histories; what is restored, or backed up, knows what of the group's log it has."""
        values, standings = [b""], {}
        for name in "ab":
            life = GroupLife(self.data, self.kept, values).write(name, 2).compact().write(name, 1)
            standings[len(values) - 1] = life.store.standing
            life.end()
        self.held(life, 2)
        self.assertEqual(
            list(Files([RealDisk(self.data), RealDisk(self.kept)]).histories()), ["0" * 15 + n for n in "12"]
        )
        self.assertEqual(list(standings), [4, 8])
        for sequence, standing in standings.items():
            restored = next(self.names)
            done = run_tool("restore", self.data, restored, "--archive", self.kept, "--to-sequence", str(sequence))
            self.assertEqual(done[0], 0, done)
            self.assertEqual(examine(RealDisk(restored), TYPES).lineage.standing(sequence), standing)
        backup = next(self.names)
        self.assertEqual(run_tool("backup", self.data, backup)[0], 0)
        self.assertEqual(examine(RealDisk(backup), TYPES).lineage.standing(8), standings[8])
        status, said = run_tool("verify", backup)
        self.assertIn(f"up to entry 8, of epoch 2, checksum {life.store.lineage.entry[-16:]}", said)
        status, said = run_tool("show", os.path.join(self.data, "table.txn"))
        self.assertEqual(status, 0)
        self.assertIn("ENTRY 1 frame 2 alone", said)

    def test_files_without_histories(self) -> None:
        """An older version's directory and archive, gone on with: there is one way, back to its first commit."""
        undo = self.patch(log, "_encode_header", _without_history)
        life = Life(self.data, self.kept, [b""], old=True).write("old", 3).compact().write("old", 2)
        life.compact().write("old", 1).end()
        self.assertEqual(examine(RealDisk(self.data), TYPES).history, NO_HISTORY)
        undo.restore()
        copy = self.copied()
        lives = [Life(path, self.kept, life.values[:]) for path in (self.data, copy)]
        for one, name in zip(lives, ("new", "other"), strict=True):
            one.write(name, 2).compact().write(name, 1).compact().end()
        for one in lives:
            self.held(one, 1, one.path, self.kept)

    def test_old_files_that_do_not_tell(self) -> None:
        """Two segments of older versions end with just the commit that the directory goes on from: that is refused."""
        self.patch(log, "_encode_header", _without_history)
        life = Life(self.data, self.kept, [b""], old=True).write("one", 3)
        life.end()
        backup = next(self.names)
        self.assertEqual(run_tool("backup", self.data, backup)[0], 0)
        Life(self.data, self.kept, life.values[:], old=True).write("one", 2).compact().end()
        other = Life(backup, self.kept, life.values[:], old=True).write("two", 2).compact().write("two", 1)
        other.end()
        files = Files([RealDisk(backup), RealDisk(self.kept)])
        refused = self.assertRaises(KVStoreError, files.way, Position(6, NO_HISTORY))
        self.assertRegex(str(refused), r"commit 5 is in several files, .*table\.txn\.0+1, .*table\.txn\.0+4")


_encode_header = log._encode_header


def _without_history(header: log.LogHeader) -> bytes:
    """The header of a log as older versions wrote it."""
    block = _encode_header(header)
    fields = dict(re.findall(r"(\w+)=(\w+)", block.decode()))
    del fields["history"], fields["crc"]
    return log.encode_block("KVLOG1", fields)
