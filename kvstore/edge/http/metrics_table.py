"""Every metric of /metrics: its name, what it means, and where it is read.

Names follow Prometheus's conventions: `kvstore_` before all of them, base units (seconds, bytes), `_total` behind what
only grows. What is read is counted anyway, for INFO: nothing here costs a request anything. Counters that CONFIG
RESETSTAT sets back begin again, which Prometheus takes for a restart.

docs/MONITORING.md has this table, put there by `scripts/monitoring_documents`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

import twisted

from kvstore import __version__
from kvstore.base.doubling import at_most
from kvstore.commands.histogram import Histogram
from kvstore.commands.noted_requests import RequestLog
from kvstore.commands.statistics import CommandStatistics
from kvstore.edge.allocations import resident_bytes
from kvstore.edge.status import Sources
from kvstore.store.table import Table

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_NS = 1_000_000_000
_MS = 1000
#: Bounds of the histograms, as powers of two: requests of a commit; nanoseconds, 16 us to 17 s.
_SIZES = (1, 12)
_DURATIONS = (14, 34)
#: Of the commands' times, fewer, since each command has them: 4 us, 16 us, and so on to 17 s.
_COMMAND_BOUNDS_NS = [4**power for power in range(6, 18)]


class Buckets(NamedTuple):
    """What a histogram is at some moment. `at_most`: each bound with how many were no larger; `number`: of all."""

    at_most: list[tuple[float, int]]
    number: int
    total: float


#: What is read: a number or histogram, or some by the values of the labels.
Value: TypeAlias = float | Buckets
Reading: TypeAlias = Value | Mapping[tuple[str, ...], Value]


class Metric(NamedTuple):
    """A row. `name`: without the prefix, nor `_total`."""

    name: str
    kind: Kind
    text: str
    read: Callable[[Sources], Reading]
    labels: tuple[str, ...] = ()

    @property
    def shown_name(self) -> str:
        """As Prometheus knows it."""
        return f"kvstore_{self.name}{'_total' if self.kind == 'counter' else ''}"


def _by_command(value: Callable[[CommandStatistics], float]) -> Callable[[Sources], Reading]:
    """Of each command that was called."""

    def read(sources: Sources) -> Reading:
        statistics = sources.server.statistics
        called = [each for each in statistics.values() if each.calls or each.rejected]
        return {(each.row.name.lower(),): value(each) for each in called}

    return read


def _by_database(value: Callable[[Table], float]) -> Callable[[Sources], Reading]:
    """Of each database that has keys, the first always."""

    def read(sources: Sources) -> Reading:
        tables = [table for table in sources.store.databases if table.number == 0 or table.count()]
        return {(str(table.number),): value(table) for table in tables}

    return read


def _of_all(value: Callable[[Table], int]) -> Callable[[Sources], float]:
    """Of all databases together."""
    return lambda sources: sum(map(value, sources.store.databases))


def _sizes(sources: Sources) -> Buckets:
    figures = sources.commit.figures
    return Buckets(list(at_most(figures.sizes, *_SIZES)), figures.commits, figures.requests)


def _durations(sources: Sources) -> Buckets:
    figures = sources.commit.figures
    # To the next nanosecond, for the sake of who reads the bounds.
    bounds = [((bound_ns + 1) / _NS, count) for bound_ns, count in at_most(figures.durations_ns, *_DURATIONS)]
    return Buckets(bounds, figures.commits, figures.syncing_ns / _NS)


def _command_durations(sources: Sources) -> Reading:
    histograms = sources.server.statistics.histograms()
    return {(row.name.lower(),): _of_command(histogram) for row, histogram in histograms.items()}


def _of_command(histogram: Histogram) -> Buckets:
    counts = histogram.at_most(_COMMAND_BOUNDS_NS)
    bounds = [(bound_ns / _NS, count) for bound_ns, count in zip(_COMMAND_BOUNDS_NS, counts, strict=True)]
    return Buckets(bounds, histogram.count, histogram.total_ns / _NS)


def _build(sources: Sources) -> Reading:
    return {(__version__, platform.python_version(), twisted.__version__, sources.sync): 1}


def _errors(sources: Sources) -> Reading:
    return {(code,): count for code, count in sources.server.errors_by_code.items()}


def _logs(sources: Sources) -> Mapping[bytes, RequestLog]:
    return sources.server.command_log.by_type


def _slow_events(sources: Sources) -> Reading:
    return {(name,): event.count for name, event in sources.server.latency.by_name.items()}


def _rows() -> Iterator[Metric]:
    yield Metric(
        "build_info", "gauge", "1; its labels say what runs.", _build, ("version", "python", "twisted", "sync")
    )
    yield from _of_clients()
    yield from _of_requests()
    yield from _of_commits()
    yield from _of_files()
    yield from _of_keys()


def _of_clients() -> Iterable[Metric]:
    return (
        Metric("clients", "gauge", "Clients connected.", lambda s: len(s.server.clients)),
        Metric("clients_max", "gauge", "Clients that may be connected: --max-clients, or what files there are.",
               lambda s: s.server.configuration.number("maxclients")),
        Metric("clients_blocked", "gauge", "Clients that wait for keys (BLPOP), or for a pause to end.",
               lambda s: s.server.blocked()),
        Metric("clients_subscribed", "gauge", "Clients that are subscribed to channels or patterns.",
               lambda s: s.server.channels.clients()),
        Metric("clients_tracking", "gauge", "Clients that cache, and are told of changes (CLIENT TRACKING).",
               lambda s: len(s.server.tracking.modes)),
        Metric("connections_received", "counter", "Clients that have connected.",
               lambda s: s.server.connections_received),
        Metric("connections_refused", "counter", "Clients turned away: too many, no files left, or not let in.",
               lambda s: s.server.connections_refused),
        Metric("clients_dropped", "counter", "Clients disconnected since they did not take their replies.",
               lambda s: s.server.clients_dropped),
        Metric("clients_evicted", "counter", "Clients disconnected for the memory that they held: maxmemory-clients.",
               lambda s: s.server.clients_evicted),
        Metric("denied", "counter", "Wrong passwords (auth), and requests that a user may not make, by what it lacks.",
               lambda s: {(reason,): count for reason, count in s.server.gate.log.counts.items()},
               ("reason",)),
        Metric("network_received_bytes", "counter", "Bytes received from clients.",
               lambda s: s.connections.network_bytes()[0]),
        Metric("network_sent_bytes", "counter", "Bytes sent to clients.", lambda s: s.connections.network_bytes()[1]),
        Metric("pubsub_channels", "gauge", "Channels that somebody is subscribed to.",
               lambda s: len(s.server.channels.channels.subscribers)),
        Metric("pubsub_patterns", "gauge", "Patterns that somebody is subscribed to.",
               lambda s: len(s.server.channels.patterns.subscribers)),
    )  # fmt: skip


def _of_requests() -> Iterable[Metric]:
    return (
        Metric("requests", "counter", "Requests executed.", lambda s: s.server.requests_executed),
        Metric("commands", "counter", "Calls of each command, those of scripts and blocks too.",
               _by_command(lambda each: each.calls), ("command",)),
        Metric("commands_failed", "counter", "Calls of each command that ended in an error.",
               _by_command(lambda each: each.failed), ("command",)),
        Metric("commands_rejected", "counter", "Requests of each command that were refused before they were executed.",
               _by_command(lambda each: each.rejected), ("command",)),
        Metric("command_duration_seconds", "histogram",
               "How long calls of each command took, without waiting for the disk; one in 16 quick ones is timed.",
               _command_durations, ("command",)),
        Metric("errors", "counter", "Error replies, by the word that they begin with.", _errors, ("code",)),
        Metric("logged_requests", "counter",
               "Requests noted by COMMANDLOG, in each of its logs; the threshold of `slow` is at first never.",
               lambda s: {(name.decode(),): log.noted for name, log in _logs(s).items()}, ("log",)),
        Metric("slowest_request_seconds", "gauge", "The longest of the slow requests that COMMANDLOG has now; or 0.",
               lambda s: max((took_us for _, _, took_us, *_ in _logs(s)[b"slow"].newest(-1)), default=0) / 1e6),
        Metric("latency_events", "counter", "What took longer than latency-monitor-threshold, by LATENCY's names.",
               _slow_events, ("event",)),
        Metric("scripts", "gauge", "Scripts that are kept for EVALSHA.",
               lambda s: s.server.scripts.count() if s.server.scripts else 0),
        Metric("libraries", "gauge", "Libraries of functions.", lambda s: len(s.store.libraries.values)),
    )  # fmt: skip


def _of_commits() -> Iterable[Metric]:
    return (
        Metric("commits", "counter", "Commits: frames written to the log, each under one sync.",
               lambda s: s.commit.figures.commits),
        Metric("commit_operations", "counter", "Changes that commits hold.", lambda s: s.commit.figures.operations),
        Metric("commit_bytes", "counter", "Bytes of commits.", lambda s: s.commit.figures.bytes),
        Metric("commit_requests", "histogram", "How many requests shared a commit: the size of the group.", _sizes),
        Metric("commit_duration_seconds", "histogram",
               "How long commits took, from their end to the disk: writing, and the sync under --sync always.",
               _durations),
        Metric("commit_sequence", "gauge", "Number of the newest commit.", lambda s: s.store.settled_sequence()),
        Metric("durable_commit_sequence", "gauge", "Number of the newest commit that is known to be on disk.",
               lambda s: s.store.durable_sequence),
    )  # fmt: skip


def _of_files() -> Iterable[Metric]:
    return (
        Metric("log_bytes", "gauge", "Size of the log since the last compaction.", lambda s: s.store.log.end),
        Metric("log_entries", "gauge", "Changes in the log since the last compaction.", lambda s: s.store.log.entries),
        Metric("checkpoint_bytes", "gauge", "Size of the checkpoint.", lambda s: s.store.checkpoint_bytes),
        Metric("room_for_writes_bytes", "gauge", "Room on the disk for writes, before they are refused.",
               lambda s: s.store.room_bytes()),
        Metric("writes_refused", "gauge", "1 while writes are refused as the disk is full.",
               lambda s: s.store.refusals.now),
        Metric("refused_writes", "counter", "Writes that were refused as the disk was full.",
               lambda s: s.store.refusals.count),
        Metric("compactions", "counter", "Compactions that ended well.", lambda s: s.store.compactions),
        Metric("compaction_running", "gauge", "1 while a compaction is under way.", lambda s: s.compactor.due),
        Metric("compaction_failed", "gauge", "1 if the last compaction failed; it is tried again.",
               lambda s: bool(s.compactor.last_error)),
        Metric("compaction_duration_seconds", "gauge", "How long the last compaction took.",
               lambda s: s.compactor.last_seconds),
        Metric("compaction_end_timestamp_seconds", "gauge", "When the last compaction ended, 0 if there was none.",
               lambda s: s.compactor.last_finished_ms / _MS),
    )  # fmt: skip


def _of_keys() -> Iterable[Metric]:
    return (
        Metric("keys", "gauge", "Keys of each database.", _by_database(lambda table: table.count()), ("database",)),
        Metric("keys_with_deadline", "gauge", "Keys of each database that will expire.",
               _by_database(lambda table: len(table.deadlines)), ("database",)),
        Metric("keys_recovered", "gauge", "Keys that were there at the start.", lambda s: s.loaded_keys),
        Metric("keyspace_hits", "counter", "Reads of a key that was there.", _of_all(lambda table: table.hits)),
        Metric("keyspace_misses", "counter", "Reads of a key that was not.", _of_all(lambda table: table.misses)),
        Metric("expired_keys", "counter", "Keys that have expired.", _of_all(lambda table: table.expired_count)),
        Metric("expired_fields", "counter", "Fields of hashes that have expired.",
               _of_all(lambda table: table.expired_inside)),
        Metric("evicted_keys", "counter", "Keys that had to go for others, past maxmemory.",
               lambda s: s.server.memory.eviction.evicted),
        Metric("memory_used_bytes", "gauge", "Memory that is allocated: used_memory.",
               lambda s: s.server.memory.used.now_bytes()),
        Metric("memory_resident_bytes", "gauge", "Memory that the process has of the system.",
               lambda s: resident_bytes()),
        Metric("memory_max_bytes", "gauge", "What memory_used_bytes may grow to, 0 for as much as there is: maxmemory.",
               lambda s: s.server.memory.limit_bytes),
    )  # fmt: skip


METRICS: tuple[Metric, ...] = tuple(_rows())
