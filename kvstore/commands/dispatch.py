"""From a request to its reply: find the row, queue it or execute it. The one place that executes.

    answer      a request in words: finds its row, then queues or executes it
    execute     a request whose row is known, to its encoded reply or the first slice of it
    go_on       the next slice
    try_again   a request that waits (`waiting`), or give_up
    run         one command of a request: `execute` does one, EXEC each of its block

`execute` alone decides what a request leaves behind: it counts it, takes back what an error or a bug half did, closes
the client after a bug, and tells which commit the reply waits for. Whoever calls it finds the row, converts the
arguments, and says how replies are encoded. There are two copies for speed, which stand in the session and say so:
`Execution.run`, one request of a plain command, and `columns`, many of one command.

What happens to a request:

| the client is | the row is | what happens |
|---|---|---|
| outside MULTI | any | executed |
| inside MULTI | IMMEDIATE (EXEC, DISCARD, RESET, ...) | executed |
| inside MULTI | NO_MULTI (MULTI, WATCH, ...) | refused; poisons the block |
| inside MULTI | any other | queued; QUEUED |
| inside MULTI | none, or the number of arguments is wrong | refused; poisons the block (EXEC ends it) |
| subscribed, in RESP2 | not SUBSCRIBED (PING, QUIT, RESET, ...) | refused |

A poisoned block is one that EXEC refuses as a whole, since its client meant to run something that is missing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, NamedTuple, Protocol

from kvstore.base.errors import Elsewhere, Failure, ReplyTooLarge, RequestError, StorageFault, WrongSubcommand, shorten
from kvstore.base.reply import NotNow, Reply, Wait, advance, finish, size_bytes
from kvstore.base.slices import SLICE_NS
from kvstore.commands.admission import admit, check_memory, check_pause, check_rights, find, queue
from kvstore.commands.context import Call
from kvstore.commands.registry import IMMEDIATE, Command
from kvstore.commands.row import NOT_KEYS, READ, Scope
from kvstore.commands.watches import unwatch

_INTERNAL_ERROR = RequestError("internal error; the request changed nothing, please report what the server's log says")


#: What a command returns that `step` makes a reply of.
_UNFINISHED = frozenset({GeneratorType, Wait})


class Encoder(Protocol):
    """How replies are encoded: what the session knows of the grammar that a request came in."""

    def begin(self, reply: Reply, *, in_slices: bool) -> Any:
        """The encoded reply; or a generator that ends with it, if it takes long and `in_slices` allows it.

        A reply that is a generator takes long anyway. Raises ReplyTooLarge.
        """

    def refusal(self, error: RequestError) -> Any:
        """An encoded error."""


class Outcome(NamedTuple):
    """What came of a request.

    `reply`: encoded, or an `Unfinished`, or a `Blocked`. `needed`: the commit that it waits for, 0 for none. `text`:
    `ok`, or why not, for whoever watches. `has_begun`: its execution, that is; not if it is queued, or refused before.
    """

    reply: Any
    needed: int
    text: str = "ok"
    has_begun: bool = True


class Unfinished(NamedTuple):
    """A request that goes on in a next slice, to its encoded reply. `needed`: the commit that this waits for.

    `took_ns`: all slices so far; the first takes what a slice may.
    """

    row: Command
    request: list[bytes]
    slices: Generator[None, None, Any]
    needed: int
    encoder: Encoder
    took_ns: int = SLICE_NS


class Postponed(NamedTuple):
    """A request, of any grammar, that has not begun, and waits for the end of a pause."""

    request: Any


class Blocked(NamedTuple):
    """A request that waits for what others do."""

    call: Call
    row: Command
    request: list[bytes]
    wait: Wait
    encoder: Encoder


def answer(call: Call, request: list[bytes], encoder: Encoder, *, typed: bool = False) -> Outcome:
    """Execute or queue one request. `request`: its words, the command's name first; at least one.

    `typed`: by a person. Raises StorageFault, NotNow for a request that would rather not begin, and Paused. Durability:
    none until commit `needed` of the outcome is settled.
    """
    try:
        return _answer(call, request, encoder, typed=typed)
    finally:
        if call.client.tracking is not None:
            call.server.tracking.request_ended(call.client)


def _answer(call: Call, request: list[bytes], encoder: Encoder, *, typed: bool) -> Outcome:
    client = call.client
    row = None
    try:
        row = find(call, request, typed=typed)
        admit(call, row, request)
        if client.queued is not None and not row.flags & IMMEDIATE:
            check_memory(call, row)
            check_pause(call, row, request)
            return Outcome(encoder.begin(queue(call, row, request), in_slices=False), 0, has_begun=False)
    except RequestError as error:
        return refuse(call, row, error, encoder)
    return execute(call, row, request, encoder)


def execute(
    call: Call, row: Command, request: list[bytes], encoder: Encoder, arguments: list[Any] | None = None
) -> Outcome:
    """Execute one request of the command `row`, or its first slice. See the module.

    `arguments`: converted, if they are no words of the request. Raises as `answer`.
    """
    check_pause(call, row, request)
    try:
        check_memory(call, row)
    except Failure as error:
        return refuse(call, row, error, encoder)
    call.store.clock.go_on()
    return _conclude(call, row, request, encoder, arguments)


def _conclude(
    call: Call,
    row: Command,
    request: list[bytes],
    encoder: Encoder,
    arguments: list[Any] | None = None,
    again: Callable[[], Reply] | None = None,
) -> Outcome:
    """Execute a request, or try it `again`, and leave nothing half-done."""
    told = len(call.server.messages)
    try:
        reply = run(call, row, request, arguments, advance) if again is None else again()
        if reply.__class__ is Wait:
            if call.store.pending.undo:  # of a consumer that came to be there, of a group
                complete(call, row, request)
            return Outcome(Blocked(call, row, request, reply, encoder), 0)
        try:
            undoable = call.store.pending.undo or call.client.take_back
            encoded = encoder.begin(reply, in_slices=not undoable)
        except ReplyTooLarge:
            call.server.statistics[row].failed += 1
            raise
        call.client.take_back = None
        needed = complete(call, row, request)
    except RequestError as error:
        del call.server.messages[told:]
        return fail(call, row, request, error, encoder)
    except NotNow:  # it may have removed a key that has expired, and told of that
        del call.server.messages[told:]
        _take_back(call)
        raise
    except StorageFault:
        raise
    except Exception:
        del call.server.messages[told:]
        return report_bug(call, request, encoder)
    if encoded.__class__ is GeneratorType:
        call.server.statistics[row].goes_on()
        encoded = Unfinished(row, request, encoded, needed, encoder)
    return Outcome(encoded, needed)


def go_on(call: Call, unfinished: Unfinished) -> Outcome:
    """Execute the next slice. It changes nothing, so there is nothing to undo. Raises StorageFault."""
    row, request, slices, needed, encoder, took_ns = unfinished
    statistics, began_ns = call.server.statistics[row], call.server.steady_ns()
    try:
        encoded = advance(slices)
        took_ns += call.server.steady_ns() - began_ns
        if encoded is slices:
            return Outcome(unfinished._replace(took_ns=took_ns), needed)
        statistics.finished(took_ns)
        if row.name != "EXEC":
            call.server.command_log.executed(call.client, request, took_ns // 1000, len(encoded))
    except RequestError as error:
        statistics.failed += 1
        call.server.count_error(error)
        return Outcome(encoder.refusal(error), needed, str(error))
    except StorageFault:
        raise
    except Exception:
        return report_bug(call, request, encoder)
    return Outcome(encoded, needed)


def try_again(blocked: Blocked) -> Outcome | None:
    """Try a request that waits again, as of now; None: it waits on. Raises StorageFault."""
    call, row, request, wait, encoder = blocked
    if call.client.rights is not None:
        try:
            check_rights(call, row, request)
        except RequestError as error:
            call.server.statistics[row].calls -= 1  # it was one when it began to wait
            return refuse(call, row, error, encoder)
    call.store.clock.go_on()  # what brought a key may have taken longer than the key lasts

    def again() -> Reply:
        try:
            reply = wait.again()
        except RequestError:
            call.server.statistics[row].failed += 1
            raise
        return wait if reply is None else reply

    outcome = _conclude(call, row, request, encoder, again=again)
    return None if outcome.reply.__class__ is Blocked else outcome


def give_up(blocked: Blocked, error: RequestError | None) -> Outcome:
    """A request has waited long enough: it is answered with `error`, or with what it answers then.

    It changes nothing, and completes nothing: CLIENT UNBLOCK is in the middle of another client's request, or block.
    """
    call, row, request, wait, encoder = blocked
    needed = commit_for(call, row, request)
    if error is None:
        return Outcome(encoder.begin(wait.timed_out, in_slices=False), needed)
    call.server.count_error(error)
    call.server.statistics[row].rejected += 1
    return Outcome(encoder.refusal(error), needed, str(error))


def run(
    call: Call,
    row: Command,
    request: list[bytes],
    arguments: list[Any] | None = None,
    step: Callable[[Reply], Reply] = finish,
) -> Reply:
    """Run one command now, and count it. Raises RequestError: it has changed nothing then; NotNow from `step`.

    `arguments`: converted, if they are no words of the request. `step`: what is done at once of a reply in slices, or
    that waits.
    """
    server = call.server
    statistics = server.statistics[row]
    mark, told = len(call.store.pending.undo), len(server.messages)
    timed = not statistics.untimed
    began_ns = server.steady_ns() if timed else 0
    try:
        reply = row.function(call, *(row.arguments(request) if arguments is None else arguments))
        if reply.__class__ in _UNFINISHED:
            reply = step(reply)
        statistics.calls += 1
    except RequestError as error:
        if error.__class__ is WrongSubcommand:
            error.name_as_typed(request[1])
        statistics.count_error(error, request)
        call.store.pending.take_back(mark)
        del server.messages[told:]
        raise
    except NotNow:
        timed = False  # this was no call
        statistics.untimed += 1
        raise
    finally:
        if timed:
            statistics.add_time(server.steady_ns() - began_ns)
        else:
            statistics.untimed -= 1
        if call.client.tracking is not None:
            _remember(call, row, request)
    if server.accesses.policy:
        server.accesses.note(call.table, call.client, row, request)
    return reply


def run_inside(call: Call, row: Command, request: list[bytes], step: Callable[[Reply], Reply] = finish) -> Reply:
    """As `run`, one of several commands of a request: COMMANDLOG, if it watches requests, notes each."""
    server, reply = call.server, None
    if not server.command_log.watches:
        return run(call, row, request, None, step)
    began_ns = server.steady_ns()
    try:
        reply = run(call, row, request, None, step)
        return reply
    finally:
        took_us = (server.steady_ns() - began_ns) // 1000
        server.command_log.executed(call.client, request, took_us, size_bytes(reply))


def _remember(call: Call, row: Command, request: list[bytes]) -> None:
    """The client keeps what it reads; of a script, what that reads by its calls."""
    client = call.client
    if client.tracking.remembers and row.flags & READ and not row.flags & NOT_KEYS and row.group != "scripting":
        call.server.tracking.remember(client, row.keys_of(request))


def complete(call: Call, row: Command, request: list[bytes]) -> int:
    """The request is whole: what it changed stays, and serves those who waited for it.

    Returns the commit that its reply waits for, 0 for none.
    """
    pending = call.store.pending
    if not pending.undo:
        return commit_for(call, row, request)
    pending.undo.clear()
    pending.requests += 1
    if call.server.waiting.places and not call.server.waiting.is_serving:
        if call.server.messages:  # they were there before those who are served now
            call.server.send_messages(pending.sequence, call.client)
        call.server.waiting.serve()
    return pending.sequence


def commit_for(call: Call, row: Command, request: list[bytes]) -> int:
    """The newest unsettled commit that the reply to a request which changed nothing tells of, 0 for none."""
    if row.scope is Scope.KEY and len(request) > 1:  # a request that is refused may name no key
        return call.table.commit_for_key(request[1])
    if row.scope is Scope.NOTHING:
        return 0
    if row.scope is Scope.TABLE:
        return call.store.commit_for_table()
    return call.table.commit_for_keys(row.keys_of(request))


def fail(call: Call, row: Command, request: list[bytes], error: RequestError, encoder: Encoder) -> Outcome:
    """A request that was executing has failed: take back what it changed. What the failure tells of may be pending."""
    call.server.count_error(error)
    _take_back(call)
    return Outcome(encoder.refusal(error), commit_for(call, row, request), str(error))


def report_bug(call: Call, request: list[bytes], encoder: Encoder) -> Outcome:
    """An exception nobody meant, inside whose `except` this is called: undo, report, answer, close the connection."""
    server, client = call.server, call.client
    server.count_error(_INTERNAL_ERROR)
    _take_back(call)
    server.report_bug(f"bug in {shorten(request[0])!r}; client {client.address} is disconnected")
    client.closing = True
    return Outcome(encoder.refusal(_INTERNAL_ERROR), call.store.commit_for_table(), "bug")


def _take_back(call: Call) -> None:
    """The request has changed nothing, in the databases and of its client."""
    if call.store.pending.undo:
        call.store.pending.take_back()
    if call.client.take_back is not None:
        call.client.take_back()
        call.client.take_back = None


def refuse(call: Call, row: Command | None, error: RequestError, encoder: Encoder) -> Outcome:
    """A request is refused before it could be executed or queued, which poisons the block.

    A refused EXEC ends the block, and says so, in one or not: as Valkey has it.
    """
    client = call.client
    if row is not None and row.name == "EXEC" and isinstance(error, Elsewhere):
        release(call)
    elif row is not None and row.name == "EXEC":
        release(call)
        reason = error.text if error.code == "ERR" else str(error)
        error = Failure(f"Transaction discarded because of: {reason}", "EXECABORT")
    else:
        client.poisoned = client.queued is not None
    call.server.count_error(error)
    return Outcome(encoder.refusal(error), 0, str(error), has_begun=False)


def release(call: Call) -> None:
    """Forget the client's block and what it watches: EXEC, DISCARD and RESET do, and a client that is gone needs it."""
    client = call.client
    client.queued = None
    client.queued_bytes = 0
    client.poisoned = False
    unwatch(client)
