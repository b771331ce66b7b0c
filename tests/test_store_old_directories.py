"""Directories that older versions wrote, kept in tests/directories: read for ever, and exactly."""

from __future__ import annotations

import hashlib
import os
import tarfile
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from kvstore.store import checkpoint
from kvstore.store.examine import LIVE, examine
from kvstore.store.log import read_log_header
from kvstore.store.log_reader import LogReader
from kvstore.store.merge import merge
from kvstore.store.operations import decode
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from tests.kit.store_files import commit

_HERE = os.path.join(os.path.dirname(__file__), "directories")
_CHECKSUMS = {"before_types.tar.xz": "a559b7cb0c86ec8d07941806c7c86af208f8691e97dd5b82fdb504fd76dc2991"}
#: After the samples were written, before any deadline in them but one.
_NOW_US = 1_700_100_000_000_000
_2100_MS = 4_102_444_800_000


def columns(prefix: bytes, count: int) -> dict[bytes, bytes]:
    """Keys and values that were written as `SET`s of one size."""
    return {b"%b:%03d" % (prefix, number): b"v%05d" % (number * 7) for number in range(count)}


_LIST = '[1,2.5,"\u00e9",null,true,{"a":[]}]'.encode()
_FLUSHED = {b"kept": b"after the flush", b"zebra": b'{"weight":100,"name":"fred"}', b"list": _LIST}
_WHOLE = {
    **columns(b"ckpt", 40), **columns(b"segm", 30), **columns(b"live", 25),
    **{b"c%d" % number: b"checkpoint %d" % number for number in range(12)},
    b"c4": b"of the second start", b"segment": b"one", b"expired": b"long ago", b"live": b"plain",
    b"live deadline": b"v", b"": b"the empty key", b"\r\n\0\xff": bytes(range(256)), b"empty": b"",
    b"long": b"0123456789" * 2000, b"zebra": b'{"weight":101,"name":"fred"}', b"list": _LIST,
}  # fmt: skip
for gone in (b"c0", b"c6", b"segm:003"):
    del _WHOLE[gone]
_DEADLINES = {
    **{key: _2100_MS + int(key[1:]) for key in (b"c5", b"c7", b"c8", b"c9", b"c11")},
    b"c2": _2100_MS, b"live deadline": _2100_MS + 5, b"ckpt:007": _2100_MS + 7, b"expired": 1_600_000_000_000,
}  # fmt: skip


def directory(archive: str, name: str) -> SimulatedDisk:
    """A copy of one directory of an archive."""
    with tarfile.open(os.path.join(_HERE, archive)) as packed:
        files = {member.name: packed.extractfile(member) for member in packed if member.name.startswith(name + "/")}
        return SimulatedDisk.holding({path.split("/")[1]: file.read() for path, file in files.items() if file})


def started(disk: SimulatedDisk) -> Store:
    """A server's store on that disk."""
    return Store(disk, TYPES, lambda: _NOW_US, Random(1).randbytes)


def compact(store: Store, disk: SimulatedDisk) -> None:
    """Merge all there is into a new checkpoint."""
    store.finish_compaction(merge(disk, TYPES, store.seal(), _NOW_US))


class BeforeTypesTests(SynchronousTestCase):
    """Of the last version whose values were strings only."""

    def check(self, name: str, values: dict[bytes, bytes], deadlines: dict[bytes, int], sequence: int) -> None:
        """The directory is sound, and read exactly; so it is after a compaction by this version, and a restart."""
        disk = directory("before_types.tar.xz", name)
        found = examine(disk, TYPES)
        self.assertEqual((found.sequence, found.tail), (sequence, None))
        store = started(disk)
        self.check_state(store, values, deadlines)
        compact(store, disk)
        self.check_state(started(disk.kill()), values, deadlines)

    def check_state(self, store: Store, values: dict[bytes, bytes], deadlines: dict[bytes, int]) -> None:
        """Every key, value and deadline; those past it as well, which are in the files until somebody removes them."""
        self.assertEqual(store.table.values, values)
        self.assertEqual(store.table.deadlines, deadlines)

    def test_samples_are_as_they_were(self) -> None:
        """Nobody has changed them, or added one without its checksum."""
        found = {}
        for name in os.listdir(_HERE):
            if name != "README.md":
                with open(os.path.join(_HERE, name), "rb") as file:
                    found[name] = hashlib.sha256(file.read()).hexdigest()
        self.assertEqual(found, _CHECKSUMS)

    def test_checkpoint_segments_and_live_log(self) -> None:
        """Two segments that are not merged yet, two histories, every operation but the flush."""
        self.check("whole", _WHOLE, _DEADLINES, 7)

    def test_flush(self) -> None:
        """What was in the checkpoint, and earlier in the commit, is gone."""
        self.check("flushed", _FLUSHED, {b"kept": _2100_MS}, 2)

    def test_histories(self) -> None:
        """The directory is one of the second start, whose history goes on."""
        self.assertEqual(examine(directory("before_types.tar.xz", "whole"), TYPES).history, "b2b3f4d58d82ca63")


#: All that the version before types knows: an operation of any other name made it refuse the directory, as written by a
#: newer version.
_KNOWN_BEFORE_TYPES = {b"SET", b"DEL", b"PEXPIREAT", b"PERSIST", b"FLUSHALL", b"HISTORY"}


class ForwardTests(SynchronousTestCase):
    """What an older version makes of a directory by this one: it reads it exactly, or finds an operation unknown to it.

    So the formats of the files stay what it knows (KVLOG1, KVCKPT1), and it says the right thing.
    """

    def names(self, disk: SimulatedDisk) -> dict[str, set[bytes]]:
        """The names of the operations in the checkpoint and in the live log."""
        log, ckpt = disk.open_read(LIVE), disk.open_read(checkpoint.NAME)
        bodies = {
            LIVE: [commit.frame.body for commit in LogReader(log, read_log_header(log, LIVE))],
            checkpoint.NAME: [frame.body for frame in checkpoint.CheckpointReader(ckpt).frames()],
        }
        return {name: {operation[0] for body in each for operation in decode(body)} for name, each in bodies.items()}

    def test_strings_in_database_0(self) -> None:
        """Nothing that it does not know."""
        disk = directory("before_types.tar.xz", "whole")
        store = started(disk)
        store.table.write(b"new", b"v", _2100_MS)
        commit(store)
        names = self.names(disk)
        self.assertLessEqual(names[LIVE] | names[checkpoint.NAME], _KNOWN_BEFORE_TYPES)
        compact(store, disk)
        self.assertLessEqual(self.names(disk)[checkpoint.NAME], _KNOWN_BEFORE_TYPES)

    def test_other_databases(self) -> None:
        """In the log, and in the checkpoint when that is merged."""
        disk = directory("before_types.tar.xz", "whole")
        store = started(disk)
        store.databases[3].write(b"new", b"v")
        commit(store)
        self.assertTrue(self.names(disk)[LIVE] - _KNOWN_BEFORE_TYPES)
        compact(store, disk)
        self.assertTrue(self.names(disk)[checkpoint.NAME] - _KNOWN_BEFORE_TYPES)
        self.assertEqual(started(disk.kill()).databases[3].values, {b"new": b"v"})

    def test_other_types(self) -> None:
        """None of their operations has a name that meant something else."""
        for row in TYPES.others:
            self.assertEqual({edit.name for edit in row.edits} & _KNOWN_BEFORE_TYPES, set(), row.name)
