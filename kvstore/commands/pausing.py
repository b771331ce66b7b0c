"""CLIENT PAUSE, UNPAUSE and REPLY: when requests are executed, and whether they are answered."""

from __future__ import annotations

import math

from kvstore.base.errors import InvalidRequest, syntax_error
from kvstore.base.reply import OK, Reply
from kvstore.commands.arguments import INT64_MAX, IntegerText, to_integer
from kvstore.commands.context import Call
from kvstore.commands.registry import ADMIN, NO_MULTI, command
from kvstore.commands.row import NO_SCRIPT


@command("CLIENT|PAUSE", ADMIN | NO_SCRIPT, group="connection", options="[WRITE|ALL]")
def client_pause(call: Call, timeout: IntegerText, *mode: bytes) -> Reply:
    """Let all requests, or those that write, wait for so many milliseconds, or until CLIENT UNPAUSE.

    Unlike Valkey, keys past their deadline are gone meanwhile, for `RANDOMKEY` and `DBSIZE` too.
    """
    name = mode[0].upper() if len(mode) == 1 else b"ALL"  # as Valkey has it, which passes over what is too much
    if name not in (b"WRITE", b"ALL"):
        raise InvalidRequest("CLIENT PAUSE mode must be WRITE or ALL")
    length_ms = to_integer(timeout, "timeout is not an integer or out of range")
    now_ms = call.server.now_ms()
    if length_ms < 0:
        raise InvalidRequest("timeout is negative")
    if length_ms > INT64_MAX - now_ms:
        raise InvalidRequest("timeout is out of range")
    call.server.pause.begin(now_ms + length_ms, of_all=name == b"ALL")
    return OK


@command("CLIENT|UNPAUSE", ADMIN | NO_SCRIPT, group="connection")
def client_unpause(call: Call) -> Reply:
    """End a pause: what has waited is executed.

    Unlike Valkey, it is executed while all clients are paused, too; there nothing but time ends such a pause.
    """
    call.server.pause.end()
    return OK


@command("CLIENT|REPLY", NO_MULTI | NO_SCRIPT, group="connection", options="ON|OFF|SKIP")
def client_reply(call: Call, mode: bytes) -> Reply:
    """Answer no request from now on (OFF), not this one nor the next (SKIP), or all again (ON)."""
    client, name = call.client, mode.upper()
    if name == b"ON":
        client.unanswered = 0
    elif name == b"OFF":
        client.unanswered = math.inf
    elif name == b"SKIP":
        client.unanswered = max(client.unanswered, 2)
    else:
        raise syntax_error()
    return OK
