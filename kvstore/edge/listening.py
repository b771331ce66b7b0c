"""The ports: listening on every endpoint, telling so on standard output, and no more of it at the stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvstore.edge.exits import StartEnded, refuse_start
from kvstore.edge.exposure import is_tls
from kvstore.edge.log_limit import LogLimit
from kvstore.edge.open_files import PortLog
from kvstore.edge.tls import ask_for_certificates

_log = Logger()


class Accepting(Protocol):
    """A factory, with the one that is told when TLS protects what comes."""

    @property
    def over_tls(self) -> Any:
        """Another factory, or the same."""


class Listening:
    """All ports of a server. `turned_away`: called for each client that no file is left for. `exit_process`: called
    with the exit status if an endpoint turns out not to work when the start is over. `what`: begins the line that says
    where; `options`: those that say it. `prints`: whether standard output is told, too.

    `port_numbers`: of the TCP ports listened on. `described`: each endpoint, as INFO has it.
    """

    def __init__(
        self,
        reactor: Any,
        turned_away: Callable[[], None],
        exit_process: Callable[[int], None],
        what: str = "Listening",
        options: str = "--port or --listen",
        *,
        prints: bool = True,
    ) -> None:
        self._reactor = reactor
        self._what = what
        self._options = options
        self._prints = prints
        self._exit_process = exit_process
        self._port_log = PortLog(turned_away, LogLimit(reactor.seconds))
        self._ports: list[IListeningPort] = []
        self._starting = False
        self._refused: StartEnded | None = None
        self.port_numbers: list[int] = []
        self.described: list[str] = []

    def start(self, endpoints: Iterable[str], factory: Accepting, authorities: list[Any] | None = None) -> None:
        """Listen on all of them. `authorities`: who vouches for clients over TLS, None if nobody has to.

        Raises StartEnded after saying why, if one of them is refused.
        """
        self._starting = True
        for text in endpoints:
            endpoint = serverFromString(self._reactor, text)
            if authorities is not None:
                ask_for_certificates(endpoint, authorities)
            chosen: Any = factory.over_tls if is_tls(text) else factory
            endpoint.listen(chosen).addCallbacks(self._listens, self._cannot_listen, errbackArgs=(text,))
        self._starting = False
        if self._refused is not None:
            raise self._refused

    def _listens(self, port: IListeningPort) -> None:
        self._ports.append(port)
        self._port_log.watch(port)
        address: Any = port.getHost()
        number = getattr(address, "port", None)
        if number is not None:
            self.port_numbers.append(number)
            self.described.append(f"name=tcp,bind={address.host},port={number}")
        else:
            self.described.append(f"name=unix,bind={getattr(address, 'name', address)}")
        what = self._what
        if number is not None:
            text = f"{what} on port {number}"
            _log.info("{what} on port {port}", what=what, port=number)
        else:
            text = f"{what} on {address}"
            _log.info("{what} on {address}", what=what, address=address)
        if self._prints and sys.__stdout__ is not None and not sys.__stdout__.closed:
            print(text, file=sys.__stdout__, flush=True)

    def _cannot_listen(self, failure: Failure, endpoint: str) -> None:
        self._refused = refuse_start(
            f"cannot listen on {endpoint}: {failure.getErrorMessage()}; choose another {self._options}"
        )
        if not self._starting:
            self._exit_process(1)

    def first_port(self) -> int:
        """The first TCP port listened on, 0 if there is none."""
        return next(iter(self.port_numbers), 0)

    async def stop(self) -> None:
        """Listen no more."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)
