"""The limits of each client: at their edges, and when they change while it is connected."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel, capturedLogs, formatEvent

from kvstore.base.limits import KIB, QUEUED_WORD_BYTES, STRANGER_BYTES, STRANGER_SENDS_BYTES
from kvstore.edge.client_limits import network_of
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.settings import Settings
from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, ProtocolTestCase

_NO_ROOM_HERE = b"-ERR max number of clients of one address reached\r\n"


class LimitsTestCase(ProtocolTestCase):
    """Clients, one of which sets limits."""

    def set(self, name: str, value: str) -> None:
        """CONFIG SET."""
        self.assertEqual(self.operator.ask(pack(b"CONFIG", b"SET", name.encode(), value.encode())), OK)

    def setUp(self) -> None:
        """The one who sets them comes first."""
        super().setUp()
        self.operator = self.connect()


class RequestTests(LimitsTestCase):
    """What a request may be, for those who are connected already."""

    def test_bytes(self) -> None:
        """Of all words together, by the quick way and the careful one, also of an APPEND's string."""
        client = self.connect()
        self.set("max-request-bytes", "2000")
        for data in (pack(b"ECHO", b"x" * 1996), b'{"method":"lookup","key":"%b"}\r\n' % (b"x" * 1972)):
            self.assertNotIn(b"longer", client.ask(data))
        self.assertIn(b"longer than 2000 bytes", client.ask(b'{"method":"lookup","key":"%b"}\r\n' % (b"x" * 1973)))
        self.assertEqual(client.ask(pack(b"ECHO", b"x" * 1997)), b"-ERR Protocol error: invalid bulk length\r\n")
        client = self.connect()
        client.send(pack(b"SET", b"k", b"x" * 1990))
        self.turn()
        self.assertIn(b"exceeds maximum", client.ask(pack(b"APPEND", b"k", b"y" * 11))[3:])
        self.set("proto-max-bulk-len", "3000")
        self.assertTrue(client.ask(pack(b"ECHO", b"x" * 2996)).endswith(b"x\r\n"))

    def test_words(self) -> None:
        """Of an array and of a line, of one that comes alone and in pipelines of any kind."""
        self.set("max-request-words", "20")
        most, more = [b"MGET", *[b"k"] * 19], [b"MGET", *[b"k"] * 20]
        for count in (1, 2, 8):
            client = self.connect()
            self.assertEqual(client.ask(pack(*most) * count), (b"*19\r\n" + b"$-1\r\n" * 19) * count)
            self.assertEqual(client.ask(pack(*more) * count), b"-ERR Protocol error: invalid multibulk length\r\n")
        client = self.connect()
        self.assertEqual(client.ask(b" ".join(most) + b"\r\n"), b"*19\r\n" + b"$-1\r\n" * 19)
        self.assertIn(b"Protocol error", client.ask(b" ".join(more) + b"\r\n"))

    def test_bounds(self) -> None:
        """Nobody can set limits by which he could not set them back."""
        for name in (b"max-request-words", b"proto-max-bulk-len", b"max-json-depth", b"script-memory-bytes"):
            self.assertIn(b"argument must be between", self.operator.ask(pack(b"CONFIG", b"SET", name, b"0")))

    def test_json_depth(self) -> None:
        """Of what INSERT takes, in every grammar."""
        self.set("max-json-depth", "3")
        for depth, wanted in ((2, True), (3, True), (4, False)):
            text = b"[" * depth + b"]" * depth
            for request in (b"insert k %b\r\n" % text, b'{"method":"insert","key":"k","value":%b}\r\n' % text):
                self.operator.send(request)
                self.turn()
                self.assertEqual(b"success" in self.operator.received(), wanted, (depth, request))

    def test_transaction(self) -> None:
        """Queued bytes, 64 more for each word."""
        self.set("max-transaction-bytes", "140")
        for size, reply in ((1, b"+QUEUED\r\n"), (8, b"+QUEUED\r\n"), (9, b"-ERR the transaction is larger than 140 ")):
            client = self.connect()
            client.send(b"MULTI\r\n")
            client.received()
            self.assertTrue(client.ask(pack(b"ECHO", b"x" * size)).startswith(reply))

    def test_subscriptions(self) -> None:
        """512 bytes for each, and its name."""
        self.set("max-subscription-bytes", "1030")
        for size, taken in ((1, True), (5, True), (6, False)):
            client = self.connect()
            client.ask(b"SUBSCRIBE a\r\n")
            reply = client.ask(pack(b"SUBSCRIBE", b"b" * size))
            self.assertEqual(reply.startswith(b"*3"), taken, reply)


class AddressTests(LimitsTestCase):
    """Clients of one address."""

    def test_networks(self) -> None:
        """An IPv4 address alone, written in either way; of IPv6 64 bits."""
        self.assertEqual(network_of("10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("2001:db8:0:1::5"), network_of("2001:db8:0:1:ff::%eth0"))
        self.assertNotEqual(network_of("2001:db8:0:1::5"), network_of("2001:db8:0:2::5"))
        self.assertNotEqual(network_of("::1"), network_of("::2"))

    def test_at_the_limit(self) -> None:
        """One too many is told so, and counted; when one has gone there is room for another. Others do not matter."""
        self.set("max-clients-per-address", "3")
        self.set("protected-mode", "no")
        here = [self.operator, self.connect(), self.connect()]
        self.assertEqual(here[-1].ask(b"PING\r\n"), b"+PONG\r\n")
        self.assertEqual(self.connect().received(), _NO_ROOM_HERE)
        self.assertEqual(self.server.connections_refused, 1)
        self.assertEqual(self.connect(IPv6Address("TCP", "2001:db8::1", 1)).ask(b"PING\r\n"), b"+PONG\r\n")
        here.pop().lose(ConnectionDone())
        self.assertEqual(self.connect().ask(b"PING\r\n"), b"+PONG\r\n")
        self.set("max-clients-per-address", "0")
        self.assertEqual(self.connect().ask(b"PING\r\n"), b"+PONG\r\n")

    def test_forgotten(self) -> None:
        """What is known of an address goes with its last client."""
        self.set("protected-mode", "no")
        for number in range(3):
            self.connect(IPv4Address("TCP", f"10.0.0.{number}", 1)).lose(ConnectionDone())
        self.assertEqual(dict(self.factory.at_address), {"127.0.0.1": 1})

    def test_at_first(self) -> None:
        """Half of all, but no few."""
        for most, wanted in ((10_000, "5000"), (100, "128")):
            config = Settings(data_path="/d", max_clients=most).as_config()
            self.assertEqual(config["max-clients-per-address"], wanted)


class ReplyTests(LimitsTestCase):
    """Replies that are not taken."""

    def lazy(self) -> Connection:
        """A client that takes nothing."""
        client = self.connect()
        client.transport.takes = False
        return client

    def later(self, seconds: int) -> None:
        """So much later the server looks after its clients."""
        self.server.recent_ms += 1000 * seconds
        self.factory.drop_late()

    def fill(self, client: Connection, size: int) -> None:
        """A reply of so many bytes waits for it."""
        client.send(pack(b"ECHO", b"x" * (size - len(b"$%d\r\n\r\n" % size))))

    def test_hard(self) -> None:
        """At once past the limit, not at it."""
        self.set("client-output-buffer-limit", "normal 50kb 0 0")
        for size, dropped in ((50 * KIB - 1, False), (50 * KIB, False), (50 * KIB + 1, True)):
            client = self.lazy()
            self.fill(client, size)
            self.assertEqual((size, client.transport.aborted), (size, dropped))
        self.assertEqual(self.server.clients_dropped, 1)
        self.connect().ask(b"CONFIG RESETSTAT\r\n")
        self.assertEqual(self.server.clients_dropped, 0)

    def test_soft(self) -> None:
        """Past it for longer than it may be; who gets below it has the time again."""
        self.set("client-output-buffer-limit", "normal 1mb 20kb 10")
        below, past, taking = self.lazy(), self.lazy(), self.lazy()
        self.fill(below, 20 * KIB)
        for client in (past, taking):
            self.fill(client, 20 * KIB + 1)
        self.later(10)
        self.assertEqual([each.transport.aborted for each in (below, past, taking)], [False] * 3)
        taking.transport.take()
        self.fill(taking, 20 * KIB + 1)
        with capturedLogs() as logs:
            self.later(1)
        self.assertEqual([each.transport.aborted for each in (below, past, taking)], [False, True, False])
        lines = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]
        self.assertRegex(str(lines), "dropped: 20481 bytes of replies not taken, .* 20480 for 10 s")
        self.later(10)
        self.assertTrue(taking.transport.aborted)

    def test_subscribers(self) -> None:
        """They have a limit of their own."""
        self.set("client-output-buffer-limit", "normal 1mb 0 0 pubsub 10kb 0 0")
        normal, subscriber = self.lazy(), self.connect()
        subscriber.ask(b"SUBSCRIBE c\r\n")
        subscriber.transport.takes = False
        self.fill(normal, 20 * KIB)
        self.operator.ask(pack(b"PUBLISH", b"c", b"x" * 9 * KIB))
        self.assertFalse(subscriber.transport.aborted)
        self.operator.ask(pack(b"PUBLISH", b"c", b"x" * KIB))
        self.turn()
        self.assertEqual((normal.transport.aborted, subscriber.transport.aborted), (False, True))

    def test_lowered(self) -> None:
        """Who has more already is dropped at once."""
        client = self.lazy()
        self.fill(client, 20 * KIB)
        self.set("client-output-buffer-limit", "normal 10kb 0 0")
        self.assertTrue(client.transport.aborted)

    def test_gone(self) -> None:
        """Nothing is remembered of who is gone."""
        self.set("client-output-buffer-limit", "normal 1mb 20kb 10")
        client = self.lazy()
        self.fill(client, 30 * KIB)
        client.lose(ConnectionDone())
        self.assertEqual(self.factory.limits._slow, {})


class StrangerTests(LimitsTestCase):
    """Who has not said who it is."""

    def setUp(self) -> None:
        """A password is asked for."""
        super().setUp()
        self.set("requirepass", "secret")

    def later(self, seconds: int) -> None:
        """So much later the server looks after its clients."""
        self.server.recent_ms += 1000 * seconds
        self.factory.drop_late()

    def test_time(self) -> None:
        """To the end of the limit; who has said it, and who was there before, has all the time there is."""
        self.set("authentication-timeout", "10")
        known, stranger = self.connect(), self.connect()
        known.ask(b"AUTH secret\r\n")
        self.later(10)
        self.assertFalse(stranger.transport.aborted)
        self.later(1)
        self.assertEqual([each.transport.aborted for each in (self.operator, known, stranger)], [False, False, True])

    def test_no_limit(self) -> None:
        """0 is for ever."""
        self.set("authentication-timeout", "0")
        stranger = self.connect()
        self.later(10**6)
        self.assertFalse(stranger.transport.aborted)

    def test_memory(self) -> None:
        """What it began is thrown away past the limit, and it hears why; with the password in front all is read."""
        head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16380\r\n"
        room = STRANGER_BYTES - len(head) - 2 * QUEUED_WORD_BYTES
        for size, dropped in ((room - 1, False), (room, False), (room + 1, True)):
            stranger = self.connect()
            stranger.send(head + b"x" * size)
            self.assertEqual((size, stranger.transport.disconnecting), (size, dropped))
        self.assertEqual(stranger.received(), b"-ERR Protocol error: unauthenticated bulk length\r\n")
        for header, wrong in ((b"*11\r\n", "multibulk"), (b"*2\r\n$3\r\nGET\r\n$16382\r\n", "bulk")):
            said = self.connect().ask(header)
            self.assertEqual(said, b"-ERR Protocol error: unauthenticated %b length\r\n" % wrong.encode())
        known = self.connect()
        known.send(b"AUTH secret\r\n" + pack(b"SET", b"k", b"x" * 50_000))
        self.turn()
        self.assertEqual(known.received(), 2 * OK)

    def test_patience(self) -> None:
        """It may send so much, and no more; who has said who it is may go on."""
        line = b"GET " + b"k" * 1019 + b"\n"
        for rest, dropped in ((b"", False), (b"\n", True)):
            stranger, known = self.connect(), self.connect()
            known.ask(b"AUTH secret\r\n")
            for client in (stranger, known):
                for _ in range(STRANGER_SENDS_BYTES // len(line)):
                    client.send(line)
                client.send(rest)
            self.assertEqual((stranger.transport.disconnecting, known.transport.disconnecting), (dropped, False))

    def test_replies(self) -> None:
        """It takes its errors, or goes."""
        stranger = self.connect()
        stranger.transport.takes = False
        stranger.send(b"PING\r\n" * (STRANGER_BYTES // len(b"-NOAUTH Authentication required.\r\n")))
        self.assertFalse(stranger.transport.aborted)
        stranger.send(b"PING\r\n")
        self.assertTrue(stranger.transport.aborted)

    def test_handshake(self) -> None:
        """Who does not end that of TLS has no more time, whoever it may be."""
        self.set("requirepass", "")
        self.set("authentication-timeout", "10")
        one, other = self.connect(), self.connect()
        for client in (one, other):
            assert isinstance(client.protocol, KVStoreProtocol)
            client.protocol.is_shaking_hands = True
        other.protocol.handshakeCompleted()  # type: ignore[attr-defined]
        self.later(11)
        self.assertEqual((one.transport.aborted, other.transport.aborted), (True, False))
