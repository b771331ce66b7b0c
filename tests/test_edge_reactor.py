"""The reactor of our own: sockets, ends of turns, errors, on loopback connections and never in the background."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any
from unittest import mock

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge import reactor as reactor_module
from kvstore.edge.reactor import TurnReactor


class Recorder(Protocol):
    """Notes what arrives, and raises if told to."""

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.factory.events.append(data)  # type: ignore[union-attr]
        if data == b"bug":
            raise ZeroDivisionError("planted by a test")

    def connectionLost(self, reason: Any = None) -> None:
        """Note it."""
        self.factory.events.append("lost")  # type: ignore[union-attr]


class TurnReactorTests(SynchronousTestCase):
    """One iteration after the other, by hand."""

    def setUp(self) -> None:
        """A reactor that listens. `events`: what protocols saw, and ends of turns."""
        self.reactor = TurnReactor()
        self.events: list[Any] = []
        factory = Factory.forProtocol(Recorder)
        factory.events = self.events
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.socket.close)
        self.addCleanup(self.reactor.removeAll)

    def connect(self) -> socket.socket:
        """A client that is connected and accepted."""
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(client.close)
        self.reactor.doIteration(5)
        return client

    def test_ready_sockets_then_the_end_of_the_turn(self) -> None:
        """Everything that is ready is served first; the end comes once for each time it was asked for."""
        one, two = self.connect(), self.connect()
        self.reactor.callAtEndOfTurn(lambda: self.events.append("end"))
        one.sendall(b"a")
        two.sendall(b"b")
        self.reactor.doIteration(5)
        self.assertEqual((set(self.events[:2]), self.events[2:]), ({b"a", b"b"}, ["end"]))
        one.sendall(b"c")
        self.reactor.doIteration(5)
        self.assertEqual(self.events[3:], [b"c"])

    def test_nothing_ready(self) -> None:
        """An end that was asked for does not wait for a socket; how many are ready is told."""
        self.reactor.callAtEndOfTurn(lambda: self.events.append(self.reactor.ready))
        self.reactor.doIteration(None)
        client = self.connect()
        client.sendall(b"a")
        self.reactor.callAtEndOfTurn(lambda: self.events.append(self.reactor.ready))
        self.reactor.doIteration(5)
        self.assertEqual(self.events, [0, b"a", 1])

    def test_looking_again(self) -> None:
        """In the middle of the end of a turn what has come meanwhile is served, without waiting for it."""
        one, two = self.connect(), self.connect()

        def end() -> None:
            self.events.append(self.reactor.look_again())
            two.sendall(b"b")
            self.events.append(self.reactor.look_again())

        self.reactor.callAtEndOfTurn(end)
        one.sendall(b"a")
        self.reactor.doIteration(5)
        self.assertEqual(self.events, [b"a", False, b"b", True])

    def test_a_socket_that_fails(self) -> None:
        """The protocol is told that the connection is lost; one that has nothing to say after all is let be."""
        client = self.connect()
        transport: Any = next(reader for reader in self.reactor.getReaders() if isinstance(reader, tcp.Server))
        for error in (BlockingIOError(errno.EAGAIN, "nothing"), OSError(errno.ECONNRESET, "gone")):
            transport.socket = mock.Mock(recv=mock.Mock(side_effect=error), wraps=transport.socket)
            self.events.append(error.errno)
            client.sendall(b"a")
            self.reactor.doIteration(5)
        self.assertEqual(self.events, [errno.EAGAIN, errno.ECONNRESET, "lost"])

    def test_watching_turns(self) -> None:
        """Whoever watches is told how long each turn takes, and all else is as ever; later ones it is not told of."""
        client = self.connect()
        for owner in ("one", "two"):
            self.reactor.watch_turns(owner, lambda took_ns: self.events.append(took_ns > 0))
        client.sendall(b"a")
        self.reactor.doIteration(5)
        self.assertEqual(self.events, [b"a", True, True])
        for owner in ("one", "two", "none"):
            self.reactor.watch_turns(owner, None)
        client.sendall(b"b")
        self.reactor.doIteration(5)
        self.assertEqual(self.events[3:], [b"b"])

    def test_asking_at_the_end(self) -> None:
        """That is for the next turn, which does not wait either."""
        self.reactor.callAtEndOfTurn(lambda: self.reactor.callAtEndOfTurn(lambda: self.events.append("next")))
        self.reactor.doIteration(None)
        self.assertEqual(self.events, [])
        self.reactor.doIteration(None)
        self.assertEqual(self.events, ["next"])

    def test_a_bug_in_a_protocol(self) -> None:
        """It is logged, ends that connection and no other, and the turn ends as always."""
        one, two = self.connect(), self.connect()
        self.reactor.callAtEndOfTurn(lambda: self.events.append("end"))
        one.sendall(b"bug")
        two.sendall(b"fine")
        self.reactor.doIteration(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(set(self.events[:-1]), {b"bug", "lost", b"fine"})
        self.assertEqual(self.events[-1], "end")
        self.assertEqual(one.recv(1), b"")

    def test_a_bug_at_the_end(self) -> None:
        """It is logged, and what else was asked for is done."""
        self.reactor.callAtEndOfTurn(lambda: 1 // 0)
        self.reactor.callAtEndOfTurn(lambda: self.events.append("end"))
        self.reactor.doIteration(None)
        self.assertEqual(self.events, ["end"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_client_that_leaves(self) -> None:
        """Its last bytes are read, then the protocol is told."""
        client = self.connect()
        client.sendall(b"bye")
        client.close()
        self.reactor.doIteration(5)
        while "lost" not in self.events:
            self.reactor.doIteration(5)
        self.assertEqual(self.events, [b"bye", "lost"])

    def test_timers(self) -> None:
        """They are Twisted's own."""
        self.reactor.callLater(0, self.events.append, "timer")
        self.reactor.runUntilCurrent()
        self.assertEqual(self.events, ["timer"])


class TheReactorTests(SynchronousTestCase):
    """Which reactor the server runs on."""

    def test_one_is_installed(self) -> None:
        """Then it is that one: `twistd --reactor`, or a test's."""
        from twisted.internet import reactor

        self.assertIs(reactor_module.the_reactor(), reactor)

    def test_none_is_installed(self) -> None:
        """Then ours is."""
        installed = []
        self.patch(sys, "modules", {k: v for k, v in sys.modules.items() if k != "twisted.internet.reactor"})
        self.patch(reactor_module, "installReactor", installed.append)
        reactor_module.the_reactor()
        self.assertEqual([type(each) for each in installed], [TurnReactor])
