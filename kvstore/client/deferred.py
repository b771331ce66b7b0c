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
| CONNECTING | asking the catalog, connecting | CONNECTED; PAUSING when that fails; IDLE when nobody waits any more |
| CONNECTED | requests flow | PAUSING when the connection is lost with requests outstanding, else IDLE |
| PAUSING | waiting to try again | CONNECTING when the pause is over; IDLE when nobody waits any more |
| CLOSED | `close` was called, in any state | nothing any more |

Nobody waits any more when the last request was cancelled, or its deadline is over: a client must not go on knocking at
a door for nobody, nor keep what nobody wants.

A reactor does not survive a fork (the child would share the parent's epoll), so neither does a connection: in the
child it is left as it is, neither used nor closed, and requests fail with RuntimeError. A client that was made before
the fork and not used yet (a daemon's, a preloaded server's) is the child's like any other object.

This module and `pipeline` are all of the client that imports Twisted.
"""

from __future__ import annotations

import enum
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from kvstore.base.address import Address, catalog_address
from kvstore.base.limits import MAX_CATALOG_BYTES, MAX_READ_REPLY_BYTES
from kvstore.client.certificates import certificates_in, own_certificate
from kvstore.client.endpoint import Endpoint, Several, parse_target, servers_of
from kvstore.client.exchange import (
    REPLY_TIMEOUT_SECONDS,
    DeadlineExceeded,
    Pauses,
    encode_request,
    report_on_stderr,
)
from kvstore.client.pipeline import Connection, Request, reason_of
from kvstore.client.stream import too_long
from kvstore.client.target import LOOKUP_TIMEOUT_SECONDS, LookupFailed, answered, no_answer, question


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

    def late(result: object, seconds: float) -> None:
        raise LookupFailed(f"the catalog at {where} does not answer in {seconds:g} s")

    def explain(failure: Failure) -> Failure:
        if failure.check(LookupFailed, CancelledError):
            return failure
        return Failure(no_answer(where, reason_of(failure)))

    endpoint = HostnameEndpoint(reactor, where.host, where.port, timeout=timeout_seconds)
    factory = Factory.forProtocol(partial(_Question, question(where)))
    factory.noisy = False
    connected: Deferred[Any] = endpoint.connect(factory)
    asked: Deferred[bytes] = connected.addCallback(lambda asking: asking.answer)
    found: Deferred[Any] = asked.addCallback(answered, project, where).addTimeout(timeout_seconds, reactor, late)
    return found.addErrback(explain)


class _Question(Protocol):
    """Asks, and collects the answer until the other side closes the connection. `answer`: all that came."""

    transport: Any

    def __init__(self, question: bytes) -> None:
        self.answer: Deferred[bytes] = Deferred(self._cancelled)
        self._question = question
        self._received = bytearray()

    def connectionMade(self) -> None:
        self.transport.write(self._question)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_CATALOG_BYTES and not self.answer.called:
            self.transport.abortConnection()
            self.answer.errback(too_long(MAX_CATALOG_BYTES))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.answer.called:
            return
        if reason.check(ConnectionDone):
            self.answer.callback(bytes(self._received))
        else:
            self.answer.errback(reason)

    def _cancelled(self, answer: Deferred[bytes]) -> None:
        self.transport.abortConnection()


class State(enum.Enum):
    """Where a client stands; the module has the table of moves."""

    IDLE = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    PAUSING = enum.auto()
    CLOSED = enum.auto()


class DeferredClient:
    """A table on a server, for programs on Twisted. Connects at the first request.

    `reactor`: makes connections and keeps the time. `target`: HOST:PORT (several, with commas, of a
    group), unix:PATH, the name of a project to look up
    in the catalog, or tls: and one of these but a path (`kvstore.client.endpoint` has the notation). `catalog`:
    HOST:PORT of the catalog; None means the environment's KVSTORE_CATALOG, or the default. `ca_file`: for tls:, a file
    of certificates (PEM) to trust; None means those that the system trusts. `cert_file`: for tls:, a file of the
    client's own certificate and its private key (PEM), for a server with --tls-client-ca. `timeout_seconds`: silence
    after which requests are repeated. `deadline_seconds`: for each; None means that it goes on until it succeeds.
    `max_reply_bytes`: a longer reply is not read. `report`: is given the lines about failures, one at a time.
    `endpoint_for`: makes the client endpoint for an address (TCP) or a path (Unix), in place of what the target says.
    Raises ValueError for a mistyped address, OSError, with advice, for a `ca_file` or `cert_file` that is of no use.

    **Errors.** The Deferreds of all requests fail with ValueError if the server finds them invalid, RequestRefused if
    it cannot do them now, ClientClosed after `close`. They do not fail for want of a server, nor for one that answers
    nonsense: each failed attempt is one line for `report`, and after a pause (1, 2, 4, ... at most 16 seconds) all
    requests without an answer are repeated, which every verb allows. An argument that cannot be JSON raises TypeError
    or ValueError at once. When a Deferred has fired, what the request did is on the server's disk, if that syncs as it
    does by default.

    **Time.** Without a deadline a request waits for its server for ever. With one, the client's or that of a single
    call (`client.lookup(key, deadline_seconds=2)`; math.inf: none), its Deferred fails with DeadlineExceeded, a
    TimeoutError, when the time is over: the request may or may not have been done then (`may_be_done`), and may be made
    again. Cancelling a Deferred gives up waiting in the same way, with Twisted's CancelledError.

    **Threads.** As everything of Twisted's: to be used from the reactor's thread alone; from another one by
    `reactor.callFromThread` or `twisted.internet.threads.blockingCallFromThread`.

    **Forks.** A reactor does not survive a fork, nor does a client that was in use: in the child its requests fail with
    RuntimeError, and the parent's connection is left alone. Make reactor and client in the child, or use the blocking
    `kvstore.client.Client` there. A client that was not used before the fork may be used in the child.
    """

    def __init__(
        self,
        reactor: Any,
        target: str,
        *,
        catalog: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
        deadline_seconds: float | None = None,
        max_reply_bytes: int = MAX_READ_REPLY_BYTES,
        report: Callable[[str], object] = report_on_stderr,
        endpoint_for: Callable[[Address | str], IStreamClientEndpoint] | None = None,
    ) -> None:
        self.target = target
        self.state = State.IDLE
        #: How often the outstanding requests had to be repeated so far; each time made one line of report.
        self.retries = 0
        self._meant = parse_target(target, ca_file, cert_file)
        self._reactor = reactor
        self._catalog = str(catalog_address(catalog))
        self._trusted = [] if ca_file is None else certificates_in(ca_file)
        self._shown = None if cert_file is None else own_certificate(cert_file)
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = math.inf if deadline_seconds is None else deadline_seconds
        self._max_reply_bytes = max_reply_bytes
        self._report = report
        self._endpoint_for = endpoint_for
        self._pauses = Pauses(servers_of(self._meant))
        self._serial = 0
        self._waiting: OrderedDict[int, Request] = OrderedDict()
        self._connection: Connection | None = None
        self._process = os.getpid()  # whose connection it is
        self._connecting: Deferred[None] = succeed(None)
        self._pausing: IDelayedCall | None = None

    def insert(self, key: str, value: Any, *, deadline_seconds: float | None = None) -> Deferred[None]:
        """Store a document under a key, in place of the one there may be. `value`: anything that `json.dumps` takes."""
        return self._request("insert", key, {"key": key, "value": value}, deadline_seconds)

    def lookup(self, key: str, *, deadline_seconds: float | None = None) -> Deferred[Any]:
        """The document under a key. Fails with KeyError if there is none, RequestRefused if what is there is not
        JSON.
        """
        return self._request("lookup", key, {"key": key}, deadline_seconds)

    def remove(self, key: str, *, deadline_seconds: float | None = None) -> Deferred[None]:
        """Remove a key and its document. Fails with KeyError if there is none (`exchange`: about repeated attempts)."""
        return self._request("remove", key, {"key": key}, deadline_seconds)

    def size(self, *, deadline_seconds: float | None = None) -> Deferred[int]:
        """The number of keys."""
        return self._request("size", None, {}, deadline_seconds)

    def query(self, subkey: str, subvalue: Any, *, deadline_seconds: float | None = None) -> Deferred[list[list[Any]]]:
        """The [key, document] pairs whose document is an object with `subkey` equal to `subvalue`, in no stated order.

        `subvalue`: a string, number, bool or None; True is not 1, and 1 equals 1.0.
        """
        return self._request("query", None, {"subkey": subkey, "subvalue": subvalue}, deadline_seconds)

    def close(self) -> Deferred[None]:
        """Close for good; requests without an answer fail with ClientClosed. Fires when the connection is gone."""
        self.state = State.CLOSED
        unanswered = list(self._waiting.values())
        self._waiting.clear()
        gone: Deferred[None] = succeed(None)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            unanswered = [*connection.outstanding, *unanswered]
            if self._process == os.getpid():
                gone = connection.close()
        self._stop_trying()
        for request in unanswered:
            request.fail(ClientClosed("the client was closed before the answer came"))
        return gone

    def next_request(self) -> Request | None:
        """For the connection: the next request to send."""
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    def answered(self) -> None:
        """For the connection: a reply came, so that the next pause will be short again."""
        self._pauses.reset()

    def lost(self, connection: Connection, reason: str) -> None:
        """For the connection: it has ended. What it leaves without an answer comes before what was not sent."""
        if self._connection is not connection:
            return
        self._connection = None
        for request in reversed(connection.outstanding):
            if not request.finished:
                self._waiting[request.serial] = request
                self._waiting.move_to_end(request.serial, last=False)
        if self._waiting:
            self._try_again(reason)
        else:
            self.state = State.IDLE

    def _request(
        self, method: str, key: str | None, arguments: dict[str, Any], deadline_seconds: float | None
    ) -> Deferred[Any]:
        if self.state is State.CLOSED:
            return fail(ClientClosed("the client is closed"))
        if self._connection is not None and self._process != os.getpid():
            return fail(
                RuntimeError(f"the reactor of process {self._process} does not survive a fork: make a client here")
            )
        self._serial += 1
        line = encode_request(self._serial, method, arguments)
        request = Request(self._serial, method, key, line, self._abandoned)
        seconds = self._deadline_seconds if deadline_seconds is None else deadline_seconds
        if seconds < math.inf:
            request.end = self._reactor.callLater(max(0.0, seconds), self._expired, request, seconds)
        self._waiting[request.serial] = request
        if self._connection is not None:
            self._connection.send_more()
        elif self.state is State.IDLE:
            self._connect()
        return request.deferred

    def _expired(self, request: Request, seconds: float) -> None:
        self._waiting.pop(request.serial, None)
        request.fail(DeadlineExceeded(request.method, seconds, self.target, request.may_be_done))
        self._rest_if_idle()

    def _abandoned(self, request: Request) -> None:
        self._waiting.pop(request.serial, None)
        self._rest_if_idle()

    def _rest_if_idle(self) -> None:
        """Try no more if nobody waits any more."""
        if not self._waiting and self.state in (State.CONNECTING, State.PAUSING):
            self.state = State.IDLE
            self._stop_trying()

    def _stop_trying(self) -> None:
        if self._pausing is not None and self._pausing.active():
            self._pausing.cancel()
        self._connecting.cancel()

    def _connect(self) -> None:
        self.state = State.CONNECTING
        found = self._locate().addCallback(self._open)
        self._connecting = found.addCallbacks(self._connected, self._not_connected)

    def _locate(self) -> Deferred[Endpoint]:
        meant = self._meant
        if isinstance(meant, Endpoint):
            return succeed(meant)
        if isinstance(meant, Several):
            return succeed(meant.endpoints[self._pauses.failed % len(meant.endpoints)])
        found = find_server(self._reactor, meant.name, self._catalog, self._timeout_seconds)
        return found.addCallback(Endpoint, meant.tls)

    def _open(self, endpoint: Endpoint) -> Deferred[Any]:
        made = partial(Connection, self, self._reactor, self._timeout_seconds, self._max_reply_bytes)
        factory = Factory.forProtocol(made)
        factory.noisy = False
        if self._endpoint_for is not None:
            return self._endpoint_for(endpoint.place).connect(factory)
        return self._client_endpoint(endpoint).connect(factory)

    def _client_endpoint(self, endpoint: Endpoint) -> IStreamClientEndpoint:
        place = endpoint.place
        if isinstance(place, str):
            return UNIXClientEndpoint(self._reactor, place, timeout=self._timeout_seconds)
        plain = HostnameEndpoint(self._reactor, place.host, place.port, timeout=self._timeout_seconds)
        return _secured(plain, place.host, self._trusted, self._shown) if endpoint.tls else plain

    def _connected(self, connection: Connection) -> None:
        if self.state is State.CLOSED:
            connection.close()
        elif connection.ended:
            self._try_again("the connection was lost at once")
        else:
            self.state = State.CONNECTED
            self._connection = connection
            self._process = os.getpid()
            connection.send_more()

    def _not_connected(self, failure: Failure) -> None:
        if self.state is State.CONNECTING:
            self._try_again(reason_of(failure))

    def _try_again(self, reason: str) -> None:
        seconds = self._pauses.next()
        self.state = State.PAUSING
        self.retries += 1
        self._pausing = self._reactor.callLater(seconds, self._connect)
        self._report(f"{reason}; trying {self.target} again in {seconds} s")


def _secured(
    plain: IStreamClientEndpoint, host: str, trusted: list[bytes], shown: tuple[bytes, list[bytes]] | None
) -> IStreamClientEndpoint:
    """TLS over an endpoint, with a server whose certificate is for this host. `shown`: as `own_certificate` has it."""
    from twisted.internet import ssl  # needs pyOpenSSL, which a client without TLS need not have

    trust = ssl.trustRootFromCertificates(map(ssl.Certificate.loadPEM, trusted)) if trusted else None
    own: dict[str, Any] = {}
    if shown is not None:
        contents, (_, *others) = shown
        loaded = ssl.PrivateCertificate.loadPEM(contents)
        own["privateKey"], own["certificate"] = loaded.privateKey.original, loaded.original
        own["extraCertChain"] = [ssl.Certificate.loadPEM(each).original for each in others]
    return wrapClientTLS(ssl.optionsForClientTLS(host, trustRoot=trust, extraCertificateOptions=own), plain)
