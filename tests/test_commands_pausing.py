"""CLIENT PAUSE, UNPAUSE and REPLY: what waits, in which order it goes on, and what is not answered."""

from __future__ import annotations

from kvstore.wire.resp import pack
from tests.kit.harness import CommandTestCase
from tests.kit.serving import NIL, OK, UNLIMITED_BYTES, Connection, SessionTestCase

PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"


class PauseTestCase(SessionTestCase):
    """Two clients, and one that pauses them."""

    def setUp(self) -> None:
        """Connect it."""
        super().setUp()
        self.boss = self.serving.connect()

    def goes_on(self, *clients: Connection) -> list[bytes]:
        """What each of those gets, who were woken in this order."""
        for client in clients:
            self.assertTrue(client.session.has_more)
            client.session.run(UNLIMITED_BYTES)
        self.serving.commit_if_changed()
        return [client.released() for client in clients]


class PauseTests(PauseTestCase):
    """What waits, and until when."""

    def test_writes_wait(self) -> None:
        """They are executed in their order when the pause ends; what only reads is executed meanwhile."""
        self.assertEqual(self.boss.told("SET k 0", "CLIENT PAUSE 1000 WRITE"), OK + OK)
        for client, value in ((self.two, 1), (self.one, 2)):
            self.assertEqual(client.ask("GET k", f"SET k {value}", "PING"), b"$1\r\n0\r\n")
            client.session.until_ns = 0  # its share of time is over
        self.assertEqual(self.two.ask("GET k"), b"")
        self.assertFalse(self.one.session.has_more)
        self.assertEqual(self.boss.ask("GET k"), b"$1\r\n0\r\n")
        self.assertIn(b" flags=b ", self.boss.ask("CLIENT LIST ID 1"))
        self.assertIn(b"blocked_clients:2\r\n", self.boss.ask("INFO clients"))
        self.assertIn(b"paused_actions:write\r\npaused_timeout_milliseconds:1000\r\n", self.boss.ask("INFO clients"))
        self.assertEqual(self.boss.ask("CLIENT UNPAUSE"), OK)
        self.assertEqual((self.one.woken, self.two.woken), (1, 1))
        self.assertTrue(self.one.session.has_time and self.two.session.has_time)
        self.assertEqual(self.goes_on(self.two, self.one), [OK + PONG + b"$1\r\n1\r\n", OK + PONG])
        self.assertEqual(self.boss.ask("GET k"), b"$1\r\n2\r\n")
        self.assertIn(b"paused_reason:none", self.boss.ask("INFO clients"))

    def test_all_wait(self) -> None:
        """Until the time is up; what is refused anyway is refused at once."""
        self.boss.ask("CLIENT PAUSE 1000")
        self.assertEqual(self.one.ask("GET"), b"-ERR wrong number of arguments for 'get' command\r\n")
        self.assertEqual(self.one.ask("PING") + self.two.ask('{"method":"size"}'), b"")
        self.serving.clock.advance(0.999)
        self.assertEqual((self.one.woken, self.two.woken), (0, 0))
        self.serving.clock.advance(0.001)
        self.assertEqual(self.goes_on(self.one, self.two), [PONG, b'{"result":"success","value":0}\r\n'])

    def test_always_ended(self) -> None:
        """Whoever asks for its end is heard."""
        self.boss.ask("CLIENT PAUSE 1000 ALL")
        self.one.ask("PING")
        self.assertEqual(self.two.ask("CLIENT UNPAUSE"), OK)
        self.assertEqual(self.goes_on(self.one), [PONG])

    def test_never_less(self) -> None:
        """A pause of all stays one, and a longer one as long."""
        self.boss.ask("CLIENT PAUSE 1000 ALL", "PING")
        self.one.ask("CLIENT PAUSE 10 WRITE")
        self.serving.clock.advance(0.9)
        self.assertEqual(self.two.ask("GET k"), b"")
        self.serving.clock.advance(0.1)
        self.assertEqual(self.goes_on(self.two), [NIL])

    def test_paused_again(self) -> None:
        """What had not begun by then waits on."""
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.one.ask("INCR k")
        self.boss.ask("CLIENT UNPAUSE", "CLIENT PAUSE 1000 WRITE")
        self.assertEqual(self.goes_on(self.one), [b""])
        self.boss.ask("CLIENT UNPAUSE")
        self.assertEqual(self.goes_on(self.one), [b":1\r\n"])

    def test_blocks(self) -> None:
        """What writes waits when it is to be queued, and a block that has it; a block pauses the others, not itself."""
        self.assertEqual(self.one.ask("MULTI", "SET k 1"), OK + QUEUED)
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.assertEqual(self.two.ask("MULTI", "GET k", "EXEC"), OK + QUEUED + b"*1\r\n$-1\r\n")
        self.assertEqual(self.two.ask("MULTI", "SET k 2"), OK)
        self.assertEqual(self.one.ask("EXEC"), b"")
        self.boss.ask("CLIENT UNPAUSE")
        self.assertEqual(self.goes_on(self.two, self.one), [QUEUED, b"*1\r\n+OK\r\n"])
        block = ("MULTI", "CLIENT PAUSE 1000 WRITE", "SET k 3", "EXEC")
        self.assertEqual(self.boss.told(*block), OK + 2 * QUEUED + b"*2\r\n+OK\r\n+OK\r\n")

    def test_scripts(self) -> None:
        """Those wait that do not say that they change nothing."""
        self.one.ask("SCRIPT LOAD x")
        function = "{function_name='f', flags={'no-writes'}, callback=function() return 3 end}"
        self.one.told(pack(b"FUNCTION", b"LOAD", f"#!lua name=l\nredis.register_function{function}".encode()))
        quiet = pack(b"EVAL", b"#!lua flags=no-writes\nreturn 1", b"0")
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.assertEqual(self.one.ask(quiet, pack(b"EVAL_RO", b"return 2", b"0")), b":1\r\n:2\r\n")
        self.assertEqual(self.one.ask("FCALL f 0"), b":3\r\n")
        self.assertEqual(self.one.ask(pack(b"EVAL", b"#!lua\nreturn 1", b"0")), b"")
        self.assertEqual(self.two.ask(pack(b"EVAL", b"#!no", b"0")), b"")

    def test_first_script(self) -> None:
        """The first script that a server is asked for is looked at as well; so is a function, not loaded yet."""
        function = b"{function_name='f', flags={'no-writes'}, callback=function() return 3 end}"
        store = self.serving.server.store
        store.libraries.write(b"l", b"#!lua name=l\nredis.register_function" + function)
        store.pending.undo.clear()
        self.serving.commit_if_changed()
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.assertEqual(self.one.ask(pack(b"EVAL", b"#!lua flags=no-writes\nreturn 1", b"0")), b":1\r\n")
        self.assertEqual(self.one.ask("FCALL f 0"), b":3\r\n")

    def test_who_waits_otherwise(self) -> None:
        """A client that waits for an element is not served during the pause; nor can it be let go."""
        self.one.ask("BLPOP l 0")
        self.boss.told("MULTI", "CLIENT PAUSE 1000 WRITE", "RPUSH l x", "EXEC")
        self.two.ask("BLPOP l 0")
        self.assertEqual(self.boss.ask("CLIENT UNBLOCK 1", "CLIENT UNBLOCK 2"), b":0\r\n" * 2)
        self.boss.ask("CLIENT UNPAUSE")
        self.assertEqual(self.goes_on(self.one, self.two), [pack(b"l", b"x"), b""])
        self.assertEqual(self.boss.ask("CLIENT UNBLOCK 2"), b":1\r\n")

    def test_gone(self) -> None:
        """What a client that is gone had asked for is not done."""
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.one.ask("SET k 1")
        self.two.ask("SET k 2")
        self.one.session.hang_up()
        self.boss.ask("CLIENT KILL ID 2", "CLIENT UNPAUSE")
        self.assertEqual((self.one.woken, self.two.woken), (0, 0))
        self.assertEqual(self.boss.ask("GET k"), NIL)

    def test_not_watched_twice(self) -> None:
        """MONITOR shows a request when it is executed, and pipelines wait whole."""
        seen: list[bytes] = []
        self.serving.hooks.watchers.append(lambda executed: seen.append(executed.words[0]))
        self.boss.ask("CLIENT PAUSE 1000 WRITE")
        self.one.ask(*["INCR k"] * 10)
        self.boss.ask("CLIENT UNPAUSE")
        self.assertEqual(self.goes_on(self.one), [b"".join(b":%d\r\n" % i for i in range(1, 11))])
        self.assertEqual(seen, [b"CLIENT", b"CLIENT", *[b"INCR"] * 10])


class PauseErrorTests(CommandTestCase):
    """What CLIENT PAUSE refuses."""

    def test_errors(self) -> None:
        """The mode is looked at first."""
        self.script("""
            CLIENT PAUSE x FOO -> !ERR CLIENT PAUSE mode must be WRITE or ALL
            CLIENT PAUSE x WRITE -> !ERR timeout is not an integer or out of range
            CLIENT PAUSE -1 -> !ERR timeout is negative
            CLIENT PAUSE 9223372036854775807 -> !ERR timeout is out of range
            CLIENT PAUSE 0 -> OK
            CLIENT REPLY FOO -> !ERR syntax error
        """)


class ReplyTests(PauseTestCase):
    """Replies that are not sent."""

    def test_off(self) -> None:
        """None is, of errors neither, until they are wanted again; requests are executed all the same."""
        self.assertEqual(self.one.told("CLIENT REPLY OFF", "SET k 1", "NOSUCH", "INCR k", "CLIENT REPLY SKIP"), b"")
        self.assertTrue(self.one.session.in_the_middle)
        self.assertEqual(self.one.told(*["INCR k"] * 8), b"")
        self.assertEqual(self.one.told("GET k", "CLIENT REPLY ON", "GET k"), OK + b"$2\r\n10\r\n")
        self.assertFalse(self.one.session.in_the_middle)

    def test_skip(self) -> None:
        """Only the next is not."""
        self.assertEqual(self.one.ask("CLIENT REPLY SKIP", "PING", "ECHO a"), b"$1\r\na\r\n")
        self.assertEqual(self.one.ask("CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "NOSUCH", "ECHO b"), b"$1\r\nb\r\n")
        self.assertEqual(self.one.ask("CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING"), OK + PONG)
        self.assertEqual(self.one.told("CLIENT REPLY SKIP", *["INCR k"] * 3), b":2\r\n:3\r\n")

    def test_of_a_request_that_waits(self) -> None:
        """The reply that is left out is its own, whenever that comes."""
        self.one.ask("CLIENT REPLY SKIP", "BLPOP l 0", "PING")
        self.boss.told("RPUSH l x")
        self.assertEqual(self.goes_on(self.one), [PONG])

    def test_many_elements(self) -> None:
        """Nor is one that takes slices."""
        self.one.told("RPUSH l " + " ".join(["x"] * 5000), "CLIENT REPLY SKIP")
        self.assertEqual(self.one.ask("LRANGE l 0 -1", "PING"), PONG)

    def test_messages(self) -> None:
        """Messages are sent, those of SUBSCRIBE too."""
        self.one.ask("HELLO 3", "CLIENT REPLY OFF")
        self.assertEqual(self.one.ask("SUBSCRIBE c", "PING"), b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        self.boss.ask("PUBLISH c hi")
        self.assertEqual(self.one.released(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")

    def test_reset(self) -> None:
        """RESET is answered, and all that comes then; in a block one cannot ask for fewer replies."""
        self.assertEqual(self.one.ask("CLIENT REPLY OFF", "RESET", "PING"), b"+RESET\r\n" + PONG)
        self.assertEqual(self.one.ask("CLIENT REPLY SKIP", "RESET", "PING"), PONG)  # its own is the one that is skipped
        refused = b"-ERR Command 'client|reply' not allowed inside a transaction\r\n"
        self.assertEqual(self.one.ask("MULTI", "CLIENT REPLY OFF", "RESET"), OK + refused + b"+RESET\r\n")
