"""How many files this process may have open, hence how many clients; and what is said when there are none left.

A client past the limit is to be told so, not just dropped, and that takes a file: so `maxclients` is never more than
what fits beside the server's own files, as in Redis. Where files run out all the same (somebody lowered the limit of
the running process), Twisted accepts and closes, and writes three lines for each client. Its ports get a logger that
says it once a minute; each client turned away counts as rejected.

Rejected: to stop listening until files are free again (a client would wait for an answer that nobody promises it).
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from kvstore.base.limits import MOST_CLIENTS_OF_SELECT, OTHER_FILES
from kvstore.edge.log_limit import LogLimit

_log = Logger()

#: Begins what Twisted says of each client that it closes because no file is left (twisted.internet.tcp, _accept).
_TURNED_AWAY = "EMFILE recovery: Closed"


def clients_allowed(max_clients: int, reactor: Any) -> int:
    """As many clients as the system and the reactor can take, at most `max_clients`. Raises the soft limit on files."""
    return _that_fit(_watched(max_clients, reactor))


def _watched(max_clients: int, reactor: Any) -> int:
    if not isinstance(reactor, SelectReactor) or max_clients <= MOST_CLIENTS_OF_SELECT:
        return max_clients
    _log.info("the select reactor serves {most} clients at most; others serve more", most=MOST_CLIENTS_OF_SELECT)
    return MOST_CLIENTS_OF_SELECT


def _that_fit(max_clients: int) -> int:
    """Let the process have as many files open as it may have clients, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_clients + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return max_clients
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    fit = max(1, allowed - OTHER_FILES)
    if fit < max_clients:
        _log.warn(
            "at most {fit} clients instead of {wanted}: only {allowed} files may be open; raise ulimit -n for more",
            fit=fit, wanted=max_clients, allowed=allowed,
        )  # fmt: skip
    return min(fit, max_clients)


@implementer(ILogObserver)
class PortLog:
    """What Twisted's ports say of clients that they could not take. `turned_away`: called for each."""

    def __init__(self, turned_away: Callable[[], None], limit: LogLimit) -> None:
        self._turned_away = turned_away
        self._limit = limit

    def watch(self, port: Any) -> None:
        """Take the place of the logger of a listening port; one that has none says nothing."""
        if hasattr(port, "_logger"):
            port._logger = Logger(namespace=__name__, observer=self)

    def __call__(self, event: LogEvent) -> None:
        """One line a minute, for all."""
        if str(event.get("log_format")).startswith(_TURNED_AWAY):
            self._turned_away()
        self._limit(
            _log.error,
            "no more files may be open: clients are turned away, and counted in INFO as rejected_connections;"
            " raise ulimit -n, or lower --max-clients",
            most=1,
        )
