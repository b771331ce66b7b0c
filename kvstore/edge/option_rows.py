"""The options of the server: name, default, the function that reads its text, and what `--help` says.

Those that are settings of CONFIG, too, and nothing else, take default and meaning from there (`setting_table`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from kvstore.base.address import CATALOG_VARIABLE, DEFAULT_CATALOG
from kvstore.base.limits import (
    CLIENT_SHARE_MS,
    DATABASES,
    DROP_CLIENT_BYTES,
    LEASE_MS,
    LEAST_LEASE_MS,
    LEAST_REQUEST_BYTES,
    MAX_CLIENTS,
    MAX_INPUT_BYTES,
    MAX_REQUEST_BYTES,
    MEMORY_POLICIES,
    MOST_BUFFERED_BYTES,
    MOST_CLIENT_SHARE_MS,
    MOST_CLIENTS,
    MOST_DATABASES,
    MOST_LEASE_MS,
    MOST_MEMORY_BYTES,
    MOST_REQUEST_BYTES,
    MOST_SCRIPT_MS,
    PAUSE_READING_BYTES,
    SCRIPT_MS,
)
from kvstore.base.slots import parse_slots
from kvstore.commands.setting_table import SETTINGS
from kvstore.edge.option_text import (
    announced_name,
    byte_count,
    byte_text,
    data_directory,
    debug_policy,
    group_name,
    host_and_port,
    http_endpoint,
    input_file,
    log_format,
    log_level,
    memory_policy,
    output_file,
    overlap_policy,
    port_number,
    reached_at,
    read_policy,
    shared_log_url,
    sync_policy,
    whole_number,
)
from kvstore.edge.password_file import password_hash, password_in
from kvstore.edge.settings import (
    DEFAULT_DATA_DIRECTORY,
    DEFAULT_PORT,
)

#: Largest number of entries, requests and seconds that an option takes: Redis's config file, too, stops at 32 bits.
_MOST = 2**31 - 1

_request_bytes = partial(byte_count, least=LEAST_REQUEST_BYTES, most=MOST_REQUEST_BYTES)
_buffered_bytes = partial(byte_count, least=1, most=MOST_BUFFERED_BYTES)

#: (name, default or None, text to value, help)
ROWS: list[tuple[str, str | None, Callable[[str], Any], str]] = [
    (
        "port",
        None,
        port_number,
        f"TCP port on 127.0.0.1; 0 takes any free one. [default: {DEFAULT_PORT}; none with --listen]",
    ),
    ("data", DEFAULT_DATA_DIRECTORY, data_directory, "Data directory; made if it is missing."),
    (
        "sync",
        "always",
        sync_policy,
        "When the log is synced to disk: always (before any reply), everysec (once a second) or no.",
    ),
    (
        "compact-after",
        "0",
        partial(whole_number, least=0, most=_MOST),
        "Compact when the log holds more than this many entries; with 0 a size policy decides.",
    ),
    (
        "overlap",
        "auto",
        overlap_policy,
        "With --sync always: whether the loop goes on during a sync: always, never, or auto (while syncs take more"
        " than a millisecond).",
    ),
    (
        "group-limit",
        "0",
        partial(whole_number, least=0, most=_MOST),
        "Most write requests in one commit, hence under one sync, which the loop then waits for; 0 for any number.",
    ),
    (
        "project",
        None,
        announced_name,
        "Announce the server to the catalog under this name. [default: announce nothing]",
    ),
    ("owner", None, announced_name, "Owner to announce. [default: your login name]"),
    (
        "catalog",
        None,
        host_and_port,
        f"HOST:PORT of the catalog to announce to. [default: ${CATALOG_VARIABLE}, else {DEFAULT_CATALOG}]",
    ),
    (
        "keep-log",
        None,
        data_directory,
        "Keep sealed segments of the log in this directory when they are merged, for `kvstore restore --archive`."
        " [default: remove them]",
    ),
    (
        "http",
        None,
        http_endpoint,
        "Serve a status page, /metrics, /healthz and /readyz by HTTP on this port of 127.0.0.1, or Twisted server"
        " endpoint. [default: nowhere]",
    ),
    (
        "trace",
        None,
        output_file,
        "Append one line per request, and per client that connects or disconnects, to this file. [default: no trace]",
    ),
    ("databases", str(DATABASES), partial(whole_number, least=1, most=MOST_DATABASES), "Number of databases."),
    (
        "max-memory",
        "0",
        partial(byte_count, least=0, most=MOST_MEMORY_BYTES),
        "Memory that the server may use, in bytes, before it does what --max-memory-policy says; 0 for any.",
    ),
    (
        "max-memory-policy",
        MEMORY_POLICIES[-1],
        memory_policy,
        "Which keys go when there is no more memory: noeviction (writes that grow something are refused), or allkeys-"
        " or volatile- with random, lru or lfu, or volatile-ttl.",
    ),
    ("max-clients", str(MAX_CLIENTS), partial(whole_number, least=1, most=MOST_CLIENTS), "Most clients at once."),
    (
        "max-request-bytes",
        byte_text(MAX_REQUEST_BYTES),
        _request_bytes,
        "Largest request, in bytes; units as in redis.conf (1k is 1000, 1kb is 1024).",
    ),
    (
        "max-input-bytes",
        None,
        _buffered_bytes,
        "Unfinished requests of all clients, in bytes, past which the client with most of them is disconnected."
        f" [default: {byte_text(MAX_INPUT_BYTES)}, or twice --max-request-bytes if that is more]",
    ),
    (
        "pause-reading-bytes",
        byte_text(PAUSE_READING_BYTES),
        _buffered_bytes,
        "Stop reading from a client that has more than this many bytes of replies to take.",
    ),
    (
        "drop-client-bytes",
        byte_text(DROP_CLIENT_BYTES),
        _buffered_bytes,
        "Disconnect a client that has more than this many bytes of replies to take; a larger reply is an error.",
    ),
    (
        "client-share-ms",
        str(CLIENT_SHARE_MS),
        partial(whole_number, least=1, most=MOST_CLIENT_SHARE_MS),
        "Milliseconds that one client's requests may take before the others have their turn.",
    ),
    (
        "script-ms",
        str(SCRIPT_MS),
        partial(whole_number, least=1, most=MOST_SCRIPT_MS),
        "Milliseconds that a script (EVAL) may take; past that it is stopped, and all that it did undone.",
    ),
    (
        "enable-debug-command",
        "no",
        debug_policy,
        "Who may use DEBUG, which can hold up the server: no (nobody), local (from this machine) or yes.",
    ),
    ("log-format", "text", log_format, "How lines of the log are written: text, or json (an object on each line)."),
    (
        "log-level",
        "info",
        log_level,
        "What the log tells of: debug, info, warn or error, and what is more important.",
    ),
    (
        "log-file",
        None,
        output_file,
        "Append the log to this file; SIGHUP and SIGUSR1 open it anew. [default: what twistd's --logfile says, else"
        " standard output]",
    ),
    (
        "idle-timeout",
        "0",
        partial(whole_number, least=0, most=_MOST),
        "Disconnect a client that sent nothing for so many seconds; 0 for never.",
    ),
    (
        "password-file",
        None,
        password_hash,
        "Ask clients for the password in this file, which only its owner may read. [default: ask for none]",
    ),
    (
        "acl-file",
        None,
        input_file,
        "Take the users, and what each may do, from this file, in the form of ACL LIST. [default: one user, who may do"
        " everything]",
    ),
    (
        "config",
        None,
        input_file,
        "Read settings from this file, in the syntax of redis.conf; options override it, CONFIG REWRITE writes it."
        " [default: none]",
    ),
    (
        "group",
        None,
        group_name,
        "Be one of several servers that have the same data, a group of this name; see docs/GROUP.md. [default: alone]",
    ),
    (
        "log",
        None,
        shared_log_url,
        "Where the group's log is: etcd://HOST:PORT,HOST:PORT,HOST:PORT, or etcds: for TLS.",
    ),
    (
        "advertise",
        None,
        reached_at,
        "HOST:PORT where clients and the group's other servers reach this one; its name in the group. tls:HOST:PORT if"
        " that port speaks TLS: then the others' do, too.",
    ),
    (
        "node-ca",
        None,
        input_file,
        "Fetch the others' checkpoint from servers whose certificate one of those in this PEM file has signed, with"
        " --advertise tls:HOST:PORT. [default: those that the system trusts]",
    ),
    (
        "lease-ms",
        None,
        partial(whole_number, least=LEAST_LEASE_MS, most=MOST_LEASE_MS),
        f"Milliseconds that a group's leader leads for after each of its entries. [default: {LEASE_MS}]",
    ),
    (
        "reads",
        None,
        read_policy,
        "When a group's leader answers reads: lease (while it surely leads) or quorum (after an entry of the log, which"
        " takes longer and trusts no clock). [default: lease]",
    ),
    (
        "slots",
        None,
        parse_slots,
        "Have the group be one of a cluster, with these of the 16384 slots, as 0-5460; see docs/GROUP.md."
        " [default: not one of a cluster]",
    ),
    (
        "node-user",
        None,
        os.fsencode,
        "Who the group's other servers are asked as for their checkpoint; needs +group|checkpoint. [default: default]",
    ),
    (
        "node-password-file",
        None,
        password_in,
        "That user's password, in a file that only its owner may read. [default: that of --password-file]",
    ),
    (
        "tls-client-ca",
        None,
        input_file,
        "Ask clients of each ssl: endpoint for a certificate that one of those in this PEM file has signed."
        " [default: ask for none]",
    ),
]


#: Options that are settings of CONFIG, too, and have no field in `Settings`: what --help says.
LIMITS = {
    "max-clients-per-address": (
        "Most clients of one address, or IPv6 network of 64 bits, at once; 0 for any number. [default: half of"
        " --max-clients]"
    ),
    "authentication-timeout": (
        "Disconnect a client that has not said who it is, where that is asked for, or ended the handshake of TLS,"
        " within so many seconds; 0 for never."
    ),
    "max-request-words": "Most words of a request.",
    "max-transaction-bytes": "Most bytes of requests queued in a MULTI block.",
    "max-subscription-bytes": "Most bytes that the subscriptions of a client may take.",
    "max-json-depth": "Deepest nesting of a JSON value that insert takes.",
    "script-memory-bytes": "Memory that a script may take; past that it is stopped, and all that it did undone.",
    "client-output-buffer-limit": (
        "Replies that a client may leave untaken, as in redis.conf: CLASS HARD SOFT SECONDS for some of the classes"
        " normal and pubsub (who subscribes); it is disconnected past HARD bytes, or after SECONDS past SOFT."
        " [default: 256mb, 64mb for 300 s; pubsub 32mb, 8mb for 60 s]"
    ),
    "min-free-bytes": "Leave so many bytes of the data's volume free: refuse writes instead; reads go on.",
    "max-log-bytes": "Refuse writes while the log has more bytes, until a compaction has made it short; 0 for any.",
}
#: Of these the default is told in the text.
TOLD = ("max-clients-per-address", "client-output-buffer-limit")
ROWS += [
    (name, None if name in TOLD else SETTINGS[name].default, SETTINGS[name].kind, text) for name, text in LIMITS.items()
]
