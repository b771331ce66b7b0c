"""What scripts say (redis.log, server.log), in the server's log, under a namespace of its own."""

from __future__ import annotations

from twisted.logger import Logger

from kvstore.base.errors import shorten
from kvstore.base.limits import MAX_SCRIPT_LINE, SCRIPT_LINES_A_PERIOD
from kvstore.edge.log_limit import LogLimit

_log = Logger()


def note_script(limit: LogLimit, level: int, text: bytes) -> None:
    """A script says `text`. `level`: 0 to 3, debug, verbose, notice and warning in Redis's words."""
    emit = (_log.debug, _log.info, _log.info, _log.warn)[level]
    limit(emit, "a script says: {said}", most=SCRIPT_LINES_A_PERIOD, said=shorten(text, MAX_SCRIPT_LINE))
