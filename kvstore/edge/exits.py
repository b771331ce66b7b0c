"""What a server does to the process that it runs in: a start that is refused, the fail-stop, and what is told to all.

`OwnProcess` is for a process that is nothing but the server (twistd); `kvstore.embedded.server` has that of a guest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from kvstore.edge import collector
from kvstore.edge.open_files import clients_allowed
from kvstore.edge.steady import use_steady_clock

_log = Logger()

#: How a server of a group ends that leads no more, and has to begin anew (EX_TEMPFAIL of sysexits.h).
LEADS_NO_MORE = 75


def exit_at_once(status: int) -> None:
    """End the process, now: nothing is closed, nobody hears anything more."""
    try:
        sys.stdout.flush()
    finally:
        os._exit(status)


class StartEnded(SystemExit, Exception):
    """Ends a start that is refused, with exit status 1. `line`: what to say on stderr.

    SystemExit, so that no traceback is shown. Exception too, for twistd's sake: when it daemonises, a parent waits to
    be told of the child's start, and would wait for ever for one that ended with a bare SystemExit.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        if sys.__stderr__ is not None and sys.stderr is not sys.__stderr__:
            print(line, file=sys.__stderr__, flush=True)
            self.code = 1


def refuse_start(reason: str) -> StartEnded:
    """The exception that ends a start: one line on stderr and in the log, exit status 1."""
    _log.critical("kvstore: {reason}", reason=reason)
    return StartEnded(f"kvstore: {reason}")


class Process(Protocol):
    """See the module."""

    def refused(self, reason: str) -> Exception:
        """What to raise: the start is refused. `reason`: for the operator, and what to do."""

    def clients_allowed(self, max_clients: int) -> int:
        """As many clients as the process has files for, at most `max_clients`."""

    def begins(self) -> None:
        """The start begins."""

    def recovered(self) -> None:
        """All that stays in memory is there; no client has come yet."""

    def says(self, line: str) -> None:
        """For who waits for it: where the server listens."""

    def failed(self, error: Exception, status: int = 1) -> None:
        """The server must not go on; no client hears from it any more. `status`: the exit status that tells why."""

    def shut_down(self) -> None:
        """A client has asked for that."""


class OwnProcess:
    """See the module. `reactor`: the process's. `exit_process`: called with the exit status on fail-stop. `recovered`:
    called when all that stays in memory is there. `prints`: whether standard output is told where the server listens.
    """

    def __init__(
        self,
        reactor: Any,
        exit_process: Callable[[int], None] = exit_at_once,
        recovered: Callable[[], None] = collector.tame,
        *,
        prints: bool = True,
    ) -> None:
        self._reactor = reactor
        self._exit_process = exit_process
        self._prints = prints
        self.recovered = recovered

    def refused(self, reason: str) -> Exception:
        """See `Process`."""
        return refuse_start(reason)

    def clients_allowed(self, max_clients: int) -> int:
        """See `Process`. Raises the soft limit."""
        return clients_allowed(max_clients, self._reactor)

    def begins(self) -> None:
        """See `Process`."""
        use_steady_clock(self._reactor)

    def says(self, line: str) -> None:
        """See `Process`."""
        if self._prints and sys.__stdout__ is not None and not sys.__stdout__.closed:
            print(line, file=sys.__stdout__, flush=True)

    def failed(self, error: Exception, status: int = 1) -> None:
        """See `Process`."""
        self._exit_process(status)

    def shut_down(self) -> None:
        """See `Process`."""
        self._reactor.stop()
