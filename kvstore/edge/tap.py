"""The command line of `twistd kvstore`: `Options` in, `Settings` out, `makeService` for twistd to call.

All checking happens in `postOptions`, before anything is opened: a bad value is one line on stderr that says what to
do, and exit status 1. By itself twistd would print its whole usage to stdout first, so under twistd (`parent` is set) a
UsageError becomes SystemExit here; a program or test that parses `Options` itself gets the UsageError.

twistd calls `makeService` before it becomes a daemon and changes directory: every path is absolute by then. A relative
path inside an endpoint string (`unix:socket`) is Twisted's own business: relative to twistd's `--rundir`.

The options stand in `option_rows`, what their texts mean in `option_text`, what they have to do with each other in
`option_checks`. Defaults are texts too and go the same way as what is typed.
"""

from __future__ import annotations

import getopt
import getpass
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import twisted
from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

import kvstore
from kvstore.base.address import CATALOG_VARIABLE, DEFAULT_CATALOG, Address
from kvstore.base.descriptors import open_closed_descriptors
from kvstore.base.limits import (
    LEASE_MS,
    MAX_INPUT_BYTES,
)
from kvstore.commands.setting_kinds import with_output_limits
from kvstore.commands.setting_table import SETTINGS
from kvstore.edge.config_settings import ConfigSettings
from kvstore.edge.config_text import lines_of
from kvstore.edge.option_checks import Given, check_endpoint, check_together, read_option
from kvstore.edge.option_rows import LIMITS, ROWS, TOLD
from kvstore.edge.option_text import (
    endpoint_with_mode,
    host_and_port,
    host_name,
    input_file,
)
from kvstore.edge.outside_file import OutsideFile
from kvstore.edge.password_file import password_in
from kvstore.edge.server_log import ServerLog
from kvstore.edge.settings import (
    DEFAULT_PORT,
    GroupSettings,
    Settings,
    untaken,
)
from kvstore.edge.streams import never_block

_log = Logger()


class Options(usage.Options):
    """The options of `twistd kvstore`. `settings`: what they come to, once they are parsed. `log`: where twistd is to
    write the log; None where it is told by its own options, or there is no twistd.
    """

    synopsis = "[options]"
    longdesc = "A crash-only key-value server: JSON lines, words and RESP on one port. Stop is kill; start is recovery."
    optParameters: ClassVar[list[list[str | None]]] = [[name, None, default, text] for name, default, _, text in ROWS]
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
        self["http-host"].append(read_option("--http-host", name, host_name))

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
        for name, _, _, _ in ROWS:
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
        for name, default, _, _ in ROWS:
            if self[name] is None:
                self[name] = default
        value = {name: self._value(name, read) for name, _, read, _ in ROWS}
        for endpoint in self["listen"]:
            read_option("--listen", endpoint, check_endpoint)
        if value["http"] is not None:
            read_option("--http", value["http"], check_endpoint)
        check_together(Given(self, value, configured, users))
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
        advertise, over_tls = value["advertise"]
        return GroupSettings(
            name=value["group"],
            log=value["log"],
            advertise=advertise,
            over_tls=over_tls,
            node_ca_path=value["node-ca"],
            lease_ms=value["lease-ms"] or LEASE_MS,
            reads=value["reads"] or "lease",
            slots=value["slots"],
            login=self._login(value),
        )

    def _login(self, value: dict[str, Any]) -> tuple[str, bytes] | None:
        """How to log in at the group's other servers."""
        password = value["node-password-file"]
        if password is None and self["password-file"] is not None:
            password = password_in(self["password-file"])
        return None if password is None else (os.fsdecode(value["node-user"] or b"default"), password)

    def _read_config(self) -> tuple[dict[str, str], dict[bytes, list[bytes]]]:
        """What the file of --config says of settings that are no options, and of users; the others become options,
        where the command line says nothing of them. Raises UsageError.
        """
        if self["config"] is None:
            return {}, {}
        path = read_option("--config", self["config"], input_file)
        try:
            file = ConfigSettings({name: read for name, _, read, _ in ROWS}, check_endpoint)
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
        return None if self[name] is None else read_option(f"--{name}", self[name], read)

    def _configured(self, value: dict[str, Any]) -> dict[str, str]:
        """What was said of settings that have no field, and is not so anyway."""
        usual = {name: None if name in TOLD else SETTINGS[name].default for name in LIMITS}
        given = {name: value[name] for name in LIMITS if value[name] not in (None, usual[name])}
        if (output := given.get("client-output-buffer-limit")) is not None:
            given["client-output-buffer-limit"] = with_output_limits(untaken(value["drop-client-bytes"]), output)
        return given


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

        if not is_supervised(os.environ) and (before := run_under_parent()):
            _log.warn("started again, as the server before has ended: {before}", before=before)
    # Only now: importing the reactor any earlier would install one before twistd's --reactor is heard.
    from kvstore.edge.reactor import the_reactor
    from kvstore.edge.service import make_tree

    return make_tree(options.settings, the_reactor(), options.log)


def _default_catalog(announcing: bool) -> Address:
    """The catalog that the environment names, else the public one. The environment is read only if it will be used."""
    text = os.environ.get(CATALOG_VARIABLE) if announcing else None
    address: Address = read_option(CATALOG_VARIABLE, text or DEFAULT_CATALOG, host_and_port)
    return address


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user number without a name, as in many containers; KeyError before Python 3.13
        return str(os.getuid())
