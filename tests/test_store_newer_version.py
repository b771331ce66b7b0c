"""What a newer version wrote: refused as that, never as damage, and left as it is."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import DamagedStore, NewerVersion
from kvstore.base.frame import BLOCK_BYTES, encode_block
from kvstore.store import checkpoint
from kvstore.store.examine import LIVE, examine, segment_name
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.kit.store_files import SALT, STORE, write_checkpoint, write_log
from tests.kit.tools import read_files, run_tool, write_files

_UNKNOWN = b"*3\r\n$9\r\nSOMETHING\r\n$3\r\nkey\r\n$1\r\n1\r\n"
_NEWER_STATUS = 6


def directory(checkpoint_value: bytes = b"v", sealed: bytes = b"", live: bytes = b"") -> SimulatedDisk:
    """A checkpoint as of commit 1, a sealed segment with commit 2, a live log with commit 3."""
    disk = SimulatedDisk()
    write_checkpoint(disk, ({b"a": checkpoint_value}, {}), 1)
    write_log(disk, segment_name(2), 2, [encode_set(b"b", b"v") + sealed])
    write_log(disk, LIVE, 3, [encode_set(b"c", b"v") + live])
    return disk


def with_block(name: str, offset: int, kind: str, salt: int = 0, count: int = 1) -> SimulatedDisk:
    """The same, with blocks of that kind at byte `offset` of a file."""
    disk = directory()
    file = disk.open(name)
    block = encode_block(kind, {"store": STORE, "salt": f"{SALT:08x}", "what": "ever"}, salt)
    file.write_at(offset, block * count)
    return disk


def in_checkpoint() -> SimulatedDisk:
    """An unknown operation in the checkpoint, in whose place stood one as long."""
    disk = SimulatedDisk()
    header = checkpoint.CheckpointHeader(STORE, SALT, 1, 0)
    writer = checkpoint.CheckpointWriter(disk, checkpoint.NAME, header)
    writer.add(_UNKNOWN, 1)
    writer.finish()
    write_log(disk, LIVE, 2, [])
    return disk


#: What is made, the file, and the byte, that the refusal names.
_NEWER: dict[str, tuple[Callable[[], SimulatedDisk], str, int]] = {
    "operation in the live log": (lambda: directory(live=_UNKNOWN), LIVE, 3 * BLOCK_BYTES),
    "one word in the live log": (lambda: directory(live=b"*1\r\n$9\r\nSOMETHING\r\n"), LIVE, 3 * BLOCK_BYTES),
    "operation in a segment": (lambda: directory(sealed=_UNKNOWN), segment_name(2), 3 * BLOCK_BYTES),
    "operation in the checkpoint": (in_checkpoint, checkpoint.NAME, BLOCK_BYTES),
    "live log": (lambda: with_block(LIVE, 0, "KVLOG2"), LIVE, 0),
    "segment": (lambda: with_block(segment_name(2), 0, "KVLOG10"), segment_name(2), 0),
    "checkpoint": (lambda: with_block(checkpoint.NAME, 0, "KVCKPT2"), checkpoint.NAME, 0),
    "marks": (lambda: with_block(LIVE, BLOCK_BYTES, "KVMARK2", SALT, 2), LIVE, BLOCK_BYTES),
}


class NewerVersionTests(SynchronousTestCase):
    """A verdict of its own."""

    def test_the_verdict(self) -> None:
        """It names the file, the byte and what is unknown there."""
        for what, (make, name, offset) in _NEWER.items():
            disk = make()
            refusal = self.assertRaises(NewerVersion, examine, disk, TYPES)
            self.assertEqual((refusal.file, refusal.offset), (disk.describe(name), offset), what)
            self.assertIn("unknown ", refusal.reason, what)
            self.assertIn("a newer version of kvstore may have written it", str(refusal), what)
            self.assertIn("start that version", str(refusal), what)

    def test_what_is_none(self) -> None:
        """Another kind, an older version, a wrong checksum: all that is damage."""
        for kind, salt in (("KVMARK2", 0), ("KVLOG0", 0), ("KVLOGX", 0), ("KVLOG", 0), ("OTHER2", 0), ("KVLOG2", 1)):
            self.assertRaises(DamagedStore, examine, with_block(LIVE, 0, kind, salt), TYPES)

    def test_damage_comes_first_where_it_is_first(self) -> None:
        """A log of a newer version behind a damaged checkpoint: what was found is damage."""
        disk = with_block(LIVE, 0, "KVLOG2")
        disk.open(checkpoint.NAME).write_at(BLOCK_BYTES + 100, b"\xff")
        self.assertRaises(DamagedStore, examine, disk, TYPES)


class ToolTests(SynchronousTestCase):
    """What the operator is told."""

    def test_verify_and_repair(self) -> None:
        """The one says so with a status of its own; the other refuses, and changes nothing."""
        for what, (make, _, _) in _NEWER.items():
            path = write_files(self.mktemp(), make().contents())
            before = read_files(path)
            for words in (("verify", path), ("repair", path), ("repair", path, "--yes")):
                status, said = run_tool(*words)
                self.assertEqual(status, _NEWER_STATUS, (what, words, said))
                self.assertIn("a newer version", said)
            self.assertEqual(read_files(path), before, what)
            self.assertEqual(os.listdir(os.path.dirname(path)), [os.path.basename(path)], what)

    def test_show(self) -> None:
        """An operation that it does not know it can show all the same; of another format it can show nothing."""
        for what, (make, name, offset) in _NEWER.items():
            path = os.path.join(write_files(self.mktemp(), make().contents()), name)
            status, said = run_tool("show", path)
            if what.startswith("operation"):
                self.assertEqual(status, 0, said)
                self.assertIn("SOMETHING key 1", said)
            elif offset == 0:
                self.assertEqual(status, _NEWER_STATUS, said)

    def test_repair_of_what_is_damaged_too(self) -> None:
        """Nor does it give up a log of a newer version for damage in the file before."""
        disk = with_block(LIVE, 0, "KVLOG2")
        disk.open(segment_name(2)).write_at(3 * BLOCK_BYTES + 90, b"\xff")
        path = write_files(self.mktemp(), disk.contents())
        before = read_files(path)
        self.assertEqual(run_tool("repair", path, "--yes")[0], _NEWER_STATUS)
        self.assertEqual(read_files(path), before)
