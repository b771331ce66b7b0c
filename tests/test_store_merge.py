"""What the merge program does with the files that its work has replaced."""

from __future__ import annotations

import tempfile

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import RealDisk, RealFile
from kvstore.base.limits import MIB
from kvstore.store import merge


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
