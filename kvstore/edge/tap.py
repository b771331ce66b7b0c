"""The command line of `twistd kvstore`: `Options` in, `Settings` out, `makeService` for twistd to call.

All checking happens in `postOptions`, before anything is opened: a bad value is one line on stderr that says what to
do, and exit status 1. By itself twistd would print its whole usage to stdout first, so under twistd (`parent` is set) a
UsageError becomes SystemExit here; a program or test that parses `Options` itself gets the UsageError.

twistd calls `makeService` before it becomes a daemon and changes directory: every path is absolute by then. A relative
path inside an endpoint string (`unix:socket`) is Twisted's own business: relative to twistd's `--rundir`.

The options stand in one table, `_ROWS`: name, default, the function that reads its text, and what `--help` says.
Defaults are texts too and go the same way as what is typed.
"""

from __future__ import annotations

import getopt
import getpass
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import twisted
from twisted.application.service import IService
from twisted.python import usage

import kvstore
from kvstore.base.address import CATALOG_VARIABLE, DEFAULT_CATALOG, Address
from kvstore.base.descriptors import open_closed_descriptors
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
from kvstore.commands.setting_kinds import with_output_limits
from kvstore.commands.setting_table import SETTINGS
from kvstore.edge.config_settings import ConfigSettings
from kvstore.edge.config_text import lines_of
from kvstore.edge.exposure import open_endpoints, refusal
from kvstore.edge.option_text import (
    MAX_PORT,
    announced_name,
    byte_count,
    byte_text,
    data_directory,
    debug_policy,
    endpoint_with_mode,
    group_name,
    host_and_port,
    host_name,
    http_endpoint,
    input_file,
    is_file_of,
    log_format,
    log_level,
    memory_policy,
    output_file,
    overlap_policy,
    port_number,
    read_policy,
    same_place,
    shared_log_url,
    sync_policy,
    whole_number,
)
from kvstore.edge.outside_file import OutsideFile
from kvstore.edge.password_file import password_hash
from kvstore.edge.server_log import ServerLog
from kvstore.edge.settings import (
    DEFAULT_DATA_DIRECTORY,
    DEFAULT_PORT,
    GroupSettings,
    Settings,
    untaken,
)
from kvstore.edge.streams import never_block
from kvstore.edge.tls import authorities_in

#: Largest number of entries, requests and seconds that an option takes: Redis's config file, too, stops at 32 bits.
_MOST = 2**31 - 1

_request_bytes = partial(byte_count, least=LEAST_REQUEST_BYTES, most=MOST_REQUEST_BYTES)
_buffered_bytes = partial(byte_count, least=1, most=MOST_BUFFERED_BYTES)

#: (name, default or None, text to value, help)
_ROWS: list[tuple[str, str | None, Callable[[str], Any], str]] = [
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
        host_and_port,
        "HOST:PORT where clients and the group's other servers reach this one; its name in the group.",
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
        "tls-client-ca",
        None,
        input_file,
        "Ask clients of each ssl: endpoint for a certificate that one of those in this PEM file has signed."
        " [default: ask for none]",
    ),
]


#: Options that are settings of CONFIG, too, and have no field in `Settings`: what --help says.
_LIMITS = {
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
_TOLD = ("max-clients-per-address", "client-output-buffer-limit")
_ROWS += [
    (name, None if name in _TOLD else SETTINGS[name].default, SETTINGS[name].kind, text)
    for name, text in _LIMITS.items()
]


class Options(usage.Options):
    """The options of `twistd kvstore`. `settings`: what they come to, once they are parsed. `log`: where twistd is to
    write the log; None where it is told by its own options, or there is no twistd.
    """

    synopsis = "[options]"
    longdesc = "A crash-only key-value server: JSON lines, words and RESP on one port. Stop is kill; start is recovery."
    optParameters: ClassVar[list[list[str | None]]] = [[name, None, default, text] for name, default, _, text in _ROWS]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["log-clients", None, "Log a line for each client that connects or disconnects."],
        ["insecure", None, "Listen where strangers can connect, although nobody is asked for a password."],
    ]
    settings: Settings
    log: ServerLog | None

    def __init__(self) -> None:
        super().__init__()
        self.log = None
        self["listen"] = []
        self["http-host"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this Twisted server endpoint, such as tcp:6380, instead of the default port; may be repeated."""
        self["listen"].append(endpoint)

    def opt_http_host(self, name: str) -> None:
        """Answer by HTTP under this name too, such as a proxy's, besides localhost and addresses; may be repeated."""
        self["http-host"].append(_read("--http-host", name, host_name))

    def getSynopsis(self) -> str:
        """Both ways to start the server, for --help."""
        return "Usage: kvstore serve [options]\n   or: twistd -n kvstore [options]"

    def opt_version(self) -> None:
        """Show versions and exit."""
        print(f"kvstore {kvstore.__version__}, Twisted {twisted.__version__}, Python {platform.python_version()}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse and check. Raises UsageError, or under twistd SystemExit, for what the user has to change.

        Under twistd the process's standard streams are made safe, too (`streams`): here twistd has opened nothing yet.
        A daemon's are twistd's business.
        """
        if self.parent is not None:
            open_closed_descriptors()
        for name, _, _, _ in _ROWS:
            self[name] = None  # the default comes last, after the file of --config
        try:
            super().parseOptions(options)
            if self.parent is not None:
                self._choose_log(self.parent)
                if self.parent.get("nodaemon"):
                    never_block()
        except usage.UsageError as error:
            if self.parent is None:
                raise
            # getopt says what is wrong ("option --foo not recognized") but not where to look.
            advice = "; see kvstore serve --help" if isinstance(error.__context__, getopt.GetoptError) else ""
            raise SystemExit(f"kvstore: {error}{advice}") from None

    def parseArgs(self, *words: str) -> None:
        """Refuse what is no option. Raises UsageError."""
        if words:
            raise usage.UsageError(f"{words[0]!r}: only options are taken; see kvstore serve --help")

    def postOptions(self) -> None:
        """Check every value and make `settings`. Raises UsageError for the first bad one."""
        configured, users = self._read_config()
        for name, default, _, _ in _ROWS:
            if self[name] is None:
                self[name] = default
        value = {name: self._value(name, read) for name, _, read, _ in _ROWS}
        for endpoint in self["listen"]:
            _read("--listen", endpoint, _check_endpoint)
        if value["http"] is not None:
            _read("--http", value["http"], _check_endpoint)
        self._check_together(value, configured, users)
        self.settings = Settings(
            data_path=value["data"],
            port=DEFAULT_PORT if value["port"] is None and not self["listen"] else value["port"],
            listen=tuple(map(endpoint_with_mode, self["listen"])),
            sync=value["sync"] if value["group"] is None else "everysec",  # what is acknowledged is in the shared log
            compact_after_entries=value["compact-after"],
            overlap=value["overlap"],
            group_limit=value["group-limit"],
            project=value["project"],
            owner=value["owner"] or _login_name(),
            catalog=value["catalog"] or _default_catalog(announcing=value["project"] is not None),
            keep_log_path=value["keep-log"],
            trace_path=value["trace"],
            log_clients=bool(self["log-clients"]),
            databases=value["databases"] if value["slots"] is None else 1,
            max_memory_bytes=value["max-memory"],
            max_memory_policy=value["max-memory-policy"],
            max_clients=value["max-clients"],
            max_request_bytes=value["max-request-bytes"],
            max_input_bytes=value["max-input-bytes"] or max(MAX_INPUT_BYTES, 2 * value["max-request-bytes"]),
            pause_reading_bytes=value["pause-reading-bytes"],
            drop_client_bytes=value["drop-client-bytes"],
            client_share_ms=value["client-share-ms"],
            script_ms=value["script-ms"],
            idle_timeout_s=value["idle-timeout"],
            debugging=value["enable-debug-command"],
            tls_client_ca_path=value["tls-client-ca"],
            password_hash=value["password-file"],
            acl_file_path=value["acl-file"],
            users=users,
            insecure=bool(self["insecure"]),
            configured=configured | self._configured(value),
            config_path=value["config"],
            http=value["http"],
            http_hosts=tuple(self["http-host"]),
            log_format=value["log-format"],
            log_level=value["log-level"],
            log_path=value["log-file"],
            group=None if value["group"] is None else self._group(value),
        )

    def _group(self, value: dict[str, Any]) -> GroupSettings:
        """Raises UsageError for what is missing, or does not go together."""
        for name, example in (("log", "etcd://HOST:PORT,..."), ("advertise", "HOST:PORT")):
            if value[name] is None:
                raise usage.UsageError(f"--group {self['group']!r}: a group has --{name} {example} too; give that")
        if value["sync"] != "always" or value["group-limit"]:
            name = "sync" if value["sync"] != "always" else "group-limit"
            raise usage.UsageError(
                f"--{name} {self[name]!r}: in a group what is acknowledged is in the shared log; leave --{name} out"
            )
        if self.parent is not None and not self.parent.get("nodaemon"):
            raise usage.UsageError("--group: a daemon is started again by nobody; give twistd -n, or use kvstore serve")
        return GroupSettings(
            name=value["group"],
            log=value["log"],
            advertise=value["advertise"],
            lease_ms=value["lease-ms"] or LEASE_MS,
            reads=value["reads"] or "lease",
            slots=value["slots"],
        )

    def _read_config(self) -> tuple[dict[str, str], dict[bytes, list[bytes]]]:
        """What the file of --config says of settings that are no options, and of users; the others become options,
        where the command line says nothing of them. Raises UsageError.
        """
        if self["config"] is None:
            return {}, {}
        path = _read("--config", self["config"], input_file)
        try:
            file = ConfigSettings({name: read for name, _, read, _ in _ROWS}, _check_endpoint)
            for line in lines_of(OutsideFile(path).read()):
                file.take(line)
        except OSError as error:
            raise usage.UsageError(f"--config {self['config']!r}: {error.strerror}") from None
        except ValueError as error:
            raise usage.UsageError(f"--config {self['config']!r}, {error}") from None
        for name, text in file.options.items():
            if self[name] is None:
                self[name] = text
        for name, texts in file.lists.items():
            self[name] = self[name] or texts
        for name in file.flags:
            self[name] = 1
        return file.settings, file.users

    def _choose_log(self, twistd: usage.Options) -> None:
        """Make the log, unless twistd is told of another. Raises UsageError for what does not go together."""
        settings = self.settings
        own = next((name for name in ("logger", "syslog") if twistd.get(name)), None)
        if own is not None:
            if (settings.log_format, settings.log_level, settings.log_path) != ("text", "info", None):
                raise usage.UsageError(f"--log-format, --log-level and --log-file say nothing to twistd's --{own}")
            return
        is_daemon = not twistd.get("nodaemon")
        path = settings.log_path or twistd.get("logfile") or ("twistd.log" if is_daemon else "-")
        if path == "-" and is_daemon:
            raise usage.UsageError("a daemon has no standard output; give --log-file")
        self.settings = replace(settings, log_path=None if path == "-" else os.path.abspath(path))
        self.log = ServerLog(settings.log_format, settings.log_level, self.settings.log_path)

    def _value(self, name: str, read: Callable[[str], Any]) -> Any:
        return None if self[name] is None else _read(f"--{name}", self[name], read)

    def _configured(self, value: dict[str, Any]) -> dict[str, str]:
        """What was said of settings that have no field, and is not so anyway."""
        usual = {name: None if name in _TOLD else SETTINGS[name].default for name in _LIMITS}
        given = {name: value[name] for name in _LIMITS if value[name] not in (None, usual[name])}
        if (output := given.get("client-output-buffer-limit")) is not None:
            given["client-output-buffer-limit"] = with_output_limits(untaken(value["drop-client-bytes"]), output)
        return given

    def _check_together(self, value: dict[str, Any], configured: Mapping[str, str], users: Collection[bytes]) -> None:
        if value["pause-reading-bytes"] > value["drop-client-bytes"]:
            raise usage.UsageError(
                f"--pause-reading-bytes {self['pause-reading-bytes']!r}: "
                f"give at most what --drop-client-bytes says, {self['drop-client-bytes']}"
            )
        if value["max-input-bytes"] is not None and value["max-input-bytes"] < value["max-request-bytes"]:
            raise usage.UsageError(
                f"--max-input-bytes {self['max-input-bytes']!r}: "
                f"give at least what --max-request-bytes says, {self['max-request-bytes']}"
            )
        if value["group-limit"] and value["overlap"] == "always":
            raise usage.UsageError(
                "--group-limit and --overlap always: a commit cannot be closed at its limit while another is on its"
                " way; leave --overlap out"
            )
        if value["keep-log"] is not None and same_place(value["keep-log"], value["data"]):
            raise usage.UsageError(f"--keep-log {self['keep-log']!r}: give another directory than --data")
        for name, file in product(("data", "keep-log"), ("trace", "log-file")):
            if value[file] is not None and value[name] is not None and is_file_of(value[name], value[file]):
                raise usage.UsageError(
                    f"--{file} {self[file]!r}: this is a file of --{name} {self[name]!r}; choose another place"
                )
        if value["tls-client-ca"] is not None:
            _read("--tls-client-ca", self["tls-client-ca"], authorities_in)
            if not any(endpoint.startswith("ssl:") for endpoint in self["listen"]):
                raise usage.UsageError(
                    f"--tls-client-ca {self['tls-client-ca']!r}: no --listen ssl:... is there to ask for certificates"
                )
        # Whether clients are asked for a password is seen when there are users.
        may_ask = any((value["password-file"], value["acl-file"], configured.get("requirepass"), users))
        if not (self["insecure"] or may_ask):
            for endpoint in open_endpoints(self["listen"]):
                raise usage.UsageError(f"--listen {refusal(endpoint)}")
            for endpoint in open_endpoints([value["http"]] if value["http"] else []):
                raise usage.UsageError(f"--http {refusal(endpoint)}")
        if value["password-file"] is not None and value["acl-file"] is not None:
            raise usage.UsageError(
                f"--password-file {self['password-file']!r}: the file of --acl-file says what the default user's"
                " password is; give one of them"
            )
        if users and value["acl-file"] is not None:
            raise usage.UsageError(
                f"--acl-file {self['acl-file']!r}: the file of --config tells of users, too; say who there is in one of"
                " them"
            )
        if self["http-host"] and value["http"] is None:
            raise usage.UsageError(
                f"--http-host {self['http-host'][0]!r}: there is no HTTP without --http; give that too"
            )
        for name in ("log", "advertise", "lease-ms", "reads", "slots"):
            if value[name] is not None and value["group"] is None:
                raise usage.UsageError(f"--{name} {self[name]!r}: that is of a group; give --group too")
        for name in ("owner", "catalog"):
            if value[name] is not None and value["project"] is None:
                raise usage.UsageError(
                    f"--{name} {self[name]!r}: nothing is announced without --project; give that too"
                )


def parse_settings(words: Sequence[str]) -> Settings:
    """The settings that these words of a command line come to. Raises UsageError."""
    options = Options()
    options.parseOptions(words)
    return options.settings


def makeService(options: Options) -> IService:
    """The server as a tree of services, for twistd to start. `options`: parsed. Opens nothing."""
    if options.log is None and options.parent is not None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # else `ServerLog` obeys it: in no case does it end the server
    if options.settings.group is not None and options.parent is not None:
        from kvstore.edge.group.parent import is_supervised, run_under_parent

        if not is_supervised(os.environ):
            run_under_parent()
    # Only now: importing the reactor any earlier would install one before twistd's --reactor is heard.
    from kvstore.edge.reactor import the_reactor
    from kvstore.edge.service import make_tree

    return make_tree(options.settings, the_reactor(), options.log)


def _read(source: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise usage.UsageError(f"{source} {text!r}: {error}") from None


def _check_endpoint(text: str) -> None:
    """Parse an endpoint string without binding anything; a `ssl:` one reads its certificate. Raises ValueError."""
    # Parsing needs a reactor only to hand it on to the endpoint, which is thrown away here: the one that is installed,
    # if there is one. None is installed for it: which that is to be may be the application's to say.
    from twisted.internet.endpoints import serverFromString

    reactor: Any = sys.modules.get("twisted.internet.reactor")
    try:
        port = getattr(serverFromString(reactor, text), "_port", 0)
    except Exception as error:  # plugins parse the texts: they raise what they like
        # On one line, and without the name of the parser's function that Python puts before a missing argument.
        reason = re.sub(r"^\w+\(\) ", "", " ".join(str(error).split())) or type(error).__name__
        raise ValueError(f"this is no server endpoint of Twisted's ({reason}); give one such as tcp:6380") from None
    if not isinstance(port, int) or not 0 <= port <= MAX_PORT:
        raise ValueError(f"the port must be from 0 to {MAX_PORT}")


def _default_catalog(announcing: bool) -> Address:
    """The catalog that the environment names, else the public one. The environment is read only if it will be used."""
    text = os.environ.get(CATALOG_VARIABLE) if announcing else None
    address: Address = _read(CATALOG_VARIABLE, text or DEFAULT_CATALOG, host_and_port)
    return address


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user number without a name, as in many containers; KeyError before Python 3.13
        return str(os.getuid())
