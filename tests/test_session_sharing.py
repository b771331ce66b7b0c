"""One client's requests and the others': a share of time, and requests that are executed in slices."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from kvstore.base.errors import Failure
from kvstore.base.limits import MAX_SLICED_REQUESTS
from kvstore.base.reply import Reply
from kvstore.commands.context import Call
from kvstore.commands.registry import table as commands
from kvstore.session.hooks import Executed
from kvstore.wire import jsonlines, resp
from kvstore.wire.resp import pack
from tests.kit.serving import NIL, OK, Connection, SessionTestCase

MS = 1_000_000


class ShareTests(SessionTestCase):
    """After its share of time a client's requests are backlog."""

    def setUp(self) -> None:
        """A clock that every look at it sets forward by a millisecond, and a share of ten of them."""
        super().setUp()
        self.now_ns = 0
        self.serving.server.steady_ns = self.look
        self.serving.hooks.share_ns = 10 * MS
        self.one, self.two = self.serving.connect(), self.serving.connect()

    def look(self) -> int:
        """What the clock says."""
        self.now_ns += MS
        return self.now_ns

    def test_the_rest_is_backlog(self) -> None:
        """The request that passes the end of the share is the last one executed, whatever the grammar."""
        for request, reply in (("STRLEN n", b":0\r\n"), ("PING", b"+PONG\r\n"), ("PING\n", b"+PONG\r\n")):
            client = self.serving.connect()
            replies = client.ask(*[request] * 100)
            self.assertLess(len(replies), 20 * len(reply))
            self.assertTrue(client.session.backlog)
            self.assertFalse(client.session.has_time)
            turns = 0
            while client.session.backlog:
                client.session.until_ns = self.now_ns + 10 * MS
                client.session.run(10**6)
                replies += client.released()
                turns += 1
            self.assertEqual(replies, reply * 100)
            self.assertGreater(turns, 5)

    def test_in_order(self) -> None:
        """What comes later waits behind it."""
        replies = self.one.ask(*[f"ECHO {number}" for number in range(50)])
        self.assertEqual(self.one.ask("ECHO last"), b"")
        while self.one.session.backlog:
            self.one.session.until_ns = self.now_ns + 10 * MS
            self.one.session.run(10**6)
            replies += self.one.released()
        texts = [*(b"%d" % number for number in range(50)), b"last"]
        self.assertEqual(replies, b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts))

    def test_one_at_least(self) -> None:
        """A share that is over already is enough for one request: everybody gets on."""
        self.one.ask(*["PING"] * 30)
        left = len(self.one.session.backlog)
        self.one.session.until_ns = 0
        self.one.session.run(10**6)
        self.assertEqual(len(self.one.session.backlog), left - 1)


class PartsTests(SessionTestCase):
    """A chunk with many requests is executed in parts, each in the client's time."""

    def all_of(self, client: Connection) -> tuple[bytes, int]:
        """What the rest of its backlog answers, and how many goes that took."""
        replies, goes = b"", 0
        while client.session.backlog:
            client.session.run(10**6)
            replies += client.told()
            goes += 1
        return replies, goes

    def test_the_same_as_at_once(self) -> None:
        """Whatever the stream, and wherever a chunk of it ends: one command, several, words, values like requests."""
        nasty = b"x\r\n*1\r\n$4\r\nPING\r\n"
        streams = (
            pack(b"GET", b"k") * 3000,
            (pack(b"SET", b"k", nasty) + pack(b"GET", b"k")) * 800,
            (pack(b"INCR", b"n") + b"PING\r\n" + pack(b"ECHO", nasty * 3)) * 500,
            b"INCR n\r\n" * 4000,
            (pack(b"MULTI") + pack(b"INCR", b"n") * 50 + pack(b"EXEC")) * 30,
        )
        for stream in streams:
            whole, parted = self.serving.connect(), self.serving.connect()
            whole.told(pack(b"FLUSHALL"))
            expected = whole.told(stream)
            whole.told(pack(b"FLUSHALL"))
            replies = b""
            for begin in range(0, len(stream), 20_001):
                chunk = stream[begin : begin + 20_001]
                if not parted.session.put_off(chunk):
                    parted.session.receive_more(chunk)
                replies += self.all_of(parted)[0] + parted.told()
            self.assertEqual(replies, expected, stream[:20])

    def test_few_requests(self) -> None:
        """Values are no requests: what holds few is executed when it comes."""
        client = self.serving.connect()
        self.assertFalse(client.session.put_off(pack(b"SET", b"k", b"x" * 60_000)))
        self.assertEqual(client.session.backlog, deque())

    def test_a_part_at_a_time(self) -> None:
        """What comes meanwhile stands behind it, also while the client waits for others."""
        client, other = self.serving.connect(), self.serving.connect()
        self.assertTrue(client.session.put_off(pack(b"BLPOP", b"l", b"0") + pack(b"INCR", b"n") * 1000))
        self.assertFalse(client.session.put_off(pack(b"PING") * 2000))
        client.session.run(10**6)
        self.assertTrue(client.session.is_blocked)
        client.session.receive_more(pack(b"ECHO", b"last"))
        other.told("RPUSH l a")
        replies, goes = self.all_of(client)
        self.assertTrue(replies.startswith(b"*2\r\n$1\r\nl\r\n$1\r\na\r\n:1\r\n:2\r\n"), replies[:40])
        self.assertTrue(replies.endswith(b":1000\r\n$4\r\nlast\r\n"), replies[-40:])
        self.assertGreater(goes, 2)

    def test_a_client_that_is_gone(self) -> None:
        """Nothing more of it is executed."""
        client = self.serving.connect()
        client.session.put_off(pack(b"QUIT") + pack(b"INCR", b"n") * 2000)
        client.session.run(10**6)
        self.assertEqual((client.session.closing, client.session.backlog), (True, deque()))


class SlicesTestCase(SessionTestCase):
    """KEYS, QUERY and WATCH as commands that are executed in slices. `log`: what they did."""

    def setUp(self) -> None:
        """Replace them."""
        super().setUp()
        self.log: list[str] = []
        for name in (b"KEYS", b"QUERY", b"WATCH"):
            self.patch(commands.by_name[name], "function", self.slow(name.decode()))
        self.patch(Connection, "finishes", False)

    def slow(self, name: str) -> Callable[..., Any]:
        """A command of as many slices as its last argument says, that tells how many keys there were.

        Its first argument may say that it fails, or that it is one of those that wait for room.
        """

        def function(call: Call, *arguments: Any) -> Generator[None, None, Reply]:
            waits = arguments[0] == b"room"
            if waits:
                yield from call.table.slicing.room()
            count = len(call.table.values)
            try:
                for number in range(1 if waits else int(arguments[-1])):
                    self.log.append(f"{name} {number}")
                    yield
                if len(arguments) > 1 and arguments[0] in (b"fail", b"bug"):
                    raise Failure("late") if arguments[0] == b"fail" else ZeroDivisionError("planted by a test")
                return [count, b"x"]
            except GeneratorExit:
                self.log.append(f"{name} closed")
                raise

        return function

    def to_the_end(self, client: Connection) -> bytes:
        """Slice by slice; what the client got."""
        replies = client.released()
        while client.session.backlog:
            client.session.run(10**6)
            replies += client.released()
        return replies


class SlicesTests(SlicesTestCase):
    """How they go on."""

    REPLY = b"*2\r\n:0\r\n$1\r\nx\r\n"

    def test_a_slice_at_a_time(self) -> None:
        """The first one is executed at once; the client is in the middle of something until the last."""
        self.assertTrue(self.one.session.receive(pack(b"KEYS", b"3")))
        self.assertEqual((self.one.released(), self.log), (b"", ["KEYS 0"]))
        for number in (1, 2):
            self.one.session.run(10**6)
            self.assertEqual(self.log[-1], f"KEYS {number}")
            self.assertTrue(self.one.session.backlog)
        self.one.session.run(10**6)
        self.assertEqual((self.one.released(), self.one.session.in_the_middle), (self.REPLY, False))

    def test_others_go_on(self) -> None:
        """Between the slices, and it tells of the moment at which it began."""
        self.one.ask("KEYS 2")
        self.assertEqual(self.two.ask("SET a 1", "PING"), b"")
        self.serving.commit()
        self.assertEqual(self.two.released(), OK + b"+PONG\r\n")
        self.assertEqual(self.to_the_end(self.one), self.REPLY)

    def test_what_it_waits_for(self) -> None:
        """The commit that was open when it began, not what came later."""
        self.two.ask("SET a 1")
        self.one.ask("KEYS 2")
        self.serving.close()
        self.two.ask("SET b 1")
        self.assertEqual((self.to_the_end(self.one), self.one.session.waits_for), (b"", 1))
        self.serving.settle()
        self.assertEqual(self.one.released(), b"*2\r\n:1\r\n$1\r\nx\r\n")
        self.serving.commit()
        self.one.ask("KEYS 2")
        self.two.ask("SET c 1")
        self.assertEqual(self.to_the_end(self.one), b"*2\r\n:2\r\n$1\r\nx\r\n")

    def test_replies_keep_their_order(self) -> None:
        """Those before it leave at once, those behind it after it, whenever they come."""
        self.assertEqual(self.one.ask("PING", "KEYS 2", "ECHO a", "KEYS 1"), b"+PONG\r\n")
        self.assertEqual(self.one.ask("ECHO b"), b"")
        self.assertEqual(self.to_the_end(self.one), self.REPLY + b"$1\r\na\r\n" + self.REPLY + b"$1\r\nb\r\n")

    def test_every_grammar(self) -> None:
        """Each is answered in its own."""
        for request, reply in (
            ("KEYS 2\n", self.REPLY),
            ("query x 2\n", b'{"result":"success","value":[0,"x"]}\r\n'),
            ('{"method":"query","subkey":"x","subvalue":2,"id":7}', b'{"result":"success","value":[0,"x"],"id":7}\r\n'),
            ("WATCH 2", self.REPLY),
        ):
            self.assertEqual(self.one.ask(request), b"", request)
            self.assertEqual(self.to_the_end(self.one), reply)

    def test_many_elements(self) -> None:
        """A reply of many elements is encoded in slices, as it would be at once; one too large is an error."""
        for count in (4096, 4097, 10_000):
            values = [b"v%d" % number for number in range(count)]
            self.patch(commands.by_name[b"MGET"], "function", lambda call, *keys, values=values: values)
            self.patch(commands.by_name[b"QUERY"], "function", lambda call, *words, values=values: values)
            for request, reply in (
                ("MGET a", resp.encode(values, 2)),
                ("query a 1\n", jsonlines.encode(values)),
                ('{"method":"query","subkey":"x","subvalue":2,"id":7}', jsonlines.encode(values, 7)),
            ):
                self.assertEqual(self.one.ask(request) == b"", count > 4096)
                self.assertEqual(self.one.session.in_the_middle, count > 4096)
                client = self.serving.connect()
                self.assertEqual(client.ask(request) + self.to_the_end(client), bytes(reply))
                self.to_the_end(self.one)
                self.serving.server.max_reply_bytes = len(reply) - 1
                client = self.serving.connect()
                self.assertIn(b"larger than", client.ask(request, "PING") + self.to_the_end(client))
                self.serving.server.max_reply_bytes = len(reply)
                client = self.serving.connect()
                self.assertEqual(client.ask(request) + self.to_the_end(client), bytes(reply))
                self.serving.server.max_reply_bytes = 2**30

    def test_no_slices_at_all(self) -> None:
        """One that is done in its first step is answered at once."""
        self.assertEqual(
            self.one.ask("KEYS 0", "query x 0\n"), self.REPLY + b'{"result":"success","value":[0,"x"]}\r\n'
        )

    def test_too_many_at_once(self) -> None:
        """One more waits before it begins, as if it had not come yet; in a block it is run to its end in its place."""
        self.serving.store.table.slicing.under_way = MAX_SLICED_REQUESTS
        seen: list[Executed] = []
        statistics = self.serving.server.statistics[commands.by_name[b"KEYS"]]
        for watchers in ([], [seen.append]):
            self.serving.hooks.watchers = watchers
            for request, reply in (
                ("KEYS room", self.REPLY),
                ("query room 1\n", b'{"result":"success","value":[0,"x"]}\r\n'),
                ('{"method":"query","subkey":"room","subvalue":1}', b'{"result":"success","value":[0,"x"]}\r\n'),
                ("WATCH room 1", self.REPLY),
            ):
                calls = statistics.calls
                self.log.clear()
                self.assertEqual(self.one.ask("PING", request, "PING"), b"+PONG\r\n", request)
                self.assertFalse(self.one.session.has_time)
                self.one.session.run(10**6)
                self.assertEqual((self.one.released(), self.log, statistics.calls), (b"", [], calls))
                self.assertEqual(self.two.ask("PING"), b"+PONG\r\n")
                self.serving.store.table.slicing.under_way -= 1
                self.assertEqual(self.to_the_end(self.one), reply + b"+PONG\r\n")
                self.serving.store.table.slicing.under_way += 1
        self.assertEqual([each.words[0].upper() for each in seen if b"room" in each.words].count(b"QUERY"), 2)
        self.assertEqual(self.one.ask("KEYS room"), b"")
        self.one.session.disconnected()
        self.assertFalse(self.one.session.backlog)
        self.assertTrue(self.two.ask("MULTI", "KEYS room", "EXEC").endswith(b"*1\r\n" + self.REPLY))

    def test_in_a_block(self) -> None:
        """There it is run to its end, in its place."""
        self.one.ask("MULTI", "SET a 1", "KEYS 3", "SET b 1", "EXEC")
        self.serving.commit()
        self.assertTrue(self.one.released().endswith(b"*3\r\n+OK\r\n*2\r\n:1\r\n$1\r\nx\r\n+OK\r\n"))
        self.assertEqual(self.log, ["KEYS 0", "KEYS 1", "KEYS 2"])

    def test_the_client_is_gone(self) -> None:
        """It is closed, and nothing of it is kept."""
        self.one.ask("KEYS 5", "PING")
        self.one.session.disconnected()
        self.assertEqual(self.log, ["KEYS 0", "KEYS closed"])
        self.two.ask("KEYS 5")
        self.two.session.refuse_rest("planted by a test")
        self.assertEqual(self.log[2:], ["KEYS 0", "KEYS closed"])
        self.assertFalse(self.two.session.backlog)

    def test_late_errors(self) -> None:
        """One that comes in a later slice is answered as any, and counted; a bug ends the connection."""
        for request, reply in (
            ("WATCH fail 2", b"-ERR late\r\n"),
            ("query fail 2\n", b'{"result":"failure","error":"late"}\r\n'),
        ):
            errors = self.serving.server.errors
            self.one.ask(request, "PING")
            self.assertEqual(self.to_the_end(self.one), reply + b"+PONG\r\n")
            self.assertEqual(self.serving.server.errors, errors + 1)
        self.one.ask("WATCH bug 1", "PING")
        self.assertTrue(self.to_the_end(self.one).startswith(b"-ERR internal error"))
        self.assertTrue(self.one.session.closing)
        self.assertEqual(len(self.serving.bugs), 1)

    def test_counted_once(self) -> None:
        """As a request, and as a call, whose time is that of all its slices."""
        statistics = self.serving.server.statistics[commands.by_name[b"KEYS"]]
        self.one.ask("KEYS 3")
        self.assertEqual((statistics.calls, self.serving.server.requests_executed), (1, 0))
        self.to_the_end(self.one)
        self.assertEqual((statistics.calls, self.serving.server.requests_executed), (1, 1))
        self.assertEqual(self.one.client.last_command, "KEYS")

    def test_watched(self) -> None:
        """It is shown once, in its place in the order: when its first slice executes."""
        seen: list[Executed] = []
        self.serving.hooks.watchers.append(seen.append)
        self.one.ask("KEYS 3", "PING")
        self.two.ask("GET a")
        self.assertEqual(self.to_the_end(self.one), self.REPLY + b"+PONG\r\n")
        self.assertEqual([each.words[0] for each in seen], [b"KEYS", b"GET", b"PING"])
        self.assertEqual(self.two.ask("GET a"), NIL)
