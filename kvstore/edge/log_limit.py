"""Lines of the log that clients can cause, so many a minute of each kind: nobody fills a disk, or hides a line among
others, by what he sends.

A kind is a format: all lines that one place in the source writes. What is left out is counted, and told in a line of
its own when the minute is over. One object belongs to each server.

Rejected: to limit in the observer, all lines alike: a server inside another program writes to that program's observers,
and there are lines of which none may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from kvstore.base.limits import LOG_LINES_A_PERIOD, LOG_PERIOD_S

_log = Logger()


class Emit(Protocol):
    """A method of a `Logger`: `warn`, `failure`, ..."""

    def __call__(self, format: str, **fields: Any) -> object:
        """Log an event."""


class _Kind:
    """The lines of one kind since `began_s`."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.written = 0
        self.left_out = 0


class LogLimit:
    """See the module. `seconds`: a steady clock. `tell` is to be called about once a second."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._kinds: dict[tuple[Emit, str], _Kind] = {}

    def __call__(self, emit: Emit, format: str, most: int = LOG_LINES_A_PERIOD, **fields: Any) -> None:
        """Write this line, unless `most` of its kind were written in the last period. `format`: a literal."""
        self.tell()
        kind = self._kinds.get((emit, format))
        if kind is None:
            kind = self._kinds[emit, format] = _Kind(self._seconds())
        if kind.written < most:
            kind.written += 1
            emit(format, **fields)
        else:
            kind.left_out += 1

    def tell(self) -> None:
        """Tell how many lines were left out of the kinds whose period is over."""
        now_s = self._seconds()
        for (emit, format), kind in list(self._kinds.items()):
            if now_s - kind.began_s < LOG_PERIOD_S:
                continue
            del self._kinds[emit, format]
            if kind.left_out:
                _log.warn(
                    "{count} more lines of this kind are left out, past {most} in a minute: {kind}",
                    count=kind.left_out, most=kind.written, kind=format,
                )  # fmt: skip
