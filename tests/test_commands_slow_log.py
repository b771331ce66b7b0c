"""SLOWLOG: what is noted of slow requests, and how it is cut; on connections, which time them."""

from __future__ import annotations

from kvstore.edge.watching import SlowRequests
from tests.kit.edge import ProtocolTestCase
from tests.kit.harness import CommandTestCase


class SlowLogTests(CommandTestCase):
    """What is kept."""

    def note(self, *words: bytes, took_us: int = 5) -> None:
        """As the edge does of a request of the first client."""
        self.rig.server.slow_log.note(self.rig.call.client, list(words), took_us, 1000)

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
        slow = SlowRequests(self.server.clients, self.hooks, self.server.slow_log)
        self.server.configuration.applied["commandlog-execution-slower-than"] = slow.begin_or_end
        self.client = self.connect()

    def noted(self) -> list[list[bytes]]:
        """The words of all requests that were noted, the oldest first."""
        return [entry[3] for entry in reversed(self.server.slow_log.newest(-1))]

    def test_on_and_off(self) -> None:
        """Nobody times requests until the setting is no more negative; the one that sets it is not timed itself."""
        self.client.ask(b"GET a\r\n")
        self.assertEqual(self.hooks.watchers, [])
        for _ in range(2):
            self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\n")
        self.assertEqual(len(self.hooks.watchers), 1)
        self.client.ask(b"GET b\r\nSLOWLOG RESET\r\nGET c\r\n")
        self.client.ask(b"CONFIG SET slowlog-log-slower-than -1\r\nGET d\r\n")
        self.assertEqual(self.hooks.watchers, [])
        self.assertEqual(self.noted(), [[b"SLOWLOG", b"RESET"], [b"GET", b"c"]])

    def test_a_block(self) -> None:
        """Its commands are noted, and MULTI, not its EXEC: what is queued takes no time yet."""
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\nMULTI\r\nGET a\r\nEXEC\r\n")
        self.assertEqual(self.noted(), [[b"MULTI"], [b"GET", b"a"]])

    def test_what_is_refused(self) -> None:
        """It is not executed, and not noted, in a block or not; what fails when it is executed is."""
        refused = b"GET\r\nNONE\r\nCLIENT NONE\r\nMULTI\r\nGET\r\nEXEC\r\n"
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\n" + refused + b"SELECT 77\r\n")
        self.assertEqual(self.noted(), [[b"MULTI"], [b"SELECT", b"77"]])

    def test_a_script(self) -> None:
        """So are those of a script, as its caller's, before itself."""
        script = b"return redis.call('GET','a')"
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 0\r\nCLIENT SETNAME me\r\nSLOWLOG RESET\r\n")
        self.client.ask(b'EVAL "%b" 0\r\n' % script)
        self.assertEqual(self.noted()[1:], [[b"GET", b"a"], [b"EVAL", script, b"0"]])
        self.assertEqual({entry[5] for entry in self.server.slow_log.newest(2)}, {b"me"})

    def test_quick_ones(self) -> None:
        """What is quicker than the setting is not noted."""
        self.client.ask(b"CONFIG SET slowlog-log-slower-than 1000000000\r\nGET a\r\n")
        self.assertEqual(self.noted(), [])
