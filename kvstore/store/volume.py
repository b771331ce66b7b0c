"""How much of its volume the data may take, so that there is always a way out of a full one.

A checkpoint is written beside the old one and the logs. Room for the next one, and for a fresh log, must be there, or a
full volume could never be emptied again. So writes that grow the log are refused before that room is gone:

    2 * (checkpoint + segments + live log) + fresh log + 1/32 of the volume  <=  the volume, less what is not ours

The next checkpoint is never larger than the old one and the logs together. That is more than the truth where keys were
removed or written again; a compaction finds the truth, and is due as soon as it would make room worth its work. The
last summand is for what removes keys. So are the zeros behind the frames of the live log (see `Purpose`), which nobody
can take away, should another program fill the volume: FLUSHALL always finds its room there, and sealing gives them back
for the fresh log and the small checkpoint that follow.

An operator may want more of the volume left free, for others (`min-free-bytes`): then all this is so of a volume that
is smaller by that. And the logs may have a limit of their own (`max-log-bytes`): past it writes that grow them are
refused, too, until a compaction has made them short again; it is due when they are half as long.

Rejected: the exact size of the live state, counted with every write (a few per cent of each SET, for a later refusal
only where most writes replace others); a file of ballast that is removed when the volume is full (a second place for
what the zeros of the log are already).
"""

from __future__ import annotations

from typing import NamedTuple

from kvstore.store import log
from kvstore.store.log import FRAMES_AT, Limits

#: Of the volume this part is kept for removing; and a compaction that would make less room is not worth its work.
_KEPT_PART = 32


class Volume(NamedTuple):
    """`usable_bytes`: what our files take, and what is free beside them. `kept_free_bytes`: of that, what they are not
    to take. `most_log_bytes`: of all logs together.
    """

    usable_bytes: int
    kept_free_bytes: int = 0
    most_log_bytes: int = log.NO_LIMIT

    def limits(self, other_bytes: int, allocated: int, segment_bytes: int = 0) -> Limits:
        """Where the frames of the live log have to end.

        `other_bytes`: of the checkpoint and the segments, which have `segment_bytes`. `allocated`: the length of the
        live log's file.
        """
        grow = self._for_data() - other_bytes
        remove = grow + self.usable_bytes // _KEPT_PART
        return Limits(min(grow, self.most_log_bytes - segment_bytes), max(remove, allocated))

    def is_worth_compacting(self, left_bytes: int, checkpoint_bytes: int) -> bool:
        """Whether a compaction would at least double the room for writes, and make it so much that it is worth it.

        `left_bytes`: how much longer the log may get now. `checkpoint_bytes`: the least that the next one can have.
        """
        room = min(self._for_data() - checkpoint_bytes, self.most_log_bytes) - FRAMES_AT
        return room >= max(2 * left_bytes, min(self.usable_bytes, self.most_log_bytes) // _KEPT_PART)

    def ample_bytes(self) -> int:
        """With so much room left for the live log, no compaction can double it."""
        return min(self._for_data(), self.most_log_bytes) // 2

    def _for_data(self) -> int:
        """Bytes for the checkpoint and all logs, such that as many are left for the next checkpoint."""
        usable_bytes = self.usable_bytes - self.kept_free_bytes
        return (usable_bytes - self.usable_bytes // _KEPT_PART - log.ZERO_FILL_BYTES) // 2


class Refusals:
    """Writes refused for want of room. `now`: none that grows was taken since the last. `last_ms`: since the epoch."""

    def __init__(self) -> None:
        self.count = 0
        self.last_ms = 0
        self.now = False
        self.reason = ""

    def add(self, now_ms: int, reason: str) -> None:
        """One more."""
        self.count += 1
        self.last_ms = now_ms
        self.now = True
        self.reason = reason
