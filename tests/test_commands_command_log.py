"""COMMANDLOG and SLOWLOG: which requests are noted, and how they are cut; on connections, which look at them."""

from __future__ import annotations

from typing import Any

from kvstore.base.limits import KIB, LARGE_BYTES, MIB
from kvstore.base.slices import SLICE_NS
from kvstore.commands.registry import table as commands
from kvstore.edge.watching import LoggedCommands
from kvstore.wire.resp import pack
from tests.kit.edge import ProtocolTestCase
from tests.kit.harness import CommandTestCase

#: From what on something is large, in these tests.
SIZE = LARGE_BYTES


class LogTests(CommandTestCase):
    """What is kept."""

    def setUp(self) -> None:
        """Note everything."""
        super().setUp()
        self.do("CONFIG", "SET", "slowlog-log-slower-than", 0)

    def note(self, *words: bytes, took_us: int = 5) -> None:
        """As the edge does of a request of the first client."""
        self.rig.server.command_log.slow.note(self.rig.call.client, list(words), took_us, 1000)

    def words(self) -> list[list[bytes]]:
        """Of all that is kept, the newest first."""
        return [entry[3] for entry in self.do("SLOWLOG", "GET", -1)]

    def test_what_is_slow(self) -> None:
        """What takes as long as the setting says, by either of its names; the newest comes first."""
        self.do("CONFIG", "SET", "slowlog-log-slower-than", 5)
        self.do("CLIENT", "SETNAME", "me")
        self.note(b"GET", b"a")
        self.note(b"GET", b"b", took_us=4)
        self.note(b"GET", b"c", took_us=6)
        self.assertEqual(
            self.do("SLOWLOG", "GET"),
            [
                [1, 1000, 6, [b"GET", b"c"], "127.0.0.1:50000", b"me"],
                [0, 1000, 5, [b"GET", b"a"], "127.0.0.1:50000", b"me"],
            ],
        )
        self.assertEqual([entry[0] for entry in self.do("SLOWLOG", "GET", 1)], [1])

    def test_how_many(self) -> None:
        """As many as the setting says; numbers go on after a reset."""
        for number in range(20):
            self.note(b"GET", b"%d" % number)
        self.assertEqual((len(self.do("SLOWLOG", "GET")), self.do("SLOWLOG", "LEN")), (10, 20))
        self.do("CONFIG", "SET", "slowlog-max-len", 2)
        self.assertEqual(self.do("SLOWLOG", "LEN"), 2)
        self.assertEqual(self.words(), [[b"GET", b"19"], [b"GET", b"18"]])
        self.do("SLOWLOG", "RESET")
        self.do("CONFIG", "SET", "slowlog-max-len", 0)
        self.note(b"PING")
        self.do("CONFIG", "SET", "slowlog-max-len", 2)
        self.note(b"PING")
        self.assertEqual([entry[0] for entry in self.do("SLOWLOG", "GET")], [20])

    def test_cut(self) -> None:
        """Many words and long ones are cut, as Valkey cuts them; passwords are not shown."""
        many = [b"%d" % number for number in range(32)]
        self.note(*many)
        self.note(b"LPUSH", *many)
        self.note(b"GET", b"x" * 128, b"y" * 133)
        self.note(b"AUTH", b"default", b"secret")
        self.assertEqual(
            self.words(),
            [
                [b"AUTH", b"(redacted)", b"(redacted)"],
                [b"GET", b"x" * 128, b"y" * 128 + b"... (5 more bytes)"],
                [b"LPUSH", *many[:30], b"... (2 more arguments)"],
                many,
            ],
        )

    def test_arguments(self) -> None:
        """Counts that make no sense are refused."""
        wrong = "!ERR count should be greater than or equal to -1"
        self.script(f"""
            SLOWLOG GET 0 -> []
            SLOWLOG GET -2 -> {wrong}
            SLOWLOG GET x -> {wrong}
            SLOWLOG gEt 1 2 -> !ERR unknown subcommand or wrong number of arguments for 'gEt'. Try SLOWLOG HELP.
            SLOWLOG LEN x -> !ERR wrong number of arguments for 'slowlog|len' command
            SLOWLOG FOO -> !ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.
        """)


class TimedRequestsTests(ProtocolTestCase):
    """Who times requests, and when."""

    def setUp(self) -> None:
        """A client of a server that notes slow requests when it is told to."""
        super().setUp()
        LoggedCommands(self.server.clients, self.hooks, self.server.command_log)
        self.client = self.connect()

    def noted(self) -> list[list[bytes]]:
        """The words of all requests that were noted, the oldest first."""
        return [entry[3] for entry in reversed(self.server.command_log.slow.newest(-1))]

    def test_on_and_off(self) -> None:
        """Nobody times requests until the setting is no more negative; what sets it is noted, as no time at all."""
        self.client.ask(b"GET a\r\n")
        self.assertEqual(self.hooks.watchers, [])
        for _ in range(2):
            self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\n")
        self.assertEqual(len(self.hooks.watchers), 1)
        self.client.ask(b"GET b\r\nSLOWLOG RESET\r\nGET c\r\n")
        self.client.ask(b"CONFIG SET slowlog-log-slower-than -1\r\nGET d\r\n")
        self.assertEqual(self.hooks.watchers, [])
        self.assertEqual(self.noted(), [[b"SLOWLOG", b"RESET"], [b"GET", b"c"]])
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\n")
        newest = self.server.command_log.slow.newest(1)[0]
        self.assertEqual((newest[2], newest[3][3]), (0, b"0"))

    def test_a_block(self) -> None:
        """Its commands are noted, and MULTI, not its EXEC: what is queued takes no time yet."""
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\nMULTI\r\nGET a\r\nEXEC\r\n")
        self.assertEqual(self.noted()[1:], [[b"MULTI"], [b"GET", b"a"]])

    def test_what_is_refused(self) -> None:
        """It is not executed, and not noted, in a block or not; what fails when it is executed is."""
        refused = b"GET\r\nNONE\r\nCLIENT NONE\r\nMULTI\r\nGET\r\nEXEC\r\n"
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\n" + refused + b"SELECT 77\r\n")
        self.assertEqual(self.noted()[1:], [[b"MULTI"], [b"SELECT", b"77"]])

    def test_a_script(self) -> None:
        """So are those of a script, as its caller's, before itself."""
        script = b"return redis.call('GET','a')"
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\nCLIENT SETNAME me\r\nSLOWLOG RESET\r\n")
        self.client.ask(b'EVAL "%b" 0\r\n' % script)
        self.assertEqual(self.noted()[1:], [[b"GET", b"a"], [b"EVAL", script, b"0"]])
        self.assertEqual({entry[5] for entry in self.server.command_log.slow.newest(2)}, {b"me"})

    def test_quick_ones(self) -> None:
        """What is quicker than the setting is not noted."""
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 1000000000\r\nGET a\r\n")
        self.assertEqual(self.noted(), [])

    def test_what_waits(self) -> None:
        """It is noted when it is done, once."""
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\nSLOWLOG RESET\r\n")
        waiting = self.connect()
        waiting.ask(b"BLPOP l 0\r\n")
        self.assertEqual(self.noted()[1:], [])
        self.client.ask(b"LPUSH l a\r\n")
        self.assertEqual(sorted(self.noted()[1:]), [[b"BLPOP", b"l", b"0"], [b"LPUSH", b"l", b"a"]])

    def test_slices(self) -> None:
        """What is done in slices is noted when it is done, with all of them."""

        def in_slices(call: Any) -> Any:
            for _ in range(3):
                self.now_ns += SLICE_NS
                yield
            return 1

        self.now_ns = 0
        self.server.steady_ns = lambda: self.now_ns
        self.patch(commands.by_name[b"DBSIZE"], "function", in_slices)
        client = self.connect()
        client.ask(b"CONFIG SET slowlog-log-slower-than 2000\r\nDBSIZE\r\n")
        self.clock.pump([0] * 8)
        self.assertEqual(
            [entry[2:4] for entry in self.server.command_log.slow.newest(-1)], [[3 * SLICE_NS // 1000, [b"DBSIZE"]]]
        )


class LargeTests(ProtocolTestCase):
    """What is large. `chunks`: as a socket gives it."""

    def setUp(self) -> None:
        """Two clients of a server that notes what is of SIZE bytes; at first it is a MiB."""
        super().setUp()
        LoggedCommands(self.server.clients, self.hooks, self.server.command_log)
        self.client, self.other = self.connect(), self.connect()
        self.assertEqual((self.server.command_log.request_bytes, self.server.command_log.reply_bytes), (MIB, MIB))
        larger = b"commandlog-request-larger-than %d commandlog-reply-larger-than %d" % (SIZE, SIZE)
        self.assertEqual(self.client.ask(b"CONFIG SET %b\r\n" % larger), b"+OK\r\n")

    def send(self, data: bytes, part_bytes: int = 64 * KIB) -> None:
        """A request, in the parts that are read from a socket at once."""
        for begin in range(0, len(data), part_bytes):
            self.client.send(data[begin : begin + part_bytes])
        self.turn()

    def noted(self, kind: bytes) -> list[tuple[int, bytes]]:
        """Bytes and first word of what is noted, the oldest first."""
        return [(entry[2], entry[3][0]) for entry in reversed(self.server.command_log.by_type[kind].newest(-1))]

    def test_requests(self) -> None:
        """Those of SIZE bytes are noted, those of a byte less are not; in any grammar, and while others are quick."""
        small = SIZE - len(pack(b"SET", b"k", b"x" * SIZE)) + SIZE
        for length in (small - 1, small):
            self.send(pack(b"SET", b"k", b"x" * length))
        self.send(b'{"method":"insert","key":"k","value":"%b"}\n' % (b"x" * SIZE))
        self.send(b'insert k "%b"\r\n' % (b"x" * SIZE))
        self.send(pack(b"GET", b"k"))
        self.assertEqual(self.hooks.watchers, [])
        self.assertEqual(self.noted(b"large-request"), [(SIZE, b"SET"), (SIZE + 41, b"insert"), (SIZE + 13, b"insert")])
        self.assertEqual(self.noted(b"slow"), [])

    def test_replies(self) -> None:
        """Strings, arrays of short ones and of many, blocks, what goes through pipelines; small ones not."""
        self.send(pack(b"SET", b"k", b"x" * SIZE) + pack(b"SET", b"s", b"x" * (SIZE - 64)))
        self.send(pack(b"RPUSH", b"l", *[b"x" * 10_000] * 14) + pack(b"RPUSH", b"b", b"x" * SIZE))
        get = pack(b"GET", b"k")
        for request in (
            get,
            pack(b"GET", b"s"),
            pack(b"LRANGE", b"l", b"0", b"-1"),
            get * 20,
            pack(b"BLPOP", b"b", b"0"),
        ):
            self.send(request)
        self.send(pack(b"MULTI") + get + pack(b"EXEC"))
        words = [b"GET", b"LRANGE", *[b"GET"] * 20, b"BLPOP", b"GET"]
        self.assertEqual([name for _, name in self.noted(b"large-reply")], words)
        self.assertEqual(self.noted(b"large-reply")[0][0], SIZE + len(b"$131072\r\n\r\n"))
        self.assertEqual(self.hooks.watchers, [])

    def test_a_reply_to_who_waited(self) -> None:
        """It is noted as any."""
        self.client.ask(b"BLPOP b 0\r\n")
        self.other.send(pack(b"RPUSH", b"b", b"x" * SIZE))
        self.assertEqual([name for _, name in self.noted(b"large-reply")], [b"BLPOP"])

    def test_small_thresholds(self) -> None:
        """Then each request is looked at, one in a block or a script, too; sizes are as in RESP."""
        self.client.ask(b"CONFIG SET commandlog-request-larger-than 40 commandlog-reply-larger-than 40\r\n")
        self.assertEqual(len(self.hooks.watchers), 1)
        value = b"x" * 40
        self.client.ask(pack(b"SET", b"k", value) + pack(b"GET", b"k") + pack(b"GET", b"none"))
        self.client.ask(pack(b"MULTI") + pack(b"SET", b"k", value) + pack(b"GET", b"k") + pack(b"EXEC"))
        self.client.ask(pack(b"EVAL", b"return #redis.call('GET','k')", b"0"))
        requests = self.noted(b"large-request")[1:]
        self.assertEqual(requests[:2], [(len(pack(b"SET", b"k", value)), b"SET")] * 2)
        self.assertEqual([name for _, name in requests[2:]], [b"EVAL"])
        self.assertEqual(self.noted(b"large-reply"), [(47, b"GET"), (40, b"GET"), (40, b"GET")])
        self.client.ask(b"CONFIG SET commandlog-request-larger-than -1 commandlog-reply-larger-than -1\r\n")
        self.assertEqual(self.hooks.watchers, [])

    def test_commands(self) -> None:
        """Each log is looked at, counted and forgotten by itself."""
        self.send(pack(b"SET", b"k", b"x" * SIZE) + pack(b"GET", b"k"))
        self.client.received()
        for kind, name in ((b"large-request", b"SET"), (b"LARGE-REPLY", b"GET")):
            self.assertIn(name, self.client.ask(b"COMMANDLOG GET -1 %b\r\n" % kind))
            self.assertEqual(self.client.ask(b"COMMANDLOG LEN %b\r\n" % kind), b":1\r\n")
        self.assertEqual(self.client.ask(b"COMMANDLOG GET 0 large-reply\r\n"), b"*0\r\n")
        self.assertEqual(self.client.ask(b"COMMANDLOG RESET large-reply\r\n"), b"+OK\r\n")
        self.assertEqual(self.client.ask(b"COMMANDLOG LEN large-reply\r\n"), b":0\r\n")
        self.assertEqual(self.client.ask(b"COMMANDLOG LEN large-request\r\n"), b":1\r\n")
        self.assertIn(b"type should be one of", self.client.ask(b"COMMANDLOG LEN x\r\n"))
        self.assertIn(b"count should be greater", self.client.ask(b"COMMANDLOG GET -2 slow\r\n"))
        self.assertIn(b"wrong number of arguments", self.client.ask(b"COMMANDLOG GET 5\r\n"))
