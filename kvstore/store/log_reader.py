"""Reading a log or a sealed segment: its commits in order, as far as they go.

What it means that they end where they do is not told here: `examine` judges it for a server, the merge refuses any end
but a clean one, and the tools go as far as they can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kvstore.base.disk import File
from kvstore.base.frame import Frame, FrameReader
from kvstore.store.beginning import split
from kvstore.store.history import History
from kvstore.store.log import FRAMES_AT, LogHeader


class LoggedCommit(NamedTuple):
    """A commit of a log. `begun`: the history that begins with it, if one does. `body`: its operations on keys."""

    frame: Frame
    begun: History | None
    body: bytes


class LogReader:
    """The commits of the log `file`. Iterating yields each whose checksums are right and whose number is the next one.

    `sequence`, `lineage`: of the last one read; of the one before the log, at first. Afterwards `stopped_at` is the
    byte where the commits end, `reason` what is there: None for the end of the file, or zeros up to it. Raises OSError.
    """

    def __init__(self, file: File, header: LogHeader) -> None:
        self._frames = FrameReader(file, FRAMES_AT, header.salt)
        self.sequence = header.first - 1
        self.lineage = header.lineage
        self.stopped_at = FRAMES_AT
        self.reason: str | None = None

    @property
    def history(self) -> str:
        """Of which history the last commit read is."""
        return self.lineage.history

    def __iter__(self) -> Iterator[LoggedCommit]:
        for frame in self._frames:
            if frame.sequence != self.sequence + 1:
                self.reason = f"commit {frame.sequence} stands where {self.sequence + 1} belongs"
                return
            beginning, body = split(frame.body)
            begun = beginning.begun(frame.sequence, self.lineage)
            self.sequence, self.stopped_at, self.lineage = frame.sequence, frame.end, beginning.after(self.lineage)
            yield LoggedCommit(frame, begun, body)
        self.reason = self._frames.reason
