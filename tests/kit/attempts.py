"""A client on Twisted whose attempts to connect, connections and time are a test's."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kvstore.base.address import Address
from kvstore.client.deferred import DeferredClient

MISSING = {"result": "failure", "error": "no such key"}


LOST = Failure(ConnectionLost())


class Wire(StringTransport):
    """A transport that keeps what is written. `fills`: it is full after each write, until the producer is resumed.
    `dropped`: it was ended from our side.
    """

    fills = False
    dropped = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        super().write(data)
        if self.fills:
            self.outgoing.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Keep the producer; StringTransport would not let it be exchanged for its own pausing."""
        self.outgoing = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        del self.outgoing

    def abortConnection(self) -> None:
        """Note it."""
        self.dropped = True

    def loseConnection(self) -> None:
        """Note it."""
        self.dropped = True

    def requests(self) -> list[dict[str, Any]]:
        """The whole requests that were written, decoded."""
        return [json.loads(line) for line in self.value().split(b"\n")[:-1]]


@implementer(IStreamClientEndpoint)
class Attempts:
    """An endpoint whose attempts to connect wait for the test. `addresses`: what was asked for."""

    def __init__(self) -> None:
        self.pending: list[tuple[Any, Deferred[Any]]] = []
        self.addresses: list[Address] = []

    def to(self, address: Address) -> Attempts:
        """What the client calls for an endpoint."""
        self.addresses.append(address)
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        """Wait for `accept` or `refuse`."""
        attempt: Deferred[Any] = Deferred()
        self.pending.append((factory, attempt))
        return attempt

    def accept(self, *, fills: bool = False) -> tuple[Any, Wire]:
        """Let the oldest attempt connect. Returns the protocol and its transport, see `Wire`."""
        factory, attempt = self.pending.pop(0)
        protocol, wire = factory.buildProtocol(None), Wire()
        wire.fills = fills
        protocol.makeConnection(wire)
        attempt.callback(protocol)
        return protocol, wire

    def refuse(self) -> None:
        """Let the oldest attempt fail."""
        self.pending.pop(0)[1].errback(ConnectionRefusedError())


class SimulatedTestCase(SynchronousTestCase):
    """A client on a simulated clock whose endpoint is `attempts`."""

    def setUp(self) -> None:
        """Make the client."""
        self.clock = Clock()
        self.attempts = Attempts()
        self.messages: list[str] = []
        self.client = DeferredClient(self.clock, "box:1", report=self.messages.append, endpoint_for=self.attempts.to)
