"""Those who look at a page, told of what is new by server-sent events (WHATWG HTML, 9.2).

A listener that does not read is not waited for: while it has not taken an event it gets no other, and when it has
missed MAX_MISSED_EVENTS its connection is closed; a browser that still wants to know connects again. So one event for
each listener is all that ever waits, whatever listeners do.

While nobody listens nothing happens: the first one that comes begins what tells, and the last one that leaves ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from kvstore.base.jsontext import dumps
from kvstore.base.limits import MAX_LISTENERS, MAX_MISSED_EVENTS
from kvstore.edge.http.site import refuse
from kvstore.edge.http.visitors import Visitor

EVENT_STREAM = b"text/event-stream; charset=utf-8"
#: Milliseconds until a browser whose connection was closed tries again.
_RETRY = b"retry: 3000\n\n"


def event(data: Any) -> bytes:
    """An event for the script of the page. `data`: anything that is JSON; it is on one line, as the format wants."""
    return b"data: %b\n\n" % dumps(data)


@implementer(IPushProducer)
class Listener:
    """One who looks. `visitor`: who that is. `known`: what it was told last, by section; for who tells it."""

    def __init__(self, request: Request, visitor: Visitor, gone: Callable[[Listener], None]) -> None:
        self._request = request
        self.visitor = visitor
        self.known: dict[str, str] = {}
        self._missed = 0
        self._reads = True
        request.notifyFinish().addBoth(lambda _: gone(self))
        request.registerProducer(self, True)
        request.write(_RETRY)

    def tell(self, data: bytes) -> bool:
        """Send an event; returns whether it was, and not left out since it does not read. Drops who never does."""
        if self._reads:
            self._missed = 0
            self._request.write(data)
            return True
        self._missed += 1
        if self._missed >= MAX_MISSED_EVENTS:
            self.drop()
        return False

    def drop(self) -> None:
        """Close the connection at once, and keep nothing of what it has not taken."""
        channel: Any = self._request.channel
        if channel is not None:
            channel.abort()

    def pauseProducing(self) -> None:
        """The socket takes no more."""
        self._reads = False

    def resumeProducing(self) -> None:
        """It does again."""
        self._reads = True

    def stopProducing(self) -> None:
        """The connection is gone; `notifyFinish` tells of it."""
        self._reads = False


class Audience:
    """See the module. `needs`: what one who listens must be allowed to, all the time. `begin`, `end`: called when the
    first one listens, and when nobody does any more.
    """

    def __init__(self, needs: Sequence[str], begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._needs = needs
        self._begin = begin
        self._end = end
        self.listeners: dict[Listener, None] = {}

    def join(self, request: Request, visitor: Visitor) -> int | bytes:
        """Answer a request with events from now on; or refuse it, if too many listen."""
        if request.method == b"HEAD":
            return b""
        if len(self.listeners) >= MAX_LISTENERS:
            request.setHeader(b"Retry-After", b"60")
            return refuse(request, 503, f"{MAX_LISTENERS} look already, which is as many as may at once")
        request.setHeader(b"Content-Type", EVENT_STREAM)
        listener = Listener(request, visitor, self._left)
        self.listeners[listener] = None
        if len(self.listeners) == 1:
            self._begin()
        return NOT_DONE_YET

    def allowed(self) -> list[Listener]:
        """Those who may be told; the others, whose rights were taken meanwhile, are dropped."""
        allowed = []
        for listener in list(self.listeners):
            if listener.visitor.may_all(self._needs):
                allowed.append(listener)
            else:
                listener.drop()
        return allowed

    def _left(self, listener: Listener) -> None:
        if listener in self.listeners:
            del self.listeners[listener]
            if not self.listeners:
                self._end()
