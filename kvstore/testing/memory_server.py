"""A whole server within a test: no process, no socket, no file, and no time but the test's.

    class GreetingTests(SynchronousTestCase):
        def test_it_is_stored(self):
            server = MemoryServer()
            client = DeferredClient(server.clock, "memory:1", endpoint_for=lambda address: server.endpoint)
            stored = client.insert("greeting", "hello")
            server.clock.advance(0)                        # let all that is due happen
            self.successResultOf(stored)
            server.power_cut()                             # what was acknowledged is there afterwards
            ...

Any client for Twisted takes an endpoint, or is a protocol that `connect` connects. The parts are the real server's:
its grammars, commands, group commit, log and recovery, on a `SimulatedDisk`, which can fail and fill up as well. What
it has not: compaction (its child is a process), TLS, timers of its own, such as those that drop idle clients.

With `MemoryServer(reactor)` it runs on Twisted's reactor, for tests that return Deferreds. For programs that need a
port there is `kvstore.testing.server_process`.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from kvstore.base.errors import StorageFault
from kvstore.commands.context import Server
from kvstore.edge.factory import KVStoreFactory
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.settings import Settings
from kvstore.edge.turn import Turn
from kvstore.edge.writers import InLoopWriter
from kvstore.session.hooks import Hooks
from kvstore.store.store import Store
from kvstore.testing.fates import AllLost, Chooser
from kvstore.testing.memory_transport import MemoryTransport, connect
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.values import TYPES

_log = Logger()

#: The time at which every server begins: milliseconds since the epoch, some day in 2033.
START_MS = 2_000_000_000_000
_ADDRESS = IPv4Address("TCP", "127.0.0.1", 6380)


class MemoryServer:
    """See the module. It runs when it is made.

    `clock`: of a test, or a reactor; None: a Clock of its own, under that name. `disk`: with the files of an earlier
    server, or empty. `settings`: options of the server, by their names in `kvstore.edge.settings`.

    `endpoint`: where clients connect. `running`: whether it accepts them. `faults`: what made it stop by itself, such
    as a failed sync.
    """

    def __init__(self, clock: Any = None, disk: SimulatedDisk | None = None, **settings: Any) -> None:
        self.clock = Clock() if clock is None else clock
        self.disk = SimulatedDisk(record=False) if disk is None else disk
        self.settings = Settings(data_path="memory", overlap="never", **settings)
        self.faults: list[StorageFault] = []
        self._began_s = self.clock.seconds()
        self._random = Random(0)
        self._transports: list[MemoryTransport] = []
        self.endpoint = MemoryEndpoint(self)
        self.start()

    @property
    def now_ms(self) -> int:
        """The time of day: it goes as the clock does."""
        return START_MS + round(1000 * (self.clock.seconds() - self._began_s))

    def start(self) -> None:
        """Recover what is on the disk, and accept connections. Raises StartRefused and its kin, as a start does."""
        self.store = Store(self.disk, TYPES, lambda: self.now_ms * 1000, self._random.randbytes)
        self.server = Server(self.store, lambda: self.now_ms, self.settings.as_config(), "0" * 40)
        self.server.waiting.call_later = self.clock.callLater
        self.turn = Turn(self.clock)
        self.server.report_bug = lambda text: _log.failure("{text}", text=text)
        hooks = Hooks()
        self.commit = GroupCommit(
            self.turn, self.store, InLoopWriter(self.store, sync=self.settings.sync == "always"), self.settings.sync,
            self._stop, lambda: None,
        )  # fmt: skip
        hooks.commit_now = self.commit.commit_now
        self.factory = KVStoreFactory(self.settings, self.server, self.turn, self.commit, hooks, self._stop)
        self.turn.drive(self.commit, self.factory.arrivals)
        self.running = True

    def connect(self, client: IProtocol) -> MemoryTransport:
        """Connect a client's protocol; returns its transport. Raises ConnectionRefusedError if none is accepted."""
        if not self.running:
            raise ConnectionRefusedError
        self._transports = [transport for transport in self._transports if transport.connected]
        address = IPv4Address("TCP", "127.0.0.1", 50_000 + self.server.last_identity)
        protocol = self.factory.buildProtocol(address)
        transport = connect(self.clock, client, protocol, (address, _ADDRESS))
        self._transports.append(transport)
        return transport

    def kill(self) -> None:
        """End it as kill -9 does: connections are lost, whatever was written can be read by the next `start`."""
        self._end(self.disk.kill())

    def power_cut(self, chooser: Chooser | None = None) -> None:
        """End it, and let the disk lose what was not synced. `chooser`: of what is lost; None: all of it."""
        self._end(self.disk.crash(chooser or AllLost()))

    def _end(self, left: SimulatedDisk) -> None:
        self.running = False
        self.disk = left
        for transport in self._transports:
            transport.break_off()

    def _stop(self, fault: StorageFault) -> None:
        """What fail-stop is here: no client hears anything any more."""
        self.faults.append(fault)
        self.running = False
        for protocol in list(self.factory.protocols.values()):
            protocol.close()


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """For whatever takes an endpoint of Twisted: connects to a server that runs, or is refused."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        protocol = factory.buildProtocol(_ADDRESS)
        if protocol is None:
            return fail(NoProtocol())
        try:
            self._server.connect(protocol)
        except ConnectionRefusedError:
            return fail()
        return succeed(protocol)
