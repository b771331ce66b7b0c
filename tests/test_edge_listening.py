"""How many connections are accepted at once."""

from __future__ import annotations

import socket

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import ACCEPTED_IN_A_TURN
from kvstore.edge.listening import accept_few


class AcceptTests(SynchronousTestCase):
    """A real port, of a reactor that does nothing by itself."""

    def test_a_crowd(self) -> None:
        """Some are accepted in each turn, however many wait; none is forgotten."""
        accepted: list[Protocol] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: accepted.append(Protocol())  # type: ignore[assignment,method-assign]
        reactor = MemoryReactorClock()
        port = tcp.Port(0, factory, interface="127.0.0.1", reactor=reactor)
        port.startListening()
        self.addCleanup(port.connectionLost, None)
        accept_few(port)
        crowd = [socket.create_connection(port.socket.getsockname()) for _ in range(2 * ACCEPTED_IN_A_TURN + 1)]
        for client in crowd:
            self.addCleanup(client.close)
        counts = []
        for _ in range(5):
            port.doRead()
            counts.append(len(accepted))
        self.assertEqual(counts[:3], [ACCEPTED_IN_A_TURN, 2 * ACCEPTED_IN_A_TURN, len(crowd)])
        self.assertEqual(counts[-1], len(crowd))

    def test_another_kind_of_port(self) -> None:
        """A plugin's is left as it is."""
        accept_few(object())
