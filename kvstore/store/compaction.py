"""When to compact: the policy, nothing else.

With `--compact-after N`: when the log holds more than N operations. Without: when the log is larger than the
checkpoint and than 16 MiB. So a checkpoint of n bytes is rewritten only after n bytes of log were written: the cost
of compaction per byte written stays constant as the data grows. And when the volume is short of room and a compaction
makes some (see `volume`). After a failure the next attempt waits, twice as long
each time.
"""

from __future__ import annotations

from kvstore.base.limits import MIB

_LEAST_LOG_BYTES = 16 * MIB
_FIRST_PAUSE_MS = 1_000
_LONGEST_PAUSE_MS = 5 * 60_000


class CompactionPolicy:
    """Decides when the log is compacted. `after_entries`: operations in the log, or None for the policy by size."""

    def __init__(self, after_entries: int | None = None) -> None:
        self.after_entries = after_entries
        self._pause_ms = 0
        self._not_before_ms = 0

    def is_due(
        self, log_entries: int, log_bytes: int, checkpoint_bytes: int, now_ms: int, *, at_once: bool = False
    ) -> bool:
        """Whether to seal the log and merge now.

        `now_ms`: the wall clock; set back, it must not make the pause longer. `at_once`: whatever the log holds, but
        not in a pause: sealed segments wait that a merge should have taken (nobody might ever write to the log again),
        or the volume is short of room.
        """
        if self._not_before_ms - self._pause_ms <= now_ms < self._not_before_ms:
            return False
        if at_once:
            return True
        if self.after_entries is not None:
            return log_entries > self.after_entries
        return log_bytes > max(_LEAST_LOG_BYTES, checkpoint_bytes)

    @property
    def pausing(self) -> bool:
        """Whether the last compaction failed."""
        return self._pause_ms > 0

    def failed(self, now_ms: int) -> int:
        """A compaction failed: wait before the next. Returns the pause in milliseconds."""
        self._pause_ms = min(max(2 * self._pause_ms, _FIRST_PAUSE_MS), _LONGEST_PAUSE_MS)
        self._not_before_ms = now_ms + self._pause_ms
        return self._pause_ms

    def succeeded(self) -> None:
        """A compaction was finished; or what made the last one fail may be another now."""
        self._pause_ms = 0
