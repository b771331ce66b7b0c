"""One line in the log for clients that speak HTTP, or another protocol that must not get in; at most one a minute.

They may be somebody's attack through a browser or a proxy on this machine, or a health check that was pointed here by
mistake, which comes every second. What they sent is not shown: a password may be in it. Redis logs alike.
"""

from __future__ import annotations

from twisted.logger import Logger

from kvstore.base.errors import ForeignProtocol
from kvstore.edge.log_limit import LogLimit

_log = Logger()


def note_foreigner(limit: LogLimit, address: str, error: ForeignProtocol) -> None:
    """The client at `address` is disconnected because of what it sent."""
    limit(
        _log.warn,
        "possible attack: client {address} sent {name} and is disconnected; nothing of it was executed."
        " Somebody may have a browser or a proxy send requests here",
        most=1, address=address, name=error.name,
    )  # fmt: skip
