"""What a request of a connection does: execute it, whole or not at all, and encode its reply.

Four ways, from the fastest to the most general; a test runs the same requests through all of them:

| way | what it takes |
|---|---|
| `run_many` | a pipeline of GETs, SETs or MSETs, which are done all at once, outside MULTI, while nobody watches |
| `run` | one RESP request for a plain row (reads or changes data, no more), outside MULTI, while nobody watches |
| `respond` | any one request: of any grammar, in MULTI, for MONITOR and the trace |
| `dispatch.answer` | what the others mean, without sessions; EXEC and the tests use it |

(`together` takes the requests of many clients as one pipeline, by `columns_reply` as `run_many` does.)

**A request that takes long is executed in slices**: its command returns a generator (see `base.reply.advance`). The
first slice is executed in the request's place, and with it is decided which commit the reply waits for; it is then,
too, that the request is counted, and shown to whoever watches, as it has its place in the order then. If there is more
to do, `run` and `respond` return None and leave an `Unfinished`, which is given to `respond` for each further slice.
A reply of many elements is encoded in slices, too.

**A reply has a limit**, `Server.max_reply_bytes`: past it the request is undone and answered with an error.

`needed` is what decides when replies may leave: the newest commit that a request executed so far has changed, or read
something of. Whoever delivers the replies sets it to 0 before.
"""

from __future__ import annotations

from collections.abc import Generator
from types import GeneratorType
from typing import Any, NamedTuple

from kvstore.base.errors import (
    ForeignProtocol,
    InvalidRequest,
    ProtocolError,
    ReplyTooLarge,
    RequestError,
    StorageFault,
    shorten,
)
from kvstore.base.jsontext import dumps
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.base.reply import NotNow, Reply, Status, advance
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.registry import IMMEDIATE, VERB, Command
from kvstore.commands.registry import table as commands
from kvstore.commands.row import Scope
from kvstore.commands.statistics import CommandStatistics
from kvstore.session.grammar import Grammar, has_many, in_json, in_resp, typed
from kvstore.session.hooks import Executed, Hooks
from kvstore.store.table import Table
from kvstore.wire import jsonlines, resp
from kvstore.wire.multibulk import Uniform
from kvstore.wire.parser import BadLine, JSONLine, Negotiation, Words
from kvstore.wire.pieces import Encoded

_INTERNAL_ERROR = RequestError("internal error; the request changed nothing, please report what the server's log says")

_NO_ROWS: dict[bytes, CommandStatistics] = {}


class Unfinished(NamedTuple):
    """A request that goes on in a next slice, to its encoded reply. `needed`: the commit that this waits for."""

    row: Command
    request: list[bytes]
    slices: Generator[None, None, Encoded]
    needed: int
    grammar: Grammar


class Execution:
    """See the module. A request after which the client is to be closed sets `closing` of the `Client`.

    `unfinished`: the request for which None was returned last, an `Unfinished` if it has begun.
    """

    __slots__ = (
        "_call", "_client", "_encode", "_hooks", "_limit_bytes", "_resp", "_statistics", "_steady_ns", "_store",
        "_table", "needed", "plain", "unfinished",
    )  # fmt: skip

    unfinished: Any

    def __init__(self, call: Call, hooks: Hooks) -> None:
        self._call = call
        self._client = call.client
        self._hooks = hooks
        self._store = call.store
        self._table = call.table
        self._limit_bytes = call.server.max_reply_bytes
        self._statistics = call.server.statistics
        self._steady_ns = call.server.steady_ns
        self._resp = in_resp(call.client, self._limit_bytes)
        self._encode = self._resp.encode
        self.plain = self._statistics.plain
        self.needed = 0

    def plain_rows(self) -> dict[bytes, CommandStatistics]:
        """The rows that `run` takes now, by name: none in a MULTI block, nor while somebody watches."""
        return self.plain if self._client.queued is None and not self._hooks.watchers else _NO_ROWS

    def run(self, statistics: CommandStatistics, request: list[bytes]) -> Encoded | None:
        """Execute one RESP request for one of the `plain_rows`, and count it; its time is for the caller to count.

        Returns the encoded reply; None if it is `unfinished`. Raises StorageFault.
        """
        row = statistics.row
        encoded: Encoded | None
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
            if reply.__class__ is bytes and (length := len(reply)) < LONG_STRING_BYTES:
                encoded = b"$%d\r\n%b\r\n" % (length, reply)
            elif reply.__class__ is Status:
                encoded = reply.wire
            elif reply.__class__ is int:
                encoded = b":%d\r\n" % reply
            else:
                if reply.__class__ is GeneratorType:
                    reply = advance(reply)
                encoded = None if self._takes_long(reply) else self._encode(reply)
            statistics.calls += 1
            pending = self._table.pending
            if pending.undo:
                pending.undo.clear()
                pending.requests += 1
                self.needed = pending.sequence
                if pending.requests >= self._hooks.request_limit or pending.size_bytes > self._hooks.size_limit:
                    self._hooks.commit_now()
            elif self.needed < pending.sequence and (pending.operations or self._store.in_flight is not None):
                self.needed = max(self.needed, self._commit_for(row, request))
            if encoded is None:
                self.unfinished = Unfinished(row, request, self._resp.to_the_end(reply), self.needed, self._resp)
            return encoded
        except RequestError as error:
            statistics.count_error(error, request)
            self._undo(row if row.accepts(len(request)) else None, request)
            return resp.encode_error(error)
        except NotNow:
            statistics.untimed += 1  # this was no call
            self.unfinished = request
            return None
        except StorageFault:
            raise
        except Exception:
            return self._bug(request, self._resp)

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """Execute a pipeline of one command. Returns the encoded replies, or None if each request has to be run alone.

        `budget_bytes`: for all replies together; past it, None; not more than one reply may have. Raises StorageFault.
        """
        statistics = self.plain_rows().get(pipeline.name)
        if statistics is None:
            return None
        row, began_ns = statistics.row, self._steady_ns()
        table = self._table
        looked_up = table.hits, table.misses
        reply = columns_reply(row, table, pipeline, self._hooks)
        if reply is None:
            return None
        encoded: bytes | None
        if isinstance(reply, Status):
            encoded = reply.wire * pipeline.length
        else:
            encoded = resp.encode_strings(reply, self._client.protocol, budget_bytes)
            if encoded is None:
                table.hits, table.misses = looked_up  # each request counts for itself
                return None
        statistics.calls += pipeline.length
        statistics.add_time(self._steady_ns() - began_ns, pipeline.length)
        self._client.last_command = row.name
        if row.writes:
            self._changed(pipeline.length)
            self._close_if_full()
        else:
            self.needed = max(self.needed, self._store.commit_for_keys(pipeline.columns[0]))
        return encoded

    def respond(self, request: Any) -> Encoded | None:
        """Execute one request of any grammar, in any state, or a slice of one that is unfinished.

        Returns the encoded reply; None if it is `unfinished`. Raises StorageFault.
        """
        if request.__class__ is Unfinished:
            return self._go_on(request)
        if isinstance(request, Negotiation):
            return bytes(request)
        if isinstance(request, ProtocolError):
            return self._refuse_stream(request)
        hooks = self._hooks
        requests = self._table.pending.requests
        before, self.needed = self.needed, 0
        started_ns = self._steady_ns()
        try:
            if isinstance(request, JSONLine):
                encoded, words, outcome = self._respond_json(request)
            elif isinstance(request, BadLine):
                encoded, words, outcome = self._refuse_line(request)
            else:
                encoded, words, outcome = self._words(request)
        except NotNow:
            self.needed = before
            self.unfinished = request
            return None
        commit = self.needed
        self.needed = max(before, commit)
        if hooks.watchers:
            hooks.watched += 1
            client = self._client
            executed = Executed(
                hooks.watched, client.identity, client.address, self._store.now_us(), started_ns, self._steady_ns(),
                words, outcome, commit,
            )  # fmt: skip
            for watcher in tuple(hooks.watchers):
                watcher(executed)
        # Only now: a commit lets waiting clients go on at once, and their requests come after this one.
        if requests < self._table.pending.requests:
            self._close_if_full()
        return encoded

    def _go_on(self, unfinished: Unfinished) -> Encoded | None:
        """Execute the next slice. It changes nothing, so there is nothing to undo. Returns as `respond`."""
        row, request, slices, needed, grammar = unfinished
        statistics, began_ns = self._statistics[row], self._steady_ns()
        self.needed = max(self.needed, needed)
        try:
            encoded = advance(slices)
            statistics.add_time(self._steady_ns() - began_ns, 0)
            if encoded is not slices:
                return encoded  # type: ignore[no-any-return]
            self.unfinished = unfinished
            return None
        except RequestError as error:
            statistics.failed += 1
            self._call.server.errors += 1
            return grammar.encode_error(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(request, grammar)

    def _takes_long(self, reply: Reply) -> bool:
        """Whether there is more to do, in slices. Not for a change: it is undone if its reply turns out too large."""
        return reply.__class__ is GeneratorType or (has_many(reply) and not self._table.pending.undo)

    def _answer(self, row: Command, request: list[bytes], reply: Reply, grammar: Grammar) -> Encoded | None:
        """The encoded reply to a request that was executed, by `dispatch.run`. Returns as `respond`."""
        encoded = None
        if not self._takes_long(reply):
            try:
                encoded = grammar.encode(reply)
            except ReplyTooLarge:
                self._statistics[row].failed += 1
                raise
        self.needed = max(self.needed, self._commit_for(row, request))
        if self._table.pending.undo:
            self._changed(1)
        if encoded is None:
            self.unfinished = Unfinished(row, request, grammar.to_the_end(reply), self.needed, grammar)
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

    def _bug(self, request: list[bytes], grammar: Grammar) -> bytes:
        """An exception nobody meant: undo, report, answer, and close the connection."""
        self._undo(None, [])
        self.needed = max(self.needed, self._store.commit_for_table())
        self._hooks.report_bug(f"bug in {shorten(request[0])!r}; client {self._client.address} is disconnected")
        self._client.closing = True
        return grammar.encode_error(_INTERNAL_ERROR)

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

    def _words(self, request: list[bytes]) -> tuple[Encoded | None, list[bytes], str]:
        """Execute a RESP or inline request. Returns what `respond` does, the request's words and the outcome."""
        call, client = self._call, self._client
        grammar = typed(self._limit_bytes) if request.__class__ is Words and _is_verb(request[0]) else self._resp
        found: Command | None = None
        row: Command | None = None
        try:
            found = commands.find_typed(request) if isinstance(request, Words) else commands.find(request)
            client.last_command = found.name
            dispatch.check_arity(call, found, request)
            row = found
            if client.queued is not None and not row.flags & IMMEDIATE:
                return self._encode(dispatch.queue(call, row, request)), request, "ok"
            reply = dispatch.run(call, row, request, None, advance)
            return self._answer(row, request, reply, grammar), request, "ok"
        except RequestError as error:
            self._undo(row, request)
            if row is None:  # there is no such command, or the number of words is wrong
                error = dispatch.refused(call, found, error)
            return grammar.encode_error(error), request, str(error)
        except (StorageFault, NotNow):
            raise
        except Exception:
            return self._bug(request, grammar), request, "bug"

    def _refuse_line(self, line: BadLine) -> tuple[bytes, list[bytes], str]:
        """Answer a line that is no request, in the grammar that it began in. Returns as `_words`."""
        self._call.server.errors += 1
        self._client.poisoned = self._client.queued is not None
        encode_error = jsonlines.encode_error if not line.verb or _is_verb(line.verb) else resp.encode_error
        return encode_error(InvalidRequest(line.reason)), [line.verb or b"{..."], line.reason

    def _refuse_stream(self, error: ProtocolError) -> bytes:
        """Answer bytes that make no sense, and execute nothing more of this client."""
        self._client.closing = True
        if isinstance(error, ForeignProtocol):
            self._hooks.report_foreign(self._client.address, error)
        return resp.encode_error(error)

    def _respond_json(self, line: JSONLine) -> tuple[Encoded | None, list[bytes], str]:
        """Execute a JSON line. Returns as `_words`."""
        members = line.members
        grammar = in_json(members.get("id", jsonlines.ABSENT), self._limit_bytes)
        words = [str(members.get("method")).encode("utf-8", "replace")]
        row: Command | None = None
        try:
            row = self._verb(members)
            self._client.last_command = row.name
            arguments = self._arguments(row, members)
            words += [a if isinstance(a, bytes) else self._shown(a) for a in arguments]
            reply = dispatch.run(self._call, row, words, arguments, advance)
            return self._answer(row, words, reply, grammar), words, "ok"
        except RequestError as error:
            self._undo(row, words)
            self._client.poisoned = self._client.queued is not None
            return grammar.encode_error(error), words, str(error)
        except (StorageFault, NotNow):
            raise
        except Exception:
            return self._bug(words, grammar), words, "bug"

    def _arguments(self, row: Command, members: dict[str, Any]) -> list[Any]:
        try:
            return row.arguments_from_members(members)
        except InvalidRequest:
            self._statistics[row].rejected += 1
            raise

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


def _is_verb(name: bytes) -> bool:
    """Whether that is one of the verbs of our own, which are answered with JSON lines, also when typed as words."""
    row = commands.by_name.get(name.upper())
    return row is not None and bool(row.flags & VERB)


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
