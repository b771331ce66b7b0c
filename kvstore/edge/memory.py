"""What INFO says of memory: what is allocated (`used_memory`), and what the process has of the system (`_rss`)."""

from __future__ import annotations

import os
import resource
from typing import Any

from kvstore.base.sizes import human
from kvstore.commands.context import Server
from kvstore.edge.allocations import resident_bytes


class Memory:
    """Field and value pairs for INFO. What the process took when it began counts as overhead, as does what its clients
    hold; the rest as data.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._of_machine = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()

    def __call__(self) -> list[tuple[str, Any]]:
        """As it is now."""
        used, resident_now = self._server.memory.used, resident_bytes()
        used_now = used.now_bytes()
        sizes = {
            "used_memory": used_now, "used_memory_rss": resident_now, "used_memory_peak": used.peak_bytes,
            "total_system_memory": self._of_machine, "maxmemory": self._server.memory.limit_bytes,
        }  # fmt: skip
        pairs = [pair for name, count in sizes.items() for pair in ((name, count), (f"{name}_human", human(count)))]
        return [*pairs, *self._parts(used_now), *_fragmentation(used_now, resident_now)]

    def _parts(self, used_now: int) -> list[tuple[str, Any]]:
        server, used = self._server, self._server.memory.used
        clients = sum(client.traffic().unsent_bytes for client in server.clients.values())
        overhead = min(used_now, used.startup_bytes + used.not_counted_bytes() + clients)
        data, grown = used_now - overhead, max(1, used_now - used.startup_bytes)
        return [
            ("used_memory_peak_perc", f"{used_now / max(1, used.peak_bytes):.2%}"),
            ("used_memory_overhead", overhead),
            ("used_memory_startup", used.startup_bytes),
            ("used_memory_dataset", data),
            ("used_memory_dataset_perc", f"{min(1, data / grown):.2%}"),
            ("mem_not_counted_for_evict", used.not_counted_bytes()),
            ("maxmemory_policy", server.configuration.text("maxmemory-policy")),
            ("mem_clients_normal", clients),
            ("mem_aof_buffer", server.store.pending.size_bytes),
            ("mem_allocator", "pymalloc"),
            ("lazyfree_pending_objects", len(server.store.garbage)),
        ]


def _fragmentation(used: int, resident: int) -> list[tuple[str, Any]]:
    """Of what the system has given, what is not allocated; Python's allocator does not tell where that is."""
    ratio, bytes_ = f"{resident / max(1, used):.2f}", resident - used
    return [
        ("allocator_allocated", used),
        ("allocator_active", resident),
        ("allocator_resident", resident),
        ("allocator_frag_ratio", ratio),
        ("allocator_frag_bytes", bytes_),
        ("allocator_rss_ratio", "1.00"),
        ("allocator_rss_bytes", 0),
        ("rss_overhead_ratio", "1.00"),
        ("rss_overhead_bytes", 0),
        ("mem_fragmentation_ratio", ratio),
        ("mem_fragmentation_bytes", bytes_),
    ]
