"""One client's session: when its replies may leave, in which order, and what becomes of requests that fail."""

from __future__ import annotations

import errno
import itertools
from typing import Any

from kvstore.base.errors import StorageFault
from kvstore.base.reply import Status
from kvstore.commands.registry import table as commands
from kvstore.session.hooks import Executed
from kvstore.wire.resp import pack
from tests.kit.harness import watched
from tests.kit.serving import NIL, OK, Serving, SessionTestCase


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
            ("MEMORY STATS", b"$10\r\nkeys.count\r\n:1\r\n$18\r\nkeys.bytes-per-key\r\n:0\r\n"),
            ("KEYS z*", b"*0\r\n"),
            ("query name 1\n", b'{"result":"success","value":[]}\r\n'),
            ('{"method":"size"}', b'{"result":"success","value":1}\r\n'),
        ):
            serving = Serving()
            one, two = serving.connect(), serving.connect()
            one.ask("SET a 1")
            self.assertEqual(two.ask(request), b"", request)
            serving.commit()
            self.assertIn(reply, two.released())

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
