r"""Who watches requests execute: the trace file, clients in MONITOR, COMMANDLOG. Nothing is gathered while nobody does.
And who watches clients come and go: the trace, and the log (`ClientLog`).

The trace is one line per request, in the order they executed, of fields between tabs:

    NUMBER  TIME  START  END  CLIENT  COMMIT  KIND  OUTCOME  REQUEST

NUMBER counts from 1; TIME is in seconds since the epoch; START and END are nanoseconds of a steady clock; CLIENT is
the client's number and address, `7@127.0.0.1:50712`; COMMIT is the commit that the reply waits for (for a write, the
one it went into), 0 for none; KIND is `write`, `read`, `block` (EXEC, which may be either) or `other`; OUTCOME is
`ok` or the error; REQUEST is the words, as MONITOR shows them, shortened. A request inside MULTI has a line when it
is queued, with commit 0; the block executes in the line of its EXEC. A request that is executed in slices has its line
when the first one executed, its place in the order: END is the end of that one, and OUTCOME is `ok` so far.

A client that connects, and one that is gone, has a line, too, before its first request and after its last: KIND is
`connect` or `disconnect`, NUMBER that of the last request so far (of anybody), START and END are when, COMMIT is 0,
REQUEST is `""`, and OUTCOME is `ok`, or how the connection broke. Who is connected when the server ends has no second
one.

Each start of a server appends a line that begins with `#`, and numbers from 1 again; to a file that does not begin with
such a line it appends nothing, and the start is refused. Every line is handed to the
system at once (it costs 1 µs): a trace that ends with kill -9 ends with the last request that executed. A trace that
cannot be written, on a full disk say, ends there, with a line in the log; the server goes on. `scripts/interleaving`
reads it.

MONITOR's lines are Redis's: `+TIME [0 ADDRESS] "word" "word"`, quoted as sdscatrepr does; what a script asks for has
`lua` for an address, in a line behind that of its request. They differ from Redis in
three ways: a client does not see its own requests; requests that are refused, and those for administrators, are
shown too; a long request is shown in part, in the words that COMMANDLOG has for it.

Passwords are shown as `(redacted)`, as in Redis: see `commands.passwords`. Of a request with any, an error is told by
its code alone.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from time import perf_counter_ns

from twisted.logger import Logger

from kvstore.base.errors import InvalidRequest
from kvstore.base.limits import CLIENT_LINES_A_PERIOD, MAX_LOGGED_BYTES, MAX_MONITORED_BYTES
from kvstore.base.reply import Status
from kvstore.commands.client import Client
from kvstore.commands.noted_requests import CommandLog
from kvstore.commands.passwords import has_passwords, without_passwords
from kvstore.commands.registry import READ, table
from kvstore.commands.script_calls import ScriptCalls
from kvstore.edge.log_limit import LogLimit
from kvstore.session.hooks import Executed, Hooks

_log = Logger()

#: Begins each server's part of a trace. The number is the version of the format.
TRACE_HEADING = "# kvstore trace 2: number time_s start_ns end_ns client commit kind outcome request"

#: Most characters of one word that the trace shows.
_TRACED_WORD = 32

_PLAIN = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x7F, 0x100))} | {
    ord(character): escape
    for character, escape in {
        '"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\a": r"\a", "\b": r"\b",
    }.items()
}  # fmt: skip


class Trace:
    """The trace file at `path`, appended to. Raises OSError if it cannot be opened or written to, or holds something
    else: a line at the end of another server's log would be damage to it.

    `now_us`, `steady_ns`: the clocks for clients that come and go, those by which requests are timed.
    """

    def __init__(
        self,
        path: str,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        steady_ns: Callable[[], int] = perf_counter_ns,
    ) -> None:
        if _holds_something_else(path):
            raise FileExistsError(errno.EEXIST, "what it holds is no trace", path)
        # Not blocking: behind the name there could be a pipe whose reader is slow, and everybody would wait for it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._path = path
        self._now_us = now_us
        self._steady_ns = steady_ns
        self._number = 0
        self._descriptor = os.open(path, flags, 0o640)
        # The part before may have ended in the middle of a line.
        self._write(("\n" if os.fstat(self._descriptor).st_size else "") + TRACE_HEADING + "\n")

    def __call__(self, executed: Executed) -> None:
        """Write one line. Raises nothing: the client's request is not to blame if it cannot be written."""
        self._append(trace_line(executed))
        self._number = executed.number

    def came(self, client: Client) -> None:
        """See `Door`. Raises nothing, either."""
        self._note("connect", client, "ok")

    def left(self, client: Client, how: str) -> None:
        """See `Door`. Raises nothing, either."""
        self._note("disconnect", client, how)

    def _note(self, kind: str, client: Client, outcome: str) -> None:
        at_ns = self._steady_ns()
        self._append(_line(
            self._number, self._now_us(), at_ns, at_ns, client.identity, client.address, 0, kind, outcome, '""'
        ))  # fmt: skip

    def _append(self, line: str) -> None:
        if self._descriptor < 0:
            return
        try:
            self._write(line)
        except OSError as error:
            _log.error(
                "the trace {path} ends with request {number}: {error}; the server goes on without it",
                path=self._path, number=self._number, error=error.strerror,
            )  # fmt: skip
            self.close()

    def _write(self, line: str) -> None:
        data = line.encode("ascii")
        written = os.write(self._descriptor, data)
        while written < len(data):  # the disk is nearly full: the rest raises
            written += os.write(self._descriptor, data[written:])

    def close(self) -> None:
        """Close the file. Further requests are not written; closing twice is allowed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holds_something_else(path: str) -> bool:
    """Whether `path` is a file with something in it that does not begin as a trace does."""
    beginning = b"# kvstore trace "  # of any version: each part of a file has its own
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        found = file.read(len(beginning))
    return found not in (b"", beginning)


def trace_line(executed: Executed) -> str:
    """One line of the trace for a request, with its line end; ASCII."""
    return _line(
        executed.number, executed.time_us, executed.started_ns, executed.ended_ns, executed.client, executed.address,
        executed.commit, kind_of(executed.words), _told_outcome(executed),
        shown(executed.words, MAX_LOGGED_BYTES, _TRACED_WORD),
    )  # fmt: skip


def _told_outcome(executed: Executed) -> str:
    """What came of a request; of one with passwords, which the text of an error may repeat, only the error's code."""
    return executed.outcome.split(" ", 1)[0] if has_passwords(executed.words) else executed.outcome


def _line(
    number: int, time_us: int, started_ns: int, ended_ns: int, client: int, address: str, commit: int, kind: str,
    outcome: str, request: str,
) -> str:  # fmt: skip
    how = _escaped(outcome.encode("utf-8", "surrogatepass")[:MAX_LOGGED_BYTES])
    who = f"{client}@{_escaped(address.encode('utf-8', 'surrogatepass'))}"
    fields = (number, f"{time_us / 1e6:.6f}", started_ns, ended_ns, who, commit, kind, how, request)
    return "\t".join(map(str, fields)) + "\n"


def kind_of(words: list[bytes]) -> str:
    """The kind of a request, by the command table: `write`, `read`, `block` or `other`."""
    try:
        row = table.find(words)
    except InvalidRequest:
        return "other"
    if row.writes:
        return "write"
    if row.flags & READ:
        return "read"
    return "block" if row.name == "EXEC" else "other"


def shown(words: list[bytes], most: int, most_of_a_word: int) -> str:
    """A request on one line, quoted as Redis does.

    `most`, `most_of_a_word`: characters to show of all words and of each; what is left out is counted, in the words
    of Redis's SLOWLOG.
    """
    pieces = []
    for place, word in enumerate(without_passwords(words)):
        if most <= 0:
            pieces.append(f"... ({len(words) - place} more arguments)")
            break
        piece = _quoted(word, min(most, most_of_a_word))
        pieces.append(piece)
        most -= len(piece)
    return " ".join(pieces)


def _quoted(word: bytes, most: int) -> str:
    """A word in quotes, at most so many characters of it. Never cut inside an escape: those have at most four."""
    text = _escaped(word[:most])
    kept = most
    if len(text) > most:
        kept = most // 4
        text = _escaped(word[:kept])
    more = len(word) - kept
    return f'"{text}... ({more} more bytes)"' if more > 0 else f'"{text}"'


def _escaped(data: bytes) -> str:
    """Bytes as sdscatrepr (Redis, sds.c) shows them between the quotes: printable ASCII without tabs."""
    return data.decode("ascii") if _PLAIN(data) else data.decode("latin-1").translate(_ESCAPES)


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
    address = _escaped(executed.address.encode("utf-8", "surrogatepass"))
    words = shown(executed.words, MAX_MONITORED_BYTES, MAX_MONITORED_BYTES)
    return Status(f"{seconds} [{executed.database} {address}] {words}")
