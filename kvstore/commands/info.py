"""INFO: what the server says of itself, in sections of `field:value` lines, as Redis's clients and monitors parse them.

Fields that this server has keep Redis's names; fields that would mean nothing here are left out. What only other
rooms know they add through `Server.info`, to these sections or to ones of their own; a field of theirs replaces one
of the same name here.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

from kvstore import __version__
from kvstore.base.reply import Reply, Verbatim
from kvstore.commands.context import Call
from kvstore.commands.deadlines import MS_PER_S
from kvstore.commands.registry import WHOLE, command, table
from kvstore.store.table import Table

#: The Redis whose replies and error texts are followed; clients decide by it what they may ask.
REDIS_VERSION = "7.2.4"

_S_PER_DAY = 86_400

Fields = list[tuple[str, Any]]


@command("INFO", WHOLE, group="server")
def info(call: Call, *sections: bytes) -> Reply:
    """Tell what the server is, how it does and what it holds."""
    asked = {section.decode("latin-1").lower() for section in sections} or {"default"}
    names = [name for name in _names(call) if name in asked or asked & _groups_of(name)]
    return Verbatim("\r\n".join(_section(call, name) for name in names))


def _names(call: Call) -> list[str]:
    return [*_SECTIONS, *(name for name in call.server.info if name not in _SECTIONS)]


def _groups_of(name: str) -> set[str]:
    """The words that ask for a section besides its name. `default` leaves out what is long."""
    return {"all", "everything"} if name == "commandstats" else {"all", "everything", "default"}


def _section(call: Call, name: str) -> str:
    own = _SECTIONS[name](call) if name in _SECTIONS else []
    added = call.server.info[name]() if name in call.server.info else []
    lines = [f"{field}:{value}\r\n" for field, value in (dict(own) | dict(added)).items()]
    return f"# {name.capitalize()}\r\n" + "".join(lines)


def _server(call: Call) -> Fields:
    server = call.server
    uptime_s = (server.recent_ms - server.started_ms) // MS_PER_S  # both by the steady clock: see `Server.recent_ms`
    return [
        ("redis_version", REDIS_VERSION),
        ("server_name", "kvstore"),
        ("kvstore_version", __version__),
        ("redis_mode", "standalone"),
        ("os", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("python_version", platform.python_version()),
        ("process_id", os.getpid()),
        ("run_id", server.run_id),
        ("tcp_port", server.settings.get("port", 0)),
        ("server_time_usec", server.now_ms() * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // _S_PER_DAY),
    ]


def _clients(call: Call) -> Fields:
    server = call.server
    return [
        ("connected_clients", len(server.clients)),
        ("maxclients", server.settings.get("maxclients", 0)),
        ("blocked_clients", len(server.waiting.places)),
        ("clients_in_timeout_table", server.waiting.timed()),
        ("pubsub_clients", server.channels.clients()),
        ("watching_clients", sum(1 for client in server.clients.values() if client.watching)),
        ("total_watched_keys", sum(watches.count() for watches in server.watches)),
        ("total_blocking_keys", sum(len(table.awaited) for table in call.store.databases)),
    ]


def _persistence(call: Call) -> Fields:
    return [
        ("loading", 0),
        ("rdb_last_save_time", call.server.checkpoint_ms() // MS_PER_S),
        ("aof_enabled", 1),
        ("aof_fsync", call.server.settings.get("appendfsync", "")),
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
        ("evicted_keys", 0),
        ("keyspace_hits", sum(table.hits for table in databases)),
        ("keyspace_misses", sum(table.misses for table in databases)),
        ("pubsub_channels", len(server.channels.channels.subscribers)),
        ("pubsub_patterns", len(server.channels.patterns.subscribers)),
        ("pubsubshard_channels", len(server.channels.shard_channels.subscribers)),
        ("total_error_replies", server.errors),
    ]


def _replication(call: Call) -> Fields:
    return [("role", "master"), ("connected_slaves", 0)]


def _commandstats(call: Call) -> Fields:
    """As in Valkey: a command that nobody has called, well or badly, is left out. In the order of the table."""
    counted = ((row, call.server.statistics[row]) for row in table.all_rows())
    return [(f"cmdstat_{row.name.lower()}", each.shown()) for row, each in counted if each.calls or each.rejected]


def _keyspace(call: Call) -> Fields:
    counted = ((table, table.count()) for table in call.store.databases)
    return [(f"db{table.number}", _of_database(table, keys)) for table, keys in counted if keys]


def _of_database(table: Table, keys: int) -> str:
    expires = len(table.deadlines) - (len(table.values) - keys)
    return f"keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={len(table.inner)}"


_SECTIONS: dict[str, Callable[[Call], Fields]] = {
    "server": _server,
    "clients": _clients,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "commandstats": _commandstats,
    "keyspace": _keyspace,
}
