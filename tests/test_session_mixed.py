"""Requests of many clients, sorted by command: as if the clients had executed one after the other."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.errors import WRONG_TYPE
from kvstore.session import mixed
from kvstore.session.together import Together
from kvstore.store.store import Store
from kvstore.testing.fates import AllLost
from kvstore.values import TYPES
from kvstore.wire.resp import pack
from tests.kit.harness import content
from tests.kit.serving import Connection, Serving

_CLIENTS = 8
#: Requests with places for a key (K) and a value (V).
_REQUESTS = """
GET K|GET K|SET K V|SET K V|INCR K|HSET K f V|HSET h V V|HGET K f|HGET h V
LPUSH K V|RPUSH K V|LPOP K|RPOP K 1|RPOP K|LRANGE K 0 -1|get K
SET K V PX 5|GET|PING|MSET K V K V|DEL K|STRLEN K
SADD K V|SADD K V|SISMEMBER K V|ZADD K 1 V|ZADD K 2 V|ZPOPMIN K|ZPOPMAX K
""".replace("\n", "|").strip("|").split("|")  # fmt: skip
_PLACES = {
    "K": st.sampled_from([b"a", b"b", *(b"%d" % number for number in range(60))]),
    "V": st.sampled_from([b"1", b"text", b"", b"\r\n", b"x" * 30, b"%d"]),
}
_request = st.sampled_from(_REQUESTS[:16] * 3 + _REQUESTS).flatmap(
    lambda text: st.tuples(*(_PLACES.get(word, st.just(word.encode())) for word in text.split(" ")))
)
_pipelines = st.lists(st.lists(_request, max_size=5), min_size=_CLIENTS, max_size=_CLIENTS)
#: What comes in each turn, and how many ms the clock goes on before.
_turns = st.lists(st.tuples(_pipelines, st.sampled_from([0, 3])), max_size=4)


class MixedTestCase(SynchronousTestCase):
    """A server with clients, all of whose input comes in one turn."""

    def setUp(self) -> None:
        """Connect them; the second speaks RESP3."""
        self.serving = Serving()
        self.clients = [self.serving.connect() for _ in range(_CLIENTS)]
        self.clients[1].ask("HELLO 3")
        self.together = Together(self.serving.server, self.serving.hooks)

    def ask(self, *pipelines: list[str]) -> list[bytes]:
        """Each client sends one of these pipelines of words. Returns their replies when all is on disk."""
        self.taken = self.execute([b"".join(pack(*text.encode().split()) for text in each) for each in pipelines])
        self.serving.commit_if_changed()
        return [client.released() for client in self.clients[: len(pipelines)]]

    def execute(self, chunks: list[bytes]) -> set[int]:
        """Execute what can be sorted, then the others' input."""
        sessions = [client.session for client in self.clients[: len(chunks)]]
        taken = self.together.execute_mixed(sessions, chunks)
        for place, (session, chunk) in enumerate(zip(sessions, chunks, strict=True)):
            if place not in taken:
                session.receive(chunk)
        return taken


class MixedTests(MixedTestCase):
    """What is sorted, and what is not."""

    def test_several_commands(self) -> None:
        """Each client has its replies in the order of its requests."""
        replies = self.ask(["SET a 1", "GET b", "INCR c"], ["GET d", "SET e 2"], ["INCR f", "LPUSH g x", "GET h"])
        self.assertEqual(replies, [b"+OK\r\n$-1\r\n:1\r\n", b"_\r\n+OK\r\n", b":1\r\n:1\r\n$-1\r\n"])
        self.assertEqual((self.taken, self.together.requests), ({0, 1, 2}, 8))
        self.assertEqual(self.serving.server.requests_executed, 9)

    def test_contended(self) -> None:
        """Who writes what others name otherwise goes after them, whoever names a key twice himself too."""
        replies = self.ask(["GET a"], ["SET a 1"], ["GET b", "SET b 1"], ["SET c 1"], ["SET c 2"])
        self.assertEqual(replies, [b"$-1\r\n", b"+OK\r\n", b"$-1\r\n+OK\r\n", b"+OK\r\n", b"+OK\r\n"])
        self.assertEqual((self.taken, self.serving.table.values[b"c"]), ({0, 3, 4}, b"2"))

    def test_written_by_several_commands(self) -> None:
        """Those requests are done one by one, one client's after the other's, and the rest as columns."""
        replies = self.ask(["LPUSH a 1", "SET b 1", "RPOP a"], ["RPOP a", "SET c 1"], ["LPUSH a 2 3", "INCR a"])
        self.assertEqual(replies[0], b":1\r\n+OK\r\n$1\r\n1\r\n")
        self.assertEqual(replies[1:], [b"_\r\n+OK\r\n", b":2\r\n-WRONGTYPE " + WRONG_TYPE.encode() + b"\r\n"])
        self.assertEqual(self.taken, {0, 1, 2})

    def test_elements(self) -> None:
        """Who reads one and who writes another are not in each other's way; in one that is not there yet they are."""
        self.clients[0].ask("HSET h e 1 f 1", "SADD s a")
        self.serving.commit()
        self.clients[0].released()
        self.ask(["HGET h e", "HSET h f 2"], ["HSET h g 2"], ["SISMEMBER s a", "SADD s b"], ["SADD s c"])
        self.assertEqual(self.taken, {0, 1, 2, 3})
        replies = self.ask(
            ["HGET h e", "HSET h e 3"], ["HSET h g 1 i 1"], ["HGET new e"], ["HSET new f 1"], ["HGET h f"]
        )
        self.assertEqual((self.taken, replies[0]), ({2, 4}, b"$1\r\n1\r\n:0\r\n"))

    def test_what_else_there_is(self) -> None:
        """Part of a request, another command, no request: their clients alone are not taken."""
        chunks = [pack(b"GET", b"a"), pack(b"GET", b"a")[:-1], pack(b"PING"), b"GET a\r\n", b"*2\r\n", b"\r\n", b""]
        self.assertEqual(self.execute(chunks), {0})
        del self.clients[: len(chunks)]
        self.clients += [self.serving.connect() for _ in range(4)]
        chunks = [pack(b"GET", b"a") + pack(b"GET"), pack(b"GET", b"a") * 2, pack(b"SET", b"k", b"\r\n")]
        self.assertEqual(self.execute(chunks), {1, 2})

    def test_lies(self) -> None:
        """A length that is not what it says: nothing is taken, and its client is told."""
        self.assertEqual(self.execute([b"*2\r\n$3\r\nGET\r\n$2\r\na\r\n", pack(b"GET", b"a")]), set())
        self.assertEqual(self.clients[1].released(), b"_\r\n")

    def test_large_replies(self) -> None:
        """Past the limit those who read go alone, and what they read counts once."""
        self.patch(mixed, "_MOST_BYTES", 40)
        self.clients[0].ask("SET a " + "x" * 30, "HSET h f " + "y" * 30)
        self.serving.commit()
        self.clients[0].released()
        replies = self.ask(["GET a", "SET b 1"], ["HGET h f"], ["SET c 1"])
        self.assertEqual([len(each) for each in replies], [42, 37, 5])
        self.assertEqual(self.taken, {0, 2})
        calls = self.serving.server.statistics
        self.assertEqual([calls.plain[name].calls for name in (b"GET", b"HGET")], [1, 1])

    def test_another_type(self) -> None:
        """What reads it goes alone; what writes is done one by one."""
        self.clients[0].ask("HSET h f 1")
        self.serving.commit()
        self.clients[0].released()
        replies = self.ask(["GET h"], ["SET a 1"], ["INCR h"], ["INCR b"])
        self.assertEqual([each[:6] for each in replies], [b"-WRONG", b"+OK\r\n", b"-WRONG", b":1\r\n"])

    def test_what_others_wait_for(self) -> None:
        """Who brings it keeps the order of all that it asks: what is moved on stands behind what was there before."""
        self.clients[3].ask("BLMOVE from to LEFT RIGHT 0")
        self.ask(["RPUSH to first", "RPUSH from moved"], ["SET b 1"], ["GET c"])
        self.assertEqual(self.taken, {1, 2})
        self.assertEqual(self.clients[0].ask("LRANGE to 0 -1"), b"*2\r\n$5\r\nfirst\r\n$5\r\nmoved\r\n")

    def test_units_of_time(self) -> None:
        """Of SETs beside each other each has its own."""
        self.ask(*([f"SET {number} v {unit} 7"] for number, unit in enumerate(("EX", "PX", "ex", "PX"))))
        lasts_ms = [self.serving.table.deadlines[b"%d" % number] - self.serving.now_ms for number in range(4)]
        self.assertEqual((self.taken, lasts_ms), ({0, 1, 2, 3}, [7000, 7, 7000, 7]))

    def test_stars_that_are_no_ids(self) -> None:
        """What the log has of an entry is what was added, though a value looks as a new id does."""
        self.ask(["XADD x * * *", "XADD y * f v"], ["XADD x * f *"], ["XADD y * * v"])
        found = Store(self.serving.disk.crash(AllLost()), TYPES, lambda: self.serving.now_ms * 1000, bytes).table
        self.assertEqual((self.taken, content(found)), ({0, 1, 2}, content(self.serving.table)))

    def test_long_ranges_of_many(self) -> None:
        """A turn's replies are built at once past a mebibyte too, if they are arrays; long strings go by reference."""
        self.clients[0].ask(
            "RPUSH list " + " ".join(f"{number:0100}" for number in range(600)), f"SET text {0:0100000}"
        )
        self.serving.commit()
        self.clients[0].released()
        sessions = [client.session for client in self.clients[:1]] * 20
        for request, at_once in ((b"LRANGE list 0 -1", True), (b"GET text", False)):
            chunk = pack(*request.split())
            row = self.together.row_of(chunk)
            assert row is not None
            replies = self.together.execute(row, sessions, [chunk] * len(sessions))
            self.assertEqual(replies is not None, at_once, request)
            self.assertEqual(len(set(replies or [])), int(at_once))

    def test_no_commit_in_the_middle(self) -> None:
        """Where one might have to be closed, each client is served by itself."""
        for name, limit in (("request_limit", 100), ("size_limit", 200)):
            self.setUp()
            setattr(self.serving.hooks, name, limit)
            self.ask(["GET a", "SET d 1"], ["SET b 1"], ["INCR c"])
            self.assertEqual(self.taken, set())

    def test_a_commit_behind_it(self) -> None:
        """Where the log is told more than was foreseen, it is closed when all is done, and nothing is late for it."""
        members = " ".join(f"{number:050}" for number in range(99))
        self.clients[0].told(f"SADD a {members}", f"SADD b {members}")
        held: list[bytes] = []
        self.serving.hooks.size_limit = 3000
        self.serving.hooks.commit_now = lambda: held.append(b"".join(self.serving.store.pending.operations))
        self.ask(["SPOP a 50", "SADD b x", "SPOP b 50", "SET k v"], ["SPOP a 20", "SET l v"])
        self.assertEqual((self.taken, len(held), held[0].count(b"SREM"), held[0].count(b"SET")), ({0, 1}, 1, 3, 2))
        self.assertEqual(self.serving.hooks.size_limit, 3000)

    def test_somebody_watches(self) -> None:
        """Then each request is shown, in its place."""
        self.serving.hooks.watchers.append(lambda executed: None)
        self.ask(["GET a"], ["SET b 1"])
        self.assertEqual(self.taken, set())

    def test_replies_wait(self) -> None:
        """For the commit in which something was changed, or which something was read of; no longer."""
        self.clients[3].ask("SET a 1")
        self.serving.close()
        self.execute([pack(b"GET", b"a"), pack(b"GET", b"b"), pack(b"SET", b"c", b"1")])
        waits = [client.session.waits_for for client in self.clients[:3]]
        sequence = self.serving.store.pending.sequence
        self.assertEqual(waits, [sequence - 1, 0, sequence])


class SameTests(MixedTestCase):
    """Sorted or not: the same replies, table, log and counts."""

    def test_one_client_after_the_other(self) -> None:
        """Those who were taken first, in their order, then the others."""
        taken = [0, 0]

        @settings(max_examples=30)
        @given(_turns)
        def try_out(turns: list[tuple[list[list[tuple[bytes, ...]]], int]]) -> None:
            self.setUp()
            one = self.serving, self.clients
            orders = []
            for pipelines, later_ms in turns:
                self.serving.now_ms += later_ms
                orders.append(self.execute([b"".join(pack(*request) for request in each) for each in pipelines]))
                self.serving.commit_if_changed()
                taken[0] += len(orders[-1])
            self.setUp()
            for (pipelines, later_ms), first in zip(turns, orders, strict=True):
                self.serving.now_ms += later_ms
                for place in sorted(range(_CLIENTS), key=lambda place: (place not in first, place)):
                    self.clients[place].session.receive(b"".join(pack(*request) for request in pipelines[place]))
                self.serving.commit_if_changed()
            self.assertEqual(self.told(*one), self.told(self.serving, self.clients))

        try_out()
        self.assertGreater(taken[0], 0)

    def told(self, serving: Serving, clients: list[Connection]) -> Any:
        """Replies, what is in the table and what the log makes of it, and what was counted."""
        replies = [client.released() for client in clients]
        found = Store(serving.disk.crash(AllLost()), TYPES, lambda: serving.now_ms * 1000, bytes).table
        calls = {
            name: (each.calls, each.failed, each.rejected) for name, each in serving.server.statistics.plain.items()
        }
        looked_up = serving.table.hits, serving.table.misses
        return replies, serving.state()[:2], content(found), found.deadlines, calls, looked_up
