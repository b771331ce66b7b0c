"""SLOWLOG: the newest requests that took longer than `slowlog-log-slower-than` microseconds.

It is off unless that setting is 0 or more (Redis: 10,000 at first): only then each request is timed by itself, which
has the price of `--trace`. So are the commands of a block, in place of its EXEC, and those of a script.
"""

from __future__ import annotations

from kvstore.base.errors import WrongSubcommand
from kvstore.base.reply import OK, Reply
from kvstore.commands.arguments import at_least
from kvstore.commands.context import Call
from kvstore.commands.registry import ADMIN, command, container

container("SLOWLOG", "Look at requests that took long.", group="server")

#: Shown unless told otherwise.
_SHOWN = b"10"


@command("SLOWLOG|GET", ADMIN, group="server", options="[count]")
def slowlog_get(call: Call, *count: bytes) -> Reply:
    """List the newest slow requests: number, time, microseconds, words, address and name of the client; -1: all.

    Unlike Valkey, nothing is noted at first (`slowlog-log-slower-than` is -1): while it is, each request is timed
    by itself. What waits (BLPOP) is noted by when it begins to.
    """
    if len(count) > 1:
        raise WrongSubcommand("SLOWLOG", "GET")
    number = at_least(-1, count[0] if count else _SHOWN, "count should be greater than or equal to -1")
    return call.server.slow_log.newest(number)


@command("SLOWLOG|LEN", ADMIN, group="server")
def slowlog_len(call: Call) -> Reply:
    """Count the slow requests that are kept."""
    return len(call.server.slow_log)


@command("SLOWLOG|RESET", ADMIN, group="server")
def slowlog_reset(call: Call) -> Reply:
    """Forget the slow requests."""
    call.server.slow_log.clear()
    return OK
