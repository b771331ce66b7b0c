"""The connection itself: PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

from kvstore import __version__
from kvstore.base.errors import Failure, InvalidRequest, shorten, syntax_error
from kvstore.base.reply import OK, PONG, Reply, Status
from kvstore.commands import dispatch
from kvstore.commands.arguments import Argument
from kvstore.commands.context import Call
from kvstore.commands.registry import FAST, IMMEDIATE, Integer, command, to_integer
from kvstore.commands.row import NO_AUTH, NO_SCRIPT, SUBSCRIBED
from kvstore.commands.users import DEFAULT

_RESET = Status("RESET")
_HELLO_FIRST = (
    "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option"
    " can be used to authenticate the client and select the RESP protocol version at the same time"
)


def to_protocol(text: bytes) -> int:
    """A RESP version. Raises InvalidRequest unless it is 2 or 3."""
    version = to_integer(text, "Protocol version is not an integer or out of range")
    if version not in (2, 3):
        raise InvalidRequest("unsupported protocol version", "NOPROTO")
    return version


Protocol: TypeAlias = Annotated[int, Argument("integer", to_protocol)]


@command("PING", FAST | SUBSCRIBED, group="connection")
def ping(call: Call, message: bytes | None = None) -> Reply:
    """Answer PONG, or the message."""
    if call.client.only_listens:  # in the shape of a message
        return [b"pong", message or b""]
    return PONG if message is None else message


@command("ECHO", FAST, group="connection")
def echo(call: Call, message: bytes) -> Reply:
    """Answer the message."""
    return message


@command(
    "HELLO", FAST | NO_SCRIPT | NO_AUTH, group="connection", options="[AUTH username password] [SETNAME clientname]"
)
def hello(call: Call, protover: Protocol | None = None, *options: bytes) -> Reply:
    """Choose the version of RESP, say who one is; returns what server this is."""
    client = call.client
    user, name = _hello_options(options)
    if user is not None:
        call.server.gate.log_in(client, *user, b"HELLO")
    if not client.is_authenticated:
        raise Failure(_HELLO_FIRST, "NOAUTH")
    if name is not None:
        client.name = name
    client.protocol = protover or client.protocol
    zone = call.server.configuration.text("availability-zone")
    return {
        "server": "kvstore",
        "version": __version__,
        "proto": client.protocol,
        "id": client.identity,
        "mode": call.server.mode,
        "role": "replica" if call.server.follows else "master",
        "modules": [],
        **({"availability_zone": zone} if zone else {}),
    }


def _hello_options(options: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """User and password, client name: each None if not given. Raises InvalidRequest before anything is changed."""
    user, name = None, None
    words = list(options)
    while words:
        option = words[0].upper()
        if option == b"AUTH" and len(words) >= 3:
            user = (words[1], words[2])
            del words[:3]
        elif option == b"SETNAME" and len(words) >= 2:
            name = to_client_name(words[1])
            del words[:2]
        else:
            raise InvalidRequest(f"Syntax error in HELLO option '{shorten(words[0])}'")
    return user, name


def to_client_name(text: bytes) -> bytes:
    """A name that CLIENT LIST can show: printable ASCII without spaces. Raises InvalidRequest."""
    if any(not 0x21 <= byte <= 0x7E for byte in text):
        raise InvalidRequest("Client names cannot contain spaces, newlines or special characters.")
    return text


@command(
    "AUTH", FAST | NO_SCRIPT | NO_AUTH, group="connection", options="[password]",
    members=(("username", "default"), ("password", None)),
)  # fmt: skip
def auth(call: Call, username_or_password: bytes, *password: bytes) -> Reply:
    """Say who one is: a user's name and password, or the default user's password."""
    if len(password) > 1:
        raise syntax_error()
    if not password and call.server.users.default.needs_no_password:
        raise InvalidRequest(
            "AUTH <password> called without any password configured for the default user."
            " Are you sure your configuration is correct?"
        )
    name = username_or_password if password else DEFAULT
    call.server.gate.log_in(call.client, name, password[0] if password else username_or_password, b"AUTH")
    return OK


@command("SELECT", FAST, group="connection")
def select(call: Call, index: Integer) -> Reply:
    """Choose the database that this connection speaks of."""
    call.table_of(index)
    call.select(index)
    return OK


@command("RESET", FAST | IMMEDIATE | SUBSCRIBED | NO_SCRIPT | NO_AUTH, group="connection")
def reset(call: Call) -> Reply:
    """Make the connection as it was when it was new."""
    client = call.client
    dispatch.release(call)
    call.server.channels.leave_all(client)
    call.server.tracking.set_mode(client, None)
    client.name = b""
    client.switches.clear()
    client.unanswered = client.unanswered if client.unanswered < math.inf else 0  # its own, after SKIP, stays unsent
    client.protocol = 2
    client.monitoring = False
    call.select(0)
    call.server.gate.welcome(client)
    return _RESET


@command("QUIT", FAST | IMMEDIATE | SUBSCRIBED | NO_SCRIPT | NO_AUTH, group="connection")
def quit_(call: Call, *_ignored: bytes) -> Reply:
    """Close the connection when the replies so far have left."""
    call.client.closing = True
    return OK
