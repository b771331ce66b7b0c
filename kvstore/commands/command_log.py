"""COMMANDLOG: the newest requests that took long, were large, or had a large reply. SLOWLOG is its first log.

What took long is noted when `commandlog-execution-slower-than` is 0 or more (Redis: 10,000 at first): only then each
request is timed by itself, which has the price of `--trace`. So are the commands of a block, in place of its EXEC, and
those of a script. What is large is noted from a MiB on, unless the settings say otherwise.
"""

from __future__ import annotations

from kvstore.base.errors import InvalidRequest, WrongSubcommand
from kvstore.base.reply import OK, Reply
from kvstore.commands.arguments import at_least
from kvstore.commands.context import Call
from kvstore.commands.noted_requests import RequestLog
from kvstore.commands.registry import ADMIN, IntegerText, command, container

container("COMMANDLOG", "Look at requests that took long, or were large.", group="server")
container("SLOWLOG", "Look at requests that took long.", group="server")

#: Shown unless told otherwise.
_SHOWN = b"10"


def _log(call: Call, kind: bytes) -> RequestLog:
    log = call.server.command_log.by_type.get(kind.lower())
    if log is None:
        raise InvalidRequest("type should be one of the following: slow, large-request, large-reply")
    return log


def _count(text: bytes) -> int:
    return at_least(-1, text, "count should be greater than or equal to -1")


@command("COMMANDLOG|GET", ADMIN, group="server")
def commandlog_get(call: Call, count: IntegerText, type: bytes) -> Reply:
    """List so many of the newest requests of a log, -1 for all.

    Of each: number, time, microseconds or bytes, words, address and name of the client. The logs are `slow`,
    `large-request` and `large-reply`.

    Unlike Valkey, none is slow at first (`commandlog-execution-slower-than` is -1), as each request would have to be
    timed by itself. A request of a MiB or so is noted when it has come, whatever becomes of it; the sizes of replies in
    a block or a script are estimates, and strings that are popped by many requests at once are left out.
    """
    number = _count(count)
    return _log(call, type).newest(number)


@command("COMMANDLOG|LEN", ADMIN, group="server")
def commandlog_len(call: Call, type: bytes) -> Reply:
    """Count the requests that a log keeps."""
    return len(_log(call, type))


@command("COMMANDLOG|RESET", ADMIN, group="server")
def commandlog_reset(call: Call, type: bytes) -> Reply:
    """Forget the requests of a log."""
    _log(call, type).clear()
    return OK


@command("SLOWLOG|GET", ADMIN, group="server", options="[count]")
def slowlog_get(call: Call, *count: bytes) -> Reply:
    """List the newest slow requests: number, time, microseconds, words, address and name of the client; -1: all.

    Unlike Valkey, nothing is noted at first (`slowlog-log-slower-than` is -1): while it is, each request is timed
    by itself. What is done in slices is noted with all of them, what others did meanwhile left out.
    """
    if len(count) > 1:
        raise WrongSubcommand("SLOWLOG", "GET")
    return call.server.command_log.slow.newest(_count(count[0] if count else _SHOWN))


@command("SLOWLOG|LEN", ADMIN, group="server")
def slowlog_len(call: Call) -> Reply:
    """Count the slow requests that are kept."""
    return len(call.server.command_log.slow)


@command("SLOWLOG|RESET", ADMIN, group="server")
def slowlog_reset(call: Call) -> Reply:
    """Forget the slow requests."""
    call.server.command_log.slow.clear()
    return OK
