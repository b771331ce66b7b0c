"""What leaves for one client: at once, or kept until its socket drains, on transports that take what tests let them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, MIB
from kvstore.edge.outlet import Outlet
from kvstore.edge.turn import Turn
from kvstore.wire.pieces import Pieces
from tests.kit.transports import BufferedTransport, PlainTransport


class OutletTests(SynchronousTestCase):
    """One outlet."""

    def outlet(self, transport: Any) -> Outlet:
        """An outlet. `drained`: how often it said that the last byte went; `stuck`: that there is more."""
        self.drained = self.stuck = 0
        return Outlet(transport, Turn(Clock()), self.count_stuck, self.count_drained)

    def count_stuck(self) -> None:
        """What the outlet calls when the socket did not take everything."""
        self.stuck += 1

    def count_drained(self) -> None:
        """What the outlet calls."""
        self.drained += 1

    def test_at_once(self) -> None:
        """With room in the socket everything leaves in the call that sends it."""
        transport = BufferedTransport()
        outlet = self.outlet(transport)
        outlet.send(b"one")
        outlet.send(b"two")
        outlet.send(b"")
        self.assertEqual(transport.kernel.taken, b"onetwo")
        self.assertEqual((transport.pull, outlet.unsent_bytes, self.drained), (None, 0, 0))

    def test_the_rest_waits_here(self) -> None:
        """What the socket does not take is kept, counted, and follows when there is room; then that is told, once."""
        transport = BufferedTransport(room=4)
        outlet = self.outlet(transport)
        outlet.send(b"0123456789")
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.stuck), (b"0123", 6, 1))
        transport.drain(3)
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.drained), (b"0123456", 6, 0))
        transport.drain()
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.drained), (b"0123456789", 0, 1))

    def test_nothing_overtakes(self) -> None:
        """While something is queued everything is; afterwards it goes straight to the socket again."""
        transport = BufferedTransport(room=1)
        outlet = self.outlet(transport)
        outlet.send(b"ab")
        outlet.send(b"cd")
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes), (b"a", 3))
        transport.drain(100)
        outlet.send(b"ef")
        self.assertEqual((transport.kernel.taken, transport.pull, outlet.unsent_bytes), (b"abcdef", None, 0))

    def test_a_full_socket(self) -> None:
        """It takes nothing at all."""
        transport = BufferedTransport(room=0)
        outlet = self.outlet(transport)
        outlet.send(b"abc")
        self.assertEqual(outlet.unsent_bytes, 3)
        transport.drain()
        self.assertEqual(transport.kernel.taken, b"abc")

    def test_small_replies_leave_together(self) -> None:
        """They are joined to pieces of 64 KiB at most."""
        transport = BufferedTransport(room=0)
        outlet = self.outlet(transport)
        outlet.send(b"x")
        for _ in range(1000):
            outlet.send(b"y" * KIB)
        transport.drain()
        self.assertEqual(transport.kernel.taken, b"x" + b"y" * 1000 * KIB)
        self.assertEqual(max(transport.pieces), 64 * KIB)
        self.assertLessEqual(len(transport.pieces), 18)

    def test_a_large_reply_leaves_in_pieces(self) -> None:
        """The transport is never given more than two pieces' worth at a time, and small replies keep their place."""
        transport = BufferedTransport(room=0)
        outlet = self.outlet(transport)
        large = bytes(range(256)) * (12 * KIB)
        for data in (b"before", large, b"after"):
            outlet.send(data)
        transport.drain()
        self.assertEqual(transport.kernel.taken, b"before" + large + b"after")
        self.assertLessEqual(max(transport.pieces), 128 * KIB)

    def test_a_large_reply_is_not_copied_for_each_piece(self) -> None:
        """Work is linear in the bytes sent: what is left of a reply is never copied to cut a piece off it."""
        transport = BufferedTransport(room=0)
        outlet = self.outlet(transport)
        large = b"x" * (8 * MIB)
        outlet.send(large)
        queued = outlet._queue[0]
        self.assertIs(queued.obj if isinstance(queued, memoryview) else queued, large)
        transport.drain(1 * MIB)
        queued = outlet._queue[0]
        self.assertIs(queued.obj if isinstance(queued, memoryview) else queued, large)

    def test_sending_more_when_drained(self) -> None:
        """`drained` may send, even more than the socket takes."""
        transport = BufferedTransport(room=0)
        more = [b"c" * 10, b"b" * 10]
        outlet = Outlet(transport, Turn(Clock()), lambda: None, lambda: outlet.send(more.pop()) if more else None)
        outlet.send(b"a")
        for _ in range(5):
            transport.drain(5)
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes), (b"a" + b"b" * 10 + b"c" * 10, 0))

    def test_connection_lost(self) -> None:
        """Nothing is raised and nothing kept; the connection is aborted, and the reactor tells of it in its time."""
        transport = BufferedTransport()
        transport.lost = True
        outlet = self.outlet(transport)
        outlet.send(b"abc")
        self.assertEqual((transport.aborted, outlet.unsent_bytes, transport.pull), (1, 0, None))

    def test_stopped(self) -> None:
        """When the connection is gone the queue is forgotten."""
        transport = BufferedTransport(room=0)
        outlet = self.outlet(transport)
        outlet.send(b"x" * (1 * MIB))
        outlet.stopProducing()
        self.assertEqual(outlet.unsent_bytes, 0)

    def test_tls(self) -> None:
        """On a TLS connection, wrapped or not, nothing goes past the transport: it would go out unencrypted."""
        for transport in (BufferedTransport(TLS=True), PlainTransport()):
            outlet = self.outlet(transport)
            outlet.send(b"secret")
            self.assertEqual((transport.kernel.taken, transport.pieces, outlet.unsent_bytes), (b"", [6], 6))
            transport.drain()
            self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, self.drained), (b"secret", 0, 1))

    def test_pieces(self) -> None:
        """A long reply leaves in one call, behind what was sent before; none of its pieces is joined or copied."""
        large = b"x" * (1 * MIB)
        reply = Pieces([b"head", large, b"tail"], len(large) + 8)
        for room in (0, 2, 4, 5, 600, len(large) + 4, len(large) + 6, 2**40):
            transport = BufferedTransport(room)
            outlet = self.outlet(transport)
            outlet.send(b"before")
            outlet.send(reply)
            outlet.send(b"after")
            queued = [piece.obj if isinstance(piece, memoryview) else piece for piece in outlet._queue]
            if room < len(large):
                self.assertTrue(any(piece is large for piece in queued), room)
            transport.drain()
            self.assertEqual(transport.kernel.taken, b"before" + bytes(reply) + b"after")
            self.assertEqual(outlet.unsent_bytes, 0)

    def test_many_pieces(self) -> None:
        """More than one call takes."""
        transport = BufferedTransport()
        reply = Pieces([b"%d," % number for number in range(5000)], sum(len(b"%d," % number) for number in range(5000)))
        outlet = self.outlet(transport)
        outlet.send(reply)
        outlet.send_now(reply)
        transport.drain()
        self.assertEqual(transport.kernel.taken, bytes(reply) * 2)

    def test_pieces_on_a_lost_connection(self) -> None:
        """As one string."""
        transport = BufferedTransport()
        transport.lost = True
        outlet = self.outlet(transport)
        outlet.send(Pieces([b"ab", b"c"], 3))
        self.assertEqual((transport.aborted, outlet.unsent_bytes, transport.pull), (1, 0, None))

    @given(st.integers(0, 300), st.lists(st.one_of(st.integers(0, 200_000), st.integers(-300_000, -1)), max_size=12))
    def test_any_sizes(self, room: int, steps: list[int]) -> None:
        """Whatever is sent (a step of 0 or more bytes) and drained (less than 0): the same bytes, in order, counted."""
        transport = BufferedTransport(room)
        outlet = self.outlet(transport)
        sent = b""
        for number, step in enumerate([*steps, -(2**40)]):
            if step < 0:
                transport.drain(-step)
            else:
                data = bytes([number]) * step
                cut = step % 7
                pieces = [piece for piece in (data[:cut], data[cut:-cut], data[-cut:]) if piece]
                outlet.send(Pieces(pieces, len(data)) if step % 2 and cut and step > 20 else data)
                sent += data
            self.assertTrue(sent.startswith(transport.kernel.taken))
            unsent = len(sent) - len(transport.kernel.taken)
            self.assertTrue(unsent <= outlet.unsent_bytes <= unsent + 128 * KIB)
        self.assertEqual((transport.kernel.taken, outlet.unsent_bytes, transport.pull), (sent, 0, None))
