"""MULTI, EXEC, DISCARD, WATCH, UNWATCH, and the dispatch beneath them."""

from __future__ import annotations

from types import GeneratorType
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from kvstore.base import slices
from kvstore.base.errors import Failure, RequestError
from kvstore.base.limits import MAX_TRANSACTION_BYTES, QUEUED_WORD_BYTES
from kvstore.base.reply import NULL_ARRAY, OK, QUEUED, advance
from kvstore.commands import dispatch, table, watches
from kvstore.commands.context import Call
from kvstore.commands.registry import WRITE, Command, Key
from tests.kit.harness import CommandTestCase, Rig, watched

ABORTED = "EXECABORT Transaction discarded because of previous errors."

#: What others do while a client watches k0 to k24, of which k0 to k19 are there.
_CHANGES = ["SET k3 2", "DEL k5", "SET k22 1", "DEL k23", "SET k30 1", "EXPIRE k7 0", "FLUSHALL", "tick", "PING"]


class BlockTests(CommandTestCase):
    """What is queued, what is run, what is refused."""

    def test_block(self) -> None:
        """Requests of a block are queued, and run at EXEC, in order."""
        self.assertEqual(self.do("MULTI"), OK)
        self.assertEqual(self.do("SET", "a", 1), QUEUED)
        self.assertEqual(self.do("INCR", "a"), QUEUED)
        self.assertEqual(self.rig.table.values, {})
        self.assertEqual(self.do("EXEC"), [OK, 2])
        self.assertEqual(self.do("GET", "a"), b"2")

    def test_empty_block(self) -> None:
        """A block of nothing answers nothing."""
        self.do("MULTI")
        self.assertEqual(self.do("EXEC"), [])

    def test_outside_a_block(self) -> None:
        """EXEC and DISCARD without MULTI are refused."""
        self.script("""
            EXEC -> !ERR EXEC without MULTI
            DISCARD -> !ERR DISCARD without MULTI
            MULTI -> OK
            DISCARD -> OK
            EXEC -> !ERR EXEC without MULTI
            MULTI x -> !ERR wrong number of arguments for 'multi' command
        """)

    def test_discard(self) -> None:
        """DISCARD forgets the block."""
        self.script("""
            MULTI -> OK
            SET a 1 -> QUEUED
            DISCARD -> OK
            EXISTS a -> 0
        """)

    def test_requests_that_poison(self) -> None:
        """A request that cannot be queued is refused, and then the whole block is."""
        for request, text in (
            ("NOSUCH", "ERR unknown command 'NOSUCH', with args beginning with: "),
            ("CLIENT FOO", "ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("DISCARD x", "ERR wrong number of arguments for 'discard' command"),
            ("SHUTDOWN", "ERR Command 'shutdown' not allowed inside a transaction"),
            ("MULTI", "ERR Command 'multi' not allowed inside a transaction"),
            ("WATCH a", "ERR Command 'watch' not allowed inside a transaction"),
        ):
            self.do("MULTI")
            self.do("SET", "a", 1)
            self.assertEqual(self.error(*request.split(" ")), text)
            self.assertEqual(self.do("SET", "a", 2), QUEUED)
            self.assertEqual(self.error("EXEC"), ABORTED)
            self.assertEqual(self.error("EXEC"), "ERR EXEC without MULTI")

    def test_errors_at_run_time(self) -> None:
        """A command that fails when the block runs is an error among the replies; the others stand."""
        self.do("SET", "a", "x")
        self.do("MULTI")
        for request in ("SET b 1", "INCR a", "INCRBY b x", "PING 1 2", "SET b 2 FOO", "INCR b"):
            self.assertEqual(self.do(*request.split(" ")), QUEUED)
        replies = self.do("EXEC")
        self.assertEqual([replies[0], replies[5]], [OK, 2])
        self.assertEqual(
            list(map(str, replies[1:5])),
            [
                "ERR value is not an integer or out of range",
                "ERR value is not an integer or out of range",
                "ERR wrong number of arguments for 'ping' command",
                "ERR syntax error",
            ],
        )
        self.assertEqual(self.rig.server.errors_by_code["ERR"], 4)

    def test_immediate_commands(self) -> None:
        """QUIT and RESET are not queued; RESET ends the block."""
        self.do("MULTI")
        self.assertEqual(self.do("QUIT"), OK)
        self.assertTrue(self.rig.call.client.closing)
        self.assertEqual(self.do("RESET").text, "RESET")
        self.assertEqual(self.error("EXEC"), "ERR EXEC without MULTI")

    def test_largest_block(self) -> None:
        """A block may hold as many bytes as the limit; one more poisons it, and what it held is let go."""
        client = self.rig.call.client
        room = MAX_TRANSACTION_BYTES - len("ECHO") - 2 * QUEUED_WORD_BYTES
        self.do("MULTI")
        self.assertEqual(self.do("ECHO", b"x" * room), QUEUED)
        self.assertEqual(client.queued_bytes, MAX_TRANSACTION_BYTES)
        self.assertRegex(self.error("PING"), "^ERR the transaction is larger than .* bytes; send several smaller ones$")
        self.assertEqual(client.queued, [])
        self.assertEqual(self.do("PING"), QUEUED)
        self.assertEqual(client.queued, [])
        self.assertEqual(self.error("EXEC"), ABORTED)
        self.do("MULTI")
        self.assertRegex(self.error("ECHO", b"x" * (room + 1)), "^ERR the transaction is larger")

    def test_poisoned_block_beats_a_changed_key(self) -> None:
        """A poisoned block is refused as such, whether or not a watched key changed."""
        self.do("WATCH", "a")
        self.do("SET", "a", 1)
        self.do("MULTI")
        self.do("NOSUCH")
        self.assertEqual(self.error("EXEC"), ABORTED)


class UndoTests(CommandTestCase):
    """What a command changed before it failed."""

    def setUp(self) -> None:
        """Add a command that breaks the rule and changes first."""
        super().setUp()
        self.raised: Exception = Failure("too late")

        def careless(call: Call, key: Key) -> Any:
            """Change, then fail."""
            call.table.write(key, b"half")
            call.table.delete(b"kept")
            raise self.raised

        careless.__annotations__["key"] = Key
        row = Command("CARELESS", WRITE, "test", careless)
        table.by_name[b"CARELESS"] = row
        self.addCleanup(table.by_name.pop, b"CARELESS")
        self.do("SET", "kept", 1)

    def test_alone(self) -> None:
        """A command that fails after it changed something is undone."""
        self.assertEqual(self.error("CARELESS", "a"), "ERR too late")
        self.assertEqual(self.rig.table.pending.undo, [])

    def test_in_a_block(self) -> None:
        """In a block just that command is undone."""
        self.do("MULTI")
        for request in ("SET a 1", "CARELESS a", "SET b 2"):
            self.do(*request.split(" "))
        self.assertEqual(str(self.do("EXEC")[1]), "ERR too late")
        self.assertEqual(self.rig.table.values, {b"kept": b"1", b"a": b"1", b"b": b"2"})

    def test_bug(self) -> None:
        """An exception nobody meant leaves EXEC, and the whole block is undone."""
        self.raised = ZeroDivisionError()
        self.do("MULTI")
        for request in ("SET a 1", "CARELESS a", "SET b 2"):
            self.do(*request.split(" "))
        self.assertRaises(ZeroDivisionError, self.do, "EXEC")
        self.assertEqual(self.rig.table.values, {b"kept": b"1"})


class WatchTests(CommandTestCase):
    """WATCH: whether EXEC runs. (What counts as a change is compared with Valkey, command by command.)"""

    def setUp(self) -> None:
        """Connect another client."""
        super().setUp()
        self.other = self.rig.connect()

    def exec_after(self, *requests: str) -> Any:
        """What a block of one PING answers after the other client's requests."""
        for request in requests:
            self.do(*request.split(" "), by=self.other)
        self.do("MULTI")
        self.do("PING", "ran")
        return self.do("EXEC")

    def test_unchanged(self) -> None:
        """If no watched key changed, the block runs."""
        self.do("WATCH", "a", "b")
        self.assertEqual(self.exec_after("SET c 1", "GET a", "DEL a"), [b"ran"])

    def test_changed(self) -> None:
        """If one did, by any client, EXEC answers a null array; once."""
        self.do("WATCH", "a", "b")
        self.assertIs(self.exec_after("SET b 1"), NULL_ARRAY)
        self.assertEqual(self.exec_after("SET b 2"), [b"ran"])
        self.do("WATCH", "a")
        self.do("SET", "a", 1)
        self.assertIs(self.exec_after(), NULL_ARRAY)

    def test_changed_before_the_watch(self) -> None:
        """What happened before WATCH does not count."""
        self.do("SET", "a", 1)
        self.do("WATCH", "a")
        self.assertEqual(self.exec_after(), [b"ran"])

    def test_watching_twice(self) -> None:
        """Watching a key again does not forget that it changed."""
        self.do("WATCH", "a")
        self.do("SET", "a", 1, by=self.other)
        self.do("WATCH", "a")
        self.assertIs(self.exec_after(), NULL_ARRAY)

    def test_expiry(self) -> None:
        """A key that expires between WATCH and EXEC has changed; one that had expired before WATCH has not."""
        self.do("SET", "a", 1, "PX", 10)
        self.do("WATCH", "a")
        self.rig.now_ms += 10
        self.assertIs(self.exec_after(), NULL_ARRAY)
        self.do("WATCH", "a")
        self.rig.table.remove_expired(10)
        self.assertEqual(self.exec_after(), [b"ran"])

    def test_flush(self) -> None:
        """A flush changes the watched keys that exist."""
        self.do("SET", "b", 1)
        self.do("WATCH", "a")
        self.assertEqual(self.exec_after("FLUSHALL"), [b"ran"])
        self.do("SET", "a", 1)
        self.do("WATCH", "a")
        self.assertIs(self.exec_after("FLUSHALL"), NULL_ARRAY)

    def test_unwatch_and_discard(self) -> None:
        """UNWATCH and DISCARD forget what was watched and what changed."""
        for forget in (["UNWATCH"], ["MULTI", "DISCARD"], ["RESET"]):
            self.do("WATCH", "a")
            self.do("SET", "a", 1, by=self.other)
            for word in forget:
                self.do(word)
            self.assertEqual(self.exec_after("SET a 2"), [b"ran"])

    def test_nothing_is_left_behind(self) -> None:
        """When nobody watches any more, or the watchers are gone, writes tell nobody, and no client is remembered."""
        watches = self.rig.server.watches[0]
        self.do("WATCH", "a", "b")
        self.do("WATCH", "b", "c", by=self.other)
        self.assertEqual(watches.count(), 3)
        self.assertEqual(self.rig.table._observers, [watches])
        self.do("MULTI", by=self.other)
        dispatch.release(self.other)
        self.assertEqual(watches.count(), 2)
        self.assertIsNone(self.other.client.queued)
        self.do("UNWATCH")
        self.assertEqual(watches.count(), 0)
        self.assertEqual(self.rig.table._observers, [])

    @given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(_CHANGES)), max_size=6), st.booleans())
    def test_many_keys_in_slices(self, changes: list[tuple[int, str]], leaves: bool) -> None:
        """A WATCH of many keys lets others go on between its slices; what they change counts from the beginning on."""
        with mock.patch.object(slices, "SLICE_NS", 0), mock.patch.object(watches, "_AT_ONCE", 1):
            rig = Rig()
            other = rig.connect()
            for number in range(20):
                rig.do("SET", f"k{number}", 1, *(("PX", 5) if number % 4 == 0 else ()))
            rig.do("WATCH", "k1", by=other)
            words = [b"WATCH", *(b"k%d" % number for number in range(25))]
            reply = dispatch.run(rig.call, table.find(words), words, None, advance)
            must, may, rounds = False, False, 0
            while isinstance(reply, GeneratorType):
                for _, change in filter(lambda each, now=rounds: each[0] == now, changes):  # type: ignore[misc]
                    before = dict(rig.table.values)
                    if change == "tick":
                        rig.now_ms += 10
                        must |= b"k0" in before  # a key that was watched expires
                    else:
                        rig.do(*change.split(), by=other)
                    must |= any(before.get(key) != rig.table.values.get(key) for key in words[1:])
                    may |= must or change == "FLUSHALL"
                reply = advance(reply)
                rounds += 1
            self.assertEqual(rounds, 25)
            if leaves:
                dispatch.release(rig.call)
                must = may = False
            rig.do("MULTI")
            ran = rig.do("EXEC") == []
            self.assertFalse(ran and must, changes)
            self.assertTrue(ran or may, changes)
            rig.do("UNWATCH", by=other)
            self.assertEqual((watched(rig.server), rig.table._observers), (0, []))

    def test_a_client_that_leaves_in_the_middle(self) -> None:
        """Nothing of its WATCH is left."""
        self.patch(slices, "SLICE_NS", 0)
        self.patch(watches, "_AT_ONCE", 1)
        words = [b"WATCH", *(b"k%d" % number for number in range(25))]
        reply = dispatch.run(self.rig.call, table.find(words), words, None, advance)
        for _ in range(10):
            next(reply)
        reply.close()
        dispatch.release(self.rig.call)
        self.assertEqual((watched(self.rig.server), self.rig.table._observers), (0, []))

    def test_refused_write_is_no_change(self) -> None:
        """A write that fails before it changes anything lets the block run."""
        self.do("SET", "a", "x")
        self.do("WATCH", "a")
        self.assertIsInstance(self.do("INCR", "a", by=self.other), RequestError)
        self.assertEqual(self.exec_after(), [b"ran"])


class DispatchTests(CommandTestCase):
    """What `answer` does besides."""

    def test_calls_are_counted(self) -> None:
        """The server counts how often a command ran, in a block too; what was refused is counted apart."""
        counted = self.rig.server.statistics[table.by_name[b"GET"]]
        self.do("GET", "a")
        self.error("GET")
        self.do("MULTI")
        self.do("GET", "a")
        self.assertEqual((counted.calls, counted.rejected), (1, 1))
        self.do("EXEC")
        self.assertEqual((counted.calls, counted.rejected), (2, 1))

    def test_undo_list_is_emptied(self) -> None:
        """After each request nothing of it can be undone any more."""
        self.do("SET", "a", 1)
        self.assertEqual(self.rig.table.pending.undo, [])
        self.error("INCRBY", "a", "x")
        self.assertEqual(self.rig.table.pending.undo, [])
