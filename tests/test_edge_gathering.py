"""Replies gathered until the end of the loop's turn: one outlet, and clients on a reactor that tells when that is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB
from kvstore.commands.registry import table
from kvstore.edge import outlet as outlet_module
from kvstore.edge.outlet import Outlet
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.turn import STEP_NS, Turn
from kvstore.edge.watching import Monitor
from kvstore.wire.pieces import Pieces
from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, GatheringTestCase, TellingReactor
from tests.kit.transports import BufferedTransport, PlainTransport

_LIMIT = outlet_module._GATHER_BYTES


class OutletTests(SynchronousTestCase):
    """One outlet. `drained`, `stuck`: how often it said so."""

    def setUp(self) -> None:
        """A reactor that tells."""
        self.reactor = TellingReactor()
        self.drained = self.stuck = 0

    def outlet(self, transport: Any) -> Outlet:
        """An outlet, and `sizes`: of what each call gave to the socket."""
        self.sizes: list[int] = []
        send = getattr(transport, "send", None)
        if send is not None:
            transport.send = lambda data: (self.sizes.append(len(data)), send(data))[1]
        return Outlet(transport, Turn(self.reactor), self.count_stuck, self.count_drained)

    def count_stuck(self) -> None:
        """What the outlet calls when the socket did not take everything."""
        self.stuck += 1

    def count_drained(self) -> None:
        """What the outlet calls."""
        self.drained += 1

    def test_once_a_turn(self) -> None:
        """All replies of a turn leave at its end, in order, in one call; meanwhile they count as unsent."""
        transport = BufferedTransport()
        outlet = self.outlet(transport)
        for _ in range(2):
            for data in (b"one", b"two", b"", b"three"):
                outlet.send(data)
            self.assertEqual((self.sizes, outlet.unsent_bytes), ([], 11))
            self.reactor.end_turn()
            self.assertEqual((transport.kernel.taken, self.sizes), (b"onetwothree", [11]))
            self.assertEqual((outlet.unsent_bytes, transport.pull, self.drained, self.stuck), (0, None, 0, 0))
            transport.kernel.taken = b""
            self.sizes.clear()

    def test_limit(self) -> None:
        """As much as the limit waits for the end of the turn; with a byte more it leaves at once."""
        for first in (0, 1, 10):
            for size, waits in ((_LIMIT - 1, True), (_LIMIT, True), (_LIMIT + 1, False)):
                transport = BufferedTransport()
                outlet = self.outlet(transport)
                outlet.send(b"x" * first)
                outlet.send(b"y" * (size - first))
                self.assertEqual((self.sizes, outlet.unsent_bytes), ([], size) if waits else ([size], 0))
                outlet.send(b"z")
                self.reactor.end_turn()
                self.assertEqual(transport.kernel.taken, b"x" * first + b"y" * (size - first) + b"z")

    def test_in_a_burst(self) -> None:
        """`send_now` waits for nothing, but for what was gathered before it: nothing overtakes."""
        transport = BufferedTransport()
        outlet = self.outlet(transport)
        outlet.send_now(b"one")
        self.assertEqual(transport.kernel.taken, b"one")
        outlet.send(b"two")
        outlet.send_now(b"three")
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes), (b"one", 8))
        self.reactor.end_turn()
        self.assertEqual((transport.kernel.taken, self.sizes), (b"onetwothree", [3, 8]))

    def test_flushed_by_hand(self) -> None:
        """It may leave earlier; at the end of the turn there is nothing more, or what came since."""
        transport = BufferedTransport()
        outlet = self.outlet(transport)
        outlet.send(b"one")
        outlet.flush()
        outlet.flush()
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes), (b"one", 0))
        outlet.send(b"two")
        self.reactor.end_turn()
        self.assertEqual(self.sizes, [3, 3])

    def test_a_socket_that_takes_a_part(self) -> None:
        """The rest is kept and told of, follows when there is room, and nothing is gathered until then."""
        transport = BufferedTransport(room=4)
        outlet = self.outlet(transport)
        outlet.send(b"0123456789")
        self.reactor.end_turn()
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.stuck), (b"0123", 6, 1))
        outlet.send(b"ab")
        outlet.send_now(b"cd")
        self.reactor.end_turn()
        self.assertEqual((self.sizes, outlet.unsent_bytes), ([10], 10))
        transport.drain()
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.drained), (b"0123456789abcd", 0, 1))
        outlet.send(b"ef")
        self.assertEqual(outlet.unsent_bytes, 2)
        self.reactor.end_turn()
        self.assertEqual(self.sizes, [10, 2])

    def test_connection_lost(self) -> None:
        """At the end of the turn nothing is raised and nothing kept; the connection is aborted, once."""
        transport = BufferedTransport()
        transport.lost = True
        outlet = self.outlet(transport)
        outlet.send(b"abc")
        self.reactor.end_turn()
        self.assertEqual((transport.aborted, outlet.unsent_bytes, transport.pull), (1, 0, None))

    def test_stopped(self) -> None:
        """What was gathered for a connection that is gone is forgotten: its socket may be another's by then."""
        transport = BufferedTransport()
        outlet = self.outlet(transport)
        outlet.send(b"abc")
        outlet.stopProducing()
        self.reactor.end_turn()
        self.assertEqual((self.sizes, outlet.unsent_bytes), ([], 0))

    def test_tls(self) -> None:
        """On a TLS connection nothing is gathered here and nothing goes past the transport."""
        for transport in (BufferedTransport(TLS=True), PlainTransport()):
            outlet = Outlet(transport, Turn(self.reactor), self.count_stuck, self.count_drained)  # type: ignore[arg-type]
            outlet.send(b"secret")
            outlet.flush()
            self.reactor.end_turn()
            self.assertEqual((transport.kernel.taken, transport.pieces), (b"", [6]))

    @given(st.integers(0, 300), st.lists(st.one_of(st.integers(0, 100_000), st.integers(-200_000, -1), st.none())))
    def test_any_sizes(self, room: int, steps: list[int | None]) -> None:
        """Whatever is sent (0 or more bytes), drained (less than 0) and ended (None): the same bytes, in order."""
        transport = BufferedTransport(room)
        outlet = self.outlet(transport)
        sent = b""
        for number, step in enumerate([*steps, None, -(2**40), None]):
            if step is None:
                self.reactor.end_turn()
            elif step < 0:
                transport.drain(-step)
            else:
                data = bytes([number % 256]) * step
                reply = Pieces([data[:1], data[1:]], step) if step % 5 == 2 else data
                (outlet.send_now if step % 3 == 1 else outlet.send)(reply)
                sent += data
            self.assertTrue(sent.startswith(transport.kernel.taken))
            unsent = len(sent) - len(transport.kernel.taken)
            self.assertTrue(unsent <= outlet.unsent_bytes <= unsent + 128 * KIB)
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, transport.pull), (sent, 0, None))


class ConnectionTests(GatheringTestCase):
    """What clients get, and when."""

    def test_at_the_end_of_the_turn(self) -> None:
        """Replies to everybody leave then, those of a commit with the others, in the order of the requests."""
        one, two = self.connect(), self.connect()
        one.send(b"GET a\r\n")
        two.send(b"SET b 1\r\n")
        one.send(b"PING\r\n")
        self.assertEqual(one.received() + two.received(), b"")
        self.turn()
        self.assertEqual((one.received(), two.received()), (b"$-1\r\n+PONG\r\n", OK))
        self.turn()
        self.assertEqual(one.received() + two.received(), b"")

    def test_order(self) -> None:
        """Reads in front of a write, the write, and reads behind it: in one turn, over several, in several commits."""
        client = self.connect()
        expected = b""
        for number in range(20):
            client.send(b"PING\r\n" + pack(b"SET", b"a", b"%d" % number))
            client.send(pack(b"GET", b"a") * 8 + b"ECHO %d\r\n" % number)
            text = b"$%d\r\n%d\r\n" % (len(str(number)), number)
            expected += b"+PONG\r\n" + OK + text * 9
            if number % 3 == 0:
                self.turn()
        self.turn()
        self.assertEqual(client.received(), expected)

    def test_quit(self) -> None:
        """Everything gathered leaves before the connection is closed."""
        client = self.connect()
        client.send(b"ECHO x\r\n")
        client.send(b"QUIT\r\n")
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(client.received(), b"$1\r\nx\r\n" + OK)
        self.turn()
        client = self.connect()
        client.send(b"SET a 1\r\nQUIT\r\n")
        self.assertFalse(client.transport.disconnecting)
        self.turn()
        self.assertEqual((client.received(), client.transport.disconnecting), (OK * 2, True))

    def test_quit_of_a_client_that_takes_its_time(self) -> None:
        """It is not cut off before it has its last byte."""
        client = self.connect(room=3)
        client.send(b"PING\r\nQUIT\r\n")
        self.turn()
        self.assertFalse(client.transport.disconnecting)
        client.transport.drain()
        self.assertEqual((client.received(), client.transport.disconnecting), (b"+PONG\r\n" + OK, True))

    def test_protocol_error(self) -> None:
        """Told, and closed."""
        client = self.connect()
        client.send(b"PING\r\n*1\r\n$x\r\n")
        self.assertEqual(client.received(), b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n")
        self.assertTrue(client.transport.disconnecting)

    def test_half_close(self) -> None:
        """A client that sends no more gets what was gathered, then the end."""
        client = self.connect()
        client.send(b"PING\r\nPIN")
        client.end_input()
        self.assertEqual((client.received(), client.transport.disconnecting), (b"+PONG\r\n", True))
        client = self.connect()
        client.send(b"PING\r\nSET a 1\r\n")
        client.end_input()
        self.assertFalse(client.transport.disconnecting)
        self.turn()
        self.assertEqual((client.received(), client.transport.disconnecting), (b"+PONG\r\n" + OK, True))

    def test_lost_in_the_middle_of_a_turn(self) -> None:
        """Nobody hears of it; the others get theirs."""
        one, two = self.connect(), self.connect()
        one.send(b"PING\r\n")
        two.send(b"PING\r\n")
        one.lose(ConnectionLost())
        self.turn()
        self.assertEqual((one.received(), two.received()), (b"", b"+PONG\r\n"))

    def test_a_socket_that_is_lost_at_the_end(self) -> None:
        """It is aborted; the others get theirs, and so do those who wait for the commit."""
        one, two = self.connect(), self.connect()
        for client in (one, two):
            client.send(b"PING\r\nSET a 1\r\n")
        one.transport.lost = True
        self.turn()
        self.assertEqual((one.transport.aborted, two.received()), (1, b"+PONG\r\n" + OK))

    def test_monitor(self) -> None:
        """What it shows of others' requests is gathered too, in their order, behind its own replies."""
        self.hooks.monitor = Monitor(self.server.clients, self.hooks, self.server.script_calls).add
        monitor, other = self.connect(), self.connect()
        monitor.send(b"MONITOR\r\n")
        for number in range(3):
            other.send(b"ECHO %d\r\n" % number)
        monitor.send(b"PING\r\n")
        self.assertEqual(monitor.received(), b"")
        self.turn()
        lines = monitor.received().split(b"\r\n")
        self.assertEqual((lines[0], lines[4:]), (b"+OK", [b"+PONG", b""]))
        for number in range(3):
            self.assertIn(b'"ECHO" "%d"' % number, lines[1 + number])


class SharingTests(GatheringTestCase):
    """A client whose requests take long, and the others. Every look at the clock sets it forward by 0.1 ms."""

    def setUp(self) -> None:
        """A share of a millisecond, which is two steps."""
        super().setUp()
        self.now_ns = 0
        self.server.steady_ns = self.factory.turn._steady_ns = self.look
        self.hooks.share_ns = self.factory.turn.share_ns = 2 * STEP_NS

    def look(self) -> int:
        """What the clock says."""
        self.now_ns += 100_000
        return self.now_ns

    def turns_of(self, client: Connection, expected: bytes, each: Callable[[], None] = lambda: None) -> int:
        """How many turns it takes until the client has got so much, with something done in each."""
        replies, turns = client.received(), 0
        while len(replies) < len(expected):
            self.turn()
            each()
            replies += client.received()
            turns += 1
            self.assertLess(turns, 1000)
        self.assertEqual(replies, expected)
        return turns

    def test_others_have_their_turn(self) -> None:
        """In each turn a client gets some of its pipeline done; another one is answered in every turn meanwhile."""
        slow, other = self.connect(), self.connect()
        slow.send(b"ECHO x\r\n" * 100)
        self.assertFalse(slow.transport.reading)
        answered: list[bytes] = []

        def ask() -> None:
            other.send(b"PING\r\n")
            self.turn()
            answered.append(other.received())

        turns = self.turns_of(slow, b"$1\r\nx\r\n" * 100, ask)
        self.assertGreater(turns, 5)
        self.assertEqual(set(answered), {b"+PONG\r\n"})
        self.assertTrue(slow.transport.reading)

    def test_several(self) -> None:
        """They go on in turns, and end at about the same time."""
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            client.send(b"ECHO x\r\n" * 50)
        got = [0] * 3
        while min(got) < 50:
            self.turn()
            for number, client in enumerate(clients):
                got[number] += client.received().count(b"x")
            self.assertLess(max(got) - min(got), 12)

    def test_writes(self) -> None:
        """Each turn's are committed with it, and replies leave in order."""
        slow = self.connect()
        slow.send(b"APPEND k x\r\nECHO a\r\n" * 30)
        expected = b"".join(b":%d\r\n$1\r\na\r\n" % number for number in range(1, 31))
        self.assertGreater(self.turns_of(slow, expected), 3)
        self.assertGreater(self.commit.figures.commits, 3)

    def test_a_request_in_slices(self) -> None:
        """It goes on at the ends of turns, and the client is not read from meanwhile; gone, it is forgotten."""
        steps: list[int] = []

        def sliced(call: Any, pattern: bytes) -> Generator[None, None, list[bytes]]:
            for number in range(20):
                steps.append(number)
                yield
            return [b"done"]

        self.patch(table.by_name[b"KEYS"], "function", sliced)
        slow, other = self.connect(), self.connect()
        slow.send(b"KEYS *\r\nPING\r\n")
        self.assertFalse(slow.transport.reading)
        self.assertGreater(self.turns_of(slow, b"*1\r\n$4\r\ndone\r\n+PONG\r\n"), 3)
        self.assertTrue(slow.transport.reading)
        slow.send(b"KEYS *\r\n")
        slow.lose(ConnectionLost())
        count = len(steps)
        for _ in range(5):
            self.turn()
        self.assertEqual((len(steps), other.received()), (count, b""))

    def test_half_closed(self) -> None:
        """A client that sends no more gets all its replies, then the end."""
        slow = self.connect()
        slow.send(b"ECHO x\r\n" * 50)
        slow.end_input()
        self.turns_of(slow, b"$1\r\nx\r\n" * 50)
        self.turn()
        self.assertTrue(slow.transport.disconnecting)


class UnreadTests(GatheringTestCase):
    """Clients that do not take their replies, and limits smaller than what may be gathered."""

    options = {"pause_reading_bytes": 10 * KIB, "drop_client_bytes": 100 * KIB}  # noqa: RUF012
    VALUE = b"x" * 4 * KIB
    REPLY = b"$4096\r\n" + VALUE + b"\r\n"

    def test_a_client_that_takes_everything(self) -> None:
        """It is read from again after each turn, though more than the limit was gathered for it in one."""
        client = self.connect()
        for _ in range(20):
            client.send(b"ECHO %b\r\n" % self.VALUE)
            client.send(b"ECHO %b\r\n" % self.VALUE)
            client.send(b"ECHO %b\r\n" % self.VALUE)
            self.turn()
            self.assertTrue(client.transport.reading)
            self.assertEqual(client.received(), self.REPLY * 3)

    def test_one_large_reply(self) -> None:
        """The same for one that is larger than the limit by itself."""
        client = self.connect()
        client.send(b"ECHO %b\r\n" % (self.VALUE * 5))
        self.turn()
        self.assertEqual((client.transport.reading, len(client.received())), (True, 5 * 4096 + 10))

    def test_a_large_reply_that_waits_for_a_commit(self) -> None:
        """Held, it counts; when it has left, reading goes on."""
        client = self.connect()
        client.send(b"SET a %b\r\n" % self.VALUE + b"GET a\r\n" * 4)
        self.assertFalse(client.transport.reading)
        for _ in range(3):
            self.turn()
        self.assertEqual((client.transport.reading, client.received()), (True, OK + self.REPLY * 4))

    def test_pushes(self) -> None:
        """A client that is shown much in one turn and takes it is not dropped, and goes on."""
        client = self.connect()
        assert isinstance(client.protocol, KVStoreProtocol)
        for _ in range(30):
            client.protocol.send(self.VALUE, 0)
        self.turn()
        self.assertEqual((client.transport.aborted, client.received()), (0, self.REPLY * 30))
        self.assertTrue(client.transport.reading)

    def test_a_pipelining_client_that_does_not_read(self) -> None:
        """It is read from no more, what it sent waits, and memory has a bound; when it reads, all is answered."""
        client = self.connect(room=0)
        count = 0
        while client.transport.reading:
            client.send(pack(b"GET", b"key") * 8 + b"ECHO %b\r\n" % self.VALUE * 4)
            count += 1
            self.turn()
            self.assertLess(count, 10)
        self.assertLess(client.protocol.client.traffic().unsent_bytes, 20 * KIB)
        for _ in range(10):
            client.transport.drain(10 * KIB)
            self.turn()
        client.transport.drain()
        self.turn()
        self.assertEqual(client.received(), (b"$-1\r\n" * 8 + self.REPLY * 4) * count)
        self.assertTrue(client.transport.reading)
        self.assertFalse(client.transport.aborted)

    def test_dropped_past_the_second_limit(self) -> None:
        """A client that takes nothing of what it is shown."""
        client = self.connect(room=0)
        assert isinstance(client.protocol, KVStoreProtocol)
        for _ in range(30):
            client.protocol.send(self.VALUE, 0)
            self.turn()
        self.assertEqual(client.transport.aborted, 1)
