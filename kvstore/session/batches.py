"""Which of a connection's requests execute now, and which are its backlog.

What executes without a break is a batch. Its replies wait, all of them, for the newest commit that any of its requests
changed, or read something of. A request that touches no pending change waits for nothing.

A batch ends early when its replies pass the budget, when it has taken its client's share of time (`Hooks.share_ns`), or
at a request that goes on in a next slice (see `Execution`), which no later one may overtake. What is left over is the
backlog, the unfinished request at its head. One that waits for what others do, the end of a pause among that, stands
there too.

What a request does, and which commit its reply waits for, is `Execution`'s knowledge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from kvstore.base.errors import RequestError
from kvstore.base.reply import Reply
from kvstore.commands import dispatch
from kvstore.commands.context import Call
from kvstore.commands.dispatch import Blocked, Outcome, Postponed, Unfinished
from kvstore.commands.registry import Command
from kvstore.commands.statistics import CommandStatistics
from kvstore.session.execution import Execution
from kvstore.session.hooks import Hooks
from kvstore.session.replies import Replies
from kvstore.wire import resp
from kvstore.wire.multibulk import Uniform
from kvstore.wire.parser import JSONLine
from kvstore.wire.pieces import Encoded, joined


class Batches(Replies):
    """See the module. `budget_bytes`: replies after which a batch ends early.

    `backlog`: requests that wait for room for their replies, for time, or behind one that waits for what others do; in
    the last case `backlog_bytes` is what they take. `until_ns`: when the share of time ends that this client has now.
    `closing`: no more requests are taken; to be closed when all replies have left.
    """

    __slots__ = (
        "_batch_out", "_budget_bytes", "_execution", "_hooks", "_server", "_steady_ns", "_told", "backlog",
        "backlog_bytes", "call", "client", "closing", "until_ns",
    )  # fmt: skip

    #: What executes the requests.
    make_execution: type[Execution] = Execution

    def __init__(self, call: Call, hooks: Hooks, budget_bytes: int) -> None:
        super().__init__(call.store)
        self.call = call
        self.client = call.client
        self._server = call.server
        self._steady_ns = call.server.steady_ns
        self._hooks = hooks
        self._execution = self.make_execution(call, hooks)
        self._budget_bytes = budget_bytes
        self.backlog: deque[Any] = deque()
        self.backlog_bytes = 0
        #: The replies of the batch that executes, without those of the request that does.
        self._batch_out: list[Encoded] | None = None
        #: What the batch has told its own client, and at which place between its replies that belongs.
        self._told: list[tuple[int, Encoded]] = []
        self.until_ns = 0
        self.closing = False

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

    # A batch

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

    # What need not be a batch, mostly for speed

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

    # The request at the head of the backlog

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
            self._server.send_messages(outcome.needed, self.client)
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

    def _forget_backlog(self) -> None:
        if self.backlog and self.backlog[0].__class__ is Unfinished:
            self.backlog[0].slices.close()
        self.backlog.clear()
        self.backlog_bytes = 0
        self._server.waiting.leave(self.client)
        self._server.pause.leave(self.client)
