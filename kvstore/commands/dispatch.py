"""From a request to its reply: find the row, queue it or run it, leave nothing half-done. The simple truth.

The session does the same, opened out for speed; EXEC and the tests come through here. What happens to a request:

| the client is | the row is | what happens |
|---|---|---|
| outside MULTI | any | run |
| inside MULTI | IMMEDIATE (EXEC, DISCARD, WATCH, ...) | run |
| inside MULTI | NO_MULTI | refused; poisons the block |
| inside MULTI | any other | queued; QUEUED |
| inside MULTI | none, or the number of arguments is wrong | refused; poisons the block (EXEC ends it) |

A poisoned block is one that EXEC refuses as a whole, since its client meant to run something that is missing from it.
"""

from __future__ import annotations

from kvstore.base.errors import Failure, InvalidRequest, RequestError
from kvstore.base.limits import MAX_TRANSACTION_BYTES, QUEUED_WORD_BYTES
from kvstore.base.reply import QUEUED, Reply
from kvstore.commands.context import Call
from kvstore.commands.registry import IMMEDIATE, NO_MULTI, Command, table


def answer(call: Call, request: list[bytes]) -> Reply:
    """Execute or queue one request whole. `request`: its words, the command's name first; at least one.

    Returns the reply value. Raises RequestError for a request that changed nothing (the reply is the error),
    StorageFault. Durability: none until the open commit is on disk.
    """
    client = call.client
    row = None
    try:
        row = table.find(request)
        row.check_arity(request)
        if client.queued is not None and not row.flags & IMMEDIATE:
            return queue(call, row, request)
    except RequestError as error:
        raise refused(call, row, error) from None
    try:
        return run(call, row, request)
    except BaseException:
        call.table.undo_request()
        raise
    finally:
        call.table.pending.undo.clear()


def run(call: Call, row: Command, request: list[bytes]) -> Reply:
    """Run one command now. Raises RequestError; what the command has changed by then is for the caller to undo."""
    arguments = row.arguments(request)
    row.calls += 1
    return row.function(call, *arguments)


def queue(call: Call, row: Command, request: list[bytes]) -> Reply:
    """Put a request at the end of the client's MULTI block. Returns QUEUED; raises InvalidRequest, having poisoned
    the block.

    In a block that is poisoned already nothing is stored: it will not run.
    """
    client = call.client
    assert client.queued is not None
    try:
        _check_queueable(row, request, client.queued_bytes + _size_bytes(request))
    except RequestError:
        client.poisoned = True
        client.queued.clear()
        client.queued_bytes = 0
        raise
    if not client.poisoned:
        client.queued.append((row, request))
        client.queued_bytes += _size_bytes(request)
    return QUEUED


def refused(call: Call, row: Command | None, error: RequestError) -> RequestError:
    """A request was refused before it could run or be queued, which poisons the block. Returns the error to answer.

    A refused EXEC ends the block, and says so, in one or not: as Valkey has it.
    """
    client = call.client
    if row is not None and row.name == "EXEC":
        release(call)
        return Failure(f"Transaction discarded because of: {error.text}", "EXECABORT")
    client.poisoned = client.queued is not None
    return error


def release(call: Call) -> None:
    """Forget the client's block and what it watches: EXEC, DISCARD and RESET do, and a client that is gone needs it."""
    client = call.client
    client.queued = None
    client.queued_bytes = 0
    client.poisoned = False
    call.server.watches.unwatch(client)


def _check_queueable(row: Command, request: list[bytes], block_bytes: int) -> None:
    row.check_arity(request)
    if row.flags & NO_MULTI:
        raise InvalidRequest("Command not allowed inside a transaction")
    if block_bytes > MAX_TRANSACTION_BYTES:
        raise InvalidRequest(f"the transaction is larger than {MAX_TRANSACTION_BYTES} bytes; send several smaller ones")


def _size_bytes(request: list[bytes]) -> int:
    return sum(map(len, request)) + QUEUED_WORD_BYTES * len(request)
