"""The tree of services on a reactor in memory and a clock by hand; the data directory is a real one."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionAborted
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvstore.base import slices
from kvstore.base.disk import RealDisk
from kvstore.base.errors import DirectoryInUse, InvalidRequest, StorageFault
from kvstore.edge import exits, service, upkeep
from kvstore.edge.exits import LEADS_NO_MORE, OwnProcess, StartEnded
from kvstore.edge.protocol import KVStoreProtocol
from kvstore.edge.service import KVStoreService, make_tree
from kvstore.edge.settings import Settings
from kvstore.store.replica import End, Ended
from kvstore.store.store import Store
from kvstore.testing.string_client import StringClient
from kvstore.values import TYPES


class ServiceTestCase(SynchronousTestCase):
    """A server whose every surrounding is the test's: `reactor`, `now_us` (the wall clock), `exits`, both outputs."""

    def setUp(self) -> None:
        """Put them in place."""
        self.reactor = MemoryReactorClock()
        self.data_path = os.path.abspath(self.mktemp())
        self.exits: list[int] = []
        self.now_us = 2_000_000_000_000_000
        clock = SimpleNamespace(time_ns=lambda: self.now_us * 1000, monotonic=time.monotonic)
        self.patch(service, "time", clock)
        self.patch(exits, "clients_allowed", lambda max_clients, reactor: max_clients)
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "__stdout__", self.output)
        self.patch(sys, "__stderr__", self.errors)
        self.patch(sys, "stderr", io.StringIO())  # twistd has put its log in the place of stderr

    def make(self, **options: Any) -> KVStoreService:
        """A server, not started; stopped after the test."""
        # The reactor in memory would never tell that a sync which overlaps the loop has ended.
        settings = Settings(data_path=self.data_path, overlap="never", **options)
        tree = KVStoreService(settings, self.reactor, OwnProcess(self.reactor, self.exits.append, lambda: None))
        self.addCleanup(lambda: self.stop(tree) if tree.running else None)
        return tree

    def start(self, **options: Any) -> KVStoreService:
        """A server, started."""
        tree = self.make(**options)
        tree.startService()
        return tree

    def stop(self, tree: KVStoreService) -> None:
        """Stop it; all there is to wait for in here is done at once."""
        self.successResultOf(tree.stopService())

    def connect(self, tree: KVStoreService) -> tuple[KVStoreProtocol, StringClient]:
        """A client."""
        protocol, transport = tree.factory.buildProtocol(None), StringClient()
        assert isinstance(protocol, KVStoreProtocol)
        protocol.makeConnection(transport)
        return protocol, transport

    def marked(self, store: Store) -> list[int | None]:
        """The commits that the two marks of the log name."""
        return [mark and mark.sequence for mark in store.log.marks]

    def on_disk(self) -> Store:
        """The store that a server started now would have. The one before must be stopped."""
        disk = RealDisk(self.data_path)
        store = Store(disk, TYPES, lambda: self.now_us, os.urandom)
        self.addCleanup(disk.unlock)
        self.addCleanup(store.close)
        return store


class EndTests(ServiceTestCase):
    """How a server of a group ends that cannot go on."""

    def test_how_loudly_it_is_told(self) -> None:
        """What was asked for is information, another leader a warning, damage critical; the status tells the parent."""
        told = {}
        for end in End:
            tree = self.start(port=None)
            with capturedLogs() as logs:
                tree._leads_no_more(Ended(end, "detail"))
            told[end] = logs[0]["log_level"], self.exits.pop()
            self.assertTrue(formatEvent(logs[0]).startswith(f"{end.value}: detail; "))
            self.stop(tree)
        self.assertEqual(told, {
            End.HANDED_OVER: (LogLevel.info, LEADS_NO_MORE), End.JOINED: (LogLevel.info, LEADS_NO_MORE),
            End.FENCED: (LogLevel.warn, LEADS_NO_MORE), End.DIFFERS: (LogLevel.critical, 1),
            End.NEWER: (LogLevel.critical, 1), End.SLOTS: (LogLevel.critical, 1),
        })  # fmt: skip


class StartTests(ServiceTestCase):
    """How it begins."""

    def test_nothing_is_opened_before_the_start(self) -> None:
        """twistd makes the tree before it becomes a daemon."""
        make_tree(Settings(data_path=self.data_path), self.reactor)
        self.assertFalse(os.path.exists(self.data_path))
        self.assertEqual((self.reactor.tcpServers, self.reactor.getDelayedCalls()), ([], []))

    def test_recovered(self) -> None:
        """Whoever wants to know is told once everything is in memory, before the first client."""
        seen: list[Any] = []
        settings = Settings(data_path=self.data_path)
        process = OwnProcess(self.reactor, recovered=lambda: seen.append((tree.factory, len(self.reactor.tcpServers))))
        tree = KVStoreService(settings, self.reactor, process)
        self.addCleanup(lambda: self.stop(tree))
        tree.startService()
        self.assertEqual(seen, [(tree.factory, 0)])

    def test_listens(self) -> None:
        """On the port of loopback, and says so on standard output once it does."""
        tree = self.start(port=6380)
        (port, factory, _, interface) = self.reactor.tcpServers[0]
        self.assertEqual((port, factory, interface), (6380, tree.factory, "127.0.0.1"))
        self.assertEqual(self.output.getvalue(), f"Listening on port {tree.listening.port_numbers[0]}\n")

    def test_several_endpoints(self) -> None:
        """Each has its line."""
        tree = self.start(port=0, listen=("tcp:7000:interface=127.0.0.1", "unix:/tmp/socket"))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [0, 7000])
        self.assertEqual(self.reactor.unixServers[0][0], "/tmp/socket")
        self.assertEqual(self.output.getvalue().count("Listening on "), 3)
        self.assertIn("Listening on /tmp/socket\n", self.output.getvalue())
        self.assertEqual(tree.listening.described[-1], "name=unix,bind=/tmp/socket")

    def test_refused_for_strangers(self) -> None:
        """Where anybody could come in: nothing is listened on then; unless that is wanted, and the log says so."""
        self.assertRaises(StartEnded, self.make(listen=("tcp:7000",)).startService)
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertIn("kvstore: --listen 'tcp:7000': anybody ", self.errors.getvalue())

    def test_insecure(self) -> None:
        """Strangers may come, and the log says so."""
        with capturedLogs() as logs:
            self.start(port=None, listen=("tcp:7000",), insecure=True)
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [7000])
        self.assertIn("--insecure: anybody who can reach tcp:7000", " ".join(map(formatEvent, logs)))

    def test_refused_for_the_directory(self) -> None:
        """One line on stderr and in the log, and exit status 1; nothing is listened on."""
        other = RealDisk(self.data_path)
        other.lock()
        self.addCleanup(other.unlock)
        with capturedLogs() as logs:
            error = self.assertRaises(StartEnded, self.make().startService)
        self.assertEqual((error.code, self.reactor.tcpServers), (1, []))
        self.assertRegex(self.errors.getvalue(), r"\Akvstore: .* is in use by a server .*\n\Z")
        self.assertIn(self.errors.getvalue().strip(), [formatEvent(event) for event in logs])

    def test_refused_for_the_port(self) -> None:
        """The other endpoints do not matter then."""

        def taken(port: int, *arguments: Any, **options: Any) -> Any:
            raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))

        self.patch(self.reactor, "listenTCP", taken)
        tree = self.make(port=6380)
        error = self.assertRaises(StartEnded, tree.startService)
        self.assertEqual((error.code, self.exits), (1, []))
        self.assertIn("cannot listen on tcp:6380:", self.errors.getvalue())
        self.assertIn("choose another --port", self.errors.getvalue())

    def test_a_refusal_is_heard_by_twistd_and_by_the_interpreter(self) -> None:
        """twistd tells its waiting parent of an Exception, and of nothing else; SystemExit shows no traceback."""
        self.assertTrue(issubclass(StartEnded, Exception) and issubclass(StartEnded, SystemExit))
        self.assertEqual(str(StartEnded("kvstore: no")), "kvstore: no")

    def test_what_recovery_found_is_told(self) -> None:
        """Keys, commit, and a torn tail that was cut off."""
        tree = self.start()
        self.connect(tree)[0].dataReceived(b"SET a 1\r\n")
        self.stop(tree)
        log = os.path.join(self.data_path, "table.txn")
        with open(log, "r+b") as file:
            content = file.read()
            file.seek(content.rindex(b"$1\r\n1\r\n") + 7)
            file.write(b"torn")
        with capturedLogs() as logs:
            self.start()
        lines = [formatEvent(event) for event in logs]
        self.assertTrue(any("recovered 1 keys as of commit 1 " in line for line in lines), lines)
        (torn,) = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]
        self.assertIn("cut a torn tail", torn)


class RunningTests(ServiceTestCase):
    """What it does while it runs."""

    def test_serves(self) -> None:
        """A write is on disk when its reply leaves, at the end of the turn."""
        tree = self.start()
        protocol, transport = self.connect(tree)
        protocol.dataReceived(b"SET a 1\r\n")
        self.assertEqual(transport.value(), b"")
        self.reactor.advance(0)
        self.assertEqual((transport.value(), tree.store.durable_sequence), (b"+OK\r\n", 1))

    def test_marks_what_is_on_disk(self) -> None:
        """Within a second of the last commit the log says that it was promised; then nothing more is written."""
        tree = self.start()
        self.connect(tree)[0].dataReceived(b"SET a 1\r\n")
        self.reactor.advance(0)
        self.assertEqual(self.marked(tree.store), [0, 0])
        self.reactor.advance(1)
        self.assertEqual(self.marked(tree.store), [1, 1])
        marks = tree.store.log.marks
        self.reactor.advance(1)
        self.assertEqual(tree.store.log.marks, marks)

    def test_marks_what_is_on_disk_by_seconds(self) -> None:
        """Under `--sync everysec` one mark follows each sync, so that both are never torn; both say it in the end."""
        syncs: list[Deferred[None]] = []
        self.patch(upkeep, "in_thread", lambda reactor, sync: syncs.append(Deferred()) or syncs[-1])
        tree = self.start(sync="everysec")
        self.connect(tree)[0].dataReceived(b"SET a 1\r\n")
        self.reactor.advance(0)
        seen = []
        for _ in range(6):
            self.reactor.advance(1)
            while syncs:
                syncs.pop().callback(None)
                seen.append(self.marked(tree.store))
        self.assertEqual(seen, [[1, 0], [1, 1], [1, 1]])

    def test_expired_keys_are_removed_some_at_a_time(self) -> None:
        """However many there are, no turn removes more than its slice; all go, each with its record in the log."""
        self.patch(slices, "SLICE_NS", 0)
        tree = self.start()
        protocol, _ = self.connect(tree)
        for number in range(2000):
            protocol.dataReceived(b"SET k%d v PX 1\r\n" % number)
        self.reactor.advance(0)
        self.now_us += 2000
        removed = []
        while len(tree.store.table.values):
            before = len(tree.store.table.values)
            self.reactor.advance(0.01)
            removed.append(before - len(tree.store.table.values))
        self.assertLessEqual(max(removed), 2 * 16)  # the timer's round, and a hurried one
        self.assertLessEqual(len([count for count in removed if count > 16]), 1)
        self.stop(tree)
        self.assertEqual(self.on_disk().table.values, {})

    def test_idle_clients(self) -> None:
        """--idle-timeout is looked after."""
        tree = self.start(idle_timeout_s=1)
        _, transport = self.connect(tree)
        self.reactor.pump([0.1] * 15)
        self.assertFalse(transport.aborted)
        self.reactor.pump([0.1] * 10)
        self.assertTrue(transport.aborted)

    def test_a_bug_in_a_timer(self) -> None:
        """It is logged, and the timer goes on."""
        tree = self.start()

        def broken() -> None:
            raise ZeroDivisionError("planted by a test")

        self.patch(tree.store.table.scan_order, "age", broken)
        self.reactor.advance(1)
        self.reactor.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.exits, [])

    def test_trace(self) -> None:
        """Each request has a line in the file, and each client that comes or goes."""
        path = os.path.abspath(self.mktemp())
        tree = self.start(trace_path=path)
        client = self.connect(tree)[0]
        client.dataReceived(b"SET a 1\r\n")
        client.connectionLost()
        self.reactor.advance(1)
        with open(path, encoding="ascii") as trace:
            kinds = [line.split("\t")[6] for line in trace if not line.startswith("#")]
        self.assertEqual(kinds, ["connect", "write", "disconnect"])
        self.stop(tree)

    def test_settings_that_change(self) -> None:
        """When to compact; from when on clients are not read from, which is no later than when they are dropped."""
        tree = self.start(compact_after_entries=7, drop_client_bytes=2**21)
        configuration, policy = tree.server.configuration, tree.store.policy
        self.assertEqual((configuration.text("compact-after"), policy.after_entries), ("7", 7))
        for text, entries in (("9", 9), ("0", None)):
            configuration.set([(b"compact-after", text.encode())])
            self.assertEqual(policy.after_entries, entries)
        configuration.set([(b"pause-reading-bytes", b"2mb")])
        error = self.assertRaises(InvalidRequest, configuration.set, [(b"pause-reading-bytes", b"2097153")])
        self.assertIn("at most what --drop-client-bytes says, 2097152", str(error))
        self.stop(tree)

    def test_clients_in_the_log(self) -> None:
        """Who comes and goes, and how, if that is asked for."""
        tree = self.start(log_clients=True)
        with capturedLogs() as events:
            self.connect(tree)[0].connectionLost()
            self.connect(tree)[0].connectionLost(Failure(ConnectionAborted()))
        first, second, third = (re.sub("@[^ ]+", "", formatEvent(event)) for event in (*events[:2], events[3]))
        self.assertEqual((first, second), ("client 1 connected", "client 1 disconnected (closed)"))
        self.assertIn("client 2 disconnected (Connection was aborted locally", third)
        for value, lines in (("no", 0), ("yes", 1), ("yes", 1)):
            tree.server.configuration.set([(b"log-clients", value.encode())])
            with capturedLogs() as events:
                self.connect(tree)
            self.assertEqual(len(events), lines, value)
        self.stop(tree)

    def test_everysec(self) -> None:
        """A commit counts as durable when a thread's sync that began after it has ended; no seal meanwhile."""
        syncs: list[tuple[Any, Deferred[None]]] = []

        def in_thread(reactor: Any, sync: Any) -> Deferred[None]:
            syncs.append((sync, Deferred()))
            return syncs[-1][1]

        self.patch(upkeep, "in_thread", in_thread)
        tree = self.start(sync="everysec", compact_after_entries=1)
        protocol, transport = self.connect(tree)
        protocol.dataReceived(b"SET a 1\r\n")
        self.reactor.advance(0)
        self.assertEqual((transport.value(), tree.store.durable_sequence), (b"+OK\r\n", 0))
        self.reactor.advance(1)
        protocol.dataReceived(b"SET b 1\r\n")
        self.reactor.advance(0)
        self.assertEqual((len(syncs), tree.compactor.running), (1, False))
        self.reactor.advance(1)
        self.assertEqual(len(syncs), 1)
        sync, done = syncs[0]
        sync()
        done.callback(None)
        self.assertEqual(tree.store.durable_sequence, 1)

    def test_stopping_waits_for_the_thread(self) -> None:
        """The log is not closed while a thread syncs it."""
        syncing: Deferred[None] = Deferred()
        self.patch(upkeep, "in_thread", lambda reactor, sync: syncing)
        tree = self.start(sync="everysec")
        self.connect(tree)[0].dataReceived(b"SET a 1\r\n")
        self.reactor.advance(1)
        self.reactor.advance(1)
        stopped = tree.stopService()
        self.assertNoResult(stopped)
        syncing.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((self.exits, self.on_disk().table.values), ([], {b"a": b"1"}))


class FailStopTests(ServiceTestCase):
    """After a failure of the disk the process ends, and nobody hears anything more."""

    def check_failed(self, transports: list[StringClient]) -> None:
        """Every client was cut off without a word, and the process was told to end."""
        self.assertEqual(self.exits[:1], [1])
        self.assertTrue(all(transport.aborted and transport.value() == b"" for transport in transports))

    def test_a_failed_sync(self) -> None:
        """The replies that waited for it never leave."""
        tree = self.start()
        (one, first), (_, second) = self.connect(tree), self.connect(tree)

        def failing() -> None:
            raise OSError(5, "Input/output error")

        self.patch(tree.store.log._file, "sync", failing)
        one.dataReceived(b"SET a 1\r\n")
        with capturedLogs() as logs:
            self.reactor.advance(0)
        self.check_failed([first, second])
        (line,) = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.critical]
        self.assertRegex(line, r"^fail-stop: cannot sync table\.txn: .*Input/output error; .*start again to recover$")

    def test_the_log_was_removed(self) -> None:
        """It is found within a second, before anybody is told that a write is safe there."""
        tree = self.start()
        _, transport = self.connect(tree)
        os.remove(os.path.join(self.data_path, "table.txn"))
        self.reactor.advance(1)
        self.check_failed([transport])

    def test_the_directory_was_moved(self) -> None:
        """Another one has its name: that is found within a second, and the other is left as it is."""
        tree = self.start()
        _, transport = self.connect(tree)
        os.rename(self.data_path, self.data_path + ".old")
        os.mkdir(self.data_path)
        with capturedLogs() as logs:
            self.reactor.advance(1)
        self.check_failed([transport])
        self.assertEqual(os.listdir(self.data_path), [])
        (line,) = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.critical]
        self.assertIn(f"fail-stop: {self.data_path} names another directory now", line)

    def test_the_lock_was_removed(self) -> None:
        """Said once, and put back; nobody can come in meanwhile, and the server goes on."""
        tree = self.start()
        os.remove(os.path.join(self.data_path, "lock"))
        self.assertRaises(DirectoryInUse, RealDisk(self.data_path).lock)
        with capturedLogs() as logs:
            self.reactor.pump([1] * 3)
        self.assertEqual(len([event for event in logs if "lock was removed" in formatEvent(event)]), 1)
        self.assertEqual(self.exits, [])
        self.assertTrue(os.path.exists(os.path.join(self.data_path, "lock")))
        self.assertTrue(tree.running)

    def test_a_failed_sync_in_the_thread(self) -> None:
        """Under --sync everysec too."""
        self.patch(upkeep, "in_thread", lambda reactor, sync: succeed(None).addCallback(lambda _: sync()))
        tree = self.start(sync="everysec")
        protocol, _ = self.connect(tree)
        protocol.dataReceived(b"SET a 1\r\n")
        self.reactor.advance(0)

        def failing() -> None:
            raise OSError(5, "Input/output error")

        self.patch(tree.store.log._file, "sync", failing)
        self.reactor.advance(1)
        self.assertEqual(self.exits, [1])

    def test_no_thread_can_be_started(self) -> None:
        """Under --sync everysec the loop waits for the sync, then."""

        def refused(reactor: Any, sync: Any) -> Any:
            raise RuntimeError("can't start new thread")

        self.patch(upkeep, "in_thread", refused)
        tree = self.start(sync="everysec")
        protocol, _ = self.connect(tree)
        protocol.dataReceived(b"SET a 1\r\n")
        self.reactor.advance(0)
        self.reactor.advance(1)
        self.assertEqual((tree.store.durable_sequence, self.exits), (1, []))
        self.assertIn(1, self.marked(tree.store))

    def broken(self) -> None:
        """What nobody expects."""
        raise AttributeError("planted by a test")

    def test_nothing_holds_up_the_exit(self) -> None:
        """Nor a connection that cannot be broken off."""
        tree = self.start()
        _, transport = self.connect(tree)
        self.patch(transport, "abortConnection", self.broken)
        self.assertRaises(AttributeError, tree.fail_stop, StorageFault("planted by a test"))
        self.assertEqual(self.exits, [1])


class StopTests(ServiceTestCase):
    """A courtesy: the same as kill, with a last commit."""

    def test_what_changed_is_committed(self) -> None:
        """What is executed by then is on disk, acknowledged, and marked."""
        tree = self.start()
        protocol, transport = self.connect(tree)
        protocol.dataReceived(b"SET a 1\r\n")
        self.stop(tree)
        self.assertEqual(transport.value(), b"+OK\r\n")
        self.assertTrue(transport.disconnecting)
        store = self.on_disk()
        self.assertEqual((store.table.values, self.marked(store)), ({b"a": b"1"}, [1, 1]))

    def test_the_directory_is_free(self) -> None:
        """Until then it is not."""
        tree = self.start()
        self.assertRaises(DirectoryInUse, RealDisk(self.data_path).lock)
        self.stop(tree)
        again = self.start()
        self.assertTrue(again.running)

    def test_every_policy_leaves_everything_on_disk(self) -> None:
        """A stop under --sync no loses as little as any."""
        for policy in ("everysec", "no"):
            self.patch(upkeep, "in_thread", lambda reactor, sync: Deferred())
            tree = self.start(sync=policy)
            self.connect(tree)[0].dataReceived(b"INCR n\r\n")
            self.stop(tree)
            self.assertEqual(tree.store.durable_sequence, tree.store.settled_sequence())
