"""Replies that are large: by reference until they leave, and an error past the limit, with nothing done."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, LONG_STRING_BYTES
from kvstore.commands.registry import table as commands
from kvstore.session.hooks import Executed
from kvstore.wire.pieces import Pieces
from kvstore.wire.resp import pack
from tests.kit.serving import OK, Serving

TOO_LARGE = b"-ERR the reply is larger than 102400 bytes, so nothing was done; "
LIMIT = 100 * KIB
VALUE = b"v" * LONG_STRING_BYTES
REPLY = b"$%d\r\n%b\r\n" % (len(VALUE), VALUE)
DOCUMENT = b'{"n":1,"text":"%b"}' % VALUE


class LargeTestCase(SynchronousTestCase):
    """A server whose replies may have LIMIT bytes, with some long values in it."""

    def setUp(self) -> None:
        """Make it."""
        self.serving = Serving()
        self.serving.server.max_reply_bytes = LIMIT
        self.one, self.two = self.serving.connect(), self.serving.connect()
        for key in (b"a", b"b"):
            self.one.ask(pack(b"SET", key, VALUE))
        for number in range(8):
            self.one.ask(pack(b"SET", b"d%d" % number, DOCUMENT))
        self.serving.commit()
        self.one.released()

    def failed(self, name: str) -> tuple[int, int, int]:
        """The counters of a command: calls, rejected, failed."""
        counted = self.serving.server.statistics[commands.by_name[name.encode()]]
        return counted.calls, counted.rejected, counted.failed


class ByReferenceTests(LargeTestCase):
    """No copies."""

    def test_the_value_itself(self) -> None:
        """The very object of the table is what waits to be sent, once and many times."""
        value = self.serving.table.values[b"a"]
        for request in ("GET a", "MGET a b a", "lookup d0\n"):
            self.one.session.receive(request.encode() + b"\n")
            encoded = self.one.session.take_ready()
            assert isinstance(encoded, Pieces)
            if request != "lookup d0\n":
                self.assertTrue(any(piece is value for piece in encoded.pieces), request)

    def test_held(self) -> None:
        """Held replies count their bytes, not their pieces; several leave as one."""
        self.two.ask("SET a 1", "APPEND b x")
        self.assertEqual(self.one.ask("GET b", "GET none", "GET b"), b"")
        longer = b"$%d\r\n%bx\r\n" % (len(VALUE) + 1, VALUE)
        expected = longer + b"$-1\r\n" + longer
        self.assertEqual(self.one.session.held_bytes, len(expected))
        self.serving.commit()
        self.assertEqual((self.one.released(), self.one.session.held_bytes), (expected, 0))

    def test_the_budget(self) -> None:
        """A batch ends when long replies pass it, as with short ones."""
        client = self.serving.connect(budget_bytes=len(REPLY))
        self.assertEqual(client.ask(*["GET a"] * 5, "PING"), REPLY * 2)
        client.session.run(10**6)
        self.assertEqual(client.released(), REPLY * 3 + b"+PONG\r\n")

    def test_pipelines(self) -> None:
        """GETs that could execute at once do so within the budget and the limit, one by one past them."""
        self.assertEqual(self.one.ask(*["GET a"] * 8), REPLY * 8)
        for client in (self.one, self.two):
            self.assertEqual(client.ask(*["GET a", "GET none"] * 8), (REPLY + b"$-1\r\n") * 8)


class LimitTests(LargeTestCase):
    """Past it."""

    def test_reads(self) -> None:
        """In every grammar, and the connection goes on."""
        for request in (b"MGET" + b" a" * 7, b"query n 1\n", b'{"method":"query","subkey":"n","subvalue":1,"id":7}'):
            replies = self.one.ask(request, "PING")
            self.assertIn(TOO_LARGE[5:], replies, request)
            self.assertLess(len(replies), 500)
            self.assertTrue(replies.endswith(b"+PONG\r\n"))
        self.assertEqual(self.one.ask(b"MGET" + b" a" * 6), b"*6\r\n" + REPLY * 6)
        self.assertEqual((self.failed("MGET"), self.failed("QUERY")), ((2, 0, 1), (2, 0, 2)))
        self.assertEqual(self.serving.server.errors, 3)

    def test_a_value_too_large(self) -> None:
        """GET of it is an error; what says less of it is not."""
        self.one.ask(pack(b"SETRANGE", b"large", b"%d" % LIMIT, b"x"))
        self.serving.commit()
        self.one.released()
        self.assertTrue(self.one.ask("GET large").startswith(TOO_LARGE))
        self.assertEqual(self.one.ask("STRLEN large", "GETRANGE large 0 1"), b":%d\r\n$2\r\n\0\0\r\n" % (LIMIT + 1))

    def test_a_write(self) -> None:
        """It is undone: the value that could not be told is still there. Watched or not, the same."""
        self.one.ask(pack(b"SETRANGE", b"large", b"%d" % LIMIT, b"x"))
        self.serving.commit()
        self.one.released()
        before = self.serving.state()
        seen: list[Executed] = []
        for _ in range(2):
            for request in ("GETDEL large", "GETSET large 1", "SET large 1 GET"):
                self.assertTrue(self.one.ask(request).startswith(TOO_LARGE), request)
                self.assertEqual(self.serving.state(), before)
            self.serving.hooks.watchers.append(seen.append)
        self.assertTrue(all("larger than" in each.outcome for each in seen))
        self.assertEqual((self.failed("GETDEL"), self.failed("GETSET")), ((2, 0, 2), (2, 0, 2)))

    def test_exec(self) -> None:
        """It is undone whole, answers one error, and the block is over."""
        before = self.serving.state()
        block: list[Any] = ["MULTI", "SET new 1", *["GET a"] * 7, "APPEND a x", "EXEC", "PING"]
        replies = self.one.ask(*block)
        self.assertTrue(replies.startswith(OK + b"+QUEUED\r\n" * 9 + TOO_LARGE), replies[:300])
        self.assertTrue(replies.endswith(b"+PONG\r\n"))
        self.assertEqual(self.serving.state(), before)
        self.assertEqual(
            (self.failed("EXEC"), self.failed("GET"), self.failed("APPEND")), ((1, 0, 1), (7, 0, 0), (0, 0, 0))
        )
        self.assertEqual(self.one.ask("MULTI", "GET a", "EXEC"), OK + b"+QUEUED\r\n*1\r\n" + REPLY)

    def test_exec_known_once_encoded(self) -> None:
        """What the block did to its client is taken back, too, and nobody is told of anything, if it wrote or not."""
        client = self.one.client
        self.two.ask("SUBSCRIBE news")
        self.one.ask("HELLO 3", "CLIENT SETNAME before", "SELECT 2", "SET k 1000000000000000000 PX 1000", "SUBSCRIBE b")
        self.serving.commit()
        self.one.released()
        self.one.ask("UNSUBSCRIBE b", "SUBSCRIBE a")
        before, held = self.serving.state(), self.serving.server.channels.of(client)
        own = ("HELLO 2", "CLIENT SETNAME after", "PUBLISH news x", "SELECT 3", "SUBSCRIBE c", "UNSUBSCRIBE a")
        for many in ("PEXPIRETIME k", "INCR k"):
            for more in (own[3:4], own):
                replies = self.one.ask("MULTI", *[many] * 7000, *more, "EXEC")
                self.assertIn(TOO_LARGE[5:], replies, (many, more))
                self.assertEqual((client.database, self.one.session.call.table.number), (2, 2))
                self.assertEqual((client.protocol, client.name), (3, b"before"))
                self.assertEqual(self.serving.server.channels.of(client), held)
                self.assertEqual((self.serving.state(), self.two.released()), (before, b""))
        self.one.ask("MULTI", "SELECT 3", "EXEC")
        self.assertEqual(client.database, 3)
        self.assertIn(TOO_LARGE[5:], self.one.ask("MGET" + " none" * 40000))
        self.assertEqual(client.database, 3)

    def test_exec_stops_early(self) -> None:
        """What is counted while it executes is what its commands answered, whatever the kind."""
        for request in ("KEYS *", "query n 1", "MGET a a"):
            self.one.ask("MULTI", *[request] * 5000)
            self.assertIn(TOO_LARGE[5:], self.one.ask("EXEC"), request)
        self.assertLess(self.failed("KEYS")[0], 5000)
