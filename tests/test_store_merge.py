"""What the merge refuses to build on, and what its program does with the files that its work has replaced."""

from __future__ import annotations

import tempfile
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk, RealFile
from kvstore.base.errors import DamagedStore
from kvstore.base.limits import MIB
from kvstore.store import checkpoint, merge
from kvstore.store.checkpoint import CheckpointReader
from kvstore.store.examine import examine
from kvstore.store.merge import MergeJob
from kvstore.store.store import Store
from kvstore.testing.simulated_disk import SimulatedDisk

_START_US = 1_700_000_000_000_000


class PassTests(SynchronousTestCase):
    """How much is merged in one pass."""

    def test_by_the_memory_of_the_machine(self) -> None:
        """A sixty-fourth of it, within limits."""
        for memory_mib, pass_mib in ((512, 32), (2048, 32), (4096, 64), (8192, 128), (65_536, 128)):
            pages = {"SC_PHYS_PAGES": memory_mib * 256, "SC_PAGE_SIZE": 4096}
            with mock.patch("os.sysconf", pages.__getitem__):
                self.assertEqual(merge._pass_bytes(), pass_mib * MIB)


class BaseTests(SynchronousTestCase):
    """The checkpoint that the segments follow was changed under the running server."""

    def setUp(self) -> None:
        """A server that compacted twice, keeping a copy of the first checkpoint, and has sealed its log again."""
        self.now_us = _START_US
        self.disk = SimulatedDisk(record=False)
        self.store = Store(self.disk, lambda: self.now_us, lambda count: bytes(range(count)))
        self.older = [self.compacted(b"a"), self.compacted(b"b")]
        self.job = self.sealed(b"c")

    def sealed(self, key: bytes) -> MergeJob:
        """One commit that writes `key`, sealed."""
        self.store.table.write(key, b"x")
        commit = self.store.close_commit()
        assert commit is not None
        self.store.write(commit)
        self.store.sync()
        self.store.settle(commit, durable=True)
        return self.store.seal()

    def compacted(self, key: bytes) -> bytes:
        """The same, merged; returns the checkpoint."""
        self.store.finish_compaction(merge.merge(self.disk, self.sealed(key), self.now_us))
        return self.disk.contents()[checkpoint.NAME]

    def refused(self, image: bytes | None) -> str:
        """Why a merge with this for a checkpoint is refused; and it is not put in place of anything."""
        contents = {**self.disk.contents(), checkpoint.NAME: image}
        disk = SimulatedDisk.holding({name: data for name, data in contents.items() if data is not None})
        before = disk.contents()
        refusal = self.assertRaises(DamagedStore, merge.merge, disk, self.job, self.now_us)
        self.assertEqual(disk.contents(), before)
        return refusal.reason

    def test_missing(self) -> None:
        """Refused: it made a checkpoint with the segments' keys only, and all others were gone at the next start."""
        self.assertIn("missing", self.refused(None))

    def test_older(self) -> None:
        """An older copy lacks the commits between."""
        self.assertIn("ends with commit 1, but the segments begin with 3", self.refused(self.older[0]))

    def test_foreign(self) -> None:
        """Another directory's, of the same commit."""
        foreign = checkpoint.CheckpointHeader("f" * 32, 0, 2, _START_US)
        disk = SimulatedDisk(record=False)
        checkpoint.CheckpointWriter(disk, "foreign", foreign).finish()
        self.assertIn("another data directory", self.refused(disk.contents()["foreign"]))

    def test_first_merge_without_a_checkpoint(self) -> None:
        """A server that started on a full disk has none yet; its segments begin with the first commit."""
        disk = SimulatedDisk(record=False)
        self.disk, self.store = disk, Store(disk, lambda: self.now_us, lambda count: bytes(range(count)))
        job = self.sealed(b"a")
        disk.remove(checkpoint.NAME)
        self.store.finish_compaction(merge.merge(disk, job, self.now_us))
        self.assertEqual(examine(disk).values, {b"a": b"x"})

    def test_clock_set_back(self) -> None:
        """A checkpoint is never older than the commits in it: `restore --to-time` counts on that."""
        merge.merge(self.disk, self.job, _START_US - 1_000_000)
        file = self.disk.open_read(self.job.output)
        self.assertEqual(CheckpointReader(file).header.created_us, _START_US)


class FreeTests(SynchronousTestCase):
    """Replaced files are freed piece by piece, and only those."""

    def setUp(self) -> None:
        """A directory with one file of 9 MiB."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.disk = RealDisk(directory.name)
        self.file: RealFile = self.disk.create("old")
        self.addCleanup(self.file.close)
        self.file.write_at(0, bytes(9 * MIB))
        self.patch(merge, "_FREEING_PAUSE_S", 0)

    def test_file_without_a_name(self) -> None:
        """Its blocks are given back, all of them."""
        self.disk.remove("old")
        merge._free(self.file)
        self.assertEqual(self.file.size(), 0)

    def test_file_with_a_name(self) -> None:
        """It is somebody's, and stays as it is."""
        merge._free(self.file)
        self.assertEqual(self.file.size(), 9 * MIB)
