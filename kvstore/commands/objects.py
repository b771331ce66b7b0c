"""OBJECT and MEMORY: how a value is held, and what it takes.

When keys were asked for is noted where a policy says so: see `accesses`.
"""

from __future__ import annotations

import sys
from typing import Any

from kvstore.base.errors import Failure, syntax_error
from kvstore.base.reply import OK, Reply, Verbatim
from kvstore.commands.arguments import pairs
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S
from kvstore.commands.encodings import encoding_of
from kvstore.commands.eviction import size_bytes
from kvstore.commands.info import fields_of
from kvstore.commands.registry import READ, WHOLE, Key, command, container, to_integer

container("OBJECT", "Look into values.", group="generic")
container("MEMORY", "Tell what takes memory.", group="server")

_SWITCHING = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
)

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


@command("OBJECT|ENCODING", READ, group="generic")
def object_encoding(call: Call, key: Key) -> Reply:
    """Tell how Redis would hold the value at a key; here all strings are bytes.

    Unlike Valkey, it is told by what the value holds now, as if it had been made now, under the settings of now: a
    short string that APPEND, SETRANGE or INCRBYFLOAT made is `int` or `embstr`, a list a `listpack` whenever its
    elements have room in one (in Valkey, too, after a restart); a sorted set that SORT has read, or to which ZADD
    was asked to add what it did not (XX), stays a `listpack`.
    """
    return encoding_of(call.table, key, call.server.configuration)


@command("OBJECT|REFCOUNT", READ, group="generic")
def object_refcount(call: Call, key: Key) -> Reply:
    """Tell how often the value at a key is referred to, which is once."""
    return None if call.table.look_up(key, is_heard=False) is None else 1


@command("OBJECT|IDLETIME", READ, group="generic")
def object_idletime(call: Call, key: Key) -> Reply:
    """Tell how many seconds nobody has asked for a key, under an LRU policy; without one it is 0.

    Unlike Valkey, accesses are noted under an LRU or LFU policy only, and from when that is set.
    """
    if call.table.look_up(key, is_heard=False) is None:
        return None
    if call.server.accesses.policy == "lfu":
        raise Failure(f"An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHING}")
    return call.server.accesses.idle_ms(call.table, key) // MS_PER_S


@command("OBJECT|FREQ", READ, group="generic")
def object_freq(call: Call, key: Key) -> Reply:
    """Tell the logarithm of how often a key was asked for, under an LFU policy.

    Unlike Valkey, a key that was there before the policy was set begins with 0.
    """
    if call.table.look_up(key, is_heard=False) is None:
        return None
    if call.server.accesses.policy != "lfu":
        raise Failure(f"An LFU maxmemory policy is not selected, access frequency not tracked. {_SWITCHING}")
    return call.server.accesses.frequency(call.table, key)


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
    """Tell the allocator's own figures, of which Python's has none."""
    return Verbatim("Stats not supported for the current allocator")


@command("MEMORY|DOCTOR", group="server")
def memory_doctor(call: Call) -> Reply:
    """Say what is wrong with how memory is used: in Valkey's words, nothing.

    Unlike Valkey, it does not look: Python's allocator tells too little. INFO memory tells what the process takes.
    """
    return Verbatim(
        "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n"
    )


@command("MEMORY|PURGE", group="server")
def memory_purge(call: Call) -> Reply:
    """Give memory back to the system, which happens by itself."""
    return OK
