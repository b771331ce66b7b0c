"""The server as a tree of services: what starts, in which order, and what stops.

Start: lock the directory and recover (the same path after a kill, a crash and a first start), then listen, then
announce. Nothing is opened before `startService`: twistd has become a daemon by then. A start that is refused is one
line on stderr, in the log, and exit status 1.

Stop is a courtesy, never needed: no more connections, the compaction child killed, one last commit, a mark. `kill -9`
skips all of it and loses nothing that was acknowledged.

Fail-stop: after a StorageFault the process ends at once with exit status 1, without a word to any client: a reply
could be a lie. Whoever supervises the process starts it again, and recovery tells what is on disk.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter_ns
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvstore.base.disk import RealDisk
from kvstore.base.errors import KVStoreError, StorageFault
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.base.slices import one_slice
from kvstore.base.syncing import best_syncer
from kvstore.commands.context import Server
from kvstore.edge import collector
from kvstore.edge.compactor import Compactor, MergeProcess
from kvstore.edge.foreigners import Foreigners
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.open_files import PortLog, clients_allowed
from kvstore.edge.protocol import KVStoreFactory
from kvstore.edge.settings import Settings
from kvstore.edge.status import Pace, RefusalLines, info_sections
from kvstore.edge.steady import use_steady_clock
from kvstore.edge.turn import Turn
from kvstore.edge.watching import Monitor, Trace
from kvstore.edge.writers import AdaptiveWriter, InLoopWriter, OverlappedWriter, Writer
from kvstore.session.hooks import Hooks
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.merge import MergeJob
from kvstore.store.store import Store

_log = Logger()

#: How often the table is tidied up, for a slice, and how soon again while more is left to do: a third of the time.
_TIDY_PERIOD_S = 0.1
_TIDY_HURRY_S = 0.004
_TICK_S = 1.0
#: A file made, and removed, to see whether the archive can be written to; what a crash leaves of it is as any *.tmp.
_PROBE = "probe.tmp"
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def _exit_at_once(status: int) -> None:
    try:
        sys.stdout.flush()
    finally:
        os._exit(status)


class StartEnded(SystemExit, Exception):
    """Ends a start that is refused, with exit status 1. `line`: what to say on stderr.

    SystemExit, so that no traceback is shown. Exception too, for twistd's sake: when it daemonises, a parent waits to
    be told of the child's start, and would wait for ever for one that ended with a bare SystemExit.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        if sys.__stderr__ is not None and sys.stderr is not sys.__stderr__:
            print(line, file=sys.__stderr__, flush=True)
            self.code = 1


def refuse_start(reason: str) -> StartEnded:
    """The exception that ends a start: one line on stderr and in the log, exit status 1."""
    line = f"kvstore: {reason}"
    _log.critical("{line}", line=line)
    return StartEnded(line)


class KVStoreService(MultiService):
    """One server. `reactor`: its loop. `exit_process`: called with the exit status on fail-stop. `recovered`: called
    when all that stays in memory is there.

    After `startService`: `store`, `factory`, `compactor`, `commit`, `port_numbers` (TCP ports listened on).
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        exit_process: Callable[[int], None] = _exit_at_once,
        recovered: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self._reactor = reactor
        self._exit_process = exit_process
        self._recovered = recovered
        self._ports: list[IListeningPort] = []
        self._trace: Trace | None = None
        self._archive: RealDisk | None = None
        self._port_log = PortLog(self._turned_away)
        self._overlapped: OverlappedWriter | None = None
        self._preparing: IDelayedCall | None = None
        self._syncing: Deferred[None] | None = None
        self._marked = False  # in the log, and not yet synced
        self._tidying_soon: IDelayedCall | None = None
        self._said = ""
        self._starting = False
        self._refused: StartEnded | None = None
        self.port_numbers: list[int] = []

    # Start

    def startService(self) -> None:
        """Recover, listen, announce. Raises SystemExit after saying why, if the start is refused."""
        self.settings = replace(self.settings, max_clients=clients_allowed(self.settings.max_clients, self._reactor))
        use_steady_clock(self._reactor)
        for option, path, open_ in (
            ("keep-log", self.settings.keep_log_path, self._open_archive),
            ("data", self.settings.data_path, self._open_store),
            ("trace", self.settings.trace_path, self._open_trace),
        ):
            try:
                open_()
            except OSError as error:
                raise refuse_start(f"--{option} {path!r}: {error.strerror or error}; choose another place") from None
            except KVStoreError as error:  # it names the file, and says what to do
                raise refuse_start(str(error)) from None
        try:
            self._assemble()
        except OSError as error:  # such as too few files for the syncs that overlap the loop
            raise refuse_start(str(error)) from None
        self._recovered()
        super().startService()
        self._starting = True
        for endpoint in self.settings.endpoints:
            serverFromString(self._reactor, endpoint).listen(self.factory).addCallbacks(
                self._listening, self._cannot_listen, errbackArgs=(endpoint,)
            )
        self._starting = False
        if self._refused is not None:
            raise self._refused

    def _open_archive(self) -> None:
        """Not only when the first segment is to be kept, in hours maybe, is it to show that nothing can be kept."""
        if self.settings.keep_log_path is not None:
            self._archive = RealDisk(self.settings.keep_log_path)
            self._archive.create(_PROBE).close()
            self._archive.remove(_PROBE)

    def _open_store(self) -> None:
        began = time.monotonic()
        self._disk = RealDisk(self.settings.data_path)
        policy = CompactionPolicy(self.settings.compact_after_entries)
        self.store = Store(self._disk, lambda: time.time_ns() // 1000, os.urandom, policy)
        found = self.store.found
        if self.store.torn_copy is not None and found.tail is not None:
            _log.warn(
                "cut a torn tail, never acknowledged, off the log at byte {offset} ({reason}); copy kept as {copy}",
                offset=found.tail.offset, reason=found.tail.reason, copy=self.store.torn_copy,
            )  # fmt: skip
        _log.info(
            "recovered {keys} keys as of commit {sequence} from {path} in {seconds:.2f} s",
            keys=len(self.store.table.values), sequence=found.sequence, path=self.settings.data_path,
            seconds=time.monotonic() - began,
        )  # fmt: skip
        if self.settings.sync != "always":
            _log.warn(
                "--sync {policy}: a power cut can lose the writes that were acknowledged last",
                policy=self.settings.sync,
            )

    def _open_trace(self) -> None:
        if self.settings.trace_path is not None:
            self._trace = Trace(self.settings.trace_path)

    def _assemble(self) -> None:
        settings, store = self.settings, self.store
        self.hooks = Hooks()
        self.compactor = Compactor(store, self._start_merge, self.fail_stop)
        self.turn = Turn(self._reactor)
        self.commit = GroupCommit(
            self.turn, store, self._choose_writer(), settings.sync, self.fail_stop, self._between_commits,
            lambda: len(self.factory.protocols),
        )  # fmt: skip
        server = Server(store, lambda: time.time_ns() // 1_000_000, settings.as_config(), os.urandom(20).hex())
        self.server = server
        self._started_s = self._reactor.seconds()
        server.compact_now = self._compact_now
        server.checkpoint_ms = lambda: self.compactor.last_finished_ms or server.started_ms
        server.max_value_bytes = settings.max_request_bytes
        server.max_reply_bytes = max(settings.drop_client_bytes, LONG_STRING_BYTES)
        server.shutdown = lambda: self._reactor.callLater(0, self._reactor.stop)
        self.pace = Pace(self._reactor.seconds, lambda: server.requests_executed)
        server.info.update(info_sections(self))
        self._refusal_lines = RefusalLines(store.refusals)
        self.factory = KVStoreFactory(settings, server, self.turn, self.commit, self.hooks, self.fail_stop)
        self.hooks.commit_now = self.commit.commit_now
        self.hooks.share_ns = self.turn.share_ns = settings.client_share_ms * 1_000_000
        if settings.group_limit:
            self.hooks.request_limit = settings.group_limit
        self.hooks.report_bug = lambda text: _log.failure("{text}", text=text)
        self.hooks.report_foreign = Foreigners(self._reactor.seconds).note
        self.hooks.monitor = Monitor(self.factory).add
        if self._trace is not None:
            self.hooks.watchers.append(self._trace)
        self._add_timers()

    def _choose_writer(self) -> Writer:
        settings = self.settings
        in_loop = InLoopWriter(self.store, sync=settings.sync == "always")
        # A group at its limit is to be closed at once; with a commit in flight it could not be.
        if settings.sync != "always" or settings.overlap == "never" or settings.group_limit:
            return in_loop
        if settings.overlap == "always":
            return self._make_overlapped()
        writer = AdaptiveWriter(
            in_loop, self._make_overlapped, perf_counter_ns, lambda: self.commit.everyone_waits,
            lambda: self.server.requests_executed,
        )  # fmt: skip
        # To load the kernel's AIO takes 40 ms: neither of the start, nor of somebody's request later.
        self._preparing = self._reactor.callLater(0, writer.prepare)
        return writer

    def _make_overlapped(self) -> OverlappedWriter:
        syncer, missing = best_syncer()
        try:
            self._overlapped = OverlappedWriter(self.store, self._reactor, syncer)
        except BaseException:
            syncer.close()
            raise
        how = f"a thread, as Linux AIO does not work here ({missing})" if missing else "Linux AIO"
        _log.info("syncs can overlap the loop, by {how}", how=how)
        return self._overlapped

    def _start_merge(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> MergeProcess:
        return MergeProcess(self._reactor, self._disk, job, said, ended, self._archive)

    def _add_timers(self) -> None:
        for period, work in ((_TICK_S, self._tick), (_TIDY_PERIOD_S, self._tidy)):
            timer = TimerService(period, self._guarded, work)
            timer.clock = self._reactor
            timer.setServiceParent(self)
        if self.settings.project is not None:
            self._announcer().setServiceParent(self)

    def _announcer(self) -> Service:
        from kvstore.edge.catalog import CatalogAnnouncer

        settings = self.settings
        assert settings.project is not None
        if not settings.listen and settings.catalog.host not in _THIS_MACHINE:
            _log.warn(
                "announced to {catalog}, but only clients on this machine can connect; add --listen tcp:PORT",
                catalog=settings.catalog,
            )
        return CatalogAnnouncer(
            self._reactor, settings.project, settings.owner, lambda: next(iter(self.port_numbers), 0), settings.catalog
        )

    def _listening(self, port: IListeningPort) -> None:
        self._ports.append(port)
        self._port_log.watch(port)
        address: Any = port.getHost()
        number = getattr(address, "port", None)
        if number is not None:
            self.port_numbers.append(number)
        text = f"Listening on port {number}" if number is not None else f"Listening on {address}"
        _log.info("{text}", text=text)
        if sys.__stdout__ is not None and not sys.__stdout__.closed:
            print(text, file=sys.__stdout__, flush=True)

    def _turned_away(self) -> None:
        self.server.connections_refused += 1

    def _cannot_listen(self, failure: Failure, endpoint: str) -> None:
        self._refused = refuse_start(
            f"cannot listen on {endpoint}: {failure.getErrorMessage()}; choose another --port or --listen"
        )
        if not self._starting:
            self._exit_process(1)

    # While it runs

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StorageFault as fault:
            self.fail_stop(fault)
        except Exception:
            _log.failure("bug in a timer; it goes on")

    def _tick(self) -> None:
        """Once a second: look after the files and the clients."""
        self.pace.sample()
        store = self.store
        self._say_once(store.check_files())
        if self.settings.sync == "everysec":
            self._sync_in_background()
        else:
            store.mark_and_sync()
        store.table.scan_order.age()
        self.factory.drop_idle()
        if not self.compactor.running:
            store.measure_volume()
        self._refusal_lines.tell()
        if store.in_flight is None:
            self._between_commits()

    def _say_once(self, mended: str) -> None:
        """Warn of what was found, and not every second again."""
        if mended and mended != self._said:
            _log.warn("{mended}", mended=mended)
        self._said = mended

    def _tidy(self) -> None:
        """Remove keys past their deadline, and whatever else the table has left to do, for a slice; soon again if
        that was not all.
        """
        if self._tidying_soon is not None and self._tidying_soon.active():
            return  # one is enough: the timer must not begin another row of hurried rounds
        self.server.recent_ms = self.server.started_ms + int(1000 * (self._reactor.seconds() - self._started_s))
        table = self.store.table
        is_left = one_slice(iter(table.tidy, False))
        if table.pending.operations:
            self.turn.ask_for_commit()
        if is_left:
            self._tidying_soon = self._reactor.callLater(_TIDY_HURRY_S, self._guarded, self._tidy)

    def _sync_in_background(self) -> None:
        """--sync everysec: a sync of a second's worth of writes takes long; a thread waits for it."""
        store = self.store
        sequence = store.settled_sequence()
        if self._syncing is not None or (sequence <= store.durable_sequence and not self._marked):
            return

        def synced(_: None) -> None:
            self._syncing = None
            store.note_durable(sequence)
            self._marked = store.mark()

        def failed(failure: Failure) -> None:
            self.fail_stop(StorageFault(f"the sync of the log failed: {failure.getErrorMessage()}"))

        try:
            self._syncing = deferToThread(store.log.sync)
        except RuntimeError:  # no thread can be started just now: the loop waits
            store.sync()
            synced(None)
            return
        self._syncing.addCallback(synced)
        self._syncing.addErrback(failed)

    def _between_commits(self) -> None:
        if self._syncing is None:  # else a thread is syncing the file that sealing would close
            self._guarded(self.compactor.begin_if_due)

    def _compact_now(self) -> bool:
        asked = self.compactor.ask()
        self._reactor.callLater(0, self._guarded, self._tick)
        return asked

    def fail_stop(self, fault: StorageFault) -> None:
        """The disk failed under the log: nothing more is acknowledged, by anybody."""
        _log.critical("fail-stop: {fault}; nothing more is acknowledged; start again to recover", fault=fault)
        try:
            for protocol in list(self.factory.protocols.values()):
                transport: Any = protocol.transport
                transport.abortConnection()
        finally:
            self._exit_process(1)

    # Stop

    async def _stop(self) -> None:
        for port in self._ports:
            await _deferred(port.stopListening())
        for call in (self._preparing, self._tidying_soon):
            if call is not None and call.active():
                call.cancel()
        if self._syncing is not None:
            await self._syncing  # a thread has the file that is about to be closed
        await self.commit.when_idle()
        self.compactor.stop()
        self.factory.arrivals.execute()
        self._guarded(self._last_commit)
        for protocol in list(self.factory.protocols.values()):
            protocol.end()
        if self._trace is not None:
            self._trace.close()
            self.hooks.watchers.clear()
        if self._overlapped is not None:
            self._overlapped.close()
        self.store.close()
        self._disk.unlock()

    def _last_commit(self) -> None:
        """Put everything on disk, whatever the policy, and note that it is."""
        store = self.store
        if store.failed is None and store.in_flight is None:
            self.commit.commit_now(InLoopWriter(store, sync=True))
            store.sync()
            store.note_durable(store.settled_sequence())
            store.mark_and_sync()

    def stopService(self) -> Deferred[None]:
        """Stop in order: listening, compaction, the last commit, connections. Returns when all is said."""
        _log.info("stopping")
        stopped = _deferred(super().stopService())
        stopped.addCallback(lambda _: Deferred.fromCoroutine(self._stop()))
        return stopped


def _deferred(result: Any) -> Deferred[None]:
    from twisted.internet.defer import maybeDeferred

    return maybeDeferred(lambda: result)


def make_tree(settings: Settings, reactor: Any) -> KVStoreService:
    """The server for these settings, not started. Opens nothing."""
    return KVStoreService(settings, reactor, recovered=collector.tame)
