"""Settings: what one server was started with, checked and complete.

`tap.Options` makes one from the command line; tests make one directly. Every value is valid by itself and with the
others, every path absolute: nothing past this point parses or checks an option again. It knows neither Twisted nor the
reactor.

Rejected: handing `usage.Options` itself around (a dict of strings whose keys nobody checks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kvstore.base.address import DEFAULT_CATALOG, Address, parse_address
from kvstore.base.limits import (
    CLIENT_SHARE_MS,
    DATABASES,
    DROP_CLIENT_BYTES,
    FEW_CLIENTS,
    LEASE_MS,
    LISTEN_BACKLOG,
    MAX_CLIENTS,
    MAX_INPUT_BYTES,
    MAX_REQUEST_BYTES,
    OUTPUT_LIMITS,
    PAUSE_READING_BYTES,
    SCRIPT_MS,
)
from kvstore.base.slots import Slots

#: When the log is synced. always: before any reply that tells of a change; everysec: once a second; no: when the system
#: pleases. Redis: appendfsync.
SyncPolicy: TypeAlias = Literal["always", "everysec", "no"]

#: Whether the loop goes on while the log is synced before a reply. auto: see `writers`.
OverlapPolicy: TypeAlias = Literal["auto", "always", "never"]

#: Who may use DEBUG: nobody, who connects from this machine, anybody. Redis has the same.
DebugPolicy: TypeAlias = Literal["no", "local", "yes"]

#: When a read may be answered in a group: while its leader's lease runs, which needs a clock that goes evenly; or after
#: an entry of the shared log, which needs none.
ReadPolicy: TypeAlias = Literal["lease", "quorum"]

#: How lines of the log are written, and which: those of this level, and what is more important.
LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]

#: What Redis calls the levels (`loglevel`). A server that is to say nothing still tells of errors.
REDIS_LEVELS: dict[LogLevel, str] = {"debug": "debug", "info": "notice", "warn": "warning", "error": "nothing"}

#: Where the server listens unless told otherwise; one past Redis's 6379, so that both can run on one machine.
DEFAULT_PORT = 6380

DEFAULT_DATA_DIRECTORY = "kvstore-data"

_PUBLIC_CATALOG = parse_address(DEFAULT_CATALOG)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """What a server of a group was started with. `name`: the group's. `log`: where the shared log is, a URL.
    `advertise`: where clients and the other nodes reach this one, which is its name in the group, too. `over_tls`:
    whether they do over TLS, and this one the others; `node_ca_path`: a file of the authorities that vouch for these,
    absolute, or None for whom the system trusts. `lease_ms`: how long a leader leads after each of its entries.
    `reads`: see `ReadPolicy`. `slots`: that the group has, of a cluster; None if it is not one of a cluster. `login`:
    user and password with which the other servers are asked for their checkpoint; None: without.
    """

    name: str
    log: str
    advertise: Address
    over_tls: bool = False
    node_ca_path: str | None = None
    lease_ms: int = LEASE_MS
    reads: ReadPolicy = "lease"
    slots: Slots | None = None
    login: tuple[str, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server's settings, each named after its option.

    `data_path`: the data directory, absolute; it need not exist. `port`: TCP port on 127.0.0.1, 0 for any free one,
    None for none. `listen`: further endpoints, as Twisted's server endpoint strings. `sync`: see `SyncPolicy`.
    `compact_after_entries`: compact when the log holds more entries than this; 0 leaves it to the size policy.
    `overlap`: see `OverlapPolicy`. `group_limit`: most write requests in one commit, 0 for any number. `project`: the
    name to announce, None to announce nothing. `owner`: who runs the server, for the announcement. `catalog`: the host
    and UDP port announced to. `keep_log_path`: the directory that merged segments are kept in, absolute, or None to
    remove them. `trace_path`: the trace file, absolute, or None. `log_clients`: whether the log has a line for each
    client that comes or goes. `databases`: how many there are. `max_memory_bytes`: that may be used, 0 for any;
    `max_memory_policy`: one of MEMORY_POLICIES. `max_clients`, `max_request_bytes`,
    `max_input_bytes`, `pause_reading_bytes`, `drop_client_bytes`, `client_share_ms`, `script_ms`: see the limits of
    these names. `idle_timeout_s`: a client that sent nothing for so many seconds is disconnected; 0 for never.
    `debugging`: see `DebugPolicy`. `tls_client_ca_path`: a file of the authorities that vouch for clients over TLS,
    absolute, or None to ask for no certificates. `password_hash`: of the default user's password (see `users.hashed`),
    or None if it needs none. `acl_file_path`: the file of all users, absolute, or None; `users`: those that
    the file of settings tells of, the rules of each by its name. `insecure`: whether to listen,
    too, where strangers can connect without a password. `http`: the endpoint of the site for those who watch, a Twisted
    server endpoint string, or None; `http_hosts`: names by which it is reached. `log_format`, `log_level`: see
    `LogFormat`. `log_path`: the file that the log goes to, absolute, or None for where twistd would write it.
    `configured`: settings of CONFIG that have no field here, name to text; each as CONFIG shows it.
    `config_path`: the file of settings that CONFIG REWRITE writes, absolute, or None. `group`: None for a server alone.
    """

    data_path: str
    port: int | None = DEFAULT_PORT
    listen: tuple[str, ...] = ()
    sync: SyncPolicy = "always"
    compact_after_entries: int = 0
    overlap: OverlapPolicy = "auto"
    group_limit: int = 0
    project: str | None = None
    owner: str = "unknown"
    catalog: Address = _PUBLIC_CATALOG
    keep_log_path: str | None = None
    trace_path: str | None = None
    log_clients: bool = False
    databases: int = DATABASES
    max_memory_bytes: int = 0
    max_memory_policy: str = "noeviction"
    max_clients: int = MAX_CLIENTS
    max_request_bytes: int = MAX_REQUEST_BYTES
    max_input_bytes: int = MAX_INPUT_BYTES
    pause_reading_bytes: int = PAUSE_READING_BYTES
    drop_client_bytes: int = DROP_CLIENT_BYTES
    client_share_ms: int = CLIENT_SHARE_MS
    script_ms: int = SCRIPT_MS
    idle_timeout_s: int = 0
    debugging: DebugPolicy = "no"
    tls_client_ca_path: str | None = None
    password_hash: bytes | None = None
    acl_file_path: str | None = None
    users: Mapping[bytes, Sequence[bytes]] = field(default_factory=dict)
    insecure: bool = False
    configured: Mapping[str, str] = field(default_factory=dict)
    config_path: str | None = None
    http: str | None = None
    http_hosts: tuple[str, ...] = ()
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    log_path: str | None = None
    group: GroupSettings | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Everything to listen on, as Twisted's server endpoint strings; the port, if there is one, comes first."""
        own = () if self.port is None else (f"tcp:{self.port}:interface=127.0.0.1:backlog={LISTEN_BACKLOG}",)
        return own + self.listen

    @property
    def prints(self) -> bool:
        """Whether standard output is told where the server listens: not if programs read the log from it."""
        return self.log_format == "text" or self.log_path is not None

    def as_config(self) -> dict[str, str]:
        """What CONFIG GET shows: parameter name to text, under Redis's names where Redis has the parameter.

        `port` is the one asked for: 0 if it was to be any free one.
        """
        own = self._as_redis_names_it() | {
            "catalog": str(self.catalog) if self.project else "",
            "config": self.config_path or "",
            "client-share-ms": str(self.client_share_ms),
            "compact-after": str(self.compact_after_entries),
            "group-limit": str(self.group_limit),
            "http": self.http or "",
            "http-host": " ".join(self.http_hosts),
            "keep-log": self.keep_log_path or "",
            "listen": " ".join(self.endpoints),
            "log-clients": "yes" if self.log_clients else "no",
            "log-format": self.log_format,
            "overlap": self.overlap,
            "max-input-bytes": str(self.max_input_bytes),
            "max-clients-per-address": str(max(FEW_CLIENTS, self.max_clients // 2)),
            "owner": self.owner,
            "password-file": "(redacted)" if self.password_hash else "",
            "pause-reading-bytes": str(self.pause_reading_bytes),
            "project": self.project or "",
            "script-ms": str(self.script_ms),
            "trace": self.trace_path or "",
        }
        return own | self._of_group() | dict(self.configured)

    def _of_group(self) -> dict[str, str]:
        group = self.group
        return {
            "advertise": ("tls:" if group.over_tls else "") + str(group.advertise) if group else "",
            "group": group.name if group else "",
            "lease-ms": str(group.lease_ms if group else LEASE_MS),
            "log": group.log if group else "",
            "reads": group.reads if group else "lease",
            "slots": str(group.slots or "") if group else "",
            **({"cluster-enabled": "yes"} if group and group.slots else {}),
        }

    def _as_redis_names_it(self) -> dict[str, str]:
        return {
            "aclfile": self.acl_file_path or "",
            "appendfsync": self.sync,
            "bind": "127.0.0.1" if self.port is not None else "",
            "client-output-buffer-limit": untaken(self.drop_client_bytes),
            "databases": str(self.databases),
            "dir": self.data_path,
            "enable-debug-command": self.debugging,
            "logfile": self.log_path or "",
            "loglevel": REDIS_LEVELS[self.log_level],
            "maxclients": str(self.max_clients),
            "maxmemory": str(self.max_memory_bytes),
            "maxmemory-policy": self.max_memory_policy,
            "port": str(self.port or 0),
            "proto-max-bulk-len": str(self.max_request_bytes),
            "protected-mode": "no" if self.insecure else "yes",
            "timeout": str(self.idle_timeout_s),
            "tls-auth-clients": "yes" if self.tls_client_ca_path else "no",
            "tls-ca-cert-file": self.tls_client_ca_path or "",
        }


def untaken(drop_client_bytes: int) -> str:
    """What `--drop-client-bytes` means for `client-output-buffer-limit`: all clients are dropped past it, and only past
    it; unless it is the default.
    """
    limit = f"{drop_client_bytes} 0 0"
    is_default = drop_client_bytes == DROP_CLIENT_BYTES
    return OUTPUT_LIMITS if is_default else f"normal {limit} slave {limit} pubsub {limit}"
