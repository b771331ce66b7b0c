"""A server without a reactor: a real store on a simulated disk and clock, and sessions, fed and released by hand.

What the edge does at the end of a turn a test does itself: `close` puts the open commit in flight, `settle` says that
it is on disk. So a test can look at any moment in between.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.reply import Reply
from kvstore.commands import WORD_VERBS
from kvstore.commands.client import Client
from kvstore.commands.context import Call, Server
from kvstore.commands.dispatch import Unfinished
from kvstore.session.hooks import Hooks
from kvstore.session.session import Session
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES
from kvstore.wire.parser import RequestParser
from kvstore.wire.resp import pack
from tests.kit.harness import START_MS

UNLIMITED_BYTES = 2**40

OK = b"+OK\r\n"
NIL = b"$-1\r\n"


class Connection:
    """One client of a `Serving`. `ask` gives bytes to its session and returns the replies that may leave.

    `finishes`: whether it goes on with a request that takes more than a slice, as any does on a busy machine.
    """

    finishes = True

    def __init__(self, serving: Serving, identity: int, budget_bytes: int) -> None:
        server = serving.server
        self._serving = serving
        self.client = Client(identity, f"127.0.0.1:{50_000 + identity}", "127.0.0.1:6380", serving.now_ms)
        server.clients[identity] = self.client
        self.woken = 0
        parser = RequestParser(WORD_VERBS)
        self.session = Session(Call(server, self.client), parser, serving.hooks, budget_bytes)
        self.client.peer = self
        self._budget_bytes = budget_bytes

    def ask(self, *requests: bytes | str) -> bytes:
        """Execute requests that come in one go; returns what may leave now.

        Each is a line of words, which goes as RESP; one that begins with `{`, or ends with a line end, goes as it is.
        """
        session = self.session
        session.receive(b"".join(map(to_wire, requests)))
        while self.finishes and session.backlog and session.backlog[0].__class__ is Unfinished:
            session.run(self._budget_bytes)
        return bytes(self.session.take_ready())

    def told(self, *requests: bytes | str) -> bytes:
        """Execute requests, and put what changed on disk; returns all that may leave then."""
        answered = self.ask(*requests)
        self._serving.commit_if_changed()
        return answered + self.released()

    def send(self, message: Reply, needed: int) -> None:
        """See `Peer`."""
        self.session.push(message, needed)

    def wake(self) -> None:
        """See `Peer`; what the edge does then a test does itself."""
        self.woken += 1

    def changed(self) -> None:
        """See `Peer`."""
        self.session.changed()

    def close(self) -> None:
        """See `Peer`."""
        self.session.disconnected()

    def released(self) -> bytes:
        """What may leave now."""
        return bytes(self.session.take_ready())


def to_wire(request: bytes | str) -> bytes:
    """The bytes of a request, see `Connection.ask`."""
    data = request if isinstance(request, bytes) else request.encode()
    if data.endswith(b"\n"):
        return data
    return data + b"\n" if data.startswith(b"{") else pack(*data.split(b" "))


class Serving:
    """See the module. `now_ms`: the clock, for tests to set. `disk`: what another left, if not a new one."""

    def __init__(self, disk: SimulatedDisk | None = None) -> None:
        self.now_ms = START_MS
        self.disk = disk or SimulatedDisk(record=False)
        self.store = Store(self.disk, TYPES, lambda: self.now_ms * 1000, lambda length: bytes(length))
        self.table = self.store.table
        self.server = Server(self.store, lambda: self.now_ms, {}, "0" * 40)
        self.hooks = Hooks()
        self.bugs: list[str] = []
        self.clock = Clock()
        self.server.waiting.call_later = self.clock.callLater
        self.server.report_bug = self.bugs.append
        self._connections: list[Connection] = []

    def connect(self, budget_bytes: int = UNLIMITED_BYTES) -> Connection:
        """Another client."""
        connection = Connection(self, len(self._connections) + 1, budget_bytes)
        self._connections.append(connection)
        return connection

    def close(self) -> Commit:
        """Put the open commit, which must hold something, in flight."""
        assert not self.store.pending.undo, "a request is over, and what it changed could still be taken back"
        commit = self.store.close_commit()
        assert commit is not None
        self.store.write(commit)
        return commit

    def settle(self) -> None:
        """The commit in flight is on disk: release what waited for it."""
        commit = self.store.in_flight
        assert commit is not None
        self.store.sync()
        self.store.settle(commit, durable=True)
        for connection in self._connections:
            connection.session.release(commit.sequence)

    def commit(self) -> None:
        """Put what changed on disk, and release what waited for it."""
        self.close()
        self.settle()

    def commit_if_changed(self) -> None:
        """The same, when there may be nothing."""
        if self.store.has_changes():
            self.commit()

    def state(self) -> Any:
        """What all requests so far have made: values, deadlines, and what the open commit holds of it."""
        table = self.table
        values = {
            key: value if value.__class__ is bytes else list(table.whole(key)) for key, value in table.values.items()
        }
        return values, dict(table.deadlines), list(table.pending.operations)


class SessionTestCase(SynchronousTestCase):
    """A server by hand, and two clients of it."""

    def setUp(self) -> None:
        """Make them."""
        self.serving = Serving()
        self.one = self.serving.connect()
        self.two = self.serving.connect()
