"""One connection of the Twisted client: requests out as fast as the transport takes them, replies in, matched in order.

Knows nothing of targets, pauses and repetition: it draws requests from its client (`Source`), and when it ends, for
whatever reason, it tells the client once; what it leaves without a reply is in `outstanding`.

Two hazards of LineReceiver are stepped around. In line mode it copies the rest of its buffer for every line, and drops
the connection at a line over MAX_LENGTH (16,384 bytes; the answer to a query may be any size): here it stays in raw
mode, and splits each read once. And only so much is handed to the transport as it takes without buffering (it calls us
a producer), so that a thousand large inserts are not copied again into the transport's buffer, and so that a long
upload shows its progress (`patience`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from kvstore.client.certificates import refusal
from kvstore.client.exchange import decode_reply, outcome
from kvstore.client.patience import Patience
from kvstore.client.stream import too_long

#: Bytes handed to the transport at once: its own idea of a full buffer (FileDescriptor.bufferSize).
_PIECE_BYTES = 64 * 1024

_BELONGS_TO_NONE = "a reply came that belongs to no request"


class Request:
    """One request until its Deferred has fired.

    `abandoned`: called when its Deferred is cancelled. `sent`: the whole of it has left on the present connection, so
    that it may be done. `repeated`: the same of an earlier connection. `finished`: the Deferred has fired, or nobody
    waits for it any more. `end`: the timer of its deadline, if it has one.
    """

    __slots__ = ("_abandoned", "deferred", "end", "finished", "key", "line", "method", "repeated", "sent", "serial")

    def __init__(
        self, serial: int, method: str, key: str | None, line: bytes, abandoned: Callable[[Request], None]
    ) -> None:
        self.serial = serial
        self.method = method
        self.key = key
        self.line = line
        self.sent = False
        self.repeated = False
        self.finished = False
        self.end: IDelayedCall | None = None
        self.deferred: Deferred[Any] = Deferred(self._cancelled)
        self._abandoned = abandoned

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self._finish()
        self._abandoned(self)

    @property
    def may_be_done(self) -> bool:
        """Whether the server may have had the whole of it."""
        return self.sent or self.repeated

    def prepare(self) -> None:
        """Note that it is about to be sent, perhaps once more."""
        self.repeated = self.repeated or self.sent
        self.sent = False

    def answer(self, reply: dict[str, Any]) -> None:
        """Fire the Deferred with what the reply means."""
        try:
            value = outcome(reply, self.method, self.key, self.repeated)
        except Exception as error:
            self.fail(error)
        else:
            if not self.finished:
                self._finish()
                self.deferred.callback(value)

    def fail(self, error: Exception) -> None:
        """Fire the Deferred with an error."""
        if not self.finished:
            self._finish()
            self.deferred.errback(error)

    def _finish(self) -> None:
        self.finished = True
        if self.end is not None and self.end.active():
            self.end.cancel()


class Source(Protocol):
    """What a connection needs of its client."""

    def next_request(self) -> Request | None:
        """The next request to send, if there is one; it is the connection's from then on."""

    def answered(self) -> None:
        """A reply came."""

    def lost(self, connection: Connection, reason: str) -> None:
        """The connection has ended otherwise than by its `close`. `reason`: for the person at the terminal."""


class Connection(LineReceiver):
    """One connection. `source`: its client. `reactor`: keeps the time. `timeout_seconds`: of silence that end it.
    `max_reply_bytes`: a longer reply ends it too.

    `outstanding`: requests that were begun to be sent and have no reply yet, in their order. `ended`: no more of them.
    """

    transport: Any

    def __init__(self, source: Source, reactor: Any, timeout_seconds: float, max_reply_bytes: int) -> None:
        self.outstanding: deque[Request] = deque()
        self.ended = False
        self._source = source
        self._reactor = reactor
        self._patience = Patience(timeout_seconds, reactor.seconds)
        self._max_reply_bytes = max_reply_bytes
        self._sending: Request | None = None
        self._unsent = memoryview(b"")  # the rest of the request that is being sent
        self._transport_full = False
        self._beginning = bytearray()  # of a reply
        self._silence: IDelayedCall | None = None
        self._gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Prepare the transport. Sending begins when the client, having got us from its endpoint, says so."""
        self.line_mode = 0
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(_Outgoing(self), True)

    def send_more(self) -> None:
        """Send requests until the transport has enough or none waits."""
        while not self._transport_full and not self.ended:
            request = self._sending or self._begin_next()
            if request is None:
                return
            piece, self._unsent = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            if not self._unsent:
                self._sending, request.sent = None, True
            self.transport.write(bytes(piece))

    def _begin_next(self) -> Request | None:
        request = self._sending = self._source.next_request()
        if request is not None:
            request.prepare()
            self.outstanding.append(request)
            self._unsent = memoryview(request.line)
            if self._silence is None:
                self._patience.renew()
                self._silence = self._reactor.callLater(self._patience.left(), self._silent)
        return request

    def transport_full(self, full: bool) -> None:
        """Take note that the transport's buffer is full, or that it has become empty."""
        self._transport_full = full
        if not full:
            self._patience.moved(_PIECE_BYTES)
            self.send_more()

    def rawDataReceived(self, data: bytes) -> None:
        """Cut what came into lines, once, and take each for a reply."""
        self._patience.moved(len(data))
        first, *others = data.split(b"\n")
        self._beginning += first
        if others:
            whole, self._beginning = self._beginning, bytearray(others.pop())
            lines: list[bytes | bytearray] = [whole, *others]
            for line in lines:
                if not self.ended:
                    self._reply(line)
        if self._beginning and not self.ended:
            self._check_beginning()

    def _check_beginning(self) -> None:
        if not self.outstanding:
            self._end(_BELONGS_TO_NONE)
        elif len(self._beginning) >= self._max_reply_bytes:
            self._end(str(too_long(self._max_reply_bytes)))

    def _reply(self, line: bytes | bytearray) -> None:
        """Match a reply with the oldest request; the last bytes of a request may still be on their way by then."""
        if not self.outstanding:
            self._end(_BELONGS_TO_NONE)
            return
        request = self.outstanding[0]
        try:
            if len(line) >= self._max_reply_bytes:
                raise too_long(self._max_reply_bytes)
            reply = decode_reply(line, request.serial, request.method)
        except ConnectionError as error:
            self._end(str(error))
            return
        self.outstanding.popleft()
        if self.outstanding:
            self._patience.renew()
        else:
            self._stop_timer()
        self._source.answered()
        request.answer(reply)

    def _silent(self) -> None:
        """What patience there was when the timer began is over: look whether more came since."""
        self._silence = None
        try:
            self._silence = self._reactor.callLater(self._patience.left(), self._silent)
        except TimeoutError as error:
            self._end(str(error))

    def _stop_timer(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.cancel()

    def _end(self, reason: str) -> None:
        """Give the connection up: reset it, so that what has not left does not arrive after its repetition."""
        self.ended = True
        self._stop_timer()
        self.transport.abortConnection()
        self._source.lost(self, reason)

    def close(self) -> Deferred[None]:
        """End in order, telling the client nothing more. Fires when the transport is gone."""
        self.ended = True
        self._stop_timer()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        return self._gone

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone, whoever ended it."""
        if not self.ended:
            self.ended = True
            self._stop_timer()
            self._source.lost(self, reason_of(reason))
        self._gone.callback(None)


@implementer(IPushProducer)
class _Outgoing:
    """What the transport sees as the producer of a connection's requests (LineReceiver's own methods pause reading)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pauseProducing(self) -> None:
        self._connection.transport_full(True)

    def resumeProducing(self) -> None:
        self._connection.transport_full(False)

    def stopProducing(self) -> None:
        """The connection is being lost: `connectionLost` will tell."""


def reason_of(failure: Failure) -> str:
    """What a failure says, to be continued in a message."""
    message = failure.getErrorMessage()
    return refusal(message) or message.rstrip(".") or type(failure.value).__name__
