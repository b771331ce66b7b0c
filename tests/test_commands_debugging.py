"""DEBUG: who may use it, and what it does."""

from __future__ import annotations

from kvstore.base.reply import OK, Status
from kvstore.wire import resp
from tests.kit.harness import CommandTestCase
from tests.kit.serving import Serving
from tests.kit.valkey import ValkeyTestCase

_NO = "0" * 40
_VALUES = """
    SET s hello
    SET n 12
    RPUSH l a b c 1 2
    SADD is 1 2 3
    SADD ss a b c
    HSET h f v g w
    ZADD z 1 a 2.5 b inf c -0.1 d
    XADD st 1-1 a b c d
    XADD st 2-1 a b
    SET e v EX 1000
    SELECT 3
    SET x y
    SELECT 0
"""


class DebugTestCase(CommandTestCase):
    """Allowed."""

    def setUp(self) -> None:
        """Allow it to those on this machine."""
        super().setUp()
        self.allow("local")

    def allow(self, whom: str) -> None:
        """The option of the start was this."""
        self.rig.server.configuration._values["enable-debug-command"] = whom


class DebugTests(DebugTestCase):
    """One subcommand after the other."""

    def test_allowed(self) -> None:
        """To nobody, to those on this machine, to anybody; and that cannot be changed."""
        refusal = "ERR DEBUG command not allowed."
        far = self.rig.connect()
        far.client.address = "192.0.2.1:50000"
        allowed = {"no": [False, False], "local": [True, False], "yes": [True, True]}
        for whom, expected in allowed.items():
            self.allow(whom)
            replies = [self.do("DEBUG", "CHANGE-REPL-ID", by=each) for each in (self.rig.call, far)]
            self.assertEqual([reply == OK for reply in replies], expected)
            self.assertEqual([str(reply).startswith(refusal) for reply in replies], [not each for each in expected])
        self.assertIn("immutable", self.error("CONFIG", "SET", "enable-debug-command", "no"))

    def test_unknown(self) -> None:
        """What is not there, and a wrong number of words."""
        self.script("""
            DEBUG JMAP -> !ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.
            DEBUG SLEEP -> !ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.
            DEBUG OBJECT a -> !ERR no such key
            DEBUG LISTPACK a -> !ERR no such key
            DEBUG RELOAD FOO -> !ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.
            DEBUG ERROR OOPS\\x20it -> !OOPS it
            DEBUG ERROR OOPS -> !OOPS
            SET a x -> OK
            DEBUG LISTPACK a -> !ERR Not a listpack encoded object.
            DEBUG POPULATE x -> !ERR value is out of range, must be positive
            DEBUG PROTOCOL push -> !ERR RESP2 is not supported by this command
            DEBUG QUICKLIST-PACKED-THRESHOLD 100b -> OK
        """)
        self.assertIn(Status("SLEEP <seconds>"), self.do("DEBUG", "HELP"))

    def test_sleep(self) -> None:
        """It sleeps so many seconds, none for what is no number."""
        slept: list[float] = []
        self.rig.server.sleep = slept.append
        for seconds in ("0.5", "x", "-1", "2"):
            self.do("DEBUG", "SLEEP", seconds)
        self.assertEqual(slept, [0.5, 0, 0, 2])

    def test_object(self) -> None:
        """How a value is held, without its address."""
        self.do("RPUSH", "l", "a")
        told = self.do("DEBUG", "OBJECT", "l").text.split()
        self.assertEqual(
            told[2:], ["refcount:1", "encoding:listpack", "serializedlength:9", "lru:0", "lru_seconds_idle:0"]
        )

    def test_populate(self) -> None:
        """Keys that are there stay."""
        self.script("""
            SET key:1 old -> OK
            DEBUG POPULATE 3 -> OK
            MGET key:0 key:1 key:2 key:3 -> [b'value:0', b'old', b'value:2', None]
            DEBUG POPULATE 1 pre 10 -> OK
            GET pre:0 -> b'value:0\\x00\\x00\\x00'
            DEBUG SET-ACTIVE-EXPIRE 0 -> OK
        """)
        self.assertFalse(self.rig.server.removes_expired)

    def test_digest(self) -> None:
        """The order in which sets and hashes came to be is none of it, that of lists is."""
        self.do("SADD", "s1", *range(1000))
        self.do("SADD", "s2", *reversed(range(1000)))
        self.do("RPUSH", "l1", 1, 2)
        self.do("RPUSH", "l2", 2, 1)
        s1, s2, l1, l2, none = (each.text for each in self.do("DEBUG", "DIGEST-VALUE", "s1", "s2", "l1", "l2", "no"))
        self.assertEqual((s1 == s2, l1 == l2, none), (True, False, _NO))
        self.assertNotEqual(self.do("DEBUG", "DIGEST").text, _NO)
        self.do("FLUSHALL")
        self.assertEqual(self.do("DEBUG", "DIGEST").text, _NO)


class ReloadTests(DebugTestCase):
    """DEBUG RELOAD, on a server with files."""

    def test_reload(self) -> None:
        """What is in the files, in flight or not even there is what is in memory; what is neither is named."""
        serving = Serving()
        serving.server.configuration._values["enable-debug-command"] = "local"
        client = serving.connect()
        client.told(*(line.strip() for line in _VALUES.strip().splitlines()))
        client.ask("SET k flying", "DEL n")
        serving.close()
        client.ask("SET k open", "RPUSH l x")
        self.assertEqual(client.ask("DEBUG RELOAD")[-5:], b"")
        serving.settle()
        serving.commit()
        client.released()
        self.assertEqual(client.told("DEBUG RELOAD NOSAVE", "DEBUG LOADAOF"), b"+OK\r\n" * 2)
        serving.table.values[b"k"] = b"forgotten"
        differs = b"-ERR what the files hold is not what is in memory: key 'k' in database 0\r\n"
        self.assertEqual(client.told("DEBUG RELOAD"), differs)


class AgainstValkeyTests(ValkeyTestCase, DebugTestCase):
    """A real Valkey's digits."""

    def setUp(self) -> None:
        """Start it."""
        ValkeyTestCase.setUp(self)
        DebugTestCase.setUp(self)

    def test_digest(self) -> None:
        """The same for the same values, and for the whole; the same values of each type in RESP3."""
        theirs = self.valkey.connect()
        self.addCleanup(theirs.close)
        for words in (line.encode().split() for line in _VALUES.strip().splitlines()):
            theirs.ask(words)
            self.do(*words)
        for request in ("DEBUG DIGEST", "DEBUG DIGEST-VALUE s n l is ss h z st e nosuch"):
            self.assertEqual(bytes(resp.encode(self.do(*request.split()), 2)), theirs.ask(request.encode().split())[0])
        theirs.ask([b"HELLO", b"3"])
        for kind in b"string integer double bignum null array verbatim true".split():
            asked = [b"DEBUG", b"PROTOCOL", kind]
            self.assertEqual(bytes(resp.encode(self.do(*asked), 3)), theirs.ask(asked)[0], kind)
