"""A group in one process: whole servers, without sockets, files and time, over a simulated shared log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from time import perf_counter_ns
from typing import Any

from hiredis import ProtocolError, Reader, pack_command
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from kvstore.base.address import Address
from kvstore.base.limits import DATABASES
from kvstore.base.slots import Slots, parse_slots
from kvstore.commands.context import Server
from kvstore.commands.membership import Life, changed_sides
from kvstore.edge.factory import KVStoreFactory
from kvstore.edge.group.joining import Fetch
from kvstore.edge.group.node import GroupNode
from kvstore.edge.group.opening import identity_of
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.settings import GroupSettings, ReadPolicy
from kvstore.edge.turn import Turn
from kvstore.session.hooks import Hooks
from kvstore.store.group_store import GroupStore
from kvstore.store.merge import merge
from kvstore.store.replica import Ended
from kvstore.store.store import Store
from kvstore.testing.memory_server import MemoryServer
from kvstore.testing.simulated_disk import SimulatedDisk
from kvstore.testing.simulated_shared_log import SimulatedConnection, SimulatedSharedLog, Trouble
from kvstore.values import TYPES

LEASE_MS = 2000


class MemoryRegister:
    """A `ClusterRegister` in memory, which answers with the next turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.text = ""

    def read(self, done: Callable[[str], None]) -> None:
        """See `ClusterRegister`."""
        self._clock.callLater(0, done, self.text)

    def change(self, before: str, after: str, done: Callable[[str], None]) -> None:
        """See `ClusterRegister`."""
        if self.text == before:
            self.text = after
        self.read(done)

    def stop(self) -> None:
        """See `ClusterRegister`."""


class MemoryNode(MemoryServer):
    """One server of a group: a `MemoryServer` with a `GroupNode`. `ended`: why it ended by itself.

    `steady_ns`: the clock by which the server times its work. `databases`: how many it has, unless it has slots.
    `starts`: how many there were.
    """

    databases = DATABASES
    starts = 0
    steady_ns: Callable[[], int] = staticmethod(perf_counter_ns)

    def __init__(self, group: MemoryGroup, number: int, reads: ReadPolicy) -> None:
        self.group = group
        self.address = Address(f"{group.name if group.slots else 'node'}{number}", 6380)
        self.reads: ReadPolicy = reads
        self.ended: list[Ended] = []
        super().__init__(group.clock_of(number), SimulatedDisk(record=False))

    def start(self) -> None:
        """See `MemoryServer`."""
        self.starts += 1
        self.connection: SimulatedConnection = self.group.log.connect()
        store = GroupStore(
            self.disk, TYPES, lambda: self.now_ms * 1000, self._random.randbytes, identity=identity_of(self.group.name),
            databases=self.databases if self.group.slots is None else 1,
        )  # fmt: skip
        self.store: Store = store
        self.group_store = store
        self.server = Server(self.store, lambda: self.now_ms, self.settings.as_config(), "0" * 40)
        self.server.waiting.call_later = self.clock.callLater
        self.server.compact_now = lambda: self.clock.callLater(0, self.compact) is not None
        self.turn = Turn(self.clock)
        settings = GroupSettings(
            name=self.group.name, log="etcd://nowhere:1", advertise=self.address, lease_ms=LEASE_MS, reads=self.reads,
            slots=self.group.slots,
        )  # fmt: skip
        self.node = GroupNode(
            self.clock, settings, store, self.connection, self._ended, self._reach, self.chance(), self.now_ns,
            self.group.register,
        )  # fmt: skip
        hooks = Hooks()
        self.commit = GroupCommit(
            self.turn, self.store, self.node.writer, "everysec", self._stop, self.between_commits,
            lambda: len(self.factory.protocols), self.steady_ns,
        )  # fmt: skip
        self.node.join(self.server, self.commit, hooks)
        self.held_reads = reads = self.node.reads(self.server, self.turn)
        self.factory = KVStoreFactory(
            self.settings, self.server, self.turn, self.commit, hooks, self._stop, reads.make_session,
            reads.make_together,
        )  # fmt: skip
        self.turn.drive(self.commit, self.factory.arrivals)
        self.node.startService()
        self.running = True

    def now_ns(self) -> int:
        """By the clock that leases go by."""
        return int(self.clock.seconds() * 1_000_000_000)

    def chance(self) -> Random:
        """What is drawn from for the run that starts."""
        return Random(f"{self.group.seed}/{self.address.host}/{self.starts}")

    def between_commits(self) -> None:
        """No commit is in flight."""

    def _reach(self, place: Address, fetch: Fetch) -> None:
        """Connect to another node, which runs or does not."""
        found = [node for node in self.group.nodes if node.address == place and node.running]
        if found:
            found[0].connect(self.outgoing(fetch))
        else:
            self.clock.callLater(0, fetch.fail, "nobody is there")

    def outgoing(self, protocol: Protocol) -> Protocol:
        """A protocol of this server's at a connection to another one: how it hears of that."""
        return protocol

    def compact(self) -> None:
        """Merge all there is."""
        self.group.until(lambda: self.store.in_flight is None)
        self.store.sync()
        job = self.store.seal()
        self.store.finish_compaction(merge(self.disk, TYPES, job, self.store.now_us()))

    def _ended(self, ended: Ended) -> None:
        self.ended.append(ended)
        for protocol in list(self.factory.protocols.values()):
            protocol.leave(changed_sides())
        self.clock.callLater(0, self.kill)

    def kill(self) -> None:
        """See `MemoryServer`."""
        self.connection.stop()
        self.node.stopService()
        super().kill()


class MemoryGroup:
    """So many nodes over one simulated log, which all go by `clock`. `make_node`: makes each. `seed`: of what is drawn.

    `slots`: that it has, of the cluster of `beside`, another group.
    """

    make_node: Callable[[MemoryGroup, int, ReadPolicy], MemoryNode] = MemoryNode

    def __init__(
        self,
        nodes: int = 3,
        seed: int = 1,
        reads: ReadPolicy = "lease",
        trouble: Trouble | None = None,
        *,
        name: str = "shop",
        slots: str = "",
        beside: MemoryGroup | None = None,
    ) -> None:
        self.clock: Clock = Clock() if beside is None else beside.clock
        self.register: MemoryRegister = MemoryRegister(self.clock) if beside is None else beside.register
        self.name = name
        self.seed = seed
        self.slots: Slots | None = parse_slots(slots) if slots else None
        self.log = SimulatedSharedLog(self.clock.callLater, Random(seed), trouble)
        self.nodes = [type(self).make_node(self, number, reads) for number in range(1, nodes + 1)]

    def clock_of(self, number: int) -> Any:
        """The clock of a node, which may be its own."""
        return self.clock

    def go_on(self, seconds: float) -> None:
        """Let time pass, a hundredth of a second at a time."""
        self.clock.pump([0.01] * round(seconds * 100))

    def until(self, happens: Callable[[], Any], patience_s: float = 30.0) -> Any:
        """Let time pass until that is true of something, and return it."""
        for _ in range(round(patience_s * 100)):
            if found := happens():
                return found
            self.clock.advance(0.01)
        raise AssertionError(f"it did not happen within {patience_s} s")

    def leader(self) -> MemoryNode:
        """The node that leads, when there is one."""
        return self.until(lambda: next((node for node in self.nodes if node.running and node.node.member.leads), None))

    def all_heard(self, node: MemoryNode) -> None:
        """Let time pass until a node knows of all others that they are alive."""
        others = len(self.nodes) - 1
        self.until(lambda: [each.life for each in node.node.member.others()] == [Life.ALIVE] * others)

    def followers(self) -> list[MemoryNode]:
        """The other nodes that run."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader and node.running]


class Talker(Protocol):
    """A client of one node, in RESP. `replies`: that have come, each a value of hiredis's, errors among them;
    `received`: all bytes.
    """

    def __init__(self, node: MemoryNode) -> None:
        self._reader = Reader(encoding="utf-8")
        self._group = node.group
        self.replies: list[Any] = []
        self.received = b""
        self.is_connected = True
        node.connect(self)

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self.received += data
        self._reader.feed(data)
        with contextlib.suppress(ProtocolError):  # a JSON line
            while (reply := self._reader.gets()) is not False:
                self.replies.append(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self.is_connected = False

    def write(self, data: bytes) -> None:
        """Send bytes, of any grammar: `received` has what comes."""
        transport: Any = self.transport
        transport.write(data)

    def send(self, *words: object) -> None:
        """Send a request."""
        self.write(pack_command(tuple(str(word) for word in words)))

    def ask(self, *words: object) -> Any:
        """Send a request, and let time pass until its reply is there: which is returned."""
        before = len(self.replies)
        self.send(*words)
        self._group.until(lambda: len(self.replies) > before)
        return self.replies[before]
