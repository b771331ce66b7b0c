"""The server as a tree of services: what starts, in which order, and what stops.

Start: lock the directory and recover (the same path after a kill, a crash and a first start), then listen, then
announce. Nothing is opened before `startService`: twistd has become a daemon by then. A start that is refused is one
line on stderr, in the log, and exit status 1; in a process that is not the server's own, an exception (`exits`).

Stop is a courtesy, never needed: no more connections, the compaction child killed, one last commit, a mark. `kill -9`
skips all of it and loses nothing that was acknowledged.

Fail-stop: after a StorageFault the process ends at once with exit status 1, without a word to any client: a reply
could be a lie. Whoever supervises the process starts it again, and recovery tells what is on disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger

from kvstore.base.disk import RealDisk
from kvstore.base.errors import KVStoreError, StorageFault
from kvstore.base.syncing import best_syncer
from kvstore.commands.context import Server
from kvstore.commands.membership import changed_sides
from kvstore.edge import collector
from kvstore.edge.allocations import Allocators
from kvstore.edge.compactor import Compactor, MergeProcess
from kvstore.edge.configured_users import load_users
from kvstore.edge.exits import LEADS_NO_MORE, OwnProcess, Process
from kvstore.edge.exposure import open_endpoints, refusal
from kvstore.edge.factory import KVStoreFactory
from kvstore.edge.foreigners import note_foreigner
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.listening import Listening
from kvstore.edge.script_log import note_script
from kvstore.edge.server_log import ServerLog
from kvstore.edge.server_settings import obey_settings
from kvstore.edge.settings import GroupSettings, Settings
from kvstore.edge.status import Pace, Sources, info_sections
from kvstore.edge.supervision import Supervision
from kvstore.edge.tls import authorities_in
from kvstore.edge.trace import Trace
from kvstore.edge.turn import STEP_NS, Turn
from kvstore.edge.upkeep import Upkeep
from kvstore.edge.watching import ClientLog, LoggedCommands, Monitor
from kvstore.edge.writers import AdaptiveWriter, InLoopWriter, OverlappedWriter, Writer
from kvstore.session.hooks import Hooks
from kvstore.store.compaction import CompactionPolicy
from kvstore.store.merge import MergeJob
from kvstore.store.replica import End, Ended
from kvstore.store.store import Store
from kvstore.values import TYPES

if TYPE_CHECKING:
    from kvstore.edge.group.node import GroupNode
    from kvstore.edge.http.serving import WebSite

_log = Logger()

#: A file made, and removed, to see whether the archive can be written to; what a crash leaves of it is as any *.tmp.
_PROBE = "probe.tmp"
#: After which a server of a group is to be started again.
_BEGIN_ANEW = (End.HANDED_OVER, End.JOINED, End.FENCED)
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class KVStoreService(MultiService):
    """One server. `reactor`: its loop. `process`: that it runs in. `log`: the process's, for CONFIG SET to change.
    `ready`: called when it serves, with a status for people.

    After `startService`: `store`, `factory`, `compactor`, `commit`, `upkeep`; `listening` knows the ports.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        process: Process,
        log: ServerLog | None = None,
        ready: Callable[[str], None] = lambda status: None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self._reactor = reactor
        self._process = process
        #: What is to be given back in the end, in the order in which it was taken.
        self._held = ExitStack()
        self._server_log = log
        self._ready = ready
        self._trace: Trace | None = None
        self._archive: RealDisk | None = None
        self._overlapped: OverlappedWriter | None = None
        self._preparing: IDelayedCall | None = None
        self.http: WebSite | None = None
        self.group: GroupNode | None = None
        self.listening = Listening(reactor, self._turned_away, process)

    # Start

    def setServiceParent(self, parent: Any) -> None:
        """See IService. An application of twistd's takes the log from here."""
        super().setServiceParent(parent)
        if self._server_log is not None:
            parent.setComponent(ILogObserver, self._server_log.begin())

    def startService(self) -> None:
        """Recover, listen, announce. Raises what the process says, if the start is refused."""
        self.settings = replace(self.settings, max_clients=self._process.clients_allowed(self.settings.max_clients))
        self._process.begins()
        for option, path, open_ in (
            ("keep-log", self.settings.keep_log_path, self._open_archive),
            ("data", self.settings.data_path, self._open_store),
            ("trace", self.settings.trace_path, self._open_trace),
        ):
            try:
                open_()
            except OSError as error:
                reason = f"--{option} {path!r}: {error.strerror or error}; choose another place"
                raise self._process.refused(reason) from None
            except KVStoreError as error:  # it names the file, and says what to do
                raise self._process.refused(str(error)) from None
        try:
            self._assemble()
        except OSError as error:  # such as too few files for the syncs that overlap the loop
            raise self._process.refused(str(error)) from None
        self._refuse_strangers()
        authorities = self._authorities()
        self._process.recovered()
        super().startService()
        if self.http is not None:
            self.http.listen(authorities)
        self.listening.start(self.settings.endpoints, self.factory, authorities)
        self._ready(f"serving {self._loaded_keys} recovered keys, and what came since")

    def _authorities(self) -> list[Any] | None:
        """Who vouches for clients over TLS."""
        path = self.settings.tls_client_ca_path
        try:
            return None if path is None else authorities_in(path)
        except ValueError as error:  # since the options were checked
            raise self._process.refused(f"--tls-client-ca {path!r}: {error}") from None

    def _refuse_strangers(self) -> None:
        """See `exposure`."""
        if self.server.asks_for_passwords():
            return
        http = [] if self.settings.http is None else [self.settings.http]
        exposed = [("listen", each) for each in open_endpoints(self.settings.endpoints)]
        for option, endpoint in [*exposed, *(("http", each) for each in open_endpoints(http))]:
            if not self.settings.insecure:
                raise self._process.refused(f"--{option} {refusal(endpoint)}")
            _log.warn(
                "--insecure: anybody who can reach {endpoint} can read and change everything; nobody is asked for a"
                " password, and nothing is encrypted", endpoint=endpoint,
            )  # fmt: skip

    def _open_archive(self) -> None:
        """Not only when the first segment is to be kept, in hours maybe, is it to show that nothing can be kept."""
        if self.settings.keep_log_path is not None:
            self._archive = RealDisk(self.settings.keep_log_path)
            self._archive.create(_PROBE).close()
            self._archive.remove(_PROBE)

    def _open_store(self) -> None:
        began = time.monotonic()
        self._allocators = Allocators()
        self._startup_bytes = self._allocators.allocated_bytes()
        self._disk = RealDisk(self.settings.data_path)
        self._held.callback(self._disk.unlock)
        policy = CompactionPolicy(self.settings.compact_after_entries or None)
        with collector.paused():
            self.store = self._recovered(policy)
        self._held.callback(self.store.close)
        found = self.store.found
        if self.store.torn_copy is not None and found.tail is not None:
            _log.warn(
                "cut a torn tail, never acknowledged, off the log at byte {offset} ({reason}); copy kept as {copy}",
                offset=found.tail.offset, reason=found.tail.reason, copy=self.store.torn_copy,
            )  # fmt: skip
        self._loaded_keys = keys = sum(len(table.values) for table in self.store.databases)
        _log.info(
            "recovered {keys} keys as of commit {sequence} from {path} in {seconds:.2f} s",
            keys=keys, sequence=found.sequence, path=self.settings.data_path,
            seconds=time.monotonic() - began,
        )  # fmt: skip
        if self.settings.group is not None:
            self.group = self._open_group(self.settings.group)
            self._held.callback(self.group.stopService)  # if it never starts: its log is open
        elif self.settings.sync != "always":
            _log.warn(
                "--sync {policy}: a power cut can lose the writes that were acknowledged last",
                policy=self.settings.sync,
            )

    def _recovered(self, policy: CompactionPolicy) -> Store:
        """The store, recovered. What a server alone has none of is loaded here, and in `_open_group`."""
        open_: Callable[..., Store] = Store
        if self.settings.group is not None:
            from kvstore.edge.group.opening import store_of

            open_ = store_of(self.settings.group.name)
        return open_(
            self._disk, TYPES, lambda: time.time_ns() // 1000, os.urandom, policy=policy,
            databases=self.settings.databases,
        )  # fmt: skip

    def _open_group(self, group: GroupSettings) -> GroupNode:
        from kvstore.edge.group.opening import open_node

        store: Any = self.store
        return open_node(self._reactor, group, self.settings.endpoints, store, self._leads_no_more)

    def _open_trace(self) -> None:
        if self.settings.trace_path is not None:
            self._trace = Trace(self.settings.trace_path)
            self._held.callback(self._trace.close)

    def _assemble(self) -> None:
        settings, store = self.settings, self.store
        self.hooks = Hooks()
        self.compactor = Compactor(store, self._start_merge, self.fail_stop)
        self.turn = Turn(self._reactor)
        self.commit = GroupCommit(
            self.turn, store, self._choose_writer(), settings.sync, self.fail_stop,
            lambda: self.upkeep.between_commits(), lambda: len(self.factory.protocols),
        )  # fmt: skip
        server = Server(store, lambda: time.time_ns() // 1_000_000, settings.as_config(), os.urandom(20).hex())
        self.server = server
        load_users(server, settings, self._process)
        server.memory.measure_by(self._allocators, self._startup_bytes)
        obey_settings(server, settings, self._process)
        server.save_error, self.compactor.done = self.compactor.error, server.saving.try_all
        server.is_durable = lambda sequence: settings.sync == "always" or sequence <= store.durable_sequence
        server.compact_now = lambda: self.upkeep.compact_now()
        server.checkpoint_ms = lambda: self.compactor.last_finished_ms or server.started_ms
        server.waiting.call_later = self._reactor.callLater
        server.shutdown = lambda: self._reactor.callLater(0, self._process.shut_down)
        server.configuration.obey("client-share-ms", self._share_time)
        self.hooks.commit_now = self.commit.commit_now
        self.factory = KVStoreFactory(
            settings, server, self.turn, self.commit, self.hooks, self.fail_stop, *self._group_parts()
        )
        self.turn.drive(self.commit, self.factory.arrivals)
        if settings.group_limit:
            self.hooks.request_limit = settings.group_limit
        limit = self.turn.log_limit
        server.report_bug = lambda text: limit(_log.failure, "{text}", text=text)
        if self._server_log is not None:
            server.configuration.obey("loglevel", self._server_log.set_level)
            server.configuration.obey("hide-user-data-from-log", self._server_log.hide_data)
        server.script_log = partial(note_script, limit)
        self.hooks.report_foreign = partial(note_foreigner, limit)
        LoggedCommands(server.clients, self.hooks, server.command_log)
        self.commit.events = self.compactor.events = server.latency
        server.latency.changed.append(self._watch_turns)
        self._watch_turns(server.latency.is_on)
        self.hooks.monitor = Monitor(server.clients, self.hooks, server.script_calls).add
        if self._trace is not None:
            self.hooks.watchers.append(self._trace)
            self.factory.doors.append(self._trace)
        server.configuration.obey("log-clients", partial(self._log_clients, ClientLog(limit)))
        self._add_services()

    def _group_parts(self) -> list[Any]:
        """In a group, what executes requests."""
        if self.group is None:
            return []
        self.group.join(self.server, self.commit, self.hooks)
        reads = self.group.reads(self.server, self.turn)
        return [reads.make_session, reads.make_together]

    def _watch_turns(self, watches: bool) -> None:
        """Have it noted, or not, when a turn of the loop takes long; only our own reactor tells."""
        watch = getattr(self._reactor, "watch_turns", None)
        if watch is not None:
            watch(self, partial(self.server.latency.note, "eventloop") if watches else None)

    def _log_clients(self, log: ClientLog, text: str) -> None:
        doors = self.factory.doors
        if (log in doors) != (text == "yes"):
            doors.append(log) if text == "yes" else doors.remove(log)

    def _share_time(self, text: str) -> None:
        self.turn.share_ns = int(text) * 1_000_000
        self.hooks.share_ns = min(self.turn.share_ns, STEP_NS)

    def _choose_writer(self) -> Writer:
        settings = self.settings
        if self.group is not None:
            return self.group.writer
        in_loop = InLoopWriter(self.store, sync=settings.sync == "always")
        # A group at its limit is to be closed at once; with a commit in flight it could not be.
        if settings.sync != "always" or settings.overlap == "never" or settings.group_limit:
            return in_loop
        if settings.overlap == "always":
            return self._make_overlapped()
        writer = AdaptiveWriter(in_loop, self._make_overlapped, perf_counter_ns, lambda: self.commit.everyone_waits)
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
        self._held.callback(self._overlapped.close)
        how = f"a thread, as Linux AIO does not work here ({missing})" if missing else "Linux AIO"
        _log.info("syncs can overlap the loop, by {how}", how=how)
        return self._overlapped

    def _start_merge(self, job: MergeJob, said: Callable[[str], None], ended: Callable[[str], None]) -> MergeProcess:
        return MergeProcess(self._reactor, self._disk, job, said, ended, self._archive)

    def _add_services(self) -> None:
        seconds = self._reactor.seconds
        paces = (
            Pace(seconds, lambda: self.server.requests_executed),
            Pace(seconds, lambda: self.factory.network_bytes()[0]),
            Pace(seconds, lambda: self.factory.network_bytes()[1]),
        )
        self.upkeep = Upkeep(
            self._reactor, self.server, self.turn, self.compactor, self.factory, paces, self.settings.sync,
            self.fail_stop,
        )  # fmt: skip
        self.upkeep.setServiceParent(self)
        if self.group is not None:
            self.group.setServiceParent(self)
        sources = Sources(
            self._reactor, self.store, self.settings.sync, self.commit, self.factory, self.compactor, *paces,
            self.listening, self._loaded_keys,
        )  # fmt: skip
        self.server.info.update(info_sections(sources))
        if self.settings.http is not None:
            self._open_http(sources)
        if self.settings.project is not None:
            self._announcer().setServiceParent(self)

    def _open_http(self, sources: Sources) -> None:
        # Only now: twisted.web takes time and memory.
        from kvstore.edge.http.serving import WebSite

        self.http = WebSite(self.settings, sources, self._turned_away, self._process)
        self.upkeep.samples.append(self.http.history)

    def _announcer(self) -> Service:
        from kvstore.edge.catalog import CatalogAnnouncer

        settings = self.settings
        assert settings.project is not None
        if not settings.listen and settings.catalog.host not in _THIS_MACHINE:
            _log.warn(
                "announced to {catalog}, but only clients on this machine can connect; add --listen, and a password or"
                " TLS", catalog=settings.catalog,
            )  # fmt: skip
        return CatalogAnnouncer(
            self._reactor, settings.project, settings.owner, self.listening.first_port, settings.catalog
        )

    def _turned_away(self) -> None:
        self.server.connections_refused += 1

    # While it runs

    def fail_stop(self, fault: StorageFault) -> None:
        """The disk failed under the log: nothing more is acknowledged, by anybody."""
        _log.critical("fail-stop: {fault}; nothing more is acknowledged; start again to recover", fault=fault)
        try:
            for protocol in list(self.factory.protocols.values()):
                protocol.close()
        finally:
            self._process.failed(fault)

    def _leads_no_more(self, ended: Ended) -> None:
        """Another leads the group: what this server holds in memory may not be in the log; or it has to begin anew."""
        reason = str(ended)
        if ended.end is End.JOINED:
            _log.info("{reason}; beginning with it", reason=reason)
        elif ended.end is End.HANDED_OVER:
            _log.info("{reason}; beginning anew, to follow", reason=reason)
        elif ended.end is End.FENCED:
            _log.warn("{reason}; nothing more is acknowledged by this one, which begins anew", reason=reason)
        else:
            _log.critical("{reason}; nothing more is acknowledged", reason=reason)
        try:
            for protocol in list(self.factory.protocols.values()):
                protocol.leave(changed_sides())
        finally:
            self._process.failed(ended, LEADS_NO_MORE if ended.end in _BEGIN_ANEW else 1)

    # Stop

    async def _stop(self) -> None:
        await self.listening.stop()
        if self.http is not None:
            await self.http.stop()
        await self.upkeep.end()
        if self.group is None:
            await self.commit.when_idle()
        self.compactor.stop()
        self.factory.arrivals.execute()
        self.upkeep.guarded(self._last_commit)
        for protocol in list(self.factory.protocols.values()):
            protocol.end()
        self.hooks.watchers.clear()
        self._watch_turns(False)
        self._give_back()

    def _give_back(self) -> None:
        """Close the files, and give the directory back. Twice is once."""
        if self._preparing is not None and self._preparing.active():
            self._preparing.cancel()
        self._held.close()

    def _last_commit(self) -> None:
        """Put everything on disk, whatever the policy, and note that it is; in a group, what the shared log has."""
        store = self.store
        if store.failed is None and store.in_flight is None:
            if self.group is None:
                self.commit.commit_now(InLoopWriter(store, sync=True))
            store.sync()
            store.note_durable(store.settled_sequence())
            store.mark_and_sync()

    def stopService(self) -> Deferred[None]:
        """Stop in order: listening, compaction, the last commit, connections. Returns when all is said."""
        _log.info("stopping")
        stopped = succeed(None) if self.group is None else self.group.leave()
        stopped.addCallback(lambda _: maybeDeferred(super(KVStoreService, self).stopService))
        stopped.addCallback(lambda _: Deferred.fromCoroutine(self._stop()))
        return stopped


def make_tree(settings: Settings, reactor: Any, log: ServerLog | None = None) -> KVStoreService:
    """The server for these settings, not started. Opens nothing."""
    supervision = Supervision(reactor)
    tree = KVStoreService(settings, reactor, OwnProcess(reactor, prints=settings.prints), log, supervision.ready)
    supervision.setServiceParent(tree)
    return tree
