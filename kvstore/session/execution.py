"""What a request of a connection does: it is executed in its place, and its reply encoded.

Three ways; a test runs the same requests through all of them:

| way | what it takes |
|---|---|
| `respond` | any request: of any grammar, in MULTI, for MONITOR and the trace; it goes through `commands.dispatch` |
| `run` | one RESP request for a plain row (of data, or that tells others), outside MULTI, while nobody watches |
| `run_many` | a pipeline of one command that can be done all at once, of such requests: see `columns` |

Of a client that may not do everything `respond` gives `run` what is let at a glance, and nothing is done by `run_many`.

`run` is `dispatch.execute` opened out for speed, and must mean the same. (`together` takes the requests of many clients
as one pipeline.)

**A request that takes long is executed in slices**: its command returns a generator (see `base.reply.advance`). The
first slice is executed in the request's place, and with it is decided which commit the reply waits for; it is then,
too, that the request is counted, and shown to whoever watches, as it has its place in the order then. If there is more
to do, `run` and `respond` return None and leave an `Unfinished`, which is given to `respond` for each further slice.
A reply of many elements is encoded in slices, too. A request that waits for what others do leaves a `Blocked`; one that
may not begin before a pause ends a `Postponed`.

**A reply has a limit**, `Server.max_reply_bytes`: past it the request is undone and answered with an error.

`needed` is what decides when replies may leave: the newest commit that a request executed so far has changed, or read
something of. Whoever delivers the replies sets it before, to that of the replies that this client waits for already.
"""

from __future__ import annotations

from types import GeneratorType
from typing import Any

from kvstore.base.errors import ForeignProtocol, InvalidRequest, ProtocolError, RequestError, StorageFault, shorten
from kvstore.base.jsontext import dumps
from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.base.reply import NotNow, Numbers, Paused, Status, Wait, advance
from kvstore.commands import admission, dispatch
from kvstore.commands.context import Call
from kvstore.commands.dispatch import Blocked, Outcome, Postponed, Unfinished
from kvstore.commands.gate import check_authenticated
from kvstore.commands.registry import VERB, Command
from kvstore.commands.registry import table as commands
from kvstore.commands.statistics import NO_ROWS, CommandStatistics
from kvstore.session import columns
from kvstore.session.grammar import Json, Resp, Typed
from kvstore.session.hooks import Executed, Hooks
from kvstore.wire import jsonlines, resp
from kvstore.wire.multibulk import Uniform
from kvstore.wire.parser import BadLine, JSONLine, Negotiation, Words
from kvstore.wire.pieces import UNLIMITED_BYTES, Encoded, Pieces

#: Not a reply yet.
_LATER = (Unfinished, Blocked)


class Execution:
    """See the module. A request after which the client is to be closed sets `closing` of the `Client`.

    `unfinished`: the request for which None was returned last: `Unfinished` if it has begun, `Blocked` if it waits,
    `Postponed` if a pause has to end first.
    """

    __slots__ = (
        "_call", "_client", "_clock", "_hooks", "_limit_bytes", "_messages", "_pending", "_places", "_resp",
        "_steady_ns", "_store", "needed", "unfinished",
    )  # fmt: skip

    unfinished: Any

    def __init__(self, call: Call, hooks: Hooks) -> None:
        self._call = call
        self._client = call.client
        self._hooks = hooks
        self._store = call.store
        self._pending = call.store.pending
        self._clock = call.store.clock
        self._steady_ns = call.server.steady_ns
        self.limit_replies()
        self._places = call.server.waiting.places
        self._messages = call.server.messages
        self.needed = 0

    def limit_replies(self) -> None:
        """The server's limit is what it is now."""
        self._limit_bytes = self._call.server.max_reply_bytes
        self._resp = Resp(self._call.client, self._limit_bytes)

    def plain_rows(self) -> dict[bytes, CommandStatistics]:
        """The rows that `run` takes now, by name: none in a MULTI block, nor while the client only listens, or
        somebody watches.
        """
        client = self._client
        if client.queued is not None or client.only_listens or self._hooks.watchers:
            return NO_ROWS
        return client.plain

    def run(self, statistics: CommandStatistics, request: list[bytes]) -> Encoded | None:
        """Execute one RESP request for one of the `plain_rows`, and count it; its time is for the caller to count.

        Returns the encoded reply; None if it is `unfinished`. Raises StorageFault.
        """
        row, pending = statistics.row, self._pending
        self._clock.shown_ms = None  # `go_on`
        encoded: Any
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
                reply = advance(reply)
                if reply.__class__ is Wait:
                    encoded = Blocked(self._call, row, request, reply, self._resp)
                else:
                    encoded = self._resp.begin(reply, in_slices=not pending.undo)
            statistics.calls += 1
            if pending.undo:
                pending.undo.clear()
                pending.requests += 1
                self.needed = pending.sequence
                if self._places or self._messages:
                    self._serve()
                if pending.requests >= self._hooks.request_limit or pending.size_bytes > self._hooks.size_limit:
                    self._hooks.commit_now()
            elif self.needed < pending.sequence and (pending.operations or self._store.in_flight is not None):
                self.needed = max(self.needed, dispatch.commit_for(self._call, row, request))
            if self._messages:  # of what changed nothing
                self._call.server.send_messages(self.needed, self._client)
            if encoded.__class__ is bytes:
                return encoded
            if encoded.__class__ is GeneratorType:
                encoded = Unfinished(row, request, encoded, self.needed, self._resp)
                statistics.goes_on()
            if encoded.__class__ in _LATER:
                self.unfinished = encoded
                return None
            self._call.server.command_log.replied(self._client, request, len(encoded))
            return encoded  # type: ignore[no-any-return]
        except RequestError as error:
            statistics.count_error(error, request)
            self._messages.clear()
            if not row.accepts(len(request)):
                return self._take(dispatch.refuse(self._call, row, error, self._resp))
            return self._take(dispatch.fail(self._call, row, request, error, self._resp))
        except NotNow:
            statistics.untimed += 1  # this was no call
            self._messages.clear()
            pending.take_back()
            self.unfinished = request
            return None
        except StorageFault:
            raise
        except Exception:
            self._messages.clear()
            return self._take(dispatch.report_bug(self._call, request, self._resp))

    def run_many(self, pipeline: Uniform, budget_bytes: int) -> bytes | None:
        """Execute a pipeline of one command. Returns the encoded replies, or None if each request has to be run alone.

        `budget_bytes`: for all replies together; past it, None; not more than one reply may have. Raises StorageFault.
        """
        statistics = self.plain_rows().get(pipeline.name)
        if statistics is None:
            return None
        client = self._client
        most_bytes = min(budget_bytes, self._call.server.command_log.reply_bytes)  # so that none of them is noted
        limit_bytes = UNLIMITED_BYTES if statistics.row.writes else most_bytes
        reply = columns.execute(
            self._call, statistics, pipeline, self._hooks,
            lambda replies: resp.encode_strings(replies, client.protocol, limit_bytes),
        )  # fmt: skip
        if reply is None:
            return None
        client.last_command = statistics.row.name
        if statistics.row.writes:
            self.needed = max(self.needed, self._store.commit_for_table())
            self._close_if_full()
        else:
            self.needed = max(self.needed, self._call.table.commit_for_keys(pipeline.columns[0]))
        if isinstance(reply, Status):
            return reply.wire * pipeline.length
        return resp.encode_numbers(reply) if isinstance(reply, Numbers) else reply

    def respond(self, request: Any) -> Encoded | None:
        """Execute one request of any grammar, in any state, or a slice of one that is unfinished.

        Returns the encoded reply; None if it is `unfinished`. Raises StorageFault.
        """
        if self._client.rights is not None and (statistics := self._let_at_a_glance(request)) is not None:
            return self._run_timed(statistics, request)
        if request.__class__ is Unfinished:
            return self._take(dispatch.go_on(self._call, request))
        if request.__class__ is Negotiation:
            return bytes(request)
        if isinstance(request, ProtocolError):
            return self._refuse_stream(request)
        requests, database = self._pending.requests, self._client.database
        started_ns = self._steady_ns() if self._hooks.watchers else 0
        try:
            if request.__class__ is JSONLine:
                outcome, words = self._execute_json(request)
            elif isinstance(request, BadLine):
                outcome, words = self._refuse_line(request)
            else:
                outcome, words = self._execute_words(request), request
        except Paused:
            self.unfinished = Postponed(request)
            return None
        except NotNow:
            self.unfinished = request
            return None
        if self._hooks.watchers:
            self._show(database, words, started_ns, outcome)
        if outcome.reply.__class__ is Pieces and words[0].upper() != b"EXEC":
            self._call.server.command_log.replied(self._client, words, len(outcome.reply))
        # Only now: a commit lets waiting clients go on at once, and their requests come after this one.
        if requests < self._pending.requests:
            self._close_if_full()
        return self._take(outcome)

    def _let_at_a_glance(self, request: Any) -> CommandStatistics | None:
        """Of a request that `run` may take although its client may not do everything: of its command."""
        client = self._client
        if request.__class__ is not list or client.unanswered or client.tracking or client.is_barred:
            return None
        if client.rights is None or client.queued is not None or client.only_listens or self._hooks.watchers:
            return None
        statistics = self._call.server.statistics.plain.get(request[0])
        if statistics is None or not client.rights.let_at_a_glance(statistics.row, request):
            return None
        return statistics

    def _run_timed(self, statistics: CommandStatistics, request: list[bytes]) -> Encoded | None:
        """`run`, counted wholly."""
        self._client.last_command = statistics.row.name
        began_ns = self._steady_ns()
        encoded = self.run(statistics, request)
        if statistics.untimed:
            statistics.untimed -= 1
        elif encoded is not None or self.unfinished.__class__ is Blocked:
            statistics.add_time(self._steady_ns() - began_ns)
        return encoded

    def _take(self, outcome: Outcome) -> Encoded | None:
        """Returns as `respond`."""
        self.needed = max(self.needed, outcome.needed)
        if self._messages:
            self._call.server.send_messages(self.needed, self._client)
        if outcome.reply.__class__ in _LATER:
            self.unfinished = outcome.reply
            return None
        self.done()
        return outcome.reply  # type: ignore[no-any-return]

    def done(self) -> None:
        """A request is done: of the replies that are not to be sent, its was one."""
        client = self._client
        if client.unanswered:
            client.unanswered -= 1
        client.use(self._call.server.statistics.plain)

    def _serve(self) -> None:
        """What a request tells others leaves; what it has brought is for those who wait for it."""
        if self._messages:
            self._call.server.send_messages(self.needed, self._client)
        self._call.server.waiting.serve()

    def _show(self, database: int, words: list[bytes], started_ns: int, outcome: Outcome) -> None:
        """Show a request that was executed to whoever watches."""
        hooks, client = self._hooks, self._client
        hooks.watched += 1
        executed = Executed(
            hooks.watched, client.identity, database, client.address, self._store.now_us(), started_ns,
            self._steady_ns(), words, outcome.text, outcome.needed, outcome.has_begun,
            -1 if outcome.reply.__class__ in _LATER else len(outcome.reply),
        )  # fmt: skip
        for watcher in tuple(hooks.watchers):
            watcher(executed)

    def _close_if_full(self) -> None:
        pending, hooks = self._pending, self._hooks
        if pending.requests >= hooks.request_limit or pending.size_bytes > hooks.size_limit:
            hooks.commit_now()

    def _execute_words(self, request: list[bytes]) -> Outcome:
        """Execute a RESP or inline request."""
        is_typed = isinstance(request, Words)
        grammar = Typed(self._limit_bytes) if is_typed and _is_verb(request[0]) else self._resp
        return dispatch.answer(self._call, request, grammar, typed=is_typed)

    def _refuse_line(self, line: BadLine) -> tuple[Outcome, list[bytes]]:
        """Answer a line that is no request, in the grammar that it began in. Returns also what to show for it."""
        grammar = Typed(self._limit_bytes) if not line.verb or _is_verb(line.verb) else self._resp
        outcome = dispatch.refuse(self._call, None, InvalidRequest(line.reason), grammar)
        return outcome, [line.verb or b"{..."]

    def _refuse_stream(self, error: ProtocolError) -> bytes:
        """Answer bytes that make no sense, and execute nothing more of this client."""
        self._client.closing = True
        if isinstance(error, ForeignProtocol):
            self._hooks.report_foreign(self._client.address, error)
        return resp.encode_error(error)

    def _execute_json(self, line: JSONLine) -> tuple[Outcome, list[bytes]]:
        """Execute a JSON line. Returns also its words."""
        members = line.members
        grammar = Json(self._limit_bytes, members.get("id", jsonlines.ABSENT))
        words = [str(members.get("method")).encode("utf-8", "replace")]
        try:
            row = self._verb(members)
            self._client.last_command = row.name
            arguments = self._arguments(row, members)
            words += [a if isinstance(a, bytes) else self._shown(a) for a in arguments]
            if self._client.rights is not None:
                admission.check_rights(self._call, row, words)
            if self._call.server.group is not None:
                admission.check_place(self._call, row, words)
        except RequestError as error:
            return dispatch.refuse(self._call, None, error, grammar), words
        return dispatch.execute(self._call, row, words, grammar, arguments), words

    def _arguments(self, row: Command, members: dict[str, Any]) -> list[Any]:
        try:
            return row.arguments_from_members(members)
        except InvalidRequest:
            self._call.server.statistics[row].rejected += 1
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
        row = commands.methods.get(method) or commands.methods.get(method.lower())
        if row is None:
            check_authenticated(self._client, None)
            raise InvalidRequest(f"unknown method '{shorten(method.encode('utf-8', 'surrogatepass'))}'; try help")
        check_authenticated(self._client, row)
        admission.check_subscribed(self._call, row)
        return row


def _is_verb(name: bytes) -> bool:
    """Whether that is one of the verbs of our own, which are answered with JSON lines, also when typed as words."""
    row = commands.by_name.get(name.upper())
    return row is not None and bool(row.flags & VERB)
