"""The edge without sockets: clients' connections on a simulated clock and a simulated disk, whose turns tests end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base.disk import File
from kvstore.base.errors import StorageFault
from kvstore.commands.context import Server
from kvstore.edge.factory import KVStoreFactory
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.settings import Settings, SyncPolicy
from kvstore.edge.turn import Turn
from kvstore.edge.writers import InLoopWriter, Writer
from kvstore.session.hooks import Hooks
from kvstore.store.store import Commit, Store
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.string_client import StringClient
from kvstore.values import TYPES
from tests.kit.harness import START_MS
from tests.kit.transports import SocketTransport

OK = b"+OK\r\n"


class Connection:
    """One connected client: a protocol and its transport."""

    def __init__(self, factory: KVStoreFactory, address: IAddress, transport: Any = None) -> None:
        self.protocol = factory.buildProtocol(address)
        self.transport = transport or StringClient(address)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Bytes from the client."""
        self.protocol.dataReceived(data)

    def ask(self, data: bytes) -> bytes:
        """Bytes from the client; returns what it got since the last time."""
        self.send(data)
        return self.received()

    def received(self) -> bytes:
        """What the client got since the last time."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def end_input(self) -> None:
        """The client says that it will send no more."""
        assert isinstance(self.protocol, KVStoreProtocol)
        self.protocol.readConnectionLost()

    def lose(self, reason: Exception) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(reason))


class ProtocolTestCase(SynchronousTestCase):
    """A factory over a store on a simulated disk. `options`: of its Settings; `now_ms`: the time."""

    options: dict[str, Any] = {}  # noqa: RUF012 - subclasses replace it

    def setUp(self) -> None:
        """Make it."""
        self.now_ms = START_MS
        self.clock = Clock()
        self.disk = SimulatedDisk(record=False)
        self.store = Store(self.disk, TYPES, lambda: self.now_ms * 1000, lambda length: bytes(length))
        settings = Settings(data_path="/nowhere", **self.options)
        self.server = Server(self.store, lambda: self.now_ms, settings.as_config(), "0" * 40)
        self.server.waiting.call_later = self.clock.callLater
        self.faults: list[StorageFault] = []
        self.hooks = Hooks()
        writer = InLoopWriter(self.store, sync=True)
        turn = Turn(self.reactor())
        self.commit = GroupCommit(
            turn, self.store, writer, "always", self.faults.append, lambda: None, steady_ns=lambda: 0
        )
        self.hooks.commit_now = self.commit.commit_now
        self.factory = KVStoreFactory(settings, self.server, turn, self.commit, self.hooks, self.faults.append)
        turn.drive(self.commit, self.factory.arrivals)
        self.connections = 0

    def reactor(self) -> Any:
        """What turns end on."""
        return self.clock

    def connect(self, address: IAddress | None = None) -> Connection:
        """A new client."""
        self.connections += 1
        return Connection(self.factory, address or IPv4Address("TCP", "127.0.0.1", 50_000 + self.connections))

    def turn(self) -> None:
        """The loop's turn ends."""
        self.clock.advance(0)


class TellingReactor:
    """A reactor that tells when a turn ends: when the test says so.

    `ready`: sockets. `coming`: what happens at each further look at the sockets.
    """

    def __init__(self) -> None:
        self._at_end: list[Callable[[], None]] = []
        self.ready = 0
        self.coming: list[Callable[[], None]] = []
        self.looks = 0
        self.seconds = Clock().seconds

    def look_again(self) -> bool:
        """Whether anything comes."""
        self.looks += 1
        if not self.coming:
            return False
        self.coming.pop(0)()
        return True

    def callAtEndOfTurn(self, function: Callable[[], None]) -> None:
        """Keep it."""
        self._at_end.append(function)

    def end_turn(self) -> None:
        """Call what was kept; what is asked for meanwhile waits for the next end."""
        functions, self._at_end = self._at_end, []
        for function in functions:
            function()


class GatheringTestCase(ProtocolTestCase):
    """Clients on sockets, on a reactor that tells."""

    def reactor(self) -> TellingReactor:
        """See `ProtocolTestCase`."""
        self.telling = TellingReactor()
        self.telling.was_idle = True
        return self.telling

    def turn(self) -> None:
        """The loop's turn ends."""
        self.telling.end_turn()

    def connect(self, address: IAddress | None = None, room: int = 2**40) -> Connection:
        """A new client, whose socket takes `room` bytes."""
        self.connections += 1
        address = address or IPv4Address("TCP", "127.0.0.1", 50_000 + self.connections)
        transport = SocketTransport(address)
        transport.kernel.room = room
        return Connection(self.factory, address, transport)


class LateWriter:
    """A writer whose commits are done when `finish` is called. `begun`: all that it was given."""

    overlaps = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: list[Callable[[StorageFault | None], None]] = []
        self.begun: list[Commit] = []

    def begin(self, commit: Commit, done: Callable[[StorageFault | None], None]) -> None:
        """See `Writer`."""
        self.begun.append(commit)
        self._done.append(done)

    def finish(self, fault: StorageFault | None = None) -> None:
        """The commit in flight, the only one, is done."""
        (done,) = self._done
        self._done.clear()
        if fault is None:
            self._store.write(self.begun[-1])
            self._store.sync()
        done(fault)


class FakeWaiter:
    """Notes in `told`, shared by all, what it is told."""

    clients = 1

    def __init__(self, name: str, told: list[tuple[str, int]]) -> None:
        self._name = name
        self._told = told
        self.when_told: Callable[[], None] = lambda: None

    def settled(self, sequence: int) -> None:
        """See `Waiter`."""
        self._told.append((self._name, sequence))
        self.when_told()


class GroupCommitTestCase(SynchronousTestCase):
    """A store on a simulated disk, and a clock."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.disk = SimulatedDisk()
        self.store = Store(self.disk, TYPES, lambda: 1_000_000, lambda length: bytes(length))
        self.faults: list[StorageFault] = []
        self.between = 0
        self.told: list[tuple[str, int]] = []
        self.group: GroupCommit
        self.now_ns = 0

    def make(self, writer: Writer, policy: SyncPolicy = "always") -> GroupCommit:
        """Group commit with this writer."""
        group = GroupCommit(
            self.turn, self.store, writer, policy, self.faults.append, self.count_between, steady_ns=lambda: self.now_ns
        )
        self.turn.drive(group)
        return group

    def wait(self, waiter: FakeWaiter, group: GroupCommit | None = None) -> None:
        """Let it wait for the open commit."""
        (group or self.group).wait(waiter, self.store.pending.sequence)

    def count_between(self) -> None:
        """What is called when no commit is in flight."""
        self.assertIsNone(self.store.in_flight)
        self.between += 1

    def change(self, key: bytes, value: bytes = b"1") -> None:
        """A write request."""
        self.store.table.write(key, value)
        self.store.pending.undo.clear()
        self.store.pending.requests += 1


class FakeSyncer:
    """A syncer that is done when the test says so. `faults`: what `begin` and `finish` raise."""

    def __init__(self) -> None:
        self.begun = 0
        self.done = False
        self.faults: dict[str, OSError] = {}

    def fileno(self) -> int:
        """No descriptor that anybody looks at."""
        return 99

    def begin(self, file: File) -> None:
        """See `Syncer`."""
        if "begin" in self.faults:
            raise self.faults["begin"]
        self.begun += 1
        self.file = file

    def finish(self) -> bool:
        """See `Syncer`."""
        if "finish" in self.faults:
            raise self.faults["finish"]
        if self.done:
            self.file.sync()
        return self.done

    def close(self) -> None:
        """Nothing to do."""
