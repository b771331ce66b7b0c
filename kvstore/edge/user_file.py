"""The file of users (--acl-file): read at the start and by ACL LOAD, written by ACL SAVE. What is in it: `acl_file`."""

from __future__ import annotations

from twisted.logger import Logger

from kvstore.edge.outside_file import OutsideFile

_log = Logger()


class UserFile(OutsideFile):
    """See the module. A `kvstore.commands.acl_file.Kept`."""

    def write(self, content: bytes) -> None:
        """See `Kept`. It may hold passwords: nobody can read the new file who could not read the old one."""
        try:
            self.replace(content)
        except OSError as error:
            _log.error("ACL SAVE: {path} was not written: {reason}", path=self.path, reason=error.strerror)
            raise
