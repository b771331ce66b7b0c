"""One line of CLIENT LIST: who a client is, what it does and what it holds."""

from __future__ import annotations

from kvstore.commands.channels import Channels
from kvstore.commands.client import UNKNOWN, Client
from kvstore.commands.deadlines import MS_PER_S


def client_line(client: Client, now_ms: int, channels: Channels) -> str:
    """One line of CLIENT LIST: the fields of Valkey, in its order.

    Nothing is set aside for a client here, so there is no free part of a query buffer and no reply buffer (`rbs`,
    `rbp`); the words of a request are part of `qbuf` until it executes. `tot-mem` is all that grows with what the
    client does.
    """
    traffic = client.traffic()
    fields = {
        "id": client.identity,
        "addr": client.address,
        "laddr": client.local_address,
        "fd": traffic.descriptor,
        "name": client.name.decode("ascii"),
        "age": (now_ms - client.connected_ms) // MS_PER_S,
        "idle": now_ms // MS_PER_S - client.last_request_ms // MS_PER_S,
        "flags": client.flags,
        "capa": client.capabilities,
        "db": client.database,
        "sub": len(channels.channels.names_of(client)),
        "psub": len(channels.patterns.names_of(client)),
        "ssub": len(channels.shard_channels.names_of(client)),
        "multi": -1 if client.queued is None else len(client.queued),
        "watch": 0 if client.watched_changed else sum(watches.count_of(client) for watches in client.watching),
        "qbuf": traffic.unread_bytes,
        "qbuf-free": 0,
        "argv-mem": 0,
        "multi-mem": client.queued_bytes,
        "rbs": 0,
        "rbp": 0,
        "obl": traffic.waiting_bytes,
        "oll": traffic.pieces,
        "omem": traffic.unsent_bytes - traffic.waiting_bytes,
        "tot-mem": traffic.unread_bytes + client.queued_bytes + client.kept_bytes + traffic.unsent_bytes,
        "events": traffic.events,
        "cmd": client.last_command if client.last_command == UNKNOWN else client.last_command.lower(),
        "user": client.user.name.decode("utf-8", "surrogateescape"),
        "redir": -1 if client.tracking is None else client.tracking.redirect,
        "resp": client.protocol,
        "lib-name": client.library_name.decode("ascii"),
        "lib-ver": client.library_version.decode("ascii"),
        "tot-net-in": traffic.received_bytes,
        "tot-net-out": traffic.sent_bytes,
        "tot-cmds": client.requests,
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())
