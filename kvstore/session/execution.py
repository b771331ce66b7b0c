"""What a request of a connection does: execute it, whole or not at all, and encode its reply.

Four ways, from the fastest to the most general; a test runs the same requests through all of them:

| way | what it takes |
|---|---|
| `run_many` | a pipeline of GETs, SETs or MSETs, which are done all at once, outside MULTI, while nobody watches |
| `run` | one RESP request for a plain row (reads or changes data, no more), outside MULTI, while nobody watches |
| `respond` | any one request: of any grammar, in MULTI, for MONITOR and the trace |
| `dispatch.answer` | what the others mean, without sessions; EXEC and the tests use it |

(`together` takes the requests of many clients as one pipeline, by `columns_reply` as `run_many` does.)

`needed` is what decides when replies may leave: the newest commit that a request executed so far has changed, or read
something of. Whoever delivers the replies sets it to 0 before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kvstore.base.errors import ForeignProtocol, InvalidRequest, ProtocolError, RequestError, StorageFault
from kvstore.base.jsontext import dumps
from kvstore.base.limits import MIB
from kvstore.base.reply import QUEUED, Help, Status
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.registry import IMMEDIATE, VERB, Command, Scope, shorten
from kvstore.commands.registry import table as commands
from kvstore.store.table import Table
from kvstore.wire import jsonlines, resp
from kvstore.wire.multibulk import Uniform
from kvstore.wire.parser import BadLine, JSONLine, Negotiation, Words
from kvstore.wire.words import encode_lines

_INTERNAL_ERROR = RequestError("internal error; the request changed nothing, please report what the server's log says")

_NO_ROWS: dict[bytes, Command] = {}


class Executed(NamedTuple):
    """One executed request, for whoever watches (trace, MONITOR).

    `number`: the order in which requests executed, from 1. `started_ns`, `ended_ns`: steady clock. `time_us`: since
    the epoch. `words`: the request. `outcome`: `ok` or the error's text. `commit`: the commit its reply waits for, 0
    for none.
    """

    number: int
    client: int
    address: str
    time_us: int
    started_ns: int
    ended_ns: int
    words: list[bytes]
    outcome: str
    commit: int


class Hooks:
    """What executing requests tells the edge; shared by all sessions of a server.

    `watchers`: called with each `Executed` request; while there are none, nothing is gathered. `commit_now`: called
    when the open commit holds `request_limit` write requests, or more than `size_limit` bytes of operations: so that a
    frame stays small beside the data. `report_bug`: called inside the `except` of an unexpected error.
    `report_foreign`: called with the address of a client that speaks another protocol. `monitor`: called with the
    number of a client that is in MONITOR. `watched`: requests shown to watchers so far.
    """

    NO_LIMIT = 2**62

    def __init__(self) -> None:
        self.watchers: list[Callable[[Executed], None]] = []
        self.request_limit = self.NO_LIMIT
        self.size_limit = 16 * MIB
        self.commit_now: Callable[[], None] = lambda: None
        self.report_bug: Callable[[str], None] = lambda text: None
        self.report_foreign: Callable[[str, ForeignProtocol], None] = lambda address, error: None
        self.monitor: Callable[[int], None] = lambda identity: None
        self.watched = 0


class Execution:
    """See the module. A request after which the client is to be closed sets `closing` of the `Client`."""

    __slots__ = ("_call", "_client", "_hooks", "_store", "_table", "needed", "plain")

    def __init__(self, call: Call, hooks: Hooks) -> None:
        self._call = call
        self._client = call.client
        self._hooks = hooks
        self._store = call.store
        self._table = call.table
        self.plain = commands.plain
        self.needed = 0

    def plain_rows(self) -> dict[bytes, Command]:
        """The rows that `run` takes now, by name: none in a MULTI block, nor while somebody watches."""
        return self.plain if self._client.queued is None and not self._hooks.watchers else _NO_ROWS

    def run(self, row: Command, request: list[bytes]) -> bytes:
        """Execute one RESP request for one of the `plain_rows`. Returns the encoded reply. Raises StorageFault."""
        try:
            words = len(request)
            if words == 2 and row.takes_one_word:
                reply = row.function(self._call, request[1])
            elif words == 3 and row.takes_two_words:
                reply = row.function(self._call, request[1], request[2])
            elif row.convert is None and row.least <= words <= row.most:
                reply = row.function(self._call, *request[1:])
            else:
                reply = row.function(self._call, *row.arguments(request))
            row.calls += 1
            pending = self._table.pending
            if pending.undo:
                pending.undo.clear()
                pending.requests += 1
                self.needed = pending.sequence
                if pending.requests >= self._hooks.request_limit or pending.size_bytes > self._hooks.size_limit:
                    self._hooks.commit_now()
            elif self.needed < pending.sequence and (pending.operations or self._store.in_flight is not None):
                self.needed = max(self.needed, self._commit_for(row, request))
            if reply.__class__ is bytes:
                return b"$%d\r\n%b\r\n" % (len(reply), reply)
            return resp.encode2(reply) if self._client.protocol == 2 else resp.encode3(reply)
        except RequestError as error:
            self._undo(row, request)
            return resp.encode_error(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(request)

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """Execute a pipeline of one command. Returns the encoded replies, or None if each request has to be run alone.

        `budget_bytes`: for all replies together; past it, None. Raises StorageFault.
        """
        row = self.plain_rows().get(pipeline.name)
        reply = None if row is None else columns_reply(row, self._table, pipeline, self._hooks)
        if row is None or reply is None:
            return None
        encoded: bytes | None
        if isinstance(reply, Status):
            encoded = reply.wire * pipeline.length
        else:
            encoded = resp.encode_strings(reply, self._client.protocol, budget_bytes)
            if encoded is None:
                return None
        row.calls += pipeline.length
        self._client.last_command = row.name
        if row.writes:
            self._changed(pipeline.length)
            self._close_if_full()
        else:
            self.needed = max(self.needed, self._store.commit_for_keys(pipeline.columns[0]))
        return encoded

    def respond(self, request: Any) -> bytes:
        """Execute one request of any grammar, in any state; returns its encoded reply. Raises StorageFault."""
        if isinstance(request, Negotiation):
            return bytes(request)
        if isinstance(request, ProtocolError):
            return self._refuse_stream(request)
        hooks = self._hooks
        requests = self._table.pending.requests
        before, self.needed = self.needed, 0
        started_ns = time.perf_counter_ns()
        if isinstance(request, JSONLine):
            encoded, words, outcome = self._respond_json(request)
        elif isinstance(request, BadLine):
            encoded, words, outcome = self._refuse_line(request)
        else:
            encoded, words, outcome = self._words(request)
        commit = self.needed
        self.needed = max(before, commit)
        if hooks.watchers:
            hooks.watched += 1
            client = self._client
            executed = Executed(
                hooks.watched, client.identity, client.address, self._store.now_us(), started_ns,
                time.perf_counter_ns(), words, outcome, commit,
            )  # fmt: skip
            for watcher in tuple(hooks.watchers):
                watcher(executed)
        # Only now: a commit lets waiting clients go on at once, and their requests come after this one.
        if requests < self._table.pending.requests:
            self._close_if_full()
        return encoded

    def _close_if_full(self) -> None:
        pending, hooks = self._table.pending, self._hooks
        if pending.requests >= hooks.request_limit or pending.size_bytes > hooks.size_limit:
            hooks.commit_now()

    def _changed(self, requests: int) -> None:
        """So many requests that just executed have changed something: they are whole now, and count."""
        pending = self._table.pending
        pending.undo.clear()
        pending.requests += requests
        self.needed = pending.sequence

    def _undo(self, row: Command | None, request: list[bytes]) -> None:
        """Undo what the request changed before it failed. What the failure tells of may still be pending."""
        call = self._call
        call.server.errors += 1
        if call.table.pending.undo:
            call.table.undo_request()
        if row is not None:
            self.needed = max(self.needed, self._commit_for(row, request))

    def _bug(self, request: Any) -> bytes:
        """An exception nobody meant: undo, report, answer, and close the connection."""
        self._undo(None, [])
        self.needed = max(self.needed, self._store.commit_for_table())
        words = request if isinstance(request, list) else [b"JSON line"]
        self._hooks.report_bug(f"bug in {shorten(words[0])!r}; client {self._client.address} is disconnected")
        self._client.closing = True
        if isinstance(request, JSONLine):
            return jsonlines.encode_error(_INTERNAL_ERROR, request.members.get("id", jsonlines.ABSENT))
        if _answers_json(words, commands.by_name.get(words[0].upper())):
            return jsonlines.encode_error(_INTERNAL_ERROR)
        return resp.encode_error(_INTERNAL_ERROR)

    def _commit_for(self, row: Command, request: list[bytes]) -> int:
        """The newest unsettled commit that the reply to a request tells of."""
        store = self._store
        if row.scope is Scope.KEY and len(request) > 1:  # a request that is refused may name no key
            return store.commit_for_key(request[1])
        if row.scope is Scope.NOTHING:
            return 0
        if row.scope is Scope.TABLE:
            return store.commit_for_table()
        return max(map(store.commit_for_key, row.keys_of(request)), default=0)

    def _words(self, request: list[bytes]) -> tuple[bytes, list[bytes], str]:
        """Execute a RESP or inline request. Returns the encoded reply, the request's words and the outcome."""
        call, client = self._call, self._client
        row: Command | None = None
        refused = True  # until it is known that there is such a command, and that the number of words is right
        try:
            row = commands.find_typed(request) if isinstance(request, Words) else commands.find(request)
            client.last_command = row.name
            row.check_arity(request)
            refused = False
            if client.queued is not None and not row.flags & IMMEDIATE:
                reply = dispatch.queue(call, row, request)
            else:
                reply = dispatch.run(call, row, request)
                self.needed = max(self.needed, self._commit_for(row, request))
            if reply is QUEUED or not _answers_json(request, row):
                encoded = resp.encode(reply, client.protocol)
            else:
                encoded = encode_lines(reply.text) if isinstance(reply, Help) else jsonlines.encode(reply)
        except RequestError as error:
            self._undo(row, request)
            if refused:
                error = dispatch.refused(call, row, error)
            encode_error = jsonlines.encode_error if _answers_json(request, row) else resp.encode_error
            return encode_error(error), request, str(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(request), request, "bug"
        if self._table.pending.undo:
            self._changed(1)
        return encoded, request, "ok"

    def _refuse_line(self, line: BadLine) -> tuple[bytes, list[bytes], str]:
        """Answer a line that is no request, in the grammar that it began in. Returns as `_words`."""
        self._call.server.errors += 1
        self._client.poisoned = self._client.queued is not None
        row = commands.by_name.get(line.verb.upper())
        in_json = not line.verb or (row is not None and bool(row.flags & VERB))
        encode_error = jsonlines.encode_error if in_json else resp.encode_error
        return encode_error(InvalidRequest(line.reason)), [line.verb or b"{..."], line.reason

    def _refuse_stream(self, error: ProtocolError) -> bytes:
        """Answer bytes that make no sense, and execute nothing more of this client."""
        self._client.closing = True
        if isinstance(error, ForeignProtocol):
            self._hooks.report_foreign(self._client.address, error)
        return resp.encode_error(error)

    def _respond_json(self, line: JSONLine) -> tuple[bytes, list[bytes], str]:
        """Execute a JSON line. Returns the encoded reply, the request as words, and the outcome."""
        call = self._call
        members = line.members
        identity = members.get("id", jsonlines.ABSENT)
        words = [str(members.get("method")).encode("utf-8", "replace")]
        row: Command | None = None
        try:
            row = self._verb(members)
            self._client.last_command = row.name
            arguments = row.arguments_from_members(members)
            words += [a if isinstance(a, bytes) else self._shown(a) for a in arguments]
            reply = row.function(call, *arguments)
            row.calls += 1
            self.needed = max(self.needed, self._commit_for(row, words))
            encoded = jsonlines.encode(reply, identity)
        except RequestError as error:
            self._undo(row, words)
            self._client.poisoned = self._client.queued is not None
            return jsonlines.encode_error(error, identity), words, str(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(line), words, "bug"
        if self._table.pending.undo:
            self._changed(1)
        return encoded, words, "ok"

    def _shown(self, argument: Any) -> bytes:
        """A JSON argument as a word, for whoever watches; nothing is spent on it while nobody does."""
        return dumps(argument) if self._hooks.watchers else b"JSON"

    def _verb(self, members: dict[str, Any]) -> Command:
        method = members.get("method")
        if not isinstance(method, str):
            raise InvalidRequest("missing member 'method', a string such as \"lookup\"")
        if self._client.queued is not None:
            raise InvalidRequest("a JSON line cannot be part of a MULTI block; EXEC or DISCARD it first")
        row = commands.verbs.get(method) or commands.verbs.get(method.lower())
        if row is None:
            raise InvalidRequest(f"unknown method '{shorten(method.encode('utf-8', 'surrogatepass'))}'; try help")
        return row


def columns_reply(row: Command, table: Table, pipeline: Uniform, hooks: Hooks) -> Status | list[bytes | None] | None:
    """Execute a pipeline of the command `row`: one reply for all requests, or one for each.

    Returns None, having done nothing, if each request has to be run alone. Raises StorageFault.
    """
    if row.many is None or (row.writes and hooks.request_limit != Hooks.NO_LIMIT):
        return None
    try:
        return row.many(table, pipeline.columns, pipeline.raw if pipeline.name == row.wire_name else None)
    except RequestError:  # the disk is full: each request is told so
        return None


def _answers_json(request: list[bytes], row: Command | None) -> bool:
    """Whether the reply is a JSON line: a verb of our own, typed as words."""
    return isinstance(request, Words) and row is not None and bool(row.flags & VERB)
