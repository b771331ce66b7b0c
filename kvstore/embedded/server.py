"""A server, or several, within one's own Twisted application.

    from kvstore.embedded.server import EmbeddedServer, settings

    server = EmbeddedServer(settings(data="data", port=0, sync="always"))
    server.setServiceParent(application)
    server.port                                        # known once it has started

It is the service that twistd runs, with another process around it: it prints nothing, ends nothing, stops no reactor,
raises no limit, leaves the reactor's clock, the garbage collector and the log as they are. Servers share nothing but
the reactor.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.usage import UsageError

from kvstore.base.errors import KVStoreError, StartRefused
from kvstore.base.limits import OTHER_FILES
from kvstore.edge.service import KVStoreService
from kvstore.edge.settings import Settings
from kvstore.edge.tap import parse_settings

_log = Logger()

Stopped = Callable[["Exception | None"], object]


class OptionError(KVStoreError, ValueError):
    """An option that the server does not take, or not so; the text is what `kvstore serve` says of it."""


def settings(**options: Any) -> Settings:
    """The settings of a server, by the names of its options (`kvstore serve --help`), with `_` for `-`.

    A value is what would be typed there: text or a number; a path may be any os.PathLike; True for an option without a
    value; a list for one that may be repeated (`listen=["tcp:6380", "unix:/run/kvstore"]`). None and False: not given.
    Raises OptionError, with the words of the command line.
    """
    words: list[str] = []
    for name, value in options.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            option = f"--{name.replace('_', '-')}"
            if each is True:
                words.append(option)
            elif each is not None and each is not False:
                words.append(f"{option}={os.fspath(each) if isinstance(each, os.PathLike) else each}")
    try:
        return parse_settings(words)
    except UsageError as error:
        raise OptionError(str(error)) from None


class EmbeddedServer(KVStoreService):
    """A server as a service of one's own application; see the module.

    `settings`: see there. `stopped`: called when it has stopped by itself: with a StorageFault after a failed write or
    sync of the log (its clients are gone, nothing more was acknowledged; to start is to make another one), with None
    after a client's SHUTDOWN. `reactor`: None for Twisted's.

    `startService` raises StartRefused, having given back what it had opened. A service that has stopped does not start
    again: make another.
    """

    def __init__(self, settings: Settings, *, stopped: Stopped | None = None, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._stopping: Deferred[None] | None = None
        super().__init__(settings, reactor, _Guest(reactor, self, stopped))

    @property
    def port(self) -> int:
        """The first TCP port that it listens on, 0 if there is none, or before it has started."""
        return self.listening.first_port()

    @property
    def ports(self) -> list[int]:
        """All of them."""
        return list(self.listening.port_numbers)

    def startService(self) -> None:
        """See the class."""
        try:
            super().startService()
        except StartRefused:
            if self.running:
                self.stopService()
            else:
                self._give_back()
            raise

    def stopService(self) -> Deferred[None]:
        """Stop in order; a second time it returns when that is done. Durability: all that was written is on disk."""
        if self._stopping is None:
            self._stopping = super().stopService() if self.running else succeed(None)
        waits: Deferred[None] = Deferred()

        def done(result: Any) -> Any:
            waits.callback(None)
            return result

        self._stopping.addBoth(done)
        return waits


class _Guest:
    """Somebody else's process: a `kvstore.edge.exits.Process`."""

    def __init__(self, reactor: Any, server: EmbeddedServer, stopped: Stopped | None) -> None:
        self._reactor = reactor
        self._server = server
        self._tell: Stopped = stopped or (lambda error: None)
        self._ends = False

    def refused(self, reason: str) -> Exception:
        """See `Process`."""
        return StartRefused(reason)

    def clients_allowed(self, max_clients: int) -> int:
        """See `Process`. The limit on files stays as it is: to raise it is the application's business."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max_clients if allowed == resource.RLIM_INFINITY else min(max_clients, max(1, allowed - OTHER_FILES))

    def begins(self) -> None:
        """See `Process`. The reactor's clock stays as it is."""

    def recovered(self) -> None:
        """See `Process`. The garbage collector stays as it is."""

    def says(self, line: str) -> None:
        """See `Process`. It is in the log."""

    def failed(self, error: Exception, status: int = 1) -> None:
        """See `Process`."""
        self._end(error)

    def shut_down(self) -> None:
        """See `Process`."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        """Stop this server, in a later turn, and tell who wants to know; once."""
        if not self._ends:
            self._ends = True
            self._reactor.callLater(0, self._stop, error)

    def _stop(self, error: Exception | None) -> None:
        self._server.stopService().addCallback(lambda _: self._told(error))

    def _told(self, error: Exception | None) -> None:
        try:
            self._tell(error)
        except Exception:
            _log.failure("bug in what was to be called when the server had stopped")
