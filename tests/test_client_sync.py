"""The blocking client against a server on loopback that misbehaves as told; pauses are recorded, not slept."""

from __future__ import annotations

import inspect
import math
import pydoc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.client import Client, DeadlineExceeded, RequestRefused
from kvstore.client.deferred import DeferredClient
from kvstore.client.patience import Patience
from tests.kit.fake_catalog import ENTRY, FakeCatalog
from tests.kit.fake_server import CLOSE, LOSE_REPLY, RESET_AT_ACCEPT, SILENCE, FakeServer, reply, trickle


class EnoughPauses(Exception):
    """Raised out of a pause, to end what would go on for ever."""


class ClientTestCase(SynchronousTestCase):
    """A fake server and a client of it. `pauses`: seconds slept; `during_pause`: called in each; `messages`:
    reported.
    """

    def setUp(self) -> None:
        """Start the server, make the client."""
        self.server = FakeServer()
        self.addCleanup(self.server.stop)
        self.pauses: list[float] = []
        self.messages: list[str] = []
        self.during_pause: Callable[[], object] = lambda: None
        self.client = self.make_client()

    def make_client(self, target: str | None = None, **options: Any) -> Client:
        """A client of the server, whose pauses are recorded and whose connection is closed after the test."""
        options = {"sleep": self.sleep, "report": self.messages.append, "timeout_seconds": 5.0} | options
        client = Client(target or self.server.target, **options)
        self.addCleanup(client.close)
        return client

    def sleep(self, seconds: float) -> None:
        """What the client calls for a pause."""
        self.pauses.append(seconds)
        self.during_pause()


class VerbTests(ClientTestCase):
    """The five verbs when nothing goes wrong."""

    def test_insert_lookup_remove(self) -> None:
        """A document comes back as it was put in, until it is removed."""
        document = {"weight": 100, "name": "fred", "list": [1, 2.5, None, True, "ü\n\ud800"], "large": 2**200}
        self.client.insert("zebra", document)
        self.assertEqual(self.client.lookup("zebra"), document)
        self.client.remove("zebra")
        self.assertRaises(KeyError, self.client.lookup, "zebra")
        self.assertEqual(self.messages, [])

    def test_size_and_query(self) -> None:
        """Size is a number, and query the pairs that match."""
        self.client.insert("zebra", {"name": "fred"})
        self.client.insert("ant", {"name": "anna"})
        self.assertEqual(self.client.size(), 2)
        self.assertEqual(self.client.query("name", "fred"), [["zebra", {"name": "fred"}]])

    def test_requests_on_the_wire(self) -> None:
        """The five requests are JSON objects with just the members of the contract and ids that are never the same."""
        self.server.table["k"] = 1
        self.client.insert("k", [1])
        self.client.lookup("k")
        self.client.query("a", None)
        self.client.size()
        self.client.remove("k")
        ids = [request.pop("id") for request in self.server.requests]
        self.assertEqual(len(set(ids)), 5)
        self.assertEqual(
            self.server.requests,
            [
                {"method": "insert", "key": "k", "value": [1]},
                {"method": "lookup", "key": "k"},
                {"method": "query", "subkey": "a", "subvalue": None},
                {"method": "size"},
                {"method": "remove", "key": "k"},
            ],
        )

    def test_missing_key(self) -> None:
        """Lookup and remove of a missing key raise KeyError, and the connection goes on."""
        self.assertRaises(KeyError, self.client.lookup, "zebra")
        self.assertRaises(KeyError, self.client.remove, "zebra")
        self.assertEqual(self.server.connections, 1)

    def test_invalid_request(self) -> None:
        """An invalid reply is a ValueError, and the connection goes on."""
        self.server.faults.append(b'{"result":"invalid","error":"key must be a string"}\r\n')
        error = self.assertRaises(ValueError, self.client.insert, "zebra", 1)
        self.assertEqual(str(error), "key must be a string")
        self.assertEqual(self.client.size(), 0)
        self.assertEqual(self.server.connections, 1)

    def test_refused_request_is_not_repeated(self) -> None:
        """A full disk is told to the caller at once, as an error that no `except KeyError` catches."""
        self.server.faults.append(b'{"result":"failure","error":"MISCONF no room","id":1}\r\n')
        self.assertRaises(RequestRefused, self.client.remove, "zebra")
        self.assertEqual((len(self.server.requests), self.pauses), (1, []))

    def test_what_is_not_json_is_not_sent(self) -> None:
        """A value without a JSON form raises before anything is sent, and leaves the client usable."""
        self.assertRaises(TypeError, self.client.insert, "zebra", object())
        self.assertRaises(ValueError, self.client.insert, "zebra", float("nan"))
        self.assertEqual(self.client.size(), 0)
        self.assertEqual(len(self.server.requests), 1)

    def test_large_documents(self) -> None:
        """Documents far over the sizes of socket buffers pass both ways."""
        document = "x" * 20_000_000
        self.client.insert("zebra", document)
        self.assertEqual(self.client.lookup("zebra"), document)
        self.assertEqual(self.messages, [])

    def test_mistyped_target(self) -> None:
        """An address that cannot be one is refused when the client is made, not retried for ever."""
        self.assertRaises(ValueError, Client, "localhost:http")
        self.assertRaises(ValueError, Client, "me-a5", catalog="nowhere")

    def test_connects_late_and_closes_with_the_block(self) -> None:
        """A client connects at its first request and closes its connection at the end of a with block."""
        with self.make_client() as client:
            self.assertEqual(repr(client), f"<Client of {self.server.target}>")
            self.assertEqual(client.size(), 0)
            self.assertIn("connected", repr(client))
        self.assertNotIn("connected", repr(client))
        self.assertEqual(client.size(), 0)
        self.assertEqual(self.server.connections, 2)


class RetryTests(ClientTestCase):
    """Failures that the caller does not see."""

    def test_nobody_listens(self) -> None:
        """While nobody listens the pauses double up to 16 seconds, each with one line that gives reason, target and
        pause.
        """
        self.server.stop()

        def enough() -> None:
            if len(self.pauses) == 7:
                raise EnoughPauses

        self.during_pause = enough
        self.assertRaises(EnoughPauses, self.client.size)
        self.assertEqual(self.pauses, [1, 2, 4, 8, 16, 16, 16])
        self.assertEqual(self.messages[2], f"Connection refused; trying {self.server.target} again in 4 s")
        self.assertEqual(self.client.retries, 7)

    def test_server_that_comes_back(self) -> None:
        """A request made while the server was away is done when it is back."""
        self.client.insert("zebra", 1)
        self.server.stop()

        def come_back_after_three() -> None:
            if len(self.pauses) == 3:
                self.server.start()

        self.during_pause = come_back_after_three
        self.assertEqual(self.client.lookup("zebra"), 1)
        self.assertEqual(self.pauses, [1, 2, 4])

    def test_pauses_begin_again_after_a_success(self) -> None:
        """After a request that succeeded the next failure waits one second again."""
        for _ in range(2):
            self.server.faults.extend([CLOSE, CLOSE])
            self.client.insert("zebra", 1)
        self.assertEqual(self.pauses, [1, 2, 1, 2])

    def test_every_way_to_lose_a_request(self) -> None:
        """Whether the connection goes before, after or instead of a request, the request is repeated with the same
        id.
        """
        for fault in (CLOSE, LOSE_REPLY, b"nonsense\r\n", b'{"result":"success","id":-1}\r\n', b'{"result":"success"'):
            self.server.requests.clear()
            self.server.faults.extend([fault] if fault != b'{"result":"success"' else [fault + b"}\r\n"])
            self.client.insert("zebra", str(fault))
            self.assertEqual(self.client.lookup("zebra"), str(fault))
            first, second = self.server.requests[:2]
            self.assertEqual(first, second)

    def test_connection_closed_at_once(self) -> None:
        """A connection that is closed as soon as it is accepted is one more failure to repeat after."""
        self.server.faults.append(RESET_AT_ACCEPT)
        self.client.insert("zebra", 1)
        self.assertEqual(self.server.table, {"zebra": 1})
        self.assertEqual(self.pauses, [1])

    def test_too_many_clients(self) -> None:
        """A server that has too many clients says so in RESP; the line is shown and the request repeated."""
        self.server.faults.append(b"-ERR max number of clients reached\r\n")
        self.assertEqual(self.client.size(), 0)
        self.assertIn("max number of clients reached", self.messages[0])

    def test_silence(self) -> None:
        """Without a reply for the time-out the request is repeated on a new connection."""
        client = self.make_client(timeout_seconds=0.05)
        self.server.faults.append(SILENCE)
        client.insert("zebra", 1)
        self.assertEqual(self.server.connections, 2)
        self.assertEqual(self.messages, [f"no answer in 0.05 s; trying {self.server.target} again in 1 s"])

    def test_reply_of_an_interrupted_request(self) -> None:
        """A reply that comes after its request was interrupted is not taken for the next one's."""
        self.client.insert("zebra", 1)
        stream = self.client._stream
        assert stream is not None
        receive = stream.receive

        def interrupted(patience: Patience) -> bytes:
            receive(patience)
            raise KeyboardInterrupt

        self.patch(stream, "receive", interrupted)
        self.assertRaises(KeyboardInterrupt, self.client.size)
        self.assertEqual(self.client.lookup("zebra"), 1)
        self.assertEqual((self.server.connections, self.messages), (2, []))


class RepeatedRemoveTests(ClientTestCase):
    """Remove is the one verb whose repetition could tell the caller something else."""

    def test_lost_reply(self) -> None:
        """A remove that was done, but whose reply was lost, succeeds when its repetition finds no key."""
        self.client.insert("zebra", 1)
        self.server.faults.append(LOSE_REPLY)
        self.client.remove("zebra")
        self.assertEqual(self.server.table, {})
        self.assertEqual(self.pauses, [1])

    def test_lost_reply_then_other_failures(self) -> None:
        """The uncertainty outlives any number of attempts that did not even connect."""
        self.client.insert("zebra", 1)
        self.server.faults.append(LOSE_REPLY)

        def away_for_two() -> None:
            self.server.stop() if len(self.pauses) == 1 else None
            self.server.start() if len(self.pauses) == 3 else None

        self.during_pause = away_for_two
        self.client.remove("zebra")
        self.assertEqual(self.pauses, [1, 2, 4])

    def test_remove_that_never_left(self) -> None:
        """A remove that was only ever refused a connection cannot have been done: a missing key is a KeyError."""
        self.server.stop()
        self.during_pause = self.server.start
        self.assertRaises(KeyError, self.client.remove, "zebra")
        self.assertEqual(self.pauses, [1])

    def test_next_remove_starts_afresh(self) -> None:
        """That one remove was repeated says nothing about the next: its missing key is a KeyError."""
        self.client.insert("zebra", 1)
        self.server.faults.append(LOSE_REPLY)
        self.client.remove("zebra")
        self.assertRaises(KeyError, self.client.remove, "zebra")


class DeadlineTests(ClientTestCase):
    """Requests that do not wait for ever."""

    def setUp(self) -> None:
        """Let the time be that of the pauses."""
        super().setUp()
        self.client = self.make_client(deadline_seconds=10, clock=lambda: sum(self.pauses))

    def test_nobody_listens(self) -> None:
        """The pauses fill the time and no more; then the error says that nothing was done, and why."""
        self.server.stop()
        error = self.assertRaises(DeadlineExceeded, self.client.insert, "zebra", 1)
        self.assertEqual((self.pauses, len(self.messages)), ([1, 2, 4, 3], 3))
        self.assertIsInstance(error, TimeoutError)
        self.assertFalse(error.may_be_done)
        where = self.server.target
        self.assertEqual(
            str(error), f"insert had no answer from {where} in 10 s: it was not done, since it was never sent"
        )
        self.assertIsInstance(error.__cause__, ConnectionRefusedError)

    def test_reply_is_lost(self) -> None:
        """A request that was sent may have been done, whatever happened to later attempts."""
        self.server.faults.append(LOSE_REPLY)
        self.during_pause = lambda: self.server.stop() if len(self.pauses) == 1 else None
        error = self.assertRaises(DeadlineExceeded, self.client.insert, "zebra", 1)
        self.assertTrue(error.may_be_done)
        self.assertIn("it may or may not have been done", str(error))
        self.assertEqual(self.server.table, {"zebra": 1})

    def test_silence(self) -> None:
        """A deadline ends silence that would not be the end by itself; the client can be used afterwards."""
        client = self.make_client(timeout_seconds=60, clock=lambda: 10.0 * len(self.server.requests))
        self.server.faults.append(SILENCE)
        error = self.assertRaises(DeadlineExceeded, client.insert, "zebra", 1, deadline_seconds=5)
        self.assertTrue(error.may_be_done)
        self.assertEqual(client.lookup("zebra"), 1)
        self.assertEqual((self.server.connections, self.messages), (2, []))

    def test_of_a_single_call(self) -> None:
        """Every verb takes a deadline of its own, in place of the client's; infinity is none."""
        self.server.stop()
        calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            (self.client.insert, ("k", 1)),
            (self.client.lookup, ("k",)),
            (self.client.remove, ("k",)),
            (self.client.size, ()),
            (self.client.query, ("a", 1)),
        ]
        for function, arguments in calls:
            before = sum(self.pauses)
            self.assertRaises(DeadlineExceeded, function, *arguments, deadline_seconds=0.5)
            self.assertEqual(sum(self.pauses) - before, 0.5)
        self.during_pause = lambda: self.server.start() if sum(self.pauses) > 100 else None
        self.assertEqual(self.client.size(deadline_seconds=math.inf), 0)

    def test_over_before_it_began(self) -> None:
        """With no time nothing is sent."""
        self.assertFalse(self.assertRaises(DeadlineExceeded, self.client.size, deadline_seconds=0).may_be_done)
        self.assertEqual(self.server.requests, [])

    def test_catalog_that_is_silent(self) -> None:
        """The deadline ends the question to the catalog too."""
        catalog = FakeServer(trickle(b"", b"", 60))
        self.addCleanup(catalog.stop)
        client = self.make_client("me-a5", catalog=catalog.target, timeout_seconds=60)
        self.assertRaises(DeadlineExceeded, client.size, deadline_seconds=0.05)


class HelpTests(SynchronousTestCase):
    """What `help` says."""

    def test_what_a_user_must_know(self) -> None:
        """Of both clients: errors, time, threads, forks, and each option of the constructor."""
        for client in (Client, DeferredClient):
            text = pydoc.plain(pydoc.render_doc(client))
            for word in ("Errors", "Time", "Threads", "Forks", "DeadlineExceeded", "may_be_done", "RequestRefused"):
                self.assertIn(word, text)
            for option in inspect.signature(client).parameters:
                self.assertIn(f"`{option}`", text)


class ProjectTests(ClientTestCase):
    """A client whose target is a project."""

    def setUp(self) -> None:
        """Start a catalog that knows the server."""
        super().setUp()
        self.catalog = FakeCatalog()
        self.addCleanup(self.catalog.stop)
        self.announce(self.server)
        self.client = self.make_client("me-a5", catalog=self.catalog.address)

    def announce(self, server: FakeServer) -> None:
        """Let the catalog tell of this server."""
        self.catalog.list(ENTRY | {"address": "127.0.0.1", "port": server.port})

    def test_looked_up_once_a_connection(self) -> None:
        """The catalog is asked for a connection, not for each request."""
        self.client.insert("zebra", 1)
        self.assertEqual(self.client.lookup("zebra"), 1)
        self.assertEqual(self.catalog.paths, ["/query.json"])

    def test_server_that_moved(self) -> None:
        """A server that comes back on another port is found there."""
        self.assertEqual(self.client.size(), 0)
        self.server.stop()
        successor = FakeServer()
        self.addCleanup(successor.stop)
        successor.table["zebra"] = "here"
        self.during_pause = lambda: self.announce(successor)
        self.assertEqual(self.client.lookup("zebra"), "here")

    def test_catalog_without_the_project(self) -> None:
        """A project that is not announced yet is waited for like a server that is not there."""
        self.catalog.list()
        self.during_pause = lambda: self.announce(self.server)
        self.assertEqual(self.client.size(), 0)
        self.assertEqual(len(self.messages), 1)
        self.assertIn("knows no server of project 'me-a5'", self.messages[0])


class ImportTests(SynchronousTestCase):
    """What `kvstore.client` needs."""

    def test_nothing_but_python(self) -> None:
        """Importing the client imports nothing that would have to be installed, and no room of the server but base."""
        program = (
            "import kvstore.client, sys; print(sorted(name for name in sys.modules if name.partition('.')[0] in "
            "('twisted', 'orjson', 'hiredis', 'kvstore')))"
        )
        root = Path(kvstore.__file__).parent.parent
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
        self.assertEqual(ran.stderr, "")
        shown = ran.stdout
        self.assertNotIn("twisted", shown)
        self.assertNotIn("orjson", shown)
        self.assertNotIn("hiredis", shown)
        for room in ("edge", "session", "commands", "wire", "store"):
            self.assertNotIn(f"kvstore.{room}", shown)
        self.assertIn("kvstore.client", shown)


class SeveralServersTests(ClientTestCase):
    """A target that names the servers of a group."""

    def test_the_one_that_leads_is_found(self) -> None:
        """Without a pause, past one that is not there, and one that follows; and again when another leads."""
        leader, gone = FakeServer(), FakeServer()
        gone.stop()
        self.addCleanup(leader.stop)
        follows = reply(1, result="failure", error="You can't write against a read only replica.")
        self.server.faults.append(follows)
        client = self.make_client(f"{gone.target},{self.server.target},{leader.target}")
        client.insert("key", "value")
        self.assertEqual((self.pauses, leader.table), ([0, 0], {"key": "value"}))
        self.assertIn("the server does not lead its group", self.messages[1])
        leader.stop()
        gone.start()
        client.insert("key", "other")
        self.assertEqual((gone.table, sum(self.pauses)), ({"key": "other"}, 1))
