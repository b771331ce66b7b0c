"""One client's session: when its replies may leave, in which order, and what becomes of requests that fail."""

from __future__ import annotations

import errno
import itertools
from typing import Any
from unittest import mock

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.base.reply import Status
from kvstore.commands.registry import table as commands
from kvstore.session.hooks import Executed, Hooks
from kvstore.store.log import Purpose
from kvstore.store.operations import decode
from kvstore.store.store import Store
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from kvstore.wire.resp import pack
from tests.kit.harness import keys_in, watched
from tests.kit.serving import NIL, OK, Serving, SessionTestCase, to_wire


class HoldingTests(SessionTestCase):
    """Promise 1: a reply leaves when every change that it tells of is on disk."""

    def test_a_write_waits_for_its_commit(self) -> None:
        """Neither closing the commit nor writing it lets the reply go: settling does."""
        self.assertEqual(self.one.ask("SET a 1"), b"")
        self.assertEqual(self.one.session.waits_for, 1)
        self.serving.close()
        self.assertEqual(self.one.released(), b"")
        self.serving.settle()
        self.assertEqual(self.one.released(), OK)
        self.assertEqual((self.one.session.waits_for, self.one.session.held_bytes), (0, 0))

    def test_a_read_of_an_untouched_key_does_not_wait(self) -> None:
        """Other keys' changes are none of its business, whether open or in flight."""
        self.one.ask("SET a 1")
        self.assertEqual(self.two.ask("GET b", "EXISTS c d", "PING"), NIL + b":0\r\n+PONG\r\n")
        self.serving.close()
        self.assertEqual(self.two.ask("GET b"), NIL)

    def test_a_read_of_a_pending_key_waits(self) -> None:
        """It tells of a change that a crash could still take back."""
        self.one.ask("SET a 1")
        for request, reply in (("GET a", b"$1\r\n1\r\n"), ("MGET b a", b"*2\r\n$-1\r\n$1\r\n1\r\n")):
            other = self.serving.connect()
            self.assertEqual(other.ask(request), b"")
            self.assertEqual(other.session.waits_for, 1)
            self.addCleanup(lambda other=other, reply=reply: self.assertEqual(other.released(), reply))
        self.serving.commit()

    def test_a_read_waits_for_the_newest_change_of_its_key(self) -> None:
        """A key in flight is waited for; a key that changed again meanwhile, until that is settled too."""
        self.one.ask("SET a 1", "SET b 1")
        self.serving.close()
        self.one.ask("SET a 2")
        three = self.serving.connect()
        self.assertEqual(self.two.ask("GET b") + three.ask("GET a"), b"")
        self.serving.settle()
        self.assertEqual((self.two.released(), three.released()), (b"$1\r\n1\r\n", b""))
        self.assertEqual(self.one.released(), OK * 2)
        self.serving.commit()
        self.assertEqual(three.released(), b"$1\r\n2\r\n")

    def test_a_read_of_the_whole_table_waits(self) -> None:
        """DBSIZE, KEYS, QUERY tell of every change there is."""
        for request, reply in (
            ("DBSIZE", b":1\r\n"),
            ("KEYS z*", b"*0\r\n"),
            ("query name 1\n", b'{"result":"success","value":[]}\r\n'),
            ('{"method":"size"}', b'{"result":"success","value":1}\r\n'),
        ):
            serving = Serving()
            one, two = serving.connect(), serving.connect()
            one.ask("SET a 1")
            self.assertEqual(two.ask(request), b"", request)
            serving.commit()
            self.assertEqual(two.released(), reply)

    def test_after_a_flush_every_read_waits(self) -> None:
        """FLUSHALL changes keys that nobody names, absent ones too."""
        self.one.ask("SET a 1")
        self.serving.commit()
        self.one.ask("FLUSHALL")
        self.assertEqual(self.two.ask("GET never"), b"")
        self.serving.commit()
        self.assertEqual(self.two.released(), NIL)

    def test_a_write_that_changes_nothing_waits_for_what_it_saw(self) -> None:
        """SET NX that finds the key, and DEL that finds none, tell of changes of others."""
        self.one.ask("SET a 1")
        self.assertEqual(self.two.ask("SET a 2 NX"), b"")
        self.serving.commit()
        self.assertEqual(self.two.released(), NIL)
        self.assertEqual(self.two.ask("SETNX a 3", "DEL none"), b":0\r\n:0\r\n")

    def test_an_error_waits_for_what_it_saw(self) -> None:
        """That a value is no number is news of a change; that another key is missing, or a command, is none."""
        self.one.ask("SET a text")
        self.assertTrue(self.two.ask("LOOKUP b", "NONSENSE").startswith(b"-ERR no such key\r\n-ERR unknown command"))
        self.assertEqual(self.two.ask("INCR a"), b"")
        self.serving.commit()
        self.assertEqual(self.two.released(), b"-ERR value is not an integer or out of range\r\n")

    def test_replies_keep_their_order(self) -> None:
        """What does not wait itself still waits behind what does, within a batch and across batches."""
        self.assertEqual(self.one.ask("PING", "SET a 1", "GET b"), b"")
        self.assertEqual(self.one.ask("PING"), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), b"+PONG\r\n" + OK + NIL + b"+PONG\r\n")

    def test_releases_as_far_as_settled(self) -> None:
        """Batches that wait for later commits stay; what is held is counted in bytes."""
        self.one.ask("SET a 1")
        self.serving.close()
        self.one.ask("SET a 2", "PING")
        self.assertEqual(self.one.session.held_bytes, len(OK + OK + b"+PONG\r\n"))
        self.serving.settle()
        self.assertEqual(self.one.released(), OK)
        self.assertEqual((self.one.session.held_bytes, self.one.session.waits_for), (len(OK + b"+PONG\r\n"), 2))

    def test_pushed_data_keeps_its_place(self) -> None:
        """What is sent unasked goes behind replies that are held."""
        self.one.session.push(Status("early"), 0)
        self.assertEqual(self.one.released(), b"+early\r\n")
        self.one.ask("SET a 1")
        self.one.session.push(Status("late"), 0)
        self.assertEqual(self.one.released(), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), OK + b"+late\r\n")

    def test_every_grammar_waits(self) -> None:
        """Words and JSON lines go another way through the session, with the same promise."""
        lookup = '{"method":"lookup","key":"%s"}'
        for write, read, other in (
            ("SET a 1\n", "GET a\n", "GET b\n"),
            ("insert a 1\n", "lookup a\n", "lookup b\n"),
            ('{"method":"insert","key":"a","value":1}', lookup % "a", lookup % "b"),
        ):
            serving = Serving()
            one, two, three = (serving.connect() for _ in range(3))
            self.assertEqual(one.ask(write) + two.ask(read), b"")
            self.assertNotEqual(three.ask(other), b"")
            serving.commit()
            self.assertNotEqual(one.released(), b"")
            self.assertIn(b"1", two.released())


class TransactionTests(SessionTestCase):
    """MULTI blocks, seen from the outside."""

    def test_a_block_is_one_request_of_one_commit(self) -> None:
        """Its replies leave together; QUEUED waits for nothing."""
        self.assertEqual(self.one.ask("MULTI", "SET a 1", "INCR a"), OK + b"+QUEUED\r\n" * 2)
        self.assertEqual(self.serving.table.values, {})
        self.assertEqual(self.one.ask("EXEC"), b"")
        self.assertEqual(self.serving.table.pending.requests, 1)
        commit = self.serving.close()
        self.assertEqual((commit.requests, commit.operations), (1, 2))
        self.serving.settle()
        self.assertEqual(self.one.released(), b"*2\r\n" + OK + b":2\r\n")

    def test_a_whole_block_in_one_batch(self) -> None:
        """It may begin and end inside a pipeline; what comes after it is executed at once again."""
        replies = self.one.ask("PING", "MULTI", "PING", "EXEC", "PING", "ECHO x")
        self.assertEqual(replies, b"+PONG\r\n+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n+PONG\r\n$1\r\nx\r\n")

    def test_a_json_line_inside_a_block(self) -> None:
        """It is refused, and so is the block: its client meant to run something that is missing from it."""
        self.one.ask("MULTI", "PING")
        self.assertIn(b'"result":"invalid"', self.one.ask('{"method":"size"}'))
        self.assertIn(b"EXECABORT", self.one.ask("EXEC"))

    def test_exec_with_arguments(self) -> None:
        """It ends the block, whose changes are not made, and watches nothing any more; outside one it is an error."""
        text = b"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"
        self.assertEqual(self.one.ask("EXEC now"), text)
        self.one.ask("WATCH a", "MULTI", "SET a 1")
        self.assertEqual(self.one.ask("EXEC now", "EXEC"), text + b"-ERR EXEC without MULTI\r\n")
        self.assertEqual((self.serving.table.values, self.one.client.watching), ({}, []))

    def test_a_watched_key(self) -> None:
        """A change by another client stops the block; one's own session knows before the change is on disk."""
        self.one.ask("WATCH a", "MULTI", "SET b 1")
        self.two.ask("SET a 1")
        self.assertEqual(self.one.ask("EXEC"), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), b"*-1\r\n")
        self.assertEqual(list(self.serving.table.values), [b"a"])

    def test_a_misspelt_command_poisons_the_block(self) -> None:
        """EXEC then runs nothing of it; a wrong number of words does the same, of DISCARD too."""
        for wrong in ("NONSENSE", "GET", "DISCARD now", "CLIENT NONSENSE"):
            self.one.ask("MULTI", "SET a 1", wrong)
            self.assertTrue(self.one.ask("EXEC").startswith(b"-EXECABORT "), wrong)
        self.assertEqual(self.serving.table.values, {})


class FailingTests(SessionTestCase):
    """Requests that cannot be done leave nothing behind."""

    def test_a_full_disk_refuses_writes_and_serves_reads(self) -> None:
        """The error is the one that Redis's clients know; with room again, writes are taken again."""
        self.one.ask("SET a 1")
        self.serving.commit()
        self.one.released()
        before = self.serving.state()
        self.serving.disk.capacity_bytes = 0
        replies = self.one.ask(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$600000\r\n" + b"x" * 600_000 + b"\r\n", "GET a")
        self.assertTrue(replies.startswith(b"-MISCONF "), replies[:100])
        self.assertTrue(replies.endswith(b"$1\r\n1\r\n"))
        self.assertEqual(self.serving.state(), before)
        self.serving.disk.capacity_bytes = None
        self.assertEqual(self.one.ask("SET a 2"), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), OK)

    def test_a_block_on_a_full_disk_is_undone_whole(self) -> None:
        """Its first commands fitted, one did not: none of them happened."""
        before = self.serving.state()
        self.serving.disk.capacity_bytes = 0
        self.one.ask("MULTI", "SET a 1", b"SET b " + b"x" * 600_000, "SET c 1")
        self.assertTrue(self.one.ask("EXEC").startswith(b"-MISCONF "))
        self.assertEqual(self.serving.state(), before)

    def break_command(self, name: bytes) -> None:
        """Let a command write, and then fail in a way that nobody meant."""
        row = commands.by_name[name]

        def broken(call: Any, *arguments: Any) -> Any:
            call.table.write(b"a", b"half-way")
            raise ZeroDivisionError("a bug, planted by a test")

        self.patch(row, "function", broken)

    def test_a_bug_is_undone_and_ends_the_connection(self) -> None:
        """The client is told something, the log everything; the others go on; in every grammar."""
        self.break_command(b"GETDEL")
        self.break_command(b"LOOKUP")
        for request, reply in (
            ("GETDEL a", b"-ERR internal error; "),
            ("GETDEL a\n", b"-ERR internal error; "),
            ("lookup a\n", b'{"result":"failure","error":"internal error; '),
            ('{"method":"lookup","key":"a","id":1}', b'{"result":"failure","error":"internal error; '),
        ):
            client = self.serving.connect()
            self.assertTrue(client.ask("PING", request, "PING").startswith(b"+PONG\r\n" + reply))
            self.assertTrue(client.session.closing)
            self.assertEqual(self.serving.table.values, {})
            self.assertEqual(self.serving.table.pending.operations, [])
        self.assertEqual(len(self.serving.bugs), 4)
        self.assertIn("127.0.0.1:50003", self.serving.bugs[0])
        self.assertEqual(self.two.ask("PING"), b"+PONG\r\n")

    def test_a_bug_in_the_middle_of_a_pipeline(self) -> None:
        """What came before it stands; what comes after it is not executed."""
        self.break_command(b"GETDEL")
        self.assertEqual(self.one.ask("SET b 1", "GETDEL a", "SET c 1"), b"")
        self.assertEqual(self.serving.table.values, {b"b": b"1"})
        self.serving.commit()
        self.assertTrue(self.one.released().startswith(OK + b"-ERR internal error"))

    def test_a_storage_fault_leaves_the_session(self) -> None:
        """It is no reply: whoever called must stop the server. Nothing that waited may leave."""
        self.one.ask("SET b 1")
        self.serving.disk.fail("write_at", errno.EIO, times=None)
        large = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$600000\r\n" + b"x" * 600_000 + b"\r\n"
        for request in (large, b'insert a "' + b"x" * 600_000 + b'"\n'):
            self.assertRaises(StorageFault, self.serving.connect().ask, request)
        self.assertEqual(self.one.released(), b"")
        self.assertRaises(StorageFault, self.serving.close)


class GroupLimitTests(SessionTestCase):
    """`Hooks.request_limit`: after so many write requests the open commit is closed at once."""

    def counted(self, limit: int, *requests: str) -> list[int]:
        """How many requests each commit had, when these came in one go."""
        self.serving.hooks.request_limit = limit
        sizes: list[int] = []

        def commit_now() -> None:
            sizes.append(self.serving.table.pending.requests)
            self.serving.commit()

        self.serving.hooks.commit_now = commit_now
        self.one.ask(*requests)
        return sizes

    def test_bytes(self) -> None:
        """Past a size the open commit is closed at once; at it, not yet."""
        self.serving.hooks.size_limit = len(pack(b"SET", b"a", b"1"))
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "SET a 1", "GET a"), [])
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "SET b 1", "SET c 1", "SET d 1"), [2, 2])
        self.assertEqual(self.counted(Hooks.NO_LIMIT, "MULTI", "SET a 2", "SET b 2", "EXEC"), [1])

    def test_one(self) -> None:
        """Each write request has a commit of its own; its reply need not wait when the batch is done."""
        self.assertEqual(self.counted(1, "SET a 1", "SET b 1", "MULTI", "SET a 2", "SET b 2", "EXEC"), [1, 1, 1])
        self.assertEqual(self.one.session.waits_for, 0)

    def test_words_and_json_count_too(self) -> None:
        """The other way through the session counts alike."""
        self.assertEqual(self.counted(2, "SET a 1\n", '{"method":"insert","key":"a","value":1}', "SET b 2\n"), [2])

    def test_reads_and_failures_do_not_count(self) -> None:
        """Only requests that changed something do."""
        self.assertEqual(self.counted(2, "SET a x", "GET a", "INCR a", "DEL none", "SETNX a 1", "SET b 1", "PING"), [2])

    def test_the_rest_waits(self) -> None:
        """What is left over is in the open commit, and so is the whole batch's reply."""
        self.assertEqual(self.counted(2, "SET a 1", "SET b 1", "SET c 1"), [2])
        self.assertEqual(self.one.session.waits_for, 2)


class BudgetTests(SessionTestCase):
    """A batch ends when its replies pass the budget; the rest is the backlog."""

    def test_ends_early(self) -> None:
        """The request that passes the budget is the last one executed."""
        client = self.serving.connect(budget_bytes=20)
        self.assertEqual(client.ask(*["PING"] * 10), b"+PONG\r\n" * 3)
        self.assertTrue(client.session.backlog)

    def test_at_the_limit(self) -> None:
        """Replies of just the budget do not pass it."""
        for budget, executed in ((20, 3), (21, 4), (22, 4)):
            client = self.serving.connect(budget_bytes=budget)
            self.assertEqual(client.ask(*["PING"] * 10), b"+PONG\r\n" * executed)

    def test_goes_on_when_told(self) -> None:
        """`run` executes more of it, in order, and what came meanwhile queues behind it."""
        client = self.serving.connect(budget_bytes=20)
        replies = client.ask(*[f"ECHO {number}" for number in range(10)])
        self.assertEqual(client.ask("ECHO late", "ECHO last"), b"")
        while client.session.backlog:
            client.session.run(20)
            replies += client.released()
        texts = [*map(str, range(10)), "late", "last"]
        self.assertEqual(replies, b"".join(b"$%d\r\n%b\r\n" % (len(text), text.encode()) for text in texts))

    def test_the_slow_way_has_the_same_budget(self) -> None:
        """Words, JSON lines, and blocks."""
        for request in ("PING\n", '{"method":"size"}', "MULTI"):
            client = self.serving.connect(budget_bytes=0)
            client.ask(*[request] * 5)
            self.assertTrue(client.session.backlog, request)
            for _ in range(4):
                self.assertTrue(client.session.backlog)
                client.session.run(0)
            self.assertFalse(client.session.backlog)

    def test_held_replies(self) -> None:
        """A backlog may stand behind replies that are held; all leave in order."""
        client = self.serving.connect(budget_bytes=0)
        self.assertEqual(client.ask("SET a 1", "GET a", "PING"), b"")
        self.serving.commit()
        self.assertEqual(client.released(), OK)
        client.session.run(100)
        self.assertEqual(client.released(), b"$1\r\n1\r\n+PONG\r\n")


class PipelineTests(SessionTestCase):
    """Pipelines of one command, which execute all at once: their replies wait as those of single requests do."""

    SETS = tuple(f"SET k{number} {number}" for number in range(8))
    GETS = tuple(f"GET k{number}" for number in range(8))
    VALUES = b"".join(b"$1\r\n%d\r\n" % number for number in range(8))

    def setUp(self) -> None:
        """Count how many pipelines execute at once. `at_once`: the name of each."""
        super().setUp()
        self.at_once: list[str] = []
        for name in (b"GET", b"SET"):
            self.spy(commands.by_name[name])

    def spy(self, row: Any) -> None:
        """Note when many of a row execute at once."""
        many = row.many

        def spied(*arguments: Any) -> Any:
            reply = many(*arguments)
            if reply is not None:
                self.at_once.append(row.name)
            return reply

        self.patch(row, "many", spied)

    def test_writes_wait_for_their_commit(self) -> None:
        """They are so many requests of one commit, and their replies leave with it."""
        self.assertEqual(self.one.ask(*self.SETS), b"")
        self.assertEqual((self.one.session.waits_for, self.one.session.held_bytes), (1, len(OK) * 8))
        commit = self.serving.close()
        self.assertEqual((commit.requests, commit.operations, len(keys_in(commit))), (8, 8, 8))
        self.assertEqual(self.one.released(), b"")
        self.serving.settle()
        self.assertEqual((self.one.released(), self.at_once), (OK * 8, ["SET"]))

    def test_reads_of_untouched_keys_do_not_wait(self) -> None:
        """Whatever else is open or in flight."""
        self.one.ask("SET other 1")
        self.assertEqual(self.two.ask(*self.GETS), NIL * 8)
        self.serving.close()
        self.assertEqual(self.two.ask(*self.GETS), NIL * 8)
        self.assertEqual(self.at_once, ["GET"] * 2)

    def test_reads_wait_for_the_newest_change_of_any_key(self) -> None:
        """One of the keys is in flight, another has changed since; both have to be on disk."""
        self.one.ask("SET k1 old")
        self.serving.close()
        self.assertEqual(self.two.ask(*self.GETS), b"")
        self.assertEqual(self.two.session.waits_for, 1)
        self.one.ask("SET k7 new")
        three = self.serving.connect()
        self.assertEqual(three.ask(*self.GETS), b"")
        self.assertEqual(three.session.waits_for, 2)
        self.serving.settle()
        self.assertEqual(self.two.released(), NIL + b"$3\r\nold\r\n" + NIL * 6)
        self.assertEqual(three.released(), b"")
        self.serving.commit()
        self.assertEqual(three.released(), NIL + b"$3\r\nold\r\n" + NIL * 5 + b"$3\r\nnew\r\n")

    def test_reads_wait_for_each_key(self) -> None:
        """The first one, the last one and those between."""
        for number in range(8):
            serving = Serving()
            serving.connect().ask(f"SET k{number} x")
            client = serving.connect()
            self.assertEqual((client.ask(*self.GETS), client.session.waits_for), (b"", 1))
            serving.close()
            client = serving.connect()
            self.assertEqual((client.ask(*self.GETS), client.session.waits_for), (b"", 1))

    def test_observed(self) -> None:
        """Who must know of each change is told: WATCH, the index of a subkey, the order of SCAN."""
        self.one.ask("WATCH k3", "MULTI", "PING")
        self.two.ask(*self.SETS)
        self.serving.commit()
        self.assertIn(b"*-1\r\n", self.one.ask("EXEC"))
        self.one.ask("query name 1\n")
        self.two.ask(*[f'SET k{number} {{"name":{number}}}' for number in range(8)])
        self.serving.commit()
        self.assertIn(b'["k1",{"name":1}]', self.one.ask("query name 1\n"))
        self.one.ask("FLUSHALL")
        cursor = self.one.ask("SCAN 0")
        self.two.ask(*self.SETS)
        self.serving.commit()
        self.assertEqual((cursor, self.one.ask("SCAN 0").count(b"k"), self.at_once), (b"", 8, []))

    def test_reads_wait_for_a_flush(self) -> None:
        """Open or in flight, it changed keys that nobody names."""
        self.one.ask("SET a 1")
        self.serving.commit()
        self.one.ask("FLUSHALL")
        self.assertEqual((self.two.ask(*self.GETS), self.two.session.waits_for), (b"", 2))
        self.serving.close()
        three = self.serving.connect()
        self.assertEqual((three.ask(*self.GETS), three.session.waits_for), (b"", 2))
        self.serving.settle()
        self.assertEqual(self.two.released() + three.released(), NIL * 16)

    def test_reads_of_a_change_that_was_undone(self) -> None:
        """A request that failed has changed nothing: there is nothing to wait for."""
        self.serving.table.write(b"k1", b"1")
        self.serving.table.pending.take_back()
        self.assertEqual(self.two.ask(*self.GETS), NIL * 8)

    def test_behind_held_replies(self) -> None:
        """Order is kept: a pipeline that waits for nothing itself waits behind what does."""
        self.one.ask("SET a 1")
        self.assertEqual(self.one.ask(*self.GETS), b"")
        self.assertEqual(self.one.ask("PING"), b"")
        self.serving.close()
        self.one.ask(*self.SETS)
        self.serving.settle()
        self.assertEqual(self.one.released(), OK + NIL * 8 + b"+PONG\r\n")
        self.serving.commit()
        self.assertEqual(self.one.released(), OK * 8)

    def test_a_key_written_twice(self) -> None:
        """The last one counts, in the table and in the log."""
        self.one.ask(*[f"SET a {number}" for number in range(8)])
        self.serving.commit()
        self.assertEqual((self.one.released(), self.one.ask("GET a", "DBSIZE")), (OK * 8, b"$1\r\n7\r\n:1\r\n"))
        again = Store(self.serving.disk.kill(), TYPES, lambda: 0, lambda length: bytes(length))
        self.assertEqual(again.table.values, {b"a": b"7"})

    def test_a_rest(self) -> None:
        """What the chunk holds besides is executed behind it, in its own way; what is cut off is waited for."""
        self.assertEqual(
            self.one.ask(*self.GETS, "PING\n", '{"method":"size"}', b"GET k0\r\nECHO hal\n")[: len(NIL) * 8], NIL * 8
        )
        self.assertEqual(self.two.ask(*self.GETS, b"*2\r\n$3\r\nGET\r\n$2\r\n"), NIL * 8)
        self.assertGreater(self.two.session.unread_bytes, 0)
        self.assertEqual(self.two.ask(b"k1\r\n"), NIL)
        self.assertEqual(self.at_once, ["GET"] * 2)

    def test_a_rest_that_is_a_protocol_error(self) -> None:
        """The pipeline is executed, the error is told behind its replies, and that is the end."""
        self.assertEqual(self.one.ask(*self.SETS, b"*1\r\n!oops\r\n", "PING\n"), b"")
        self.assertTrue(self.one.session.closing)
        self.serving.commit()
        self.assertEqual(self.one.released(), OK * 8 + b"-ERR Protocol error: expected '$', got '!'\r\n")
        self.assertEqual((len(self.serving.table.values), self.at_once), (8, ["SET"]))

    def test_values_past_the_budget(self) -> None:
        """They go one by one, and the rest is the backlog; a rest behind the pipeline queues there too."""
        self.one.ask(*self.SETS)
        self.serving.commit()
        for budget, at_once in ((7, []), (8, ["GET"])):
            self.at_once.clear()
            client = self.serving.connect(budget_bytes=budget)
            received = client.ask(*self.GETS, "ECHO x\n")
            self.assertEqual((bool(client.session.backlog), len(received) == 7 * 8 + 7), (not at_once, bool(at_once)))
            while client.session.backlog:
                client.session.run(budget)
                received += client.released()
            self.assertEqual(received, self.VALUES + b"$1\r\nx\r\n")

    def test_behind_a_backlog(self) -> None:
        """It queues, and is executed in its turn."""
        client = self.serving.connect(budget_bytes=0)
        received = client.ask("SET k0 0", "ECHO x", "ECHO y") + client.ask(*self.GETS)
        while client.session.backlog:
            client.session.run(0)
        self.serving.commit()
        self.assertEqual(received + client.released(), OK + b"$1\r\nx\r\n$1\r\ny\r\n$1\r\n0\r\n" + NIL * 7)

    def test_a_deadline(self) -> None:
        """A key that has one is read exactly, and loses it when it is written: then requests go one by one."""
        self.one.ask("SET k1 gone PX 5", "SET k2 soon PX 50")
        self.serving.commit()
        self.one.released()
        self.serving.now_ms += 5
        self.assertEqual(self.one.ask(*self.GETS), NIL * 2 + b"$4\r\nsoon\r\n" + NIL * 5)
        self.one.ask(*self.SETS)
        self.serving.now_ms += 50
        self.serving.commit()
        self.assertEqual(self.one.released(), OK * 8)
        self.assertEqual(self.one.ask(*self.GETS), self.VALUES)
        self.assertEqual(self.at_once, ["GET", "GET"])

    def test_a_full_disk(self) -> None:
        """Each write is refused, reads are served, and nothing is left behind."""
        self.one.ask(*self.SETS)
        self.serving.commit()
        self.one.released()
        before = self.serving.state()
        self.serving.disk.capacity_bytes = 0
        replies = self.one.ask(*[b"SET k%d " % number + b"x" * 600_000 for number in range(8)])
        self.assertEqual((replies.count(b"-MISCONF "), self.serving.state()), (8, before))
        with self.no_room():
            replies = self.one.ask(*self.SETS)
            self.assertEqual((replies.count(b"-MISCONF "), self.serving.state()), (8, before))
            self.assertEqual(self.serving.server.errors, 16)
            self.assertEqual(self.one.ask(*self.GETS), self.VALUES)

    def no_room(self) -> Any:
        """Let the log have no room left for even the smallest operation."""
        self.serving.table.pending.room = 0
        return mock.patch.object(self.serving.store.log, "reserve", self.full)

    def full(self, size_bytes: int, purpose: Purpose) -> int:
        """What a log says that has no room."""
        raise StorageFull("no space left")

    def test_a_storage_fault(self) -> None:
        """It leaves the session, as for a single request."""
        self.serving.table.pending.room = 0
        with mock.patch.object(self.serving.store.log, "reserve", side_effect=StorageFault("planted by a test")):
            self.assertRaises(StorageFault, self.one.ask, *self.SETS)
        self.assertEqual(self.one.released(), b"")

    def test_group_limit_and_watchers(self) -> None:
        """A limit on the group counts each write; who watches sees each request."""
        self.serving.hooks.request_limit = 3
        sizes: list[int] = []
        self.serving.hooks.commit_now = lambda: (
            sizes.append(self.serving.table.pending.requests), self.serving.commit())[0]  # fmt: skip
        self.one.ask(*self.SETS)
        self.one.ask(*self.GETS)
        self.assertEqual((sizes, self.at_once), ([3, 3], ["GET"]))
        seen: list[Executed] = []
        self.serving.hooks.watchers.append(seen.append)
        self.one.ask(*self.GETS)
        self.assertEqual([each.words[1] for each in seen], [b"k%d" % number for number in range(8)])

    def test_a_commit_that_is_large_enough(self) -> None:
        """Past the limit on its size it is closed at once, with the pipeline in it."""
        self.serving.hooks.size_limit = 8 * len(encode_set(b"k0", b"0")) - 1
        self.serving.hooks.commit_now = self.serving.commit
        self.assertEqual((self.one.ask(*self.SETS), self.at_once), (OK * 8, ["SET"]))

    def test_in_a_block(self) -> None:
        """It is queued, one by one, and counts to what the client began and did not end."""
        self.one.ask("MULTI")
        data = b"".join(map(to_wire, self.SETS))
        self.assertTrue(self.one.session.receive(data))
        self.assertEqual(self.one.session.take_ready(), b"+QUEUED\r\n" * 8)
        self.assertGreater(self.one.session.unfinished_bytes, len(data) // 2)
        self.one.ask("EXEC")
        self.assertEqual((self.serving.table.pending.requests, self.at_once), (1, []))

    def test_another_spelling_and_options(self) -> None:
        """Names in any case; what goes to the log is written as the log writes it. Options go one by one."""
        self.one.ask(*[request.lower() for request in self.SETS], *[request.lower() for request in self.GETS])
        self.one.ask(*[request + " NX" for request in self.SETS])
        operations = decode(b"".join(self.serving.table.pending.operations))
        self.assertEqual(operations, [[b"SET", b"k%d" % number, b"%d" % number] for number in range(8)])
        self.serving.commit()
        self.assertEqual(self.one.released(), OK * 8 + self.VALUES + NIL * 8)

    def test_protocol_3(self) -> None:
        """Nulls are written in the client's protocol."""
        self.one.ask("HELLO 3")
        self.assertEqual(self.one.ask(*self.GETS), b"_\r\n" * 8)

    def test_counted(self) -> None:
        """Every request counts, for the server, for its command and for the client."""
        self.serving.server.recent_ms += 1000
        self.one.ask(*self.GETS)
        counted = self.serving.server.statistics[commands.by_name[b"GET"]]
        self.assertEqual((self.serving.server.requests_executed, counted.calls), (8, 8))
        self.assertEqual(self.one.client.last_command.upper(), "GET")
        self.assertEqual(self.one.client.last_request_ms, self.serving.server.recent_ms)


class TypedTests(SessionTestCase):
    """What is answered where words are typed, and there only."""

    def test_no_such_command(self) -> None:
        """Redis's text says how to go on; that of a subcommand does so already."""
        text = b"-ERR unknown command 'foo', with args beginning with: 'bar' "
        self.assertEqual(self.one.ask("foo bar\r\n"), text + b"; try help\r\n")
        self.assertEqual(self.one.ask("foo bar"), text + b"\r\n")
        self.assertEqual(self.one.ask("client foo\n"), self.one.ask("client foo"))
        self.assertEqual(self.serving.server.errors, 4)

    def test_help(self) -> None:
        """Lines for a person; a program gets names and values, in a block too."""
        self.assertTrue(self.one.ask("help\r\n").startswith(b"  Type a request, then Enter."))
        lookup = b"  lookup key\r\n      Get the JSON value at a key.\r\n"
        self.assertEqual(self.one.ask("HELP Lookup\r\n"), lookup)
        self.assertIn(b'"value":{"usage":"lookup key","summary":', self.one.ask('{"method":"help","verb":"lookup"}'))
        self.assertTrue(self.one.ask("HELP lookup").startswith(b"*4\r\n$5\r\nusage\r\n"))
        self.assertEqual(self.two.ask("MULTI", "HELP lookup\r\n"), OK + b"+QUEUED\r\n")
        self.assertTrue(self.two.ask("EXEC").startswith(b"*1\r\n*4\r\n$5\r\nusage\r\n"))
        nothing = self.one.ask("help nosuch\r\n")
        self.assertEqual(nothing, b"""{"result":"failure","error":"no such command 'nosuch'"}\r\n""")

    def test_a_forgotten_quote(self) -> None:
        """It is answered as its verb is, the connection goes on, and a block that it was meant for does not run."""
        text = b"unbalanced quotes in request; the line was dropped"
        self.assertEqual(self.one.ask('SET a "b\n', "PING\n"), b"-ERR " + text + b"\r\n+PONG\r\n")
        self.assertEqual(self.one.ask('lookup "b\n'), b'{"result":"invalid","error":"' + text + b'"}\r\n')
        answers = self.one.ask("MULTI\n", "SET a 'b\n", "EXEC\n").splitlines()
        self.assertEqual(answers[2], b"-EXECABORT Transaction discarded because of previous errors.")
        self.assertEqual(self.serving.table.values, {})

    def test_telnet(self) -> None:
        """Its answers keep their place among the replies, and are no requests to whoever watches."""
        shown: list[Executed] = []
        self.serving.hooks.watchers.append(shown.append)
        self.assertEqual(self.one.ask("SET a 1\n", b"\xff\xf4\xff\xfd\x06PING\n"), b"")
        self.serving.commit()
        self.assertEqual(self.one.released(), OK + b"\xff\xfc\x06+PONG\r\n")
        self.assertEqual([each.words[0] for each in shown], [b"SET", b"PING"])


class ClosingTests(SessionTestCase):
    """How a session ends."""

    def test_quit(self) -> None:
        """Its reply leaves, behind what is held; what comes after it is not executed, nor what comes later."""
        self.assertEqual(self.one.ask("SET a 1", "QUIT", "SET b 1"), b"")
        self.assertTrue(self.one.session.closing)
        self.assertEqual(self.one.ask("SET c 1"), b"")
        self.assertFalse(self.one.session.backlog)
        self.serving.commit()
        self.assertEqual(self.one.released(), OK * 2)
        self.assertEqual(self.serving.table.values, {b"a": b"1"})

    def test_quit_in_words_and_in_a_block(self) -> None:
        """However it is said."""
        self.assertEqual(self.one.ask("quit\n", "PING"), OK)
        self.assertEqual(self.two.ask("MULTI", "QUIT", "PING"), OK * 2)
        self.assertTrue(self.one.session.closing and self.two.session.closing)

    def test_exit_and_ctrl_d(self) -> None:
        """As people who type say it; `exit` is no command in RESP."""
        self.assertEqual(self.one.ask("Exit\n", "PING"), OK)
        self.assertEqual(self.two.ask(b"MULTI\r\n", b"\x04\n", "PING"), OK * 2)
        self.assertTrue(self.one.session.closing and self.two.session.closing)
        self.assertTrue(self.serving.connect().ask("EXIT").startswith(b"-ERR unknown command 'EXIT'"))

    def test_http(self) -> None:
        """Nothing of it is executed, nor of a block before it; the edge is told, and the client."""
        told: list[tuple[str, bytes]] = []
        self.serving.hooks.report_foreign = lambda address, error: told.append((address, error.line))
        attack = b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET hacked 1\r\n" + pack(b"EXEC") + b'{"method":"size"}\r\n'
        refused = b"-ERR Protocol error: this port does not speak HTTP\r\n"
        self.assertEqual(self.one.ask(pack(b"PING") + attack), b"+PONG\r\n" + refused)
        self.assertEqual(self.two.ask("MULTI", "SET a 1", attack), OK + b"+QUEUED\r\n" + refused)
        self.assertEqual(self.two.ask("EXEC", "SET a 1"), b"")
        self.assertTrue(self.one.session.closing and self.two.session.closing)
        self.assertEqual(told, [(each.client.address, b"POST / HTTP/1.1") for each in (self.one, self.two)])
        self.assertEqual(self.serving.table.values, {})

    def test_protocol_error(self) -> None:
        """The requests before it are executed, the error is told, and that is the end."""
        replies = self.one.ask("PING", b"*1\r\n!oops\r\n", "PING")
        self.assertEqual(replies, b"+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n")
        self.assertTrue(self.one.session.closing)

    def test_an_invalid_json_line_is_no_end(self) -> None:
        """It is answered, and the next request is executed."""
        replies = self.one.ask('{"method":}', "PING")
        self.assertTrue(replies.startswith(b'{"result":"invalid","error":"the line is not one JSON object: '))
        self.assertTrue(replies.endswith(b"}\r\n+PONG\r\n"))

    def test_disconnected(self) -> None:
        """Nothing is kept of a client that is gone: replies, backlog, block, watched keys. Its changes stand."""
        client = self.serving.connect(budget_bytes=100)
        client.ask("WATCH a", "SET a 1", "MULTI", *["PING"] * 50)
        self.assertTrue(client.session.backlog)
        self.assertEqual(watched(self.serving.server), 1)
        client.session.disconnected()
        self.assertFalse(client.session.backlog)
        self.assertEqual(watched(self.serving.server), 0)
        self.assertIsNone(client.client.queued)
        self.serving.commit()
        self.assertEqual(client.released(), b"")
        self.assertEqual(self.two.ask("GET a"), b"$1\r\n1\r\n")

    def test_killed_by_itself(self) -> None:
        """CLIENT KILL of one's own connection gets its reply out first."""
        self.assertEqual(self.one.ask("CLIENT KILL ID 1 SKIPME no", "PING"), b":1\r\n")
        self.assertTrue(self.one.session.closing)


class CountingTests(SessionTestCase):
    """What the session tells of itself."""

    def test_requests_and_errors(self) -> None:
        """Every request counts, in every grammar; an error, too, as an error."""
        self.one.ask("PING", "NONSENSE", "PING\n", '{"method":"size"}', '{"method":"lookup","key":"none"}', "{oops}")
        server = self.serving.server
        self.assertEqual((server.requests_executed, server.errors), (6, 3))

    def test_time_of_the_last_request(self) -> None:
        """A client that sends is not idle, even if it sends only part of a request."""
        for sent in ("PING", b"*1\r\n$4\r\nPI\n"):
            self.serving.now_ms += 1000
            self.serving.server.recent_ms = self.serving.now_ms
            self.one.ask(sent)
            self.assertEqual(self.one.client.last_request_ms, self.serving.now_ms)
        self.assertEqual(self.one.session.unread_bytes, len(b"*1\r\n$4\r\nPI\n"))

    def test_last_command(self) -> None:
        """CLIENT LIST shows what a client did last."""
        for request, name in (("GET a", "GET"), ("set a 1", "SET"), ("CLIENT ID", "CLIENT|ID")):
            self.one.ask(request)
            self.assertEqual(self.one.client.last_command.upper(), name)

    def test_protocol_3(self) -> None:
        """HELLO 3 changes the encoding from its own reply on, in the middle of a batch."""
        self.one.ask("GET a", "HELLO 3", "GET a", "HELLO 2", "GET a")
        replies = self.two.ask("GET a", "HELLO 3", "GET a", "HELLO 2", "GET a")
        self.assertTrue(replies.startswith(NIL + b"%7\r\n"), replies)
        self.assertIn(b"*0\r\n_\r\n*14\r\n", replies)
        self.assertTrue(replies.endswith(NIL))


class WatchingTests(SessionTestCase):
    """Those who watch requests execute: the trace and MONITOR."""

    def setUp(self) -> None:
        """Watch."""
        super().setUp()
        self.seen: list[Executed] = []
        self.serving.hooks.watchers.append(self.seen.append)

    def test_what_is_shown(self) -> None:
        """Number, client, time, words, outcome and commit of each request, in order, in every grammar."""
        self.one.ask("SET a x")
        self.two.ask("GET a", "INCR a\n", '{"method":"lookup","key":"b"}', "NONSENSE 1")
        self.assertEqual([each.number for each in self.seen], [1, 2, 3, 4, 5])
        self.assertEqual([each.client for each in self.seen], [1, 2, 2, 2, 2])
        self.assertEqual({each.address for each in self.seen}, {"127.0.0.1:50001", "127.0.0.1:50002"})
        self.assertEqual({each.time_us for each in self.seen}, {self.serving.now_ms * 1000})
        self.assertEqual(
            [each.words for each in self.seen],
            [[b"SET", b"a", b"x"], [b"GET", b"a"], [b"INCR", b"a"], [b"lookup", b"b"], [b"NONSENSE", b"1"]],
        )
        self.assertEqual([each.outcome == "ok" for each in self.seen], [True, True, False, False, False])
        self.assertEqual(self.seen[2].outcome, "ERR value is not an integer or out of range")
        self.assertEqual([each.commit for each in self.seen][:3], [1, 1, 1])
        self.assertTrue(all(each.started_ns <= each.ended_ns for each in self.seen))

    def test_commit_of_a_read(self) -> None:
        """Zero for one that waits for nothing."""
        self.one.ask("SET a 1")
        self.two.ask("GET b", "PING")
        self.assertEqual([each.commit for each in self.seen], [1, 0, 0])

    def test_a_commit_in_the_middle_of_a_turn(self) -> None:
        """It lets others go on, whose requests come after the one that made it, and do not overlap with it."""

        def commit_now() -> None:
            self.serving.commit()
            self.two.ask("GET a")

        self.serving.hooks.request_limit = 1
        self.serving.hooks.commit_now = commit_now
        self.one.ask("SET a 1", "SET b 1\n", '{"method":"insert","key":"c","value":1}')
        self.assertEqual([each.client for each in self.seen], [1, 2, 1, 2, 1, 2])
        for one, following in itertools.pairwise(self.seen):
            self.assertLessEqual(one.ended_ns, following.started_ns)

    def test_monitor(self) -> None:
        """A client that says MONITOR is told to the edge; others are not."""
        monitors: list[int] = []
        self.serving.hooks.monitor = monitors.append
        self.one.ask("PING")
        self.two.ask("MONITOR")
        self.assertEqual(monitors, [2])
