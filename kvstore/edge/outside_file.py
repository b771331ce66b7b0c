"""A file that lies where the operator wants it, not in the data directory: read whole, replaced whole."""

from __future__ import annotations

import contextlib
import os
import stat

from kvstore.base.directory_lock import DIRECTORY_FLAGS
from kvstore.base.disk import RealDisk
from kvstore.base.files import pieces, replace_with

#: Of a file that was not there any more.
_OWN = stat.S_IRUSR | stat.S_IWUSR


class OutsideFile:
    """See the module. `path`: absolute; its directory is there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> bytes:
        """What it holds. Raises OSError."""
        directory, name = self._place()
        file = directory.open_read(name)
        try:
            return b"".join(pieces(file))
        finally:
            file.close()

    def replace(self, content: bytes) -> None:
        """Put this in its place; who could not read the old file cannot read the new one. Raises OSError.

        Durability: on disk when this returns; after a crash before that the file is the old one or the new one.
        """
        directory, name = self._place()
        mode = _OWN
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(directory.status(name).st_mode)
        replace_with(directory, name, [content], lambda file: os.fchmod(file.fileno(), mode))

    def _place(self) -> tuple[RealDisk, str]:
        """The directory, and what the file is called in it; of a link, where that leads."""
        directory, name = os.path.split(os.path.realpath(self.path))
        return RealDisk(directory, os.open(directory, DIRECTORY_FLAGS)), name
