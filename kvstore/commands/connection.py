"""The connection itself: PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT."""

from __future__ import annotations

from kvstore.base.reply import PONG, Reply
from kvstore.commands.context import Call
from kvstore.commands.registry import FAST, command


@command("PING", FAST, group="connection")
def ping(call: Call, message: bytes | None = None) -> Reply:
    """Answer PONG, or the message."""
    return PONG if message is None else message
