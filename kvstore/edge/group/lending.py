"""Whether another server fetches this one's checkpoint, which should then stay as it is: a new one would have to be
fetched from its beginning.

Nobody says when a fetch begins, or that it has ended: it is on while somebody asked for a piece a moment ago. So the
next compaction is put off, that by size, too; for _MOST_S at most, however slowly somebody asks, and however many do
it in turns. One by hand (BGSAVE, BGREWRITEAOF) is not put off, nor one for which there is no more room to wait,
nor that for a server that cannot join by this checkpoint, as the log was trimmed beyond it: nobody can then.
"""

from __future__ import annotations

from typing import Any

#: Who asks for nothing for so long has all, or has given up: that is how long it waits for an answer.
_ASKED_S = 10.0
#: For so long one checkpoint is kept: at 50 MB/s that are 30 GB.
_MOST_S = 600.0


class Lending:
    """See the module. `clock`: the reactor."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._identity = ""
        self._began_s = self._asked_s = -_MOST_S

    def asked(self, identity: str) -> None:
        """Somebody has got a piece of the checkpoint of that identity."""
        now_s = self._clock.seconds()
        if identity != self._identity or now_s >= self._asked_s + _ASKED_S:
            self._identity, self._began_s = identity, now_s
        self._asked_s = now_s

    def is_on(self) -> bool:
        """Whether the checkpoint is to be kept."""
        return bool(self._clock.seconds() < min(self._asked_s + _ASKED_S, self._began_s + _MOST_S))
