"""What INFO says of the rooms that commands cannot see: memory, the log, group commit, compaction."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvstore.base.limits import KIB

if TYPE_CHECKING:
    from kvstore.edge.service import KVStoreService

Section = Callable[[], list[tuple[str, Any]]]


def info_sections(service: KVStoreService) -> dict[str, Section]:
    """Section name in lower case to a function that gives its (field, value) pairs."""
    return {
        "server": lambda: [("tcp_port", next(iter(service.port_numbers), 0)), ("reactor", _reactor_name(service))],
        "memory": _memory,
        "persistence": lambda: _persistence(service),
        "group_commit": lambda: _group_commit(service),
    }


def _reactor_name(service: KVStoreService) -> str:
    return type(service._reactor).__name__


def _memory() -> list[tuple[str, Any]]:
    return [
        ("used_memory_rss", resident_bytes()),
        ("used_memory_peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB),
    ]


def resident_bytes() -> int:
    """Bytes of memory that this process has now (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _persistence(service: KVStoreService) -> list[tuple[str, Any]]:
    store, compactor = service.store, service.compactor
    return [
        ("sync_policy", service.settings.sync),
        ("last_commit", store.settled_sequence()),
        ("durable_commit", store.durable_sequence),
        ("log_entries", store.log.entries),
        ("log_bytes", store.log.end),
        ("checkpoint_bytes", store.checkpoint_bytes),
        ("compactions", store.compactions),
        ("compaction_in_progress", int(compactor.running)),
        ("last_compaction_seconds", f"{compactor.last_seconds:.3f}"),
        ("last_seal_milliseconds", f"{compactor.last_seal_seconds * 1e3:.3f}"),
        ("last_finish_milliseconds", f"{compactor.last_finish_seconds * 1e3:.3f}"),
        ("last_compaction_error", compactor.last_error or "none"),
    ]


def _group_commit(service: KVStoreService) -> list[tuple[str, Any]]:
    figures = service.commit.figures
    commits = max(figures.commits, 1)
    return [
        ("commits", figures.commits),
        ("committed_requests", figures.requests),
        ("committed_operations", figures.operations),
        ("committed_bytes", figures.bytes),
        ("requests_per_commit", f"{figures.requests / commits:.2f}"),
        ("largest_group", figures.largest_group),
        ("requests_together", service.factory.arrivals.together.requests),
        ("microseconds_per_commit", f"{figures.syncing_ns / commits / 1e3:.1f}"),
    ]
