"""What INFO says of the rooms that commands cannot see: memory, the log, group commit, compaction, time of processors.

Where Redis has a field that means the same it comes first, for the programs that read Redis's. A compaction is a
background save there (it makes a checkpoint) and a rewrite of the log (which it makes short): both sets of fields tell
of it.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

from kvstore.base.limits import KIB
from kvstore.commands.context import Server
from kvstore.edge.compactor import Compactor
from kvstore.edge.connections import Connections
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.listening import Listening
from kvstore.edge.log_limit import LogLimit
from kvstore.edge.memory import Memory
from kvstore.session.together import Together
from kvstore.store.store import Store
from kvstore.store.volume import Refusals

_log = Logger()

Section = Callable[[], list[tuple[str, Any]]]


class Pace:
    """So many a second, from one `sample` to the next. `seconds`: a steady clock; `count`: of requests, or bytes."""

    def __init__(self, seconds: Callable[[], float], count: Callable[[], int]) -> None:
        self._seconds = seconds
        self._count = count
        self._last = seconds(), count()
        self.per_second = 0

    @property
    def total(self) -> int:
        """The count at the last sample."""
        return self._last[1]

    def sample(self) -> None:
        """To be called once a second or so."""
        (then, before), self._last = self._last, (self._seconds(), self._count())
        now, count = self._last
        if now > then:
            self.per_second = max(0, round((count - before) / (now - then)))  # CONFIG RESETSTAT takes the count back


class Sources(NamedTuple):
    """Whom INFO asks. `sync`: the policy. `pace`: of requests; `received`, `sent`: of bytes.

    `loaded_keys`: how many keys recovery found.
    """

    reactor: Any
    store: Store
    sync: str
    commit: GroupCommit
    connections: Connections
    compactor: Compactor
    pace: Pace
    received: Pace
    sent: Pace
    listening: Listening
    loaded_keys: int

    @property
    def server(self) -> Server:
        """What commands see of it."""
        return self.connections.server


def info_sections(sources: Sources) -> dict[str, Section]:
    """Section name in lower case to a function that gives its (field, value) pairs."""
    return {
        "server": lambda: _server(sources),
        "clients": lambda: _clients(sources.connections),
        "memory": Memory(sources.server),
        "stats": lambda: _stats(sources),
        "cpu": _processor_seconds,
        "persistence": lambda: _persistence(sources),
        "group_commit": lambda: _group_commit(sources.commit, sources.connections.arrivals.together),
    }


def _server(sources: Sources) -> list[tuple[str, Any]]:
    reactor = type(sources.reactor).__name__
    return [
        ("tcp_port", sources.listening.first_port()),
        ("config_file", sources.connections.settings.config_path or ""),
        ("reactor", reactor),
        ("multiplexing_api", "epoll" if isinstance(sources.reactor, EPollReactor) else reactor),
        *((f"listener{place}", text) for place, text in enumerate(sources.listening.described)),
    ]


def _clients(connections: Connections) -> list[tuple[str, Any]]:
    """The largest that a client has now; Redis: of the last seconds."""
    traffic = [client.traffic() for client in connections.server.clients.values()]
    return [
        ("client_recent_max_input_buffer", max((each.unread_bytes for each in traffic), default=0)),
        ("client_recent_max_output_buffer", max((each.unsent_bytes for each in traffic), default=0)),
    ]


def _stats(sources: Sources) -> list[tuple[str, Any]]:
    return [
        ("instantaneous_ops_per_sec", sources.pace.per_second),
        ("instantaneous_input_kbps", f"{sources.received.per_second / KIB:.2f}"),
        ("instantaneous_output_kbps", f"{sources.sent.per_second / KIB:.2f}"),
        ("total_forks", sources.store.compactions),
        ("client_output_buffer_limit_disconnections", sources.server.clients_dropped),
        ("latest_fork_usec", round(sources.compactor.last_fork_seconds * 1e6)),
    ]


def _processor_seconds() -> list[tuple[str, Any]]:
    own, children, loop = map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN, resource.RUSAGE_THREAD)
    )
    return [
        ("used_cpu_sys", f"{own.ru_stime:.6f}"),
        ("used_cpu_user", f"{own.ru_utime:.6f}"),
        ("used_cpu_sys_children", f"{children.ru_stime:.6f}"),
        ("used_cpu_user_children", f"{children.ru_utime:.6f}"),
        ("used_cpu_sys_main_thread", f"{loop.ru_stime:.6f}"),
        ("used_cpu_user_main_thread", f"{loop.ru_utime:.6f}"),
        ("used_active_time_main_thread", f"{loop.ru_stime + loop.ru_utime:.6f}"),
    ]


def _persistence(sources: Sources) -> list[tuple[str, Any]]:
    store, compactor = sources.store, sources.compactor
    running, status = int(compactor.due), "err" if compactor.last_error else "ok"
    last_s = round(compactor.last_seconds) if compactor.last_finished_ms else -1
    return [
        ("rdb_changes_since_last_save", store.log.entries),
        ("rdb_bgsave_in_progress", running),
        ("rdb_last_bgsave_status", status),
        ("rdb_last_bgsave_time_sec", last_s),
        ("rdb_current_bgsave_time_sec", -1),
        ("rdb_saves", store.compactions),
        ("rdb_last_load_keys_loaded", sources.loaded_keys),
        ("aof_rewrite_in_progress", running),
        ("aof_last_rewrite_time_sec", last_s),
        ("aof_current_rewrite_time_sec", -1),
        ("aof_rewrites", store.compactions),
        ("aof_last_bgrewrite_status", status),
        ("aof_last_write_status", "err" if store.refusals.now else "ok"),
        ("aof_current_size", store.log.end),
        ("aof_base_size", store.checkpoint_bytes),
        ("aof_buffer_length", store.pending.size_bytes),
        ("sync_policy", sources.sync),
        ("last_commit", store.settled_sequence()),
        ("durable_commit", store.durable_sequence),
        ("log_entries", store.log.entries),
        ("log_bytes", store.log.end),
        ("checkpoint_bytes", store.checkpoint_bytes),
        ("compactions", store.compactions),
        ("room_for_writes_bytes", store.room_bytes()),
        ("compaction_due", int(store.can_compact() and store.compaction_is_due())),
        ("writes_refused_now", int(store.refusals.now)),
        ("full_disk_refused_writes", store.refusals.count),
        ("last_refused_write_time", store.refusals.last_ms // 1000),
        ("compaction_in_progress", int(compactor.due)),
        ("last_compaction_seconds", f"{compactor.last_seconds:.3f}"),
        ("last_seal_milliseconds", f"{compactor.last_seal_seconds * 1e3:.3f}"),
        ("last_finish_milliseconds", f"{compactor.last_finish_seconds * 1e3:.3f}"),
        ("last_compaction_error", compactor.last_error or "none"),
    ]


def _group_commit(commit: GroupCommit, together: Together) -> list[tuple[str, Any]]:
    figures = commit.figures
    commits = max(figures.commits, 1)
    return [
        ("commits", figures.commits),
        ("committed_requests", figures.requests),
        ("committed_operations", figures.operations),
        ("committed_bytes", figures.bytes),
        ("requests_per_commit", f"{figures.requests / commits:.2f}"),
        ("largest_group", figures.largest_group),
        ("requests_together", together.requests),
        ("commit_usec_total", figures.syncing_ns // 1000),
        ("microseconds_per_commit", f"{figures.syncing_ns / commits / 1e3:.1f}"),
    ]


class RefusalLines:
    """The lines of the log about a full volume: the first write refused, and the first one taken after it."""

    def __init__(self, refusals: Refusals, limit: LogLimit) -> None:
        self._refusals = refusals
        self._limit = limit
        self._told = 0
        self._refusing = False

    def tell(self) -> None:
        """To be called about once a second: so a client that writes what fits and what does not is no flood."""
        refusals = self._refusals
        if refusals.count > self._told and not self._refusing:
            self._refusing = True
            text = "a write was refused: {reason} Reads, and what removes keys, are served"
            self._limit(_log.warn, text, reason=refusals.reason)
        elif self._refusing and not refusals.now:
            self._refusing = False
            self._limit(_log.info, "writes are taken again; refused so far: {count}", count=refusals.count)
        self._told = refusals.count
