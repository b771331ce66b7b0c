"""File systems of a few MiB for tests: a tmpfs, or one in a file; mounted, filled, and unmounted after the test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import hiredis
from twisted.trial.unittest import SkipTest

from tests.kit.server_process import Serving, Wire, new_directory

_MIB = 1024 * 1024


def fill(wire: Wire, name: str, size_bytes: int = 10_000, most: int = 100_000) -> tuple[int, str]:
    """Write `NAME:0`, `NAME:1`, ... until one is refused. Returns how many were taken, and the error."""
    for number in range(most):
        reply = wire.ask("SET", f"{name}:{number}", f"{number}:".ljust(size_bytes, "x"))
        if isinstance(reply, hiredis.ReplyError):
            return number, str(reply)
        assert reply == b"OK", reply
    raise AssertionError("the disk did not fill up")


class SmallDisk(Serving):
    """For tests on a file system of a few MiB."""

    def mount(self, size: str) -> Path:
        """An empty tmpfs of this size, unmounted after the test."""
        directory = new_directory(self.addCleanup)
        self.run_or_skip("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory)
        self.addCleanup(subprocess.run, ["umount", "--lazy", directory], check=True)
        return Path(directory)

    def mount_ext4(self) -> tuple[Path, Path]:
        """A file with an empty ext4 file system of 16 MiB, and where it is mounted."""
        image, directory = self.mount_point()
        with image.open("wb") as file:
            file.truncate(16 * _MIB)
        self.run_or_skip("mkfs.ext4", "-q", "-F", str(image))
        self.run_or_skip("mount", "-o", "loop", str(image), str(directory))
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(directory)], check=True)
        return image, directory

    def mount_point(self) -> tuple[Path, Path]:
        """Where an image of a file system may be, and the directory to mount it on."""
        place = Path(new_directory(self.addCleanup))
        image, directory = place / "image", place / "mounted"
        directory.mkdir()
        return image, directory

    def run_or_skip(self, *words: str) -> None:
        """Run a program that makes a file system; skip the test where that is not possible."""
        if os.geteuid() != 0:
            raise SkipTest("mounting a file system takes root")
        if shutil.which(words[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            raise SkipTest(f"{words[0]} is not installed")
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise SkipTest(f"not possible here: {' '.join(words)}: {done.stderr.strip()}")

    def ballast(self, directory: Path, size_bytes: int) -> Path:
        """A file beside the data that takes room until it is removed."""
        path = directory / "ballast"
        path.write_bytes(bytes(size_bytes))
        return path
