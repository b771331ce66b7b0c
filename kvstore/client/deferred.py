"""The Twisted client: the same verbs, each returning a Deferred, any number of them outstanding on one connection.

Requests are sent in the order they were made and as fast as the transport takes them, without waiting for replies;
replies come in the same order (`pipeline`). Failures are treated as the blocking client treats them (see `sync` and
`exchange`), on the reactor's clock: a message, a pause, a new connection, and then all outstanding requests again in
their order. So when a connection is lost, a request may see the effect of a later one that was outstanding together
with it and was done the first time round: who needs one request to come before another waits for its Deferred.

The client's states, and what moves it between them:

| state | meaning | moves to |
|---|---|---|
| IDLE | not connected, nothing to do | CONNECTING at a request |
| CONNECTING | asking the catalog, connecting | CONNECTED; PAUSING when that fails |
| CONNECTED | requests flow | PAUSING when the connection is lost with requests outstanding, else IDLE |
| PAUSING | waiting to try again | CONNECTING when the pause is over |
| CLOSED | `close` was called, in any state | nothing any more |

This module and `pipeline` are all of the client that imports Twisted.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from kvstore.base.address import Address, catalog_address, parse_address
from kvstore.client.exchange import REPLY_TIMEOUT_SECONDS, Pauses, encode_request, report_on_stderr
from kvstore.client.pipeline import Connection, Request, reason_of
from kvstore.client.target import LOOKUP_TIMEOUT_SECONDS, QUERY_PATH, LookupFailed, freshest, is_address


class ClientClosed(Exception):
    """`close` was called: before the request was made, or before it was answered (then it may or may not be done)."""


def find_server(
    reactor: Any, project: str, catalog: str | None = None, timeout_seconds: float = LOOKUP_TIMEOUT_SECONDS
) -> Deferred[Address]:
    """Ask the catalog where a project's server is.

    `project`: the name after the server's `--project`. `catalog`: HOST:PORT; None means the environment's
    KVSTORE_CATALOG, or the default. `timeout_seconds`: for the whole of it. Fails with LookupFailed. Raises ValueError
    for a mistyped catalog.
    """
    where = catalog_address(catalog)

    def read(response: IResponse) -> Deferred[Address]:
        body = _Body()
        response.deliverBody(body)
        return body.whole.addCallback(freshest, response.code, project, where)

    def late(result: object, seconds: float) -> None:
        raise LookupFailed(f"the catalog at {where} does not answer in {seconds:g} s")

    def explain(failure: Failure) -> Failure:
        if failure.check(LookupFailed, CancelledError):
            return failure
        return Failure(LookupFailed(f"the catalog at {where} does not answer ({reason_of(failure)})"))

    asked: Deferred[Any] = Agent(reactor).request(b"GET", f"http://{where}{QUERY_PATH}".encode())
    answered: Deferred[Any] = asked.addCallback(read).addTimeout(timeout_seconds, reactor, late)
    return answered.addErrback(explain)


class _Body(Protocol):
    """Collects an answer's body. Not `readBody`: for it an answer without a length, as the catalog's is, is
    incomplete.
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._chunks: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._chunks))
        else:
            self.whole.errback(reason)


class State(enum.Enum):
    """Where a client stands; the module has the table of moves."""

    IDLE = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    PAUSING = enum.auto()
    CLOSED = enum.auto()


class DeferredClient:
    """A table on a server, for programs on Twisted. Connects at the first request.

    `reactor`: makes connections and keeps the time. `target`: HOST:PORT, or the name of a project to look up in the
    catalog. `catalog`: HOST:PORT of the catalog; None means the environment's KVSTORE_CATALOG, or the default.
    `timeout_seconds`: silence after which requests are repeated. `report`: is given the lines about failures, one at a
    time. `endpoint_for`: makes the client endpoint for an address; None means plain TCP. Raises ValueError for a
    mistyped address.

    The Deferreds of all requests fail with ValueError if the server finds them invalid, RequestRefused if it cannot do
    them now, ClientClosed after `close`; never for want of a server. An argument that cannot be JSON raises TypeError
    or ValueError at once. When a Deferred has fired, what the request did is on the server's disk, if that syncs as it
    does by default. Cancelling a Deferred gives up waiting; the request may still be done.
    """

    def __init__(
        self,
        reactor: Any,
        target: str,
        *,
        catalog: str | None = None,
        timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
        report: Callable[[str], object] = report_on_stderr,
        endpoint_for: Callable[[Address], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._fixed_address = parse_address(target) if is_address(target) else None
        self.target = target
        self.state = State.IDLE
        #: How often the outstanding requests had to be repeated so far; each time made one line of report.
        self.retries = 0
        self._reactor = reactor
        self._catalog = str(catalog_address(catalog))
        self._timeout_seconds = timeout_seconds
        self._report = report
        self._endpoint_for = endpoint_for or self._tcp_endpoint
        self._pauses = Pauses()
        self._serial = 0
        self._waiting: deque[Request] = deque()
        self._connection: Connection | None = None
        self._connecting: Deferred[None] = succeed(None)
        self._pausing: IDelayedCall | None = None

    def insert(self, key: str, value: Any) -> Deferred[None]:
        """Store a document under a key, in place of the one there may be. `value`: anything that `json.dumps` takes."""
        return self._request("insert", key, {"key": key, "value": value})

    def lookup(self, key: str) -> Deferred[Any]:
        """The document under a key. Fails with KeyError if there is none, RequestRefused if what is there is not
        JSON.
        """
        return self._request("lookup", key, {"key": key})

    def remove(self, key: str) -> Deferred[None]:
        """Remove a key and its document. Fails with KeyError if there is none (`exchange`: about repeated attempts)."""
        return self._request("remove", key, {"key": key})

    def size(self) -> Deferred[int]:
        """The number of keys."""
        return self._request("size", None, {})

    def query(self, subkey: str, subvalue: Any) -> Deferred[list[list[Any]]]:
        """The [key, document] pairs whose document is an object with `subkey` equal to `subvalue`, in no stated order.

        `subvalue`: a string, number, bool or None; True is not 1, and 1 equals 1.0.
        """
        return self._request("query", None, {"subkey": subkey, "subvalue": subvalue})

    def close(self) -> Deferred[None]:
        """Close for good; requests without an answer fail with ClientClosed. Fires when the connection is gone."""
        self.state = State.CLOSED
        unanswered = list(self._waiting)
        self._waiting.clear()
        gone: Deferred[None] = succeed(None)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            unanswered = [*connection.outstanding, *unanswered]
            gone = connection.close()
        if self._pausing is not None and self._pausing.active():
            self._pausing.cancel()
        self._connecting.cancel()
        for request in unanswered:
            request.fail(ClientClosed("the client was closed before the answer came"))
        return gone

    def next_request(self) -> Request | None:
        """For the connection: the next request to send. Those that nobody waits for any more are passed over."""
        while self._waiting:
            request = self._waiting.popleft()
            if not request.finished:
                return request
        return None

    def answered(self) -> None:
        """For the connection: a reply came, so that the next pause will be short again."""
        self._pauses.reset()

    def lost(self, connection: Connection, reason: str) -> None:
        """For the connection: it has ended. What it leaves without an answer comes before what was not sent."""
        if self._connection is not connection:
            return
        self._connection = None
        self._waiting.extendleft(request for request in reversed(connection.outstanding) if not request.finished)
        if self._waiting:
            self._try_again(reason)
        else:
            self.state = State.IDLE

    def _request(self, method: str, key: str | None, arguments: dict[str, Any]) -> Deferred[Any]:
        if self.state is State.CLOSED:
            return fail(ClientClosed("the client is closed"))
        self._serial += 1
        request = Request(self._serial, method, key, encode_request(self._serial, method, arguments))
        self._waiting.append(request)
        if self._connection is not None:
            self._connection.send_more()
        elif self.state is State.IDLE:
            self._connect()
        return request.deferred

    def _connect(self) -> None:
        self.state = State.CONNECTING
        found = self._locate().addCallback(self._open)
        self._connecting = found.addCallbacks(self._connected, self._not_connected)

    def _locate(self) -> Deferred[Address]:
        if self._fixed_address is not None:
            return succeed(self._fixed_address)
        return find_server(self._reactor, self.target, self._catalog, self._timeout_seconds)

    def _open(self, address: Address) -> Deferred[Any]:
        factory = Factory.forProtocol(partial(Connection, self, self._reactor, self._timeout_seconds))
        factory.noisy = False
        return self._endpoint_for(address).connect(factory)

    def _tcp_endpoint(self, address: Address) -> IStreamClientEndpoint:
        return HostnameEndpoint(self._reactor, address.host, address.port, timeout=self._timeout_seconds)

    def _connected(self, connection: Connection) -> None:
        if self.state is State.CLOSED:
            connection.close()
        elif connection.ended:
            self._try_again("the connection was lost at once")
        else:
            self.state = State.CONNECTED
            self._connection = connection
            connection.send_more()

    def _not_connected(self, failure: Failure) -> None:
        if self.state is not State.CLOSED:
            self._try_again(reason_of(failure))

    def _try_again(self, reason: str) -> None:
        seconds = self._pauses.next()
        self.state = State.PAUSING
        self.retries += 1
        self._pausing = self._reactor.callLater(seconds, self._connect)
        self._report(f"{reason}; trying {self.target} again in {seconds} s")
