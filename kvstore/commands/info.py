"""INFO: what the server says of itself, in sections of `field:value` lines, as Redis's clients and monitors parse them.

Every section and field of Valkey's is there. What only other rooms know they add through `Server.info`, to these
sections or to ones of their own; a field of theirs replaces one of the same name here. Fields about something that
there is none of here stand in `info_absent`.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Any

from kvstore import __version__
from kvstore.base.reply import Reply, Verbatim
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S
from kvstore.commands.functions import memory_fields
from kvstore.commands.info_absent import absent_fields
from kvstore.commands.latency import percentile_fields
from kvstore.commands.registry import WHOLE, command
from kvstore.commands.replication import replication_fields
from kvstore.commands.versions import REDIS_VERSION, VALKEY_VERSION
from kvstore.store.table import Table

_S_PER_DAY = 86_400
#: The clock by which Redis notes accesses has so many bits of seconds.
_LRU_CLOCK_MASK = 2**24 - 1

#: Why requests were refused, as INFO calls it, and as ACL LOG does.
_DENIALS = {"auth": "auth", "cmd": "command", "key": "key", "channel": "channel", "db": "database"}

Fields = list[tuple[str, Any]]


@command("INFO", WHOLE, group="server")
def info(call: Call, *sections: bytes) -> Reply:
    """Tell what the server is, how it does and what it holds.

    Unlike Valkey, fields of what there is none of have the value that is true without it; there is a section
    `group_commit`; a compaction counts as a background save and as a rewrite of the log; times of running go by a
    steady clock.
    """
    asked = {section.decode("latin-1").lower() for section in sections} or {"default"}
    names = [name for name in _names(call) if name in asked or asked & _groups_of(name)]
    return Verbatim("\r\n".join(_section(call, name) for name in names))


def _names(call: Call) -> list[str]:
    return [*_SECTIONS, *(name for name in call.server.info if name not in _SECTIONS)]


def _groups_of(name: str) -> set[str]:
    """The words that ask for a section besides its name. `default` leaves out what is long, or not there."""
    return {"all", "everything"} if name in _NOT_BY_DEFAULT else {"all", "everything", "default"}


def _section(call: Call, name: str) -> str:
    lines = [f"{field}:{value}\r\n" for field, value in fields_of(call, name).items()]
    return f"# {_TITLES.get(name, name.capitalize())}\r\n" + "".join(lines)


def fields_of(call: Call, name: str) -> dict[str, Any]:
    """The fields of a section, named in lower case and without blanks."""
    own = _SECTIONS[name](call) if name in _SECTIONS else []
    added = call.server.info[name]() if name in call.server.info else []
    # redis-cli --stat takes the first field that begins with `used_memory`.
    fields = dict(own) | dict(added) if name != "memory" else dict(added) | dict(own)
    return fields | {field: value for field, value in absent_fields(name).items() if field not in fields}


def _server(call: Call) -> Fields:
    server = call.server
    uptime_s = (server.recent_ms - server.started_ms) // MS_PER_S  # both by the steady clock: see `Server.recent_ms`
    return [
        ("redis_version", REDIS_VERSION),
        ("server_name", "kvstore"),
        ("kvstore_version", __version__),
        ("valkey_version", VALKEY_VERSION),
        ("valkey_release_stage", "ga"),
        ("redis_mode", server.mode),
        ("server_mode", server.mode),
        ("os", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("arch_bits", 8 * struct.calcsize("P")),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("gcc_version", platform.python_compiler().removeprefix("GCC ")),
        ("python_version", platform.python_version()),
        ("process_id", os.getpid()),
        ("run_id", server.run_id),
        ("tcp_port", server.configuration.text("port")),
        ("server_time_usec", server.now_ms() * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // _S_PER_DAY),
        *((name, server.configuration.text("hz")) for name in ("hz", "configured_hz", "clients_hz")),
        ("lru_clock", server.now_ms() // MS_PER_S & _LRU_CLOCK_MASK),
        ("executable", sys.executable),
        ("availability_zone", server.configuration.text("availability-zone")),
    ]


def _clients(call: Call) -> Fields:
    server = call.server
    return [
        ("connected_clients", len(server.clients)),
        ("maxclients", server.configuration.text("maxclients")),
        ("blocked_clients", server.blocked()),
        ("clients_in_timeout_table", server.waiting.timed()),
        ("pubsub_clients", server.channels.clients()),
        ("watching_clients", sum(1 for client in server.clients.values() if client.watching)),
        ("total_watched_keys", sum(watches.count() for watches in server.watches)),
        ("tracking_clients", len(call.server.tracking.modes)),
        ("total_blocking_keys", server.waiting.keys()),
        ("total_blocking_keys_on_nokey", server.waiting.keys_not_to_lose()),
        *_paused(call),
    ]


def _paused(call: Call) -> Fields:
    pause = call.server.pause
    if not pause.until_ms:
        return [("paused_reason", "none"), ("paused_actions", "none"), ("paused_timeout_milliseconds", 0)]
    return [
        ("paused_reason", "client_pause"),
        ("paused_actions", "all" if pause.is_of_all else "write"),
        ("paused_timeout_milliseconds", max(0, pause.until_ms - call.server.now_ms())),
    ]


def _persistence(call: Call) -> Fields:
    return [
        ("loading", 0),
        ("rdb_last_save_time", call.server.checkpoint_ms() // MS_PER_S),
        ("aof_enabled", 1),
        ("aof_fsync", call.server.configuration.text("appendfsync")),
    ]


def _stats(call: Call) -> Fields:
    server, databases = call.server, call.store.databases
    received, sent = (
        now - before for now, before in zip(server.network_bytes(), server.network_bytes_before, strict=True)
    )
    return [
        ("total_connections_received", server.connections_received),
        ("total_commands_processed", server.requests_executed),
        ("instantaneous_ops_per_sec", 0),
        ("total_net_input_bytes", received),
        ("total_net_output_bytes", sent),
        ("rejected_connections", server.connections_refused),
        ("expired_keys", sum(table.expired_count for table in databases)),
        ("expired_fields", sum(table.expired_inside for table in databases)),
        ("evicted_keys", server.memory.eviction.evicted),
        ("total_eviction_exceeded_time", server.memory.exceeded_ms()[0]),
        ("current_eviction_exceeded_time", server.memory.exceeded_ms()[1]),
        ("evicted_clients", server.clients_evicted),
        ("evicted_scripts", server.scripts.forgotten if server.scripts else 0),
        ("keyspace_hits", sum(table.hits for table in databases)),
        ("keyspace_misses", sum(table.misses for table in databases)),
        ("pubsub_channels", len(server.channels.channels.subscribers)),
        ("pubsub_patterns", len(server.channels.patterns.subscribers)),
        ("pubsubshard_channels", len(server.channels.shard_channels.subscribers)),
        ("tracking_total_keys", len(server.tracking.readers)),
        ("tracking_total_items", server.tracking.reader_count),
        ("tracking_total_prefixes", len(server.tracking.prefixes)),
        ("total_error_replies", server.errors),
        *((f"acl_access_denied_{name}", server.gate.log.counts[reason]) for name, reason in _DENIALS.items()),
    ]


def _commandstats(call: Call) -> Fields:
    """As in Valkey: a command that nobody has called, well or badly, is left out. In the order of the table."""
    counted = call.server.statistics.in_order()
    return [(f"cmdstat_{each.row.name.lower()}", each.shown()) for each in counted if each.calls or each.rejected]


def _errorstats(call: Call) -> Fields:
    counted = sorted(call.server.errors_by_code.items())
    return [(f"errorstat_{code}", f"count={count}") for code, count in counted]


def _nothing(call: Call) -> Fields:
    """A section that holds what other rooms add, or what there is none of."""
    return []


def _keyspace(call: Call) -> Fields:
    counted = ((table, table.count()) for table in call.store.databases)
    return [(f"db{table.number}", _of_database(table, keys)) for table, keys in counted if keys]


def _of_database(table: Table, keys: int) -> str:
    expires = len(table.deadlines) - (len(table.values) - keys)
    return f"keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={len(table.inner)}"


#: In Valkey's order.
_SECTIONS: dict[str, Callable[[Call], Fields]] = {
    "server": _server,
    "tls": _nothing,
    "clients": _clients,
    "memory": memory_fields,
    "persistence": _persistence,
    "stats": _stats,
    "replication": replication_fields,
    "cpu": _nothing,
    "modules": _nothing,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "latencystats": percentile_fields,
    "cluster": lambda call: [("cluster_enabled", int(call.server.is_in_cluster))],
    "cluster_info": _nothing,
    "scriptingengines": _nothing,
    "keyspace": _keyspace,
}
_NOT_BY_DEFAULT = {"tls", "commandstats", "latencystats", "cluster_info", "scriptingengines"}
_TITLES = {
    "tls": "TLS",
    "cpu": "CPU",
    "cluster_info": "Cluster Info",
    "scriptingengines": "Scripting Engines",
}
