"""The catalog announcer: once a minute, one datagram that says which project is served on which port.

    {"type":"hashtable","owner":"me","port":6380,"project":"me-a5"}

The catalog adds the address it heard that from, and forgets it after some time (the real one: half an hour) without
another. What clients do with it is in `kvstore.client.target`.

Nothing that happens to an announcement disturbs the server: the name is resolved by the reactor's resolver, the
datagram is sent without waiting, and every way to fail (no such name, no network, nobody listens there, no file
descriptor left) is one state. What is announced where is said in the log once, when it first went well, that it fails
when that begins, and that it works again: not once a minute.

UDP cannot tell that a datagram was received; what it can tell is a refusal, which comes back as an error of a connected
socket. So a socket is kept for a second after its datagram, and if it has no error by then the announcement counts as
having gone well. A catalog that swallows datagrams looks like a good one.

A name may have several addresses (`localhost` is `::1` first, as a rule, and a catalog may listen on 127.0.0.1 only):
they are tried in turn until one does not refuse. Rejected: an announcement to each of them. The catalog would list the
server once for each of our own addresses that it heard from, and at some of those it may not be listening.

The name is resolved anew each time: a server runs for months, addresses need not stay the same for so long.

Rejected: `reactor.listenUDP`. There is nothing to read, a Twisted port logs each opening and closing, and when a
connected one meets another error than a refusal (a firewall's "prohibited", say) it logs a traceback and goes dead.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IDelayedCall, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from kvstore.base.address import CATALOG_TYPE, Address

#: Seconds from one announcement to the next.
PERIOD_SECONDS = 60.0

#: Seconds from one look to the next while the server does not listen yet.
NOT_LISTENING_SECONDS = 1.0

#: Seconds after an announcement by which a refusal would have come back: more than any round trip on this planet.
REFUSAL_SECONDS = 1.0

_log = Logger()


def announcement(project: str, owner: str, port: int) -> bytes:
    """The datagram, as the catalog takes it. `port`: TCP port on which the project is served.

    Names past ASCII go as UTF-8: the real catalog throws an announcement with `\\u00fc` away.
    """
    entry = {"type": CATALOG_TYPE, "owner": owner, "port": port, "project": project}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


class CatalogAnnouncer(Service):
    """Announces a project from its start to its stop.

    `reactor`: resolves names and keeps the time. `project`, `owner`: what to announce. `get_port`: gives the TCP port
    that the server listens on, now; None or 0 while it does not, and then nothing is announced yet. `catalog`: where
    to announce.
    """

    def __init__(
        self, reactor: Any, project: str, owner: str, get_port: Callable[[], int | None], catalog: Address
    ) -> None:
        self._reactor = reactor
        self._project = project
        self._owner = owner
        self._get_port = get_port
        self._catalog = catalog
        self._next: IDelayedCall | None = None
        self._judgement: IDelayedCall | None = None
        self._socket: socket.socket | None = None
        self._untried: list[str] = []  # addresses of the catalog
        self._announced: int | None = None  # the port that the log says is announced
        self._failing = False

    def startService(self) -> None:
        """Announce as soon as the reactor runs and the server listens, and every minute from then on."""
        super().startService()
        self._next = self._reactor.callLater(0, self._announce)

    def stopService(self) -> None:
        """Announce no more. The catalog will forget us by itself."""
        super().stopService()
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._drop_socket()

    def _announce(self) -> None:
        if not self._get_port():
            self._next = self._reactor.callLater(NOT_LISTENING_SECONDS, self._announce)
            return
        self._next = self._reactor.callLater(PERIOD_SECONDS, self._announce)
        host = self._catalog.host
        if isIPAddress(host) or isIPv6Address(host):
            self._try_in_turn([host])
        else:
            receiver = _Addresses(self._try_in_turn)
            self._reactor.nameResolver.resolveHostName(receiver, host, self._catalog.port, transportSemantics="UDP")

    def _try_in_turn(self, hosts: list[str]) -> None:
        """Announce at the first of these IP addresses that does not refuse it."""
        self._untried = hosts
        self._try_next(f"there is no host {self._catalog.host}")

    def _try_next(self, reason: str) -> None:
        """Send one datagram, and come back later to see what has become of it. `reason`: why the one before failed."""
        self._drop_socket()
        port = self._get_port()
        if not self.running or not port:
            return
        while self._untried:
            try:
                self._socket = _connected_socket(self._untried.pop(0), self._catalog.port)
                self._socket.send(announcement(self._project, self._owner, port))
            except OSError as error:
                reason = error.strerror or str(error)
                self._drop_socket()
            else:
                self._judgement = self._reactor.callLater(REFUSAL_SECONDS, self._judge, port)
                return
        self._failed(reason)

    def _judge(self, port: int) -> None:
        assert self._socket is not None
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._try_next(os.strerror(error))
        else:
            self._went_well(port, self._socket.getpeername()[0])

    def _went_well(self, port: int, host: str) -> None:
        self._drop_socket()
        if self._failing or port != self._announced:
            again = " again" if self._failing else ""
            self._failing, self._announced = False, port
            text = "announced {project} on port {port} to the catalog at {catalog} ({at}){again}; every {period:g} s"
            at = Address(host, self._catalog.port)
            about = {"project": self._project, "port": port, "catalog": self._catalog, "at": at}
            _log.info(text, again=again, period=PERIOD_SECONDS, **about)

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            text = "cannot announce {project} to the catalog at {catalog}: {reason}; trying again every {period:g} s"
            _log.warn(text, project=self._project, catalog=self._catalog, reason=reason, period=PERIOD_SECONDS)

    def _drop_socket(self) -> None:
        """Close the socket of the last announcement, and judge it no more."""
        if self._judgement is not None and self._judgement.active():
            self._judgement.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected_socket(host: str, port: int) -> socket.socket:
    """A UDP socket for an IP address. `host`: IPv4 or IPv6. Raises OSError; never blocks."""
    made = socket.socket(socket.AF_INET6 if isIPv6Address(host) else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect((host, port))
    except OSError:
        made.close()
        raise
    return made


@implementer(IResolutionReceiver)
class _Addresses:
    """Calls `found` with the IP addresses of a name, none twice, when the resolver is done."""

    def __init__(self, found: Callable[[list[str]], None]) -> None:
        self._found = found
        self._addresses: list[str] = []

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """Nothing to do: a look-up is never given up, its result may be ignored."""

    def addressResolved(self, address: Any) -> None:
        """Keep an address."""
        if address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        """Go on with them."""
        self._found(self._addresses)
