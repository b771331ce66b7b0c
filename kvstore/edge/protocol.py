"""One connection: between Twisted's transport and the session.

`KVStoreProtocol` is a LineReceiver in raw mode: bytes go to the session as they come, since line mode copies the rest
of its buffer for every line and cannot carry binary values; which bytes make a request is the wire room's knowledge.
Everything the client can do ends here: nothing it sends raises out of `rawDataReceived`.

A client whose requests take more than its share of time goes on with them in its next turn (`Turn.wait`), as one whose
request is executed in slices does; it is not read from until then.

A client whose replies pile up past one limit is not read from until it has taken them; past a second it is dropped. One
that has sent its last byte (half-closed) still gets the replies it waits for.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from kvstore.base.errors import RequestError, StorageFault
from kvstore.base.limits import STRANGER_BYTES, STRANGER_SENDS_BYTES
from kvstore.base.reply import Reply
from kvstore.commands import WORD_VERBS
from kvstore.commands.client import Client, Traffic
from kvstore.commands.context import Call
from kvstore.edge.arrivals import FEW
from kvstore.edge.connection_state import MOVES, State
from kvstore.edge.connections import Connections
from kvstore.edge.outlet import Outlet
from kvstore.edge.transports import shown, tune
from kvstore.session.unread import PART_BYTES
from kvstore.wire import resp
from kvstore.wire.parser import RequestParser

_log = Logger()
OPEN, APART, PAUSED, ENDED, GONE = State


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class KVStoreProtocol(LineReceiver):
    """One client's connection. See the module."""

    #: See `Waiter`.
    clients = 1

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._commit = connections.commit
        self._store = connections.server.store
        self.received_bytes = 0
        self.state = OPEN
        self._turn = connections.turn
        self._arrivals = connections.arrivals
        self._gathers = False
        self._reactor = connections.turn.reactor
        self._limits = connections.limits
        self._pause_bytes = connections.limits.pause_bytes
        self._look_bytes = connections.limits.look_bytes
        self.host = ""
        self.is_shaking_hands = False

    def connectionMade(self) -> None:
        """Register the client, and begin."""
        transport: Any = self.transport
        self.setRawMode()
        tune(transport)
        server, turn, hooks = self._connections.server, self._turn, self._connections.hooks
        server.connections_received += 1
        server.last_identity += 1
        client = Client(server.last_identity, shown(transport.getPeer()), shown(transport.getHost()), server.recent_ms)
        client.through_file = isinstance(transport.getHost(), UNIXAddress)
        parser = RequestParser(WORD_VERBS, self._limits.request_bytes, self._limits.request_words)
        self.host = getattr(transport.getPeer(), "host", "")
        self.is_shaking_hands = hasattr(transport, "getPeerCertificate")  # of TLS: a program may do without that
        self.client = client
        self.session = self._connections.make_session(Call(server, client), parser, hooks, self._pause_bytes)
        self.outlet = Outlet(transport, turn, stuck=self._see, drained=self.pump)
        self._gathers = turn.gathers and self.outlet.is_direct
        client.traffic = self._traffic
        client.peer = self
        self._connections.add(self)
        if client.rights is not None or client.is_barred:
            self._see()

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener."""
        self.is_shaking_hands = False

    def obey_limits(self) -> None:
        """See `Connection`."""
        limits = self._limits
        self._look_bytes, self._pause_bytes = limits.look_bytes, limits.pause_bytes
        self.session.limit_to(limits.request_bytes, limits.request_words, limits.pause_bytes)
        self._see()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client: keep them for the end of the turn, or execute what they complete.

        Past the buffer of LineReceiver's two modes.
        """
        self.received_bytes += len(data)
        arrivals = self._arrivals
        if self._gathers and (arrivals.expects_writes or self._reactor.ready >= FEW) and arrivals.add(self, data):
            return
        self.execute(data)

    rawDataReceived = dataReceived

    def execute(self, data: bytes) -> None:
        """Execute the requests that these bytes complete. Raises nothing that the client could bring about."""
        receive = self.session.receive
        if self.state is not OPEN:
            if self.state is GONE:
                return
            receive = self.session.receive_more
        try:
            if (len(data) > PART_BYTES and self.session.put_off(data)) or receive(data) or self.state is not OPEN:
                self._see()
        except StorageFault as fault:
            self._connections.fault(fault)
        else:
            self.pump()

    def take(self, data: bytes) -> bool:
        """As `execute`, at the end of a turn. Returns whether there are replies for whose commit the caller is to wait.

        Raises StorageFault, and what nobody meant.
        """
        if self.state is not OPEN:
            self.execute(data)
            return False
        return self._sent(in_the_middle=self.session.receive(data))

    def executed(self) -> bool:
        """Requests of this client were executed with others'. Returns as `take`."""
        return self._sent(in_the_middle=self.session.in_the_middle)

    def _sent(self, *, in_the_middle: bool) -> bool:
        session = self.session
        if in_the_middle:
            self._see()
            self.pump()
            return False
        if session.ready:
            self.outlet.send(session.take_ready())
        return session.waits_for != 0

    def settled(self, sequence: int) -> None:
        """See `Waiter`."""
        if self.state is GONE:
            return
        session = self.session
        session.release(sequence)
        try:
            if session.ready:
                self.outlet.send_now(session.take_ready())
        except Exception:
            self.bug()
        if session.waits_for or self.state is not OPEN:
            self.pump()

    def send(self, message: Reply, needed: int) -> None:
        """See `Peer`."""
        if self.state is GONE:
            return
        session, outlet = self.session, self.outlet
        session.push(message, needed)
        try:
            if session.waits_for:
                self._send()
            else:  # mostly: as `_send`, opened out for speed
                outlet.send(session.take_ready())
                if outlet.unsent_bytes > self._look_bytes:
                    self._see()
        except Exception:
            self.bug()

    def wake(self) -> None:
        """See `Peer`."""
        self._arrivals.wake(self)

    def changed(self) -> None:
        """See `Peer`."""
        self.session.changed()
        self._see()

    def close(self) -> None:
        """See `Peer`."""
        transport: Any = self.transport
        transport.abortConnection()

    def pump(self) -> None:
        """Send what may leave, and go on with waiting requests while there is room for their replies.

        Raises nothing: it also runs for this client while other clients' replies are being released.
        """
        try:
            if self.state is not GONE:
                self._send_and_go_on()
        except StorageFault as fault:
            self._connections.fault(fault)
        except Exception:
            self.bug()

    def bug(self) -> None:
        """Called inside the `except` of what nobody meant."""
        self._turn.log_limit(_log.failure, "bug; client {address} is disconnected", address=self.client.address)
        self.close()

    def _send_and_go_on(self) -> None:
        session = self.session
        if session.ready:
            self.outlet.send(session.take_ready())
        if session.is_running:  # a commit within its backlog: the rest is for who has that executed
            return
        if self.state is not OPEN and session.has_more:
            self._go_on()
        self._send()
        if self.state is not OPEN:
            self._see()
            if session.closing or self.state is ENDED:
                self._end()

    def _send(self) -> None:
        """Send what may leave, and see to it that the rest will."""
        session, outlet = self.session, self.outlet
        if session.ready:
            outlet.send(session.take_ready())
        if session.waits_for:
            self._commit.wait(self, session.waits_for)
        if self._store.pending.operations and not self._turn.commit_asked:
            self._turn.ask_for_commit()
        if session.held_bytes + outlet.unsent_bytes > self._look_bytes:
            self._see()

    def _go_on(self) -> None:
        """Execute requests that had to wait, while there is room for their replies, and time."""
        session, outlet = self.session, self.outlet
        while session.has_more:
            outlet.flush()
            budget = self._pause_bytes - self.unsent_bytes()
            if budget <= 0:
                break
            if not session.has_time:
                self._turn.wait(self)
                break
            session.run(budget)
            outlet.send(session.take_ready())

    def go_on(self, until_ns: int) -> None:
        """See `Waiting`."""
        self.session.until_ns = until_ns
        self.pump()

    def _see(self) -> None:
        """See to it that the state is what it should be, by what the client has sent and not taken."""
        if self.state is GONE:
            return
        session = self.session
        unfinished = session.unfinished_bytes
        if not (self.client.was_authenticated or session.closing) and (
            unfinished > STRANGER_BYTES or self.received_bytes > STRANGER_SENDS_BYTES
        ):
            session.refuse_rest("Protocol error: unauthenticated bulk length")
            unfinished = 0
        self._connections.unfinished.note(self, unfinished)
        unsent = self.unsent_bytes()
        if unsent > self._look_bytes:
            self.outlet.flush()  # what was just gathered the client may well take; nobody would tell of it later
            unsent = self.unsent_bytes()
        if self._connections.memory.is_on:
            self._connections.memory.note(self, unfinished + unsent)
            if self.state is GONE:
                return
        hard_bytes = self._limits.output_of(self.client).hard_bytes
        self._limits.note(self, unsent, self._connections.server.recent_ms)
        if unsent > hard_bytes:
            self.drop_for(unsent, str(hard_bytes))
        elif session.has_more or max(unsent, session.backlog_bytes) > self._pause_bytes:
            self._move(PAUSED)
        elif session.in_the_middle or self.outlet.is_draining:
            self._move(APART)
        else:
            self._move(OPEN)

    def _move(self, to: State) -> None:
        """To another state, if there is such a move."""
        before = self.state
        if to not in MOVES[before]:
            return
        self.state = to
        transport: Any = self.transport
        if to is PAUSED:
            transport.pauseProducing()
        elif before is PAUSED and to in (OPEN, APART):
            transport.resumeProducing()

    def drop_for(self, unsent_bytes: int, limit: str) -> None:
        """It does not take its replies at all, or too slowly; see `SlowReader`."""
        self._turn.log_limit(
            _log.warn,
            "client {address} dropped: {unsent} bytes of replies not taken, more than client-output-buffer-limit says,"
            " {limit}", address=self.client.address, unsent=unsent_bytes, limit=limit,
        )  # fmt: skip
        self._connections.server.clients_dropped += 1
        self._move(GONE)  # as good as: what others' requests still push to it (MONITOR) is not worth a line each
        self.close()

    def evict(self, held_bytes: int, all_bytes: int) -> None:
        """See `kvstore.edge.client_memory`."""
        self._turn.log_limit(
            _log.warn,
            "client {address} evicted: it holds {held} bytes, the most of any client; all clients' are {all}, more than"
            " maxmemory-clients", address=self.client.address, held=held_bytes, all=all_bytes,
        )  # fmt: skip
        self._move(GONE)
        self.close()

    def drop_unfinished(self, held_bytes: int, all_bytes: int) -> None:
        """This client began most of what all clients did not end, and that is too much."""
        limit = self._connections.unfinished.limit_bytes
        self._turn.log_limit(
            _log.warn,
            "client {address} dropped: {held} bytes of unfinished requests and subscriptions, the most of any client;"
            " all clients' are {all}, more than --max-input-bytes {limit}",
            address=self.client.address, held=held_bytes, all=all_bytes, limit=limit,
        )  # fmt: skip
        self.session.refuse_rest(
            "the unfinished requests and subscriptions of all clients are too large, and yours are the largest; nothing"
            " unfinished was done, send it again later or in parts"
        )
        self._see()
        self.pump()

    def end(self) -> None:
        """The server stops: execute nothing more, send what is ready, and close."""
        self.session.closing = True
        self._see()
        self.outlet.flush()
        transport: Any = self.transport
        transport.loseConnection()

    def leave(self, error: RequestError) -> None:
        """The process is about to end: one that waits for what others do, and for nothing else, is told `error`; any
        other hears nothing more. What was told gets through if the connection is not reset.
        """
        session = self.session
        if session.is_blocked and not session.waits_for and not self.outlet.is_draining:
            self.outlet.send_now(resp.encode_error(error))
        else:
            self.close()

    def _traffic(self) -> Traffic:
        session, outlet, transport = self.session, self.outlet, self.transport
        fileno = getattr(transport, "fileno", lambda: -1)
        events = ("" if self.state is PAUSED else "r") + ("w" if outlet.is_draining else "")
        return Traffic(
            fileno(), events, session.unread_bytes, self.unsent_bytes(), session.held_bytes + outlet.gathered_bytes,
            outlet.pieces, self.received_bytes, outlet.sent_bytes,
        )  # fmt: skip

    def unsent_bytes(self) -> int:
        """Of replies that are ready and not taken; see `SlowReader`."""
        return self.outlet.unsent_bytes + self.session.held_bytes

    def _end(self) -> None:
        """Close, if all replies have left and no request is to be executed any more."""
        session = self.session
        session.hang_up()
        self.outlet.flush()
        if not (session.waits_for or self.outlet.unsent_bytes or session.has_more):
            transport: Any = self.transport
            transport.loseConnection()

    def readConnectionLost(self) -> None:
        """The client will send no more; it may still be reading: close when it has its replies."""
        self._arrivals.execute_for(self)
        self._move(ENDED)
        self.pump()

    def writeConnectionLost(self) -> None:
        """The client reads no more."""
        transport: Any = self.transport
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the client. Its changes that are not committed yet will be; it just does not hear of it.

        What held it together is cut, so that it is freed now, not by the garbage collector some day: see `collector`.
        """
        self._arrivals.execute_for(self)
        self._move(GONE)
        self.session.disconnected()
        self.outlet.stopProducing()
        self._connections.forget(self, "ok" if reason.check(ConnectionDone) else reason.getErrorMessage())
        self.client.cut_off()
