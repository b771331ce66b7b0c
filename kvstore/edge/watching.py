"""Who watches requests execute, live: clients in MONITOR, and COMMANDLOG. Nothing is gathered while nobody does. And
who watches clients come and go: the log (--log-clients). The file of both: `trace`.

MONITOR's lines are Redis's: `+TIME [0 ADDRESS] "word" "word"`, quoted as sdscatrepr does; what a script asks for has
`lua` for an address, in a line behind that of its request. They differ from Redis in
three ways: a client does not see its own requests; requests that are refused, and those for administrators, are
shown too; a long request is shown in part, in the words that COMMANDLOG has for it.
"""

from __future__ import annotations

from twisted.logger import Logger

from kvstore.base.limits import CLIENT_LINES_A_PERIOD, MAX_MONITORED_BYTES
from kvstore.base.reply import Status
from kvstore.commands.client import Client
from kvstore.commands.noted_requests import CommandLog
from kvstore.commands.script_calls import ScriptCalls
from kvstore.edge.log_limit import LogLimit
from kvstore.edge.request_line import escaped, shown
from kvstore.session.hooks import Executed, Hooks

_log = Logger()


class ClientLog:
    """Tells the log of each client that comes and goes (--log-clients)."""

    def __init__(self, limit: LogLimit) -> None:
        self._limit = limit

    def came(self, client: Client) -> None:
        """See `Door`."""
        self._limit(
            _log.info, "client {number}@{address} connected", CLIENT_LINES_A_PERIOD,
            number=client.identity, address=client.address,
        )  # fmt: skip

    def left(self, client: Client, how: str) -> None:
        """See `Door`."""
        self._limit(
            _log.info, "client {number}@{address} disconnected ({how})", CLIENT_LINES_A_PERIOD,
            number=client.identity, address=client.address, how="closed" if how == "ok" else how,
        )  # fmt: skip


class LoggedCommands:
    """Tells COMMANDLOG of each request, while it watches them. Those of blocks and scripts it is told where these run,
    of those that go on or wait when they are done.
    """

    def __init__(self, clients: dict[int, Client], hooks: Hooks, command_log: CommandLog) -> None:
        self._clients = clients
        self._hooks = hooks
        self._command_log = command_log
        command_log.watched = self._begin_or_end
        self._begin_or_end(command_log.watches)

    def _begin_or_end(self, watches: bool) -> None:
        watchers = self._hooks.watchers
        if self in watchers:
            watchers.remove(self)
        if watches:
            watchers.append(self)

    def __call__(self, executed: Executed) -> None:
        """A request was executed; one that was only queued is noted when it is, one that was refused never."""
        client = self._clients.get(executed.client)
        is_whole = executed.has_begun and executed.reply_bytes >= 0 and executed.words[0].upper() != b"EXEC"
        if is_whole and client is not None:
            # By the one that has the requests watched nobody looked at the clock.
            took_ns = executed.ended_ns - executed.started_ns if executed.started_ns else 0
            self._command_log.executed(client, executed.words, took_ns // 1000, executed.reply_bytes)


class Monitor:
    """Shows each request to the clients in MONITOR, live, as Redis words it."""

    def __init__(self, clients: dict[int, Client], hooks: Hooks, script_calls: ScriptCalls) -> None:
        self._clients = clients
        self._hooks = hooks
        self._script_calls = script_calls
        self._monitors: dict[int, None] = {}

    def add(self, identity: int) -> None:
        """Show requests to this client from now on."""
        self._monitors[identity] = None
        self._script_calls.wanted = True
        if self not in self._hooks.watchers:
            self._hooks.watchers.append(self)

    def __call__(self, executed: Executed) -> None:
        """Show one request. Not to the client that sent it: its own request's reply is not out yet."""
        lines = self._lines(executed)
        for identity in list(self._monitors):
            client = self._clients.get(identity)
            if client is None or not client.monitoring:
                self._remove(identity)
            elif identity != executed.client:
                for line in lines:
                    client.peer.send(line, executed.commit)

    def _lines(self, executed: Executed) -> list[Status]:
        """Of a request, and of what its script asked for behind it; EXEC comes behind what its block does."""
        lines = [monitor_line(executed)]
        for database, words in self._script_calls.take():
            lines.append(monitor_line(executed._replace(database=database, address="lua", words=words)))
        return lines[1:] + lines[:1] if executed.words[0].upper() == b"EXEC" else lines

    def _remove(self, identity: int) -> None:
        del self._monitors[identity]
        if not self._monitors:
            self._script_calls.wanted = False
            self._script_calls.take()
            self._hooks.watchers.remove(self)


def monitor_line(executed: Executed) -> Status:
    """What MONITOR sends for one request: a simple string, in RESP3 too."""
    seconds = f"{executed.time_us // 1_000_000}.{executed.time_us % 1_000_000:06d}"
    address = escaped(executed.address.encode("utf-8", "surrogatepass"))
    words = shown(executed.words, MAX_MONITORED_BYTES, MAX_MONITORED_BYTES)
    return Status(f"{seconds} [{executed.database} {address}] {words}")
