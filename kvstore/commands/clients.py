"""CLIENT: who is connected, under what name, doing what; and ending a connection."""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.base.errors import Failure, InvalidRequest, shorten, syntax_error
from kvstore.base.reply import OK, Reply, Verbatim
from kvstore.commands.client import Client
from kvstore.commands.client_filters import select
from kvstore.commands.client_line import client_line
from kvstore.commands.connection import to_client_name
from kvstore.commands.context import Call
from kvstore.commands.registry import ADMIN, IntegerText, command, container, to_integer
from kvstore.commands.row import NO_SCRIPT

container("CLIENT", "Look at connections, name them, end them.", group="connection")

_FILTERS = (
    "[ID client-id [client-id ...]] [TYPE type] [ADDR address] [LADDR address] [IP host] [USER name] [NAME name]"
    " [DB number] [FLAGS letters] [LIB-NAME name] [LIB-VER version] [CAPA letters] [NOT-... value]"
    " [MAXAGE seconds] [IDLE seconds] [SKIPME yes|no]"
)


@command("CLIENT|ID", NO_SCRIPT, group="connection")
def client_id(call: Call) -> Reply:
    """Tell this connection's number; a later connection has a larger one."""
    return call.client.identity


@command("CLIENT|SETNAME", NO_SCRIPT, group="connection")
def client_setname(call: Call, connection_name: bytes) -> Reply:
    """Name this connection, for CLIENT LIST."""
    call.client.name = to_client_name(connection_name)
    return OK


@command("CLIENT|GETNAME", NO_SCRIPT, group="connection")
def client_getname(call: Call) -> Reply:
    """Tell this connection's name, null if it has none."""
    return call.client.name or None


@command("CLIENT|SETINFO", NO_SCRIPT, group="connection", options="LIB-NAME name|LIB-VER version")
def client_setinfo(call: Call, attribute: bytes, value: bytes) -> Reply:
    """Name the client library, for CLIENT LIST."""
    name = attribute.upper()
    if name not in (b"LIB-NAME", b"LIB-VER"):
        raise InvalidRequest(f"Unrecognized option '{shorten(attribute)}'")
    try:
        to_client_name(value)
    except InvalidRequest:
        raise InvalidRequest(f"{shorten(attribute)} cannot contain spaces, newlines or special characters.") from None
    if name == b"LIB-NAME":
        call.client.library_name = value
    else:
        call.client.library_version = value
    return OK


@command("CLIENT|INFO", NO_SCRIPT, group="connection")
def client_info(call: Call) -> Reply:
    """Describe this connection, in one line of CLIENT LIST."""
    return _listing(call, [call.client])


@command("CLIENT|LIST", ADMIN | NO_SCRIPT, group="connection", options=_FILTERS)
def client_list(call: Call, *filters: bytes) -> Reply:
    """Describe the connections that every filter lets through, one a line.

    Unlike Valkey, nothing is set aside for a client, so `qbuf-free`, `argv-mem`, `rbs` and `rbp` are 0; in
    `tot-cmds` a refused request counts, too, and EXEC for all of its block; `obl` is what waits for a commit or the
    end of the turn, `omem` what the socket has not taken; `multi` is -1 outside of every block, where there it is 0 of
    a client that has had one. What tells of a client from inside a block tells of none, and `u` is of no client.
    """
    return _listing(call, select(call, filters, skip_me=False))


def _listing(call: Call, clients: Iterable[Client]) -> Verbatim:
    now_ms = call.server.recent_ms
    return Verbatim("".join(client_line(client, now_ms, call.server.channels) + "\n" for client in clients))


@command("CLIENT|KILL", ADMIN | NO_SCRIPT, group="connection", options=_FILTERS)
def client_kill(call: Call, address_or_filter: bytes, *filters: bytes) -> Reply:
    """End connections: the one from an address, or all that every filter lets through; then returns how many."""
    if not filters:
        return _kill_address(call, address_or_filter)
    doomed = select(call, (address_or_filter, *filters), skip_me=True)
    for client in doomed:
        end(call, client)
    return len(doomed)


def _kill_address(call: Call, address: bytes) -> Reply:
    for client in list(call.server.clients.values()):
        if client.address.encode() == address:
            end(call, client)
            return OK
    raise Failure("No such client")


def end(call: Call, client: Client) -> None:
    """End a connection; one's own when its reply has left."""
    if client is call.client:
        client.closing = True
    else:
        client.peer.close()


@command("CLIENT|UNBLOCK", ADMIN | NO_SCRIPT, group="connection", options="[TIMEOUT|ERROR]")
def client_unblock(call: Call, client_id: IntegerText, *reason: bytes) -> Reply:
    """Let a client wait no more (BLPOP): as if its time were up, or with an error; returns whether it waited."""
    error = None
    if len(reason) == 1:
        if reason[0].upper() not in (b"TIMEOUT", b"ERROR"):
            raise InvalidRequest("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        if reason[0].upper() == b"ERROR":
            error = Failure("client unblocked via CLIENT UNBLOCK", "UNBLOCKED")
    client = call.server.clients.get(to_integer(client_id))
    return int(client is not None and call.server.waiting.unblock(client, error))


@command("CLIENT|CAPA", NO_SCRIPT, group="connection")
def client_capa(call: Call, capability: bytes, *capabilities: bytes) -> Reply:
    """Say what the client can do, for CLIENT LIST: `redirect` (nobody is redirected here); others mean nothing."""
    if b"REDIRECT" in {word.upper() for word in (capability, *capabilities)}:
        call.client.capabilities = "r"
    return OK


@command("CLIENT|IMPORT-SOURCE", NO_SCRIPT, group="connection")
def client_import_source(call: Call, enabled: bytes) -> Reply:
    """Refused, but for OFF: there is no import mode, in which keys do not expire."""
    if enabled.upper() != b"OFF":
        raise Failure("Server is not in import mode")
    return OK


@command("CLIENT|NO-EVICT", ADMIN | NO_SCRIPT, group="connection")
def client_no_evict(call: Call, enabled: bytes) -> Reply:
    """Stay connected, whatever clients hold together, or not (`maxmemory-clients`)."""
    _switch(call, "e", enabled)
    call.client.peer.changed()
    return OK


@command("CLIENT|NO-TOUCH", NO_SCRIPT, group="connection")
def client_no_touch(call: Call, enabled: bytes) -> Reply:
    """Have what this client asks for not count as asked for (`maxmemory-policy`), or have it; TOUCH always does."""
    _switch(call, "T", enabled)
    return OK


def _switch(call: Call, letter: str, enabled: bytes) -> None:
    if enabled.upper() not in (b"ON", b"OFF"):
        raise syntax_error()
    call.client.switches.discard(letter)
    if enabled.upper() == b"ON":
        call.client.switches.add(letter)
