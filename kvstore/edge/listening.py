"""The ports: listening on every endpoint, telling so on standard output, and no more of it at the stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvstore.base.limits import ACCEPTED_IN_A_TURN
from kvstore.edge.exits import Process
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
    """All ports of a server. `turned_away`: called for each client that no file is left for. `process`: that is told
    where, and of what cannot be listened on. `what`: begins the line that says where; `options`: those that say it.

    `port_numbers`: of the TCP ports listened on. `described`: each endpoint, as INFO has it.
    """

    def __init__(
        self,
        reactor: Any,
        turned_away: Callable[[], None],
        process: Process,
        what: str = "Listening",
        options: str = "--port or --listen",
    ) -> None:
        self._reactor = reactor
        self._what = what
        self._options = options
        self._process = process
        self._port_log = PortLog(turned_away, LogLimit(reactor.seconds))
        self._ports: list[IListeningPort] = []
        self._starting = False
        self._refused: Exception | None = None
        self.port_numbers: list[int] = []
        self.described: list[str] = []

    def start(self, endpoints: Iterable[str], factory: Accepting, authorities: list[Any] | None = None) -> None:
        """Listen on all of them. `authorities`: who vouches for clients over TLS, None if nobody has to.

        Raises what the process says, if one of them is refused.
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
        accept_few(port)
        address: Any = port.getHost()
        number = getattr(address, "port", None)
        if number is not None:
            self.port_numbers.append(number)
            self.described.append(f"name=tcp,bind={address.host},port={number}")
        else:
            address = os.fsdecode(getattr(address, "name", None) or str(address))  # a socket's path is bytes
            self.described.append(f"name=unix,bind={address}")
        what = self._what
        if number is not None:
            text = f"{what} on port {number}"
            _log.info("{what} on port {port}", what=what, port=number)
        else:
            text = f"{what} on {address}"
            _log.info("{what} on {address}", what=what, address=address)
        self._process.says(text)

    def _cannot_listen(self, failure: Failure, endpoint: str) -> None:
        self._refused = self._process.refused(
            f"cannot listen on {endpoint}: {failure.getErrorMessage()}; choose another {self._options}"
        )
        if not self._starting:
            self._process.failed(self._refused)

    def accept(self, accepts: bool) -> None:
        """Accept connections, or let who comes wait in the kernel until they are accepted again."""
        for port in self._ports:
            change = getattr(port, "startReading" if accepts else "stopReading", None)
            if change is not None:
                change()

    def first_port(self) -> int:
        """The first TCP port listened on, 0 if there is none."""
        return next(iter(self.port_numbers), 0)

    async def stop(self) -> None:
        """Listen no more."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)


def accept_few(port: Any) -> None:
    """Have a listening port accept only so many connections in one turn of the loop, however many wait: those who are
    connected have their turn in between.
    """
    if not hasattr(port, "numberAccepts"):  # not one of Twisted's own
        return
    accept = port.doRead

    def accept_some() -> None:
        port.numberAccepts = min(port.numberAccepts, ACCEPTED_IN_A_TURN)
        accept()

    port.doRead = accept_some
