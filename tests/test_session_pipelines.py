"""Pipelines of one client: what is executed by columns, together or at once, is answered as if it came one by one."""

from __future__ import annotations

from typing import Any
from unittest import mock

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.commands.registry import table as commands
from kvstore.session.hooks import Executed
from kvstore.store.log import Purpose
from kvstore.store.operations import decode
from kvstore.store.store import Store
from kvstore.values import TYPES
from kvstore.values.strings import encode_set
from tests.kit.harness import keys_in
from tests.kit.serving import NIL, OK, Serving, SessionTestCase, to_wire


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

    def test_pops(self) -> None:
        """Of as many elements as 50 clients ask for who send 16 requests at a time; but long ones one by one."""
        fills = {"LPOP": "RPUSH list {}", "RPOP": "RPUSH list {}", "SPOP": "SADD set {}", "ZPOPMIN": "ZADD sorted 1 {}"}
        for name, fill in fills.items():
            self.spy(commands.by_name[name.encode()])
            for length, count, at_once in ((100, 800, [name]), (LONG_STRING_BYTES, 8, [])):
                self.one.told(*(fill.format(f"{number:0{length}}") for number in range(count)))
                self.at_once.clear()
                replies = self.one.told(*[f"{name} {fill.split()[1]}"] * count)
                self.assertEqual((replies.count(b"$%d\r\n" % length), self.at_once), (count, at_once))

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
