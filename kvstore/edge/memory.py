"""What INFO says of memory. It is that of the process: Python's allocator does not count what is in use of it."""

from __future__ import annotations

import os
import resource
from typing import Any

from kvstore.base.limits import KIB
from kvstore.base.sizes import human
from kvstore.commands.context import Server

#: There is no second count that these could be the ratio to, or the difference.
_SAME = {
    "allocator_frag_ratio": "1.00", "allocator_frag_bytes": 0, "allocator_rss_ratio": "1.00", "allocator_rss_bytes": 0,
    "rss_overhead_ratio": "1.00", "rss_overhead_bytes": 0, "mem_fragmentation_ratio": "1.00",
    "mem_fragmentation_bytes": 0,
}  # fmt: skip


class Memory:
    """Field and value pairs for INFO. What the process took when this was made counts as overhead, the rest as data."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._at_start = resident_bytes()
        self._of_machine = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()

    def __call__(self) -> list[tuple[str, Any]]:
        """As it is now."""
        resident = resident_bytes()
        peak = max(resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB)
        sizes = {
            "used_memory": resident, "used_memory_rss": resident, "used_memory_peak": peak,
            "total_system_memory": self._of_machine, "maxmemory": self._server.configuration.number("maxmemory"),
        }  # fmt: skip
        pairs = [pair for name, count in sizes.items() for pair in ((name, count), (f"{name}_human", human(count)))]
        return [*pairs, *self._parts(resident, peak), *_SAME.items()]

    def _parts(self, resident: int, peak: int) -> list[tuple[str, Any]]:
        server, data = self._server, max(0, resident - self._at_start)
        return [
            ("used_memory_peak_perc", f"{resident / peak:.2%}"),
            ("used_memory_overhead", resident - data),
            ("used_memory_startup", self._at_start),
            ("used_memory_dataset", data),
            ("used_memory_dataset_perc", f"{data / resident:.2%}"),
            *((f"allocator_{kind}", resident) for kind in ("allocated", "active", "resident")),
            ("maxmemory_policy", server.configuration.text("maxmemory-policy")),
            ("mem_clients_normal", sum(client.traffic().unsent_bytes for client in server.clients.values())),
            ("mem_aof_buffer", server.store.pending.size_bytes),
            ("mem_allocator", "pymalloc"),
            ("lazyfree_pending_objects", len(server.store.garbage)),
        ]


def resident_bytes() -> int:
    """Bytes of memory that this process has now (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
