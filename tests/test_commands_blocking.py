"""Clients that wait for lists: who is served, when, with what, and who is not."""

from __future__ import annotations

from kvstore.base.errors import StorageFull
from kvstore.store.log import Purpose
from tests.kit.blocking import NULL_ARRAY, BlockingTestCase, array, string

WRONG = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


class ServedTests(BlockingTestCase):
    """Who waits is served by the request that brings an element."""

    def test_what_is_there_is_taken_at_once(self) -> None:
        """As the commands without the B do."""
        self.push("RPUSH a 1 2 3 4 5 6 7")
        for request, reply in (
            ("BLPOP a 0", array(b"a", b"1")),
            ("BRPOP b a 0", array(b"a", b"7")),
            ("BLMPOP 0 2 b a LEFT COUNT 2", b"*2\r\n" + string(b"a") + array(b"2", b"3")),
            ("BLMOVE a c LEFT RIGHT 0", string(b"4")),
            ("BRPOPLPUSH a c 0", string(b"6")),
            ("LRANGE c 0 -1", array(b"6", b"4")),
        ):
            self.assertEqual(self.waiters[0].told(request), reply, request)

    def test_first_come_first_served(self) -> None:
        """One element each, in the order in which they came, of one push or of several."""
        self.wait("BLPOP a 0", "BLPOP b a 0", "BRPOP a 0")
        self.assertEqual(self.push("RPUSH a 1 2"), b":2\r\n")
        self.assertEqual(self.served(), [array(b"a", b"1"), array(b"a", b"2"), b""])
        self.assertEqual(self.push("RPUSH a 3 4", "LRANGE a 0 -1"), b":2\r\n" + array(b"3"))
        self.assertEqual(self.served(), [b"", b"", array(b"a", b"4")])

    def test_all_commands(self) -> None:
        """Each gets what it would get if it came just then."""
        self.wait("BLMPOP 0 2 a b RIGHT COUNT 2", "BLMOVE c d LEFT LEFT 0", "BRPOPLPUSH e f 0")
        self.push("RPUSH b 1 2 3", "RPUSH c 1", "RPUSH e 1 2")
        popped = b"*2\r\n" + string(b"b") + array(b"3", b"2")
        self.assertEqual(self.served(), [popped, string(b"1"), string(b"2")])
        self.assertEqual(
            self.push("LRANGE b 0 -1", "LRANGE d 0 -1", "LRANGE e 0 -1", "LRANGE f 0 -1"),
            array(b"1") + array(b"1") + array(b"1") + array(b"2"),
        )

    def test_other_ways_to_come_to_be_there(self) -> None:
        """A list may come by another name, from another key, or from another database."""
        for request in (
            "RENAME x a",
            "COPY x a",
            "LMOVE x a LEFT LEFT",
            "SELECT 1|RPUSH a 1|MOVE a 0",
            "SELECT 1|RPUSH a 1|SWAPDB 0 1",
            "MULTI|RPUSH a 0|LPOP a|RPUSH a 1|EXEC",
        ):
            self.push("FLUSHALL", "SELECT 0", "RPUSH x 1")
            self.wait("BLPOP a 0")
            self.push(*request.split("|"))
            self.assertEqual(self.served()[0], array(b"a", b"1"), request)

    def test_a_chain_of_moves_settles_in_one_request(self) -> None:
        """In one commit; an element that goes round comes to rest."""
        self.wait("BLMOVE c d LEFT LEFT 0", "BLMOVE b c LEFT LEFT 0", "BLMOVE a b LEFT LEFT 0")
        self.assertEqual(self.push("RPUSH a 1"), b":1\r\n")
        self.assertEqual(self.served(), [string(b"1")] * 3)
        self.assertEqual(self.push("LRANGE d 0 -1", "EXISTS a b c"), array(b"1") + b":0\r\n")
        self.wait("BLMOVE x y LEFT LEFT 0", "BLMOVE y x LEFT LEFT 0")
        self.push("RPUSH x 1")
        self.assertEqual(self.served()[:2], [string(b"1")] * 2)
        self.assertEqual(self.push("LRANGE x 0 -1", "EXISTS y"), array(b"1") + b":0\r\n")

    def test_replies_leave_with_the_commit(self) -> None:
        """Not before what was pushed, and taken, is on disk."""
        self.wait("BLPOP a 0")
        self.pusher.ask("RPUSH a 1")
        self.assertEqual(self.served()[0], b"")
        self.serving.commit()
        self.assertEqual(self.served()[0], array(b"a", b"1"))
        self.assertEqual(self.serving.table.values, {})

    def test_other_types(self) -> None:
        """A string is nothing to wait for, nor an error while nothing else comes; then errors are as at once."""
        self.wait("BLPOP a b 0", "BLMOVE c a LEFT LEFT 0")
        self.push("SET a 1")
        self.assertEqual(self.served()[:2], [b"", b""])
        self.push("RPUSH b 1", "RPUSH c 1")
        self.assertEqual(self.served()[:2], [WRONG, WRONG])
        self.assertEqual(self.push("LLEN b", "LLEN c"), b":1\r\n:1\r\n")
        refused = WRONG + _error("timeout is not a float or out of range")
        self.assertEqual(self.waiters[0].told("BLPOP a 0", "BLPOP a x"), refused)

    def test_a_key_of_another_type_lets_nobody_jump_a_queue(self) -> None:
        """A block that makes a hash at one key and a list at another: the list is for whoever waited for it first."""
        self.wait("BLPOP a 0", "BLPOP a b 0")
        self.push("MULTI", "HSET b f 1", "RPUSH a 1", "EXEC")
        self.assertEqual(self.served(), [array(b"a", b"1"), b"", b""])

    def test_messages_of_the_request_come_first(self) -> None:
        """They were sent before the element was taken."""
        waiter = self.waiters[0]
        waiter.client.protocol = 3
        waiter.ask("SUBSCRIBE c")
        self.wait("BLPOP a 0")
        self.push("MULTI", "RPUSH a 1", "PUBLISH c hi", "EXEC")
        self.assertEqual(self.served()[0], b">3\r\n" + array(b"message", b"c", b"hi")[4:] + array(b"a", b"1"))


class UnservedTests(BlockingTestCase):
    """Who waits no more takes nothing."""

    def test_time_is_up(self) -> None:
        """Exactly then; a null array."""
        self.wait("BLPOP a 0.5", "BLMOVE a b LEFT LEFT 1", "BLPOP a 0")
        for advance_s, replies in ((0.499, [b"", b""]), (0.001, [NULL_ARRAY, b""]), (0.5, [b"", NULL_ARRAY])):
            self.serving.clock.advance(advance_s)
            self.assertEqual(self.served()[:2], replies)
        self.push("RPUSH a 1")
        self.assertEqual(self.served(), [b"", b"", array(b"a", b"1")])

    def test_gone(self) -> None:
        """A client that vanishes takes nothing; the next in line does."""
        self.wait("BLPOP a 0", "BLPOP a 0")
        self.waiters[0].session.disconnected()
        self.push("RPUSH a 1 2")
        self.assertEqual(self.served()[:2], [b"", array(b"a", b"1")])
        self.assertEqual(self.push("LRANGE a 0 -1"), array(b"2"))

    def test_client_unblock(self) -> None:
        """As if time were up, or with an error; not one who does not wait, nor in the middle of another's block."""
        self.wait("BLPOP a 0", "BLMOVE a b LEFT LEFT 0", "BLPOP a 0")
        first, second, third = (waiter.client.identity for waiter in self.waiters)
        self.assertEqual(self.push(f"CLIENT UNBLOCK {first}", f"CLIENT UNBLOCK {first}"), b":1\r\n:0\r\n")
        self.assertEqual(self.push(f"CLIENT UNBLOCK {second} error"), b":1\r\n")
        unblocked = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
        self.assertEqual(self.served(), [NULL_ARRAY, unblocked, b""])
        told = self.push("MULTI", "SET x 1", f"CLIENT UNBLOCK {third} ERROR", "INCR x", "LPOP x", "EXEC")
        self.assertTrue(told.endswith(b"*4\r\n+OK\r\n:1\r\n:2\r\n" + WRONG))
        self.assertEqual((self.served()[2], self.push("GET x")), (unblocked, string(b"2")))
        for request, error in (
            ("CLIENT UNBLOCK x", "value is not an integer or out of range"),
            ("CLIENT UNBLOCK x FOO", "CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ):
            self.assertEqual(self.push(request), _error(error))

    def test_in_a_block_nobody_waits(self) -> None:
        """They answer at once, as Valkey has it."""
        self.push("MULTI", "BLPOP a 0", "BLMOVE a b LEFT LEFT 0", "BRPOPLPUSH a b 0", "BLMPOP 0 1 a LEFT", "RPUSH a 1")
        told = self.push("BRPOP a 0", "EXEC")
        nulls = NULL_ARRAY + b"$-1\r\n" * 2 + NULL_ARRAY
        self.assertTrue(told.endswith(b"*6\r\n" + nulls + b":1\r\n" + array(b"a", b"1")), told)

    def test_a_full_disk(self) -> None:
        """A move that finds no room is an error; the element stays."""
        self.wait("BLMOVE a b LEFT LEFT 0")
        pending, room = self.serving.store.pending, [1]
        reserve = pending.reserve

        def full(size_bytes: int, purpose: Purpose) -> int:
            if not room:
                raise StorageFull("no space left on device")
            room.clear()
            return size_bytes

        pending.reserve, pending.room = full, 0
        self.assertEqual(self.push("RPUSH a 1"), b":1\r\n")
        pending.reserve = reserve
        self.assertIn(b"MISCONF", self.served()[0])
        self.assertEqual(self.push("LRANGE a 0 -1", "EXISTS b"), array(b"1") + b":0\r\n")


def _error(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode()
