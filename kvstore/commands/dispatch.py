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

from collections.abc import Callable
from typing import Any

from kvstore.base.errors import Failure, InvalidRequest, RequestError
from kvstore.base.limits import MAX_TRANSACTION_BYTES, QUEUED_WORD_BYTES
from kvstore.base.reply import QUEUED, NotNow, Reply, finish
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
        check_arity(call, row, request)
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


def check_arity(call: Call, row: Command, request: list[bytes]) -> None:
    """Raise InvalidRequest, and count it, if the command takes another number of words."""
    if not row.accepts(len(request)):
        call.server.statistics[row].rejected += 1
        raise row.wrong_arity()


def run(
    call: Call,
    row: Command,
    request: list[bytes],
    arguments: list[Any] | None = None,
    step: Callable[[Reply], Reply] = finish,
) -> Reply:
    """Run one command now, and count it. Raises RequestError: it has changed nothing then; NotNow from `step`.

    `arguments`: converted, if they are no words of the request. `step`: what is done at once of a reply in slices.
    """
    server = call.server
    statistics = server.statistics[row]
    mark = len(call.table.pending.undo)
    began_ns = server.steady_ns()
    try:
        reply = step(row.function(call, *(row.arguments(request) if arguments is None else arguments)))
    except RequestError as error:
        if call.client.queued is None:
            statistics.count_error(error, request)
        else:  # a command that has no place in a block (MULTI, WATCH)
            statistics.rejected += 1
        call.table.undo_request(mark)
        raise
    except NotNow:
        statistics.add_time(0, -1)  # this was no call
        raise
    finally:
        statistics.add_time(server.steady_ns() - began_ns)
    statistics.calls += 1
    return reply


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
        call.server.statistics[row].rejected += 1
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
