"""`SimulatedSyncer`: syncs files of a simulated disk while the process goes on, as slowly as the test wants.

Between `begin` and `end` nothing is sure of what was written before, and nothing of what is written meanwhile; `end` is
the moment at which the disk has done it, and of that nobody is told until the server calls `finish`. So a test can let
the server do anything before the disk is done, and anything before it hears of that.

A crash, or a kill, in between is one of the disk's (see `simulated_disk`): a new server needs a new syncer.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvstore.testing.simulated_disk import SimulatedFile

if TYPE_CHECKING:
    from kvstore.base.disk import File
    from kvstore.base.syncing import Syncer


class SimulatedSyncer:
    """See the module, and `Syncer`. Its faults are ordered from the disk: `begin_sync`, and `finish_sync` for `end`."""

    def __init__(self) -> None:
        self._file: SimulatedFile | None = None
        self._ended = False
        self._error: OSError | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a sync was begun whose end nobody has heard of."""
        return self._file is not None

    def fileno(self) -> int:
        """See `Syncer`: there is none."""
        return -1

    def begin(self, file: File) -> None:
        """See `Syncer`. A second one beside the first is refused, as the kernel does."""
        if self._file is not None:
            raise OSError(errno.EAGAIN, "a sync is under way (simulated)")
        assert isinstance(file, SimulatedFile)
        file.begin_sync()
        self._file = file
        self._ended = False
        self._error = None

    def end(self) -> None:
        """The disk has done it, or failed to. Does nothing if no sync is under way."""
        if self._file is not None and not self._ended:
            self._ended = True
            try:
                self._file.finish_sync()
            except OSError as error:
                self._error = error

    def finish(self) -> bool:
        """See `Syncer`."""
        if self._file is None or not self._ended:
            return False
        self._file = None
        if self._error is not None:
            raise self._error
        return True

    def close(self) -> None:
        """See `Syncer`."""


if TYPE_CHECKING:
    _is_a_syncer: Syncer = SimulatedSyncer()
