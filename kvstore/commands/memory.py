"""MEMORY: what takes memory. How much of it there may be: `memory_limit`."""

from __future__ import annotations

import sys
from typing import Any

from kvstore.base.errors import syntax_error
from kvstore.base.limits import KIB, MIB
from kvstore.base.reply import OK, Reply, Verbatim
from kvstore.commands.arguments import pairs
from kvstore.commands.context import Call
from kvstore.commands.eviction import size_bytes
from kvstore.commands.info import fields_of
from kvstore.commands.registry import READ, WHOLE, Key, command, container, to_integer

container("MEMORY", "Tell what takes memory.", group="server")

#: Of MEMORY STATS: the field of INFO that tells it.
_STATS = {
    "peak.allocated": "used_memory_peak", "total.allocated": "used_memory", "startup.allocated": "used_memory_startup",
    "replication.backlog": "mem_replication_backlog", "replicas.repl.buffer": "mem_replicas_repl_buffer",
    "clients.slaves": "mem_clients_slaves", "clients.normal": "mem_clients_normal",
    "cluster.links": "mem_cluster_links", "cluster.slot_import": "mem_cluster_slot_import",
    "cluster.slot_export": "mem_cluster_slot_export",
    "aof.buffer": "mem_aof_buffer", "lua.caches": "used_memory_scripts_eval",
    "functions.caches": "used_memory_functions",
    "overhead.db.hashtable.rehashing": "mem_overhead_db_hashtable_rehashing", "overhead.total": "used_memory_overhead",
    "dataset.bytes": "used_memory_dataset", "allocator.allocated": "allocator_allocated",
    "allocator.active": "allocator_active", "allocator.resident": "allocator_resident",
    "allocator.muzzy": "allocator_muzzy", "allocator-fragmentation.ratio": "allocator_frag_ratio",
    "allocator-fragmentation.bytes": "allocator_frag_bytes", "allocator-rss.ratio": "allocator_rss_ratio",
    "allocator-rss.bytes": "allocator_rss_bytes", "rss-overhead.ratio": "rss_overhead_ratio",
    "rss-overhead.bytes": "rss_overhead_bytes", "fragmentation": "mem_fragmentation_ratio",
    "fragmentation.bytes": "mem_fragmentation_bytes",
}  # fmt: skip
#: The same, with per cent behind the number there.
_PERCENTAGES = {"dataset.percentage": "used_memory_dataset_perc", "peak.percentage": "used_memory_peak_perc"}

_WELL = "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n"
_EMPTY = (
    "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these"
    " conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to"
    " our programming as soon as I finished rebooting.\n"
)
_FOUND = "Sam, I detected a few issues in this kvstore instance memory implants:\n\n"
_PEAK = (
    " * Peak memory: once this instance used more than 150% of what it uses now. The process keeps what is free since,"
    " and fills it again: that is harmless. MEMORY PURGE gives back what can be given back; only a restart gives back"
    " all.\n\n"
)
_RESIDENT = (
    " * High total RSS: the process has more than 1.4 times of the system what is allocated. That comes of a peak (see"
    " above), or of many values removed between others that stay: new ones will take their place.\n\n"
)
_CLIENTS = (
    " * Big client buffers: on average more than 200K wait for each client, such as subscribers that do not take their"
    " messages, or clients that ask for a lot at once. CLIENT LIST tells which (omem); maxmemory-clients and"
    " client-output-buffer-limit are limits.\n\n"
)
_SCRIPTS = (
    " * Many scripts: more than 1000 are cached. Scripts that differ only in their values should take these from KEYS"
    " and ARGV; SCRIPT FLUSH forgets all.\n\n"
)
_GOOD_BYE = "I'm here to keep you safe, Sam. I want to help you.\n"


@command("MEMORY|USAGE", READ, group="server", options="[SAMPLES count]")
def memory_usage(call: Call, key: Key, *options: bytes) -> Reply:
    """Estimate the bytes of memory that a key and its value take; of large values nothing needs to be sampled.

    Unlike Valkey, of a key that has expired it is null.
    """
    _check_samples(options)
    value = call.table.read(key)
    if value is None:
        return None
    return size_bytes(key, value)


def _check_samples(options: tuple[bytes, ...]) -> None:
    for name, count in pairs(options):
        if name != b"SAMPLES" or to_integer(count) < 0:
            raise syntax_error()


@command("MEMORY|STATS", WHOLE, group="server")
def memory_stats(call: Call) -> Reply:
    """Tell what takes how many bytes.

    Unlike Valkey, of a database it tells what Python's dicts take, of the keys and of their deadlines.
    """
    told = fields_of(call, "memory")
    stats: dict[str, Any] = {name: _number(name, told[field]) for name, field in _STATS.items() if field in told}
    stats |= {name: float(told[field].rstrip("%")) for name, field in _PERCENTAGES.items() if field in told}
    tables = {table.number: table for table in call.store.databases if table.count()}
    overheads = {
        f"db.{number}": {
            "overhead.hashtable.main": sys.getsizeof(table.values),
            "overhead.hashtable.expires": sys.getsizeof(table.deadlines),
        }
        for number, table in tables.items()
    }
    keys = sum(table.count() for table in tables.values())
    each = stats.get("dataset.bytes", 0) // keys if keys else 0
    counted = {"db.dict.rehashing.count": 0, "keys.count": keys, "keys.bytes-per-key": each}
    lut = sum(size for sizes in overheads.values() for size in sizes.values())
    return stats | overheads | {"overhead.db.hashtable.lut": lut} | counted


def _number(name: str, told: Any) -> float:
    return float(told) if name.endswith("ratio") or name == "fragmentation" else int(told)


@command("MEMORY|MALLOC-STATS", group="server")
def memory_malloc_stats(call: Call) -> Reply:
    """Tell the allocators' own figures: Python's, of its arenas, and those of malloc."""
    return Verbatim(call.server.memory.used.allocators.described())


@command("MEMORY|DOCTOR", group="server")
def memory_doctor(call: Call) -> Reply:
    """Say what is wrong with how memory is used, by Valkey's rules."""
    told = fields_of(call, "memory")
    used, peak, resident = (int(told[f"used_memory{which}"]) for which in ("", "_peak", "_rss"))
    if used - int(told["used_memory_startup"]) < 5 * MIB:
        return Verbatim(_EMPTY)
    issues = {
        _PEAK: peak > 1.5 * used,
        _RESIDENT: resident > 1.4 * used and resident - used > 10 * MIB,
        _CLIENTS: int(told["mem_clients_normal"]) > 200 * KIB * max(1, len(call.server.clients)),
        _SCRIPTS: int(told["number_of_cached_scripts"]) > 1000,
    }
    found = "".join(text for text, holds in issues.items() if holds)
    return Verbatim(f"{_FOUND}{found}{_GOOD_BYE}" if found else _WELL)


@command("MEMORY|PURGE", group="server")
def memory_purge(call: Call) -> Reply:
    """Give memory that is free back to the system, as far as that can be."""
    call.server.memory.used.allocators.purge()
    return OK
