"""The file of users (--acl-file): read at the start and by ACL LOAD, written by ACL SAVE. What is in it: `acl_file`.

It may hold passwords, so that ACL SAVE lets nobody read the new file who could not read the old one.
"""

from __future__ import annotations

import contextlib
import os
import stat

from twisted.logger import Logger

from kvstore.base.directory_lock import DIRECTORY_FLAGS
from kvstore.base.disk import RealDisk
from kvstore.base.files import pieces, replace_with

_log = Logger()

#: Of a file that was not there any more.
_OWN = stat.S_IRUSR | stat.S_IWUSR


class UserFile:
    """See the module. A `kvstore.commands.acl_file.Kept`. `path`: absolute; its directory is there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> bytes:
        """See `Kept`."""
        directory, name = self._place()
        file = directory.open_read(name)
        try:
            return b"".join(pieces(file))
        finally:
            file.close()

    def write(self, content: bytes) -> None:
        """See `Kept`."""
        try:
            self._replace(content)
        except OSError as error:
            _log.error("ACL SAVE: {path} was not written: {reason}", path=self.path, reason=error.strerror)
            raise

    def _replace(self, content: bytes) -> None:
        directory, name = self._place()
        mode = _OWN
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(directory.status(name).st_mode)
        replace_with(directory, name, [content], lambda file: os.fchmod(file.fileno(), mode))

    def _place(self) -> tuple[RealDisk, str]:
        """The directory, and what the file is called in it; of a link, where that leads."""
        directory, name = os.path.split(os.path.realpath(self.path))
        return RealDisk(directory, os.open(directory, DIRECTORY_FLAGS)), name
