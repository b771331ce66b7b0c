"""Users at the wire: who may what, by each way in, and what becomes of connections whose users change."""

from __future__ import annotations

from kvstore.edge.arrivals import FEW
from kvstore.edge.connection_state import State
from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, GatheringTestCase, ProtocolTestCase

_NOAUTH = b"-NOAUTH Authentication required.\r\n"
_NO_KEY = b"-NOPERM No permissions to access a key\r\n"


def words(text: str) -> bytes:
    """A request in RESP."""
    return pack(*text.encode().split())


class TogetherTests(GatheringTestCase):
    """Clients whose requests come in one turn of the loop."""

    def get_in_one_turn(self, clients: list[Connection]) -> list[bytes]:
        """What each client gets that asks for the key `k`, all of them at once."""
        self.telling.ready = FEW
        for client in clients:
            client.send(words("GET k"))
        self.turn()
        return [client.received() for client in clients]

    def test_strangers(self) -> None:
        """Who has not said who it is gets nothing of what the others get, from its first request on."""
        admin = self.connect()
        self.assertEqual(admin.ask(words("SET k v") + words("CONFIG SET requirepass secret")), b"")
        self.turn()
        self.assertEqual(admin.received(), 2 * OK)
        clients = [self.connect() for _ in range(2 * FEW)]
        self.assertEqual(self.get_in_one_turn(clients), [_NOAUTH] * 2 * FEW)
        for client in clients[:FEW]:
            client.send(words("AUTH secret"))
        self.turn()
        self.assertEqual({client.received() for client in clients[:FEW]}, {OK})
        self.assertEqual(self.get_in_one_turn(clients), [b"$1\r\nv\r\n"] * FEW + [_NOAUTH] * FEW)
        self.assertEqual(clients[0].protocol.state, State.OPEN)

    def test_rights_that_change_under_clients(self) -> None:
        """They hold from the next request on, whichever way it goes; and go on when they come back."""
        clients = [self.connect() for _ in range(FEW)]
        admin = self.connect()
        self.server.users.set_user(b"admin", [b"on", b"nopass", b"+@all", b"~*"])
        admin.send(words("SET k v") + words("AUTH admin x"))
        self.turn()
        for rule, reply in (("resetkeys", _NO_KEY), ("~k", b"$1\r\nv\r\n"), ("allkeys", b"$1\r\nv\r\n")):
            admin.send(words(f"ACL SETUSER default {rule}"))
            self.turn()
            self.assertEqual(self.get_in_one_turn(clients), [reply] * FEW, rule)
        self.assertEqual({client.protocol.state for client in clients}, {State.OPEN})


class GrammarTests(ProtocolTestCase):
    """Each grammar."""

    def test_json_lines(self) -> None:
        """A JSON line says who one is, and is refused as any request is, in its own shape."""
        self.server.users.set_user(b"fred", [b"on", b">secret", b"+insert", b"+lookup", b"~a*"])
        self.server.users.set_default_password(b"other")
        client = self.connect()

        def said(line: str) -> bytes:
            reply = client.ask(line.encode() + b"\n")
            self.turn()
            return reply + client.received()

        self.assertIn(b'"failure","error":"Authentication required."', said('{"method":"lookup","key":"a"}'))
        self.assertIn(b'"failure","error":"Authentication required."', said('{"method":"nonsense"}'))
        self.assertIn(b"missing member 'password'", said('{"method":"auth","username":"fred"}'))
        self.assertIn(b"must be a string", said('{"method":"auth","username":"fred","password":1}'))
        told = said('{"method":"AUTH","username":"fred","password":"secret","id":7}')
        self.assertEqual(told, b'{"result":"success","id":7}\r\n')
        self.assertIn(b"success", said('{"method":"insert","key":"a","value":1}'))
        self.assertIn(b"No permissions to access a key", said('{"method":"lookup","key":"b"}'))
        self.assertIn(b"no permissions to run the 'remove' command", said('{"method":"remove","key":"a"}'))
        self.assertIn(b"no permissions to run the 'size' command", said("size"))
        self.assertIn(b"success", said('{"method":"auth","password":"other"}'))
        self.assertIn(b'"value":1', said("size"))

    def test_hello(self) -> None:
        """HELLO with AUTH does both, or neither; and a refused block ends by EXEC."""
        self.server.users.set_default_password(b"secret")
        client = self.connect()
        self.assertIn(b"-WRONGPASS", client.ask(words("HELLO 3 AUTH default wrong")))
        self.assertIn(b"-NOAUTH HELLO must be called", client.ask(words("HELLO 3")))
        self.assertEqual(client.ask(words("MULTI")), _NOAUTH)
        told = b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n"
        self.assertEqual(client.ask(words("EXEC")), told)
        self.assertTrue(client.ask(words("HELLO 3 AUTH default secret")).startswith(b"%7\r\n"))
        self.assertEqual(client.ask(words("GET a")), b"_\r\n")


class GoingOnTests(ProtocolTestCase):
    """What a client may go on doing when its user changes."""

    def fred(self, *rules: str) -> Connection:
        """A client that is logged in as fred."""
        self.server.users.set_user(b"fred", [b"reset", b"on", b"nopass", *(rule.encode() for rule in rules)])
        client = self.connect()
        self.assertEqual(client.ask(words("AUTH fred x")), OK)
        return client

    def set_fred(self, *rules: str) -> None:
        """Another client changes the rules of fred."""
        self.assertEqual(self.connect().ask(words(" ".join(("ACL SETUSER fred", *rules)))), OK)

    def test_subscribers(self) -> None:
        """Who is subscribed to what it may not any more is disconnected, and nobody else."""
        for request, stays in (
            ("SUBSCRIBE a1", True), ("SUBSCRIBE b", False), ("SSUBSCRIBE b", False), ("PSUBSCRIBE a*", True),
            ("PSUBSCRIBE a1", False),
        ):  # fmt: skip
            fred = self.fred("+@all", "&a*", "&b", "&a1")
            self.assertIn(b"subscribe", fred.ask(words(request)))
            self.set_fred("resetchannels", "&a*")
            self.assertEqual(fred.transport.aborted, not stays, request)
        self.assertIn(b"-NOPERM No permissions to access a channel", self.fred("+@all", "&b").ask(words("SUBSCRIBE a")))

    def test_monitors(self) -> None:
        """Who is in MONITOR, and may not be, is disconnected."""
        fred = self.fred("+@all", "~*", "&*", "db=0")
        self.assertEqual(fred.ask(words("MONITOR")), OK)
        self.set_fred("-get")
        self.assertFalse(fred.transport.aborted)
        self.set_fred("-monitor")
        self.assertTrue(fred.transport.aborted)

    def test_who_waits(self) -> None:
        """A request that waited is looked at again when it would be done; what it waited for is left to others."""
        fred = self.fred("+@all", "~*")
        self.assertEqual(fred.ask(words("BLPOP l 0")), b"")
        self.set_fred("resetkeys")
        self.connect().ask(words("RPUSH l x"))
        self.turn()
        self.assertEqual(fred.received(), _NO_KEY)
        self.assertEqual(fred.ask(words("PING")), b"+PONG\r\n")
        self.assertEqual(self.connect().ask(words("LLEN l")), b":1\r\n")
        self.assertIn(
            b"calls=0,usec=0,", self.connect().ask(words("INFO commandstats")).partition(b"cmdstat_blpop:")[2]
        )

    def test_deleted(self) -> None:
        """The clients of a user that is deleted are disconnected; one's own has its answer before."""
        one, other = self.fred("+@all"), self.fred("+@all")
        self.assertEqual(other.ask(words("ACL DELUSER fred") + words("GET a")), b":1\r\n")
        self.assertTrue(one.transport.aborted)
        self.assertTrue(other.transport.disconnecting)

    def test_deleted_in_a_block(self) -> None:
        """What its block asks for behind that is refused."""
        fred = self.fred("+@all", "~*")
        fred.ask(words("MULTI") + words("ACL DELUSER fred") + words("SET a 1"))
        self.assertEqual(fred.ask(words("EXEC")), b"*2\r\n:1\r\n" + _NOAUTH)
