"""One HTTP connection: one request, a small one, soon.

A connection carries one request and is closed after its answer. So nothing is pipelined, nobody holds a connection
open between requests, and every connection has an end that is known when it begins: the request must be complete, and
its answer taken, in a time that no byte sent in between makes longer. Only an answer that is made by and by (a stream
of events) lasts, as long as whoever writes it lets it.

A request has no body: there is nothing here to be changed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from kvstore.base.limits import HTTP_ANSWER_S, HTTP_REQUEST_S, MAX_HTTP_HEADER_BYTES, MAX_HTTP_HEADERS

_NO_BODY = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Channel(HTTPChannel):
    """See the module. `site` is the Site that made it."""

    totalHeadersSize = MAX_HTTP_HEADER_BYTES
    maxHeaders = MAX_HTTP_HEADERS
    site: Any
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self._deadline: IDelayedCall | None = None
        self._surplus_bytes = 0

    def connectionMade(self) -> None:
        """Count it, and let its time begin."""
        self.site.came(self)
        self._end_in(HTTP_REQUEST_S)
        super().connectionMade()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """No connection is kept."""
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def allHeadersReceived(self) -> None:
        """Refuse a body, before any of it is kept."""
        if self.length != 0:
            self.transport.write(_NO_BODY)
            self.loseConnection()
        else:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """What follows a request is not looked at; who sends much of it is cut off."""
        self._surplus_bytes += len(data)
        if self._surplus_bytes > MAX_HTTP_HEADER_BYTES:
            self.abort()

    def allContentReceived(self) -> None:
        """The request is there: it is answered when its turn has come."""
        self.setRawMode()
        self.site.pace(self._answer)

    def _answer(self) -> None:
        if self in self.site.channels:
            self._no_end()
            super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """It is answered: close when the client has it."""
        self._end_in(HTTP_ANSWER_S)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._no_end()
        self.site.left(self)
        super().connectionLost(reason)

    def abort(self) -> None:
        """Close it at once."""
        self.transport.abortConnection()

    def _end_in(self, seconds: float) -> None:
        self._no_end()
        self._deadline = self.callLater(seconds, self.abort)

    def _no_end(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
