"""Who waits for keys, and who is told what: order, fairness, what is undone, when replies and messages may leave."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import Failure
from kvstore.commands.registry import table as commands
from kvstore.session.session import Session
from kvstore.wire.resp import pack
from tests.kit import waiting_commands
from tests.kit.serving import OK, UNLIMITED_BYTES, Connection, Serving


class WaitingTestCase(SynchronousTestCase):
    """One client that gives, and three that take."""

    def setUp(self) -> None:
        """Connect them."""
        waiting_commands.add_to_table(self)
        self.serving = Serving()
        self.giver = self.serving.connect()
        self.takers = [self.serving.connect() for _ in range(3)]

    def settled(self, connection: Connection) -> bytes:
        """What a client has got when all that changed is on disk."""
        self.serving.commit_if_changed()
        return connection.released()

    def assert_nobody_waits(self) -> None:
        """Nothing is left of those who did."""
        waiting, table = self.serving.server.waiting, self.serving.table
        self.assertEqual((waiting.places, waiting._tables, table.awaited), ({}, {}, {}))
        self.assertEqual(self.serving.clock.getDelayedCalls(), [])


class WaitTests(WaitingTestCase):
    """Waiting, and what ends it."""

    def test_nothing_to_wait_for(self) -> None:
        """What is there is taken at once."""
        self.giver.ask("GIVE k 1", "TAKE k 0")
        self.assertEqual(self.settled(self.giver), OK + pack(b"k", b"1"))

    def test_first_come_first_served(self) -> None:
        """One value for each, in the order in which they came; the reply leaves with the commit of the giver."""
        for taker in self.takers:
            self.assertEqual(taker.ask("TAKE k 0"), b"")
        self.giver.ask("GIVE k 1", "GIVE k 2")
        self.assertEqual([taker.released() for taker in self.takers], [b""] * 3)
        self.assertEqual([taker.woken for taker in self.takers], [1, 1, 0])
        self.serving.commit()
        replies = [taker.released() for taker in self.takers]
        self.assertEqual(replies, [pack(b"k", b"1"), pack(b"k", b"2"), b""])
        self.assertEqual(self.serving.table.values, {})
        self.giver.ask("GIVE k 3")
        self.assertEqual(self.settled(self.takers[2]), pack(b"k", b"3"))
        self.assert_nobody_waits()

    def test_before_any_other_request(self) -> None:
        """Also before the next one of the pipeline that gives; after a whole block, and not in the middle of it."""
        self.takers[0].ask("TAKE k 0")
        self.giver.ask("GIVE k 1", "GET k")
        self.assertEqual(self.settled(self.giver), OK + b"$-1\r\n")
        self.takers[1].ask("TAKE k 0")
        self.giver.ask("MULTI", "GIVE k 1", "GIVE k 2", "GET k", "EXEC")
        self.assertTrue(self.settled(self.giver).endswith(OK + OK + b"$1\r\n2\r\n"))
        self.assertEqual(self.settled(self.takers[1]), pack(b"k", b"2"))

    def test_what_is_past_its_deadline_is_not_there(self) -> None:
        """When a block that brought a key has taken longer than the key lasts, its clients wait on."""
        server = self.serving.server
        server.configuration._values["enable-debug-command"] = "yes"

        def sleep(seconds: float) -> None:
            self.serving.now_ms += round(seconds * 1000)

        server.sleep = sleep
        self.takers[0].ask("BLPOP k 0")
        self.giver.ask("MULTI", "RPUSH k 1", "PEXPIRE k 100", "DEBUG SLEEP 0.2", "EXISTS k", "EXEC")
        self.assertTrue(self.settled(self.giver).endswith(b"*4\r\n:1\r\n:1\r\n+OK\r\n:1\r\n"))
        self.assertEqual(self.settled(self.takers[0]), b"")
        self.giver.ask("RPUSH k 2")
        self.assertEqual(self.settled(self.takers[0]), pack(b"k", b"2"))

    def test_several_keys(self) -> None:
        """Whichever comes first; the client then waits for none of them any more."""
        self.takers[0].ask("TAKEANY 0 3 a b a")
        self.takers[1].ask("TAKE b 0")
        self.giver.ask("GIVE b 1", "GIVE b 2", "GIVE a 3")
        self.assertEqual(self.settled(self.takers[0]), pack(b"b", b"1"))
        self.assertEqual(self.settled(self.takers[1]), pack(b"b", b"2"))
        self.assertEqual(self.serving.table.values, {b"a": b"3"})
        self.assert_nobody_waits()

    def test_lines_by_type(self) -> None:
        """Who waits for strings is not asked when a list comes, a database of lists included; nor the other way."""
        self.takers[0].ask("TAKE k 0")
        self.takers[1].ask("BLPOP k 0")
        self.takers[2].ask("TAKE k 0")
        asked: list[Session] = []
        real = Session.try_again
        self.patch(Session, "try_again", lambda session: asked.append(session) or real(session))
        self.giver.ask("HSET k f v", "HSET k f w", "SWAPDB 0 1", "SWAPDB 0 1", "DEL k")
        self.assertEqual(asked, [])
        self.giver.ask("MULTI", "GIVE k 1", "DEL k", "RPUSH k 2", "EXEC")
        self.assertEqual(asked, [self.takers[1].session])
        self.giver.ask("GIVE k 3")
        self.assertEqual(asked, [taker.session for taker in (self.takers[1], self.takers[0])])
        self.giver.ask("GIVE k 4")
        replies = [self.settled(taker) for taker in self.takers]
        self.assertEqual(replies, [pack(b"k", b"3"), pack(b"k", b"2"), pack(b"k", b"4")])
        self.assert_nobody_waits()

    def test_a_chain(self) -> None:
        """What one gets may be what another waits for: all in one commit."""
        self.takers[0].ask("TAKE c 0")
        self.takers[1].ask("MOVEOVER b c 0")
        self.takers[2].ask("MOVEOVER a b 0")
        self.giver.ask("GIVE a 1")
        self.assertEqual(self.settled(self.takers[0]), pack(b"c", b"1"))
        self.assertEqual([self.settled(taker) for taker in self.takers[1:]], [pack(b"b", b"1"), pack(b"a", b"1")])
        self.assertEqual((self.serving.store.durable_sequence, self.serving.table.values), (1, {}))

    def test_a_circle_ends(self) -> None:
        """Each is served once."""
        self.takers[0].ask("MOVEOVER a b 0")
        self.takers[1].ask("MOVEOVER b a 0")
        self.giver.ask("GIVE a 1")
        self.assertEqual(self.settled(self.takers[1]), pack(b"b", b"1"))
        self.assertEqual(self.serving.table.values, {b"a": b"1"})

    def test_time_is_up(self) -> None:
        """Neither sooner nor later; who comes after it is not kept waiting."""
        self.takers[0].ask("TAKE k 50")
        self.takers[1].ask("TAKE k 0")
        self.serving.clock.advance(0.049)
        self.assertEqual(self.takers[0].released(), b"")
        self.serving.clock.advance(0.001)
        self.assertEqual(self.takers[0].released(), b"*-1\r\n")
        self.giver.ask("GIVE k 1")
        self.assertEqual(self.settled(self.takers[1]), pack(b"k", b"1"))
        self.assert_nobody_waits()

    def test_served_in_time(self) -> None:
        """The timer is no more."""
        self.takers[0].ask("TAKE k 50")
        self.giver.ask("GIVE k 1")
        self.assert_nobody_waits()

    def test_as_others_see_it(self) -> None:
        """INFO counts who waits, until some time or for ever, and keys, in all databases; CLIENT LIST has its flag."""
        self.takers[0].ask("TAKEANY 0 3 a b a")
        self.takers[1].ask("TAKE b 50")
        self.takers[2].ask("SELECT 3", "TAKE b 0")
        self.assertIn(b" flags=b capa= db=3 ", self.giver.ask("CLIENT LIST ID 4"))
        counts = re.compile(rb"(blocked_clients|clients_in_timeout_table|total_blocking_keys):(\d+)")
        self.assertEqual([count for _, count in counts.findall(self.giver.ask("INFO clients"))], [b"3", b"1", b"3"])
        for taker in self.takers:
            taker.close()
        self.assertEqual([count for _, count in counts.findall(self.giver.ask("INFO clients"))], [b"0", b"0", b"0"])

    def test_keys_not_to_lose(self) -> None:
        """INFO counts the keys that somebody waits for who is told when there is nothing."""
        counts = re.compile(rb"total_blocking_keys\w*:(\d+)")
        self.takers[0].ask("BLPOP s 0")
        self.giver.ask("XGROUP CREATE s g $ MKSTREAM")
        self.takers[1].ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
        self.assertEqual(counts.findall(self.settled(self.giver) + self.giver.ask("INFO clients")), [b"1", b"1"])
        self.giver.ask("DEL s")
        self.assertEqual(counts.findall(self.settled(self.giver) + self.giver.ask("INFO clients")), [b"1", b"0"])

    def test_unblocked(self) -> None:
        """As if time were up, or with an error; a client that does not wait is told nothing."""
        waiting, error = self.serving.server.waiting, Failure("said so", "UNBLOCKED")
        for taker in self.takers[:2]:
            taker.ask("TAKE k 0")
        clients = [taker.client for taker in self.takers]
        self.assertEqual([waiting.unblock(clients[0]), waiting.unblock(clients[1], error)], [True, True])
        self.assertFalse(waiting.unblock(clients[2]))
        self.assertEqual([taker.released() for taker in self.takers], [b"*-1\r\n", b"-UNBLOCKED said so\r\n", b""])
        self.assert_nobody_waits()

    def test_who_is_gone_takes_nothing(self) -> None:
        """However it went."""
        for taker in self.takers:
            taker.ask("TAKE k 50")
        self.takers[0].close()
        self.takers[1].session.hang_up()
        self.giver.ask("GIVE k 1")
        self.assertEqual(self.settled(self.takers[2]), pack(b"k", b"1"))
        self.assert_nobody_waits()

    def test_nobody_waits_in_a_block(self) -> None:
        """It gets what it would when time is up."""
        self.assertTrue(self.giver.ask("MULTI", "TAKE k 0", "EXEC").endswith(b"*1\r\n*-1\r\n"))

    def test_an_error(self) -> None:
        """Is the reply, and has changed nothing; the next one may fare no better, and the giver is not to blame."""
        for taker in self.takers[:2]:
            taker.ask("TAKE k 0")
        self.giver.ask("GIVE k wrong")
        self.assertEqual(self.settled(self.giver), OK)
        self.assertEqual([taker.released() for taker in self.takers[:2]], [b"-WRONGTYPE taken wrongly\r\n"] * 2)
        self.assertEqual(self.serving.table.values, {b"k": b"wrong"})
        self.assertEqual(self.serving.server.statistics[commands.by_name[b"TAKE"]].failed, 2)

    def test_a_bug(self) -> None:
        """It is that client which is closed, not the one that gives."""
        self.takers[0].ask("TAKE k 0")
        self.giver.ask("GIVE k bug")
        self.assertEqual(self.settled(self.giver), OK)
        self.assertRegex(self.takers[0].released(), b"^-ERR internal error")
        self.assertEqual((self.giver.session.closing, self.takers[0].session.closing), (False, True))
        self.assertEqual((len(self.serving.bugs), self.serving.table.values), (1, {b"k": b"bug"}))
        self.assert_nobody_waits()

    def test_what_comes_behind_waits_too(self) -> None:
        """In order, from the same chunk and later ones."""
        taker = self.takers[0]
        self.assertEqual(taker.ask("PING", "TAKE k 0", "PING"), b"+PONG\r\n")
        self.assertEqual(taker.ask("GET k"), b"")
        self.assertTrue(taker.session.is_blocked)
        self.assertFalse(taker.session.has_more)
        self.assertGreater(taker.session.unfinished_bytes, 0)
        self.giver.ask("GIVE k 1")
        self.assertEqual((taker.woken, taker.session.has_more), (1, True))
        taker.session.run(UNLIMITED_BYTES)
        self.assertEqual(self.settled(taker), pack(b"k", b"1") + b"+PONG\r\n$-1\r\n")

    def test_flags(self) -> None:
        """CLIENT LIST shows who waits."""
        self.takers[0].ask("TAKE k 0")
        flags = [
            line.split(b"flags=")[1][:2] for line in self.giver.ask("CLIENT LIST").splitlines() if b"flags" in line
        ]
        self.assertEqual(flags, [b"N ", b"b ", b"N ", b"N "])

    def test_counted_once(self) -> None:
        """A request that waited is one call."""
        self.takers[0].ask("TAKE k 0")
        self.giver.ask("GIVE k 1")
        self.assertEqual(self.serving.server.statistics[commands.by_name[b"TAKE"]].calls, 1)
        self.assertEqual(self.serving.server.requests_executed, 2)

    def test_watched(self) -> None:
        """The same while somebody looks on, and each request goes the long way."""
        self.serving.hooks.watchers.append(lambda executed: None)
        self.test_first_come_first_served()


class KeysTests(WaitingTestCase):
    """Which keys a request names may depend on the request."""

    def test_numbered(self) -> None:
        """As many as the request says; none where the number makes no sense."""
        ask = self.giver.ask
        self.assertEqual(ask("COMMAND GETKEYS TAKEANY 0 2 a b c"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        for words in ("0 3 a b", "0 x a b", "0 -1 a", "0 99999999999 a", "0 0 a"):
            self.assertEqual(
                ask(f"COMMAND GETKEYS TAKEANY {words}"), b"-ERR Invalid arguments specified for command\r\n"
            )
        self.assertIn(b"+movablekeys", ask("COMMAND INFO TAKEANY"))


class TellingTests(WaitingTestCase):
    """Messages to other clients, and several replies to one request."""

    SHOUT = b"*2\r\n$5\r\nshout\r\n$2\r\nhi\r\n"

    def test_at_once(self) -> None:
        """In the version of RESP of who is told; one's own comes behind the reply."""
        self.takers[0].ask("HELLO 3")
        self.assertEqual(self.giver.ask("PING", "SHOUT hi"), b"+PONG\r\n:4\r\n" + self.SHOUT)
        self.assertEqual([taker.released() for taker in self.takers], [b">" + self.SHOUT[1:], self.SHOUT, self.SHOUT])

    def test_no_earlier_than_the_reply(self) -> None:
        """What a block tells waits for its commit, and what is told behind a write for that write's."""
        self.giver.ask("MULTI", "SHOUT hi", "SET k 1", "EXEC")
        self.assertEqual(self.takers[0].released(), b"")
        self.assertEqual(self.settled(self.takers[0]), self.SHOUT)
        self.giver.released()
        self.giver.ask("SET k 2", "SHOUT hi")
        self.assertEqual((self.giver.released(), self.takers[0].released()), (b"", b""))
        self.assertEqual(self.settled(self.takers[0]), self.SHOUT)
        self.giver.released()
        self.giver.ask("SET k 3")
        self.giver.ask("SHOUT hi")
        self.assertEqual((self.giver.released(), self.takers[0].released()), (b"", b""))
        self.assertEqual(self.settled(self.giver), OK + b":4\r\n" + self.SHOUT)

    def test_of_a_request_that_failed(self) -> None:
        """Nobody is told; of a block, what its other commands tell."""
        self.assertEqual(self.giver.ask("SHOUT bad"), b"-ERR nobody is told\r\n")
        self.assertEqual(self.giver.ask("MULTI", "SHOUT hi", "SHOUT bad", "EXEC").count(b"shout"), 1)
        self.assertEqual(self.takers[0].released(), self.SHOUT)
        self.assertEqual(self.serving.server.messages, [])

    def test_several_replies(self) -> None:
        """One behind the other; inside a block too."""
        self.assertEqual(self.giver.ask("THRICE x"), b"$1\r\nx\r\n" * 2 + b"*1\r\n$1\r\nx\r\n")
        self.assertEqual(
            self.giver.ask("HELLO 3", "MULTI", "THRICE x", "EXEC").rpartition(b"+QUEUED\r\n")[2],
            b"*1\r\n" + b"$1\r\nx\r\n" * 2 + b">1\r\n$1\r\nx\r\n",
        )
