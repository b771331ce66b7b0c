"""The connection: PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT, and CLIENT."""

from __future__ import annotations

from kvstore import __version__
from kvstore.commands.client import Traffic
from kvstore.commands.peer import Nobody
from tests.kit.harness import START_MS, CommandTestCase

BAD_NAME = "!ERR Client names cannot contain spaces, newlines or special characters."


class ConnectionTests(CommandTestCase):
    """One's own connection."""

    def test_ping_and_echo(self) -> None:
        """PING answers PONG or the message, ECHO the message."""
        self.script("""
            PING -> PONG
            ping hello -> b'hello'
            PING a b -> !ERR wrong number of arguments for 'ping' command
            ECHO \\xff -> b'\\xff'
            ECHO -> !ERR wrong number of arguments for 'echo' command
        """)

    def test_hello(self) -> None:
        """HELLO chooses the protocol, takes a name, and tells of the server; without arguments it only tells."""
        told = self.do("HELLO", 3, "AUTH", "default", "any", "setname", "me")
        self.assertEqual(
            told,
            {
                "server": "kvstore",
                "version": __version__,
                "proto": 3,
                "id": self.rig.call.client.identity,
                "mode": "standalone",
                "role": "master",
                "modules": [],
            },
        )
        self.assertEqual(self.rig.call.client.protocol, 3)
        self.assertEqual(self.do("CLIENT", "GETNAME"), b"me")
        self.assertEqual(self.do("HELLO")["proto"], 3)
        self.assertEqual(self.do("HELLO", 2)["proto"], 2)

    def test_hello_errors(self) -> None:
        """A HELLO that is refused changes neither protocol nor name."""
        self.script(f"""
            HELLO 4 -> !NOPROTO unsupported protocol version
            HELLO 1 -> !NOPROTO unsupported protocol version
            HELLO x -> !ERR Protocol version is not an integer or out of range
            HELLO 3 FOO -> !ERR Syntax error in HELLO option 'FOO'
            HELLO 3 AUTH a -> !ERR Syntax error in HELLO option 'AUTH'
            HELLO 3 SETNAME -> !ERR Syntax error in HELLO option 'SETNAME'
            HELLO 3 SETNAME a\\nb -> {BAD_NAME}
            HELLO 3 SETNAME me AUTH fred x -> !WRONGPASS invalid username-password pair or user is disabled.
        """)
        self.assertEqual(self.rig.call.client.protocol, 2)
        self.assertEqual(self.rig.call.client.name, b"")

    def test_auth(self) -> None:
        """There is one user, default, without a password; as in Redis any will do for it, but not a password alone."""
        self.assertRegex(self.error("AUTH", "x"), "^ERR AUTH <password> called without any password configured")
        self.script("""
            AUTH default x -> OK
            AUTH fred x -> !WRONGPASS invalid username-password pair or user is disabled.
            AUTH default x y -> !ERR syntax error
            AUTH -> !ERR wrong number of arguments for 'auth' command
        """)

    def test_select(self) -> None:
        """There are sixteen, each with keys of its own."""
        self.script("""
            SELECT 0 -> OK
            SET a 1 -> OK
            SELECT 15 -> OK
            GET a -> None
            SELECT 16 -> !ERR DB index is out of range
            SELECT -1 -> !ERR DB index is out of range
            SELECT x -> !ERR value is not an integer or out of range
        """)

    def test_reset(self) -> None:
        """RESET makes the connection as it was when it was new."""
        client = self.rig.call.client
        self.do("HELLO", 3, "SETNAME", "me")
        self.do("MONITOR")
        self.do("WATCH", "a")
        self.do("MULTI")
        self.assertEqual(self.do("RESET").text, "RESET")
        self.assertEqual((client.protocol, client.name, client.monitoring), (2, b"", False))
        self.assertEqual((client.queued, client.watching), (None, []))

    def test_quit(self) -> None:
        """QUIT, with whatever arguments, answers OK and has the connection closed."""
        self.assertEqual(self.do("QUIT", "now").text, "OK")
        self.assertTrue(self.rig.call.client.closing)


class ClientTests(CommandTestCase):
    """CLIENT and its subcommands."""

    def setUp(self) -> None:
        """Connect two more clients."""
        super().setUp()
        self.closed: list[int] = []
        self.others = [self.rig.connect(), self.rig.connect()]
        for call in (self.rig.call, *self.others):
            client = call.client
            client.address = f"10.0.0.{client.identity}:5000"
            client.peer = peer = Nobody()
            peer.close = lambda identity=client.identity: self.closed.append(identity)  # type: ignore[method-assign]

    def test_names(self) -> None:
        """A connection has a number, and a name and library of its own choice, of printable characters."""
        self.script(f"""
            CLIENT ID -> 1
            CLIENT GETNAME -> None
            CLIENT SETNAME me -> OK
            CLIENT GETNAME -> b'me'
            CLIENT SETNAME m\\x20e -> {BAD_NAME}
            CLIENT SETNAME \\xff -> {BAD_NAME}
            CLIENT SETNAME  -> OK
            CLIENT GETNAME -> None
            CLIENT SETINFO lib-name redis-py -> OK
            CLIENT SETINFO LIB-VER 5.0 -> OK
            CLIENT SETINFO lib-ver 5\\x200 -> !ERR lib-ver cannot contain spaces, newlines or special characters.
            CLIENT SETINFO foo bar -> !ERR Unrecognized option 'foo'
            CLIENT -> !ERR wrong number of arguments for 'client' command
            CLIENT FOO -> !ERR unknown subcommand 'FOO'. Try CLIENT HELP.
            CLIENT ID x -> !ERR wrong number of arguments for 'client|id' command
        """)
        self.assertEqual(self.rig.call.client.library_name, b"redis-py")

    def test_list(self) -> None:
        """CLIENT LIST has a line of fields for each connection, CLIENT INFO one's own."""
        client = self.rig.call.client
        self.do("CLIENT", "SETNAME", "me")
        self.do("CLIENT", "SETINFO", "LIB-NAME", "lib")
        self.do("WATCH", "a", "b")
        client.traffic = lambda: Traffic(9, "rw", 7, 8, 5, 1, 100, 200)
        client.last_request_ms = START_MS + 4000
        self.rig.call.server.recent_ms += 9999
        lines = self.do("CLIENT", "LIST").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(
            lines[0],
            "id=1 addr=10.0.0.1:5000 laddr=127.0.0.1:6380 fd=9 name=me age=9 idle=5 flags=N capa= db=0 sub=0 psub=0"
            " ssub=0 multi=-1 watch=2 qbuf=7 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=5 oll=1 omem=3"
            " tot-mem=15 events=rw cmd=client|list user=default redir=-1 resp=2 lib-name=lib lib-ver= tot-net-in=100"
            " tot-net-out=200 tot-cmds=0",
        )
        own = lines[0].replace("cmd=client|list", "cmd=client|info")
        self.assertEqual(self.do("CLIENT", "INFO").splitlines(), [own])
        self.assertEqual(self.do("CLIENT", "LIST", "ID", 3, 2, 99).splitlines(), lines[1:])

    def test_flags(self) -> None:
        """CLIENT LIST shows who monitors, who is inside MULTI, whose block will not run, and who is to be closed."""
        other = self.others[0].client
        self.do("MONITOR", by=self.others[0])
        self.do("WATCH", "a", by=self.others[0])
        self.do("SET", "a", 1)
        self.do("MULTI", by=self.others[0])
        self.do("GET", "a", by=self.others[0])
        other.closing = other.through_file = True
        line = self.do("CLIENT", "LIST", "ID", other.identity)
        self.assertIn(" flags=OxdcU ", line)
        self.assertIn(" multi=1 watch=0 ", line)
        self.assertIn(f" multi-mem={other.queued_bytes} ", line)

    def test_list_errors(self) -> None:
        """What CLIENT LIST cannot choose by is refused."""
        self.script("""
            CLIENT LIST FOO -> !ERR syntax error
            CLIENT LIST ID -> !ERR syntax error
            CLIENT LIST TYPE -> !ERR syntax error
            CLIENT LIST TYPE foo -> !ERR Unknown client type 'foo'
            CLIENT LIST ID x -> !ERR syntax error
        """)

    def test_kill_by_address(self) -> None:
        """CLIENT KILL address ends that connection; one's own when the reply has left."""
        self.assertEqual(self.do("CLIENT", "KILL", "10.0.0.2:5000").text, "OK")
        self.assertEqual(self.closed, [2])
        self.assertEqual(self.error("CLIENT", "KILL", "10.0.0.9:5000"), "ERR No such client")
        self.assertEqual(self.do("CLIENT", "KILL", "10.0.0.1:5000").text, "OK")
        self.assertEqual(self.closed, [2])
        self.assertTrue(self.rig.call.client.closing)

    def test_kill_by_filters(self) -> None:
        """CLIENT KILL with filters ends the connections that all of them let through, and counts them."""
        self.others[1].client.local_address = "10.9.9.9:6380"
        for filters, killed in (
            ("ID 2", [2]),
            ("ID 99", []),
            ("ADDR 10.0.0.3:5000", [3]),
            ("ADDR 10.0.0.3:5000 ID 2", []),
            ("LADDR 10.9.9.9:6380", [3]),
            ("TYPE normal", [2, 3]),
            ("TYPE master", []),
            ("USER default ID 3", [3]),
            ("SKIPME yes", [2, 3]),
        ):
            self.closed.clear()
            self.assertEqual(self.do("CLIENT", "KILL", *filters.split(" ")), len(killed), filters)
            self.assertEqual(self.closed, killed)
        self.assertFalse(self.rig.call.client.closing)
        self.assertEqual(self.do("CLIENT", "KILL", "ID", 1, "SKIPME", "no"), 1)
        self.assertTrue(self.rig.call.client.closing)

    def test_kill_errors(self) -> None:
        """Filters that make no sense are refused, and nobody is disconnected."""
        self.script("""
            CLIENT KILL -> !ERR wrong number of arguments for 'client|kill' command
            CLIENT KILL FOO bar -> !ERR syntax error
            CLIENT KILL ID 2 ADDR -> !ERR syntax error
            CLIENT KILL ID 0 -> !ERR client-id should be greater than 0
            CLIENT KILL ID 2 TYPE foo -> !ERR Unknown client type 'foo'
            CLIENT KILL USER fred -> !ERR No such user 'fred'
            CLIENT KILL SKIPME maybe -> !ERR syntax error
        """)
        self.assertEqual(self.closed, [])

    def test_switches(self) -> None:
        """NO-EVICT and NO-TOUCH are taken, on or off, and shown; RESET turns them off."""
        self.script("""
            CLIENT NO-EVICT on -> OK
            CLIENT NO-TOUCH on -> OK
            CLIENT NO-TOUCH maybe -> !ERR syntax error
            CLIENT IMPORT-SOURCE on -> !ERR Server is not in import mode
            CLIENT IMPORT-SOURCE OFF -> OK
            CLIENT CAPA redirect nosuch -> OK
        """)
        self.assertIn(" flags=eT capa=r ", self.do("CLIENT", "INFO"))
        self.do("CLIENT", "NO-EVICT", "OFF")
        self.assertIn(" flags=T capa=r ", self.do("CLIENT", "INFO"))
        self.do("RESET")
        self.assertIn(" flags=N capa=r ", self.do("CLIENT", "INFO"))

    def test_help(self) -> None:
        """CLIENT HELP lists the subcommands with their arguments and what they do."""
        lines = [line.text for line in self.do("CLIENT", "HELP")]
        self.assertEqual(lines[0], "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
        place = lines.index("SETNAME connection-name")
        self.assertEqual(lines[place + 1], "    Name this connection, for CLIENT LIST.")
