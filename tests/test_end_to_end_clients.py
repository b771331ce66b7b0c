"""Clients that come and go, and clients that misbehave: each beside a well-behaved one that must not notice."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import hiredis
import pytest
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.limits import KIB, MIB, PAUSE_READING_BYTES
from kvstore.testing.server_process import ServerProcess
from kvstore.wire.resp import pack
from tests.kit.server_process import Serving, Wire, eventually

SET = pack(b"SET", b"key", b"value")


class Witness:
    """A well-behaved client. Each `works` writes and reads, and raises if anything but the right replies comes."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._count = 0

    def works(self) -> None:
        """Do a write, a read, and a document verb."""
        self._count += 1
        assert self.wire.ask("INCR", "witness") == self._count
        assert self.wire.ask("GET", "witness") == b"%d" % self._count
        assert self.wire.say("lookup witness") == b'{"result":"success","value":%d}\r\n' % self._count

    def connected(self) -> int:
        """How many clients the server says are connected, the witness among them."""
        return int(self.wire.info("clients")["connected_clients"])

    def sees(self, client: Wire) -> dict[str, str]:
        """The fields that CLIENT LIST shows of another client; empty once the server has forgotten it."""
        host, port = client.socket.getsockname()
        for line in self.wire.ask("CLIENT", "LIST").decode().splitlines():
            fields = dict(field.partition("=")[::2] for field in line.split(" "))
            if fields["addr"] == f"{host}:{port}":
                return fields
        return {}


class ClientChecks(Serving):
    """Clients of one server with the default limits."""

    def setUp(self) -> None:
        """Connect the witness."""
        self.witness = Witness(self.connect())
        self.forgotten()
        self.addCleanup(self.is_unharmed)

    def is_unharmed(self) -> None:
        """The witness is still served, and the server complained of nothing."""
        self.witness.works()
        self.assertEqual([line for line in self.server.log if "#error" in line or "#critical" in line], [])

    def forgotten(self) -> None:
        """Return when the server knows of no other client than the witness."""
        eventually(self.witness.connected, lambda connected: connected == 1)

    def test_silent(self) -> None:
        """One that connects and says nothing is known, and in nobody's way."""
        silent = self.connect()
        eventually(lambda: self.witness.sees(silent))
        self.witness.works()
        self.assertEqual(silent.ask("PING"), b"PONG")

    def test_slow(self) -> None:
        """One that sends a byte at a time gets its replies, in every grammar; others are served between its bytes."""
        slow = self.connect()
        for byte in SET + b"GET key\r\n" + b'{"method":"size"}\n':
            slow.send(bytes([byte]))
            self.witness.works()
        self.assertEqual(slow.read(5 + 11), b"+OK\r\n$5\r\nvalue\r\n")
        self.assertEqual(slow.read_line(), b'{"result":"success","value":2}\r\n')

    def test_half_open(self) -> None:
        """One that vanished in the middle of a request, and of its replies, without a word on the network."""
        vanished = self.connect()
        vanished.send(SET * 100 + SET[:-3])
        eventually(lambda: self.witness.sees(vanished).get("qbuf") == str(len(SET) - 3))
        for _ in range(10):
            self.witness.works()
        self.assertEqual(self.witness.wire.ask("GET", "key"), b"value")

    def test_half_a_request_then_close(self) -> None:
        """Nothing of it is done."""
        for half in (SET[:-1], b"SET key value", b'{"method":"insert","key":"key","value":1}'):
            client = self.connect()
            client.send(half)
            client.close()
            self.witness.works()
            self.forgotten()
        self.assertEqual(self.witness.wire.ask("EXISTS", "key"), 0)

    def test_half_a_transaction_then_close(self) -> None:
        """A block without EXEC is not done, and what it watched is forgotten."""
        client = self.connect()
        client.send(b"WATCH witness\r\nMULTI\r\nSET key 1\r\n")
        self.assertEqual(client.read_replies(3), [b"OK", b"OK", b"QUEUED"])
        self.assertEqual(self.witness.wire.info("clients")["total_watched_keys"], "1")
        client.close()
        self.forgotten()
        self.assertEqual(self.witness.wire.ask("EXISTS", "key"), 0)
        self.assertEqual(self.witness.wire.info("clients")["total_watched_keys"], "0")

    def test_reset(self) -> None:
        """RST, with replies unread, with a request half sent, or with nothing at all."""
        for sent in (SET * 1000, SET + SET[:-2], b""):
            client = self.connect()
            client.send(sent)
            client.reset()
            self.witness.works()
            self.forgotten()

    def test_half_close(self) -> None:
        """One that says it will send no more still gets every reply, in every grammar, and then the end."""
        for sent, received in (
            (SET, b"+OK\r\n"),
            (b"GET key\r\n", b"$5\r\nvalue\r\n"),
            (b'{"method":"size"}\n', b'{"result":"success","value":1}\r\n'),
            (SET * 5000, b"+OK\r\n" * 5000),
            (SET + SET[:-1], b"+OK\r\n"),
            (b"", b""),
        ):
            client = self.connect()
            client.send(sent)
            client.half_close()
            self.assertEqual(client.read_to_end(), received)

    def test_half_close_before_a_large_reply(self) -> None:
        """The reply is larger than all buffers on the way: the server waits until it is taken, then ends."""
        value = os.urandom(1 * MIB) * 12
        self.assertEqual(self.witness.wire.ask("SET", "large", value), b"OK")
        client = self.connect(receive_buffer_bytes=4 * KIB)
        client.send(b"GET large\r\n" * 3)
        client.half_close()
        eventually(lambda: int(self.witness.sees(client).get("omem", 0)))
        self.witness.works()
        self.assertEqual(client.read_replies(3), [value] * 3)
        self.assertEqual(client.read_to_end(), b"")

    def test_many_come_and_go(self) -> None:
        """300 connections, opened and closed in a hurry, leave no trace: no client, no open file."""
        files = len(os.listdir(f"/proc/{self.server.pid}/fd"))
        for number in range(300):
            client = Wire(self.server.port)
            if number % 3:
                client.send(SET)
            if number % 2:
                client.reset()
            else:
                client.close()
            if number % 50 == 0:
                self.witness.works()
        self.forgotten()
        eventually(lambda: len(os.listdir(f"/proc/{self.server.pid}/fd")), lambda now: now <= files)

    def test_many_at_once(self) -> None:
        """300 clients at the same time are all served, each its own replies."""
        clients = [self.connect() for _ in range(300)]
        for number, client in enumerate(clients):
            client.send(pack(b"SET", b"key%d" % number, b"%d" % number) + pack(b"GET", b"key%d" % number))
        self.witness.works()
        for number, client in enumerate(clients):
            self.assertEqual(client.read_replies(2), [b"OK", b"%d" % number])
        self.assertEqual(self.witness.connected(), 301)

    def test_one_that_never_reads(self) -> None:
        """100,000 requests and no look at the replies: it is not read from any more, and memory stays bounded; when it
        reads at last, it gets every reply, in order.
        """
        pairs = 50_000
        wire = self.witness.wire
        wire.ask("SET", "kilobyte", b"x" * KIB)
        before = self.server.resident_bytes()
        greedy = self.connect(receive_buffer_bytes=64 * KIB)
        sender = threading.Thread(target=greedy.send, args=((b"INCR count\r\nGET kilobyte\r\n") * pairs,), daemon=True)
        sender.start()
        eventually(lambda: int(self.witness.sees(greedy).get("omem", 0)), lambda omem: omem > PAUSE_READING_BYTES)
        for _ in range(10):
            self.witness.works()
        self.assertLess(int(self.witness.sees(greedy)["omem"]), 2 * PAUSE_READING_BYTES + 64 * KIB)
        self.assertLess(int(wire.ask("GET", "count")), pairs)
        self.assertLess(self.server.resident_bytes() - before, 32 * MIB)
        value = b"x" * KIB
        for expected, reply in enumerate(self.replies(greedy, 2 * pairs), 2):
            self.assertEqual(reply, expected // 2 if expected % 2 == 0 else value)
        sender.join()
        self.assertEqual(greedy.ask("PING"), b"PONG")
        self.assertLess(self.server.resident_bytes() - before, 32 * MIB)

    def replies(self, client: Wire, count: int) -> Iterator[object]:
        """So many replies, read as they come."""
        reader = hiredis.Reader()
        while count:
            data = client.socket.recv(1 * MIB)
            assert data
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                count -= 1
                yield reply

    def test_monitor_that_never_reads(self) -> None:
        """It is shown what others do, and slows nobody down."""
        monitor = self.connect()
        self.assertEqual(monitor.ask("MONITOR"), b"OK")
        busy = self.connect()
        busy.send(pack(b"SET", b"key", b"x" * 100) * 5000)
        self.witness.works()
        self.assertEqual(busy.read_replies(5000), [b"OK"] * 5000)
        self.witness.works()
        self.assertEqual(self.witness.sees(monitor)["flags"], "O")


class ClientsOnEpollTests(ClientChecks, SynchronousTestCase):
    """On epoll."""

    reactor = "epoll"


@pytest.mark.long
class ClientsOnSelectTests(ClientChecks, SynchronousTestCase):
    """On select."""

    reactor = "select"


class LimitTests(Serving, SynchronousTestCase):
    """Clients that go past a limit; the limits are small here."""

    options = (
        "--max-clients", "4", "--max-request-bytes", "1kb", "--pause-reading-bytes", "10kb",
        "--drop-client-bytes", "100kb",
    )  # fmt: skip

    def setUp(self) -> None:
        """Connect the witness."""
        self.witness = Witness(self.connect())
        eventually(self.witness.connected, lambda connected: connected == 1)
        self.addCleanup(self.witness.works)

    def dropped(self, server: ServerProcess) -> list[str]:
        """The lines of the log that tell of clients that were dropped."""
        return [line for line in server.log if " dropped: " in line]

    def test_one_too_many(self) -> None:
        """It is told so, and its connection ends; the others go on, and when one leaves there is room again."""
        others = [self.connect() for _ in range(3)]
        self.assertEqual([other.ask("PING") for other in others], [b"PONG"] * 3)
        for _ in range(2):
            late = self.connect()
            self.assertEqual(late.read_to_end(), b"-ERR max number of clients reached\r\n")
        self.witness.works()
        self.assertEqual([other.ask("PING") for other in others], [b"PONG"] * 3)
        self.assertEqual(int(self.witness.wire.info("stats")["rejected_connections"]) % 2, 0)
        others[0].close()
        eventually(self.witness.connected, lambda connected: connected == 3)
        self.assertEqual(self.connect().ask("PING"), b"PONG")

    def test_largest_request(self) -> None:
        """A request as large as allowed is done, in each grammar."""
        client = self.connect()
        self.assertEqual(client.ask(b"SET", b"k", b"x" * (1024 - 4)), b"OK")
        self.assertEqual(client.say("SET k " + "x" * (1024 - 7)), b"+OK\r\n")
        request = b'{"method":"insert","key":"k","value":"%b"}'
        client.send(request % (b"x" * (1024 - len(request) + 2)) + b"\n")
        self.assertEqual(client.read_line(), b'{"result":"success"}\r\n')

    def test_too_large_in_resp(self) -> None:
        """One byte more is an error that says so, and the end of the connection: the stream makes no sense any more."""
        for request in (pack(b"SET", b"k", b"x" * 1021), b"*1\r\n$1025\r\n", b"*1048577\r\n"):
            client = self.connect()
            client.send(request)
            self.assertRegex(client.read_to_end(), rb"\A-ERR Protocol error: invalid (bulk|multibulk) length\r\n\Z")
            self.witness.works()

    def test_too_large_in_words(self) -> None:
        """A line that is too long ends the connection, as soon as it is too long."""
        for ending in (b"\r\n", b""):
            client = self.connect()
            client.send(b"SET k " + b"x" * 1020 + ending)
            self.assertEqual(client.read_to_end(), b"-ERR Protocol error: too big inline request\r\n")
            self.witness.works()

    def test_too_large_in_json(self) -> None:
        """A JSON line that is too long is invalid, and no more: the connection goes on with the next line."""
        client = self.connect()
        request = b'{"method":"insert","key":"k","value":"%b"}\n'
        for size in (1024, 100_000):
            client.send(request % (b"x" * size))
            self.assertEqual(
                client.read_line(),
                b'{"result":"invalid","error":"the line is longer than 1024 bytes, the most this server takes"}\r\n',
            )
            self.assertEqual(client.ask("EXISTS", "k"), 0)

    def test_a_reply_too_large(self) -> None:
        """It is an error, of a block as a whole; nothing is sent or done of it, and the client goes on."""
        self.witness.wire.ask("SET", "k", "x" * 1000)
        client = self.connect()
        self.assertEqual(len(client.ask("MGET", *["k"] * 90)), 90)
        for requests in (pack(b"MGET", *[b"k"] * 103), b"MULTI\r\n" + b"GET k\r\n" * 110 + b"APPEND k y\r\nEXEC\r\n"):
            client.send(requests)
            (*_, last) = client.read_replies(1 if requests.startswith(b"*") else 113)
            self.assertIn("the reply is larger than 102400 bytes, so nothing was done", str(last))
        self.assertEqual(client.ask("STRLEN", "k"), 1000)

    def test_monitor_dropped_for_not_reading(self) -> None:
        """So is a client in MONITOR, whose server goes on producing; once, not once for each request."""
        self.dropped_for_not_reading("MONITOR")

    def test_subscriber_dropped_for_not_reading(self) -> None:
        """And one that is subscribed."""
        self.dropped_for_not_reading("SUBSCRIBE", "key")

    def dropped_for_not_reading(self, *words: str) -> None:
        """A client says these words, and then reads no more, while another works."""
        before = len(self.dropped(self.server))
        monitor = self.connect(receive_buffer_bytes=4 * KIB)
        self.assertNotIn("ERR", str(monitor.ask(*words)))
        address = self.witness.sees(monitor)["addr"]

        def work() -> bool:
            self.witness.wire.send(pack(b"PUBLISH", b"key", b"x" * 900) * 1000)
            self.witness.wire.read_replies(1000)
            return not self.witness.sees(monitor)

        eventually(work)
        lines = self.dropped(self.server)[before:]
        self.assertEqual(len(lines), 1)
        self.assertIn(f"client {address} dropped", lines[0])


class MemoryTests(Serving, SynchronousTestCase):
    """Large replies under the default limits take no memory of their own. On a server that has done nothing else."""

    options = ("--drop-client-bytes", "255mb")

    def peak_bytes(self) -> int:
        """The most memory that the server ever had (proc(5), VmHWM)."""
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * KIB for line in status if line.startswith("VmHWM:"))

    def test_one_value_many_times(self) -> None:
        """Two thousand times a megabyte: refused, read at once and in a block; two hundred times: sent by reference."""
        client = self.connect()
        self.assertEqual(client.ask("SETRANGE", "amp", "999999", "x"), 1_000_000)
        before = self.peak_bytes()
        client.send(pack(b"MGET", *[b"amp"] * 2000))
        self.assertIsInstance(client.read_replies(1)[0], hiredis.ReplyError)
        client.send(b"MULTI\r\n" + b"GET amp\r\n" * 2000 + b"EXEC\r\n")
        self.assertIsInstance(client.read_replies(2002)[-1], hiredis.ReplyError)
        other = self.connect()
        for requests, length in ((pack(b"MGET", *[b"amp"] * 200), 200), (b"GET amp\r\n" * 200, 0)):
            client.send(requests)
            self.assertEqual(other.ask("PING"), b"PONG")
            size = 200 * len(b"$1000000\r\n" + b"\r\n") + 200_000_000 + (len(b"*200\r\n") if length else 0)
            while size:
                size -= len(client.read(min(size, MIB)))
        self.assertLess(self.peak_bytes() - before, 32 * MIB)


class IdleTests(Serving, SynchronousTestCase):
    """--idle-timeout."""

    options = ("--idle-timeout", "2")

    def test_silent_client_is_disconnected(self) -> None:
        """One that sends nothing is disconnected; one that does, even half a request now and then, is not."""
        witness = Witness(self.connect())
        silent, slow = self.connect(), self.connect()
        eventually(lambda: self.witness_and_slow(witness, slow, silent))
        self.assertEqual(silent.read_to_end(), b"")
        slow.send(b" key\r\n")
        self.assertTrue(slow.read_line().startswith(b"-ERR unknown command"))

    def witness_and_slow(self, witness: Witness, slow: Wire, silent: Wire) -> bool:
        """Let the two go on; returns whether the silent one is gone."""
        witness.works()
        slow.send(b"a")
        return not witness.sees(silent)
