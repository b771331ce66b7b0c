"""MULTI, EXEC, DISCARD, WATCH, UNWATCH.

A client's block has one of four states, kept in its `Client`:

| state | `queued` | `poisoned` | EXEC answers |
|---|---|---|---|
| none | None | False | an error |
| open | the requests so far | False | their replies; a null array if a watched key changed |
| poisoned | nothing any more | True | EXECABORT |

MULTI opens, EXEC and DISCARD lead back to none, `dispatch.queue` fills and poisons. The block runs inside one
request, so its changes are in one commit: all of them reach the disk, or none. A command of it that fails is an error
value in the reply, and the others stand, as in Redis; what it might have changed before it failed is undone. A full
disk is no matter of one command, nor are replies that are too large together: StorageFull and ReplyTooLarge leave EXEC,
and the block is undone whole, with what it did to its own client (SELECT, SUBSCRIBE, HELLO). That they are too large
may be known only once they are encoded.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from kvstore.base.errors import Failure, InvalidRequest, ReplyTooLarge, RequestError, StorageFull
from kvstore.base.reply import NULL_ARRAY, OK, Reply, size_bytes
from kvstore.base.slices import Slices
from kvstore.commands import dispatch, watches
from kvstore.commands.channels import Held
from kvstore.commands.context import Call
from kvstore.commands.registry import FAST, IMMEDIATE, NO_MULTI, WHOLE, Command, Key, command
from kvstore.commands.row import ALONE, NO_SCRIPT
from kvstore.commands.users import User


class _Own(NamedTuple):
    """What requests in a block may change of their own client. `names`: its own, and its library's."""

    database: int
    protocol: int
    names: tuple[bytes, bytes, bytes]
    subscriptions: Held
    tracking: Any
    user: User
    is_authenticated: bool


@command("MULTI", FAST | NO_MULTI | NO_SCRIPT, group="transactions")
def multi(call: Call) -> Reply:
    """Begin a block: what follows is queued, until EXEC runs it whole."""
    call.client.queued = []
    call.client.queued_database = call.client.database
    return OK


@command("EXEC", IMMEDIATE | WHOLE | NO_SCRIPT, group="transactions")
def exec_(call: Call) -> Reply:
    """Run the queued block, unless a watched key changed."""
    client = call.client
    queued, poisoned = client.queued, client.poisoned
    if queued is None:
        raise InvalidRequest("EXEC without MULTI")
    changed = watches.is_changed(client)
    dispatch.release(call)
    if poisoned:
        raise Failure("Transaction discarded because of previous errors.", "EXECABORT")
    if changed:
        return NULL_ARRAY
    before = _own_state(call)
    client.take_back = partial(_restore, call, before)
    replies = _run_all(call, queued)
    if _own_state(call) == before and not call.server.messages:
        client.take_back = None
    return replies


def _own_state(call: Call) -> _Own:
    client = call.client
    names = client.name, client.library_name, client.library_version
    return _Own(
        client.database, client.protocol, names, call.server.channels.of(client), client.tracking, client.user,
        client.is_authenticated,
    )  # fmt: skip


def _restore(call: Call, before: _Own) -> None:
    """The client is again what it was."""
    client = call.client
    call.select(before.database)
    client.protocol = before.protocol
    client.name, client.library_name, client.library_version = before.names
    call.server.channels.restore(client, before.subscriptions)
    call.server.tracking.set_mode(client, before.tracking)
    call.server.gate.restore(client, before.user, is_authenticated=before.is_authenticated)


def _run_all(call: Call, queued: list[tuple[Command, list[bytes]]]) -> list[Reply]:
    replies, size, limit = [], 0, call.server.max_reply_bytes
    for row, request in queued:
        reply = _run_one(call, row, request)
        reply_bytes = size_bytes(reply)
        size += reply_bytes
        if size > limit:
            raise ReplyTooLarge(limit)
        if reply_bytes >= call.server.command_log.reply_bytes:
            call.server.command_log.replied(call.client, request, reply_bytes)
        replies.append(reply)
    return replies


def _run_one(call: Call, row: Command, request: list[bytes]) -> Reply:
    if row.flags & ALONE:
        return InvalidRequest(f"{row.name} isn't allowed for a DENY BLOCKING client")
    client = call.client
    try:
        if client.rights is not None:
            call.server.gate.check_again(client, row, request, client.database)
        return dispatch.run_inside(call, row, request)
    except StorageFull:
        raise
    except RequestError as error:
        call.server.count_error(error)
        return error


@command("DISCARD", FAST | IMMEDIATE | NO_SCRIPT, group="transactions")
def discard(call: Call) -> Reply:
    """Forget the queued block, and watch nothing any more."""
    if call.client.queued is None:
        raise InvalidRequest("DISCARD without MULTI")
    dispatch.release(call)
    return OK


@command("WATCH", FAST | NO_MULTI | NO_SCRIPT, group="transactions")
def watch(call: Call, key: Key, *keys: Key) -> Slices:
    """Have the next EXEC refused if one of the keys changes before it."""
    yield from call.server.watches[call.client.database].watch(call.client, (key, *keys))
    return OK


@command("UNWATCH", FAST | NO_SCRIPT, group="transactions")
def unwatch(call: Call) -> Reply:
    """Watch nothing any more."""
    watches.unwatch(call.client)
    return OK
