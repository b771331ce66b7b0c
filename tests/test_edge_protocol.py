"""Connections and their factory, on transports without sockets, a simulated clock and a simulated disk."""

from __future__ import annotations

import errno
import gc
import weakref
from itertools import count

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from kvstore.base.limits import KIB
from kvstore.base.reply import Status
from kvstore.commands.client import Client
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.turn import STEP_NS
from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, ProtocolTestCase


class ConnectionTests(ProtocolTestCase):
    """Coming and going."""

    def test_registered_while_connected(self) -> None:
        """The dictionary of clients has it from the first moment to the last."""
        one, two = self.connect(), self.connect()
        self.assertEqual([client.address for client in self.server.clients.values()],
                         ["127.0.0.1:50001", "127.0.0.1:50002"])  # fmt: skip
        one.lose(ConnectionLost())
        self.assertEqual(list(self.server.clients), [2])
        two.lose(ConnectionDone())
        self.assertEqual((self.server.clients, self.factory.protocols), ({}, {}))
        self.assertEqual(self.server.connections_received, 2)

    def test_whoever_is_at_the_door_is_told(self) -> None:
        """Before the first request, and after the last, with how the connection ended."""
        told: list[tuple[object, ...]] = []

        class Doorman:
            def came(self, client: Client) -> None:
                told.append((client.identity, client.last_command))

            def left(self, client: Client, how: str) -> None:
                told.append((client.identity, client.last_command, how.partition(":")[0]))

        self.factory.doors.append(Doorman())
        one, two = self.connect(), self.connect()
        one.ask(b"PING\r\n")
        one.lose(ConnectionDone())
        two.lose(ConnectionLost())
        broken = "Connection to the other side was lost in a non-clean fashion."
        self.assertEqual(told, [(1, "NULL"), (2, "NULL"), (1, "PING", "ok"), (2, "NULL", broken)])

    def test_numbers_are_never_given_again(self) -> None:
        """CONFIG RESETSTAT sets what INFO counts to zero, not the numbers of the clients."""
        one, two = self.connect(), self.connect()
        self.assertEqual(one.ask(b"CONFIG RESETSTAT\r\n"), OK)
        three = self.connect()
        self.assertEqual(
            [client.ask(b"CLIENT ID\r\n") for client in (one, two, three)], [b":1\r\n", b":2\r\n", b":3\r\n"]
        )
        self.assertEqual((list(self.server.clients), self.server.connections_received), ([1, 2, 3], 1))

    def test_addresses(self) -> None:
        """As CLIENT LIST shows them: host and port, or the path of the socket file and 0."""
        self.server.configuration.set([(b"protected-mode", b"no")])
        self.connect(UNIXAddress(b"/run/kvstore"))
        self.connect(UNIXAddress(None))
        self.connect(IPv4Address("TCP", "10.0.0.1", 7))
        self.connect(IPv6Address("TCP", "::1", 7))
        addresses = [client.address for client in self.server.clients.values()]
        self.assertEqual(addresses, ["/run/kvstore:0", "unix:0", "10.0.0.1:7", "[::1]:7"])

    def test_tuned(self) -> None:
        """Small replies go at once, and the system looks after peers that vanished."""
        self.assertEqual(self.connect().transport.tuned, [("no delay", True), ("keep alive", True)])

    def test_half_close_is_known_to_twisted(self) -> None:
        """Without the interface Twisted would take the end of the input for the end of the connection."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.connect().protocol))

    def test_one_too_many(self) -> None:
        """It is answered with an error, is closed, and is no client; when another leaves there is room again."""
        self.factory.server.configuration.set([(b"maxclients", b"2")])
        first, second, third = self.connect(), self.connect(), self.connect()
        self.assertEqual(third.received(), b"-ERR max number of clients reached\r\n")
        self.assertTrue(third.transport.disconnecting)
        self.assertEqual((len(self.server.clients), self.server.connections_refused), (2, 1))
        third.send(b"PING\r\n")
        self.assertEqual(third.received(), b"")
        third.lose(ConnectionDone())
        self.assertEqual(first.ask(b"PING\r\n") + second.ask(b"PING\r\n"), b"+PONG\r\n" * 2)
        first.lose(ConnectionDone())
        self.assertEqual(self.connect().ask(b"PING\r\n"), b"+PONG\r\n")

    def test_idle(self) -> None:
        """Past the timeout a client that sent nothing is dropped; at it, not yet; who monitors or subscribes, never.

        The wall clock has no say in it.
        """
        self.now_ms += 10**9
        self.factory.server.configuration.set([(b"timeout", b"10")])
        idle, busy, monitor, subscriber = (self.connect() for _ in range(4))
        monitor.send(b"MONITOR\r\n")
        subscriber.send(b"SUBSCRIBE c\r\n")
        self.server.recent_ms += 10_000
        busy.send(b"PI")
        self.factory.drop_late()
        self.assertFalse(idle.transport.aborted)
        self.server.recent_ms += 1
        self.factory.drop_late()
        self.assertEqual([c.transport.aborted for c in (idle, busy, monitor, subscriber)], [True] + [False] * 3)

    def test_no_timeout(self) -> None:
        """Without the option nobody is ever idle."""
        idle = self.connect()
        self.server.recent_ms += 10**9
        self.factory.drop_late()
        self.assertFalse(idle.transport.aborted)

    def test_killed_by_another(self) -> None:
        """CLIENT KILL aborts the connection; what the dead client's changes were is committed all the same."""
        one, two = self.connect(), self.connect()
        one.send(b"SET a 1\r\n")
        self.assertEqual(two.ask(b"CLIENT KILL 127.0.0.1:50001\r\n"), OK)
        self.assertTrue(one.transport.aborted)
        one.lose(ConnectionLost())
        self.turn()
        self.assertEqual((one.received(), self.store.durable_sequence), (b"", 1))


class ReplyTests(ProtocolTestCase):
    """When replies leave, and in which order."""

    def test_reads_leave_at_once_and_writes_at_the_end_of_the_turn(self) -> None:
        """One sync for all that changed in a turn."""
        one, two = self.connect(), self.connect()
        self.assertEqual(one.ask(b"GET a\r\n"), b"$-1\r\n")
        self.assertEqual(one.ask(b"SET a 1\r\n") + two.ask(b"SET b 1\r\n"), b"")
        self.turn()
        self.assertEqual((one.received(), two.received()), (OK, OK))
        self.assertEqual(self.commit.figures.commits, 1)

    def test_many_requests_in_one_read_and_one_request_in_many(self) -> None:
        """However the bytes come."""
        client = self.connect()
        data = pack(b"SET", b"a", b"1") + b"GET a\r\n" + b'{"method":"size"}\n'
        for byte in data:
            client.send(bytes([byte]))
        client.send(data * 2)
        self.turn()
        self.assertEqual(client.received(), (OK + b'$1\r\n1\r\n{"result":"success","value":1}\r\n') * 3)

    def test_a_client_that_left(self) -> None:
        """Its replies are nobody's, the others' leave."""
        one, two = self.connect(), self.connect()
        one.send(b"SET a 1\r\n")
        two.send(b"GET a\r\n")
        one.lose(ConnectionLost())
        self.turn()
        self.assertEqual((one.received(), two.received()), (b"", b"$1\r\n1\r\n"))

    def test_quit(self) -> None:
        """The connection is closed when the reply has left, not before."""
        client = self.connect()
        client.send(b"SET a 1\r\nQUIT\r\nSET b 1\r\n")
        self.assertFalse(client.transport.disconnecting)
        self.turn()
        self.assertEqual(client.received(), OK * 2)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(list(self.store.table.values), [b"a"])

    def test_quit_of_a_client_that_takes_its_time(self) -> None:
        """It is not cut off before it has its last byte."""
        client = self.connect()
        client.transport.takes = False
        client.send(pack(b"ECHO", b"x" * 500 * KIB) + pack(b"QUIT"))
        self.assertFalse(client.transport.disconnecting)
        client.transport.take()
        self.assertTrue(client.transport.disconnecting)
        self.assertTrue(client.received().endswith(b"x\r\n+OK\r\n"))

    def test_protocol_error(self) -> None:
        """Told, and closed."""
        client = self.connect()
        self.assertEqual(client.ask(b"*1\r\n$x\r\n"), b"-ERR Protocol error: invalid bulk length\r\n")
        self.assertTrue(client.transport.disconnecting)

    def test_pushed(self) -> None:
        """What MONITOR shows leaves at once; for a client that is gone it is nothing."""
        client = self.connect()
        assert isinstance(client.protocol, KVStoreProtocol)
        client.protocol.send(Status("shown"), 0)
        self.assertEqual(client.received(), b"+shown\r\n")
        client.lose(ConnectionLost())
        client.protocol.send(Status("shown"), 0)
        self.assertEqual(client.received(), b"")

    def test_a_bug_hurts_nobody_else(self) -> None:
        """An exception while one client's replies are sent ends that client; those behind it get theirs."""
        one, two = self.connect(), self.connect()
        one.send(b"SET a 1\r\n")
        two.send(b"SET b 1\r\n")

        def broken(data: bytes) -> None:
            raise ZeroDivisionError("planted by a test")

        one.transport.write = broken
        self.turn()
        self.assertEqual((one.transport.aborted, two.received()), (True, OK))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_freed_when_lost(self) -> None:
        """A connection that is gone is freed at once, whatever it did: nobody waits for the garbage collector."""
        gc.disable()
        self.addCleanup(gc.enable)
        gone = []
        for sent in (
            b"",
            b"SET a 1\r\n",
            b"MULTI\r\nPING\r\n",
            b"WATCH a\r\nSET b 1\r\nGET a\r\n*2\r\n$3\r\nGE",
            b"QUIT\r\n",
        ):
            client = self.connect()
            client.transport.takes = len(sent) % 2 == 0
            client.send(sent)
            client.lose(ConnectionLost())
            gone.append(weakref.ref(client.protocol))
            del client
        self.turn()
        self.assertEqual([each() for each in gone], [None] * len(gone))


class HalfCloseTests(ProtocolTestCase):
    """A client that has sent its last byte."""

    def test_nothing_pending(self) -> None:
        """The connection is closed at once."""
        client = self.connect()
        client.send(b"PING\r\nPIN")
        client.end_input()
        self.assertEqual(client.received(), b"+PONG\r\n")
        self.assertTrue(client.transport.disconnecting)

    def test_a_reply_that_waits_for_a_commit(self) -> None:
        """It is closed when the reply has left."""
        client = self.connect()
        client.send(b"SET a 1\r\n")
        client.end_input()
        self.assertFalse(client.transport.disconnecting)
        self.turn()
        self.assertEqual(client.received(), OK)
        self.assertTrue(client.transport.disconnecting)

    def test_replies_that_are_not_taken_yet(self) -> None:
        """All requests are executed as the client takes replies, though reading was paused; then it is closed."""
        self.server.configuration.set([(b"pause-reading-bytes", b"100kb")])
        client = self.connect()
        client.transport.takes = False
        client.send(b"ECHO %b\r\n" % (b"x" * 40 * KIB) * 10)
        client.end_input()
        self.assertFalse(client.transport.disconnecting)
        client.transport.take()
        self.assertEqual(client.received(), (b"$%d\r\n%b\r\n" % (40 * KIB, b"x" * 40 * KIB)) * 10)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(client.transport.producerState, "paused")  # reading from a closed input would spin

    def test_output_ended(self) -> None:
        """A client that reads no more is of no use."""
        client = self.connect()
        assert isinstance(client.protocol, KVStoreProtocol)
        client.protocol.writeConnectionLost()
        self.assertTrue(client.transport.disconnecting)


class UnreadTests(ProtocolTestCase):
    """Clients that do not take their replies."""

    options = {"pause_reading_bytes": 100 * KIB, "drop_client_bytes": 300 * KIB}  # noqa: RUF012
    LARGE = b"x" * 20 * KIB

    def lazy(self) -> Connection:
        """A client that takes nothing."""
        client = self.connect()
        client.transport.takes = False
        return client

    def test_not_read_from_past_the_first_limit(self) -> None:
        """Until it has taken enough; then its requests go on, each answered, in order."""
        client = self.lazy()
        for number in range(5):
            client.send(b"ECHO %d%b\r\n" % (number, self.LARGE))
        self.assertEqual(client.transport.producerState, "paused")
        client.transport.take()
        self.assertEqual(client.transport.producerState, "producing")
        self.assertEqual(client.received(), b"".join(b"$20481\r\n%d%b\r\n" % (n, self.LARGE) for n in range(5)))

    def test_at_the_first_limit(self) -> None:
        """A client may have as many bytes to take as the limit says."""
        client = self.lazy()
        client.send(pack(b"ECHO", b"x" * (100 * KIB - len(b"$102389\r\n\r\n"))))
        self.assertEqual(client.protocol.client.traffic().unsent_bytes, 100 * KIB)
        self.assertEqual(client.transport.producerState, "producing")
        client.send(b"PING\r\n")
        self.assertEqual(client.transport.producerState, "paused")

    def test_the_first_limit_changes(self) -> None:
        """For those who are connected, too: who was past it is read from again, and who is past it now is not."""
        client, other = self.lazy(), self.lazy()
        for limit, size, state in (("10kb", 20, "paused"), ("50kb", 40, "producing"), ("40kb", 40, "paused")):
            self.server.configuration.set([(b"pause-reading-bytes", limit.encode())])
            if size == 20:
                client.send(pack(b"ECHO", b"x" * 20 * KIB))
                other.send(pack(b"ECHO", b"x" * 40 * KIB))
            self.assertEqual(client.transport.producerState, "paused" if size == 20 else "producing", limit)
            self.assertEqual(other.transport.producerState, state, limit)
        client.transport.take()
        client.received()
        client.send(b"ECHO %b\r\n" % self.LARGE * 50 + b"INCR n\r\n")
        client.transport.takes = False
        self.assertLess(client.protocol.client.traffic().unsent_bytes, 80 * KIB)

    def test_a_pipeline_executes_as_far_as_there_is_room(self) -> None:
        """What is left is done when the client takes replies; memory has a bound whatever it sent."""
        client = self.lazy()
        client.send(b"ECHO %b\r\n" % self.LARGE * 50 + b"INCR n\r\n")
        self.assertLess(client.protocol.client.traffic().unsent_bytes, 200 * KIB)
        self.assertEqual(self.store.table.values, {})
        client.transport.take()
        self.turn()
        self.assertTrue(client.received().endswith(b"x\r\n:1\r\n"))

    def test_held_replies_count(self) -> None:
        """Replies that wait for a commit are replies that the client has not taken."""
        client = self.connect()
        client.send(b"SET a %b\r\n" % self.LARGE + b"GET a\r\n" * 5)
        self.assertEqual(client.transport.producerState, "paused")
        self.turn()
        self.assertEqual(client.transport.producerState, "producing")
        self.assertEqual(len(client.received()), len(OK) + 5 * len(b"$20480\r\n%b\r\n" % self.LARGE))

    def test_dropped_past_the_second_limit(self) -> None:
        """With one line in the log that names it, however much is pushed to it in the same turn."""
        client = self.lazy()
        assert isinstance(client.protocol, KVStoreProtocol)
        with capturedLogs() as logs:
            for _ in range(14):
                client.protocol.send(self.LARGE, 0)
            self.assertFalse(client.transport.aborted)
            for _ in range(10):
                client.protocol.send(self.LARGE, 0)
        self.assertTrue(client.transport.aborted)
        lines = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(lines), 1)
        self.assertRegex(
            lines[0], r"^client 127.0.0.1:50001 dropped: \d+ bytes .* client-output-buffer-limit says, 307200$"
        )

    def test_a_large_reply_alone(self) -> None:
        """One reply larger than the second limit drops a client that does not take it as fast as it is made."""
        client = self.lazy()
        client.send(pack(b"ECHO", b"x" * 400 * KIB))
        self.assertTrue(client.transport.aborted)


class FaultTests(ProtocolTestCase):
    """A disk that fails."""

    def test_while_a_request_executes(self) -> None:
        """The fault is handed on; no reply leaves, not even those that were ready."""
        self.disk.fail("write_at", errno.EIO, times=None)
        client = self.connect()
        self.assertEqual(client.ask(pack(b"PING") + pack(b"SET", b"a", b"x" * 2**20)), b"")
        self.assertEqual(len(self.faults), 1)

    def test_at_the_commit(self) -> None:
        """Nobody hears anything of the commit, then or later."""
        one, two = self.connect(), self.connect()
        one.send(b"SET a 1\r\n")
        two.send(b"GET a\r\n")
        self.disk.fail("sync", errno.EIO)
        self.turn()
        self.turn()
        self.assertEqual((one.received() + two.received(), len(self.faults)), (b"", 1))

    def test_while_a_backlog_executes(self) -> None:
        """In the middle of telling others: the fault is handed on, not raised at them."""
        self.server.configuration.set([(b"pause-reading-bytes", b"10")])
        client = self.connect()
        client.send(b"SET a 1\r\nGET a\r\nGET a\r\n" + pack(b"SET", b"a", b"x" * 2**20))
        real = self.store.sync

        def sync_and_break() -> None:
            real()
            self.disk.fail("write_at", errno.EIO, times=None)

        self.patch(self.store, "sync", sync_and_break)
        self.turn()
        self.assertEqual(len(self.faults), 1)


class GroupLimitTests(ProtocolTestCase):
    """A commit that ends in the middle of a turn tells other clients at once."""

    options = {"pause_reading_bytes": 20}  # noqa: RUF012

    def test_backlogs_go_on_inside_another_clients_turn(self) -> None:
        """Every client gets all its replies, in order, when commits close while its neighbours execute."""
        self.hooks.request_limit = 3
        clients = [self.connect() for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(b"".join(b"INCR n%d\r\nGET n%d\r\n" % (number, number) for _ in range(25)))
        for _ in range(100):
            self.turn()
        expected = b"".join(b":%d\r\n$%d\r\n%d\r\n" % (n, len(str(n)), n) for n in range(1, 26))
        for client in clients:
            self.assertEqual(client.received(), expected)
        self.assertEqual(self.commit.figures.requests, 100)
        self.assertEqual(self.commit.figures.largest_group, 3)


class CommitsWithinTests(ProtocolTestCase):
    """A commit that is settled while its own client's backlog executes."""

    def setUp(self) -> None:
        """A client takes many steps in a turn, and its commits end in the middle of one."""
        super().setUp()
        self.hooks.request_limit = 4
        self.hooks.share_ns = self.factory.turn.share_ns = 8 * STEP_NS
        times = count(step=STEP_NS // 5)
        self.server.steady_ns = self.factory.turn._steady_ns = lambda: next(times)
        self.client = self.connect()
        self.client.send(b"INCR n\r\n" * 200)

    def test_there_is_more(self) -> None:
        """It goes on with what is left of its backlog."""
        self.turn()
        self.assertEqual(self.client.received(), b"".join(b":%d\r\n" % number for number in range(1, 201)))
        self.assertEqual(self.client.ask(b"PING\r\n"), b"+PONG\r\n")

    def test_one_that_has_ended(self) -> None:
        """It is closed when all its replies have left, not when the first of them have."""
        transport = self.client.transport
        left: list[int] = []
        self.patch(transport, "loseConnection", lambda: left.append(transport.value().count(b":")))
        self.client.end_input()
        self.turn()
        self.assertEqual(left[0], 200)
