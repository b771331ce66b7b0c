"""Clients that wait, and messages between clients, on connections: when they leave, and what a connection's end is."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from kvstore.edge.connection_state import State
from kvstore.wire.resp import pack
from tests.kit import waiting_commands
from tests.kit.edge import OK, Connection, GatheringTestCase, LateWriter

TAKE = pack(b"TAKE", b"k", b"0")
SHOUT = b"*2\r\n$5\r\nshout\r\n$2\r\nhi\r\n"


class WaitingTestCase(GatheringTestCase):
    """Two clients that wait, and one that does not."""

    options = {"idle_timeout_s": 10, "pause_reading_bytes": 5000}  # noqa: RUF012

    def setUp(self) -> None:
        """Connect them."""
        waiting_commands.add_to_table(self)
        super().setUp()
        self.first, self.second, self.giver = (self.connect() for _ in range(3))
        for client in (self.first, self.second):
            client.send(TAKE)
        self.turn()

    def give(self, *values: bytes) -> None:
        """In one turn."""
        self.giver.send(b"".join(pack(b"GIVE", b"k", value) for value in values))
        self.turn()


class WaitingTests(WaitingTestCase):
    """Replies to those who waited."""

    def test_with_the_commit(self) -> None:
        """Not before it is on disk, in the turn in which it is."""
        writer = self.commit._writer = LateWriter(self.store)
        self.give(b"1")
        self.assertEqual([client.received() for client in (self.first, self.giver)], [b"", b""])
        writer.finish()
        self.assertEqual([client.received() for client in (self.first, self.giver)], [pack(b"k", b"1"), OK])
        self.assertEqual(self.second.received(), b"")

    def test_goes_on(self) -> None:
        """What it sent meanwhile is executed, and it is served together with the others again."""
        self.first.send(pack(b"GET", b"k"))
        self.turn()
        self.assertEqual(self.first.received(), b"")
        self.give(b"1", b"2")
        self.turn()
        self.assertEqual(self.first.received(), pack(b"k", b"1") + b"$-1\r\n")
        self.assertEqual(self.second.received(), pack(b"k", b"2"))
        self.assertEqual({client.protocol.state for client in (self.first, self.second)}, {State.OPEN})  # type: ignore[attr-defined]

    def test_time_is_up(self) -> None:
        """There is a turn for it."""
        late = self.connect()
        late.send(pack(b"TAKE", b"k", b"50"))
        self.turn()
        self.clock.advance(0.05)
        self.turn()
        self.assertEqual(late.received(), b"*-1\r\n")

    def test_silence(self) -> None:
        """It is not dropped for it; others are."""
        self.server.recent_ms += 11_000
        self.factory.drop_late()
        self.assertEqual([client.transport.aborted for client in (self.first, self.giver)], [0, 1])

    def test_gone(self) -> None:
        """It takes nothing, also if it just sends no more: that is how a connection that was closed looks."""
        self.first.lose(ConnectionLost())
        self.second.end_input()
        self.give(b"1")
        self.assertEqual((self.second.received(), self.store.table.values), (b"", {b"k": b"1"}))
        self.assertTrue(self.second.transport.disconnecting)

    def test_waits_when_its_input_has_ended(self) -> None:
        """What came before the end is answered, what would wait is not."""
        self.giver.send(pack(b"ECHO", b"hi") + TAKE)
        self.giver.end_input()
        self.turn()
        self.assertEqual((self.giver.received(), self.giver.transport.disconnecting), (b"$2\r\nhi\r\n", True))
        self.assertNotIn(self.giver.protocol.client, self.server.waiting.places)  # type: ignore[attr-defined]

    def test_what_it_sends_meanwhile_has_a_limit(self) -> None:
        """Then it is not read from, until it is served."""
        while self.first.transport.reading:
            self.first.send(pack(b"ECHO", b"x" * 100))
            self.turn()
        self.assertGreater(self.first.protocol.session.unfinished_bytes, 5000)  # type: ignore[attr-defined]
        self.give(b"1")
        self.turn()
        self.assertTrue(self.first.transport.reading)
        self.assertGreater(self.first.received().count(b"x" * 100), 30)


class SavingTests(GatheringTestCase):
    """SAVE: who asks for a checkpoint waits for it, and nobody else does."""

    def setUp(self) -> None:
        """Two clients, and a compaction that can be begun."""
        super().setUp()
        self.saving, self.other = self.connect(), self.connect()
        self.error: str | None = None
        self.server = self.factory.server
        self.server.compact_now, self.server.save_error = lambda: not self.server.saving, lambda: self.error

    def end(self, error: str) -> bytes:
        """Begin a save, ask others, end it; returns the reply."""
        self.saving.send(b"SAVE\r\n")
        self.turn()
        self.other.send(b"SAVE\r\nPING\r\nBGSAVE CANCEL\r\n")
        self.turn()
        self.assertEqual(self.saving.received(), b"")
        replies = self.other.received().splitlines()
        self.assertEqual(replies[:2], [b"-ERR Background save already in progress", b"+PONG"])
        self.assertIn(b"is not cancelled", replies[2])
        self.error = error
        self.server.saving.try_all()
        self.turn()
        return self.saving.received()

    def test_well(self) -> None:
        """It is answered when the checkpoint is there; then a later request is."""
        self.assertEqual(self.end(""), OK)
        self.saving.send(b"PING\r\n")
        self.turn()
        self.assertEqual(self.saving.received(), b"+PONG\r\n")

    def test_badly(self) -> None:
        """It is told what went wrong."""
        self.assertEqual(self.end("no room"), b"-ERR no checkpoint was made: no room\r\n")

    def test_gone(self) -> None:
        """Who has gone meanwhile, or waits for something else, is not answered."""
        self.saving.send(b"SAVE\r\n")
        self.turn()
        self.other.send(b"CLIENT UNBLOCK 1\r\n")
        self.turn()
        self.assertEqual(self.saving.received(), b"-ERR the checkpoint is still being made\r\n")
        self.saving.send(b"BLPOP k 0\r\n")
        self.turn()
        self.error = ""
        self.server.saving.try_all()
        self.turn()
        self.assertEqual(self.saving.received(), b"")


class TellingTests(WaitingTestCase):
    """Messages from one client to the others."""

    def test_at_the_end_of_the_turn(self) -> None:
        """With what leaves then."""
        self.giver.send(pack(b"SHOUT", b"hi"))
        self.turn()
        self.assertEqual(self.told(self.first, self.second), [SHOUT] * 2)

    def test_no_earlier_than_the_commit(self) -> None:
        """A message of a change that a crash can take back is none yet."""
        writer = self.commit._writer = LateWriter(self.store)
        self.giver.send(pack(b"SET", b"a", b"1") + pack(b"SHOUT", b"hi"))
        self.turn()
        self.assertEqual(self.told(self.first, self.second), [b""] * 2)
        writer.finish()
        self.assertEqual(self.told(self.first, self.second, self.giver), [SHOUT, SHOUT, OK + b":3\r\n" + SHOUT])

    def told(self, *clients: Connection) -> list[bytes]:
        """What each has received."""
        return [client.received() for client in clients]
