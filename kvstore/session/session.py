"""One client's connection without its I/O: bytes in; replies out, in order, none before the commit it waits for.

    receive(data)    parse, execute, keep the replies
    run(budget)      go on with requests that had to wait for room
    take_ready()     the replies that may leave now
    release(n)       commit n is settled: what waited for it may leave

Each batch of replies (what one `receive` executed) waits for the newest commit that any of its requests changed, or
read something of; and for every batch before it. A request that touches no pending change waits for nothing.

A batch ends early when its replies pass the budget; the requests left over are the backlog, and the edge reads no more
from this client until it is done.

The loop in `_execute` is the hottest of the server: RESP requests outside MULTI, when nobody watches. Everything
else, the other grammars, MULTI, MONITOR and the trace, takes `_respond`, one request at a time, with the same
meaning. A test runs the same requests through both.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kvstore.base.errors import InvalidRequest, ProtocolError, RequestError, StorageFault
from kvstore.base.jsontext import dumps
from kvstore.base.reply import QUEUED, Reply
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.registry import IMMEDIATE, VERB, Command, Scope, shorten
from kvstore.commands.registry import table as commands
from kvstore.wire import jsonlines, resp
from kvstore.wire.parser import BadJSONLine, JSONLine, RequestParser, Words

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
    """What a session tells the edge; shared by all sessions of a server.

    `watchers`: called with each `Executed` request; while there are none, nothing is gathered. `commit_now`: called
    when the open commit holds `request_limit` write requests. `report_bug`: called inside the `except` of an
    unexpected error. `monitor`: called with the number of a client that is in MONITOR. `watched`: requests shown to
    watchers so far.
    """

    def __init__(self) -> None:
        self.watchers: list[Callable[[Executed], None]] = []
        self.request_limit = 2**62
        self.commit_now: Callable[[], None] = lambda: None
        self.report_bug: Callable[[str], None] = lambda text: None
        self.monitor: Callable[[int], None] = lambda identity: None
        self.watched = 0


class Session:
    """See the module. `budget_bytes`: replies after which a batch ends early."""

    def __init__(self, call: Call, parser: RequestParser, hooks: Hooks, budget_bytes: int) -> None:
        self._call = call
        self._parser = parser
        self._hooks = hooks
        self._budget_bytes = budget_bytes
        self._backlog: deque[Any] = deque()
        self._ready: list[bytes] = []
        self._held: deque[tuple[int, bytes]] = deque()
        self.held_bytes = 0
        self._needed = 0  # newest commit that the batch being executed waits for
        self.closing = False  # no more requests; close when all replies have left

    @property
    def unread_bytes(self) -> int:
        """Bytes of a request that is not complete yet."""
        return self._parser.unread_bytes

    @property
    def unfinished_bytes(self) -> int:
        """About the bytes of memory of what the client began and did not end: a request, a MULTI block."""
        return self._parser.memory_bytes + self._call.client.queued_bytes

    @property
    def has_backlog(self) -> bool:
        """Whether requests wait for room for their replies."""
        return bool(self._backlog)

    @property
    def waits_for(self) -> int:
        """The next commit that a held reply waits for, 0 for none."""
        return self._held[0][0] if self._held else 0

    def receive(self, data: bytes) -> None:
        """Take in bytes from the client and execute the requests they complete. Raises StorageFault."""
        if self.closing:
            return
        requests = self._parser.feed(data)
        if self._backlog:
            self._backlog.extend(requests)
        elif requests:
            self._batch(requests, self._budget_bytes)
        else:  # part of a request: the client is slow, not idle
            self._call.client.last_request_ms = self._call.server.now_ms()

    def run(self, budget_bytes: int) -> None:
        """Execute the backlog until its replies pass `budget_bytes`. Raises StorageFault."""
        backlog, self._backlog = self._backlog, deque()
        self._batch(backlog, budget_bytes)

    def take_ready(self) -> bytes:
        """The replies that may leave now, which are then the caller's to send."""
        ready = self._ready
        if not ready:
            return b""
        data = ready[0] if len(ready) == 1 else b"".join(ready)
        ready.clear()
        return data

    def release(self, sequence: int) -> None:
        """Commits up to `sequence` are settled: make ready what waited for them."""
        held = self._held
        while held and held[0][0] <= sequence:
            data = held.popleft()[1]
            self.held_bytes -= len(data)
            self._ready.append(data)

    def push(self, data: bytes) -> None:
        """Send something unasked (MONITOR), behind the replies so far."""
        self._deliver(data, 0)

    def refuse_rest(self, text: str) -> None:
        """Take no more from this client: forget what it began, tell it why behind the replies so far, and close."""
        error = RequestError(text)
        in_json_line = self._parser.in_json_line
        self.closing = True
        self._parser.abandon()
        self._backlog.clear()
        dispatch.release(self._call)
        self._deliver(jsonlines.encode_error(error) if in_json_line else resp.encode_error(error), 0)

    def disconnected(self) -> None:
        """The client is gone: let go of everything it held on to."""
        self.closing = True
        self._backlog.clear()
        self._held.clear()
        self._ready.clear()
        dispatch.release(self._call)

    def _batch(self, requests: Iterable[Any], budget_bytes: int) -> None:
        call = self._call
        self._needed = 0
        out: list[bytes] = []
        remaining = iter(requests)
        try:
            self._execute(remaining, out, budget_bytes)
        finally:
            self._deliver(b"".join(out), self._needed)
        if call.client.closing:
            self.closing = True
        elif not self.closing:
            self._backlog.extend(remaining)
        call.server.requests_executed += len(out)
        call.client.last_request_ms = call.server.now_ms()
        if call.client.monitoring:
            self._hooks.monitor(call.client.identity)

    def _deliver(self, data: bytes, needed: int) -> None:
        """Keep a batch of replies until it may leave: when commit `needed`, and all batches before, are settled."""
        if not data:
            return
        if self._held:
            needed = max(needed, self._held[-1][0])
        elif not needed or needed <= self._call.store.settled_sequence():
            self._ready.append(data)
            return
        self._held.append((needed, data))
        self.held_bytes += len(data)

    def _execute(self, requests: Iterator[Any], out: list[bytes], budget_bytes: int) -> None:
        """Execute requests until there are none, the client is to be closed, or the replies pass the budget."""
        call = self._call
        client, store, table = call.client, call.store, call.table
        plain = self._plain_rows()
        encode = resp.encode2 if client.protocol == 2 else resp.encode3
        append = out.append
        request_limit = self._hooks.request_limit
        wrote = False
        row: Command | None = None
        for request in requests:
            row = plain.get(request[0]) if request.__class__ is list else None
            if row is None:
                encoded = self._respond(request)
                if client.closing or self.closing:
                    append(encoded)
                    break
                plain = self._plain_rows()
                encode = resp.encode2 if client.protocol == 2 else resp.encode3
            else:
                try:
                    words = len(request)
                    if words == 2 and row.takes_one_word:
                        encoded = encode(row.function(call, request[1]))
                    elif words == 3 and row.takes_two_words:
                        encoded = encode(row.function(call, request[1], request[2]))
                    elif row.convert is None and row.least <= words <= row.most:
                        encoded = encode(row.function(call, *request[1:]))
                    else:
                        encoded = encode(row.function(call, *row.arguments(request)))
                    row.calls += 1
                    pending = table.pending
                    if pending.undo:
                        pending.undo.clear()
                        pending.requests += 1
                        wrote = True
                        if pending.requests >= request_limit:
                            self._hooks.commit_now()
                    elif pending.operations or store.in_flight is not None:
                        self._needed = max(self._needed, self._commit_for(row, request))
                except RequestError as error:
                    encoded = self._failed(error, row, request)
                except StorageFault:
                    raise
                except Exception:
                    append(self._bug(request))
                    break
            append(encoded)
            budget_bytes -= len(encoded)
            if budget_bytes < 0:
                break
        if row is not None:
            client.last_command = row.name
        if wrote:
            self._needed = max(self._needed, store.commit_for_table())

    def _plain_rows(self) -> dict[bytes, Command]:
        """The rows that the loop may run itself: none in a MULTI block, nor while somebody watches."""
        return commands.plain if self._call.client.queued is None and not self._hooks.watchers else _NO_ROWS

    def _encode(self, reply: Reply) -> bytes:
        return resp.encode2(reply) if self._call.client.protocol == 2 else resp.encode3(reply)

    def _changed(self) -> None:
        """The request that just executed changed something: it is whole now, and counts."""
        pending = self._call.table.pending
        pending.undo.clear()
        pending.requests += 1

    def _failed(self, error: RequestError, row: Command, request: list[bytes]) -> bytes:
        self._undo(row, request)
        return resp.encode_error(error)

    def _undo(self, row: Command | None, request: list[bytes]) -> None:
        """Undo what the request changed before it failed. What the failure tells of may still be pending."""
        call = self._call
        call.server.errors += 1
        if call.table.pending.undo:
            call.table.undo_request()
        if row is not None:
            self._needed = max(self._needed, self._commit_for(row, request))

    def _bug(self, request: Any) -> bytes:
        """An exception nobody meant: undo, report, answer, and close the connection."""
        self._undo(None, [])
        self._needed = max(self._needed, self._call.store.commit_for_table())
        words = request if isinstance(request, list) else [b"JSON line"]
        self._hooks.report_bug(f"bug in {shorten(words[0])!r}; client {self._call.client.address} is disconnected")
        self.closing = True
        if isinstance(request, JSONLine):
            return jsonlines.encode_error(_INTERNAL_ERROR, request.members.get("id", jsonlines.ABSENT))
        if _answers_json(words, commands.by_name.get(words[0].upper())):
            return jsonlines.encode_error(_INTERNAL_ERROR)
        return resp.encode_error(_INTERNAL_ERROR)

    def _commit_for(self, row: Command, request: list[bytes]) -> int:
        """The newest unsettled commit that the reply to a request tells of."""
        if row.scope is Scope.NOTHING:
            return 0
        store = self._call.store
        if row.scope is Scope.TABLE:
            return store.commit_for_table()
        return max(map(store.commit_for_key, row.keys_of(request)), default=0)

    # One request of any kind

    def _respond(self, request: Any) -> bytes:
        """Execute one request of any grammar, in any state; returns its encoded reply. Raises StorageFault."""
        if isinstance(request, ProtocolError):
            self.closing = True
            return resp.encode_error(request)
        hooks = self._hooks
        requests = self._call.table.pending.requests
        before = self._needed
        self._needed = 0
        started_ns = time.perf_counter_ns()
        if isinstance(request, JSONLine):
            encoded, words, outcome = self._respond_json(request)
        elif isinstance(request, BadJSONLine):
            encoded, words, outcome = self._refuse_line(request)
        else:
            encoded, words, outcome = self._words(request)
        commit = self._needed
        self._needed = max(before, commit)
        if hooks.watchers:
            hooks.watched += 1
            client = self._call.client
            executed = Executed(
                hooks.watched, client.identity, client.address, self._call.store.now_us(), started_ns,
                time.perf_counter_ns(), words, outcome, commit,
            )  # fmt: skip
            for watcher in tuple(hooks.watchers):
                watcher(executed)
        # Only now: a commit lets waiting clients go on at once, and their requests come after this one.
        if requests < self._call.table.pending.requests >= hooks.request_limit:
            hooks.commit_now()
        return encoded

    def _words(self, request: list[bytes]) -> tuple[bytes, list[bytes], str]:
        """Execute a RESP or inline request. Returns the encoded reply, the request's words and the outcome."""
        call = self._call
        client = call.client
        row: Command | None = None
        refused = True  # until it is known that there is such a command, and that the number of words is right
        try:
            row = commands.find(request)
            client.last_command = row.name
            row.check_arity(request)
            refused = False
            if client.queued is not None and not row.flags & IMMEDIATE:
                reply = dispatch.queue(call, row, request)
            else:
                reply = dispatch.run(call, row, request)
                self._needed = max(self._needed, self._commit_for(row, request))
            encoded = (
                jsonlines.encode(reply) if _answers_json(request, row) and reply is not QUEUED else self._encode(reply)
            )
        except RequestError as error:
            self._undo(row, request)
            if refused:
                client.poisoned = client.queued is not None
            encode_error = jsonlines.encode_error if _answers_json(request, row) else resp.encode_error
            return encode_error(error), request, str(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(request), request, "bug"
        if call.table.pending.undo:
            self._changed()
        return encoded, request, "ok"

    def _refuse_line(self, line: BadJSONLine) -> tuple[bytes, list[bytes], str]:
        """Answer a line that is no JSON object. Returns as `_words`."""
        self._call.server.errors += 1
        self._call.client.poisoned = self._call.client.queued is not None
        return jsonlines.encode_error(line.reason), [b"{..."], line.reason

    def _respond_json(self, line: JSONLine) -> tuple[bytes, list[bytes], str]:
        """Execute a JSON line. Returns the encoded reply, the request as words, and the outcome."""
        call = self._call
        members = line.members
        identity = members.get("id", jsonlines.ABSENT)
        words = [str(members.get("method")).encode("utf-8", "replace")]
        row: Command | None = None
        try:
            row = self._verb(members)
            call.client.last_command = row.name
            arguments = row.arguments_from_members(members)
            words += [a if isinstance(a, bytes) else self._shown(a) for a in arguments]
            reply = row.function(call, *arguments)
            row.calls += 1
            self._needed = max(self._needed, self._commit_for(row, words))
            encoded = jsonlines.encode(reply, identity)
        except RequestError as error:
            self._undo(row, words)
            call.client.poisoned = call.client.queued is not None
            return jsonlines.encode_error(error, identity), words, str(error)
        except StorageFault:
            raise
        except Exception:
            return self._bug(line), words, "bug"
        if call.table.pending.undo:
            self._changed()
        return encoded, words, "ok"

    def _shown(self, argument: Any) -> bytes:
        """A JSON argument as a word, for whoever watches; nothing is spent on it while nobody does."""
        return dumps(argument) if self._hooks.watchers else b"JSON"

    def _verb(self, members: dict[str, Any]) -> Command:
        method = members.get("method")
        if not isinstance(method, str):
            raise InvalidRequest("missing member 'method', a string such as \"lookup\"")
        if self._call.client.queued is not None:
            raise InvalidRequest("a JSON line cannot be part of a MULTI block; EXEC or DISCARD it first")
        row = commands.verbs.get(method) or commands.verbs.get(method.lower())
        if row is None:
            raise InvalidRequest(f"unknown method '{shorten(method.encode('utf-8', 'surrogatepass'))}'; try help")
        return row


def _answers_json(request: list[bytes], row: Command | None) -> bool:
    """Whether the reply is a JSON line: a verb of our own, typed as words."""
    return isinstance(request, Words) and row is not None and bool(row.flags & VERB)
