"""A full volume, as a user has it: the real server on a small tmpfs of its own, or the test is skipped.

Filled until writes are refused; then removing keys in every way brings it back by itself, without a restart.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.testing.server_process import ServerProcess
from tests.kit.server_process import Wire, eventually
from tests.kit.small_disk import SmallDisk

_MIB = 1024 * 1024


@pytest.mark.long
class FullVolumeTests(SmallDisk, SynchronousTestCase):
    """Refused, then taken again."""

    def serve(self, size_mib: int) -> tuple[ServerProcess, Path]:
        """A server alone on a volume of this size."""
        disk = self.mount(f"{size_mib}m")
        self.value = "x" * (size_mib * _MIB // 400)
        return self.start("--max-request-bytes", "4mb", data=str(disk / "data")), disk

    def fill(self, wire: Wire, name: str, *options: str) -> int:
        """Write until the volume is full, and no compaction makes room any more; returns how many were taken."""
        number = 0
        while True:
            if wire.ask("SET", f"{name}:{number}", self.value, *options) == b"OK":
                number += 1
            elif self.is_idle(wire):
                self.assertRegex(str(wire.ask("SET", f"{name}:{number}", self.value)), "^MISCONF .*No space left on")
                return number

    def is_idle(self, wire: Wire) -> bool:
        """Whether no compaction is under way or due; waits for one that is."""
        before = wire.info("persistence")["compactions"]
        names = ("compaction_in_progress", "compaction_due")
        eventually(lambda: wire.info("persistence"), lambda seen: [seen[name] for name in names] == ["0", "0"])
        return wire.info("persistence")["compactions"] == before

    def taken_again(self, wire: Wire) -> None:
        """Without anybody's help a write of the usual size is taken."""
        eventually(lambda: wire.ask("SET", "again", self.value), lambda reply: reply == b"OK")
        seen = wire.info("persistence")
        self.assertEqual((seen["writes_refused_now"], seen["aof_last_write_status"]), ("0", "ok"))

    def check(self, size_mib: int) -> None:
        """Fill it, and empty it by DEL, by FLUSHALL, by expiry, by FLUSHALL after a kill."""
        server, _ = self.serve(size_mib)
        wire = self.connect(server)
        taken = self.fill(wire, "a")
        self.assertGreater(taken * len(self.value), 0.4 * size_mib * _MIB)
        seen = wire.info("persistence")
        self.assertEqual((seen["writes_refused_now"], seen["aof_last_write_status"]), ("1", "err"))
        self.assertGreater(int(seen["full_disk_refused_writes"]), 0)
        self.assertGreater(int(seen["last_refused_write_time"]), 1_700_000_000)
        server.wait_for_line(lambda line: "a write was refused: " in line)
        for number in range(taken // 2):
            self.assertEqual(wire.ask("DEL", f"a:{number}"), 1)
        self.taken_again(wire)
        server.wait_for_line(lambda line: "writes are taken again" in line)
        self.assertGreater(self.fill(wire, "b"), taken // 3)
        self.assertEqual(wire.ask("FLUSHALL"), b"OK")
        self.taken_again(wire)
        self.assertGreater(self.fill(wire, "c", "PXAT", "4102444800000"), 0.9 * taken)
        for number in range(taken):
            wire.ask("PEXPIRE", f"c:{number}", "1")
        self.taken_again(wire)
        self.fill(wire, "d")
        server.kill()
        server.start()
        wire = self.connect(server)
        self.assertEqual(wire.ask("FLUSHALL"), b"OK")
        server.kill()
        server.start()
        wire = self.connect(server)
        self.taken_again(wire)
        self.assertEqual(wire.ask("DBSIZE"), 1)

    def test_6_mib(self) -> None:
        """The smallest that is of any use."""
        self.check(6)

    def test_24_mib(self) -> None:
        """Past where the usual policy compacts."""
        self.check(24)

    def test_200_mib(self) -> None:
        """Whatever the size: filled, and emptied at once."""
        server, _ = self.serve(200)
        wire = self.connect(server)
        self.assertGreater(self.fill(wire, "a") * len(self.value), 0.45 * 200 * _MIB)
        self.assertEqual(wire.ask("FLUSHALL"), b"OK")
        self.taken_again(wire)
        self.assertGreater(self.fill(wire, "b") * len(self.value), 0.45 * 200 * _MIB)

    def test_filled_by_another_program(self) -> None:
        """To the last byte: reads go on, FLUSHALL is taken, and brings back what the data took."""
        server, disk = self.serve(24)
        wire = self.connect(server)
        for number in range(100):
            self.assertEqual(wire.ask("SET", f"a:{number}", self.value), b"OK")
        ballast = disk / "ballast"
        subprocess.run(["sh", "-c", f"cat /dev/zero > {ballast} 2>&-"], check=False)
        self.assertEqual(os.statvfs(disk).f_bavail, 0)
        eventually(lambda: wire.ask("SET", "b", "x" * 600_000), lambda reply: str(reply).startswith("MISCONF"))
        self.assertEqual(wire.ask("STRLEN", "a:0"), len(self.value))
        self.assertEqual([wire.ask("DEL", f"a:{number}") for number in range(50)], [1] * 50)
        self.assertEqual(wire.ask("FLUSHALL"), b"OK")
        eventually(lambda: int(wire.info("persistence")["room_for_writes_bytes"]), lambda room: room > 2 * _MIB)
        self.taken_again(wire)
        ballast.unlink()
        eventually(lambda: int(wire.info("persistence")["room_for_writes_bytes"]), lambda room: room > 8 * _MIB)
        server.kill()
        server.start()
        self.assertEqual(self.connect(server).ask("DBSIZE"), 1)


class NoHardLinksTests(SmallDisk, SynchronousTestCase):
    """FAT and exFAT, in a file: the server seals its log there as anywhere."""

    def check(self, *make: str) -> None:
        """Compactions, a kill in between, and everything is there."""
        disk = self.mount_image(*make)
        self.assertRaises(OSError, os.link, self.file(disk / "one"), disk / "two")
        server = self.start("--compact-after", "50", data=str(disk / "data"))
        wire = self.connect(server)
        for number in range(400):
            self.assertEqual(wire.ask("SET", f"k:{number}", "x" * 1000), b"OK")
            if number == 200:
                server.kill()
                server.start()
                wire = self.connect(server)
        eventually(lambda: wire.info("persistence"), lambda seen: int(seen["compactions"]) >= 2)
        server.kill()
        server.start()
        self.assertEqual(self.connect(server).ask("DBSIZE"), 400)

    def file(self, path: Path) -> Path:
        """An empty file."""
        path.touch()
        return path

    def mount_image(self, *make: str) -> Path:
        """A file with a file system of 64 MiB, mounted."""
        image, directory = self.mount_point()
        with image.open("wb") as file:
            file.truncate(64 * _MIB)
        self.run_or_skip(*make, str(image))
        self.run_or_skip("mount", "-o", "loop", str(image), str(directory))
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(directory)], check=True)
        return directory

    def test_fat(self) -> None:
        """FAT32."""
        self.check("mkfs.vfat", "-F", "32")

    def test_exfat(self) -> None:
        """ExFAT."""
        self.check("mkfs.exfat")
