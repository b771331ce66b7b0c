"""The lock on a data directory: one server at a time.

It is held with flock(2), twice: on the directory itself, which cannot be removed while it is held; and on the file
`lock` in it, which holds the number of the process, for a person and for older servers, which know no other lock. It is
gone with its process, however that ends; there is nothing to clean up.

NFS locks no directory: an exclusive flock there takes a file that is open for writing (flock(2)). Then the file is all
there is to hold, and a server whose file was removed stops, since another may have come in.

`lock` is a file that kvstore made. A symbolic link of that name is not followed (what it leads to would be emptied), a
pipe is not waited for: the start is refused.

Rejected: the file alone, since whoever removes it (a person, a cleaner of old files) lets a second server in; trying
the lock to see whether it is held, as that could refuse a server that starts at just this moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from kvstore.base.errors import DirectoryInUse, StartRefused, StorageFault

NAME = "lock"
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: What flock says on a file system that does not lock directories.
_LOCKS_NO_DIRECTORY = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP)


class DirectoryLock:
    """The lock, held from here on. `directory`: descriptor of the directory; `path`: what it is called.

    Raises DirectoryInUse, StartRefused, OSError.
    """

    def __init__(self, directory: int, path: str) -> None:
        self._path = path
        # An opening of our own, that no child inherits: else the lock would outlive the server with the child.
        self._directory = os.open(".", DIRECTORY_FLAGS, dir_fd=directory)
        try:
            self._directory_is_held = self._hold_directory()
            self._file = self._take_file()
        except BaseException:
            os.close(self._directory)
            raise

    def keep(self) -> str:
        """Put the file back if it was removed or replaced; meanwhile the lock on the directory holds.

        Returns what there is to say of that, "" if all is well. Raises StorageFault if another server has the file now,
        or may have had it meanwhile.
        """
        name = os.path.join(self._path, NAME)
        try:
            status = self._status()
            if status is not None and os.path.samestat(status, os.fstat(self._file)):
                return ""
            if not self._directory_is_held:
                raise StorageFault(f"{name} was removed or replaced under the running server: another may have come in")
            file = self._take_file()
        except StartRefused as refusal:
            raise StorageFault(f"{name} was replaced under the running server: {refusal}") from refusal
        except OSError as error:
            return f"{name} was removed under the running server, and cannot be put back yet: {error}"
        os.close(self._file)
        self._file = file
        return f"{name} was removed or replaced under the running server; it was put back, and nobody else came in"

    def release(self) -> None:
        """Give the directory back; not to be called twice."""
        os.close(self._file)
        os.close(self._directory)

    def _take_file(self) -> int:
        """Lock the file, made if it is missing, and write into it who we are. Returns its descriptor."""
        status = self._status()
        if status is not None and not stat.S_ISREG(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
            raise StartRefused(
                f"{os.path.join(self._path, NAME)} is {kind}; remove it: kvstore makes a file of its own"
            )
        file = os.open(NAME, os.O_RDWR | os.O_CREAT | _FILE_FLAGS, 0o640, dir_fd=self._directory)
        try:
            self._hold(file)
            os.ftruncate(file, 0)
            os.pwrite(file, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(file)
            raise
        return file

    def _status(self) -> os.stat_result | None:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(NAME, dir_fd=self._directory, follow_symlinks=False)
        return None

    def _hold_directory(self) -> bool:
        """Lock the directory; returns whether its file system can."""
        try:
            self._hold(self._directory)
        except OSError as error:
            if error.errno not in _LOCKS_NO_DIRECTORY:
                raise
            return False
        return True

    def _hold(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(
                f"{self._path} is in use by a server (process {self._holder()}); stop it, or choose another directory"
            ) from None

    def _holder(self) -> str:
        """The number of the process that holds the directory, as it wrote it down."""
        with contextlib.suppress(OSError):
            file = os.open(NAME, os.O_RDONLY | _FILE_FLAGS, dir_fd=self._directory)
            try:
                return os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            finally:
                os.close(file)
        return "unknown"
