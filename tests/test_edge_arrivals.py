"""What clients send in one turn, kept and executed at its end: together, one by one, and the same either way."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from kvstore.base.errors import StorageFault, StorageFull
from kvstore.base.limits import LOG_LINES_A_PERIOD
from kvstore.edge import arrivals as arrivals_module
from kvstore.edge.arrivals import FEW
from kvstore.edge.connection_state import State
from kvstore.wire.resp import pack
from tests.kit.edge import OK, Connection, GatheringTestCase, LateWriter

_MANY = 12


class ArrivalsTestCase(GatheringTestCase):
    """A dozen clients on sockets that are all ready at once. `together`: how many chunks were executed so."""

    def setUp(self) -> None:
        """Connect them."""
        super().setUp()
        self.telling.ready = FEW
        self.commit.clients = lambda: len(self.factory.protocols)
        self.clients = [self.connect() for _ in range(_MANY)]
        self.together: list[int] = []
        execute = self.factory.arrivals.together.execute

        def counted(row: Any, sessions: Any, chunks: list[bytes]) -> Any:
            replies = execute(row, sessions, chunks)
            if replies is not None:
                self.together.append(len(chunks))
            return replies

        self.patch(self.factory.arrivals.together, "execute", counted)

    def send(self, *requests: bytes, clients: list[Connection] | None = None) -> None:
        """Each client sends the request at its place; a single one is sent by all."""
        clients = self.clients if clients is None else clients
        for number, client in enumerate(clients):
            client.send(requests[number % len(requests)])

    def ask(self, *requests: bytes) -> list[bytes]:
        """The same, and the turn ends; what each client got."""
        self.send(*requests)
        self.turn()
        return self.received()

    def received(self) -> list[bytes]:
        """What each client got since the last time."""
        return [client.received() for client in self.clients]


class TogetherTests(ArrivalsTestCase):
    """What is executed at once, and what is not."""

    def test_writes_and_reads(self) -> None:
        """Nothing is executed before the turn ends; writes are one commit, and each client gets its own reply."""
        self.send(*(pack(b"SET", b"k%d" % number, b"v" * number) for number in range(_MANY)))
        self.assertEqual((self.store.table.values, self.received()), ({}, [b""] * _MANY))
        self.turn()
        self.assertEqual(self.received(), [OK] * _MANY)
        self.assertEqual((self.store.durable_sequence, len(self.store.table.values)), (1, _MANY))
        replies = self.ask(*(pack(b"GET", b"k%d" % (number + 1)) for number in range(_MANY)))
        expected = [b"$%d\r\n%b\r\n" % (number, b"v" * number) for number in range(1, _MANY)] + [b"$-1\r\n"]
        self.assertEqual((replies, self.together), (expected, [_MANY] * 2))

    def test_pipelines(self) -> None:
        """A chunk may hold several requests, not the same number in each."""
        chunks = [pack(b"SET", b"k%d" % number, b"x") * (number % 3 + 1) for number in range(_MANY)]
        self.assertEqual(self.ask(*chunks), [OK * (number % 3 + 1) for number in range(_MANY)])
        chunks = [pack(b"GET", b"k%d" % number) * (number % 4 + 1) for number in range(_MANY)]
        self.assertEqual(self.ask(*chunks), [b"$1\r\nx\r\n" * (number % 4 + 1) for number in range(_MANY)])
        self.assertEqual(self.together, [_MANY] * 2)

    def test_numbers(self) -> None:
        """Each client has the number that its own request made, whatever others add to."""
        chunks = [pack(b"INCR", b"n") * (number % 3 + 1) for number in range(_MANY)]
        replies = self.ask(*chunks)
        self.assertEqual(b"".join(replies), b"".join(b":%d\r\n" % (number + 1) for number in range(2 * _MANY)))
        self.assertEqual([reply.count(b":") for reply in replies], [1, 2, 3] * (_MANY // 3))
        self.assertEqual((self.together, self.store.table.values), ([_MANY], {b"n": b"24"}))
        self.ask(pack(b"SET", b"n", b"x"))
        self.assertEqual({reply[:5] for reply in self.ask(pack(b"INCR", b"n"))}, {b"-ERR "})
        self.assertEqual(self.together, [_MANY] * 2)

    def test_elements(self) -> None:
        """What many take out of one list is each one's own, and waits for the commit; arrays, for those who read."""
        elements = [b"%d" % number for number in range(_MANY)]
        replies = self.ask(*(pack(b"RPUSH", b"l", element) for element in elements))
        self.assertEqual(replies, [b":%d\r\n" % (number + 1) for number in range(_MANY)])
        expected = [pack(*elements[number:5]) for number in range(_MANY)]
        self.assertEqual(self.ask(*(pack(b"LRANGE", b"l", number, b"4") for number in elements)), expected)
        writer = self.commit._writer = LateWriter(self.store)
        popped = [b"$%d\r\n%b\r\n" % (len(element), element) for element in elements]
        self.assertEqual(self.ask(pack(b"LPOP", b"l")), [b""] * _MANY)
        writer.finish()
        self.assertEqual((self.received(), self.store.table.values), (popped, {}))
        self.assertEqual(self.ask(pack(b"LRANGE", b"l", b"0", b"-1")), [b"*0\r\n"] * _MANY)
        self.assertEqual(self.together, [_MANY] * 4)
        self.assertEqual(self.ask(pack(b"RPOP", b"l")), [b"$-1\r\n"] * _MANY)
        self.assertEqual(
            self.ask(pack(b"LRANGE", b"l", b"0", b"x"))[-1], b"-ERR value is not an integer or out of range\r\n"
        )
        self.assertEqual(self.together, [_MANY] * 4)

    def test_counters(self) -> None:
        """As if each had been executed by itself."""
        self.server.recent_ms += 1234
        self.ask(pack(b"SET", b"k", b"1"))
        self.ask(pack(b"GET", b"k"))
        self.assertEqual(self.server.requests_executed, 2 * _MANY)
        self.assertEqual(self.factory.arrivals.together.requests, 2 * _MANY)
        for client in self.server.clients.values():
            self.assertEqual((client.last_command, client.last_request_ms), ("GET", self.server.recent_ms))

    def test_each_in_its_own_protocol(self) -> None:
        """Null is not the same in RESP2 and RESP3."""
        self.clients[0].protocol.client.protocol = 3  # type: ignore[attr-defined]
        self.assertEqual(self.ask(pack(b"GET", b"none")), [b"_\r\n"] + [b"$-1\r\n"] * (_MANY - 1))
        self.assertEqual(self.together, [_MANY])

    def test_of_one_command_and_another(self) -> None:
        """Each kind together; and reads do not wait for the writes of their turn."""
        self.commit._writer = LateWriter(self.store)
        self.send(
            pack(b"SET", b"k", b"1"), pack(b"GET", b"k"), clients=self.clients + [self.connect() for _ in range(8)]
        )
        self.turn()
        self.assertEqual(self.received(), [b"", b"$-1\r\n"] * (_MANY // 2))
        self.assertEqual(self.together, [10, 10])
        self.commit._writer.finish()
        self.assertEqual(self.received(), [OK, b""] * (_MANY // 2))

    def test_who_would_wait(self) -> None:
        """What may wait for elements comes behind what brings them, and so need not."""
        self.clients += [self.connect() for _ in range(_MANY)]
        names = [b"l%d" % number for number in range(_MANY)]
        replies = self.ask(*(pack(b"BLPOP", name, b"0") for name in names), *(pack(b"RPUSH", n, b"v") for n in names))
        self.assertEqual(replies, [pack(name, b"v") for name in names] + [b":1\r\n"] * _MANY)
        self.assertEqual(self.together, [_MANY] * 2)

    def test_a_time_to_wait_that_is_none(self) -> None:
        """It is an error though there is no need to wait, and takes nothing."""
        self.ask(pack(b"RPUSH", b"l", b"v"))
        for timeout in (b"-1", b"x", b"inf"):
            errors = self.ask(pack(b"BLPOP", b"l", timeout))
            self.assertEqual([error[:12] for error in errors], [b"-ERR timeout"] * _MANY, timeout)
        self.assertEqual((self.together, len(self.store.table.values[b"l"])), ([_MANY], _MANY))

    def test_who_waits_already(self) -> None:
        """The first of what many bring at once is for who waits for it."""
        waiter = self.connect()
        waiter.send(pack(b"BLPOP", b"l", b"0"))
        self.turn()
        replies = self.ask(*(pack(b"RPUSH", b"l", b"%d" % number) for number in range(_MANY)))
        self.assertEqual((waiter.received(), replies[:3]), (pack(b"l", b"0"), [b":1\r\n", b":1\r\n", b":2\r\n"]))

    def test_who_listens(self) -> None:
        """They are told of the deadlines of many SETs, too."""
        listener = self.connect()
        listener.send(pack(b"CONFIG", b"SET", b"notify-keyspace-events", b"Ex$g") + pack(b"PSUBSCRIBE", b"*"))
        self.turn()
        self.ask(*(pack(b"SET", b"k%d" % number, b"v", b"EX", b"9") for number in range(_MANY)))
        told = listener.received()
        self.assertEqual([told.count(event) for event in (b"__:set\r", b"__:expire\r")], [_MANY, _MANY])

    def test_a_read_of_what_is_in_flight(self) -> None:
        """It waits for that commit, with what its client asked in the same chunk; the others do not wait."""
        writer = self.commit._writer = LateWriter(self.store)
        self.ask(*(pack(b"SET", b"k%d" % number, b"1") for number in range(_MANY)))
        self.clients = [self.connect() for _ in range(_MANY)]
        replies = self.ask(*(pack(b"GET", b"none") + pack(b"GET", b"k%d" % (2 * number)) for number in range(_MANY)))
        self.assertEqual(replies, [b""] * (_MANY // 2) + [b"$-1\r\n$-1\r\n"] * (_MANY // 2))
        writer.finish()
        self.assertEqual(self.received(), [b"$-1\r\n$1\r\n1\r\n"] * (_MANY // 2) + [b""] * (_MANY // 2))
        self.assertEqual(self.together, [_MANY] * 2)

    def test_a_reply_behind_one_that_waits(self) -> None:
        """Nothing overtakes: the next request of a client that does not wait for its reply."""
        writer = self.commit._writer = LateWriter(self.store)
        self.ask(pack(b"SET", b"k", b"1"))
        self.assertEqual(self.ask(pack(b"GET", b"other")), [b""] * _MANY)
        self.assertEqual(self.ask(pack(b"SET", b"k", b"2")), [b""] * _MANY)
        writer.finish()
        self.turn()
        self.assertEqual(self.received(), [OK + b"$-1\r\n"] * _MANY)
        writer.finish()
        self.assertEqual((self.received(), self.together), ([OK] * _MANY, [_MANY] * 3))

    def test_writes_while_a_commit_is_in_flight(self) -> None:
        """They wait for their own commit: the end of the one before says nothing of them."""
        writer = self.commit._writer = LateWriter(self.store)
        self.ask(pack(b"SET", b"k", b"1"))
        first, self.clients = self.clients, [self.connect() for _ in range(_MANY)]
        self.ask(pack(b"SET", b"k", b"2"))
        writer.finish()
        self.assertEqual([client.received() for client in first], [OK] * _MANY)
        self.assertEqual((self.received(), self.together), ([b""] * _MANY, [_MANY] * 2))
        self.turn()
        self.assertEqual(self.received(), [b""] * _MANY)
        writer.finish()
        self.assertEqual(self.received(), [OK] * _MANY)

    def test_what_has_to_be_executed_one_by_one(self) -> None:
        """Other commands, other shapes, deadlines, values too large, few clients, somebody who watches."""
        self.assertEqual(self.ask(pack(b"APPEND", b"n", b"x")), [b":%d\r\n" % number for number in range(1, _MANY + 1)])
        self.ask(pack(b"SET", b"n", b"12"))
        self.together.clear()
        self.assertEqual(self.ask(pack(b"SET", b"k", b"1", b"XX", b"GET")), [b"$-1\r\n"] * _MANY)
        self.assertEqual(self.ask(pack(b"GET", b"n") + b"GET n\r\n"), [b"$2\r\n12\r\n" * 2] * _MANY)
        self.ask(pack(b"SET", b"n", b"x" * 2000) + pack(b"GET", b"n") * 9)
        with mock.patch("kvstore.session.together._MOST_BYTES", 2000 * _MANY - 1):
            self.assertEqual(self.ask(pack(b"GET", b"n")), [b"$2000\r\n%b\r\n" % (b"x" * 2000)] * _MANY)
        self.send(pack(b"GET", b"none"), clients=self.clients[1:FEW])
        self.turn()
        self.assertEqual(self.received(), [b""] + [b"$-1\r\n"] * (FEW - 1) + [b""] * (_MANY - FEW))
        self.hooks.watchers.append(lambda executed: None)
        self.assertEqual(self.ask(pack(b"GET", b"none")), [b"$-1\r\n"] * _MANY)
        self.assertEqual(self.together, [])

    def test_a_key_with_a_deadline(self) -> None:
        """It is written and read together as any other."""
        self.assertEqual(self.ask(pack(b"SET", b"k", b"1", b"PX", b"100000")), [OK] * _MANY)
        self.assertEqual(self.store.table.deadline_ms(b"k"), self.now_ms + 100_000)
        self.assertEqual(self.ask(pack(b"GET", b"k")), [b"$1\r\n1\r\n"] * _MANY)
        self.assertEqual(self.together, [_MANY] * 2)

    def test_of_any_command(self) -> None:
        """Alike or mixed, reads and writes: whoever waits is one group, and no reply leaves before its own commit."""
        writer = self.commit._writer = LateWriter(self.store)
        self.assertEqual(self.ask(pack(b"INCR", b"n")), [b""] * _MANY)
        first, self.clients = self.clients, [self.connect() for _ in range(_MANY)]
        mixed = (pack(b"INCR", b"n"), pack(b"GETRANGE", b"n", b"0", b"-1"), pack(b"TTL", b"n"), pack(b"PING"))
        self.assertEqual(self.ask(*mixed), [b"", b"", b"", b"+PONG\r\n"] * (_MANY // 4))
        waiters = [waiter for waiters in self.commit._waiters.values() for waiter in waiters]
        self.assertEqual([waiter.clients for waiter in waiters], [_MANY, _MANY * 3 // 4])
        writer.finish()
        self.assertEqual(
            [client.received() for client in first], [b":%d\r\n" % (number + 1) for number in range(_MANY)]
        )
        self.assertEqual(self.received(), [b""] * _MANY)
        self.turn()
        writer.finish()
        expected = [[b":%d\r\n" % number, b"$2\r\n15\r\n", b":-1\r\n", b""] for number in range(13, 16)]
        self.assertEqual(self.received(), [reply for each in expected for reply in each])

    def test_each_waits_for_its_own(self) -> None:
        """A read of what is in flight does not wait for the commit that others of its turn are in."""
        writer = self.commit._writer = LateWriter(self.store)
        self.ask(pack(b"APPEND", b"k", b"x"))
        self.clients = [self.connect() for _ in range(_MANY)]
        self.ask(pack(b"STRLEN", b"k"), pack(b"INCR", b"n"))
        writer.finish()
        self.assertEqual(self.received(), [b":12\r\n", b""] * (_MANY // 2))
        self.turn()
        writer.finish()
        self.assertEqual(self.received()[1::2], [b":%d\r\n" % (number + 1) for number in range(_MANY // 2)])

    def test_a_full_disk(self) -> None:
        """Each is told so, and nothing is changed."""
        pending = self.store.pending
        pending.room, pending.reserve = 0, mock.Mock(side_effect=StorageFull("planted by a test"))
        replies = self.ask(pack(b"SET", b"k", b"1"))
        self.assertEqual({reply[:4] for reply in replies}, {b"-MIS"})
        self.assertEqual((self.store.table.values, self.together), ({}, []))

    def test_a_commit_that_is_full(self) -> None:
        """It is closed at once, and its replies leave."""
        self.hooks.size_limit = 100
        self.assertEqual(self.ask(pack(b"SET", b"k", b"1")), [OK] * _MANY)
        self.assertEqual((self.together, self.store.durable_sequence), ([_MANY], 1))

    def test_a_storage_fault(self) -> None:
        """It is told once, and nobody gets a reply."""
        self.patch(self.store.table, "write_strings", mock.Mock(side_effect=StorageFault("planted by a test")))
        self.assertEqual(self.ask(pack(b"SET", b"k", b"1")), [b""] * _MANY)
        self.assertEqual([str(fault) for fault in self.faults], ["planted by a test"])

    def test_a_bug(self) -> None:
        """Whoever's requests were being executed is disconnected, and the loop goes on."""
        self.patch(self.factory.arrivals.together, "execute", mock.Mock(side_effect=ZeroDivisionError))
        self.ask(pack(b"GET", b"k"))
        self.assertEqual([client.transport.aborted for client in self.clients], [1] * _MANY)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), LOG_LINES_A_PERIOD)
        self.patch(self.clients[0].protocol, "take", mock.Mock(side_effect=ZeroDivisionError))
        self.ask(b"PING\r\n")
        self.assertEqual([client.transport.aborted for client in self.clients], [2] + [1] * (_MANY - 1))
        self.assertEqual(self.flushLoggedErrors(ZeroDivisionError), [])  # they are so many a minute


class ApartTests(ArrivalsTestCase):
    """Clients about whom there is something."""

    def test_in_the_middle_of_something(self) -> None:
        """A request that came in parts, a block: the others are executed together, and then they are again."""
        self.clients[0].send(b"*2\r\n$3\r\nGET\r\n$1\r\n")
        self.clients[1].send(b"MULTI\r\n")
        self.turn()
        self.received()
        replies = self.ask(b"k\r\n", *[pack(b"SET", b"k", b"1")] * (_MANY - 1))
        self.assertEqual(replies, [b"$1\r\n1\r\n", b"+QUEUED\r\n"] + [OK] * (_MANY - 2))
        self.assertEqual(self.ask(b"EXEC\r\n")[:2], [b"-ERR EXEC without MULTI\r\n", b"*1\r\n" + OK])
        self.assertEqual(self.ask(pack(b"GET", b"k")), [b"$1\r\n1\r\n"] * _MANY)
        self.assertEqual(self.together, [_MANY - 2, _MANY])

    def test_who_does_not_read(self) -> None:
        """Its replies are kept and it is paused, though others are served together with it; then it has them all."""
        slow = self.clients[0]
        slow.transport.kernel.room = 3
        got = b"".join([self.ask(pack(b"SET", b"k", b"1"))[0] for _ in range(5)])
        got += b"".join([self.ask(pack(b"GET", b"k"))[0] for _ in range(5)])
        self.assertEqual((got, self.together), (OK[:3], [_MANY] + [_MANY - 1] * 9))
        slow.transport.drain()
        self.assertEqual(got + slow.received(), OK * 5 + b"$1\r\n1\r\n" * 5)
        self.assertIs(slow.protocol.state, State.OPEN)  # type: ignore[attr-defined]

    def test_replies_that_wait_are_counted(self) -> None:
        """A client that sends on while the disk does not answer is paused in the end, and goes on when it does."""
        writer = self.commit._writer = LateWriter(self.store)
        limit = self.factory.settings.pause_reading_bytes
        self.ask(pack(b"SET", b"k", b"1"))
        session = self.clients[0].protocol.session  # type: ignore[attr-defined]
        session.held_bytes += limit
        self.ask(pack(b"SET", b"k", b"2"))
        self.assertEqual([client.transport.reading for client in self.clients[:2]], [False, True])
        session.held_bytes -= limit
        for _ in range(2):
            writer.finish()
            self.turn()
        self.assertEqual([client.transport.reading for client in self.clients[:2]], [True, True])
        self.assertEqual(self.received(), [OK * 2] * _MANY)

    def test_who_leaves(self) -> None:
        """What came from it before is executed; its place in the turn is nobody's."""
        self.send(pack(b"SET", b"k", b"1"), pack(b"SET", b"other", b"1"))
        self.clients[0].lose(ConnectionLost())
        self.clients[1].end_input()
        self.turn()
        self.assertEqual(self.received(), [b""] + [OK] * (_MANY - 1))
        self.assertTrue(self.clients[1].transport.disconnecting)
        self.assertEqual(self.store.table.values, {b"k": b"1", b"other": b"1"})

    def test_who_leaves_before_the_commit(self) -> None:
        """The others get their replies."""
        writer = self.commit._writer = LateWriter(self.store)
        self.ask(pack(b"SET", b"k", b"1"))
        self.clients[3].lose(ConnectionLost())
        writer.finish()
        self.assertEqual(self.received(), [OK] * 3 + [b""] + [OK] * (_MANY - 4))

    def test_the_server_stops(self) -> None:
        """Nothing that comes afterwards is executed, in the same turn or later; what is ready is sent."""
        self.clients[0].send(pack(b"GET", b"k"))
        self.factory.arrivals.execute()
        for client in self.clients:
            client.protocol.end()  # type: ignore[attr-defined]
            client.transport.send = client.transport.kernel.take
        self.assertEqual(self.ask(pack(b"SET", b"k", b"1")), [b"$-1\r\n"] + [b""] * (_MANY - 1))
        self.telling.ready = 1
        self.ask(pack(b"SET", b"k", b"1"))
        self.assertEqual((self.store.table.values, self.together), ({}, []))
        self.assertTrue(all(client.transport.disconnecting for client in self.clients))

    def test_who_sends_twice(self) -> None:
        """What was kept is executed before what came after it."""
        self.clients[0].send(pack(b"SET", b"k", b"1"))
        self.clients[0].send(pack(b"GET", b"k"))
        self.turn()
        self.assertEqual(self.clients[0].received(), OK + b"$1\r\n1\r\n")

    def test_long_chunks_and_many(self) -> None:
        """They are not kept, and what was kept goes before."""
        self.clients[0].send(pack(b"GET", b"k"))
        self.clients[1].send(pack(b"SET", b"k", b"x" * 5000))
        self.assertEqual(len(self.store.table.values), 1)
        self.patch(arrivals_module, "_MOST", 3)
        for client in self.clients[2:6]:
            client.send(pack(b"GET", b"k"))
        self.turn()
        self.assertEqual([len(reply) for reply in self.received()[:6]], [5, 5, 5009, 5009, 5009, 5009])


class LookingAgainTests(ArrivalsTestCase):
    """Whether the turn's end looks for more first."""

    def test_while_clients_write(self) -> None:
        """After a turn that brought writes: as long as each look brings more, and not everybody has sent."""
        self.ask(pack(b"SET", b"k", b"1"))
        self.assertEqual(self.telling.looks, 0)
        self.telling.ready = 1
        later = self.clients[4:]
        self.telling.coming = [
            lambda: self.send(pack(b"SET", b"k", b"2"), clients=later[:4]),
            lambda: self.send(pack(b"SET", b"k", b"2"), clients=later[4:]),
        ]
        self.send(pack(b"SET", b"k", b"2"), clients=self.clients[:4])
        self.turn()
        self.assertEqual((self.telling.looks, self.together, self.received()), (2, [_MANY] * 2, [OK] * _MANY))
        self.assertEqual(self.store.durable_sequence, 2)

    def test_nothing_comes(self) -> None:
        """One look finds that out, or two: one that brings nothing new is the last."""
        self.ask(pack(b"SET", b"k", b"1"))
        self.telling.coming = [lambda: None] * 5
        self.send(pack(b"SET", b"k", b"2"), clients=self.clients[:4])
        self.turn()
        self.assertEqual((self.telling.looks, self.store.durable_sequence), (1, 2))

    def test_readers(self) -> None:
        """A turn that brings reads only is not held up, and what comes when few are ready is executed at once."""
        self.ask(pack(b"SET", b"k", b"1"))
        self.ask(pack(b"GET", b"k"))
        self.telling.looks = 0
        self.telling.ready = FEW - 1
        self.send(pack(b"SET", b"k", b"2"), clients=self.clients[:1])
        self.assertEqual(self.store.table.values, {b"k": b"2"})
        self.turn()
        self.assertEqual((self.telling.looks, self.clients[0].received()[-5:]), (0, OK))


_requests = st.sampled_from([b"GET", b"SET"] * 6 + [b"set", b"INCR", b"DEL", b"MULTI", b"EXEC", b"PING", b"SETPX"])


def _request(name: bytes, key: bytes, value: bytes) -> bytes:
    words = {
        b"SET": [name, key, value],
        b"set": [name, key, value],
        b"SETPX": [b"SET", key, value, b"PX", b"100000"],
        b"MULTI": [name],
        b"EXEC": [name],
        b"PING": [name],
    }
    return pack(*words.get(name, [name, key]))


#: What one client sends in a turn: the same as most, or something else; and how long its value is.
_chunk = st.tuples(
    st.sampled_from([None] * 20 + [b"GET", b"SET", b"INCR", b"MULTI", b"EXEC", b"SETPX"]), st.integers(0, 30)
)
#: What most clients send, what each does, how often, and whether the disk answers late.
_turns = st.lists(
    st.tuples(_requests, st.lists(_chunk, min_size=_MANY, max_size=_MANY), st.integers(1, 3), st.booleans()), max_size=8
)


class SameTests(ArrivalsTestCase):
    """Any turns of a dozen clients, kept or not: the same replies, the same table."""

    def test_kept_or_not(self) -> None:
        """Each client has a key of its own, so that the order among them does not matter."""
        runs = [0, 0]

        @given(_turns)
        def try_out(turns: list[tuple[bytes, list[tuple[bytes | None, int]], int, bool]]) -> None:
            outcomes = []
            for kept in (True, False):
                self.setUp()
                self.telling.ready = FEW if kept else 0
                self.patch(self.factory.arrivals, "wants_more", lambda: False)
                outcomes.append(self.follow(turns))
                runs[kept] += len(self.together)
            self.assertEqual(*outcomes)

        try_out()
        self.assertGreater(runs[True], 0)

    def follow(self, turns: list[tuple[bytes, list[tuple[bytes | None, int]], int, bool]]) -> Any:
        """What came of it."""
        rest = [b""] * _MANY
        got = [b""] * _MANY
        for name, others, times, late in turns:
            if late and not isinstance(self.commit._writer, LateWriter):
                self.commit._writer = LateWriter(self.store)
            for number, (other, size) in enumerate(others):
                key = b"k%d" % number
                data = rest[number] + _request(other or name, key, b"x" * size) * (times + (other is not None))
                cut = len(data) - size % 5 if other is not None else len(data)
                rest[number] = data[cut:]
                if data[:cut]:
                    self.clients[number].send(data[:cut])
            self.turn()
            if isinstance(self.commit._writer, LateWriter) and self.commit.is_in_flight and not late:
                self.commit._writer.finish()
            got = [before + more for before, more in zip(got, self.received(), strict=True)]
        for _ in range(20):
            if isinstance(self.commit._writer, LateWriter) and self.commit.is_in_flight:
                self.commit._writer.finish()
            self.turn()
        got = [before + more for before, more in zip(got, self.received(), strict=True)]
        return got, self.store.table.values, dict(self.store.table.deadlines), self.server.requests_executed
