"""One line in the log for clients that speak HTTP, or another protocol that must not get in; at most one a minute.

They may be somebody's attack through a browser or a proxy on this machine, or a health check that was pointed here by
mistake, which comes every second. Redis logs alike, without the number of the others.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from kvstore.base.errors import ForeignProtocol, shorten

_log = Logger()
#: Seconds between two lines. Redis: securityWarningCommand, 60.
_PERIOD_S = 60


class Foreigners:
    """See the module. `seconds`: a steady clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._next_s = seconds()
        self._untold = 0

    def note(self, address: str, error: ForeignProtocol) -> None:
        """The client at `address` is disconnected because of what it sent."""
        now_s = self._seconds()
        if now_s < self._next_s:
            self._untold += 1
            return
        _log.warn(
            "possible attack: client {address} sent {name} ('{line}') and is disconnected; nothing of it was executed."
            " Somebody may have a browser or a proxy send requests here. {untold} more since the last such line",
            address=address, name=error.name, line=shorten(error.line), untold=self._untold,
        )  # fmt: skip
        self._next_s = now_s + _PERIOD_S
        self._untold = 0
