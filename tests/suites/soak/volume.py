"""A small file system for the data, so that the disk can be full now and then: ext4 in a file, mounted; takes root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_MIB = 1 << 20
#: Left free beside the ballast.
_LEFT_BYTES = 1 * _MIB


class Volume:
    """One that is mounted. `directory`: where. `unmount` it in the end."""

    def __init__(self, place: Path, size_mib: int) -> None:
        """`place`: an empty directory. Raises OSError or subprocess.CalledProcessError where it cannot be."""
        image, self.directory = place / "image", place / "mounted"
        self.directory.mkdir()
        with image.open("wb") as file:
            file.truncate(size_mib * _MIB)
        program = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None or os.geteuid() != 0:
            raise OSError("to mount a file system takes root, and mkfs.ext4")
        subprocess.run([program, "-q", "-F", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.directory)], check=True, capture_output=True)

    @property
    def _ballast(self) -> Path:
        return self.directory / "ballast"

    def fill(self) -> None:
        """Put a file beside the data that takes nearly all the room there is. Raises OSError."""
        status = os.statvfs(self.directory)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - _LEFT_BYTES, 1))

    def empty(self) -> None:
        """Take it away again."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """As soon as nobody uses it."""
        subprocess.run(["umount", "--lazy", str(self.directory)], check=False, capture_output=True)


def mounted(place: Path, size_mib: int) -> tuple[Volume | None, str]:
    """One, or None and why there is none."""
    try:
        return Volume(place, size_mib), ""
    except subprocess.CalledProcessError as error:
        return None, error.stderr.decode().strip()
    except OSError as error:
        return None, str(error)
