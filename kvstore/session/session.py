"""One connection without its I/O: bytes in; replies out, in order, none before the commit it waits for.

    receive(data)    parse, execute, keep the replies
    run(budget)      go on with requests that had to wait for room
    take_ready()     the replies that may leave now
    release(n)       commit n is settled: what waited for it may leave

Each batch of replies (what one `receive` executed) waits for the newest commit that any of its requests changed, or
read something of; and for every batch before it. A request that touches no pending change waits for nothing.

A batch ends early when its replies pass the budget, when it has taken its client's share of time (`Hooks.share_ns`), or
at a request that goes on in a next slice (see `Execution`), which no later one may overtake. What is left over is the
backlog, the unfinished request at its head; the edge reads no more from this client until it is done. One that waits
for what others do, the end of a pause among that, stands there too, and meanwhile what is read is put behind it.

What a request does, and which commit its reply waits for, is `Execution`'s knowledge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kvstore.base.errors import RequestError
from kvstore.base.limits import KIB, LARGE_BYTES
from kvstore.base.reply import Reply
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.dispatch import Blocked, Outcome, Postponed, Unfinished
from kvstore.commands.noted_requests import request_bytes
from kvstore.commands.registry import Command
from kvstore.commands.statistics import CommandStatistics
from kvstore.session.execution import Execution
from kvstore.session.hooks import Hooks
from kvstore.wire import jsonlines, resp
from kvstore.wire.multibulk import SHORTEST_PIPELINE_BYTES, Uniform
from kvstore.wire.parser import BOUNDARY, JSONLine, Request, RequestParser
from kvstore.wire.pieces import Encoded, joined
from kvstore.wire.words import Words

#: Of a chunk with many requests so many bytes are parsed and executed at once: about half a millisecond's work.
PART_BYTES = 8 * KIB
#: So many lines are many requests: a GET has five, a SET seven.
_MANY_LINES = 1024
#: Where a request in RESP ends and the next one begins, most likely.
_NEXT = b"\r\n*"


class Unread(NamedTuple):
    """Bytes from a client that were not looked at yet: they stand at the end of the backlog."""

    data: bytes

    def parted(self, *, is_whole: bool) -> tuple[bytes, Unread | None]:
        """The next part, and what is left. It ends where a request seems to, so that the one after it can be taken for
        a pipeline of one command; if the first request is not whole, its end is a part.
        """
        data = self.data
        if not is_whole and (end := data.find(_NEXT, 0, PART_BYTES)) >= 0:
            length = end + 2
        elif len(data) <= PART_BYTES:
            length = len(data)
        elif (end := data.rfind(_NEXT, 0, PART_BYTES)) >= 0:
            length = end + 2
        else:
            length = PART_BYTES
        rest = data[length:]
        return data[:length], Unread(rest) if rest else None


class Session:
    """See the module. `budget_bytes`: replies after which a batch ends early.

    `backlog`: requests that wait for room for their replies, for time, or behind one that waits for what others do; in
    the last case `backlog_bytes` is what they take. `until_ns`: when the share of time ends that
    this client has now. `ready`: replies that may leave now. `waits_for`: the next commit that replies kept here wait
    for, 0 if there are none; `held_bytes`: of all such replies. `closing`: no more requests are taken; to be closed
    when all replies have left.
    """

    __slots__ = (
        "_batch_out", "_budget_bytes", "_execution", "_feed", "_held", "_hooks", "_parser", "_server",
        "_steady_ns", "_store", "_told", "backlog", "backlog_bytes", "call", "client", "closing", "held_bytes",
        "is_running", "ready", "until_ns", "waits_for",
    )  # fmt: skip

    #: What executes its requests.
    make_execution: type[Execution] = Execution

    def __init__(self, call: Call, parser: RequestParser, hooks: Hooks, budget_bytes: int) -> None:
        self.call = call
        self.client = call.client
        self._server = call.server
        self._steady_ns = call.server.steady_ns
        self._store = call.store
        self._parser = parser
        self._hooks = hooks
        self._execution = self.make_execution(call, hooks)
        self._budget_bytes = budget_bytes
        self.backlog: deque[Any] = deque()
        self.backlog_bytes = 0
        #: The replies of the batch that executes, without those of the request that does.
        self._batch_out: list[Encoded] | None = None
        #: What the batch has told its own client, and at which place between its replies that belongs.
        self._told: list[tuple[int, Encoded]] = []
        #: Whether its backlog is being executed: then what is left of that is not there.
        self.is_running = False
        self.until_ns = 0
        self.ready: list[Encoded] = []
        self._held: list[tuple[int, Encoded]] = []
        self.held_bytes = self.waits_for = 0
        self.closing = False
        self.changed()

    def changed(self) -> None:
        """What the client may do has changed: of one that has to say first who it is, little is taken."""
        is_known = self.client.is_authenticated
        self._parser.restrict(of_stranger=not is_known)
        self._feed: Callable[[bytes], list[Any]] = self._parser.feed if is_known else self._serve_stranger

    def _serve_stranger(self, data: bytes) -> list[Any]:
        """Execute each request before the next is read. Leaves none."""
        self._begin(self._parser.feed_one_by_one(data))
        return []

    def limit_to(self, request_bytes: int, request_words: int) -> None:
        """Other limits from now on: see `RequestParser`, and `Server.max_reply_bytes`."""
        self._parser.limit_to(request_bytes, request_words)
        self._execution.limit_replies()

    @property
    def unread_bytes(self) -> int:
        """Bytes of a request that is not complete yet."""
        return self._parser.unread_bytes

    @property
    def unfinished_bytes(self) -> int:
        """About the bytes of memory of what the client began and did not end: requests, a block, subscriptions."""
        client = self.client
        return self._parser.memory_bytes + client.queued_bytes + client.kept_bytes + self._waiting_bytes()

    def _waiting_bytes(self) -> int:
        """Of the request that waits at the head of the backlog; those behind it came with its end, and are small."""
        request = self.backlog[0] if self.backlog else []
        if isinstance(request, JSONLine):
            request = [value for value in request.members.values() if isinstance(value, str)]
        return self.backlog_bytes + (sum(map(len, request)) if isinstance(request, list) else 0)

    @property
    def in_the_middle(self) -> bool:
        """See what `receive` returns."""
        parser = self._parser
        return (
            parser.state is not BOUNDARY or self.client.queued is not None or self.closing or bool(self.backlog)
            or self.is_running or self.client.subscription_bytes > 0 or self.client.unanswered > 0
            or self.client.tracking is not None or self.client.rights is not None
        )  # fmt: skip

    @property
    def has_more(self) -> bool:
        """Whether there are requests that wait for room or time, not behind one that waits for what others do."""
        return bool(self.backlog) and not self.is_blocked and not self.closing

    @property
    def is_blocked(self) -> bool:
        """Whether a request waits for what others do."""
        return bool(self.backlog) and self.backlog[0].__class__ in (Blocked, Postponed)

    @property
    def has_time(self) -> bool:
        """Whether something is left of this client's share of time."""
        return self._steady_ns() < self.until_ns

    def receive(self, data: bytes) -> bool:
        """Take in bytes from the client and execute the requests they complete. Raises StorageFault.

        Returns whether the client is in the middle of something now: it has begun a request or a MULTI block and not
        ended it (see `unfinished_bytes`), is subscribed, has requests waiting, or is to be closed.
        """
        if self.closing:
            return True
        parser = self._parser
        if len(data) >= SHORTEST_PIPELINE_BYTES and not self.backlog:
            pipeline = parser.feed_uniform(data)
            if pipeline is not None:
                self._pipeline(pipeline)
                return self.receive(pipeline.rest) if pipeline.rest else self.in_the_middle
        requests = self._feed(data)
        if self.backlog:
            self._put_behind(requests, data)
        elif len(requests) == 1 and self._one(requests[0]):
            # As `in_the_middle`, of a client that is not in a block, nor subscribed; most requests come alone.
            return parser.state is not BOUNDARY or self.closing or bool(self.backlog) or self.client.rights is not None
        elif requests:
            self._begin(requests)
        else:  # part of a request: the client is slow, not idle
            self.client.last_request_ms = self._server.recent_ms
        return self.in_the_middle

    def put_off(self, data: bytes) -> bool:
        """Take in bytes with many requests, more than PART_BYTES, to be executed in parts when it is this client's time
        (`run`). Returns whether they are that many, and there are none that wait; else it has done nothing.
        """
        is_busy = self.backlog or self.closing or not self.client.is_authenticated
        if is_busy or data.count(b"\n") < _MANY_LINES:
            return False
        self.backlog.append(Unread(data))
        return True

    def receive_more(self, data: bytes) -> bool:
        """As `receive`, of a client that may be in the middle of a request. One that is large is noted, and is backlog
        at first: whoever asks for less is served before.
        """
        parser = self._parser
        if self.backlog and self.backlog[-1].__class__ is Unread:
            self.backlog_bytes += len(data) if self.is_blocked else 0
            self.backlog.append(Unread(self.backlog.pop().data + data))
            return True
        before_bytes = 0 if parser.state is BOUNDARY or self.closing else parser.unread_bytes
        is_large = before_bytes > 0 and before_bytes + len(data) >= LARGE_BYTES and self.client.is_authenticated
        if not is_large:
            return self.receive(data)
        requests = parser.feed(data)
        if requests:
            self._note_large(requests[0], before_bytes + data.find(b"\n") + 1)
        self._put_behind(requests, data)
        return self.in_the_middle

    def _note_large(self, request: Any, line_bytes: int) -> None:
        log, client = self._server.command_log, self.client
        if request.__class__ is list:
            log.received(client, request, request_bytes(request))
        elif isinstance(request, Words):
            log.received(client, request, line_bytes)
        elif isinstance(request, JSONLine):
            names = (str(request.members.get(name)) for name in ("method", "key"))
            log.received(client, [name.encode("utf-8", "replace") for name in names], line_bytes)

    def _put_behind(self, requests: list[Request], data: bytes) -> None:
        """Requests that came while others wait; `data`: with the end of which."""
        if self.is_blocked:
            self.backlog_bytes += len(data)
        self.backlog.extend(requests)

    def run(self, budget_bytes: int) -> None:
        """Execute the backlog until its replies pass `budget_bytes`, or the share of time ends; of what is unread the
        next part, for which there is a share. Raises StorageFault.
        """
        backlog, self.backlog = self.backlog, deque()
        self.is_running = True
        try:
            unread = backlog.pop() if backlog[-1].__class__ is Unread else None
            if backlog:
                self._batch(backlog, budget_bytes)
            elif unread is not None:
                until_ns = self.until_ns
                part, unread = unread.parted(is_whole=self._parser.state is BOUNDARY)
                self.receive_more(part)
                self.until_ns = until_ns
            if unread is not None and not self.closing:
                self.backlog.append(unread)
        finally:
            self.is_running = False

    def take_ready(self) -> Encoded:
        """The replies that may leave now, which are then the caller's to send."""
        ready = self.ready
        if not ready:
            return b""
        data = ready[0] if len(ready) == 1 else joined(ready)
        ready.clear()
        return data

    def release(self, sequence: int) -> None:
        """Commits up to `sequence` are settled: make ready what waited for them."""
        released = 0
        for needed, data in self._held:
            if needed > sequence:
                break
            released += 1
            self.held_bytes -= len(data)
            self.ready.append(data)
        del self._held[:released]
        self.waits_for = self._held[0][0] if self._held else 0

    def take_settled(self, sequence: int) -> bytes | None:
        """`release` and `take_ready` in one, where nothing but one short batch waits, for a commit up to `sequence`.

        Else it returns None, having done nothing.
        """
        held = self._held
        if len(held) == 1 and held[0][0] <= sequence and (data := held[0][1]).__class__ is bytes and not self.ready:
            held.clear()
            self.held_bytes = self.waits_for = 0
            return data
        return None

    def push(self, message: Reply, needed: int) -> None:
        """Send something unasked when commit `needed` is settled, behind the replies so far; see `Peer`.

        What a client's own request tells it comes behind the reply to that.
        """
        data = resp.encode_message(message, self.client.protocol)
        if self._batch_out is None:
            if needed or self._held:
                self.deliver(data, needed)
            else:
                self.ready.append(data)
        else:
            self._told.append((len(self._batch_out) + 1, data))
            self._execution.needed = max(self._execution.needed, needed)

    def try_again(self) -> bool:
        """See `Waiter`. While there is a pause, it may have to be tried when that ends, afresh."""
        blocked: Blocked = self.backlog[0]
        if self._server.pause.holds(blocked.call, blocked.row, blocked.request):
            self.backlog[0] = Postponed(blocked.request)
            self._server.pause.enter(self.client, self)
            return True
        outcome = dispatch.try_again(blocked)
        if outcome is None:
            return False
        self._unblock(outcome)
        if self._server.messages:  # of its own changes, behind its reply
            dispatch.send_messages(self._server, outcome.needed, self.client)
        return True

    def resume(self) -> None:
        """See `Resumes`."""
        self.backlog[0] = self.backlog[0].request
        self.backlog_bytes = 0
        self.until_ns = self._steady_ns() + self._hooks.share_ns  # else it went on behind those who came later
        self.client.peer.wake()

    def give_up(self, error: RequestError | None) -> None:
        """See `Waiter`."""
        self._unblock(dispatch.give_up(self.backlog[0], error))

    def _unblock(self, outcome: Outcome) -> None:
        """The request that waited is done, or goes on in slices."""
        request = self.backlog.popleft().request
        self.backlog_bytes = 0
        if outcome.reply.__class__ is Unfinished:
            self.backlog.appendleft(outcome.reply)
        else:
            self._server.requests_executed += 1
            self.client.requests += 1
            self._execution.done()
            self._server.command_log.executed(self.client, request, 0, len(outcome.reply))
            self.deliver(outcome.reply, outcome.needed)
        self.client.last_request_ms = self._server.recent_ms
        if self.client.closing:
            self.closing = True
        self.client.peer.wake()

    def refuse_rest(self, text: str) -> None:
        """Take no more from this client: forget what it began, tell it why behind the replies so far, and close."""
        error = RequestError(text)
        in_json_line = self._parser.in_json_line
        self.closing = True
        self._parser.abandon()
        self._let_go()
        self.deliver(jsonlines.encode_error(error) if in_json_line else resp.encode_error(error), 0)

    def hang_up(self) -> None:
        """The client sends no more. One that waits for what others do is taken for gone, as Redis has it."""
        if self.is_blocked:
            self.closing = True
            self._forget_backlog()

    def disconnected(self) -> None:
        """The client is gone: let go of everything it held on to, and of oneself."""
        self.closing = True
        self._feed = self._parser.feed
        self._held.clear()
        self.held_bytes = self.waits_for = 0
        self.ready.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Whatever the client began, watches or subscribes to is over."""
        self._forget_backlog()
        dispatch.release(self.call)
        self._server.channels.leave_all(self.client)
        if self.client.tracking is not None:
            self._server.tracking.set_mode(self.client, None)

    def _forget_backlog(self) -> None:
        if self.backlog and self.backlog[0].__class__ is Unfinished:
            self.backlog[0].slices.close()
        self.backlog.clear()
        self.backlog_bytes = 0
        self._server.waiting.leave(self.client)
        self._server.pause.leave(self.client)

    def execute_one(self, statistics: CommandStatistics, request: list[bytes]) -> tuple[Encoded, int]:
        """Execute one of many clients' requests, which changes something. Returns the reply, and what it waits for.

        `statistics`: of its command, a plain one. Raises StorageFault.
        """
        self._execution.needed = 0
        reply = self._run(statistics, request)
        assert reply is not None, "what has changed something is not done in slices"
        return reply, self._execution.needed

    def executed_together(self, row: Command, count: int, replies: Encoded, needed: int) -> None:
        """So many requests, the last of the command `row`, were executed with others'. See `deliver`."""
        self.client.last_command = row.name
        self.client.last_request_ms = self._server.recent_ms
        self.client.requests += count
        self._server.requests_executed += count
        if self.client.closing:
            self.closing = True
        self.deliver(replies, needed)

    def _one(self, request: Any) -> bool:
        """Execute a request that came alone if it is a plain one or a JSON line, and return whether it is. Most are."""
        client, execution = self.client, self._execution
        if client.queued is not None or client.subscription_bytes or self._hooks.watchers:
            return False
        execution.needed = self._held[-1][0] if self._held else 0
        if request.__class__ is JSONLine:
            reply = execution.respond(request)
        elif request.__class__ is list and (statistics := client.plain.get(request[0])) is not None:
            reply = self._run(statistics, request)
            client.last_command = statistics.row.name
        else:
            return False
        client.last_request_ms = self._server.recent_ms
        if reply is None:
            self._goes_on_later()
            return True
        self._server.requests_executed += 1
        client.requests += 1
        if execution.needed or self._held:
            self.deliver(reply, execution.needed)
        else:
            self.ready.append(reply)
        if client.closing:
            self.closing = True
        return True

    def _run(self, statistics: CommandStatistics, request: list[bytes]) -> Encoded | None:
        """`Execution.run`, timed if need be."""
        execution = self._execution
        if statistics.untimed:
            statistics.untimed -= 1
            return execution.run(statistics, request)
        began_ns = self._steady_ns()
        reply = execution.run(statistics, request)
        if reply is not None or execution.unfinished.__class__ is Blocked:  # else it has not begun, or is not done
            statistics.add_time(self._steady_ns() - began_ns)
        return reply

    def _pipeline(self, pipeline: Uniform) -> None:
        """Execute a pipeline of one command: all at once if the command can, else one request after the other."""
        execution = self._execution
        execution.needed = self._held[-1][0] if self._held else 0
        encoded = execution.run_many(pipeline, self._budget_bytes)
        if encoded is None:
            self._begin(pipeline.requests())
        else:
            self._executed(encoded, pipeline.length)

    def _begin(self, requests: Iterable[Any]) -> None:
        """Execute requests that just came: a share of time begins."""
        self.until_ns = self._steady_ns() + self._hooks.share_ns
        self._batch(requests, self._budget_bytes)

    def _batch(self, requests: Iterable[Any], budget_bytes: int) -> None:
        """Execute requests until one of the ends that the module tells of."""
        client, execution, until_ns = self.client, self._execution, self.until_ns
        execution.needed = self._held[-1][0] if self._held else 0
        run, rows = execution.run, execution.plain_rows()
        out: list[Encoded] = []
        self._batch_out = out
        statistics = None
        remaining = iter(requests)
        steady_ns = self._steady_ns
        before_ns = steady_ns()
        for request in remaining:
            statistics = rows.get(request[0]) if request.__class__ is list else None
            if statistics is not None:
                encoded = run(statistics, request)
                now_ns = steady_ns()
                if statistics.untimed:
                    statistics.untimed -= 1
                elif encoded is not None or execution.unfinished.__class__ is Blocked:
                    statistics.add_time(now_ns - before_ns)
            else:
                encoded = execution.respond(request)
                rows = execution.plain_rows()
                now_ns = steady_ns()
            before_ns = now_ns
            if encoded is None:
                self._goes_on_later()
                break
            out.append(encoded)
            budget_bytes -= len(encoded)
            if budget_bytes < 0 or now_ns > until_ns or client.closing:
                break
        if statistics is not None:
            client.last_command = statistics.row.name
        if client.closing:
            self.closing = True
            self._forget_backlog()
        else:
            self.backlog.extend(remaining)
        self._batch_out = None
        executed = len(out)
        while self._told:  # the last first: so those before it keep their places
            out.insert(*self._told.pop())
        self._executed(out[0] if len(out) == 1 else joined(out), executed)
        if client.monitoring:
            self._hooks.monitor(client.identity)

    def _goes_on_later(self) -> None:
        """The request just executed is not done; if it has not even begun, its client lets others have their turn."""
        unfinished = self._execution.unfinished
        self.backlog.append(unfinished)
        if unfinished.__class__ is Blocked:
            self._server.waiting.enter(self.client, self, self.call.table, unfinished.wait)
        elif unfinished.__class__ is Postponed:
            self._server.pause.enter(self.client, self)
        elif unfinished.__class__ is not Unfinished:
            self.until_ns = 0

    def _executed(self, replies: Encoded, count: int) -> None:
        """So many requests were executed; keep their replies until they may leave."""
        server = self._server
        server.requests_executed += count
        self.client.requests += count
        self.client.last_request_ms = server.recent_ms
        self.deliver(replies, self._execution.needed)

    def deliver(self, data: Encoded, needed: int) -> None:
        """Keep replies until they may leave: when commit `needed`, and all replies before, are settled."""
        if not data:
            return
        if self._held:
            needed = max(needed, self._held[-1][0])
        elif needed != self._store.pending.sequence and needed <= self._store.settled_sequence():
            self.ready.append(data)
            return
        self.hold(data, needed)

    def hold(self, data: Encoded, needed: int) -> None:
        """Keep replies until commit `needed`, which is not settled, and all replies before them are."""
        if not self._held:
            self.waits_for = needed
        self._held.append((needed, data))
        self.held_bytes += len(data)
