"""One connection to one node of etcd, from the first attempt to make it: requests out, replies in.

It asks nothing of its own, and waits for nothing: time limits are its user's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from kvstore.edge.etcd.places import Place
from kvstore.edge.etcd.replies import BadReply, Reply, ReplyParser

#: As often as replies come: how, and what is wrong if the connection is of no more use.
Came = Callable[[Reply], None]
Lost = Callable[[str], None]


class Link(Protocol):
    """See the module. `came`: called with each reply; `lost`: once, with the reason, if the connection cannot be made
    or ends. Neither is called after `drop`. `lines`: see `ReplyParser`. `moved`: whether anything has come, since its
    user has set it to False.
    """

    transport: Any

    def __init__(self, place: Place, came: Came, lost: Lost, *, lines: bool = False) -> None:
        self._place = place
        self._came = came
        self._lost = lost
        self._parser = ReplyParser(lines=lines)
        self._unsent: list[bytes] | None = []  # until there is a connection
        self._dropped = False
        self._to_socket: Callable[[bytes], int] | None = None
        self.moved = False

    def open(self) -> None:
        """Begin to connect. `lost` may be called before this returns."""
        factory = Factory.forProtocol(lambda: self)
        factory.noisy = False
        self._connecting = self._place.endpoint.connect(factory)
        self._connecting.addErrback(self._refused)

    def send(self, path: bytes, body: bytes) -> None:
        """Send a POST of some JSON, and the token that there is now; at once, or as soon as there is a connection."""
        login = self._place.login
        own = b"Authorization: %b\r\n" % login.token if login is not None and login.token else b""
        head = b"POST %b HTTP/1.1\r\nHost: %b\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        request = head % (path, self._place.name.encode(), own, len(body)) + body
        if self._unsent is None:
            self._write(request)
        else:
            self._unsent.append(request)

    def _write(self, request: bytes) -> None:
        """Give it to the bare socket, if there is one, and what that does not take to the transport.

        So an append costs two thirds. Nothing is in the transport's buffer then: the request before has been answered.
        """
        sent = 0
        if self._to_socket is not None:
            with contextlib.suppress(OSError):  # there is no room; a connection that is lost is told of soon
                sent = self._to_socket(request)
        if sent < len(request):
            self.transport.write(request[sent:])

    def drop(self) -> None:
        """End it, whatever is under way."""
        if self._dropped:
            return
        self._dropped = True
        if self._unsent is None:
            self.transport.abortConnection()
        else:
            self._connecting.cancel()

    def connectionMade(self) -> None:
        """Send what waits."""
        if self._dropped:
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        if isinstance(self.transport, tcp.Connection) and not self.transport.TLS:
            self._to_socket = self.transport.socket.send
        unsent, self._unsent = self._unsent or [], None
        self._write(b"".join(unsent))

    def dataReceived(self, data: bytes) -> None:
        """Tell of each reply."""
        self.moved = True
        try:
            replies = self._parser.feed(data)
        except BadReply as error:
            self._end(str(error))
            self.transport.abortConnection()
            return
        for reply in replies:
            if not self._dropped:
                self._came(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell of it."""
        self._end(reason.getErrorMessage())

    def _refused(self, reason: Failure) -> None:
        self._end(reason.getErrorMessage())

    def _end(self, reason: str) -> None:
        if not self._dropped:
            self._dropped = True
            self._lost(reason)
