"""`maxmemory-clients`: who is disconnected when clients hold too much."""

from __future__ import annotations

from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, GatheringTestCase, ProtocolTestCase


def unfinished(size: int) -> bytes:
    """The beginning of a request, so many bytes of it."""
    return b"*2\r\n$4\r\nECHO\r\n$900000\r\n" + size * b"x"


class ClientMemoryTests(ProtocolTestCase):
    """Clients of one server."""

    def setUp(self) -> None:
        """Three, and a limit."""
        super().setUp()
        self.one, self.two, self.three = (self.connect() for _ in range(3))
        self.limit("200kb")

    def limit(self, text: str) -> None:
        """CONFIG SET."""
        self.assertEqual(self.one.ask(b"CONFIG SET maxmemory-clients %b\r\n" % text.encode()), OK)

    def aborted(self, *connections: Connection) -> list[bool]:
        """Which of them were disconnected."""
        return [connection.transport.aborted for connection in connections]

    def test_who_holds_most(self) -> None:
        """It has to go, whoever passed the limit; and is counted."""
        self.two.send(unfinished(120_000))
        self.three.send(unfinished(60_000))
        self.assertEqual(self.aborted(self.two, self.three), [False, False])
        self.connect().send(unfinished(40_000))
        self.assertEqual(self.aborted(self.one, self.two, self.three), [False, True, False])
        self.assertIn(b"evicted_clients:1\r\n", self.one.ask(b"INFO stats\r\n"))
        self.flushLoggedErrors()

    def test_exempt(self) -> None:
        """CLIENT NO-EVICT ON: neither does it go, nor does what it holds count; OFF: it does again."""
        self.assertEqual(self.two.ask(b"CLIENT NO-EVICT ON\r\n"), OK)
        self.two.send(b"MULTI\r\n" + pack(b"ECHO", 190_000 * b"x"))
        self.three.send(unfinished(150_000))
        self.assertEqual(self.aborted(self.one, self.two, self.three), [False, False, False])
        self.two.send(b"DISCARD\r\nCLIENT NO-EVICT OFF\r\n")
        self.two.send(b"MULTI\r\n" + pack(b"ECHO", 190_000 * b"x"))
        self.assertEqual(self.aborted(self.one, self.two, self.three), [False, True, False])

    def test_a_limit_that_comes_later(self) -> None:
        """What is held already counts; a share is one of maxmemory."""
        self.limit("0")
        self.two.send(unfinished(150_000))
        self.three.send(unfinished(150_000))
        self.limit("5%")
        self.assertEqual(self.aborted(self.two, self.three), [False, False])
        self.one.ask(b"CONFIG SET maxmemory 4mb\r\n")
        self.assertEqual(self.aborted(self.one, self.two, self.three).count(True), 1)


class ReplyTests(GatheringTestCase):
    """Clients that do not take their replies."""

    def test_replies(self) -> None:
        """They count as well."""
        one, two = self.connect(), self.connect(room=5000)
        one.send(b"CONFIG SET maxmemory-clients 200kb\r\n" + pack(b"SET", b"a", 3000 * b"x"))
        self.turn()
        two.send(100 * b"GET a\r\n")
        self.turn()
        self.assertTrue(two.transport.aborted)
        self.assertFalse(one.transport.aborted)
