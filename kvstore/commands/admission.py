"""Whether a request may execute, or be queued in its client's MULTI block: what is asked before anything is done.

In Valkey's order: is there such a command, and has the client said who it is; does it take so many words; may the
client do this (see `gate`); may it while it is subscribed; is there memory for it; and has it to wait for the end of a
pause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvstore.base.errors import InvalidRequest, RequestError
from kvstore.base.limits import QUEUED_WORD_BYTES
from kvstore.base.reply import QUEUED, Paused, Reply
from kvstore.commands.client import UNKNOWN
from kvstore.commands.context import Call
from kvstore.commands.gate import check_authenticated
from kvstore.commands.membership import check_member
from kvstore.commands.registry import NO_MULTI, Command, table
from kvstore.commands.row import SUBSCRIBED


def find(call: Call, request: list[bytes], *, typed: bool) -> Command:
    """The row of a request. Raises RequestError if there is none."""
    try:
        row = table.find_typed(request) if typed else table.find(request)
    except InvalidRequest:
        call.client.last_command = UNKNOWN
        check_authenticated(call.client, None)
        raise
    call.client.last_command = row.name
    return row


def admit(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise RequestError, and count it, if the client may not do this now."""
    client = call.client
    if client.rights is not None:
        with _counted(call, row):
            check_authenticated(client, row)
    check_arity(call, row, request)
    if client.rights is not None and (client.queued is None or not row.flags & NO_MULTI):
        check_rights(call, row, request)
    if client.subscription_bytes:
        check_subscribed(call, row)
    if call.server.group is not None:
        check_place(call, row, request)


def check_place(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise Failure, and count it, if another server of the group, or of the cluster, is to do this."""
    with _counted(call, row):
        check_member(call, row, request)


def check_rights(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise Failure, and count it, if the client, whose `rights` are not None, may not do this."""
    client = call.client
    with _counted(call, row):
        database = client.database if client.queued is None else client.queued_database
        call.server.gate.check(client, row, request, database)


@contextmanager
def _counted(call: Call, row: Command) -> Iterator[None]:
    """Count what is refused."""
    try:
        yield
    except RequestError:
        call.server.statistics[row].rejected += 1
        raise


def check_arity(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise InvalidRequest, and count it, if the command takes another number of words."""
    if not row.accepts(len(request)):
        call.server.statistics[row].rejected += 1
        raise row.wrong_arity()


def check_pause(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise Paused if the request has to wait for the end of a pause."""
    if call.server.pause.holds(call, row, request):
        raise Paused


def check_memory(call: Call, row: Command) -> None:
    """While memory is short: evict keys before what may grow something; raise Failure, and count it, if none may go."""
    server = call.server
    if not server.memory.is_over:
        return
    call.store.clock.go_on()
    try:
        with _counted(call, row):
            server.memory.check(row, call.client.queued)
    finally:
        server.tell_of_own()


def check_subscribed(call: Call, row: Command) -> None:
    """Raise InvalidRequest, and count it, if the client is subscribed and may not use the command."""
    if call.client.only_listens and not row.flags & SUBSCRIBED:
        call.server.statistics[row].rejected += 1
        raise InvalidRequest(
            f"Can't execute '{row.name.lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
            " allowed in this context"
        )


def queue(call: Call, row: Command, request: list[bytes]) -> Reply:
    """Put a request at the end of the client's MULTI block. Returns QUEUED; raises InvalidRequest.

    In a block that is poisoned already nothing is stored: it will not run.
    """
    client = call.client
    assert client.queued is not None
    try:
        with _counted(call, row):
            _check_queueable(row, client.queued_bytes + _size_bytes(request), call.server.max_transaction_bytes)
    except RequestError:
        client.queued.clear()
        client.queued_bytes = 0
        raise
    if not client.poisoned:
        client.queued.append((row, request))
        client.queued_bytes += _size_bytes(request)
        if row.name == "SELECT" and request[1].isdigit():
            client.queued_database = int(request[1][:10])
    return QUEUED


def _check_queueable(row: Command, block_bytes: int, most_bytes: int) -> None:
    if row.flags & NO_MULTI:
        raise InvalidRequest(f"Command '{row.name.lower()}' not allowed inside a transaction")
    if block_bytes > most_bytes:
        raise InvalidRequest(f"the transaction is larger than {most_bytes} bytes; send several smaller ones")


def _size_bytes(request: list[bytes]) -> int:
    return sum(map(len, request)) + QUEUED_WORD_BYTES * len(request)
