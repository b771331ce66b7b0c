"""The table of settings: Redis's names, what each may be, what it is at first, and whether CONFIG SET changes it.

- live: CONFIG SET sets it. What is obeyed, all limits among it; and what tunes something that works otherwise here,
  which is remembered, so that suites and clients which set it go on.
- held: CONFIG SET takes the value that it has, and says why it can be no other. What a promise hangs on, and what would
  be a lie.
- fixed: CONFIG SET refuses it, in Valkey's words. What is chosen at the start; and what belongs to a feature that is
  not there, and is what it is without it.

Of the settings that only kvstore has, under the names of their options, all limits and some others are live (`_OWN`);
the rest are fixed. These come from the options that it was started with (`edge.settings`), which also give some of
those here their values. A value here is the one of a server about which nothing was said.

Rejected: to accept whatever Valkey does (a `CONFIG SET appendonly no` that turns nothing off).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from kvstore.base import limits
from kvstore.base.limits import MAX_CLIENTS, MAX_REQUEST_BYTES, MEMORY_POLICIES, MIB
from kvstore.commands.event_classes import shown_classes
from kvstore.commands.setting_kinds import (
    INT32_MAX,
    Kind,
    anything,
    integer,
    memory,
    memory_or_share,
    one_of,
    output_limits,
    percentiles,
    with_output_limits,
    yes_or_no,
)

#: Why a fixed setting is not changed.
IMMUTABLE = "can't set immutable config"


class Setting(NamedTuple):
    """One row. `refusal`: why it keeps its value, empty if CONFIG SET changes it. `merge`: what the value before and
    the one that is given come to, if that says a part only.
    """

    name: str
    default: str
    kind: Kind = anything
    refusal: str = ""
    merge: Callable[[str, str], str] = lambda before, given: given


def _live(kind: Kind, **defaults: object) -> Iterator[Setting]:
    return (Setting(name.replace("_", "-"), str(default), kind) for name, default in defaults.items())


def _held(refusal: str, kind: Kind, **defaults: object) -> Iterator[Setting]:
    return (setting._replace(refusal=refusal) for setting in _live(kind, **defaults))


_OPTION = "it is an option of the start, see kvstore serve --help: --"

_LIVE = (
    # Obeyed.
    *_live(integer(0, INT32_MAX), timeout=0),
    *_live(integer(1, 2**32 - 1), maxclients=MAX_CLIENTS),
    *_live(shown_classes, notify_keyspace_events=""),
    *_live(anything, availability_zone=""),
    *_live(yes_or_no, protected_mode="yes"),
    *_live(one_of("debug", "verbose", "notice", "warning", "nothing"), loglevel="notice"),
    *_live(yes_or_no, hide_user_data_from_log="yes"),
    *_live(anything, requirepass=""),
    *_live(one_of("allchannels", "resetchannels"), acl_pubsub_default="resetchannels"),
    *_live(memory(limits.LEAST_REQUEST_BYTES, limits.MOST_REQUEST_BYTES), proto_max_bulk_len=MAX_REQUEST_BYTES),
    Setting("client-output-buffer-limit", limits.OUTPUT_LIMITS, output_limits, merge=with_output_limits),
    # Thresholds past which OBJECT ENCODING names another encoding; and of a stream's entries, what is trimmed at once.
    *_live(integer(), hash_max_listpack_entries=512, set_max_intset_entries=512, set_max_listpack_entries=128),
    *_live(integer(), set_max_listpack_value=64, zset_max_listpack_entries=128, stream_node_max_entries=100),
    *_live(memory(), hash_max_listpack_value=64, zset_max_listpack_value=64, stream_node_max_bytes=4096),
    *_live(integer(-INT32_MAX - 1, INT32_MAX), list_max_listpack_size=-2),
    *_live(integer(0, INT32_MAX), list_compress_depth=0),
    *_live(memory(), hll_sparse_max_bytes=3000),
    # How much memory there may be, and which keys go when there is more.
    *_live(memory(most=2**64 - 1), maxmemory=0),
    *_live(one_of(*MEMORY_POLICIES), maxmemory_policy="noeviction"),
    *_live(integer(0, INT32_MAX), lfu_decay_time=1, lfu_log_factor=10),
    *_live(integer(1, 64), maxmemory_samples=5),
    *_live(memory_or_share, maxmemory_clients=0),
    *_live(integer(0, 100), maxmemory_eviction_tenacity=10),
    # What is noted for people, and how much of it.
    *_live(integer(-1), commandlog_execution_slower_than=-1, commandlog_reply_larger_than=MIB),
    *_live(integer(-1), commandlog_request_larger_than=MIB),
    *_live(integer(), commandlog_slow_execution_max_len=128, commandlog_large_reply_max_len=128),
    *_live(integer(), commandlog_large_request_max_len=128, acllog_max_len=128),
    *_live(yes_or_no, latency_tracking="yes"),
    *_live(percentiles, latency_tracking_info_percentiles="50 99 99.9"),
    *_live(integer(), latency_monitor_threshold=0, busy_reply_threshold=5000, tracking_table_max_keys=1_000_000),
    # How work goes on in the background, which it does otherwise here.
    *_live(yes_or_no, activerehashing="yes", lazyfree_lazy_eviction="yes", lazyfree_lazy_expire="yes"),
    *_live(yes_or_no, lazyfree_lazy_server_del="yes", lazyfree_lazy_user_del="yes", lazyfree_lazy_user_flush="yes"),
    *_live(integer(1, 10), active_expire_effort=1),
    *_live(integer(0, INT32_MAX), hz=10, shutdown_timeout=10),
)

_HELD = (
    *_held("every change is in the log before its reply; there is no server without", yes_or_no, appendonly="yes"),
    *_held(f"{_OPTION}sync", one_of("everysec", "always", "no"), appendfsync="always"),
    *_held("the log holds every change, and becomes a checkpoint when it is long: --compact-after", anything, save=""),
    *_held("a client holds one request at most: proto-max-bulk-len", memory(), client_query_buffer_limit=2**30),
    *_held("writes are refused when a disk is full, whatever becomes of a save", yes_or_no, **{
        "stop_writes_on_bgsave_error": "no",
    }),
    *_held(IMMUTABLE, one_of("no", "yes", "local"), enable_debug_command="no"),
    *_held("nothing is moved in memory", yes_or_no, activedefrag="no"),
)  # fmt: skip

#: `name` or `name=value`, between blanks; one that is said twice or holds blanks stands below.
_FIXED = """
    aclfile active-defrag-cycle-max=25 active-defrag-cycle-min=1
    active-defrag-cycle-us=500 active-defrag-ignore-bytes=104857600 active-defrag-max-scan-fields=1000
    active-defrag-threshold-lower=10 active-defrag-threshold-upper=100 always-show-logo=no aof-load-truncated=yes
    aof-rewrite-cpulist aof-rewrite-incremental-fsync=no aof-timestamp-enabled=yes aof-use-rdb-preamble=no
    appenddirname appendfilename=table.txn auto-aof-rewrite-min-size=67108864 auto-aof-rewrite-percentage=100
    bgsave-cpulist bind bind-source-addr bio-cpulist
    cluster-allow-pubsubshard-when-down=yes cluster-allow-reads-when-down=no cluster-allow-replica-migration=yes
    cluster-announce-bus-port=0 cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-announce-client-port=0
    cluster-announce-client-tls-port=0 cluster-announce-hostname cluster-announce-human-nodename cluster-announce-ip
    cluster-announce-port=0 cluster-announce-tls-port=0 cluster-blacklist-ttl=60 cluster-config-file=nodes.conf
    cluster-config-save-behavior=sync cluster-databases=1 cluster-enabled=no cluster-link-sendbuf-limit=0
    cluster-manual-failover-timeout=5000 cluster-migration-barrier=1 cluster-node-timeout=15000 cluster-port=0
    cluster-preferred-endpoint-type=ip cluster-replica-no-failover=no cluster-replica-validity-factor=10
    cluster-require-full-coverage=yes cluster-slot-migration-log-max-len=1000 cluster-slot-stats-enabled=no
    crash-log-enabled=yes crash-memcheck-enabled=no daemonize=no databases=16 dbfilename=table.ckpt dir disable-thp=no
    dual-channel-replication-enabled=no enable-module-command=no enable-protected-configs=no
    extended-redis-compatibility=no hash-seed ignore-warnings import-mode=no io-threads=1
    jemalloc-bg-thread=no locale-collate log-format=text log-timestamp-format=iso8601 logfile
    max-new-connections-per-cycle=16 max-new-tls-connections-per-cycle=16 min-replicas-max-lag=10
    min-replicas-to-write=0 mptcp=no no-appendfsync-on-rewrite=no oom-score-adj=no pidfile port=6380
    prefetch-batch-max-size=0 primaryauth primaryuser proc-title-template propagation-error-behavior=ignore
    rdb-del-sync-files=no rdb-save-incremental-fsync=no rdb-version-check=strict rdbchecksum=yes rdbcompression=no
    rdma-bind rdma-completion-vector=-1 rdma-port=0 rdma-rx-size=1048576 repl-backlog-size=10485760
    repl-backlog-ttl=3600 repl-disable-tcp-nodelay=no repl-diskless-load=disabled repl-diskless-sync=yes
    repl-diskless-sync-delay=5 repl-diskless-sync-max-replicas=0 repl-mptcp=no repl-ping-replica-period=10
    repl-timeout=60 replica-announce-ip replica-announce-port=0 replica-announced=yes
    replica-ignore-disk-write-errors=no replica-ignore-maxmemory=yes replica-lazy-flush=yes replica-priority=100
    replica-read-only=yes replica-serve-stale-data=yes replicaof server-cpulist set-proc-title=no
    shutdown-on-sigint=default shutdown-on-sigterm=default slot-migration-max-failover-repl-bytes=0 socket-mark-id=0
    supervised=no syslog-enabled=no syslog-facility=local0 syslog-ident=kvstore tcp-backlog=4096 tcp-keepalive=7200
    tls-auth-clients=no tls-auth-clients-user=off tls-auto-reload-interval=0 tls-ca-cert-dir tls-ca-cert-file
    tls-cert-file tls-ciphers tls-ciphersuites tls-client-cert-file tls-client-key-file tls-client-key-file-pass
    tls-cluster=no tls-dh-params-file tls-key-file tls-key-file-pass tls-port=0 tls-prefer-server-ciphers=no
    tls-protocols tls-replication=no tls-session-cache-size=20480 tls-session-cache-timeout=300 tls-session-caching=yes
    unixsocket unixsocketgroup unixsocketperm=0
"""
_FIXED_WITH_BLANKS = {"oom-score-adj-values": "0 200 800"}


def _fixed() -> Iterator[Setting]:
    pairs = dict(word.partition("=")[::2] for word in _FIXED.split()) | _FIXED_WITH_BLANKS
    return (Setting(name, value, refusal=IMMUTABLE) for name, value in pairs.items())


#: Shown to who asks for one by its name only: those of Valkey that its tests set.
_HIDDEN = (
    *_live(integer(-INT32_MAX - 1, INT32_MAX), key_load_delay=0, rdb_key_save_delay=0),
    *_live(integer(0, INT32_MAX), min_io_threads_avoid_copy_reply=7, min_string_size_avoid_copy_reply=16384),
    *_live(integer(0, INT32_MAX), min_string_size_avoid_copy_reply_threaded=65536),
    *_held("a script gets nothing by which it could leave its sandbox", yes_or_no, lua_enable_insecure_api="no"),
)
HIDDEN = frozenset(setting.name for setting in _HIDDEN)

#: Those of our own that CONFIG SET changes, under the names of their options.
_OWN = (
    *_live(integer(0, limits.MOST_CLIENTS), max_clients_per_address=limits.MAX_CLIENTS // 2),
    *_live(integer(0, INT32_MAX), authentication_timeout=limits.AUTHENTICATION_S),
    *_live(integer(limits.LEAST_REQUEST_WORDS, limits.MAX_REQUEST_ELEMENTS), **{
        "max-request-words": limits.MAX_REQUEST_ELEMENTS,
    }),
    *_live(memory(1, limits.MOST_BUFFERED_BYTES), max_input_bytes=limits.MAX_INPUT_BYTES),
    *_live(memory(1, limits.MOST_BUFFERED_BYTES), pause_reading_bytes=limits.PAUSE_READING_BYTES),
    *_live(memory(1, limits.MOST_BUFFERED_BYTES), max_transaction_bytes=limits.MAX_TRANSACTION_BYTES),
    *_live(memory(1, limits.MOST_BUFFERED_BYTES), max_subscription_bytes=limits.MAX_SUBSCRIPTION_BYTES),
    *_live(integer(1, limits.MAX_JSON_DEPTH), max_json_depth=limits.MAX_JSON_DEPTH),
    *_live(integer(1, limits.MOST_CLIENT_SHARE_MS), client_share_ms=limits.CLIENT_SHARE_MS),
    *_live(integer(1, limits.MOST_SCRIPT_MS), script_ms=limits.SCRIPT_MS),
    *_live(memory(limits.LEAST_SCRIPT_MEMORY_BYTES, limits.MOST_SCRIPT_MEMORY_BYTES), **{
        "script-memory-bytes": limits.MAX_SCRIPT_MEMORY_BYTES,
    }),
    *_live(memory(), min_free_bytes=0, max_log_bytes=0),
    *_live(integer(0, INT32_MAX), compact_after=0),
    *_live(yes_or_no, log_clients="no"),
)  # fmt: skip

SETTINGS = {setting.name: setting for setting in (*_LIVE, *_HELD, *_HIDDEN, *_fixed(), *_OWN)}
#: Names that Valkey has not.
OWN = frozenset(["max-request-bytes", *(setting.name for setting in _OWN)])

#: Those that hold a secret, or name whose it is: their values are shown to nobody who did not ask for them.
SECRET = frozenset(["requirepass", "primaryauth", "primaryuser", "tls-key-file-pass", "tls-client-key-file-pass"])

#: Older names, each with the one that it stands for; and that of an option of ours for a setting of Redis's.
ALIASES = {
    "max-request-bytes": "proto-max-bulk-len",
    "aof_rewrite_cpulist": "aof-rewrite-cpulist",
    "bgsave_cpulist": "bgsave-cpulist",
    "bio_cpulist": "bio-cpulist",
    "cluster-slave-no-failover": "cluster-replica-no-failover",
    "cluster-slave-validity-factor": "cluster-replica-validity-factor",
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "lua-time-limit": "busy-reply-threshold",
    "masterauth": "primaryauth",
    "masteruser": "primaryuser",
    "min-slaves-max-lag": "min-replicas-max-lag",
    "min-slaves-to-write": "min-replicas-to-write",
    "repl-ping-slave-period": "repl-ping-replica-period",
    "server_cpulist": "server-cpulist",
    "slave-announce-ip": "replica-announce-ip",
    "slave-announce-port": "replica-announce-port",
    "slave-ignore-maxmemory": "replica-ignore-maxmemory",
    "slave-lazy-flush": "replica-lazy-flush",
    "slave-priority": "replica-priority",
    "slave-read-only": "replica-read-only",
    "slave-serve-stale-data": "replica-serve-stale-data",
    "slaveof": "replicaof",
    "slowlog-log-slower-than": "commandlog-execution-slower-than",
    "slowlog-max-len": "commandlog-slow-execution-max-len",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
}
